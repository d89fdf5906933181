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


@dataclass(frozen=True)
class RunModel:
    """The GLM that the responses of a run were estimated by, and how far it can be believed.

    Attributes
    ----------
    run : str
    n_volumes, n_kept : int
    t_r : float
        Seconds.
    regressors : list of str
        Events first.
    n_events : int
        How many regressors are events.
    design : ndarray (n_kept, n_regressors)
    shared : float or None
        Largest correlation, in size, of two events' regressors.
    tsnr : (float, float, float) or None
        Temporal signal to noise below which 10, 50 and 90 % of the targets lie.
    moved : (float, float) or None
        Framewise displacement in mm, mean and largest; None where it is not known.
    n_moved : int or None
        Volumes that moved by more than half a millimetre.
    displacement : list of float or None
        Framewise displacement of every volume, mm; None where it is not known.
    agreement : (float, float, float) or None
        Correlation over stimuli with the mean of the other runs, of 10, 50 and 90 % of the targets.
    """

    run: str
    n_volumes: int
    n_kept: int
    t_r: float
    regressors: list[str]
    n_events: int
    design: np.ndarray
    shared: float | None
    tsnr: tuple[float, float, float] | None
    moved: tuple[float, float] | None
    n_moved: int | None
    displacement: list[float | None]
    agreement: tuple[float, float, float] | None

    def __str__(self) -> str:
        said = [f"temporal signal to noise {self.tsnr[1]:.0f} (median over targets)" if self.tsnr else
                "no target was measured"]  # fmt: skip
        if self.moved is not None:
            said.append(
                f"framewise displacement {self.moved[0]:.2f} mm on average, {self.moved[1]:.2f} at most, above 0.5 mm "
                f"in {self.n_moved} of {self.n_volumes} volumes"
            )
        if self.agreement is not None:
            said.append(f"betas correlate with the other runs' at {self.agreement[1]:.2f} (median over targets)")
        return f"{self.run}: {'; '.join(said)}"


@dataclass(frozen=True)
class Modelled:
    """How all responses of a participant were estimated.

    Attributes
    ----------
    runs : list of RunModel
    repeats : (float, float, float) or None
        Split-half reliability of a single showing, of 10, 50 and 90 % of the targets; None where too little repeats.
    """

    runs: list[RunModel]
    repeats: tuple[float, float, float] | None


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
