"""Whether a protocol leaks: labels that are coin flips cannot be read, so that whatever is read of them leaked.

A coin is flipped for every block of samples that belong together: a trial with all its windows, or a chain of trials
that overlap. Given training rows and predictions, the coins of test blocks are fair and independent, so that the share
of right answers is 0.5 on average under an honest protocol, whatever the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainbench.evaluation.splitters import Fold
from brainbench.evaluation.trials.splitters import TrialRows, TrialSplitter

COIN = np.array(["heads", "tails"])
MAX_DRAWS = 50
"""Draws until both sides of the coin stand wherever a scheme needs them."""


@dataclass(frozen=True)
class Windows:
    """Windows as views into trials: which trial, and from which of its samples on.

    Parameters
    ----------
    rows : TrialRows
        One row per window; `onset` is that of the window, subject, session, run and trial those of its trial.
    trial : int ndarray (n_windows,)
        Row of the trial that each window lies in.
    starts : list of int
        First sample of every window of a trial.
    n_times : int
        Samples of a window.
    """

    rows: TrialRows
    trial: np.ndarray
    starts: list[int]
    n_times: int


def cut_windows(rows: TrialRows, n_times: int, sfreq: float, window: float, step: float) -> Windows:
    """Lay windows over trials.

    Parameters
    ----------
    rows : TrialRows
    n_times : int
        Samples of a trial.
    sfreq : float
    window, step : float
        Seconds.

    Raises
    ------
    ValueError
        If a window does not fit into a trial.
    """
    size, move = round(window * sfreq), max(1, round(step * sfreq))
    if not 2 <= size <= n_times:
        raise ValueError(f"a window of {window:g} s does not fit into a trial of {n_times / sfreq:.3g} s")
    starts = list(range(0, n_times - size + 1, move))
    trial = np.repeat(np.arange(len(rows)), len(starts))
    taken = rows.take(trial)
    onset = taken.onset + np.tile(starts, len(rows)) / sfreq
    columns = {name: getattr(taken, name) for name in ("subject", "session", "run", "trial", "label")}
    return Windows(TrialRows(**columns, onset=onset, length=size / sfreq), trial, starts, size)


def blocks_of(rows: TrialRows) -> np.ndarray:
    """Return the block of every trial, ``(n_trials,)``: trials of a run that overlap, one after the other, are one."""
    block = np.empty(len(rows), dtype=int)
    runs, number = rows.runs, -1
    for run in dict.fromkeys(runs.tolist()):
        here = np.flatnonzero(runs == run)
        here = here[np.argsort(rows.onset[here], kind="stable")]
        apart = np.diff(rows.onset[here], prepend=-np.inf) >= rows.length * (1 - 1e-9)
        block[here] = number + np.cumsum(apart)
        number = int(block[here].max())
    return block


def flip(block: np.ndarray, seed: int, draw: int = 0) -> np.ndarray:
    """Return a coin for every row, ``(n_rows,)``; rows of one block have the same."""
    coins = np.random.default_rng([seed, draw, 53]).integers(0, 2, size=int(block.max()) + 1)
    return COIN[coins[block]]


def relabelled(rows: TrialRows, label: np.ndarray) -> TrialRows:
    """Return the rows with other labels."""
    columns = {name: getattr(rows, name) for name in ("subject", "session", "run", "trial", "onset")}
    return TrialRows(**columns, label=label, length=rows.length)


def coin_folds(
    splitter: TrialSplitter, rows: TrialRows, block: np.ndarray, unit: np.ndarray, seed: int
) -> tuple[np.ndarray, list[Fold]]:
    """Flip coins and deal rows.

    Parameters
    ----------
    splitter : TrialSplitter
    rows : TrialRows
        One row per window.
    block : int ndarray (n_rows,)
        Rows of one block share their coin.
    unit : int ndarray (n_rows,)
        Rows of one unit are dealt together: the trial, the block, or every row on its own.
    seed : int

    Returns
    -------
    label : str ndarray (n_rows,)
    folds : list of (train, test)

    Raises
    ------
    ValueError
        If the rows cannot be dealt so, or hardly ever with both sides of the coin.
    """
    first = np.unique(unit, return_index=True)[1]
    reason = ""
    for draw in range(MAX_DRAWS):
        label = flip(block, seed, draw)
        units = relabelled(rows, label).take(first)
        try:
            dealt = list(splitter.split(groups=units))
        except ValueError as error:
            reason = str(error)
            continue
        names = unit[first]
        folds = [
            (np.flatnonzero(np.isin(unit, names[train])), np.flatnonzero(np.isin(unit, names[test])))
            for train, test in dealt
        ]
        if all(len(np.unique(label[train])) == 2 for train, _ in folds):
            return label, folds
        reason = "training has one side of the coin only"
    raise ValueError(f"{reason} (after {MAX_DRAWS} draws of coins for {len(np.unique(block))} blocks)")


@dataclass(frozen=True)
class Leak:
    """What one classifier read of coins under one protocol.

    Attributes
    ----------
    accuracy : float
        Mean over seeds.
    low, high : float
        Where it lies by chance: as if every block were one fair coin, the widest that windows can make it.
    leaks : bool
        Above the band, and above 0.5 by a one-sided t test over seeds, which covers what folds have in common.
    """

    accuracy: float
    low: float
    high: float
    leaks: bool


def judge(accuracy: Sequence[float], n_blocks: int, *, n_tests: int = 1, level: float = 0.05) -> Leak:
    """Return whether accuracies on coins, one per seed, are above chance.

    Parameters
    ----------
    accuracy : sequence of float
    n_blocks : int
        Tested blocks per seed.
    n_tests : int
        Protocols times classifiers: the band is as wide as so many questions need (Bonferroni).
    level : float
    """
    from scipy import stats

    values = np.asarray(accuracy, dtype=float)
    n = len(values)
    mean = float(values.mean())
    half = float(stats.norm.ppf(1 - level / (2 * n_tests)) * 0.5 / np.sqrt(n * n_blocks))
    steady = True
    if n > 1:
        error = float(values.std(ddof=1) / np.sqrt(n))
        steady = mean - 0.5 > float(stats.t.ppf(1 - level, n - 1)) * error
    return Leak(mean, 0.5 - half, 0.5 + half, bool(mean > 0.5 + half and steady))
