"""Every metric by the name it has in recipes and in ``scores.csv``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from brainbench.evaluation.similarity import linear_cka, rdm, rsa

FLAT = 1e-12
"""A column whose spread is below this share of its size counts as constant and scores 0."""


def unit_columns(values: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and length 1, so that an inner product of two is their correlation.

    Parameters
    ----------
    values : ndarray (n_rows, n_targets)

    Returns
    -------
    ndarray (n_rows, n_targets), float64
        Constant columns are 0.
    """
    values = np.asarray(values, dtype=np.float64)
    centered = values - values.mean(axis=0)
    norm = np.sqrt((centered**2).sum(axis=0))
    size = np.sqrt((values**2).sum(axis=0))
    return np.where(norm > FLAT * np.maximum(size, 1e-300), centered / np.where(norm > 0, norm, 1), 0.0)


def total_squares(values: np.ndarray) -> np.ndarray:
    """Sum of squares of every column about its mean; 0 for constant ones, however their mean is rounded."""
    total = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    return np.where(total > FLAT**2 * np.maximum((values**2).sum(axis=0), 1e-300), total, 0.0)


def pearson_r(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Pearson's correlation of every target, ``(n_targets,)``; constant columns score 0."""
    r: np.ndarray = (unit_columns(y_true) * unit_columns(y_pred)).sum(axis=0)
    return r


def r2(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Coefficient of determination of every target, 1 - SS_left / SS_total, never clipped; constant ones score 0."""
    y_true, y_pred = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    total = total_squares(y_true)
    left = ((y_true - y_pred) ** 2).sum(axis=0)
    return np.where(total > 0, 1 - left / np.where(total > 0, total, 1), 0.0)


def explained_variance(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Explained variance of every target: R2 that forgives a wrong mean."""
    y_true, y_pred = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    return r2(y_true, y_pred - (y_pred - y_true).mean(axis=0))


def two_vs_two(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Share of pairs of rows whose matched predictions correlate better than swapped ones; a tie counts half.

    Parameters
    ----------
    y_true, y_pred : ndarray (n_rows, n_targets)

    References
    ----------
    Mitchell et al. (2008), Science 320, 1191-1195. Chance is 0.5 for predictions of rows that training never saw.
    """
    r = unit_columns(np.asarray(y_pred).T).T @ unit_columns(np.asarray(y_true).T)
    first, second = np.triu_indices(len(r), 1)
    difference = r[first, first] + r[second, second] - r[first, second] - r[second, first]
    return float(np.where(np.abs(difference) < 1e-9, 0.5, difference > 0).mean())


def accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Share of labels predicted right."""
    return float(np.mean(np.asarray(y_true) == np.asarray(y_pred)))


def balanced_accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Mean over classes of the share of their rows predicted right."""
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    return float(np.mean([np.mean(y_pred[y_true == label] == label) for label in np.unique(y_true)]))


def kappa(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Cohen's kappa: agreement of labels beyond what their frequencies give."""
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(y_true, y_pred))


def roc_auc(y_true: np.ndarray, probability: np.ndarray) -> float:
    """Area under the ROC curve, of the second class or the mean of each class against the rest.

    Parameters
    ----------
    y_true : ndarray (n_rows,)
    probability : ndarray (n_rows, n_classes)
        In the order of the sorted labels.
    """
    from sklearn.metrics import roc_auc_score

    probability = np.asarray(probability)
    score = probability[:, 1] if probability.shape[1] == 2 else probability
    return float(roc_auc_score(y_true, score, multi_class="ovr"))


def rsa_of(x: np.ndarray, y: np.ndarray) -> float:
    """Representational similarity: Spearman's correlation of the dissimilarities of all pairs of rows."""
    return rsa(rdm(x), rdm(y))


def cka_of(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centered kernel alignment, debiased."""
    return linear_cka(x, y)


COLUMN_METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "pearson_r": pearson_r,
    "r2": r2,
    "explained_variance": explained_variance,
}
"""Metrics with a value per target, which `metrics:` of a recipe may name."""

METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    **COLUMN_METRICS,
    "two_vs_two": two_vs_two,
    "rsa": rsa_of,
    "cka": cka_of,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "kappa": kappa,
    "roc_auc": roc_auc,
}
"""All metrics; each is called with (measured, predicted) or with two sets of patterns."""
