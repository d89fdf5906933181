"""Where on the head every latent source looks, or is seen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.trials import topographies
from brainbench.report.sections.trials.shared import strongest

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 740
IN_A_ROW = 8
TYPES = ("electrodes", "magnetometers", "gradiometers")


def applies(facts: Facts) -> bool:
    """Return whether there are latent sources."""
    return "sources" in facts["findings"]


def draw(page: Page) -> dict[str, Any] | None:
    """Return maps of attention or of fields, a row for eight sources of one type of sensor."""
    found = page.findings["sources"]
    field = found.get("mixing") == "field"
    kinds, values = np.array(found["kinds"]), np.array(found["values"])
    positions, figures = np.array(found["positions"]), []
    for kind in np.unique(kinds):
        mine = kinds == kind
        names = [name for name, keep in zip(found["names"], mine, strict=True) if keep]
        drawn = values[:, mine]
        if not field:
            drawn = drawn / drawn.mean(axis=1, keepdims=True) - 1
        for start in range(0, len(drawn), IN_A_ROW):
            part = drawn[start : start + IN_A_ROW]
            titles = [f"source {start + number}" for number in range(1, len(part) + 1)]
            shown = "Fields" if field else "Attention"
            alt = f"{shown} of latent sources over {TYPES[kind]}; {strongest(part.tolist(), names, titles)}"
            figure = partial(topographies, part, names, positions[mine], page.mark, titles, fields=field)
            file = f"sources_{TYPES[kind]}_{start // IN_A_ROW + 1}"
            figures.append(page.save(figure, file, alt))
    return {"figures": figures, "subject": found["subject"], "field": field}
