"""Scores of predicted labels: accuracy with confidence and a test by exchange, confusion, folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainbench.evaluation.bootstrap import row_weights
from brainbench.evaluation.labels import LabelNull, confusions, of_confusion, resampled_interval

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
        Bootstrap over rows within folds; NaN without draws or without any spread.
    tested : mapping of metric to (p, 95th percentile of the null)
        Of both accuracies; empty without a null.
    confusion : int ndarray (n_classes, n_classes)
        Rows are true, columns predicted.
    per_fold : list of (number from 1, accuracy, rows)
    guess : float
        Accuracy of the best constant guess under the class rates of these rows.
    n_classes : int
        Among the true labels.
    """

    accuracy: float
    balanced_accuracy: float
    ci_low: float
    ci_high: float
    tested: dict[str, tuple[float, float]]
    confusion: np.ndarray
    per_fold: list[tuple[int, float, int]]
    n_rows: int
    guess: float
    n_classes: int


def score_labels(
    y: np.ndarray,
    predicted: np.ndarray,
    fold: np.ndarray,
    *,
    n_classes: int,
    null: LabelNull | None = None,
    learned: bool = True,
    n_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> DecodingScore:
    """Score held-out predictions of labels.

    Parameters
    ----------
    y, predicted : int ndarray (n_rows,)
        Classes from 0.
    fold : int ndarray (n_rows,)
    n_classes : int
    null : LabelNull, optional
        Of these rows.
    learned : bool
        Whether these rows trained the predictions of one another: the interval is wider then.
    """
    right = (y == predicted).astype(float)
    confusion = confusions(y[None], predicted[None], n_classes)[0]
    tested = {}
    if null is not None:
        table = confusions(null.labels, predicted[None] if null.predicted is None else null.predicted, n_classes)
        for metric in ("accuracy", "balanced_accuracy"):
            tested[metric] = null.test(float(of_confusion(metric, confusion)), of_confusion(metric, table))
    low = high = float("nan")
    if n_draws:
        weights = row_weights(np.arange(len(right)), fold=fold, n_draws=n_draws, seed=seed)
        draws = weights @ right / weights.sum(axis=1)
        low, high = resampled_interval(float(right.mean()), draws, learned=learned, confidence=confidence)
    counts = confusion.sum(axis=1)
    return DecodingScore(
        accuracy=float(right.mean()),
        balanced_accuracy=float(of_confusion("balanced_accuracy", confusion)),
        ci_low=low,
        ci_high=high,
        tested=tested,
        confusion=confusion,
        per_fold=[
            (number, float(right[fold == value].mean()), int(np.sum(fold == value)))
            for number, value in enumerate(np.unique(fold), start=1)
        ],
        n_rows=len(right),
        guess=float(counts.max() / len(y)),
        n_classes=int(np.sum(counts > 0)),
    )
