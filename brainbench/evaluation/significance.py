"""Permutations with fixed predictions, for what cannot be fitted again hundreds of times, and the false discovery rate.

Given the training rows, held-out responses of one fold are exchangeable under the null that predictions know nothing of
them. The scores of several folds are not: each fold's responses have trained the predictions of the others. Encoding
scores are therefore fitted again (`brainbench.evaluation.refit`); a null of fixed predictions over several folds is
`widened` by the most that this can add.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

NULLS = ("block", "within_run", "stimulus", "rows")


def permutation_indices(
    n_rows: int,
    *,
    null: str,
    run: np.ndarray | None = None,
    stimulus: np.ndarray | None = None,
    fold: np.ndarray | None = None,
    block_length: int | None = None,
    n_permutations: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Return row orders under a null.

    Parameters
    ----------
    n_rows : int
    null : {"block", "within_run", "stimulus", "rows"}
        ``block``: each fold is rotated by a random offset, cut into blocks of `block_length` rows, and the blocks
        are put in random order. ``within_run``: rows are exchanged within runs (and folds). ``stimulus``: the rows
        of a stimulus go together to the place of another stimulus with as many rows. ``rows``: rows are exchanged
        within folds.
    run, stimulus, fold : ndarray (n_rows,), optional
        Without `fold` all rows are one fold.
    block_length : int, optional
    n_permutations : int
    seed : int

    Returns
    -------
    int ndarray (n_permutations, n_rows)
        ``y[orders[i]]`` are the responses of permutation ``i``.
    """
    rng = np.random.default_rng([seed, 11])
    fold = np.zeros(n_rows, dtype=int) if fold is None else np.unique(fold, return_inverse=True)[1]
    shuffle: Callable[[np.ndarray], np.ndarray]
    pools = [np.flatnonzero(fold == value) for value in range(int(fold.max()) + 1)]
    if null == "block":
        if not block_length or block_length < 1:
            raise ValueError(f"block_length must be 1 row or more for the block null, got {block_length}")
        length = block_length

        def shuffle(rows: np.ndarray) -> np.ndarray:
            turned = np.roll(rows, rng.integers(len(rows)))
            blocks = np.split(turned, np.arange(length, len(rows), length))
            return np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])

    elif null == "within_run":
        if run is None:
            raise ValueError("the within_run null needs the run of each row")
        names = np.unique(run, return_inverse=True)[1]
        pools = [rows[names[rows] == name] for rows in pools for name in np.unique(names[rows])]
        shuffle = rng.permutation
    elif null == "stimulus":
        if stimulus is None:
            raise ValueError("the stimulus null needs the stimulus of each row")
        shuffle = _stimulus_shuffle(np.asarray(stimulus), rng)
    elif null == "rows":
        shuffle = rng.permutation
    else:
        raise ValueError(f"null must be one of {', '.join(NULLS)}, got {null!r}")
    orders = np.empty((n_permutations, n_rows), dtype=np.intp)
    for order in orders:
        for rows in pools:
            order[rows] = shuffle(rows)
    return orders


def _stimulus_shuffle(stimulus: np.ndarray, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Return a shuffle that exchanges whole stimuli of equal counts."""

    def shuffle(rows: np.ndarray) -> np.ndarray:
        names, inverse, counts = np.unique(stimulus[rows], return_inverse=True, return_counts=True)
        if len(names) == len(rows):
            return rng.permutation(rows)
        members = [rows[inverse == i] for i in range(len(names))]
        out = np.empty_like(rows)
        place = {row: i for i, row in enumerate(rows)}
        for count in np.unique(counts):
            alike = np.flatnonzero(counts == count)
            for target, source in zip(alike, rng.permutation(alike), strict=True):
                for at, taken in zip(members[target], members[source], strict=True):
                    out[place[at]] = taken
        return out

    return shuffle


DECISIONS = 2 / np.pi
"""Share of the variance of a decision, the sign of a normal variable, that is linear in what it is the sign of."""


def widened(null: np.ndarray, n_folds: int, linear: float = 1.0) -> np.ndarray:
    r"""Return a null of fixed predictions, its spread widened by the most that learning from other folds can add.

    To second order a score is a form :math:`y'Ay` whose matrix A leads from training rows to test rows. With
    predictions fixed its variance under exchange is :math:`\|A\|^2`; with predictions that learn from the same y it is
    :math:`\|A\|^2 + \mathrm{tr}(A^2)`, and :math:`\mathrm{tr}(A^2) \le \|A\|^2` (Cauchy and Schwarz), with equality
    where A is symmetric: at most twice as much, and about that for a linear model with much shrinkage. A decision is
    linear in the labels only in a share of its variance, and only this share is doubled.

    Parameters
    ----------
    null : ndarray (n_permutations,)
    n_folds : int
        Of one fold, or of rows that no model has trained on, the null is right as it is.
    linear : float
        1 for scores that use what was predicted as it is, `DECISIONS` for accuracies.
    """
    if n_folds < 2 or not len(null):
        return null
    mean = np.nanmean(null)
    out: np.ndarray = mean + np.sqrt(1 + linear) * (null - mean)
    return out


def fdr(p: np.ndarray) -> np.ndarray:
    """Return Benjamini-Hochberg q values; NaN stays NaN and does not count as a test."""
    from scipy.stats import false_discovery_control

    p = np.asarray(p, dtype=float)
    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q
