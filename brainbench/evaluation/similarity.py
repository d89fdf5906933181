"""Geometry without a fit: representational dissimilarity (RSA) and linear centered kernel alignment (CKA)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from brainbench.evaluation.exchange import Exchange, make_exchange
from brainbench.evaluation.family import p_of_draws

FLAT = 1e-6
"""A pattern whose range is below this share of its largest absolute value has no variance (float32 resolves 1e-7)."""


@dataclass(frozen=True)
class Geometry:
    """A similarity with its permutation test; NaN where nothing could be compared.

    Attributes
    ----------
    value, p, null_95 : float
    left_out : bool ndarray (n_stimuli,)
        Stimuli that were left out of both sides, because a pattern has no variance.
    draws : ndarray (n_permutations,)
        What it is where stimuli are exchanged; under one seed the same exchanges for all with the same `left_out`.
    """

    value: float
    p: float
    null_95: float
    left_out: np.ndarray
    draws: np.ndarray

    @property
    def n_left_out(self) -> int:
        """How many stimuli were left out."""
        return int(self.left_out.sum())

    def to_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Return plain arrays to store, under names that begin with `name`."""
        return {f"{name}/{field}": np.asarray(value) for field, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], name: str) -> Geometry:
        """Rebuild from `to_arrays`."""
        value, p, null_95 = (float(arrays[f"{name}/{field}"]) for field in ("value", "p", "null_95"))
        return cls(value, p, null_95, arrays[f"{name}/left_out"], arrays[f"{name}/draws"])


def geometry_exchange(n_stimuli: int, n_permutations: int, seed: int) -> Exchange:
    """Return the exchanges of a geometry of as many stimuli as are compared."""
    return make_exchange(n_stimuli, kind="rows", n_exchanges=n_permutations, seed=seed)


def without_variance(patterns: np.ndarray) -> np.ndarray:
    """Return which rows are constant over features, ``(n_stimuli,)`` bool: Pearson's r with them does not exist.

    Patterns of one feature have none; they are compared by Euclidean distance.
    """
    patterns = np.asarray(patterns)
    if patterns.shape[1] < 2:
        return np.zeros(len(patterns), dtype=bool)
    low, high = patterns.min(axis=1), patterns.max(axis=1)
    flat: np.ndarray = high - low <= FLAT * np.maximum(np.abs(low), np.abs(high))
    return flat


def rdm(patterns: np.ndarray, metric: str = "correlation") -> np.ndarray:
    """Return the dissimilarities of all pairs of rows, condensed, ``(n * (n - 1) / 2,)``.

    Parameters
    ----------
    patterns : ndarray (n_stimuli, n_features)
    metric : {"correlation", "euclidean"}
        One minus Pearson's r (of patterns with at least two features), or the Euclidean distance.

    Returns
    -------
    float64 ndarray
        NaN for every pair with a pattern of which r does not exist; see `without_variance`.
    """
    from scipy.spatial.distance import pdist

    patterns = np.asarray(patterns, dtype=np.float64)
    if metric == "correlation" and patterns.shape[1] < 2:
        metric = "euclidean"
    distances: np.ndarray = pdist(patterns, metric)
    if metric == "correlation":
        flat = without_variance(patterns)
        first, second = np.triu_indices(len(patterns), 1)
        distances[flat[first] | flat[second]] = np.nan
    return distances


def rsa(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's correlation of two condensed RDMs, over the pairs that both have; NaN for fewer than three."""
    from scipy.stats import rankdata

    both = np.isfinite(a) & np.isfinite(b)
    return _pearson(rankdata(a[both]), rankdata(b[both])) if both.sum() > 2 else float("nan")


def linear_cka(x: np.ndarray, y: np.ndarray, *, debiased: bool = True) -> float:
    r"""Return linear CKA of two sets of patterns over the same stimuli (Kornblith et al. 2019).

    :math:`\langle K, L \rangle / \sqrt{\langle K, K \rangle \langle L, L \rangle}` with centered Gram matrices; the
    debiased estimator (Nguyen et al. 2021, after Song et al. 2012) does not grow with the number of features.

    Parameters
    ----------
    x, y : ndarray (n_stimuli, n_features)
    debiased : bool
        Needs four stimuli or more.
    """
    center = _debiased_center if debiased else _double_center
    K, L = center(_gram(x)), center(_gram(y))
    size = float(np.sqrt(max((K * K).sum(), 0) * max((L * L).sum(), 0)))
    return float((K * L).sum()) / size if size > 0 else 0.0


def rsa_noise_ceiling(rdms: np.ndarray, ranks: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return every participant's lower and upper noise ceiling of RSA (Nili et al. 2014).

    Lower: the RDM with the mean RDM of the others. Upper: with the mean over all, itself in it. Means are taken of
    ranks for Spearman's correlation, of standardised distances for Pearson's.

    Parameters
    ----------
    rdms : ndarray (n_subjects, n_pairs)
        A pair that is NaN in one of them is left out of all.
    ranks : bool
        Spearman's correlation; else Pearson's.

    Returns
    -------
    lower, upper : ndarray (n_subjects,)
    """
    from scipy.stats import rankdata

    kept = rdms[:, np.isfinite(rdms).all(axis=0)]
    alike = rankdata(kept, axis=1) if ranks else (kept - kept.mean(1, keepdims=True)) / kept.std(1, keepdims=True)
    total = alike.sum(axis=0)

    def against(mean: np.ndarray, one: np.ndarray) -> float:
        return _pearson(rankdata(mean) if ranks else mean, one)

    lower = np.array([against(total - one, one) for one in alike])
    upper = np.array([against(total, one) for one in alike])
    return lower, upper


def geometry_test(x: np.ndarray, y: np.ndarray, *, metric: str, n_permutations: int = 1000, seed: int = 0) -> Geometry:
    """Compare two geometries and permute the stimuli of one.

    Parameters
    ----------
    x, y : ndarray (n_stimuli, n_features)
    metric : {"rsa", "cka"}
    n_permutations : int
    seed : int
    """
    if metric != "rsa":
        none = np.zeros(len(x), dtype=bool)
        return _exchanged(_debiased_center(_gram(x)), _debiased_center(_gram(y)), n_permutations, seed, none)
    return distance_test(rdm(x), rdm(y), without_variance(x) | without_variance(y), n_permutations, seed)


def distance_test(
    a: np.ndarray, b: np.ndarray, flat: np.ndarray, n_permutations: int = 1000, seed: int = 0, *, ranks: bool = True
) -> Geometry:
    """Correlate two RDMs and permute the stimuli of one.

    Parameters
    ----------
    a, b : ndarray (n_pairs,)
        Condensed.
    flat : bool ndarray (n_stimuli,)
        Stimuli that are left out on both sides.
    n_permutations : int
    seed : int
    ranks : bool
        Spearman's correlation; else Pearson's.
    """
    from scipy.spatial.distance import squareform
    from scipy.stats import rankdata

    kept = ~flat
    if kept.sum() < 3:
        return Geometry(float("nan"), 1.0, float("nan"), flat, np.zeros(0))

    def centred(distances: np.ndarray) -> np.ndarray:
        pairs = squareform(squareform(distances, checks=False)[np.ix_(kept, kept)], checks=False)
        pairs = rankdata(pairs) if ranks else pairs
        square: np.ndarray = squareform(pairs - pairs.mean())
        return square

    return _exchanged(centred(a), centred(b), n_permutations, seed, flat)


def _exchanged(a: np.ndarray, b: np.ndarray, n_permutations: int, seed: int, left_out: np.ndarray) -> Geometry:
    """Return the cosine of two centred square matrices, and what it is where rows and columns of one are exchanged."""
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    value = float((a * b).sum()) / size if size > 0 else 0.0
    if not n_permutations:
        return Geometry(value, float("nan"), float("nan"), left_out, np.zeros(0))
    exchange = geometry_exchange(len(b), n_permutations, seed)
    if size <= 0:
        return Geometry(0.0, 1.0, 0.0, left_out, np.zeros(len(exchange)))
    draws = np.array([(a * b[np.ix_(order, order)]).sum() / size for order in exchange.orders])
    return Geometry(value, p_of_draws(value, draws, exchange), float(np.quantile(draws, 0.95)), left_out, draws)


def _gram(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    x = x - x.mean(axis=0)
    return x @ x.T


def _double_center(K: np.ndarray) -> np.ndarray:
    row = K.mean(axis=0)
    return K - row - row[:, None] + row.mean()


def _debiased_center(K: np.ndarray) -> np.ndarray:
    """U-center a Gram matrix (Song et al. 2012, eq. 5)."""
    n = len(K)
    if n < 4:
        raise ValueError(f"debiased CKA needs four stimuli or more, got {n}")
    K = K - np.diag(np.diag(K))
    row = K.sum(axis=0) / (n - 2)
    K = K - row - row[:, None] + K.sum() / ((n - 1) * (n - 2))
    return K - np.diag(np.diag(K))


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
