"""Minimum distance to mean after geodesic filtering, for two classes in closed form.

FgMDM (Barachant et al. 2010) projects tangent vectors at the mean of all training covariances onto the direction
``w`` of a linear discriminant, maps them back to covariances, and takes the nearest class mean. With two classes all
filtered covariances lie on one geodesic through that mean, where distances are differences of ``t = v . w / |w|``
and class means are means of ``t``: neither the matrices nor their iterated means are needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from brainbench.decoders.discriminant import discriminant


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
