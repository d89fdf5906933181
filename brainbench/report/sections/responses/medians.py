"""Median over targets, with its null where it is tested, where regions have many."""

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
    """Return the first rows of a plain table; all stand in the file of scores."""
    rows = page.over_folds(f"{MEDIAN}{page.facts['metric']}")
    rows = rows[(rows["n_targets"] > MIN_TARGETS) & ~rows["subject"].isin([MEAN])]
    shown = rows.iloc[:MAX_ROWS].to_dict("records")
    tested = bool(rows["p"].notna().any())
    return {"rows": shown, "tested": tested, "n_left_out": len(rows) - len(shown)} if shown else None
