r"""Responses with a planted layer and a stated noise ceiling.

A voxel's signal is a random mixture of the leading principal components of its layer's features, whitened so that
every component counts alike: layers share their first components and differ in the others, so that neighbours can
be told apart. With signal variance 1 and noise variance :math:`\sigma^2` per showing, the mean over m showings
correlates with the signal at

.. math:: c = 1 / \sqrt{1 + \sigma^2 / m}, \quad\text{so}\quad \sigma^2 = m (1 / c^2 - 1)

gives the ceiling c for a model that knows the signal exactly.
"""

from __future__ import annotations

import numpy as np
from sklearn.utils.extmath import svd_flip

N_COMPONENTS = 20
"""Principal components of a layer that drive a voxel."""


OTHERS = 0.3
"""Largest answer of a voxel to a category that its region does not prefer."""


def planted_signal(features: np.ndarray, n_voxels: int, rng: np.random.Generator) -> np.ndarray:
    """Return signals of unit variance, ``(n_rows, n_voxels)``.

    Parameters
    ----------
    features : ndarray (n_rows, n_features)
    n_voxels : int
    rng : numpy Generator
    """
    X = np.asarray(features, dtype=np.float64)
    spread = X.std(axis=0)
    X = (X - X.mean(axis=0)) / np.where(spread > 1e-9 * max(float(spread.max(initial=0)), 1e-300), spread, np.inf)
    left, size, right = np.linalg.svd(X, full_matrices=False)
    # The sign of a component is the library's, processor's or GPU's choice; the participants are the same on all.
    left, _ = svd_flip(left, right)
    keep = min(N_COMPONENTS, int(np.sum(size > 1e-6 * size[0])))
    signal = left[:, :keep] @ rng.standard_normal((keep, n_voxels))
    return (signal - signal.mean(axis=0)) / signal.std(axis=0)


def preferring_signal(categories: np.ndarray, preferred: str, n_voxels: int, rng: np.random.Generator) -> np.ndarray:
    """Return signals of unit variance of voxels that prefer a category, ``(n_rows, n_voxels)``.

    A voxel answers to the preferred category with 1 and to each of the others with a random share of its own, between
    -0.3 and 0.3.
    """
    names, index = np.unique(categories, return_inverse=True)
    tuning = rng.uniform(-OTHERS, OTHERS, (len(names), n_voxels))
    tuning[np.flatnonzero(names == preferred)] = 1
    signal = tuning[index]
    return (signal - signal.mean(axis=0)) / signal.std(axis=0)


def noise_variance(ceiling: float, n_repeats: int) -> float:
    """Return the noise variance per showing that gives the mean over `n_repeats` showings this ceiling (in r)."""
    return n_repeats * (1 / ceiling**2 - 1)


def autocorrelated_noise(n_rows: int, n_voxels: int, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Return first-order autoregressive noise of unit variance, ``(n_rows, n_voxels)``."""
    from scipy.signal import lfilter

    innovations = rng.standard_normal((n_rows, n_voxels)) * np.sqrt(1 - correlation**2)
    innovations[0] /= np.sqrt(1 - correlation**2)
    return np.asarray(lfilter([1], [1, -correlation], innovations, axis=0))


def slow_drift(n_rows: int, n_voxels: int, t_r: float, rng: np.random.Generator) -> np.ndarray:
    """Return drifts slower than 150 s, of unit variance, ``(n_rows, n_voxels)``."""
    order = max(1, int(2 * n_rows * t_r / 150))
    times = (np.arange(n_rows) + 0.5) / n_rows
    drift = np.cos(np.pi * np.outer(times, np.arange(1, order + 1))) @ rng.standard_normal((order, n_voxels))
    return drift / drift.std(axis=0)


def showings(n_stimuli: int, n_repeats: int, n_runs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Deal every stimulus' showings into different runs; return the stimulus and run of each presentation.

    Repeats of a stimulus come in different runs as long as there are enough of them.
    """
    first = rng.permutation(n_stimuli) % n_runs
    run = np.concatenate([(first + repeat * max(1, n_runs // n_repeats)) % n_runs for repeat in range(n_repeats)])
    stimulus = np.tile(np.arange(n_stimuli), n_repeats)
    order = np.lexsort((rng.random(len(run)), run))
    return stimulus[order], run[order]
