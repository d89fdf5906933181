"""What was used of every run, what was left out, and why: the table that the report's Data section shows.

Loaders write its rows while they read; ``facts.json`` keeps them as ``data``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np


@dataclass(frozen=True)
class RunUse:
    """One row of the table. A run with several reasons has a row for each, and `used` stands in the first.

    Attributes
    ----------
    subject, session, run : str
        ``session`` is empty where there are none; ``run`` is empty where something holds for all runs.
    used : str
        With its unit: ``"24 betas, 180 volumes"``.
    left_out : str
        With its unit: ``"2 events"``; empty when nothing was.
    why : str
        The reason, and the setting that chooses otherwise.
    """

    subject: str
    session: str = ""
    run: str = ""
    used: str = ""
    left_out: str = ""
    why: str = ""

    def __str__(self) -> str:
        where = " ".join(part for part in (self.subject, self.session, self.run or "all runs") if part)
        left = f"{self.left_out} left out: {self.why}" if self.left_out else self.why
        return f"{where}: {'; '.join(part for part in (self.used, left) if part)}"


def rows_by_run(subject: str, run: Sequence[str] | np.ndarray, unit: str = "rows") -> list[RunUse]:
    """Return how many rows each run gives, in the order in which runs come."""
    names, first, counts = np.unique(np.asarray(run, dtype=str), return_index=True, return_counts=True)
    return [RunUse(subject, run=str(names[at]), used=f"{counts[at]} {unit}") for at in np.argsort(first)]


def shortened(rows: Iterable[RunUse]) -> list[RunUse]:
    """Return the table with neighbouring runs of which the same is said in one row: ``run-1 ... run-12 (12 runs)``."""
    short = []
    for _, alike in groupby(rows, key=lambda row: (replace(row, run=""), bool(row.run))):
        same = list(alike)
        if len(same) < 3:
            short += same
        else:
            short.append(replace(same[0], run=f"{same[0].run} ... {same[-1].run} ({len(same)} runs)"))
    return short
