"""Every metric: one record each, with all that scoring, tables, figures, claims and ceilings ask of it.

A new metric is one more record here, or one under the entry point ``brainbench.metrics``. A metric with a value per
target (`Metric.per_target`) can stand under ``metrics:`` of a recipe and lead it; without a closed form of its own its
bootstrap is its function, called on repeated rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainbench.core.registry import Registry
from brainbench.evaluation.similarity import linear_cka, rdm, rsa

FLAT = 1e-12
"""A column whose spread is below this share of its size counts as constant and scores 0."""

MEDIAN = "median_"
"""Before a metric's name: the median over the targets of a region in place of the mean."""

BEST = "best_"
"""Before a metric's name: the score of the best layer of an encoder, tested once over all layers."""

UNIQUE = "unique_r2"
"""What a layer explains beyond the controls."""

Parts = Sequence[np.ndarray]
"""Rows that are scored together, a list of row numbers each: the folds, or one list of all rows."""
Resample = Callable[[np.ndarray, np.ndarray, Parts, np.ndarray], np.ndarray]
"""From (measured, predicted, parts, orders or weights) to the scores of every order or draw, ``(n, n_targets)``."""


FLAT_SUMS = 1e-13
"""The same for squares that come as differences of sums, which rounding keeps from being 0."""

PAIRS_AT_ONCE = 512
"""Rows whose pairs with all others are held at once."""
MANY_ROWS = 32
"""Rows of a part from which draws of its correlation are taken in float32."""


@dataclass(frozen=True)
class Moments:
    """Sums over some rows of what was measured, y, and predicted, p; arrays that broadcast to ``(..., n_targets)``.

    Attributes
    ----------
    n : ndarray
        Number of rows.
    y, p, yy, yp, pp : ndarray
        Sums of the values and of their products; y and p are each about an origin of its own near their means, so that
        differences of these sums are precise.
    shift : ndarray
        The origin of p less that of y.
    """

    n: np.ndarray
    y: np.ndarray
    p: np.ndarray
    yy: np.ndarray
    yp: np.ndarray
    pp: np.ndarray
    shift: np.ndarray

    def total(self) -> np.ndarray:
        """Return the sum of squares of y about its mean; 0 for constant ones."""
        return _varying(self.yy - self.y**2 / self.n, self.yy)

    def power(self) -> np.ndarray:
        """Return the sum of squares of p about its mean; 0 for constant ones."""
        return _varying(self.pp - self.p**2 / self.n, self.pp)

    def left(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of p - y and of its squares."""
        plain, off = self.p - self.y, self.n * self.shift
        return plain + off, self.yy - 2 * self.yp + self.pp + (2 * plain + off) * self.shift


def _varying(squares: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(squares > FLAT_SUMS * np.maximum(size, 1e-300), squares, 0.0))


@dataclass(frozen=True)
class Metric:
    """What a metric is.

    Parameters
    ----------
    name : str
        As recipes and ``scores.csv`` call it.
    title : str
        For people.
    function : callable
        From (measured, predicted), or from two sets of patterns, to the score. Per target: from two arrays
        ``(n_rows, n_targets)`` to ``(n_targets,)``, every column by itself.
    per_target : bool
        Whether `function` returns a value per target, so that ``metrics:`` of a recipe may name it.
    bootstrap : callable, optional
        Scores with every row counted as often as ``weights`` ``(n_draws, n_rows)`` say.
    of_moments, slope : callable, optional
        From `Moments` to the score, and to three numbers (a, b, c) so that its derivative by the prediction of a row is
        a y + b p + c: with them intervals cost sums, and take out what pairs of rows add
        (`brainbench.evaluation.intervals`).
    power : int, optional
        The power of Pearson's r that it is in, for its noise ceiling; without one it has no ceiling.
    chance : float, optional
        What predictions that know nothing reach on average, or less; without one no test against it is made.
    direction : {1, -1}
        Whether more is better, or less.
    bounds : (float, float)
        What the score cannot leave.
    """

    name: str
    title: str
    function: Callable[..., Any]
    per_target: bool = False
    bootstrap: Resample | None = None
    of_moments: Callable[[Moments], np.ndarray] | None = None
    slope: Callable[[Moments], tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None
    power: int | None = None
    chance: float | None = 0.0
    direction: int = 1
    bounds: tuple[float, float] = (-np.inf, np.inf)

    def beyond_chance(self, values: Any) -> np.ndarray:
        """Return which scores are on the right side of chance: all where there is none, and a test alone can tell."""
        scores = np.asarray(values, dtype=float)
        return np.isfinite(scores) if self.chance is None else self.direction * (scores - self.chance) > 0

    def over(self, y_true: np.ndarray, y_pred: np.ndarray, parts: Parts) -> np.ndarray:
        """Return the score of every part and target, ``(n_parts, n_targets)``."""
        return np.stack([self.function(y_true[rows], y_pred[rows]) for rows in parts])

    def resampled(self, y_true: np.ndarray, y_pred: np.ndarray, parts: Parts, weights: np.ndarray) -> np.ndarray:
        """Return the mean over parts with rows drawn as often as `weights` say, ``(n_draws, n_targets)``."""
        if self.bootstrap is not None:
            return self.bootstrap(y_true, y_pred, parts, weights)
        counts = weights.astype(int)
        drawn = ([np.repeat(rows, count[rows]) for rows in parts] for count in counts)
        return np.stack([self.over(y_true, y_pred, rows).mean(axis=0) for rows in drawn])


METRICS: Registry[Metric] = Registry("metric", entry_point_group="brainbench.metrics")
"""All metrics by name."""


def metric_of(name: str) -> Metric | None:
    """Return the metric behind a name of ``scores.csv``, a median's own as well; None where there is none."""
    name = name.removeprefix(MEDIAN).removeprefix(BEST)
    return METRICS[name] if name in METRICS else None


def target_metrics() -> dict[str, Metric]:
    """Return the metrics with a value per target, which ``metrics:`` of a recipe may name."""
    return {name: METRICS[name] for name in METRICS if METRICS[name].per_target}


def title_of(name: str) -> str:
    """Return what people call a metric of ``scores.csv``, those made from another one included."""
    if (metric := metric_of(name)) is not None:
        said = {MEDIAN: f"median {metric.title}", BEST: f"{metric.title} of the best layer"}
        return next((text for start, text in said.items() if name.startswith(start)), metric.title)
    if name.startswith("difference_"):
        return f"difference of {title_of(name.removeprefix('difference_'))}"
    return name


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
    true, true_size = _about_mean(y_true)
    predicted, predicted_size = _about_mean(y_pred)
    size = true_size * predicted_size
    return np.asarray(np.einsum("nt,nt->t", true, predicted) / np.where(size > 0, size, np.inf))


def _about_mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return columns about their means, float64, and their lengths, 0 for constant ones."""
    centered = np.array(values, dtype=np.float64)
    mean = centered.mean(axis=0)
    centered -= mean  # in place: fresh memory costs more than the arithmetic
    squares = np.einsum("nt,nt->t", centered, centered)
    flat = squares <= FLAT**2 * np.maximum(squares + len(centered) * mean**2, 1e-300)
    return centered, np.sqrt(np.where(flat, 0.0, squares))


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


def unique_r2(y_true: np.ndarray, y_small: np.ndarray, y_full: np.ndarray) -> np.ndarray:
    """R2 that a full model reaches beyond a smaller one, for every target."""
    return r2(y_true, y_full) - r2(y_true, y_small)


def two_vs_two(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Share of pairs of rows whose matched predictions correlate better than swapped ones; a tie counts half.

    Parameters
    ----------
    y_true, y_pred : ndarray (n_rows, n_targets)

    References
    ----------
    Mitchell et al. (2008), Science 320, 1191-1195. Chance is 0.5 for predictions of rows that training never saw.
    """
    return _pairs_right(unit_columns(np.asarray(y_true).T).T, unit_columns(np.asarray(y_pred).T).T)


def two_vs_two_cosine(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Share of pairs of rows whose matched predictions have the larger cosines: `two_vs_two` about no mean.

    What all targets of a row have in common counts, so that a mean which responses share moves it.
    """
    true, predicted = (np.asarray(one, dtype=np.float64) for one in (y_true, y_pred))
    sizes = [np.linalg.norm(one, axis=1, keepdims=True) for one in (true, predicted)]
    return _pairs_right(
        *(one / np.where(size > 0, size, 1) for one, size in zip((true, predicted), sizes, strict=True))
    )


def _pairs_right(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of pairs of unit rows that match better than swapped, in stretches of rows."""
    n, right = len(true), 0.0
    matched = np.einsum("nt,nt->n", true, predicted)
    for start in range(0, n, PAIRS_AT_ONCE):
        rows = slice(start, start + PAIRS_AT_ONCE)
        swapped = true[rows] @ predicted.T + predicted[rows] @ true.T
        difference = matched[rows, None] + matched - swapped
        later = np.arange(n) > np.arange(n)[rows, None]
        right += float(np.where(np.abs(difference) < 1e-9, 0.5, difference > 0)[later].sum())
    return right / (n * (n - 1) / 2)


def pattern_r(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Mean over rows of the correlation, over targets, of what was measured and what was predicted."""
    return float(pearson_r(np.asarray(y_true).T, np.asarray(y_pred).T).mean())


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


def expected_calibration_error(y_true: np.ndarray, probability: np.ndarray) -> float:
    """Mean distance between how sure decisions are and how often they are right (Guo et al. 2017)."""
    from brainbench.evaluation.trials.calibration import calibrate

    return calibrate(y_true, probability, n_draws=0).ece


def rsa_of(x: np.ndarray, y: np.ndarray) -> float:
    """Representational similarity: Spearman's correlation of the dissimilarities of all pairs of rows."""
    return rsa(rdm(x), rdm(y))


def rsa_pearson_of(x: np.ndarray, y: np.ndarray) -> float:
    """Representational similarity: Pearson's correlation of the dissimilarities of all pairs of rows."""
    return float(np.corrcoef(rdm(x), rdm(y))[0, 1])


def cka_of(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centered kernel alignment, debiased."""
    return linear_cka(x, y)


# Bootstraps in closed form ---------------------------------------------------------------------------------------


def _bootstrap_pearson(y_true: np.ndarray, y_pred: np.ndarray, parts: Parts, weights: np.ndarray) -> np.ndarray:
    """Return draws of the mean correlation over parts: moments of all draws are five products, in float32.

    Columns have mean 0 and length 1, so that nothing large cancels, unless a draw repeats so few rows that they hardly
    vary; small parts, where that happens, are taken in float64.
    """
    total = np.zeros((len(weights), y_true.shape[1]))
    for rows in parts:
        large = len(rows) >= MANY_ROWS
        kind, least = np.dtype(np.float32 if large else np.float64), 1e-4 if large else 1e-12
        n = np.maximum(weights[:, rows].sum(axis=1, keepdims=True), 1)
        w = (weights[:, rows] / n).astype(kind)
        a: np.ndarray = unit_columns(y_true[rows]).astype(kind)
        b: np.ndarray = unit_columns(y_pred[rows]).astype(kind)
        mean_a, mean_b, square_a, square_b = w @ a, w @ b, w @ (a * a), w @ (b * b)
        covariance = w @ (a * b)
        covariance -= mean_a * mean_b
        varies = np.maximum(square_a - mean_a * mean_a, 0) * np.maximum(square_b - mean_b * mean_b, 0)
        square_a *= square_b
        square_a *= least**2
        kept = (varies > square_a) & (n > 1)
        total += np.divide(covariance, np.sqrt(varies), out=np.zeros_like(covariance), where=kept)
    return total / len(parts)


def _bootstrap_share(centered: bool) -> Resample:
    """Return the bootstrap of 1 - SS_left / SS_total, to first order in the weights.

    The ratio of two sums over a small fold's drawn rows lies below the ratio itself on average, and over many targets
    the interval would leave the value outside. With shares e of what is left and t of the total, every row's part in
    the score is ``sum(e) t - e``; draws add them up, and lie about the value.
    """

    def bootstrap(y_true: np.ndarray, y_pred: np.ndarray, parts: Parts, weights: np.ndarray) -> np.ndarray:
        total = np.zeros((len(weights), y_true.shape[1]))
        for rows in parts:
            spread = total_squares(y_true[rows])
            e, t = y_true[rows] - y_pred[rows], unit_columns(y_true[rows]) ** 2
            e = (e - e.mean(axis=0) if centered else e) ** 2
            e = np.divide(e, spread, out=np.zeros_like(t), where=spread > 0)
            left = e.sum(axis=0)
            total += np.where(spread > 0, 1 - left, 0.0) + (weights[:, rows] - 1) @ (left * t - e)
        return total / len(parts)

    return bootstrap


# Scores and their derivatives by predictions, from sums ------------------------------------------------------------


def _inverse(values: np.ndarray) -> np.ndarray:
    """Return 1 / values, and 0 for 0: what does not vary scores 0."""
    return np.asarray(np.divide(1.0, values, out=np.zeros_like(values), where=values > 0))


def _pearson_of(sums: Moments) -> np.ndarray:
    return np.asarray((sums.yp - sums.y * sums.p / sums.n) * _inverse(np.sqrt(sums.total() * sums.power())))


def _pearson_slope(sums: Moments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a = _inverse(np.sqrt(sums.total() * sums.power()))
    b = -_pearson_of(sums) * _inverse(sums.power())
    return a, b, -(a * sums.y + b * sums.p) / sums.n


def _share_of(centered: bool) -> Callable[[Moments], np.ndarray]:
    """Return 1 - SS_left / SS_total of moments; centred, what is left is taken about its mean."""

    def score(sums: Moments) -> np.ndarray:
        plain, squares = sums.left()
        total = sums.total()
        return np.where(total > 0, 1 - (squares - centered * plain**2 / sums.n) * _inverse(total), 0.0)

    return score


def _share_slope(centered: bool) -> Callable[[Moments], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    def slope(sums: Moments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        twice = 2 * _inverse(sums.total())
        return twice, -twice, twice * (centered * sums.left()[0] / sums.n - sums.shift)

    return slope


for _metric in (
    Metric(
        "pearson_r", "Pearson r", pearson_r, per_target=True,
        bootstrap=_bootstrap_pearson, of_moments=_pearson_of, slope=_pearson_slope, power=1, bounds=(-1, 1),
    ),
    Metric(
        "r2", "R²", r2, per_target=True,
        bootstrap=_bootstrap_share(centered=False), of_moments=_share_of(centered=False),
        slope=_share_slope(centered=False), power=2, bounds=(-np.inf, 1),
    ),
    Metric(
        "explained_variance", "explained variance", explained_variance, per_target=True,
        bootstrap=_bootstrap_share(centered=True), of_moments=_share_of(centered=True),
        slope=_share_slope(centered=True), power=2, bounds=(-np.inf, 1),
    ),
    Metric(UNIQUE, "unique R² over controls", unique_r2),
    Metric("two_vs_two", "2 vs 2 accuracy", two_vs_two, chance=0.5, bounds=(0, 1)),
    Metric("pattern_r", "pattern correlation", pattern_r, bounds=(-1, 1)),
    Metric("pairs_r", "2 vs 2 of held-out rows, by correlation", two_vs_two, chance=0.5, bounds=(0, 1)),
    Metric("pairs_cosine", "2 vs 2 of held-out rows, by cosine", two_vs_two_cosine, chance=0.5, bounds=(0, 1)),
    Metric("rsa", "RSA (Spearman)", rsa_of, bounds=(-1, 1)),
    Metric("rsa_pearson", "RSA (Pearson)", rsa_pearson_of, bounds=(-1, 1)),
    Metric("cka", "linear CKA (debiased)", cka_of, bounds=(-np.inf, 1)),
    Metric("accuracy", "accuracy", accuracy, chance=None, bounds=(0, 1)),
    Metric("balanced_accuracy", "balanced accuracy", balanced_accuracy, chance=None, bounds=(0, 1)),
    Metric("kappa", "Cohen's kappa", kappa, bounds=(-1, 1)),
    Metric("roc_auc", "ROC-AUC", roc_auc, chance=0.5, bounds=(0, 1)),
    Metric("ece", "expected calibration error", expected_calibration_error, chance=None, direction=-1, bounds=(0, 1)),
):  # fmt: skip
    METRICS.register(_metric.name)(_metric)
