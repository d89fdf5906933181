"""Geometry: similarity of layers and regions, with nothing fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 350
METRICS = ("rsa", "rsa_pearson", "cka")


def applies(facts: Facts) -> bool:
    """Return whether one of its metrics was scored."""
    return any(metric in facts["metrics"] for metric in METRICS)


def draw(page: Page) -> dict[str, Any] | None:
    """Return a heat map per metric."""
    maps = [{"metric": metric, "heat": page.heat_map(metric, page.lead)} for metric in METRICS]
    shown = [one for one in maps if one["heat"] is not None]
    return {"metrics": shown} if shown else None
