"""What networks look at: gradient times input on the scalp."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.trials import topographies
from brainbench.report.sections.trials.shared import decodes_trials, places_of, strongest

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 560
MAX_MAPS = 6
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return a map per class and network: participants above chance first, since the others' maps explain noise."""
    trials = page.findings["trials"]
    placed = [
        (entry, *places)
        for entry in trials.get("relevance") or []
        if (places := places_of(page, entry["subject"])) is not None
    ]
    rows = page.over_folds("accuracy", page.scheme).set_index(["subject", "pipeline"])
    accuracy = {key: rows.loc[key] for key in rows.index}
    placed.sort(key=lambda one: not accuracy[one[0]["subject"], one[0]["pipeline"]]["q"] < page.level)
    shown = []
    for entry, names, positions in placed[:MAX_MAPS]:
        score = accuracy[entry["subject"], entry["pipeline"]]
        title = f"{entry['subject']}, {entry['pipeline']}"
        classes = entry.get("classes", trials["classes"])
        figure = partial(topographies, np.array(entry["values"]), names, positions, page.mark, classes)
        where = strongest(entry["values"], names, classes)
        alt = f"Relevance of channels, {title}; {where}"
        shown.append(
            {
                "title": title,
                "accuracy": score["value"],
                "sure": bool(score["q"] < page.level),
                "figure": page.save(figure, f"relevance_{entry['subject']}_{entry['pipeline']}", alt),
            }
        )
    return {"maps": shown, "n_left_out": len(placed) - len(shown)} if shown else None
