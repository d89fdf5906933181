"""A short name of a trial's samples, by which the same trial is known again in another file.

Two recordings never go up and down together to the fourth digit; copies do, whatever format rounded them.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

WIDTH = 24
"""Numbers of a fingerprint."""
SAME = 0.02
"""Distance of two fingerprints of unit length from which on they are of the same samples: r above .9998."""
_SEED = 20240229


def fingerprints(X: np.ndarray) -> np.ndarray:
    """Return ``(n_trials, WIDTH)`` of unit length: random sums of the steps between samples.

    Parameters
    ----------
    X : ndarray (n_trials, n_channels, n_times)
        Steps are used so that neither an offset nor a slow drift, which many trials share, decides. A sum of all steps
        with random weights is a projection: it keeps how alike two trials are, to within what 24 numbers tell.
    """
    _, n_channels, n_times = X.shape
    rng = np.random.default_rng(_SEED)
    over_channels = rng.normal(size=(WIDTH, n_channels))
    over_time = rng.normal(size=(WIDTH, max(1, n_times - 1)))
    steps = np.diff(X, axis=-1) if n_times > 1 else X
    found = np.einsum("wc,nct,wt->nw", over_channels, steps, over_time, optimize=True)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(length == 0, 1.0, length), dtype=np.float64)


def reach(prints: np.ndarray) -> float:
    """Return the distance up to which fingerprints ``(n_trials, WIDTH)`` are of the same samples.

    Where a hum in step with the events makes all trials alike, only what is far more alike than they are is the same.
    """
    if len(prints) < 2:
        return SAME
    rng = np.random.default_rng(_SEED)
    one, other = rng.integers(0, len(prints), size=(2, 512))
    apart = np.linalg.norm(prints[one] - prints[other], axis=1)[one != other]
    return min(SAME, float(np.median(apart)) / 20) if len(apart) else SAME


def repeated(prints: np.ndarray, known: np.ndarray, within: float) -> np.ndarray:
    """Return which of some fingerprints, ``(n,)`` bool, are of the samples of any of the `known` ones."""
    if not len(prints) or not len(known):
        return np.zeros(len(prints), dtype=bool)
    distance, _ = cKDTree(known).query(prints, distance_upper_bound=within)
    return np.asarray(np.isfinite(distance))
