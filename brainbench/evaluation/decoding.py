"""Scores of predicted labels: accuracy with confidence and a permutation test, confusion, folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainbench.evaluation.bootstrap import row_weights
from brainbench.evaluation.significance import DECISIONS, permutation_indices, widened

PAIR = "accuracy_"
"""What the metric of two classes begins with."""


def pair_metric(first: str, second: str) -> str:
    """Return the metric of two classes; a ``_`` within a class is encoded, so that no two pairs share one."""
    return PAIR + "_".join(name.replace("%", "%25").replace("_", "%5F") for name in (first, second))


def classes_of(metric: str) -> tuple[str, str] | None:
    """Return the two classes of a metric that `pair_metric` named, or None."""
    parts = metric.removeprefix(PAIR).split("_")
    if not metric.startswith(PAIR) or len(parts) != 2:
        return None
    first, second = (part.replace("%5F", "_").replace("%25", "%") for part in parts)
    return first, second


@dataclass(frozen=True)
class DecodingScore:
    """How well labels were predicted.

    Attributes
    ----------
    accuracy, balanced_accuracy : float
        Share of rows predicted right; mean over classes of that share.
    ci_low, ci_high : float
        Bootstrap over rows within folds; NaN without draws.
    p, null_95 : float
        True labels permuted within runs and folds, predictions fixed, the null widened; NaN without permutations.
    confusion : int ndarray (n_labels, n_labels)
        Rows are true, columns predicted.
    per_fold : list of (number from 1, accuracy, rows)
    guess : float
        Accuracy of the best constant guess under the class rates of these rows.
    n_classes : int
        Among the true labels.
    """

    labels: list[str]
    accuracy: float
    balanced_accuracy: float
    ci_low: float
    ci_high: float
    p: float
    null_95: float
    confusion: np.ndarray
    per_fold: list[tuple[int, float, int]]
    n_rows: int
    guess: float
    n_classes: int


def score_labels(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    fold: np.ndarray,
    *,
    run: np.ndarray,
    n_permutations: int = 1000,
    n_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> DecodingScore:
    """Score held-out predictions of labels.

    Parameters
    ----------
    y_true, y_pred : str ndarray (n_rows,)
    fold : int ndarray (n_rows,)
    run : ndarray (n_rows,)
        True labels are permuted within runs, since rows of a run are alike, and within folds, since what is known
        of other folds was trained on.
    """
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix

    labels = [str(name) for name in np.unique(np.concatenate([y_true, y_pred]))]
    right = (y_true == y_pred).astype(float)
    p = null_95 = low = high = float("nan")
    if n_permutations:
        orders = permutation_indices(
            len(y_true), null="within_run", run=run, fold=fold, n_permutations=n_permutations, seed=seed
        )
        null = widened((y_true[orders] == y_pred).mean(axis=1), len(np.unique(fold)), DECISIONS)
        p = float((np.sum(null >= right.mean() - 1e-12) + 1) / (n_permutations + 1))
        null_95 = float(np.quantile(null, 0.95))
    if n_draws:
        weights = row_weights(np.arange(len(right)), fold=fold, n_draws=n_draws, seed=seed)
        tail = (1 - confidence) / 2
        low, high = (float(v) for v in np.quantile(weights @ right / weights.sum(axis=1), [tail, 1 - tail]))
    folds = np.unique(fold)
    return DecodingScore(
        labels=labels,
        accuracy=float(right.mean()),
        balanced_accuracy=float(balanced_accuracy_score(y_true, y_pred)),
        ci_low=low,
        ci_high=high,
        p=p,
        null_95=null_95,
        confusion=confusion_matrix(y_true, y_pred, labels=labels),
        per_fold=[
            (number, float(right[fold == value].mean()), int(np.sum(fold == value)))
            for number, value in enumerate(folds, start=1)
        ],
        n_rows=len(right),
        guess=float(np.unique(y_true, return_counts=True)[1].max() / len(y_true)),
        n_classes=len(np.unique(y_true)),
    )
