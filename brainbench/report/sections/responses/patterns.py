"""Whole patterns of a region: correlation, and two against two over held-out rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.evaluation.metrics import title_of

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 335
NAMES = ("pattern_r", "pairs_r", "pairs_cosine")


def applies(facts: Facts) -> bool:
    """Return whether patterns were scored."""
    return any(name in facts["metrics"] for name in NAMES)


def draw(page: Page) -> dict[str, Any] | None:
    """Return, for every participant, way to hold out, encoder and region, each score's largest value over layers."""
    names = [name for name in NAMES if len(page.over_folds(name))]
    cells: dict[tuple[str, ...], dict[str, Any]] = {}
    for name in names:
        for row in page.over_folds(name).to_dict("records"):
            place = {key: row[key] for key in ("subject", "scheme", "encoder", "role", "roi")}
            cell = cells.setdefault(tuple(place.values()), place)
            if name not in cell or row["value"] > cell[name]["value"] or np.isnan(cell[name]["value"]):
                cell[name] = {"value": row["value"], "layer": row["layer"]}
    rows = list(cells.values())
    return {"rows": rows, "names": names, "titles": [title_of(name) for name in names]} if rows else None
