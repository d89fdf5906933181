"""Minimum distance to mean after geodesic filtering, for two classes in closed form.

FgMDM (Barachant et al. 2010) projects tangent vectors at the mean of all training covariances onto the direction
``w`` of a linear discriminant, maps them back to covariances, and takes the nearest class mean. With two classes all
filtered covariances lie on one geodesic through that mean, where distances are differences of ``t = v . w / |w|``
and class means are means of ``t``: neither the matrices nor their iterated means are needed. The discriminant's
covariance of thousands of tangent features from tens of rows is a diagonal plus a matrix of low rank, which
Woodbury's identity inverts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class GeodesicMeans(ClassifierMixin, BaseEstimator):
    """Nearest class mean along the discriminant direction of tangent vectors; two classes.

    Attributes
    ----------
    direction_ : ndarray (n_features,)
        Of length 1.
    means_ : ndarray (2,)
        Place of each class on the geodesic.
    """

    def fit(self, X: np.ndarray, y: np.ndarray) -> GeodesicMeans:
        """Fit on tangent vectors ``(n_trials, n_features)``."""
        y = np.asarray(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) != 2:
            raise ValueError(f"two classes are needed, got {len(self.classes_)}")
        direction = discriminant(X, y == self.classes_[1])
        self.direction_ = direction / np.linalg.norm(direction)
        place = X @ self.direction_
        self.means_ = np.array([place[y == name].mean() for name in self.classes_])
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the softmax of negative squared distances to the class means."""
        from scipy.special import softmax

        distance = (X @ self.direction_)[:, None] - self.means_
        out: np.ndarray = softmax(-(distance**2), axis=1)
        return out

    def predict(self, X: np.ndarray) -> Any:
        """Return the nearest class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def discriminant(X: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the direction of a linear discriminant with Ledoit-Wolf shrinkage within each class.

    The same as scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").coef_`` for two classes,
    in the time of the rows rather than of the cubed features.

    Parameters
    ----------
    X : ndarray (n_rows, n_features)
    second : bool ndarray (n_rows,)
        Which rows are of the second class.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    diagonal = np.zeros(X.shape[1])
    factors, means = [], []
    for rows in (X[~second], X[second]):
        share = len(rows) / len(X)
        mean, scale = rows.mean(axis=0), rows.std(axis=0)
        scale[scale == 0] = 1.0
        Z = (rows - mean) / scale
        shrinkage = ledoit_wolf_shrinkage(Z)
        variance = float(np.mean(Z**2))
        diagonal += share * shrinkage * variance * scale**2
        factors.append(np.sqrt(share * (1 - shrinkage) / len(rows)) * Z * scale)
        means.append(mean)
    difference = means[1] - means[0]
    U = np.concatenate(factors)
    if diagonal.min() <= 1e-12 * diagonal.max():
        # No shrinkage to speak of: the covariance is what it is.
        out: np.ndarray = np.linalg.lstsq(np.diag(diagonal) + U.T @ U, difference, rcond=None)[0]
        return out
    scaled = U / diagonal
    inner = np.eye(len(U)) + scaled @ U.T
    solved: np.ndarray = difference / diagonal - scaled.T @ np.linalg.solve(inner, scaled @ difference)
    return solved
