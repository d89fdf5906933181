"""Stimuli never seen in training: two against two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 340


def applies(facts: Facts) -> bool:
    """Return whether pairs of stimuli were left out."""
    return "two_vs_two" in facts["metrics"]


def draw(page: Page) -> dict[str, Any] | None:
    """Return the rows of a plain table."""
    rows = page.over_folds("two_vs_two").to_dict("records")
    return {"rows": rows} if rows else None
