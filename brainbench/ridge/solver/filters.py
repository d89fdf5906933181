r"""A small basis for the shrinkage filters of all penalties.

Along a principal direction with eigenvalue l, ridge with penalty a keeps the share

.. math:: g_a(l) = l / (l + a)

of least squares. On a logarithmic axis this is one sigmoid that moves with a, so the filters of any grid of penalties
span few dimensions: with twenty penalties five to ten are enough for an error of 1e-4. When directions are
taken in bins of like eigenvalue, two to four are enough in each bin. The predictions of all penalties then cost two to
four products with the directions instead of one a penalty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_EDGES = 8
"""Candidate borders between bins, evenly over the logarithm of the eigenvalues."""

GRAM_COST = 5.0
"""Time of one multiplication in the inner products of basis predictions, relative to one in their large product."""

N_SAMPLES = 32
"""Eigenvalues of a bin that its rank is estimated from."""

FEW_TARGETS = 256
"""With fewer targets, looking for a basis takes longer than it saves."""

SEARCH = 1e9
"""Multiplications that looking for bins takes the time of, as a multiple of what it saves."""

ACCELERATED_SEARCH = 1e11
"""The same where products run on a GPU, and the search on the processor."""

SMALLEST_SIZE = 1e-3
"""Directions count as no shorter than this."""


@dataclass(frozen=True)
class FilterBasis:
    """Filters of all penalties as combinations of a few.

    Attributes
    ----------
    filters : ndarray (n_alphas, n_directions)
        The filters themselves.
    bins : list of slice
        Directions of each bin.
    functions : list of ndarray (n_functions, n_in_bin)
        Basis of each bin; zero outside it.
    weights : ndarray (n_alphas, n_functions of all bins)
        ``weights @ functions`` approximates `filters`.
    """

    filters: np.ndarray
    bins: list[slice]
    functions: list[np.ndarray]
    weights: np.ndarray

    @property
    def rank(self) -> int:
        """Functions of all bins together."""
        return self.weights.shape[1]

    def approximation(self) -> np.ndarray:
        """Return the filters as the basis gives them, ``(n_alphas, n_directions)``."""
        out, start = np.zeros_like(self.filters), 0
        for columns, functions in zip(self.bins, self.functions, strict=True):
            out[:, columns] = self.weights[:, start : start + len(functions)] @ functions
            start += len(functions)
        return out


def filter_basis(
    values: np.ndarray,
    alphas: np.ndarray,
    sizes: np.ndarray,
    *,
    tolerance: float,
    n_targets: int,
    n_rows: int = 1000,
    relative: bool = False,
    accelerated: bool = False,
) -> FilterBasis:
    """Return the cheapest basis that reproduces every filter to a tolerance.

    Parameters
    ----------
    values : ndarray (n_directions,)
        Eigenvalues, positive and ascending.
    alphas : ndarray (n_alphas,)
    sizes : ndarray (n_directions,)
        Length of each direction in the rows to predict, 1 where they are like the training rows. Errors count by it:
        directions in which training rows hardly vary are long in new rows.
    tolerance : float
        Largest error of a filter times the size of its direction.
    n_targets : int
        How many targets it will serve; for `FEW_TARGETS` the filters themselves are their basis.
    n_rows : int
        Rows that each function predicts; where all products are few, directions stay in one bin.
    relative : bool
        Scale every filter to a largest value of 1 first: for scores that do not see the scale of predictions, and
        would otherwise depend on rounding where a large penalty shrinks everything.
    accelerated : bool
        Whether the products run on a GPU.
    """
    filters = values / (values + alphas[:, None])
    sizes = np.maximum(sizes, SMALLEST_SIZE)
    if relative and len(values):
        filters = filters / (filters * sizes).max(axis=1, keepdims=True)
    direct = FilterBasis(filters, [slice(0, len(values))], [filters], np.eye(len(alphas)))
    if len(values) < 2 or len(alphas) < 3 or n_targets < FEW_TARGETS:
        return direct
    sized = filters * sizes
    found = _in_bins(filters, sized, sizes, [slice(0, len(values))], tolerance)
    if found.rank * len(values) * n_rows * n_targets > (ACCELERATED_SEARCH if accelerated else SEARCH):
        found = _in_bins(filters, sized, sizes, _best_bins(values, sized, tolerance), tolerance)
    return found if _cost(found) < _cost(direct) else direct


def _in_bins(
    filters: np.ndarray, sized: np.ndarray, sizes: np.ndarray, bins: list[slice], tolerance: float
) -> FilterBasis:
    functions, weights = [], []
    for columns in bins:
        left, size, right = np.linalg.svd(sized[:, columns], full_matrices=False)
        rank = _rank(left, size, right, sized[:, columns], tolerance)
        functions.append(right[:rank] / sizes[columns])
        weights.append(left[:, :rank] * size[:rank])
    return FilterBasis(filters, bins, functions, np.concatenate(weights, axis=1))


def _cost(basis: FilterBasis) -> float:
    products = sum(functions.size for functions in basis.functions)
    return products + GRAM_COST * basis.rank**2


def _rank(left: np.ndarray, size: np.ndarray, right: np.ndarray, exact: np.ndarray, tolerance: float) -> int:
    """Return how many singular vectors reproduce every entry to the tolerance."""
    for rank in range(1, len(size)):
        if np.abs(exact - (left[:, :rank] * size[:rank]) @ right[:rank]).max() <= tolerance:
            return rank
    return len(size)


def _best_bins(values: np.ndarray, filters: np.ndarray, tolerance: float) -> list[slice]:
    """Return the bins with the least work: shortest paths over borders, one for every total number of functions."""
    logs = np.log(values)
    edges = np.searchsorted(logs, np.linspace(logs[0], logs[-1], N_EDGES + 1))
    edges = np.unique(np.concatenate([[0], edges[1:-1], [len(values)]]))
    paths: list[dict[int, tuple[float, tuple[int, ...]]]] = [{0: (0.0, ())}]
    for end in range(1, len(edges)):
        best: dict[int, tuple[float, tuple[int, ...]]] = {}
        for start in range(end):
            lo, hi = int(edges[start]), int(edges[end])
            sample = np.unique(np.linspace(lo, hi - 1, min(N_SAMPLES, hi - lo)).round().astype(int))
            part = filters[:, sample]
            rank = _rank(*np.linalg.svd(part, full_matrices=False), part, tolerance)
            for total, (work, path) in paths[start].items():
                more = work + rank * (hi - lo)
                if total + rank not in best or more < best[total + rank][0]:
                    best[total + rank] = (more, (*path, lo))
        paths.append(best)
    _, starts = min((work + GRAM_COST * total**2, path) for total, (work, path) in paths[-1].items())
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(values)], strict=True)]
