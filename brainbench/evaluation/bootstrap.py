"""Confidence by resampling: rows (stimuli or blocks of time), the choice of the best layer, and participants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.last_used import LastUsed

_WEIGHTS: LastUsed[np.ndarray] = LastUsed()


def row_weights(
    stimulus: np.ndarray,
    *,
    fold: np.ndarray | None = None,
    block_length: int | None = None,
    n_draws: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Return how often each row is drawn, resampling stimuli or blocks with replacement within folds.

    Parameters
    ----------
    stimulus : ndarray (n_rows,)
        Rows of one stimulus are drawn together.
    fold : ndarray (n_rows,), optional
        Resampling stays within folds, so that every fold keeps its size.
    block_length : int, optional
        Draw blocks of so many neighbouring rows instead of stimuli (continuous designs).
    n_draws : int
    seed : int

    Returns
    -------
    float ndarray (n_draws, n_rows)
        Not to be written to: all layers of a participant get the same.
    """
    asked = [np.asarray(stimulus), None if fold is None else np.asarray(fold), block_length, n_draws, seed]
    name = digest([digest_array(one) if isinstance(one, np.ndarray) else one for one in asked])
    return _WEIGHTS.get(name, lambda: _drawn(stimulus, fold, block_length, n_draws, seed))


def _drawn(
    stimulus: np.ndarray, fold: np.ndarray | None, block_length: int | None, n_draws: int, seed: int
) -> np.ndarray:
    rng = np.random.default_rng([seed, 23])
    n_rows = len(stimulus)
    fold = np.zeros(n_rows, dtype=int) if fold is None else np.asarray(fold)
    weights = np.zeros((n_draws, n_rows))
    for value in np.unique(fold):
        rows = np.flatnonzero(fold == value)
        units = (
            np.arange(len(rows)) // block_length if block_length else np.unique(stimulus[rows], return_inverse=True)[1]
        )
        n_units = int(units.max()) + 1
        counts = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_draws)
        weights[:, rows] = counts[:, units]
    return weights


@dataclass(frozen=True)
class Choice:
    """The best layer of one ROI.

    Attributes
    ----------
    index : int
        The layer with the best score.
    share : ndarray (n_layers,)
        Share of bootstrap draws in which each layer was best.
    depth_low, depth_high : float
        Central share of the best depth over draws.
    """

    index: int
    share: np.ndarray
    depth_low: float
    depth_high: float


def best_layer(values: np.ndarray, draws: np.ndarray, depth: np.ndarray, confidence: float = 0.95) -> list[Choice]:
    """Choose the best layer of every ROI, repeating the choice in every bootstrap draw.

    Parameters
    ----------
    values : ndarray (n_layers, n_rois)
    draws : ndarray (n_layers, n_draws, n_rois)
        Layers share the resampled rows, so that their differences keep their correlation.
    depth : ndarray (n_layers,)
    confidence : float
        Share of the draws between the ends of the best depth.
    """
    tail = (1 - confidence) / 2
    winners = draws.argmax(axis=0)
    choices = []
    for roi in range(values.shape[1]):
        share = np.bincount(winners[:, roi], minlength=len(values)) / len(winners)
        low, high = np.quantile(depth[winners[:, roi]], [tail, 1 - tail], method="nearest")
        choices.append(Choice(int(values[:, roi].argmax()), share, float(low), float(high)))
    return choices


FEWEST_FOR_INTERVAL = 5
"""Participants below which their scores are shown one by one: an interval of two spans more than its scale."""

FEWEST_FOR_TEST = 3
"""Participants below which nothing is tested over them."""


@dataclass(frozen=True)
class GroupMean:
    """A mean over participants, each participant one draw from the population; NaN is what cannot be estimated."""

    value: float
    ci_low: float
    ci_high: float
    p: float


def subject_mean(
    values: np.ndarray,
    *,
    chance: float = 0.0,
    confidence: float = 0.95,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> GroupMean:
    """Return the mean over participants with a t interval and a one-sided t test against chance.

    Participants with equal scores have no spread, and nothing but the mean can be estimated from them.

    Parameters
    ----------
    values : ndarray (n_subjects,)
        One score per participant.
    chance : float
    confidence : float
    bounds : (float, float)
        Of the score; the interval is cut there, which no value it could cover notices.

    Raises
    ------
    ValueError
        With fewer than two participants.
    """
    from scipy import stats

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        raise ValueError(f"a mean over participants needs two participants or more, got {len(values)}")
    mean, n = float(values.mean()), len(values)
    error = float(values.std(ddof=1) / np.sqrt(n))
    if n < FEWEST_FOR_TEST or error <= 1e-12 * max(abs(mean), 1e-12):
        return GroupMean(mean, np.nan, np.nan, np.nan)
    p = float(stats.t.sf((mean - chance) / error, n - 1))
    if n < FEWEST_FOR_INTERVAL:
        return GroupMean(mean, np.nan, np.nan, p)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    return GroupMean(mean, max(mean - half, bounds[0]), min(mean + half, bounds[1]), p)
