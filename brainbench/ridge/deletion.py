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
        self.X_train, self.X_test = X_train - center, X_test - center
        self.n_groups, self.bands = n_groups, bands
        members = [np.flatnonzero(group == index) for index in range(n_groups)]
        # Rows of every group side by side, filled up with a row behind the last one, which is zero everywhere.
        self._rows = np.full((n_groups, max(1, *map(len, members))), len(X_train))
        for places, rows in zip(self._rows, members, strict=True):
            places[: len(rows)] = rows
        self._models: dict[bytes, _Model] = {}

    def predict(
        self, y_train: np.ndarray, alphas: np.ndarray, weights: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit responses, each with its own penalty; faster where equal ones (and equal weights) stand side by side.

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
        if weights is None or len(weights) == 1:
            predicted, changes = self._model(np.ones(1)).predict(y, alphas)
            return predicted + mean, changes
        predicted = np.empty((len(self.X_test), n_targets))
        changes = np.empty((self.n_groups, len(self.X_test), n_targets))
        mixtures, kind = np.unique(np.asarray(weights, dtype=np.float64), axis=1, return_inverse=True)
        for index, mixture in enumerate(mixtures.T):
            targets = _columns(kind.ravel() == index)
            found = self._model(mixture).predict(y[:, targets], alphas[targets])
            predicted[:, targets], changes[..., targets] = found
        return predicted + mean, changes

    def _model(self, mixture: np.ndarray) -> _Model:
        key = mixture.tobytes()
        if key not in self._models:
            scale = np.ones(self.X_train.shape[1])
            for band, weight in zip(self.bands, mixture, strict=False):
                scale[band] = np.sqrt(weight)
            self._models[key] = _Model(self.X_train * scale, self.X_test * scale, self._rows)
        return self._models[key]


class _Model:
    """One mixture of bands: a decomposition, and the deletion of every group for the penalties that are asked."""

    def __init__(self, X: np.ndarray, X_new: np.ndarray, rows: np.ndarray) -> None:
        self.rows = rows
        if X.shape[1] < len(X):
            values, vectors = np.linalg.eigh(X.T @ X)
            kept = values > len(values) * np.finfo(float).eps * max(float(values[-1]), 1e-300)
            self.values, vectors = values[kept], vectors[:, kept]
            self.left, self.along = X @ (vectors / np.sqrt(self.values)), X_new @ (vectors / np.sqrt(self.values))
        else:
            values, left = np.linalg.eigh(X @ X.T)
            kept = values > len(values) * np.finfo(float).eps * max(float(values[-1]), 1e-300)
            self.values, self.left = values[kept], left[:, kept]
            self.along = (X_new @ X.T) @ (self.left / self.values)
        self._known: dict[float, tuple[np.ndarray, np.ndarray]] = {}

    def predict(self, y: np.ndarray, alphas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions of centred responses, a penalty each, and the changes without each group."""
        shrunk = self.left.T @ y
        shrunk *= self.values[:, None] / (self.values[:, None] + alphas)
        residual = np.concatenate([y - self.left @ shrunk, np.zeros((1, y.shape[1]))])
        changes = np.empty((len(self.rows), len(self.along), y.shape[1]))
        for alpha in np.unique(alphas):
            targets = _columns(alphas == alpha)
            inverse, to_test = self._deletion(float(alpha))
            changes[..., targets] = to_test @ (inverse @ residual[:, targets][self.rows])
        return self.along @ shrunk, changes

    def _deletion(self, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the inverse of every group's block of I - H, and -C of every group's rows, intercept included."""
        if alpha not in self._known:
            n_train, shrink = len(self.left), self.values / (self.values + alpha)
            padded = np.concatenate([self.left, np.zeros((1, self.left.shape[1]))])[self.rows]
            there = self.rows < n_train
            hat = (padded * shrink) @ padded.swapaxes(1, 2) + (there[:, :, None] & there[:, None]) / n_train
            to_test = (self.along * -shrink) @ padded.swapaxes(1, 2) - there[:, None] / n_train
            self._known[alpha] = np.linalg.inv(np.eye(self.rows.shape[1]) - hat), to_test
        return self._known[alpha]


def _columns(chosen: np.ndarray) -> slice | np.ndarray:
    """Return the chosen columns, as a slice where they stand side by side: scattered ones are slow to write."""
    found = np.flatnonzero(chosen)
    first, last = int(found[0]), int(found[-1])
    return slice(first, last + 1) if last - first + 1 == len(found) else found
