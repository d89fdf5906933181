"""Identification: whether a reconstruction resembles its own image more than it resembles others.

Similarities stand in a matrix ``R``, rows truth and columns reconstruction, and pairs share an index. Two directions
are in use and give different numbers, so each result names its own: ``reconstruction`` asks of every reconstruction
whether its own truth is nearer than another truth (Ozcelik & VanRullen 2023, Scott et al. 2023); ``truth`` asks of
every truth whether its own reconstruction is nearer than another one. A tie is a failure.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from brainbench.core.errors import UserError

Direction = Literal["reconstruction", "truth"]

_BLOCK = 8192
"""Features multiplied at once."""
_DECIMALS = 12
"""Similarities are rounded to so many decimals, so that equal features tie whatever the order of summation."""


def correlations(truth: np.ndarray, reconstructed: np.ndarray, *, block: int = _BLOCK) -> np.ndarray:
    """Return Pearson's r of every truth with every reconstruction.

    Features are taken in blocks of columns in float64, so that beside the result, ``n_truth * n_reconstructed``
    numbers, only one block is held.

    Parameters
    ----------
    truth : ndarray (n_truth, n_features)
    reconstructed : ndarray (n_reconstructed, n_features)
    block : int

    Returns
    -------
    float64 ndarray (n_truth, n_reconstructed)
        0 where a row is constant.
    """
    if truth.shape[1] != reconstructed.shape[1]:
        raise ValueError(f"{truth.shape[1]} features of truth, {reconstructed.shape[1]} of reconstructions")
    mean = [values.mean(axis=1, dtype=np.float64)[:, None] for values in (truth, reconstructed)]
    product = np.zeros((len(truth), len(reconstructed)))
    squares = [np.zeros(len(truth)), np.zeros(len(reconstructed))]
    sizes = [np.zeros(len(truth)), np.zeros(len(reconstructed))]
    for start in range(0, truth.shape[1], block):
        parts = [np.asarray(values[:, start : start + block], dtype=np.float64) for values in (truth, reconstructed)]
        for size, part in zip(sizes, parts, strict=True):
            size += np.einsum("ij,ij->i", part, part)
        centered = [part - m for part, m in zip(parts, mean, strict=True)]
        for square, part in zip(squares, centered, strict=True):
            square += np.einsum("ij,ij->i", part, part)
        product += centered[0] @ centered[1].T
    scale = [_inverse_norm(square, size) for square, size in zip(squares, sizes, strict=True)]
    return np.round(product * scale[0][:, None] * scale[1][None, :], _DECIMALS)


def _inverse_norm(squares: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return 1 / length of centered rows; 0 for rows that are constant but for rounding."""
    varies = squares > 1e-20 * np.maximum(size, 1e-300)
    return np.where(varies, 1 / np.sqrt(np.where(varies, squares, 1)), 0.0)


def two_way(
    R: np.ndarray,
    direction: Direction = "reconstruction",
    *,
    groups: np.ndarray | None = None,
    contents: np.ndarray | None = None,
) -> np.ndarray:
    """Return for every pair the share of others that its own similarity beats; chance is .5.

    Parameters
    ----------
    R : ndarray (n, n)
        Similarities, rows truth, columns reconstruction.
    direction : {"reconstruction", "truth"}
        ``reconstruction``: of column ``j``, the share of truths ``i`` with ``R[i, j] < R[j, j]``. ``truth``: of row
        ``i``, the share of reconstructions ``j`` with ``R[i, j] < R[i, i]``.
    groups : ndarray (n,), optional
        Only items of the same group are others: letters of one style, images of one run.
    contents : ndarray (n,), optional
        What the truth of each item is (its stimulus). An item with the same truth is no other, and among truths each
        one counts once however often it was shown.

    Returns
    -------
    ndarray (n,)
        NaN for an item without others.
    """
    R = _square(R)
    group, content = _labels(len(R), groups, contents)
    if direction == "reconstruction":
        beaten, others = _beaten_truths(R, group, content)
        return _share(np.take_along_axis(beaten, np.arange(len(R))[None, :], axis=0)[0], np.diag(others))
    if direction != "truth":
        raise ValueError(f"direction must be reconstruction or truth, got {direction!r}")
    rival = (group[:, None] == group[None, :]) & (content[:, None] != content[None, :])
    won = (R < np.diag(R)[:, None]) & rival
    return _share(won.sum(axis=1), rival.sum(axis=1))


def two_way_shares(
    R: np.ndarray, *, groups: np.ndarray | None = None, contents: np.ndarray | None = None
) -> np.ndarray:
    """Return what every pairing of a truth and a reconstruction scores (direction ``reconstruction``).

    Parameters
    ----------
    R, groups, contents
        As in `two_way`, which gives the diagonal.

    Returns
    -------
    ndarray (n, n)
        Of truth ``i`` and reconstruction ``j``: the share of the other truths of ``i``'s group that ``i`` beats.
    """
    R = _square(R)
    return _share(*_beaten_truths(R, *_labels(len(R), groups, contents)))


def two_way_null(
    R: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    contents: np.ndarray | None = None,
    within: np.ndarray | None = None,
    n_permutations: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Return mean two-way scores (direction ``reconstruction``) after dealing truths to the wrong reconstructions.

    Pairs are not independent, so a binomial test over them means nothing; permuting whole images is what does.

    Parameters
    ----------
    R, groups, contents
        As in `two_way`.
    within : ndarray (n,), optional
        Truths change places within these only (runs); by default within `groups`.
    n_permutations : int
    seed : int

    Returns
    -------
    ndarray (n_permutations,)
    """
    R = _square(R)
    group, _ = _labels(len(R), groups, contents)
    places = group if within is None else np.unique(np.asarray(within), return_inverse=True)[1].ravel()
    share = two_way_shares(R, groups=groups, contents=contents)
    rng = np.random.default_rng([seed, 53])
    columns = np.arange(len(R))
    order = np.tile(columns, (n_permutations, 1))
    for place in np.unique(places):
        rows = np.flatnonzero(places == place)
        order[:, rows] = rng.permuted(order[:, rows], axis=1)
    return np.nanmean(share[order, columns[None, :]], axis=1)


def top_k(
    R: np.ndarray,
    k: int = 1,
    direction: Direction = "reconstruction",
    *,
    n_candidates: int | None = None,
    n_draws: int = 30,
    seed: int = 0,
) -> np.ndarray:
    """Return for every pair how often its own counterpart is among the `k` most similar candidates.

    Parameters
    ----------
    R : ndarray (n, n)
        Similarities, rows truth, columns reconstruction.
    k : int
    direction : {"reconstruction", "truth"}
        Candidates are the truths for a reconstruction, or the reconstructions for a truth.
    n_candidates : int, optional
        Candidates drawn without replacement, the pair's own among them, `n_draws` times; all by default.
    n_draws, seed : int

    Returns
    -------
    ndarray (n,)
        Chance is ``k / n_candidates``. A tie counts against the pair.
    """
    R = _square(R) if direction == "reconstruction" else _square(R).T
    n = len(R)
    count = n if n_candidates is None else n_candidates
    if not 1 <= k <= count <= n:
        raise UserError(f"top_k: 1 <= k <= candidates <= pairs must hold, got k {k}, {count} candidates, {n} pairs")
    ahead = R >= np.diag(R)[None, :]
    np.fill_diagonal(ahead, False)
    if count == n:
        return np.asarray(ahead.sum(axis=0) < k, dtype=float)
    # Which candidates are drawn is the same as how many of those ahead are among them: hypergeometric.
    rng = np.random.default_rng([seed, 59])
    number = ahead.sum(axis=0)
    drawn = rng.hypergeometric(number, n - 1 - number, count - 1, size=(n_draws, n))
    return np.asarray((drawn < k).mean(axis=0), dtype=float)


def _square(R: np.ndarray) -> np.ndarray:
    R = np.asarray(R, dtype=np.float64)
    if R.ndim != 2 or R.shape[0] != R.shape[1]:
        raise ValueError(f"R must be square, one truth for each reconstruction, got {R.shape}")
    return R


def _labels(n: int, groups: np.ndarray | None, contents: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    labels = []
    for name, values, default in (("groups", groups, np.zeros(n, dtype=int)), ("contents", contents, np.arange(n))):
        if values is not None and len(values) != n:
            raise ValueError(f"{name} has {len(values)} values for {n} pairs")
        labels.append(default if values is None else np.unique(np.asarray(values), return_inverse=True)[1].ravel())
    return labels[0], labels[1]


def _beaten_truths(R: np.ndarray, group: np.ndarray, content: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many other truths every truth beats for every reconstruction, and how many others there are.

    Others are the distinct contents of the truth's own group, so that the result says what any re-pairing scores.

    Returns
    -------
    beaten : int ndarray (n, n)
    others : int ndarray (n, n)
        The same in every column.
    """
    from scipy.stats import rankdata

    beaten, others = np.zeros(R.shape, dtype=np.int64), np.zeros(len(R), dtype=np.int64)
    for one in np.unique(group):
        rows = np.flatnonzero(group == one)
        _, first, back = np.unique(content[rows], return_index=True, return_inverse=True)
        smaller = rankdata(R[rows[first]], method="min", axis=0).astype(np.int64) - 1
        beaten[rows] = smaller[back.ravel()]
        others[rows] = len(first) - 1
    return beaten, np.broadcast_to(others[:, None], R.shape)


def _share(beaten: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.where(others > 0, beaten / np.where(others > 0, others, 1), np.nan)
