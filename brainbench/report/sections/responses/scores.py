"""Scores of regions: a plain table of what belongs to no encoder and no classifier, such as a new kind's scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.report.tables import ALL

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 300
MAX_ROWS = 200


def applies(facts: Facts) -> bool:
    """Return whether there is a score at all."""
    return bool(facts["metrics"])


def draw(page: Page) -> dict[str, Any] | None:
    """Return the rows, and which columns hold anything."""
    scores = page.scores
    rows = scores[(scores["fold"] == ALL) & (scores[["encoder", "pipeline", "stage"]] == "").all(axis=1)]
    if not len(rows):
        return None
    has = {name: name in rows and bool(rows[name].notna().any()) for name in ("ci_low", "ceiling", "null_95", "p", "q")}
    return {"rows": rows.iloc[:MAX_ROWS].to_dict("records"), "n_left_out": max(0, len(rows) - MAX_ROWS), "has": has}
