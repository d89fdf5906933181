"""Linear discriminants with Ledoit-Wolf shrinkage, in the time of the rows rather than of the cubed features.

The same as scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")``: every class is scaled and
shrunk by itself (Ledoit and Wolf 2004). The covariance of thousands of features from tens of rows is then a diagonal
plus a matrix of low rank, which Woodbury's identity inverts, and the shrinkage needs products of rows only. Many orders
of the same labels are fitted together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

_CHUNK_FLOATS = 60_000
"""Floats of rows, times orders, that are worked on at once: they stay in the cache."""


@dataclass(frozen=True)
class WithinClasses:
    """Covariance within classes, ``diag(diagonal) + factors.T @ factors``, for every order of the labels.

    Attributes
    ----------
    means : ndarray (n_orders, n_classes, n_features)
    share : ndarray (n_classes,)
        Of the rows; 0 for a class that has none.
    diagonal : ndarray (n_orders, n_features)
    factors : ndarray (n_orders, n_rows, n_features)
    """

    means: np.ndarray
    share: np.ndarray
    diagonal: np.ndarray
    factors: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, y: np.ndarray, counts: np.ndarray) -> WithinClasses:
        """Estimate it.

        Parameters
        ----------
        X : ndarray (n_rows, n_features)
        y : int ndarray (n_orders, n_rows)
            Classes from 0.
        counts : int ndarray (n_classes,)
            Rows of every class, the same in every order.
        """
        by_class = X[np.argsort(y, axis=1, kind="stable")]
        means = np.empty((len(y), len(counts), X.shape[1]))
        diagonal = np.zeros((len(y), X.shape[1]))
        start = 0
        for number, n in enumerate(counts):
            rows = by_class[:, start : start + n]
            start += n
            mean = means[:, number] = rows.sum(axis=1) / max(n, 1)
            rows -= mean[:, None]
            spread = np.einsum("onf,onf->of", rows, rows) / max(n, 1)
            # What rounding alone leaves of a feature that a class does not vary in, as scikit-learn has it.
            flat = spread <= (n * np.abs(mean) * np.finfo(float).eps) ** 2
            scale = np.where(flat, 1.0, np.sqrt(spread))
            shrinkage, size = ledoit_wolf(rows / scale[:, None])
            diagonal += (n / len(X) * shrinkage * size)[:, None] * scale**2
            rows *= np.sqrt((1 - shrinkage) / len(X))[:, None, None]
        return cls(means, counts / len(X), diagonal, by_class)

    def solve(self, B: np.ndarray) -> np.ndarray:
        """Return the inverse covariance times ``B (n_orders, n_features, n)``."""
        out = np.empty_like(B)
        lowest, highest = self.diagonal.min(axis=1), self.diagonal.max(axis=1)
        whole = lowest <= 1e-12 * highest
        for order in np.flatnonzero(whole):
            # No shrinkage to speak of: the covariance is what it is.
            U = self.factors[order]
            out[order] = np.linalg.lstsq(np.diag(self.diagonal[order]) + U.T @ U, B[order], rcond=None)[0]
        U, diagonal, B = self.factors[~whole], self.diagonal[~whole], B[~whole]
        n, p = U.shape[1:]
        if p <= n:
            covariance = U.transpose(0, 2, 1) @ U
            covariance[:, np.arange(p), np.arange(p)] += diagonal
            out[~whole] = np.linalg.solve(covariance, B)
            return out
        scaled = U / diagonal[:, None]
        inner = scaled @ U.transpose(0, 2, 1)
        inner[:, np.arange(n), np.arange(n)] += 1
        out[~whole] = B / diagonal[:, :, None] - scaled.transpose(0, 2, 1) @ np.linalg.solve(inner, scaled @ B)
        return out


def ledoit_wolf(Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shrinkage of centered rows toward a multiple of the identity, and this multiple.

    Parameters
    ----------
    Z : ndarray (n_sets, n_rows, n_features)

    Returns
    -------
    shrinkage, size : ndarray (n_sets,)
    """
    n, p = max(Z.shape[1], 1), Z.shape[2]
    of_rows = np.einsum("onf,onf->on", Z, Z)
    size = of_rows.sum(axis=1) / (n * p)
    if p < 2:
        return np.zeros(len(Z)), size
    turned = Z.transpose(0, 2, 1)
    gram = Z @ turned if n <= p else turned @ Z
    squares = (gram**2).sum(axis=(1, 2)) / n**2
    delta = squares / p - size**2
    beta = np.minimum(((of_rows**2).sum(axis=1) / n - squares) / (n * p), delta)
    return np.divide(beta, delta, out=np.zeros_like(beta), where=beta > 0), size


def discriminant(X: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the direction that tells two classes apart, ``(n_features,)``.

    Parameters
    ----------
    X : ndarray (n_rows, n_features)
    second : bool ndarray (n_rows,)
        Which rows are of the second class.
    """
    within = WithinClasses.of(X, np.asarray(second, dtype=np.intp)[None], np.bincount(second, minlength=2))
    direction: np.ndarray = within.solve((within.means[:, 1] - within.means[:, 0])[:, :, None])[0, :, 0]
    return direction


def decisions(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the discriminant function of every class in every order, ``(n_orders, n_test, n_classes)``.

    The largest decides; a class that is missing in an order has minus infinity there.

    Parameters
    ----------
    X : ndarray (n_rows, n_features)
    y : int ndarray (n_orders, n_rows)
        Classes from 0.
    X_test : ndarray (n_test, n_features)
    n_classes : int
    """
    found = np.empty((len(y), len(X_test), n_classes))
    counts = (y[:, :, None] == np.arange(n_classes)).sum(axis=1)
    step = max(1, _CHUNK_FLOATS // X.size)
    for alike in np.unique(counts, axis=0):
        orders = np.flatnonzero((counts == alike).all(axis=1))
        for start in range(0, len(orders), step):
            some = orders[start : start + step]
            coef, constant = _functions(X, y[some], alike)
            found[some] = X_test @ coef + constant[:, None]
    return found


def _functions(X: np.ndarray, y: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients ``(n_orders, n_features, n_classes)`` and constants ``(n_orders, n_classes)``."""
    within = WithinClasses.of(X, y, counts)
    coef = within.solve(within.means.transpose(0, 2, 1))
    with np.errstate(divide="ignore"):
        prior = np.log(within.share)
    return coef, prior - 0.5 * np.einsum("okf,ofk->ok", within.means, coef)


class ShrinkageLDA(ClassifierMixin, BaseEstimator):
    """Linear discriminant analysis with Ledoit-Wolf shrinkage of every class.

    Attributes
    ----------
    coef_ : ndarray (n_classes, n_features)
    intercept_ : ndarray (n_classes,)
    classes_ : ndarray (n_classes,)
    """

    def fit(self, X: Any, y: Any) -> ShrinkageLDA:
        """Fit to rows ``(n_rows, n_features)`` and their classes."""
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, number = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"two classes or more are needed, got {len(self.classes_)} class")
        coef, constant = _functions(X, number[None], np.bincount(number))
        self.coef_, self.intercept_ = coef[0].T, constant[0]
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of every row."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        predicted: np.ndarray = self.classes_[(X @ self.coef_.T + self.intercept_).argmax(axis=1)]
        return predicted
