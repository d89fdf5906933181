"""Reduction of features, fitted on training rows alone."""

from __future__ import annotations

from typing import Any


def make_reducer(method: str, n_components: int, seed: int = 0) -> Any:
    """Return a scikit-learn transformer.

    Parameters
    ----------
    method : {"pca", "random_projection"}
    n_components : int
        Components kept; PCA keeps no more than the training rows span.
    seed : int

    Raises
    ------
    ValueError
        For another method.
    """
    if method == "pca":
        return _BoundedPCA(n_components, seed)
    if method == "random_projection":
        from sklearn.random_projection import SparseRandomProjection

        return SparseRandomProjection(n_components=n_components, dense_output=True, random_state=seed)
    raise ValueError(f"method must be pca or random_projection, got {method!r}")


class _BoundedPCA:
    """PCA with as many components as asked for, or as the rows allow."""

    def __init__(self, n_components: int, seed: int) -> None:
        self.n_components = n_components
        self.seed = seed

    def fit_transform(self, X: Any) -> Any:
        from sklearn.decomposition import PCA

        n = min(self.n_components, len(X) - 1, X.shape[1])
        self._pca = PCA(n_components=n, svd_solver="full", random_state=self.seed)
        return self._pca.fit_transform(X)

    def transform(self, X: Any) -> Any:
        return self._pca.transform(X)
