"""How much of every codebook is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.report.sections.tokens.training import applies as applies

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 730


def draw(page: Page) -> dict[str, Any] | None:
    """Return a row for every level."""
    return {"books": page.findings["codebooks"]}
