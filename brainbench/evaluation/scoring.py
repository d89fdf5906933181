"""From held-out predictions to scores: per target, per ROI and fold, with bootstrap draws.

The first metric is bootstrapped, by what its record (`brainbench.evaluation.metrics.Metric`) says of rows drawn again.
Its p values come from `brainbench.evaluation.refit`, which fits again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from brainbench.evaluation.bootstrap import row_weights
from brainbench.evaluation.intervals import Jackknife
from brainbench.evaluation.metrics import MEDIAN, METRICS, UNIQUE, total_squares

T = TypeVar("T", np.ndarray, Jackknife)

AT_ONCE = 256
"""Targets whose rows are drawn again at once: about a cache."""


@dataclass(frozen=True)
class Scoring:
    """How predictions are scored.

    Parameters
    ----------
    metrics : tuple of str
        With a value per target; the first one is bootstrapped.
    over : {"folds", "pooled"}
        Mean over folds, or once over the held-out rows of all folds.
    block_length : int or None
        Rows in a block that the bootstrap resamples (continuous designs).
    n_draws : int
    confidence : float
    seed : int
    """

    metrics: tuple[str, ...] = ("pearson_r",)
    over: str = "folds"
    block_length: int | None = None
    n_draws: int = 1000
    confidence: float = 0.95
    seed: int = 0


@dataclass
class Scored:
    """Scores of one set of predictions.

    Attributes
    ----------
    rois : list of str
    metrics : list of str
        Metrics of `roi_values`, the median of the first one behind it (``median_pearson_r``).
    targets : mapping of str to ndarray (n_targets,)
        Score of every target.
    target_p : ndarray (n_targets,) or None
    roi_values : mapping of str to ndarray (n_rois,)
    roi_p, roi_null_95 : mapping of str to ndarray (n_rois,)
        Of the first metric, from `brainbench.evaluation.family.fill_p`.
    folds : mapping of str to ndarray (n_folds, n_rois)
        Empty when scores are pooled.
    fold_rows : int ndarray (n_folds,)
    draws : ndarray (n_draws, n_rois) or None
        Bootstrap draws of the first metric, for the choice of the best layer; intervals come from
        `brainbench.evaluation.intervals`.
    """

    rois: list[str]
    metrics: list[str]
    n_rows: int
    confidence: float
    targets: dict[str, np.ndarray]
    roi_values: dict[str, np.ndarray]
    target_p: np.ndarray | None = None
    roi_p: dict[str, np.ndarray] = field(default_factory=dict)
    roi_null_95: dict[str, np.ndarray] = field(default_factory=dict)
    folds: dict[str, np.ndarray] = field(default_factory=dict)
    fold_rows: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    draws: np.ndarray | None = None
    edge_share: float = 0.0

    def summary(self, metric: str, roi: str) -> dict[str, Any]:
        """Return value, p and the null's 95th percentile of one metric and ROI."""
        index = self.rois.index(roi)
        found: dict[str, Any] = {"value": float(self.roi_values[metric][index])}
        if metric in self.roi_p:
            found["p"] = float(self.roi_p[metric][index])
            found["null_95"] = float(self.roi_null_95[metric][index])
        return found

    def per_fold(self, metric: str, roi: str) -> Iterator[tuple[int, float, int]]:
        """Yield number (from 1), score and rows of every fold."""
        if metric in self.folds:
            column = self.folds[metric][:, self.rois.index(roi)]
            for number, (value, rows) in enumerate(zip(column, self.fold_rows, strict=True), start=1):
                yield number, float(value), int(rows)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return plain arrays to store."""
        arrays = {
            "rois": np.array(self.rois),
            "metrics": np.array(self.metrics),
            "n_rows": np.array(self.n_rows),
            "confidence": np.array(self.confidence),
            "fold_rows": self.fold_rows,
        }
        for prefix in ("targets", "roi_values", "roi_p", "roi_null_95", "folds"):
            for name, values in getattr(self, prefix).items():
                arrays[f"{prefix}/{name}"] = values
        if self.target_p is not None:
            arrays["target_p"] = self.target_p
        if self.draws is not None:
            arrays["draws"] = self.draws.astype(np.float32)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Scored:
        """Rebuild from `to_arrays`."""
        nested: dict[str, dict[str, np.ndarray]] = {}
        for name, values in arrays.items():
            prefix, slash, rest = name.partition("/")
            if slash:
                nested.setdefault(prefix, {})[rest] = values
        return cls(
            rois=[str(name) for name in arrays["rois"]],
            metrics=[str(name) for name in arrays["metrics"]],
            n_rows=int(arrays["n_rows"]),
            confidence=float(arrays["confidence"]),
            targets=nested.get("targets", {}),
            roi_values=nested.get("roi_values", {}),
            target_p=arrays.get("target_p"),
            roi_p=nested.get("roi_p", {}),
            roi_null_95=nested.get("roi_null_95", {}),
            folds=nested.get("folds", {}),
            fold_rows=arrays["fold_rows"],
            draws=arrays.get("draws"),
            edge_share=float(arrays.get("edge_share", np.array(0.0))),
        )


def score_predictions(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    fold: np.ndarray,
    how: Scoring,
    *,
    rois: Mapping[str, np.ndarray],
    run: np.ndarray,
    stimulus: np.ndarray,
) -> Scored:
    """Score held-out predictions.

    Parameters
    ----------
    y_true, y_pred : ndarray (n_rows, n_targets)
        Held-out rows of all folds.
    fold : int ndarray (n_rows,)
    how : Scoring
    rois : mapping of str to bool ndarray (n_targets,)
    run, stimulus : ndarray (n_rows,)
        For the permutation null and the bootstrap.
    """
    names, masks = list(rois), np.stack([np.asarray(mask, dtype=bool) for mask in rois.values()])
    group = _score_groups(fold, how.over)
    parts, n_targets = _rows_of(group), y_true.shape[1]
    scored = Scored(names, [], len(y_true), how.confidence, {}, {})
    per_fold = {name: np.empty((len(parts), n_targets)) for name in how.metrics}
    lead, weights, share = METRICS[how.metrics[0]], None, masks / masks.sum(axis=1, keepdims=True)
    if how.n_draws:
        weights = row_weights(stimulus, fold=group, block_length=how.block_length, n_draws=how.n_draws, seed=how.seed)
        scored.draws = np.zeros((len(weights), len(masks)))
    for some in _blocks(n_targets):
        measured, predicted = (np.asarray(one[:, some], dtype=np.float64) for one in (y_true, y_pred))
        for name, values in per_fold.items():
            values[:, some] = METRICS[name].over(measured, predicted, parts)
        if weights is not None:
            scored.draws += lead.resampled(measured, predicted, parts, weights) @ share[:, some].T
    for name, values in per_fold.items():
        scored.targets[name] = values.mean(axis=0)
        scored.metrics.append(name)
        scored.roi_values[name] = _roi_means(scored.targets[name], masks)
        if name == how.metrics[0]:
            scored.metrics.append(MEDIAN + name)
            scored.roi_values[MEDIAN + name] = _roi_medians(scored.targets[name], masks)
        if how.over == "folds":
            scored.folds[name] = _roi_means(values, masks)
    scored.fold_rows = np.array([len(rows) for rows in parts]) if how.over == "folds" else scored.fold_rows
    return scored


def score_nested(
    y_true: np.ndarray,
    small: np.ndarray,
    full: np.ndarray,
    fold: np.ndarray,
    how: Scoring,
    *,
    rois: Mapping[str, np.ndarray],
) -> Scored:
    """Score what a full model predicts beyond a smaller one: the difference of their held-out R2.

    Parameters
    ----------
    y_true, small, full : ndarray (n_rows, n_targets)
        Held-out responses and the two models' predictions of them; of several smaller ones take `best_of`.
    fold, how, rois
        As in `score_predictions`.
    """
    names, masks = list(rois), np.stack([np.asarray(mask, dtype=bool) for mask in rois.values()])
    group = _score_groups(fold, how.over)
    gain = np.empty(y_true.shape[1])
    for some in _blocks(y_true.shape[1]):
        measured, less, more = (np.asarray(one[:, some], dtype=np.float64) for one in (y_true, small, full))
        left = ((measured - less) ** 2 - (measured - more) ** 2) / _totals(measured, group)
        gain[some] = left.sum(axis=0) / len(np.unique(group))
    scored = Scored(names, [UNIQUE], len(y_true), how.confidence, {UNIQUE: gain}, {})
    scored.roi_values[UNIQUE] = _roi_means(gain, masks)
    return scored


def regions_r2(
    y_true: np.ndarray, predicted: np.ndarray, fold: np.ndarray, how: Scoring, *, rois: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the held-out R2 of a model in every region, ``(n_rois,)``, scored as `score_nested` scores."""
    return np.asarray(
        score_nested(y_true, _means(y_true, fold, how), predicted, fold, how, rois=rois).roi_values[UNIQUE]
    )


def partition(explained: Mapping[frozenset[str], T]) -> dict[frozenset[str], T]:
    r"""Return what each group of feature sets, and no other, explains in common (commonality analysis).

    What is explained by exactly the sets of A, all sets being U, is by inclusion and exclusion

    .. math:: c(A) = \sum_{T \subseteq A} (-1)^{|T| + 1} R^2\bigl((U \setminus A) \cup T\bigr),

    so that the parts of all groups which hold one of the sets of S add up to :math:`R^2(S)` for every S.

    Parameters
    ----------
    explained : mapping of frozenset of str to ndarray or Jackknife
        For every set of names but the empty one, what a model of all of them together explains.

    Returns
    -------
    dict
        For the same sets.
    """
    everything: frozenset[str] = frozenset().union(*explained)
    found: dict[frozenset[str], T] = {}
    for group in explained:
        terms = [
            (size, explained[(everything - group) | frozenset(some)])
            for size in range(len(group) + 1) for some in combinations(sorted(group), size)
            if size or group != everything
        ]  # fmt: skip
        added = [value for size, value in terms if size % 2]
        total = added[0]
        for value in added[1:]:
            total = total + value
        for value in (value for size, value in terms if not size % 2):
            total = total - value
        found[group] = total
    return found


def _means(y_true: np.ndarray, fold: np.ndarray, how: Scoring) -> np.ndarray:
    """Return the mean of every group of rows in each of its rows: the model whose R2 is 0."""
    group, means = _score_groups(fold, how.over), np.empty_like(y_true)
    for rows in _rows_of(group):
        means[rows] = y_true[rows].mean(axis=0)
    return means


def best_of(y_true: np.ndarray, models: Sequence[np.ndarray], fold: np.ndarray, how: Scoring) -> np.ndarray:
    """Return for every target the predictions ``(n_rows, n_targets)`` of the model with the best R2."""
    group, best = _score_groups(fold, how.over), np.empty_like(models[0])
    for some in _blocks(y_true.shape[1]):
        measured = np.asarray(y_true[:, some], dtype=np.float64)
        total, offered = _totals(measured, group), np.stack([one[:, some] for one in models])
        losses = ((measured - offered) ** 2 / total).sum(axis=1)
        best[:, some] = np.take_along_axis(offered, losses.argmin(axis=0)[None, None, :], axis=0)[0]
    return best


def _blocks(n_targets: int) -> Iterator[slice]:
    """Yield targets that are worked on at once, so that memory does not grow with their number."""
    for start in range(0, n_targets, AT_ONCE):
        yield slice(start, start + AT_ONCE)


def _totals(y_true: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the sum of squares of each row's group about its mean; infinite where nothing varies."""
    total = np.ones_like(y_true)
    for rows in _rows_of(group):
        spread = total_squares(y_true[rows])
        total[rows] = np.where(spread > 0, spread, np.inf)
    return total


def _score_groups(fold: np.ndarray, over: str) -> np.ndarray:
    return np.unique(fold, return_inverse=True)[1] if over == "folds" else np.zeros(len(fold), dtype=int)


def _rows_of(group: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(group == value) for value in range(int(group.max()) + 1)]


def _roi_means(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return means over the targets of each ROI, ``(..., n_rois)``."""
    return np.stack([values[..., mask].mean(axis=-1) for mask in masks], axis=-1)


def _roi_medians(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return np.stack([np.median(values[..., mask], axis=-1) for mask in masks], axis=-1)
