"""Noise ceilings: the best score that the repeats, or the other participants, allow.

All in units of Pearson's r between a prediction and the measured responses. With reliability rho of a measurement
(the share of its variance that repeats), a perfect model of the repeatable part reaches r = sqrt(rho).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reliability:
    """Split-half reliability of single showings.

    Attributes
    ----------
    single : ndarray (n_targets,)
        Share of a single showing's variance over stimuli that repeats; clipped to [0, 1].
    """

    single: np.ndarray

    def of_mean(self, n: float) -> np.ndarray:
        """Return the ceiling, in r, of predicting the mean over `n` showings (Spearman-Brown)."""
        mean = n * self.single / (1 + (n - 1) * self.single)
        return np.sqrt(np.clip(mean, 0, 1))


def split_half(data: np.ndarray, stimulus: np.ndarray, *, n_splits: int = 100, seed: int = 0) -> Reliability:
    """Return the reliability of single showings from random halves of the repeats.

    Every stimulus' showings are dealt into two halves of equal size (one is left out where their number is odd),
    the half means are correlated over stimuli, averaged over splits, and brought to one showing by Spearman-Brown.

    Parameters
    ----------
    data : ndarray (n_presentations, n_targets)
    stimulus : int ndarray (n_presentations,)
    n_splits : int
        Random halves averaged.
    seed : int

    Raises
    ------
    ValueError
        If fewer than three stimuli were shown twice.
    """
    rng = np.random.default_rng([seed, 31])
    _, inverse, counts = np.unique(stimulus, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts >= 2)
    if len(repeated) < 3:
        raise ValueError(f"a split-half ceiling needs three stimuli shown twice, found {len(repeated)}")
    rows = [np.flatnonzero(inverse == index) for index in repeated]
    halves = np.array([len(one) // 2 for one in rows])
    total = np.zeros(data.shape[1])
    data = np.asarray(data)
    for _ in range(n_splits):
        order = [rng.permutation(one) for one in rows]
        first = np.stack([data[one[:half]].mean(axis=0) for one, half in zip(order, halves, strict=True)])
        second = np.stack([data[one[half : 2 * half]].mean(axis=0) for one, half in zip(order, halves, strict=True)])
        total += _correlate(first, second)
    r = total / n_splits
    n = float(halves.mean())
    single = np.where(r > 0, r / (n - (n - 1) * r), 0.0)  # Spearman-Brown for 1/n of a half
    return Reliability(np.clip(single, 0, 1))


def leave_one_out(data: np.ndarray) -> np.ndarray:
    """Return every participant's correlation with the mean of the others.

    It is what a model that knows the other participants perfectly would reach on this one: an estimate from below
    of the ceiling, since the mean of the others is itself noisy.

    Parameters
    ----------
    data : ndarray (n_subjects, n_rows, n_targets)

    Returns
    -------
    ndarray (n_subjects, n_targets)
    """
    total = data.sum(axis=0)
    return np.stack([np.clip(_correlate(one, (total - one) / (len(data) - 1)), 0, 1) for one in data])


def group_split_half(data: np.ndarray, *, n_splits: int = 100, seed: int = 0) -> np.ndarray:
    """Return the ceiling of the mean over participants: sqrt of its split-half reliability (Spearman-Brown).

    Parameters
    ----------
    data : ndarray (n_subjects, n_rows, n_targets)
        Z-scored responses.
    """
    rng = np.random.default_rng([seed, 37])
    n = len(data)
    half = n // 2
    total = np.zeros(data.shape[2])
    for _ in range(n_splits):
        order = rng.permutation(n)
        total += _correlate(data[order[:half]].mean(axis=0), data[order[half : 2 * half]].mean(axis=0))
    r = np.clip(total / n_splits, 0, 1)
    k = n / half
    return np.sqrt(k * r / (1 + (k - 1) * r))


def from_ncsnr(ncsnr: np.ndarray, repeats: np.ndarray | int) -> np.ndarray:
    """Return the ceiling, in r, from the noise ceiling SNR of the Natural Scenes Dataset.

    With ``ncsnr = s`` (standard deviation of signal over that of noise) and stimuli averaged over ``n_i`` showings,
    the explainable share of variance is ``s^2 / (s^2 + mean(1 / n_i))`` (Allen et al. 2022).

    Parameters
    ----------
    ncsnr : ndarray (n_targets,)
    repeats : int or ndarray (n_stimuli,)
        Showings averaged into each stimulus' response.
    """
    signal = np.asarray(ncsnr, dtype=float) ** 2
    noise = float(np.mean(1 / np.asarray(repeats, dtype=float)))
    return np.sqrt(signal / (signal + noise))


def _correlate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.divide((a * b).sum(axis=0), size, out=np.zeros(a.shape[1]), where=size > 0)
