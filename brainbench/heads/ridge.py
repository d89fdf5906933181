"""Ridge regression with a penalty per target, chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.model_selection import GroupKFold, KFold, check_cv
from sklearn.utils.validation import check_is_fitted, validate_data

BLOCK_BYTES = 64 << 20
"""Targets are taken in blocks whose predictions fit into so many bytes."""


class Spectrum:
    """One factorisation that gives the ridge predictions of new rows for every penalty.

    Primal (features x features) when there are fewer features than rows, else dual (rows x rows). With the
    eigenvalues ``l`` and rotated cross-products ``B``, predictions are ``Z @ (B / (l + alpha))``.

    Parameters
    ----------
    X : ndarray (n_rows, n_features)
    X_new : ndarray (n_new, n_features)
    fit_intercept : bool
    """

    def __init__(self, X: np.ndarray, X_new: np.ndarray, fit_intercept: bool) -> None:
        self.center = X.mean(axis=0) if fit_intercept else np.zeros(X.shape[1], dtype=X.dtype)
        self.fit_intercept = fit_intercept
        X, X_new = X - self.center, X_new - self.center
        self.primal = X.shape[1] <= X.shape[0]
        gram = X.T @ X if self.primal else X @ X.T
        values, self.vectors = np.linalg.eigh(gram)
        # Eigenvalues below rounding stand for directions without data.
        floor = values[-1] * len(values) * np.finfo(gram.dtype).eps if len(values) else 0.0
        self.keep = values > max(float(floor), 0.0)
        self.values, self.vectors = values[self.keep], self.vectors[:, self.keep]
        self.X = X
        self.Z = X_new @ self.vectors if self.primal else (X_new @ X.T) @ self.vectors

    @classmethod
    def from_kernel(cls, K: np.ndarray, K_new: np.ndarray) -> Spectrum:
        """Return the dual form from centered kernels ``(n_rows, n_rows)`` and ``(n_new, n_rows)``."""
        self = cls.__new__(cls)
        self.primal, self.fit_intercept = False, True
        values, vectors = np.linalg.eigh(K)
        self.keep = values > values[-1] * len(values) * np.finfo(K.dtype).eps
        self.values, self.vectors = values[self.keep], vectors[:, self.keep]
        self.Z = K_new @ self.vectors
        return self

    def rotate(self, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rotated cross-products of some targets and their mean."""
        mean = Y.mean(axis=0) if self.fit_intercept else np.zeros(Y.shape[1], dtype=Y.dtype)
        Y = Y - mean
        return (self.vectors.T @ (self.X.T @ Y) if self.primal else self.vectors.T @ Y), mean

    def predict(self, B: np.ndarray, alpha: np.ndarray | float) -> np.ndarray:
        """Return centered predictions of the new rows; `alpha` is one or one per target."""
        return self.Z @ (B / (self.values[:, None] + alpha))

    def coef(self, B: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """Return weights ``(n_features, n_targets)``."""
        inner = self.vectors @ (B / (self.values[:, None] + alpha))
        return inner if self.primal else self.X.T @ inner


def target_blocks(n_targets: int, n_rows: int, itemsize: int, size: int | str = "auto") -> Iterator[slice]:
    """Yield slices over targets."""
    step = size if isinstance(size, int) else max(1, BLOCK_BYTES // max(1, n_rows * itemsize))
    for start in range(0, n_targets, step):
        yield slice(start, min(start + step, n_targets))


def column_scores(y_true: np.ndarray, y_pred: np.ndarray, scoring: str) -> np.ndarray:
    """Return R2 or Pearson's r of every column; constant targets score 0."""
    centered = y_true - y_true.mean(axis=0)
    total = (centered**2).sum(axis=0)
    if scoring == "r2":
        left = ((y_true - y_pred) ** 2).sum(axis=0)
        return np.where(total > 0, 1 - left / np.where(total > 0, total, 1), 0.0)
    spread = y_pred - y_pred.mean(axis=0)
    size = np.sqrt(total * (spread**2).sum(axis=0))
    return np.divide((centered * spread).sum(axis=0), size, out=np.zeros_like(total), where=size > 0)


def inner_splits(cv: Any, n_rows: int, groups: np.ndarray | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return inner folds: grouped where `groups` are given, else contiguous; a splitter is used as it is."""
    if isinstance(cv, (int, np.integer)):
        if groups is not None:
            n_groups = len(np.unique(groups))
            if n_groups >= 2:
                splitter: Any = GroupKFold(min(int(cv), n_groups))
                return list(splitter.split(np.zeros((n_rows, 1)), groups=groups))
        return list(KFold(min(int(cv), n_rows)).split(np.zeros((n_rows, 1))))
    return list(check_cv(cv).split(np.zeros((n_rows, 1)), np.zeros(n_rows), groups))


def choose(scores: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Return the index of the best penalty of every target; among equals the largest penalty.

    Parameters
    ----------
    scores : ndarray (n_alphas, n_targets)
    alphas : ndarray (n_alphas,)
    """
    order = np.argsort(alphas)[::-1]
    best: np.ndarray = order[scores[order].argmax(axis=0)]
    return best


class RidgeCV(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression with an alpha per target.

    Parameters
    ----------
    alphas : array-like (n_alphas,)
        Penalties to choose from.
    cv : int or splitter
        Inner folds; an int gives grouped folds when `groups` are passed, else contiguous ones.
    fit_intercept : bool
    scoring : {"r2", "pearsonr"}
        What chooses the penalty, averaged over inner folds.
    targets_batch : int or "auto"
        Targets computed at once.
    store_coef : bool
        Keep weights; without them only `fit_then_predict` predicts, and memory stays flat.

    Attributes
    ----------
    coef_ : ndarray (n_features, n_targets)
    intercept_ : ndarray (n_targets,)
    best_alphas_ : ndarray (n_targets,)
    cv_scores_ : ndarray (n_alphas, n_targets)
    alpha_at_edge_ : bool ndarray (n_targets,)
        Whether the chosen penalty is the smallest or largest offered.
    """

    def __init__(
        self,
        alphas: Any = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0),
        cv: Any = 5,
        fit_intercept: bool = True,
        scoring: str = "r2",
        targets_batch: int | str = "auto",
        store_coef: bool = True,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.scoring = scoring
        self.targets_batch = targets_batch
        self.store_coef = store_coef

    def fit(self, X: Any, y: Any, groups: np.ndarray | None = None) -> RidgeCV:
        """Choose a penalty for every target and fit.

        Parameters
        ----------
        X : array-like (n_rows, n_features)
        y : array-like (n_rows,) or (n_rows, n_targets)
        groups : array-like (n_rows,), optional
            Rows that inner folds keep together.
        """
        X, Y = self._validate(X, y)
        self._fit(X, Y, X[:0], groups)
        return self

    def fit_then_predict(self, X: Any, y: Any, X_new: Any, groups: np.ndarray | None = None) -> np.ndarray:
        """Fit and predict new rows from one factorisation, without forming weights unless they are stored.

        Parameters
        ----------
        X, y, groups
            As in `fit`.
        X_new : array-like (n_new, n_features)

        Returns
        -------
        ndarray (n_new,) or (n_new, n_targets)
        """
        X, Y = self._validate(X, y)
        predicted = self._fit(X, Y, np.asarray(X_new, dtype=X.dtype), groups)
        return predicted[:, 0] if self._single else predicted

    def predict(self, X: Any) -> np.ndarray:
        """Predict responses, ``(n_rows,)`` or ``(n_rows, n_targets)``."""
        check_is_fitted(self, "best_alphas_")
        if not self.store_coef:
            raise ValueError("store_coef=False keeps no weights; use fit_then_predict, or store_coef=True")
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        predicted: np.ndarray = X @ self.coef_ + self.intercept_
        return predicted

    def _validate(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        X, Y = validate_data(self, X, y, multi_output=True, y_numeric=True, dtype=(np.float64, np.float32))
        if self.scoring not in ("r2", "pearsonr"):
            raise ValueError(f"scoring must be 'r2' or 'pearsonr', got {self.scoring!r}")
        alphas = np.asarray(self.alphas, dtype=float)
        if alphas.ndim != 1 or not len(alphas) or not (np.isfinite(alphas).all() and (alphas > 0).all()):
            raise ValueError(f"alphas must be positive and finite, got {self.alphas!r}")
        if len(X) < 2:
            raise ValueError(f"ridge needs two rows or more, got n_samples = {len(X)}")
        self._single = Y.ndim == 1
        Y = Y.reshape(len(Y), -1)
        return X, Y.astype(X.dtype, copy=False)

    def _fit(self, X: np.ndarray, Y: np.ndarray, X_new: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
        alphas = np.asarray(self.alphas, dtype=float)
        n_targets = Y.shape[1]
        scores = np.zeros((len(alphas), n_targets))
        folds = inner_splits(self.cv, len(X), groups)
        for train, test in folds:
            spectrum = Spectrum(X[train], X[test], self.fit_intercept)
            for block in target_blocks(n_targets, len(X), X.itemsize, self.targets_batch):
                B, mean = spectrum.rotate(Y[train, block])
                y_test = Y[test, block]
                for index, alpha in enumerate(alphas):
                    predicted = spectrum.predict(B, X.dtype.type(alpha)) + mean
                    scores[index, block] += column_scores(y_test, predicted, self.scoring) / len(folds)
        best = choose(scores, alphas)
        chosen = alphas[best]
        spectrum = Spectrum(X, X_new, self.fit_intercept)
        predicted = np.empty((len(X_new), n_targets), dtype=X.dtype)
        coef = np.empty((X.shape[1], n_targets), dtype=X.dtype) if self.store_coef else None
        means = np.empty(n_targets, dtype=X.dtype)
        for block in target_blocks(n_targets, len(X), X.itemsize, self.targets_batch):
            B, means[block] = spectrum.rotate(Y[:, block])
            alpha = chosen[block].astype(X.dtype)
            predicted[:, block] = spectrum.predict(B, alpha) + means[block]
            if coef is not None:
                coef[:, block] = spectrum.coef(B, alpha)
        self.best_alphas_ = chosen
        self.cv_scores_ = scores
        self.alpha_at_edge_ = (chosen == alphas.min()) | (chosen == alphas.max())
        if coef is not None:
            intercept = means - spectrum.center @ coef
            self.coef_ = coef[:, 0] if self._single else coef
            self.intercept_ = intercept[0] if self._single else intercept
        return predicted
