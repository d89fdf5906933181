"""Layers and regions: the leading metric as a heat map, and against depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.report.figures.layers import depth_curves, heat_map

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
    heat, curves = heat_map(table, title, page.mark), depth_curves(table, title, page.mark, page.truth)
    return {
        "metric": metric,
        "heat": page.save(heat, "layer_by_roi", f"{title} of every layer and region"),
        "curves": page.save(curves, "depth_curves", f"{title} against depth"),
        "planted": bool(page.truth),
    }
