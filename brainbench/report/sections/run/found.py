"""What was found, one sentence a region or participant, where the answer leaves something out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 100


def applies(facts: Facts) -> bool:
    """Return whether the answer is not all of it."""
    return bool(facts["claims"] != facts["answer"])


def draw(page: Page) -> dict[str, Any]:
    """Return nothing: they stand in the facts."""
    return {}
