"""Scores of decoded trials: four metrics with a test by exchange, bootstrap confidence, and paired tests.

Trials are resampled within folds with predictions kept, and intervals widened where they trained one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from brainbench.evaluation.bootstrap import row_weights
from brainbench.evaluation.labels import LabelNull, confusions, of_confusion, resampled_interval

METRICS = ("accuracy", "balanced_accuracy", "kappa", "roc_auc")
MIN_TRIALS_PER_FOLD = 10
"""Below so many test trials a fold has no score of its own: predictions are pooled over folds."""


@dataclass(frozen=True)
class Predictions:
    """Held-out predictions of one subject, pipeline and scheme.

    Parameters
    ----------
    row : int ndarray (n,)
        The trial of each prediction.
    fold : int ndarray (n,)
    probability : ndarray (n, n_classes)
    exchanged : ndarray (n, n_orders, n_classes), optional
        The same after fitting to labels in other orders.
    """

    row: np.ndarray
    fold: np.ndarray
    probability: np.ndarray
    exchanged: np.ndarray | None = None


@dataclass
class Score:
    """One metric over folds.

    Attributes
    ----------
    value, ci_low, ci_high, p, null_95 : float
        NaN where not estimable or not asked for.
    per_fold : list of (number from 1, value, trials)
    """

    value: float
    ci_low: float = float("nan")
    ci_high: float = float("nan")
    p: float = float("nan")
    null_95: float = float("nan")
    per_fold: list[tuple[int, float, int]] = field(default_factory=list)


@dataclass
class TrialScores:
    """Every metric of one subject, pipeline and scheme."""

    metrics: dict[str, Score]
    confusion: np.ndarray
    over: str
    n_trials: int


def chance_of(metric: str, counts: np.ndarray) -> float:
    """Return what the best constant guess reaches where ``counts (n_classes,)`` trials of each class are tested."""
    fixed = {"kappa": 0.0, "roc_auc": 0.5, "balanced_accuracy": 1 / int(np.sum(counts > 0))}
    return fixed.get(metric, float(counts.max() / counts.sum()))


def score_trials(
    y: np.ndarray,
    predictions: Predictions,
    *,
    null: LabelNull | None = None,
    learned: bool = True,
    n_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> TrialScores:
    """Score held-out predictions.

    Parameters
    ----------
    y : int ndarray (n,)
        Class of each predicted trial, from 0.
    predictions : Predictions
    null : LabelNull, optional
        Of these trials, in this order; what it predicts are probabilities.
    learned : bool
        Whether these trials trained the predictions of one another: intervals are wider then.
    """
    fold, probability = predictions.fold, predictions.probability
    n_classes = probability.shape[1]
    parts, over = _parts(y, fold, n_classes)
    weights = row_weights(np.arange(len(y)), fold=fold, n_draws=n_draws, seed=seed)
    observed = {metric: _over_parts(metric, y[None], None, probability[None], parts) for metric in METRICS}
    draws = {metric: _over_parts(metric, y[None], weights, probability[None], parts) for metric in METRICS}
    scores = {}
    for metric in METRICS:
        value = float(observed[metric][0])
        score = Score(value)
        if null is not None and np.isfinite(value):
            given = probability[None] if null.predicted is None else null.predicted
            score.p, score.null_95 = null.test(value, _over_parts(metric, null.labels, None, given, parts))
        score.ci_low, score.ci_high = resampled_interval(
            value, draws[metric], learned=learned, confidence=confidence,
            bounds=(-1.0 if metric == "kappa" else 0.0, 1.0),
        )  # fmt: skip
        for number, value_of_fold in enumerate(np.unique(fold), start=1):
            rows = np.flatnonzero(fold == value_of_fold)
            alone = _statistic(metric, y[None, rows], None, probability[None, rows])
            score.per_fold.append((number, float(alone[0]), len(rows)))
        scores[metric] = score
    confusion = confusions(y[None], probability.argmax(axis=1)[None], n_classes)[0]
    return TrialScores(scores, confusion, over, len(y))


def _parts(y: np.ndarray, fold: np.ndarray, n_classes: int) -> tuple[list[np.ndarray], str]:
    """Return the rows that are scored together: folds, or all rows where a fold is too small for a score."""
    folds = [np.flatnonzero(fold == value) for value in np.unique(fold)]
    if all(len(rows) >= MIN_TRIALS_PER_FOLD and len(np.unique(y[rows])) == n_classes for rows in folds):
        return folds, "folds"
    return [np.arange(len(y))], "pooled"


def _over_parts(
    metric: str, y: np.ndarray, weights: np.ndarray | None, probability: np.ndarray, parts: Sequence[np.ndarray]
) -> np.ndarray:
    """Return the mean over parts, one value per order (rows of `y`, and of `probability` or one for all) or draw."""
    values = [
        _statistic(metric, y[:, rows], None if weights is None else weights[:, rows], probability[:, rows])
        for rows in parts
    ]
    stacked: np.ndarray = np.mean(values, axis=0)
    return stacked


def _statistic(metric: str, y: np.ndarray, weights: np.ndarray | None, probability: np.ndarray) -> np.ndarray:
    """Return a metric for many label orders or many weights at once, ``(n_orders,)`` or ``(n_draws,)``."""
    if metric == "roc_auc":
        return _auc(y, weights, probability)
    n_classes = probability.shape[2]
    predicted = probability.argmax(axis=2)
    if weights is None:
        return of_confusion(metric, confusions(y, predicted, n_classes))
    true, found = np.eye(n_classes)[y[0]], np.eye(n_classes)[predicted[0]]
    return of_confusion(metric, np.einsum("dn,nk,nj->dkj", weights, true, found, optimize=True))


def _auc(y: np.ndarray, weights: np.ndarray | None, probability: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve: of class 1 for two classes, else the mean of one class against the rest."""
    n_classes = probability.shape[2]
    chosen = [1] if n_classes == 2 else range(n_classes)
    return np.mean([_auc_of(y == k, weights, probability[:, :, k]) for k in chosen], axis=0)


def _auc_of(positive: np.ndarray, weights: np.ndarray | None, score: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    with np.errstate(invalid="ignore", divide="ignore"):
        if weights is None:
            rank = rankdata(score, axis=1)
            n_positive = positive.sum(axis=1)
            n_negative = positive.shape[1] - n_positive
            wins_of = (positive * rank).sum(axis=1) - n_positive * (n_positive + 1) / 2
            out: np.ndarray = wins_of / (n_positive * n_negative)
            return out
        above, below = np.flatnonzero(positive[0]), np.flatnonzero(~positive[0])
        higher, lower = score[0, above], score[0, below]
        wins = (higher[:, None] > lower) + 0.5 * (higher[:, None] == lower)
        w_above, w_below = weights[:, above], weights[:, below]
        out = ((w_above @ wins) * w_below).sum(axis=1) / (w_above.sum(axis=1) * w_below.sum(axis=1))
        return out


@dataclass(frozen=True)
class Paired:
    """The difference of two pipelines on the same trials, or over subjects."""

    value: float
    ci_low: float
    ci_high: float
    p: float
    n: int


def compare_trials(
    right_a: np.ndarray, right_b: np.ndarray, fold: np.ndarray, *, n_permutations: int, n_draws: int,
    learned: bool = True, confidence: float = 0.95, seed: int = 0,
) -> Paired:  # fmt: skip
    """Compare two pipelines on the same trials: difference of accuracy, two-sided p by exchanging their outcomes.

    Parameters
    ----------
    right_a, right_b : bool ndarray (n_trials,)
        Whether each was right.
    fold : int ndarray (n_trials,)
        Bootstrap draws stay within folds.
    learned : bool
        Whether these trials trained the predictions of one another: the interval is wider then.
    """
    difference = right_a.astype(float) - right_b.astype(float)
    value = float(difference.mean())
    rng = np.random.default_rng([seed, 31])
    p = low = high = float("nan")
    if n_permutations:
        signs = rng.integers(0, 2, size=(n_permutations, len(difference))) * 2 - 1
        null = np.abs(signs @ difference) / len(difference)
        p = float((np.sum(null >= abs(value) - 1e-12) + 1) / (n_permutations + 1))
    if n_draws:
        weights = row_weights(np.arange(len(difference)), fold=fold, n_draws=n_draws, seed=seed)
        draws = weights @ difference / len(difference)
        low, high = resampled_interval(value, draws, learned=learned, confidence=confidence, bounds=(-1.0, 1.0))
    return Paired(value, low, high, p, len(difference))


def compare_subjects(a: np.ndarray, b: np.ndarray, *, confidence: float = 0.95, seed: int = 0) -> Paired:
    """Compare two pipelines over subjects: mean difference, t interval, two-sided sign-flip p.

    All sign flips are taken for up to 14 subjects, 10,000 random ones beyond. With `n` subjects no p can be below
    ``2 / 2**n``.
    """
    from scipy import stats

    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    n = len(difference)
    if n < 2:
        raise ValueError(f"a comparison over subjects needs two subjects or more, got {n}")
    value = float(difference.mean())
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1) * difference.std(ddof=1) / np.sqrt(n))
    if n <= 14:
        signs = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) * 2 - 1
        p = float(np.mean(np.abs(signs @ difference) / n >= abs(value) - 1e-12))
    else:
        signs = np.random.default_rng([seed, 37]).integers(0, 2, size=(10_000, n)) * 2 - 1
        p = float((np.sum(np.abs(signs @ difference) / n >= abs(value) - 1e-12) + 1) / 10_001)
    return Paired(value, value - half, value + half, p, n)
