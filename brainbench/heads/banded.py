"""Banded ridge: feature spaces with penalties of their own (Nunez-Elizalde et al. 2019; Dupré la Tour et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from brainbench.heads.ridge import Spectrum, choose, column_scores, inner_splits


class BandedRidgeCV(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression over feature spaces, ratio of penalties and alpha chosen per target.

    The kernel is a weighted sum of the bands' linear kernels; candidates for the weights are the equal mixture, each
    band alone with the others nearly off, and seeded draws from a Dirichlet distribution.

    Parameters
    ----------
    bands : sequence of slice or index arrays
        Columns of each feature space.
    alphas : array-like (n_alphas,)
    cv : int or splitter
        Inner folds.
    n_draws : int
        Random mixtures besides the equal one and one per band.
    scoring : {"r2", "pearsonr"}
    random_state : int

    Attributes
    ----------
    best_alphas_ : ndarray (n_targets,)
    best_weights_ : ndarray (n_bands, n_targets)
        Weights of the bands' kernels; they sum to one.
    dual_coef_ : ndarray (n_rows, n_targets)
    alpha_at_edge_ : bool ndarray (n_targets,)
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

    def fit(self, X: Any, y: Any, groups: np.ndarray | None = None) -> BandedRidgeCV:
        """Choose mixture and penalty per target and fit.

        Parameters
        ----------
        X : array-like (n_rows, n_features)
        y : array-like (n_rows,) or (n_rows, n_targets)
        groups : array-like (n_rows,), optional
        """
        self._fit(X, y, None, groups)
        return self

    def fit_then_predict(self, X: Any, y: Any, X_new: Any, groups: np.ndarray | None = None) -> np.ndarray:
        """Fit and predict new rows, ``(n_new,)`` or ``(n_new, n_targets)``."""
        predicted = self._fit(X, y, X_new, groups)
        assert predicted is not None
        return predicted[:, 0] if self._single else predicted

    def predict(self, X: Any) -> np.ndarray:
        """Predict responses, ``(n_rows,)`` or ``(n_rows, n_targets)``."""
        check_is_fitted(self, "dual_coef_")
        X = validate_data(self, X, reset=False, dtype=np.float64)
        predicted = self._predict(X)
        return predicted[:, 0] if self._single else predicted

    def _predict(self, X: np.ndarray) -> np.ndarray:
        predicted = np.tile(self.intercept_, (len(X), 1))
        for weights, (train, new) in zip(self.best_weights_, self._kernels(self.X_fit_, X), strict=True):
            del train
            predicted += (new @ self.dual_coef_) * weights
        return predicted

    def _kernels(self, X: np.ndarray, X_new: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return each band's centered kernels among rows and from new rows to rows."""
        kernels = []
        for band in self.bands:
            center = X[:, band].mean(axis=0)
            own, new = X[:, band] - center, X_new[:, band] - center
            kernels.append((own @ own.T, new @ own.T))
        return kernels

    def _fit(self, X: Any, y: Any, X_new: Any, groups: np.ndarray | None) -> np.ndarray | None:
        X, Y = validate_data(self, X, y, multi_output=True, y_numeric=True, dtype=np.float64)
        self._single = Y.ndim == 1
        Y = Y.reshape(len(Y), -1).astype(np.float64)
        if len(X) < 2:
            raise ValueError(f"banded ridge needs two rows or more, got n_samples = {len(X)}")
        alphas, mixtures = np.asarray(self.alphas, dtype=float), self.mixtures()
        scores = np.zeros((len(mixtures), len(alphas), Y.shape[1]))
        folds = inner_splits(self.cv, len(X), groups)
        for train, test in folds:
            kernels = self._kernels(X[train], X[test])
            for m, mixture in enumerate(mixtures):
                spectrum = Spectrum.from_kernel(*_mix(kernels, mixture))
                B, mean = spectrum.rotate(Y[train])
                for a, alpha in enumerate(alphas):
                    predicted = spectrum.predict(B, alpha) + mean
                    scores[m, a] += column_scores(Y[test], predicted, self.scoring) / len(folds)
        best_mixture = scores.max(axis=1).argmax(axis=0)
        best_alpha = choose(scores[best_mixture, :, np.arange(Y.shape[1])].T, alphas)
        self.best_alphas_ = alphas[best_alpha]
        self.best_weights_ = mixtures[best_mixture].T
        self.cv_scores_ = scores
        self.alpha_at_edge_ = (self.best_alphas_ == alphas.min()) | (self.best_alphas_ == alphas.max())
        self.X_fit_ = X
        self.dual_coef_ = np.empty_like(Y)
        self.intercept_ = Y.mean(axis=0)
        kernels = self._kernels(X, X[:0])
        for m in np.unique(best_mixture):
            mine = best_mixture == m
            spectrum = Spectrum.from_kernel(*_mix(kernels, mixtures[m]))
            B, _ = spectrum.rotate(Y[:, mine])
            self.dual_coef_[:, mine] = spectrum.vectors @ (B / (spectrum.values[:, None] + self.best_alphas_[mine]))
        if X_new is None:
            return None
        return self._predict(np.asarray(X_new, dtype=np.float64))


def _mix(kernels: list[tuple[np.ndarray, np.ndarray]], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    K = sum(w * own for w, (own, _) in zip(weights, kernels, strict=True))
    C = sum(w * new for w, (_, new) in zip(weights, kernels, strict=True))
    return np.asarray(K), np.asarray(C)
