"""What was used of every participant and run, and what was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.data.account import RunUse, shortened

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 910


def applies(facts: Facts) -> bool:
    """Every report has it."""
    return True


def draw(page: Page) -> dict[str, Any]:
    """Return the rows of the account, runs alike together."""
    return {
        "trials": "trials" in page.findings,
        "used": shortened(RunUse(**row) for row in page.facts["data"]),
    }
