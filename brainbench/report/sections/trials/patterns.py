"""Scalp patterns of spatial filters."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.trials import topographies
from brainbench.report.sections.trials.shared import decodes_trials, places_of, strongest

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 580
MAX_MAPS = 6
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return maps, none where positions are unknown; None where there is nothing to be drawn."""
    trials = page.findings["trials"]
    placed = [
        (entry, *places) for entry in trials["patterns"] if (places := places_of(page, entry["subject"])) is not None
    ]
    shown = []
    for entry, names, positions in placed[:MAX_MAPS]:
        title = f"{entry['subject']}, {entry['pipeline']}"
        figure = partial(topographies, np.array(entry["values"]), names, positions, page.mark, fields=True)
        alt = f"Scalp patterns, {title}; {strongest(entry['values'], names)}"
        name = f"patterns_{entry['subject']}_{entry['pipeline']}"
        shown.append({"title": title, "figure": page.save(figure, name, alt)})
    known = any(places_of(page, one["subject"]) is not None for one in page.findings["signal"])
    unplaced = not known and trials.get("on_scalp", True)
    return {"maps": shown, "n_left_out": len(placed) - len(shown)} if shown or unplaced else None
