"""Layers and regions: the leading metric as a heat map, and against depth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.layers import depth_curves, heat_map
from brainbench.report.tables import Matrix, in_words, number

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 310


def applies(facts: Facts) -> bool:
    """Return whether the run has encoders."""
    return bool(facts["encoders"])


def draw(page: Page) -> dict[str, Any] | None:
    """Return heat map and curves of whoever heads the page; None where no layer has a score."""
    metric = page.facts["metric"]
    table = page.matrix(metric, page.lead, page.scheme)
    if table is None:
        return None
    title = page.title_of(metric)
    heat, curves = (
        partial(heat_map, table, title, page.mark),
        partial(depth_curves, table, title, page.mark, page.truth),
    )
    return {
        "metric": metric,
        "heat": page.save(heat, "layer_by_roi", in_words(table, title, page.toward)),
        "curves": page.save(curves, "depth_curves", _depths(page, table, title)),
        "planted": bool(page.truth),
    }


def _depths(page: Page, table: Matrix, title: str) -> str:
    """Return at which depth each region's best model layer lies."""
    said = []
    for j, roi in enumerate(table.rois):
        column = page.toward * table.value[: table.n_models, j]
        if np.isfinite(column).any():
            best = int(np.nanargmax(column))
            said.append(f"{roi} at {number(table.depth[best])} ({table.rows[best].text})")
    return f"{title} against relative depth; the best model layer of {'; '.join(said) or 'no region'}."
