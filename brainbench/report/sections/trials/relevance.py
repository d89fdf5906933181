"""What networks look at: gradient times input on the scalp."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.trials import topographies
from brainbench.report.sections.trials.shared import decodes_trials, strongest

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 560
MAX_MAPS = 6
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return a map per class and network: participants above chance first, since the others' maps explain noise."""
    trials = page.findings["trials"]
    sensors, entries = trials["sensors"], trials.get("relevance") or []
    if sensors is None or not entries:
        return None
    rows = page.over_folds("accuracy", page.scheme).set_index(["subject", "pipeline"])
    accuracy = {key: rows.loc[key] for key in rows.index}
    entries = sorted(entries, key=lambda e: not accuracy[e["subject"], e["pipeline"]]["q"] < page.level)
    shown = []
    for entry in entries[:MAX_MAPS]:
        score = accuracy[entry["subject"], entry["pipeline"]]
        title = f"{entry['subject']}, {entry['pipeline']}"
        values, positions = np.array(entry["values"]), np.array(sensors["positions"])
        figure = partial(topographies, values, sensors["names"], positions, page.mark, trials["classes"])
        where = strongest(entry["values"], sensors["names"], trials["classes"])
        alt = f"Relevance of channels, {title}; {where}"
        shown.append(
            {
                "title": title,
                "accuracy": score["value"],
                "sure": bool(score["q"] < page.level),
                "figure": page.save(figure, f"relevance_{entry['subject']}_{entry['pipeline']}", alt),
            }
        )
    return {"maps": shown}
