r"""Held-out predictions of all penalties from the fits of a few, without an eigendecomposition per fold.

Let H be the hat matrix of the fit to all rows with one penalty (the mean included), and :math:`A = I - H`. Leaving the
rows L out changes their residuals to

.. math:: e_L = A_{LL}^{-1} (A y)_L, \qquad \hat y_L = y_L - e_L = -A_{LL}^{-1} A_{Lt} y_t ,

exactly, as leaving one row out divides its residual by one minus its leverage. So a penalty costs one product with
the rows fitted. The filters :math:`l / (l + a)` of a whole grid of penalties are combinations of those of a few,
the nodes, to any tolerance: rational functions with poles at minus the nodes. Few are enough where eigenvalues span
two or three orders of magnitude, as with many more features than rows; folds' eigenvalues lie between the smallest and
the largest of all rows (Cauchy's interlacing), so one interval serves all folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import qr
from scipy.optimize import minimize

from brainbench.ridge.solver.folds import Fold

MIN_ROWS = 400
"""With fewer rows, eigendecompositions take less time than looking for nodes."""

EIGH_COST = 25.0
"""Multiplications that an eigendecomposition in float64 takes the time of, over the cube of its size."""

FILTER_PRODUCTS = 5.0
"""Products with the directions that `brainbench.ridge.solver.scorers.FoldScores` takes besides the rotation."""

GRID = 100
"""Eigenvalues at which filters are compared, evenly over the logarithm."""

STEPS_PER_OCTAVE = 2
"""Of the interval that nodes are searched for."""

CANDIDATES = 60
"""Penalties from which the first guess of the nodes is taken."""


@dataclass(frozen=True)
class Nodes:
    """Penalties whose filters stand for those of all.

    Attributes
    ----------
    alphas : ndarray (n_nodes,)
    weights : ndarray (n_alphas, n_nodes)
        Combine the filters of the nodes, as they are, to those of all penalties.
    """

    alphas: np.ndarray
    weights: np.ndarray


def find_nodes(
    low: float, high: float, alphas: np.ndarray, *, tolerance: float, size: float, relative: bool, most: int
) -> Nodes | None:
    """Return the fewest nodes that reproduce every filter to a tolerance, or None if `most` are too few.

    The search takes as long as a decomposition. It is made for an interval a little wider than the one that is asked,
    so that folds, mixtures and layers with like spectra share it.

    Parameters
    ----------
    low, high : float
        Smallest and largest eigenvalue.
    alphas : ndarray (n_alphas,)
    tolerance : float
        Largest error of a filter, times the length that the direction is taken to have in new rows.
    size : float
        Eigenvalue above which directions are as long in new rows as in the training rows. Along smaller ones new rows
        keep the spread of the features, so that their length grows with the inverse square root of the eigenvalue.
    relative : bool
        Scale every filter to a largest value of 1 first, as in `filter_basis`.
    most : int
    """
    steps = [np.log2(value) * STEPS_PER_OCTAVE for value in (low, high, size)]
    wider = [2.0 ** (step / STEPS_PER_OCTAVE) for step in (np.floor(steps[0]), np.ceil(steps[1]), np.ceil(steps[2]))]
    return _found(*map(float, wider), np.asarray(alphas, dtype=np.float64).tobytes(), tolerance, relative, most)


@lru_cache(maxsize=256)
def _found(
    low: float, high: float, size: float, penalties: bytes, tolerance: float, relative: bool, most: int
) -> Nodes | None:
    alphas, values = np.frombuffer(penalties), np.geomspace(low, high, GRID)
    lengths = np.sqrt(np.maximum(1.0, size / values))
    filters = values / (values + alphas[:, None]) * lengths
    scale = filters.max(axis=1, keepdims=True) if relative else np.ones((len(alphas), 1))
    filters = filters / scale

    def solve(logs: np.ndarray) -> tuple[float, np.ndarray]:
        basis = values / (values + np.exp(logs)[:, None]) * lengths
        largest = basis.max(axis=1, keepdims=True)
        weights = np.linalg.lstsq((basis / largest).T, filters.T, rcond=1e-13)[0]
        error = np.abs(filters - weights.T @ (basis / largest)).max()
        return float(error), (weights / largest).T * scale

    left, spread, right = np.linalg.svd(filters, full_matrices=False)
    candidates = np.geomspace(alphas.min(), alphas.max(), CANDIDATES)
    offered = values / (values + candidates[:, None]) * lengths
    pivots = qr((offered / offered.max(axis=1, keepdims=True)).T, mode="economic", pivoting=True)[2]
    for rank in range(1, min(most, len(alphas), GRID) + 1):
        # No basis of this size does better than the singular vectors, roughly.
        if np.abs(filters - (left[:, :rank] * spread[:rank]) @ right[:rank]).max() > tolerance:
            continue
        logs = np.log(candidates[np.sort(pivots[:rank])])
        if solve(logs)[0] > tolerance:
            settings = {"maxfev": 400, "xatol": 1e-2, "fatol": 1e-2}
            logs = minimize(lambda x: np.log(solve(x)[0]), logs, method="Nelder-Mead", options=settings).x
        error, weights = solve(logs)
        if error <= tolerance:
            return Nodes(np.exp(logs), weights)
    return None


def fit_for_nodes(folds: list[Fold]) -> bool:
    """Return whether all rows that are scored are among those left out, and there are enough rows to be worth it."""
    rows = max(len(fold.train) for fold in folds)
    return rows >= MIN_ROWS and all(
        fold.left_out is not None and bool(np.isin(fold.test, fold.left_out).all()) for fold in folds
    )


def most_worth(folds: list[Fold], n_targets: int) -> int:
    """Return how many nodes may be used before eigendecompositions of the folds' kernels would be faster."""
    fitted = np.array([len(fold.train) for fold in folds], dtype=float)
    scored = np.array([len(fold.test) for fold in folds], dtype=float)
    left = np.array([0 if fold.left_out is None else len(fold.left_out) for fold in folds], dtype=float)
    n_rows = float((fitted + left).max())
    directions = EIGH_COST * fitted**3 + 2 * n_targets * fitted * (fitted + FILTER_PRODUCTS * scored)
    node = 2 * n_rows**3 + (2 * left**2 * (fitted + left) + 2 * n_targets * scored * fitted).sum()
    return int(directions.sum() / node)
