"""Provenance: whom to cite, and everything that made the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 940


def applies(facts: Facts) -> bool:
    """Every report has it."""
    return True


def draw(page: Page) -> dict[str, Any]:
    """Return nothing: all of it stands in the facts, the manifest and the recipe."""
    return {}
