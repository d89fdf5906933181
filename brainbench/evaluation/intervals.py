r"""Intervals of cross-validated scores: over new training and new test data, by a jackknife that refits.

Resampling test rows under fixed predictions leaves two things out: other training rows would have given other
predictions, and every pair of rows meets twice, once with one of them in training and once with the other. Here a group
of rows is left out of everything, training and test, in closed form (`brainbench.ridge.deletion`), and the score S is
computed again: :math:`S_{-g}`. The jackknife's variance

.. math:: V_1 = \frac{G - 1}{G} \sum_g (S_{-g} - \bar S)^2

is too large by the interactions of pairs of groups (Efron and Stein 1981); for a score without signal, which consists
of them alone, by a factor of two. The interaction of g and h is the change that leaving g out of training makes in the
score of test rows h, and the other way round, :math:`Q_{gh}`, less its row and column means; so the variance is

.. math:: V = V_1 - \sum_{g < h} \tilde Q_{gh}^2 ,

and the interval is Student's with G - 1 degrees of freedom, for correlations on Fisher's scale. What it is about: the
expectation of the printed score over new rows of this design, with the same encoder and the same participant.
`benchmarks/calibration.py` says how often it covers it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from brainbench.evaluation.metrics import Metric, Moments, total_squares

N_GROUPS = 30
"""Groups of rows that are left out, where the folds allow as many."""

VALUES_AT_ONCE = 2_000_000
"""Changes held at once, in values."""

FEWEST_AT_ONCE = 64
"""Targets whose changes are held at once even so."""

FEWEST_UNITS = 10
"""Units (stimuli, runs, blocks) below which no interval is given."""

LEAST = 0.5
"""Least share of the jackknife's variance that is left when interactions of pairs are taken out: it counts them twice,
so that no more than half can be theirs. Estimates of them may be larger by chance; intervals would be too short."""


@dataclass(frozen=True)
class Held:
    """Held-out rows of a fold for some targets.

    Attributes
    ----------
    measured, predicted : ndarray (n_rows, n_targets)
    changes : ndarray (n_groups, n_rows, n_targets)
        Of the predictions without each group.
    order : int ndarray (n_targets,), optional
        Which of the targets asked for stand in the columns, where it is not each in its place.
    """

    measured: np.ndarray
    predicted: np.ndarray
    changes: np.ndarray
    order: np.ndarray | None = None

    def in_place(self) -> Held:
        """Return the same with the targets as they were asked for."""
        if self.order is None:
            return self
        back = np.argsort(self.order)
        return Held(self.measured[:, back], self.predicted[:, back], self.changes[..., back])

    @classmethod
    def together(cls, folds: Iterable[Held]) -> Held:
        """Return the rows of all folds as one."""
        every = [fold.in_place() for fold in folds]
        return cls(
            np.concatenate([one.measured for one in every]), np.concatenate([one.predicted for one in every]),
            np.concatenate([one.changes for one in every], axis=1),
        )  # fmt: skip


Predict = Callable[[np.ndarray], Iterable[Held]]
"""From targets to the folds."""


def jackknife_groups(unit: np.ndarray, fold: np.ndarray, n_groups: int = N_GROUPS, *, seed: int = 0) -> np.ndarray:
    """Deal units into groups that each stay in one test fold.

    Parameters
    ----------
    unit : ndarray (n_rows,)
        What is drawn as one: a stimulus, a run, or a block of time.
    fold : int ndarray (n_rows,)
        Test fold of every row; a negative one for rows that are never tested.
    n_groups : int
        About as many groups in all, and at least two a fold where it has two units.
    seed : int

    Returns
    -------
    int ndarray (n_rows,)
        Group of every row, numbered from 0. Units that stand in several folds go with the first.
    """
    rng = np.random.default_rng([seed, 43])
    names, first, code = np.unique(unit, return_index=True, return_inverse=True)
    home = np.asarray(fold)[first]
    folds = np.unique(home)
    group, found = np.empty(len(names), dtype=int), 0
    for value in folds:
        mine = rng.permutation(np.flatnonzero(home == value))
        n_parts = min(len(mine), max(2, round(n_groups / len(folds))))
        group[mine] = found + np.arange(len(mine)) % n_parts
        found += n_parts
    return group[code]


def targets_at_once(n_groups: int, n_rows: int) -> int:
    """Return how many targets are held at once whose changes are ``(n_groups, n_rows)`` each."""
    return max(FEWEST_AT_ONCE, VALUES_AT_ONCE // (n_groups * n_rows))


@dataclass(frozen=True)
class Jackknife:
    """Scores of regions without each group of rows.

    Attributes
    ----------
    values : ndarray (n_regions,)
    left_out : ndarray (n_groups, n_regions)
    pairs : ndarray (n_groups, n_groups, n_regions)
        Change of the score through test rows of the first group when the second is left out of training; 0 where the
        metric has no slope.
    """

    values: np.ndarray
    left_out: np.ndarray
    pairs: np.ndarray

    def __sub__(self, other: Jackknife) -> Jackknife:
        """Return the jackknife of a difference of scores over the same groups."""
        return Jackknife(self.values - other.values, self.left_out - other.left_out, self.pairs - other.pairs)

    def __add__(self, other: Jackknife) -> Jackknife:
        """Return the jackknife of a sum of scores over the same groups."""
        return Jackknife(self.values + other.values, self.left_out + other.left_out, self.pairs + other.pairs)

    def variance(self) -> np.ndarray:
        """Return the variance of every region's score, ``(n_regions,)``."""
        n = len(self.left_out)
        first = (n - 1) / n * ((self.left_out - self.left_out.mean(axis=0)) ** 2).sum(axis=0)
        both = self.pairs + self.pairs.transpose(1, 0, 2)
        # Row and column means without the diagonal, which is empty: a group is never in training for itself.
        rows = both.sum(axis=1) / (n - 2)
        grand = both.sum(axis=(0, 1)) / ((n - 1) * (n - 2))
        apart = ~np.eye(n, dtype=bool)
        inner = np.where(apart[..., None], both - rows[:, None] - rows[None] + grand, 0.0)
        second = (inner**2).sum(axis=(0, 1)) / 2
        return np.asarray(np.maximum(first - second, LEAST * first))

    def interval(self, confidence: float = 0.95, *, correlation: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return lower and upper ends, ``(n_regions,)`` each; of correlations on Fisher's scale, within -1 and 1."""
        from scipy import stats

        quantile = float(stats.t.ppf((1 + confidence) / 2, len(self.left_out) - 1))
        half = quantile * np.sqrt(self.variance())
        if not correlation:
            return self.values - half, self.values + half
        values = np.clip(self.values, -1 + 1e-9, 1 - 1e-9)
        z, half = np.arctanh(values), half / (1 - values**2)
        return np.tanh(z - half), np.tanh(z + half)


def jackknife(
    metrics: Sequence[Metric],
    predict: Predict,
    group: Sequence[np.ndarray],
    regions: Mapping[str, np.ndarray],
    *,
    pooled: bool = False,
    block: int | None = None,
) -> list[Jackknife]:
    """Leave every group out of training and test, and score again, by every metric.

    Parameters
    ----------
    metrics : sequence of Metric
        With a value per target; a region's score is their mean. One without a form in moments costs its function
        without each group; without a slope, interactions stay in, and intervals are up to 1.4 times too wide.
    predict : callable
        Called with target numbers, block by block.
    group : sequence of int ndarray (n_test of the fold,)
        Group of every test row, fold by fold.
    regions : mapping of str to bool ndarray (n_targets,)
    pooled : bool
        Whether rows of all folds are scored together; else the score is the mean over folds.
    block : int, optional
        Targets at once.
    """
    masks = np.stack([np.asarray(mask, dtype=bool) for mask in regions.values()])
    of_parts = [np.concatenate(group)] if pooled else group
    n_groups = int(max(one.max() for one in of_parts)) + 1
    found = [
        Jackknife(
            np.zeros(len(masks)), np.zeros((n_groups, len(masks))), np.zeros((n_groups, n_groups, len(masks)))
        )
        for _ in metrics
    ]  # fmt: skip
    used = np.flatnonzero(masks.any(axis=0))
    block = block or targets_at_once(n_groups, max(map(len, of_parts)))
    for start in range(0, len(used), block):
        targets = used[start : start + block]
        share = masks[:, targets] / masks.sum(axis=1, keepdims=True) / len(of_parts)  # weights of a region's mean
        parts = predict(targets)
        for part, of_part in zip([Held.together(parts)] if pooled else parts, of_parts, strict=True):
            sums, weights = _Sums(part, of_part), share if part.order is None else share[:, part.order]
            for metric, out in zip(metrics, found, strict=True):
                if metric.of_moments is None:
                    whole, left_out = _by_function(metric, part, of_part)
                else:
                    whole, left_out = metric.of_moments(sums.whole), sums.left_out(metric.of_moments)
                out.values[:] += weights @ whole
                out.left_out[:] += left_out @ weights.T
                if metric.slope is not None:
                    out.pairs[:] += sums.pairs(*metric.slope(sums.whole), weights)
    return found


class _Sums:
    """Sums of a part's rows by the group that is tested (H of them), and of changes by the group that is left out.

    Parameters
    ----------
    part : Held
    group : int ndarray (n_rows,)
    """

    def __init__(self, part: Held, group: np.ndarray) -> None:
        y, p, change = part.measured, part.predicted, part.changes
        self.tested, count = np.unique(group, return_counts=True)
        self.n_groups = len(change)
        origins = y.mean(axis=0), p.mean(axis=0)
        y, p = (
            np.where(total_squares(one) > 0, one - origin, 0.0) for one, origin in zip((y, p), origins, strict=True)
        )
        self._n = count[:, None].astype(float)
        values = np.empty((5, len(count), y.shape[1]))
        changes = np.empty((4, len(count), self.n_groups, y.shape[1]))
        for index, tested in enumerate(self.tested):
            rows = np.flatnonzero(group == tested)
            a, b, moved = y[rows], p[rows], change[:, rows]
            values[:, index] = (
                a.sum(axis=0),
                b.sum(axis=0),
                *(np.einsum("nt,nt->t", *two) for two in ((a, a), (a, b), (b, b))),
            )
            changes[0, index] = moved.sum(axis=1)
            for out, one in zip(changes[1:], (a, b), strict=False):
                np.einsum("nt,gnt->gt", one, moved, out=out[index])
            np.einsum("gnt,gnt->gt", moved, moved, out=changes[3, index])
        self._values, self._changes = values, changes
        self._shift = origins[1] - origins[0]
        y_sum, p_sum, yy, yp, pp = values.sum(axis=1)
        self.whole = Moments(np.array(float(len(group))), y_sum, p_sum, yy, yp, pp, self._shift)

    def left_out(self, score: Callable[[Moments], np.ndarray]) -> np.ndarray:
        """Return the score without each group in training and test, ``(n_groups, n_targets)``.

        A part that is one group is left as it is: nothing of it is tested without that group.
        """
        values, own = np.repeat(self._values.sum(axis=1)[:, None], self.n_groups, axis=1), np.arange(len(self.tested))
        values[:, self.tested] -= self._values
        y, p, yy, yp, pp = values
        n = np.full((self.n_groups, 1), self._n.sum())
        n[self.tested] -= self._n
        changes = self._changes.sum(axis=1)
        changes[:, self.tested] -= self._changes[:, own, self.tested]
        moved, y_moved, p_moved, square = changes
        kept = Moments(
            np.maximum(n, 1), y, p + moved, yy, yp + y_moved, pp + 2 * p_moved + square, self._shift
        )  # fmt: skip
        return np.where(n > 2, score(kept), score(self.whole))

    def pairs(self, a: np.ndarray, b: np.ndarray, c: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Return what of the score's change goes through each group of test rows, ``(n_groups, n_groups, n_regions)``.

        Predictions move against their mean only: a shift of all of them would be ascribed to every test row. The
        derivative of the score by a prediction is a y + b p + c; `share` are weights ``(n_regions, n_targets)``.
        """
        moved, y_moved, p_moved, _ = self._changes
        through = a * y_moved + b * p_moved + c * moved
        own = a * self._values[0] + b * self._values[1] + c * self._n
        through -= own[:, None] * (moved.sum(axis=0) / self._n.sum())
        out = np.zeros((self.n_groups, self.n_groups, len(share)))
        out[self.tested] = through @ share.T
        out[np.arange(self.n_groups), np.arange(self.n_groups)] = 0.0
        return out


def _by_function(metric: Metric, part: Held, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the score, and the score without each group, by calls of the metric's function."""
    y, p = part.measured, part.predicted
    whole = metric.function(y, p)
    left_out = []
    for index, moved in enumerate(part.changes):
        kept = group != index
        left_out.append(metric.function(y[kept], (p + moved)[kept]) if kept.sum() > 2 else whole)
    return whole, np.stack(left_out)
