"""Layers of one network from those of another, by linear maps: the error matrix of two depths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainbench.ridge.encoding import FoldDesign, FoldSettings

ALPHAS = np.logspace(-8, 3, 12)
Folds = Sequence[tuple[np.ndarray, np.ndarray]]


def map_error(X: np.ndarray, Y: np.ndarray, folds: Folds, *, n_components: int = 100, seed: int = 0) -> float:
    """Return how much of the variance of features `Y` a linear map from features `X` leaves: 0 all known, about 1 none.

    Mean over features, each in units of its own variance over training rows, and over held-out rows. The published
    error |h - f(h')| / |h| is not centred: where features have an offset it is near 0 for the mean alone
    (Csordás et al. 2025, arXiv:2505.13898).

    Parameters
    ----------
    X, Y : ndarray (n_stimuli, n_features)
    folds : sequence of (train, test)
    n_components : int
        Principal components of `X`, fitted on training rows, where it has more features.
    seed : int
    """
    found = []
    for train, test in folds:
        spread = Y[train].std(axis=0)
        kept = spread > 1e-6 * max(float(spread.max()), 1e-300)
        scaled = (Y[:, kept] - Y[train][:, kept].mean(axis=0)) / spread[kept]
        settings = FoldSettings(ALPHAS, "pca", min(n_components, len(train) - 1), seed=seed)
        design = FoldDesign([X], train, test, settings, inner_groups=None, run=np.zeros(len(X), int))
        done = design.fit(scaled)
        found.append(float(((done.y_true - done.y_pred) ** 2).mean() / (done.y_true**2).mean()))
    return float(np.mean(found))


@dataclass(frozen=True)
class Matched:
    """Depths of one network beside those of another.

    Attributes
    ----------
    error : ndarray (n_layers, n_other)
        From every layer of the first to every layer of the other.
    nearest : int ndarray (n_other,)
        The layer of the first that each of the other is best made from.
    rho, p : float
        Spearman's correlation of relative depths of such pairs, and the share of exchanges of depths with as much.
    """

    error: np.ndarray
    nearest: np.ndarray
    rho: float
    p: float


def matched(
    layers: Sequence[np.ndarray], other: Sequence[np.ndarray], folds: Folds, *, n_components: int = 100, seed: int = 0
) -> Matched:
    """Return how the layers of a network follow from those of another, on the same stimuli.

    Parameters
    ----------
    layers, other : sequence of ndarray (n_stimuli, n_features)
        In order of depth.
    folds : sequence of (train, test)
    n_components, seed : int
        See `map_error`.
    """
    from scipy.stats import spearmanr

    error = np.array([[map_error(X, Y, folds, n_components=n_components, seed=seed) for Y in other] for X in layers])
    nearest = error.argmin(axis=0)
    depth = np.arange(len(other))
    if len(np.unique(nearest)) < 2:
        return Matched(error, nearest, float("nan"), float("nan"))
    rho, rng = float(spearmanr(nearest, depth).statistic), np.random.default_rng([seed, 53])
    draws = [float(spearmanr(rng.permutation(nearest), depth).statistic) for _ in range(999)]
    return Matched(error, nearest, rho, (1 + sum(draw >= rho - 1e-12 for draw in draws)) / 1000)
