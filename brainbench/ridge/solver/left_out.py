r"""Scores of every penalty on held-out rows, for few targets: from one fit to all rows, without decomposing the folds.

With the hat matrix H of the fit to all rows (mean included), leaving the rows L out changes their residuals to

.. math:: e_L = (I - H_{LL})^{-1} \, ((I - H)\, y)_L

exactly. A fold so costs one product and one solution of the size of its held-out rows for every penalty, however many
rows are fitted: less than an eigendecomposition of their kernel, unless targets are many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.core.arrays import Array
from brainbench.ridge.solver.blocks import Block
from brainbench.ridge.solver.folds import Fold, scores_from_sums
from brainbench.ridge.solver.scorers import spread
from brainbench.ridge.solver.spectra import Features, Spectrum

EIGH_COST = 8.0
"""Operations of an eigendecomposition in float64, over the cube of its size and in the time of a product's."""

OVERHEAD = 2e7
"""Operations that a fold takes the time of in whatever else belongs to decomposing it."""

WORST_CONDITION = 1e9
"""Largest eigenvalue over smallest penalty: residuals of the fit to all rows have lost as many digits."""

MEMORY = 6.0
"""Operations of a penalty's residuals, over their number of products: they go through memory."""

PIECE_BYTES = 16 << 20
"""Penalties are taken together as long as their products hold so many bytes."""


def few_enough(folds: Sequence[Fold], features: Features, n_alphas: int, n_targets: int) -> bool:
    """Return whether this takes less time than decomposing every fold, from the number of operations; in float64 only.

    Parameters
    ----------
    folds : sequence of Fold
    features : Features
    n_alphas, n_targets : int
    """
    if features.dtype != "float64":
        return False
    here, there, n_features = 0.0, 0.0, features.X.shape[1]
    for fold in folds:
        if fold.left_out is None or not np.isin(fold.test, fold.left_out).all():
            return False
        n_fitted, n_left = float(len(fold.train)), float(len(fold.left_out))
        width, size = min(n_fitted + n_left, n_features), min(n_fitted, n_features)
        here += n_alphas * (2 * n_left**2 * width + n_left**3 + MEMORY * n_targets * n_left * (n_left + width))
        there += EIGH_COST * size**3 + OVERHEAD
        there += 2 * n_targets * size * (n_fitted + n_alphas * min(n_left, size))
    return here < there


class LeftOutScores:
    """Scores of all folds for every penalty, averaged.

    Parameters
    ----------
    features : Features
        In float64.
    whole : Spectrum
        Of all rows, which are its known rows, without directions left out.
    folds : sequence of Fold
        Rows that are scored are among those left out.
    alphas : ndarray (n_alphas,)
        In units of the scaled features.
    scoring : {"r2", "pearsonr"}
    """

    def __init__(
        self, features: Features, whole: Spectrum, folds: Sequence[Fold], alphas: np.ndarray, scoring: str
    ) -> None:
        self.xp, self.folds, self.scoring, self.fit_intercept = features.xp, folds, scoring, features.fit_intercept
        self.coordinates = whole.known_coordinates
        self.filters = self.xp.asarray(whole.values / (whole.values + alphas[:, None]), "float64")
        self.needs_cross = False
        self.identity = self.xp.asarray(np.eye(max(len(fold.left_out) for fold in folds if fold.left_out is not None)))
        self.width = len(alphas) * max(len(fold.test) for fold in folds)

    def __call__(self, block: Block) -> Array:
        """Return scores ``(n_targets, n_alphas)``, float64."""
        b = self.coordinates.T @ block.Y
        total = self._of_fold(self.folds[0], block.Y, b)
        for fold in self.folds[1:]:
            total = total + self._of_fold(fold, block.Y, b)
        return total / len(self.folds)

    def _of_fold(self, fold: Fold, Y: Array, b: Array) -> Array:
        assert fold.left_out is not None
        xp, left = self.xp, self.xp.rows(fold.left_out)
        own, y_left, y = self.coordinates[left], Y[left], Y[xp.rows(fold.test)]
        order = np.argsort(fold.left_out)
        scored = xp.rows(order[np.searchsorted(fold.left_out, fold.test, sorter=order)])
        trained = xp.zeros((y.shape[1],), "float64")
        if self.fit_intercept:
            trained = xp.sum64(Y[xp.rows(fold.train)], 0) / len(fold.train)
        origin, about_mean, about_origin = spread(xp, y, trained, self.scoring)
        (n_left, n_targets), width = y_left.shape, own.shape[1]
        scores = xp.empty((len(self.filters), n_targets), "float64")
        step = max(1, PIECE_BYTES // (8 * n_left * (width + n_left + 2 * n_targets)))
        for start in range(0, len(scores), step):
            filters = self.filters[start : start + step]
            root = own * filters[:, None, :] ** 0.5
            hat = root @ root.swapaxes(1, 2)  # a product with itself takes half the time
            apart = self.identity[:n_left, :n_left] - (hat + 1 / len(Y) if self.fit_intercept else hat)
            residual = y_left - own @ (filters[:, :, None] * b)
            predicted = (y_left - xp.solve(apart, residual))[:, scored]
            predicted = predicted - (predicted.mean(1)[:, None] if self.scoring == "pearsonr" else origin)
            cross, power = ((y - origin) * predicted).sum(1), (predicted**2).sum(1)
            scores[start : start + step] = scores_from_sums(xp, self.scoring, about_mean, about_origin, cross, power)
        return scores.T
