"""Decisions over time: accuracy by seconds after the event, and evidence gathered until it suffices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Decisions:
    """Where evidence led, one entry per trial.

    Attributes
    ----------
    trial : int ndarray (n_trials,)
    seconds : ndarray (n_trials,)
        From the event to the decision.
    predicted : int ndarray (n_trials,)
    reached : bool ndarray (n_trials,)
        Whether the confidence was reached; otherwise the decision fell with the last window.
    """

    trial: np.ndarray
    seconds: np.ndarray
    predicted: np.ndarray
    reached: np.ndarray


def gather(probability: np.ndarray, trial: np.ndarray, *, new_share: float) -> np.ndarray:
    """Return the probability of each class after each window, given all windows of its trial so far.

    Log-probabilities add up within a trial. Overlapping windows share samples, so that the first window of a trial
    counts once and every further one by its share of new samples: counting the same samples again would make the
    sum more certain than they are.

    Parameters
    ----------
    probability : ndarray (n_windows, n_classes)
        In order of time.
    trial : int ndarray (n_windows,)
        Trial of each window; negative ones gather nothing and come back as NaN.
    new_share : float
        Step between windows over their length, at most 1.
    """
    from scipy.special import softmax

    out = np.full(probability.shape, np.nan)
    log = np.log(np.clip(probability, 1e-12, None))
    for name in np.unique(trial[trial >= 0]):
        rows = np.flatnonzero(trial == name)
        weight = np.full(len(rows), min(1.0, new_share))
        weight[0] = 1.0
        out[rows] = softmax(np.cumsum(weight[:, None] * log[rows], axis=0), axis=1)
    return out


def decide(gathered: np.ndarray, trial: np.ndarray, seconds: np.ndarray, threshold: float) -> Decisions:
    """Return the first decision of every trial whose gathered probability reaches `threshold`, else its last.

    Parameters
    ----------
    gathered : ndarray (n_windows, n_classes)
        Of `gather`.
    trial : int ndarray (n_windows,)
    seconds : ndarray (n_windows,)
        From the trial's event.
    threshold : float
    """
    found = []
    for name in np.unique(trial[trial >= 0]):
        rows = np.flatnonzero(trial == name)
        enough = np.flatnonzero(gathered[rows].max(axis=1) >= threshold)
        row = rows[enough[0]] if len(enough) else rows[-1]
        found.append((name, seconds[row], gathered[row].argmax(), bool(len(enough))))
    columns = list(zip(*found, strict=True)) if found else [(), (), (), ()]
    return Decisions(
        np.array(columns[0], dtype=int), np.array(columns[1], dtype=float), np.array(columns[2], dtype=int),
        np.array(columns[3], dtype=bool),
    )  # fmt: skip


def accuracy_over_time(right: np.ndarray, seconds: np.ndarray, width: float) -> list[tuple[float, float, float, int]]:
    """Return (from, to, accuracy, decisions) for every stretch of `width` seconds after the event that has any.

    Parameters
    ----------
    right : bool ndarray (n,)
    seconds : ndarray (n,)
        From the event; above 0.
    width : float
    """
    place = np.ceil(np.round(seconds / width, 9)).astype(int) - 1
    return [
        (width * int(k), width * (int(k) + 1), float(right[place == k].mean()), int(np.sum(place == k)))
        for k in np.unique(place)
    ]
