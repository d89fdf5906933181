"""Beyond the controls: variance that a layer explains and they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.evaluation.metrics import UNIQUE

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 330


def applies(facts: Facts) -> bool:
    """Return whether unique variance was scored."""
    return UNIQUE in facts["metrics"]


def draw(page: Page) -> dict[str, Any] | None:
    """Return the heat map of whoever heads the page."""
    heat = page.heat_map(UNIQUE, page.lead)
    return None if heat is None else {"heat": heat}
