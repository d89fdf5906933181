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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from brainbench.evaluation.metrics import Metric, Parts

N_GROUPS = 30
"""Groups of rows that are left out, where the folds allow as many."""

TARGETS_AT_ONCE = 256
"""Targets whose changes are held at once."""

FEWEST_UNITS = 10
"""Units (stimuli, runs, blocks) below which no interval is given."""

LEAST = 0.5
"""Least share of the jackknife's variance that is left when interactions of pairs are taken out: it counts them twice,
so that no more than half can be theirs. Estimates of them may be larger by chance; intervals would be too short."""

Predict = Callable[[np.ndarray], Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]]
"""From targets to, fold by fold, measured and predicted rows and the changes ``(n_groups, n_rows, n_targets)``."""


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
    parts: Parts | None,
    regions: Mapping[str, np.ndarray],
    *,
    block: int = TARGETS_AT_ONCE,
) -> list[Jackknife]:
    """Leave every group out of training and test, and score again, by every metric.

    Parameters
    ----------
    metrics : sequence of Metric
        With a value per target; a region's score is their mean. Without a slope of the metric, interactions stay in,
        and intervals are up to 1.4 times too wide.
    predict : callable
        Called with target numbers, block by block.
    group : sequence of int ndarray (n_test of the fold,)
        Group of every test row, fold by fold.
    parts : list of int ndarray, optional
        Rows, counted over all folds one after the other, that are scored together; None for the folds.
    regions : mapping of str to bool ndarray (n_targets,)
    block : int
        Targets at once.
    """
    masks = np.stack([np.asarray(mask, dtype=bool) for mask in regions.values()])
    of_rows = np.concatenate(group)
    n_groups = int(of_rows.max()) + 1
    sizes = [len(one) for one in group]
    if parts is None:
        edges = np.cumsum([0, *sizes])
        parts = [np.arange(a, b) for a, b in pairwise(edges)]
    found = [
        Jackknife(
            np.zeros(len(masks)), np.zeros((n_groups, len(masks))), np.zeros((n_groups, n_groups, len(masks)))
        )
        for _ in metrics
    ]  # fmt: skip
    used = np.flatnonzero(masks.any(axis=0))
    for start in range(0, len(used), block):
        targets = used[start : start + block]
        share = masks[:, targets] / masks.sum(axis=1, keepdims=True)  # weights of a region's mean
        folds = predict(targets)
        measured, predicted = (np.concatenate([fold[side] for fold in folds]) for side in (0, 1))
        changes = np.concatenate([fold[2] for fold in folds], axis=1)
        for rows in parts:
            y, p, change, of_part = measured[rows], predicted[rows], changes[:, rows], of_rows[rows]
            inside = np.unique(of_part)
            outside = np.setdiff1d(np.arange(n_groups), inside)
            again = np.tile(y, (1, len(outside)))
            moved = (p[:, None] + change[outside].swapaxes(0, 1)).reshape(len(rows), -1)
            for metric, out in zip(metrics, found, strict=True):
                whole = metric.function(y, p)
                out.values[:] += share @ whole / len(parts)
                if len(outside):
                    scores = metric.function(again, moved).reshape(len(outside), -1)
                    out.left_out[outside] += scores @ share.T / len(parts)
                for g in inside:
                    kept = of_part != g
                    # A part that is one group is left as it is: nothing of it is tested without that group.
                    score = metric.function(y[kept], p[kept] + change[g][kept]) if kept.sum() > 2 else whole
                    out.left_out[g] += share @ score / len(parts)
                if metric.slope is not None:
                    out.pairs[:] += _pairs(metric.slope(y, p), change, of_part, share) / len(parts)
    return found


def _pairs(slope: np.ndarray, changes: np.ndarray, group: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the part of the score's change that goes through each group of test rows, ``(n_groups, n_groups, ...)``.

    Predictions move against their mean only: a shift of all of them would be ascribed to every test row.
    """
    n_groups = len(changes)
    out = np.zeros((n_groups, n_groups, len(share)))
    member = np.equal.outer(np.arange(n_groups), group).astype(np.float64)
    for g, change in enumerate(changes):
        out[:, g] = member @ ((slope * (change - change.mean(axis=0))) @ share.T)
    out[np.arange(n_groups), np.arange(n_groups)] = 0.0
    return out
