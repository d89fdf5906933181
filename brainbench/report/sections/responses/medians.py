"""Median over targets, with its null, where regions have many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.evaluation.metrics import MEDIAN
from brainbench.report.tables import MEAN

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 610
MIN_TARGETS = 20
MAX_ROWS = 60


def applies(facts: Facts) -> bool:
    """Return whether medians of the leading metric were scored."""
    return f"{MEDIAN}{facts['metric']}" in facts["metrics"]


def draw(page: Page) -> dict[str, Any] | None:
    """Return the rows of a plain table; None where they are too many to be read."""
    rows = page.over_folds(f"{MEDIAN}{page.facts['metric']}")
    rows = rows[(rows["n_targets"] > MIN_TARGETS) & ~rows["subject"].isin([MEAN])]
    return {"rows": rows.to_dict("records")} if 0 < len(rows) <= MAX_ROWS else None
