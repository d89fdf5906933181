"""Warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 930


def applies(facts: Facts) -> bool:
    """Return whether there is one."""
    return bool(facts["warnings"])


def draw(page: Page) -> dict[str, Any]:
    """Return nothing: they stand in the facts."""
    return {}
