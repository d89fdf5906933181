"""Numbers and names as sentences carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LEVEL = 0.05
"""False discovery rate under which a score is called above chance."""

Row = Mapping[str, Any]


def number(value: Any, digits: int = 3) -> str:
    """Return a number as the report writes it."""
    if value is None or not np.isfinite(value):
        return "not estimable"
    return f"{round(float(value), digits) + 0.0:.{digits}f}"  # no negative zero


def joined(names: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def significant(row: Row) -> bool:
    """Return whether the q of a score lies under `LEVEL`."""
    q = row.get("q")
    return q is not None and bool(q < LEVEL)


def untested(row: Row) -> bool:
    """Return whether nothing was tested: there is no q."""
    return row.get("q") is None


def distinct(rows: Sequence[Row], name: str) -> list[str]:
    """Return the values of a column, each once, in order."""
    return list(dict.fromkeys(str(row[name]) for row in rows))
