"""Banded ridge: feature spaces with penalties of their own (Nunez-Elizalde et al. 2019; Dupré la Tour et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from brainbench.core.arrays import Array, arrays_of
from brainbench.ridge.inputs import check_alphas, check_features, check_scoring, check_training
from brainbench.ridge.solver.blocks import make_block
from brainbench.ridge.solver.folds import choose, descending, inner_splits, target_blocks
from brainbench.ridge.solver.solver import Fit, Solver
from brainbench.ridge.solver.spectra import Features

REFIT_TARGETS = 2048
"""Targets refitted at once."""


class BandedRidgeCV(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression over feature spaces, ratio of penalties and alpha chosen per target.

    The kernel is a weighted sum of the bands' linear kernels; candidates for the weights are the equal mixture, each
    band alone with the others nearly off, and seeded draws from a Dirichlet distribution. Draws belong to the places
    of bands: the same bands in another order have other candidates. Every mixture is solved as by `RidgeCV`, from the
    same inner products.

    Parameters
    ----------
    bands : sequence of slice or index arrays
        Columns of each feature space, without overlap; columns of no band are not used.
    alphas : array-like (n_alphas,)
    cv : int or splitter
        Inner folds.
    n_draws : int
        Random mixtures besides the equal one and one per band.
    scoring : {"r2", "pearsonr"}
    random_state : int

    Attributes
    ----------
    coef_ : array (n_features, n_targets)
    intercept_ : array (n_targets,)
    best_alphas_ : array (n_targets,)
    best_weights_ : ndarray (n_bands, n_targets)
        Weights of the bands' kernels; they sum to one. The penalty of a band is alpha over its weight.
    cv_scores_ : array (n_mixtures, n_alphas, n_targets)
    alpha_at_edge_ : bool array (n_targets,)
    """

    def __init__(
        self,
        bands: Sequence[Any] = (slice(None),),
        alphas: Any = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0),
        cv: Any = 5,
        n_draws: int = 4,
        scoring: str = "r2",
        random_state: int = 0,
    ) -> None:
        self.bands = bands
        self.alphas = alphas
        self.cv = cv
        self.n_draws = n_draws
        self.scoring = scoring
        self.random_state = random_state

    def mixtures(self) -> np.ndarray:
        """Return candidate weights of the bands, ``(n_mixtures, n_bands)``."""
        n = len(self.bands)
        if n == 1:
            return np.ones((1, 1))
        alone = np.full((n, n), 0.02 / (n - 1)) + np.eye(n) * (0.98 - 0.02 / (n - 1))
        rng = np.random.default_rng([self.random_state, 53])
        return np.concatenate([np.full((1, n), 1 / n), alone, rng.dirichlet(np.ones(n), size=self.n_draws)])

    def fit(self, X: Any, y: Any, groups: Any = None) -> BandedRidgeCV:
        """Choose mixture and penalty per target and fit.

        Parameters
        ----------
        X : array-like or tensor (n_rows, n_features)
        y : array-like or tensor (n_rows,) or (n_rows, n_targets)
        groups : array-like (n_rows,), optional
            Rows that inner folds keep together.

        Raises
        ------
        ValueError
            For NaN or infinite values, with the first one's position, fewer than two rows, parameters out of range,
            and bands that overlap.
        """
        X, Y = check_training(self, X, y)
        check_scoring(self.scoring)
        alphas, mixtures = check_alphas(self.alphas), self.mixtures()
        _check_bands(self.bands, X.shape[1])
        single = Y.ndim == 1
        Y = Y.reshape(len(Y), -1)
        xp, n_targets = arrays_of(X, Y), Y.shape[1]
        features = Features(xp, X, fit_intercept=True, bands=self.bands)
        folds = inner_splits(self.cv, len(X), groups)
        scores = xp.empty((len(mixtures), len(alphas), n_targets), "float64")
        fits: list[Fit] = []
        # Mixtures are the outer loop: one mixture's spectra are in memory at a time, besides the fits.
        for index, weights in enumerate(mixtures):
            solver = Solver(features, folds, alphas, self.scoring, n_targets=n_targets, weights=weights)
            fits.append(solver.fit)
            for columns in target_blocks(n_targets, solver.block_size()):
                block = make_block(xp, Y, columns, fit_intercept=True)
                scores[index][:, columns] = solver.scores(solver.with_cross(block))
        # Mixture first, by the score of its best penalty, then the penalty.
        host = xp.to_numpy(scores)
        mixture = host.max(axis=1).argmax(axis=0)
        own = host[mixture, :, np.arange(n_targets)].T
        self.best_alphas_ = xp.asarray(alphas[choose(own, descending(alphas))])
        self.best_weights_ = mixtures[mixture].T
        self.cv_scores_ = scores
        self.alpha_at_edge_ = (self.best_alphas_ == alphas.min()) | (self.best_alphas_ == alphas.max())
        coef, intercept = self._refit(features, fits, mixture, Y)
        self.coef_ = coef[:, 0] if single else coef
        self.intercept_ = intercept[0] if single else intercept
        return self

    def _refit(self, features: Features, fits: list[Fit], mixture: np.ndarray, Y: Array) -> tuple[Array, Array]:
        """Fit every target with its own mixture and penalty; return weights and intercepts."""
        xp, n_targets = features.xp, Y.shape[1]
        coef = xp.empty((features.X.shape[1], n_targets), features.dtype)
        intercept = xp.empty((n_targets,), features.dtype)
        for index in np.unique(mixture):
            fit, targets = fits[index], np.flatnonzero(mixture == index)
            for columns in target_blocks(len(targets), REFIT_TARGETS):
                mine = xp.asarray(targets[columns], "int64")
                block = make_block(xp, Y[:, mine], slice(None), fit_intercept=True)
                weights = features.coef(fit.spectrum, fit.shrunk(block, self.best_alphas_[mine]))
                coef[:, mine] = weights
                intercept[mine] = features.intercept(fit.spectrum, weights, block.mean)
        return coef, intercept

    def fit_then_predict(self, X: Any, y: Any, X_new: Any, groups: Any = None) -> Array:
        """Fit and predict new rows, ``(n_new,)`` or ``(n_new, n_targets)``."""
        return self.fit(X, y, groups).predict(X_new)

    def predict(self, X: Any) -> Array:
        """Predict responses, ``(n_rows,)`` or ``(n_rows, n_targets)``."""
        check_is_fitted(self, "coef_")
        return check_features(self, X, like=self.coef_) @ self.coef_ + self.intercept_

    def product_measure(self, X: Any, y: Any) -> Array:
        r"""Split the variance that is explained in new rows among the bands.

        The share of band b is :math:`\sum \hat y_b (2 y - \hat y) / \sum y^2` with responses and predictions centred
        (Dupré la Tour et al. 2022, eq. 12; the product measure of Pratt 1987). Shares of all bands add up to the
        explained variance; correlated bands divide what they share, and a share may be negative.

        Parameters
        ----------
        X : array-like or tensor (n_rows, n_features)
        y : array-like or tensor (n_rows, n_targets)

        Returns
        -------
        array (n_bands, n_targets)
        """
        check_is_fitted(self, "coef_")
        X = check_features(self, X, like=self.coef_)
        xp = arrays_of(X)
        X = X - X.mean(0)
        y = xp.asarray(y, xp.dtype_of(X)).reshape(len(X), -1)
        y = y - y.mean(0)
        coef = self.coef_.reshape(X.shape[1], -1)
        left = 2 * y - X @ coef
        total = xp.sum64(y * y, 0)
        total = xp.where(total > 0, total, np.inf)
        shares = xp.empty((len(self.bands), y.shape[1]), xp.dtype_of(X))
        for index, band in enumerate(self.bands):
            shares[index] = xp.sum64((X[:, band] @ coef[band]) * left, 0) / total
        return shares


def unique_variance(head: BandedRidgeCV, X: Any, y: Any, X_new: Any, y_new: Any, groups: Any = None) -> Array:
    """Return the R2 in new rows that is lost when a band is left out and everything is chosen and fitted again.

    Parameters
    ----------
    head : BandedRidgeCV
        Its parameters are used; it is not changed.
    X, y, groups
        To fit, as in `BandedRidgeCV.fit`.
    X_new : array-like or tensor (n_new, n_features)
    y_new : array-like or tensor (n_new, n_targets)

    Returns
    -------
    array (n_bands, n_targets)
    """

    def r2(bands: list[Any]) -> Array:
        predicted = clone(head).set_params(bands=bands).fit(X, y, groups).predict(X_new)
        left = xp.sum64((y_new - predicted) ** 2, 0)
        total = xp.sum64((y_new - y_new.mean(0)) ** 2, 0)
        return xp.where(total > 0, 1 - left / xp.where(total > 0, total, 1.0), 0.0)

    xp = arrays_of(X)
    y_new = xp.asarray(y_new)
    bands = list(head.bands)
    if len(bands) < 2:
        raise ValueError("the unique variance of a band needs another band")
    full = r2(bands)
    lost = xp.empty((len(bands), *y_new.shape[1:]), "float64")
    for index in range(len(bands)):
        lost[index] = full - r2(bands[:index] + bands[index + 1 :])
    return lost


def _check_bands(bands: Sequence[Any], n_features: int) -> None:
    used = np.zeros(n_features, dtype=int)
    for band in bands:
        used[band] += 1
    if len(used) and used.max() > 1:
        raise ValueError(f"bands overlap: column {int(used.argmax())} is in more than one")
