"""Recentering of trials on the mean covariance of their subject and session.

He & Wu (2020) take the arithmetic mean ("Euclidean alignment"), Zanini et al. (2018) the Riemannian one. References
are fitted on training rows. A subject or session that training never saw has no reference of its own: it gets the
mean of all training rows, of trials that are there beforehand without labels (`Aligner.adapt`), or, transductively and
only by name, of the rows to be predicted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

METHODS = ("none", "euclidean", "riemannian", "euclidean_transductive", "riemannian_transductive")


class Aligner(BaseEstimator):
    """Maps the mean covariance of every domain to the identity.

    Parameters
    ----------
    method : str
        One of `METHODS`.

    Attributes
    ----------
    whitener_ : mapping of str to ndarray (n_channels, n_channels)
        Inverse square root of each training domain's mean covariance.
    unseen_ : ndarray (n_channels, n_channels)
        The same of all training rows.
    """

    def __init__(self, method: str = "none") -> None:
        self.method = method

    def fit(self, covariances: np.ndarray, domains: np.ndarray | None = None) -> Aligner:
        """Fit a reference per domain.

        Parameters
        ----------
        covariances : ndarray (n_trials, n_channels, n_channels)
        domains : ndarray (n_trials,), optional
            Subject and session of each trial; without it all are of one.
        """
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        self.whitener_: dict[str, np.ndarray] = {}
        if self.method == "none":
            return self
        names = _names(domains, len(covariances))
        for name in np.unique(names):
            self.whitener_[str(name)] = self._whitener(covariances[names == name])
        several = len(self.whitener_) > 1
        self.unseen_ = self._whitener(covariances) if several else next(iter(self.whitener_.values()))
        return self

    def adapt(self, covariances: np.ndarray, domains: np.ndarray | None = None) -> None:
        """Give subjects and sessions never trained on a reference, from trials of theirs without labels."""
        names = _names(domains, len(covariances))
        for name in () if self.method == "none" else np.unique(names):
            if str(name) not in self.whitener_:
                self.whitener_[str(name)] = self._whitener(covariances[names == name])

    def transform(self, covariances: np.ndarray, domains: np.ndarray | None = None) -> np.ndarray:
        """Return aligned covariances."""
        if self.method == "none":
            return covariances
        out = np.empty_like(covariances)
        for rows, whitener in self._per_domain(covariances, domains):
            out[rows] = whitener @ covariances[rows] @ whitener
        return out

    def transform_signals(self, X: np.ndarray, covariances: np.ndarray, domains: np.ndarray | None) -> np.ndarray:
        """Return aligned signals ``(n_trials, n_channels, n_times)``; `covariances` are theirs."""
        if self.method == "none":
            return X
        out = np.empty_like(X)
        for rows, whitener in self._per_domain(covariances, domains):
            out[rows] = whitener.astype(X.dtype) @ X[rows]
        return out

    def _per_domain(self, covariances: np.ndarray, domains: np.ndarray | None) -> Any:
        names = _names(domains, len(covariances))
        for name in np.unique(names):
            rows = names == name
            whitener = self.whitener_.get(str(name))
            if whitener is None:
                transductive = self.method.endswith("_transductive")
                whitener = self._whitener(covariances[rows]) if transductive else self.unseen_
            yield rows, whitener

    def _whitener(self, covariances: np.ndarray) -> np.ndarray:
        from pyriemann.geometry.base import invsqrtm
        from pyriemann.geometry.mean import mean_euclid, mean_riemann

        mean = mean_euclid if self.method.startswith("euclidean") else mean_riemann
        out: np.ndarray = invsqrtm(mean(covariances))
        return out


def _names(domains: np.ndarray | None, n: int) -> np.ndarray:
    return np.full(n, "") if domains is None else np.asarray(domains, dtype=str)
