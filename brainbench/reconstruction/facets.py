"""Facets of a region: clusters of the images that drive it most (after Nguyen et al. 2016)."""

from __future__ import annotations

import numpy as np

from brainbench.reconstruction.base import Images

N_COMPONENTS = 50
"""Principal components of the features in which images are clustered."""


def mean_images(
    images: Images, features: np.ndarray, n_facets: int, n_mean: int, seed: int
) -> tuple[Images, np.ndarray]:
    """Cluster images by their features, and return the mean of those nearest to each centre.

    Parameters
    ----------
    images : ndarray (n, height, width, channels)
    features : ndarray (n, n_features)
    n_facets : int
        Number of clusters; fewer where there are fewer images.
    n_mean : int
        Images that are averaged; a smaller cluster gives all it has.
    seed : int

    Returns
    -------
    means : ndarray (n_facets, height, width, channels)
        The largest cluster first.
    members : int ndarray (n_facets,)
        The image nearest to each centre.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    X = np.asarray(features, dtype=np.float64)
    n_components = min(N_COMPONENTS, len(X) - 1, X.shape[1])
    if n_components >= 1:
        X = PCA(n_components, svd_solver="full").fit_transform(X)
    fitted = KMeans(min(n_facets, len(X)), n_init=10, random_state=seed).fit(X)
    distance = np.linalg.norm(X - fitted.cluster_centers_[fitted.labels_], axis=1)
    means, members = [], []
    for label in np.argsort(-np.bincount(fitted.labels_), kind="stable"):
        own = np.flatnonzero(fitted.labels_ == label)
        nearest = own[np.argsort(distance[own], kind="stable")[:n_mean]]
        means.append(images[nearest].mean(axis=0))
        members.append(int(nearest[0]))
    return np.stack(means).astype(np.float32), np.array(members)
