"""Inner folds, blocks of targets, scores and the choice of a penalty: what all ridge heads share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, check_cv

from brainbench.core.arrays import Array, Arrays

SCORINGS = ("r2", "pearsonr")


@dataclass(frozen=True)
class Fold:
    """Rows that are fitted and rows that are scored.

    Attributes
    ----------
    train, test : int ndarray
    left_out : int ndarray or None
        Every row that is not fitted, usually `test` itself; None where training repeats rows, so that sums over
        training rows are not the total less those of other rows.
    """

    train: np.ndarray
    test: np.ndarray
    left_out: np.ndarray | None

    @classmethod
    def make(cls, train: np.ndarray, test: np.ndarray, n_rows: int) -> Fold:
        """Return a fold from index arrays or masks as a splitter gives them."""
        rows = np.arange(n_rows)
        train, test = rows[train], rows[test]
        times = np.bincount(train, minlength=n_rows)
        if times.max(initial=0) > 1:
            return cls(train, test, None)
        left_out = np.flatnonzero(times == 0)
        return cls(train, test, test if np.array_equal(np.sort(test), left_out) else left_out)


def inner_splits(cv: Any, n_rows: int, groups: Any = None) -> list[Fold]:
    """Return inner folds: grouped where `groups` are given, else contiguous; a splitter is used as it is.

    Raises
    ------
    ValueError
        When a fold has no rows to fit or to score.
    """
    if isinstance(cv, (int, np.integer)):
        code = None if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
        return list(_dealt(int(cv), n_rows, None if code is None or not code.any() else code.tobytes()))
    return _folds_of(check_cv(cv).split(np.zeros((n_rows, 1)), np.zeros(n_rows), groups), n_rows)


@lru_cache(maxsize=64)
def _dealt(n_folds: int, n_rows: int, groups: bytes | None) -> tuple[Fold, ...]:
    """Return inner folds of a number of rows or of groups, which many layers and exchanges share."""
    if groups is None:
        splits = KFold(min(n_folds, n_rows)).split(np.zeros((n_rows, 1)))
    else:
        code = np.frombuffer(groups, dtype=np.intp)
        splits = GroupKFold(min(n_folds, int(code.max()) + 1)).split(np.zeros((n_rows, 1)), groups=code)
    return tuple(_folds_of(splits, n_rows))


def _folds_of(splits: Iterable[tuple[np.ndarray, np.ndarray]], n_rows: int) -> list[Fold]:
    folds = [Fold.make(train, test, n_rows) for train, test in splits]
    if not folds or any(not len(fold.train) or not len(fold.test) for fold in folds):
        raise ValueError("every inner fold needs rows to fit and rows to score")
    return folds


def leave_one_out(folds: list[Fold]) -> bool:
    """Return whether every fold leaves out one row, and every row is left out once."""
    tests = [fold.test for fold in folds]
    return (
        all(len(test) == 1 and fold.left_out is test for test, fold in zip(tests, folds, strict=True))
        and len(np.unique(np.concatenate(tests))) == len(tests) == len(folds[0].train) + 1
    )


def target_blocks(n_targets: int, step: int) -> Iterator[slice]:
    """Yield slices over targets."""
    for start in range(0, n_targets, step):
        yield slice(start, min(start + step, n_targets))


def descending(alphas: np.ndarray) -> np.ndarray:
    """Return the order of the penalties from the largest to the smallest."""
    return np.argsort(alphas, kind="stable")[::-1].copy()


def choose(scores: Array, order: Array) -> Array:
    """Return the index of the best penalty of every target; among equals the largest penalty.

    Parameters
    ----------
    scores : array (n_alphas, n_targets)
    order : int array (n_alphas,)
        From `descending`.
    """
    return order[scores[order].argmax(0)]


def scores_from_sums(xp: Arrays, scoring: str, total: Array, own: Array, cross: Array, power: Array) -> Array:
    r"""Return R2 or Pearson's r from inner products of held-out responses y and predictions p.

    .. math:: R^2 = 1 - (y'y - 2 y'p + p'p) / \sum (y - \bar y)^2, \qquad r = y'p / \sqrt{y'y \; p'p}

    Parameters
    ----------
    total : array (n_targets, 1)
        Sum of squares of y about its mean; 0 marks a constant target, which scores 0.
    own : array (n_targets, 1)
        y'y, about any origin that p has as well.
    cross, power : array (n_targets, n_alphas)
        y'p and p'p; for Pearson's r both are about their own means.
    """
    varies = total > 0
    if scoring == "r2":
        return xp.where(varies, 1 - (own - 2 * cross + power) / xp.where(varies, total, 1.0), 0.0)
    varies = varies & (power > 0)
    return xp.where(varies, cross / xp.sqrt(xp.where(varies, total * power, 1.0)), 0.0).clip(-1.0, 1.0)
