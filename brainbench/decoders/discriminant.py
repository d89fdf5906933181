"""Linear discriminants with Ledoit-Wolf shrinkage, in the time of the rows rather than of the cubed features.

The same as scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")``: every class is scaled and
shrunk by itself (Ledoit and Wolf 2004). The covariance of thousands of features from tens of rows is then a diagonal
plus a matrix of low rank, which Woodbury's identity inverts, and the shrinkage needs products of rows only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WithinClasses:
    """Covariance within classes, ``diag(diagonal) + factors.T @ factors``.

    Attributes
    ----------
    means : ndarray (n_classes, n_features)
    share : ndarray (n_classes,)
        Of the rows.
    diagonal : ndarray (n_features,)
    factors : ndarray (n_rows, n_features)
    """

    means: np.ndarray
    share: np.ndarray
    diagonal: np.ndarray
    factors: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, y: np.ndarray) -> WithinClasses:
        """Estimate it from rows ``(n_rows, n_features)`` and their classes ``(n_rows,)``, in sorted order."""
        diagonal = np.zeros(X.shape[1])
        factors, means, shares = [], [], []
        for name in np.unique(y):
            rows = X[y == name]
            share = len(rows) / len(X)
            mean, scale = rows.mean(axis=0), rows.std(axis=0)
            scale[scale == 0] = 1.0
            Z = (rows - mean) / scale
            shrinkage = ledoit_wolf(Z)
            diagonal += share * shrinkage * float(np.mean(Z**2)) * scale**2
            factors.append(np.sqrt(share * (1 - shrinkage) / len(rows)) * Z * scale)
            means.append(mean)
            shares.append(share)
        return cls(np.stack(means), np.array(shares), diagonal, np.concatenate(factors))

    def solve(self, B: np.ndarray) -> np.ndarray:
        """Return the inverse covariance times ``B (n_features, n)``."""
        U = self.factors
        if self.diagonal.min() <= 1e-12 * self.diagonal.max():
            # No shrinkage to speak of: the covariance is what it is.
            out: np.ndarray = np.linalg.lstsq(np.diag(self.diagonal) + U.T @ U, B, rcond=None)[0]
            return out
        if U.shape[1] <= len(U):
            small: np.ndarray = np.linalg.solve(np.diag(self.diagonal) + U.T @ U, B)
            return small
        scaled = U / self.diagonal
        inner = np.eye(len(U)) + scaled @ U.T
        solved: np.ndarray = B / self.diagonal[:, None] - scaled.T @ np.linalg.solve(inner, scaled @ B)
        return solved


def ledoit_wolf(Z: np.ndarray) -> float:
    """Return the shrinkage of centered rows ``(n_rows, n_features)`` toward a multiple of the identity."""
    n, p = Z.shape
    if p < 2:
        return 0.0
    gram = Z @ Z.T if n <= p else Z.T @ Z
    of_rows = (Z**2).sum(axis=1)
    mean = float(of_rows.sum()) / (n * p)
    squares = float((gram**2).sum()) / n**2
    beta = (float((of_rows**2).sum()) / n - squares) / (n * p)
    delta = squares / p - mean**2
    beta = min(beta, delta)
    return 0.0 if beta <= 0 else beta / delta


def discriminant(X: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the direction that tells two classes apart, ``(n_features,)``.

    Parameters
    ----------
    X : ndarray (n_rows, n_features)
    second : bool ndarray (n_rows,)
        Which rows are of the second class.
    """
    within = WithinClasses.of(X, second)
    return within.solve((within.means[1] - within.means[0])[:, None])[:, 0]


def decisions(X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> np.ndarray:
    """Return the discriminant function of every class, ``(n_test, n_classes)``; the largest decides."""
    within = WithinClasses.of(X, y)
    coef = within.solve(within.means.T)
    constant = np.log(within.share) - 0.5 * np.einsum("kf,fk->k", within.means, coef)
    found: np.ndarray = X_test @ coef + constant
    return found
