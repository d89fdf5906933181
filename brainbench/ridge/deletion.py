r"""Held-out predictions of a fold without each group of its training rows, in closed form.

With the training rows' hat matrix H (intercept included), the matrix C from training responses to test predictions,
and the residuals :math:`e = (I - H) y`, leaving the rows L out of a ridge fit of the same penalty changes the
predictions by

.. math:: -\, C_L (I - H_{LL})^{-1} e_L

exactly: the deletion formula of least squares (Cook and Weisberg 1982), for any number of responses at the cost of one
product with a matrix of test by training rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class FoldWithout:
    """One fold's ridge, fitted with and without groups of training rows, for any responses and penalties.

    Parameters
    ----------
    X_train : ndarray (n_train, n_features)
    X_test : ndarray (n_test, n_features)
    group : int ndarray (n_train,)
        Group of every training row.
    n_groups : int
        Groups in all; a group with no training row here changes nothing.
    bands : sequence of slice, optional
        Of the features, for penalties that differ between bands.
    """

    def __init__(
        self,
        X_train: np.ndarray,
        X_test: np.ndarray,
        group: np.ndarray,
        n_groups: int,
        bands: Sequence[slice] = (),
    ) -> None:
        center = X_train.mean(axis=0)
        self.X_train, self.X_test, self.group = X_train - center, X_test - center, group
        self.n_groups, self.bands = n_groups, bands
        self.members = [np.flatnonzero(group == index) for index in range(n_groups)]
        self._spectra: dict[bytes, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._operators: dict[tuple[bytes, float], tuple[np.ndarray, np.ndarray]] = {}

    def predict(
        self, y_train: np.ndarray, alphas: np.ndarray, weights: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit responses, each with its own penalty.

        Parameters
        ----------
        y_train : ndarray (n_train, n_targets)
        alphas : ndarray (n_targets,)
        weights : ndarray (n_bands, n_targets), optional
            Of the bands: features are scaled by their roots.

        Returns
        -------
        predicted : ndarray (n_test, n_targets)
        changes : ndarray (n_groups, n_test, n_targets)
            What is added to the predictions when a group is left out.
        """
        n_targets = y_train.shape[1]
        mean = y_train.mean(axis=0)
        y = y_train - mean
        predicted = np.empty((len(self.X_test), n_targets))
        changes = np.zeros((self.n_groups, len(self.X_test), n_targets))
        mixtures = np.ones((1, n_targets)) if weights is None else np.asarray(weights, dtype=np.float64)
        kinds, kind = np.unique(np.vstack([mixtures, alphas]), axis=1, return_inverse=True)
        for index, one in enumerate(kinds.T):
            targets = np.flatnonzero(kind.ravel() == index)
            left, shrink = self._spectrum(one[:-1])[0], self._shrinkage(one[:-1], float(one[-1]))
            to_test, deletion = self._operator(one[:-1], float(one[-1]))
            mine = y[:, targets]
            predicted[:, targets] = to_test @ mine
            residual = mine - left @ (shrink[:, None] * (left.T @ mine))
            for number, rows in enumerate(self.members):
                if len(rows):
                    changes[number][:, targets] = -deletion[:, rows] @ residual[rows]
        return predicted + mean, changes

    def _spectrum(self, mixture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return left vectors, singular values, and test rows along the right vectors."""
        key = mixture.tobytes()
        if key not in self._spectra:
            scale = np.ones(self.X_train.shape[1])
            for band, weight in zip(self.bands, mixture, strict=False):
                scale[band] = np.sqrt(weight)
            left, values, right = np.linalg.svd(self.X_train * scale, full_matrices=False)
            kept = values > 1e-10 * max(float(values.max(initial=0.0)), 1e-300)
            along = (self.X_test * scale) @ right[kept].T
            self._spectra[key] = left[:, kept], values[kept], along
        return self._spectra[key]

    def _shrinkage(self, mixture: np.ndarray, alpha: float) -> np.ndarray:
        values = self._spectrum(mixture)[1]
        return values**2 / (values**2 + alpha)

    def _operator(self, mixture: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """Return C without its intercept, and C times the inverse of every group's block of I - H."""
        key = mixture.tobytes(), alpha
        if key not in self._operators:
            left, values, along = self._spectrum(mixture)
            shrink = self._shrinkage(mixture, alpha)
            to_test = (along * (shrink / values)) @ left.T
            n_train = len(left)
            with_mean, deletion = to_test + 1 / n_train, np.zeros_like(to_test)
            for rows in self.members:
                if len(rows):
                    block = np.eye(len(rows)) - (left[rows] * shrink) @ left[rows].T - 1 / n_train
                    deletion[:, rows] = np.linalg.solve(block.T, with_mean[:, rows].T).T
            self._operators[key] = to_test, deletion
        return self._operators[key]
