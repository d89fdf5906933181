"""Scalp patterns of spatial filters."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.trials import topographies
from brainbench.report.sections.trials.shared import decodes_trials, strongest

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 580
MAX_MAPS = 6
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return maps, none where positions are unknown; None where there is nothing to be drawn."""
    trials = page.findings["trials"]
    sensors, shown = trials["sensors"], []
    for entry in trials["patterns"][:MAX_MAPS] if sensors is not None else []:
        title = f"{entry['subject']}, {entry['pipeline']}"
        values, positions = np.array(entry["values"]), np.array(sensors["positions"])
        figure = partial(topographies, values, sensors["names"], positions, page.mark)
        alt = f"Scalp patterns, {title}; {strongest(entry['values'], sensors['names'])}"
        name = f"patterns_{entry['subject']}_{entry['pipeline']}"
        shown.append({"title": title, "figure": page.save(figure, name, alt)})
    unplaced = sensors is None and trials.get("on_scalp", True)
    return {"maps": shown} if shown or unplaced else None
