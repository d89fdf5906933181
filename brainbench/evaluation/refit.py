r"""A null that refits: every exchange of responses is fitted, its penalty chosen, and scored as the data were.

Exchanged responses are further targets of the same design, so that a fold's features are factorised once and an
exchange costs products only. Large regions would still be dear: 8,000 targets x 199 exchanges are 1.6 million fits.
So only a sample of targets is refitted (a dozen where the forms below say most of their scores, more where
they do not), and carried to the region as surveys do (regression estimator; Cochran 1977,
chapter 7) with an auxiliary value that is known for every target and exchange at nearly no cost: the scores of a few
fixed penalties, which are bilinear forms :math:`q = y'P'APy`. Their mean over a region of T targets is

.. math:: \frac1T \sum_t y_t' P' A P y_t = \langle P'AP, \tfrac1T YY' \rangle ,

one inner product with the region's Gram matrix, however many targets it has. With the regression :math:`f = a + q'b +
e` of refitted scores on forms, a draw of the region's null is :math:`a + \bar q_R'b + k \bar e_m`, where
:math:`\bar e_m` is the mean residual of the region's refitted targets. Where all are refitted k is 1 and the draw is
the refitted mean itself. Else k brings the variance of a mean over m targets to that over all: for a function of even
degree such as a correlation with one's own prediction, the covariance of two targets is a power series in their squared
correlation; the forms take its first term, so that what is left over is at most :math:`\rho^4` of the variance of one
(:math:`\rho^2` without forms), and :math:`k^2` is the ratio of the means of these over pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from brainbench.evaluation.exchange import Exchange
from brainbench.evaluation.metrics import METRICS, r2

N_REFITTED = 12
"""Targets that are refitted, over all regions, where the forms say most of their scores."""

OF_EACH = 4
"""At least so many of every region, as long as these are not more than `MOST_REFITTED`: of heavy-tailed responses one
target says too little of how wide its region's null is."""

MOST_REFITTED = 64
"""Targets that are refitted where they do not."""

ENOUGH = 0.7
"""Share of the variance of refitted scores that is most of it: in a region's mean the forms' share is larger still."""

MOST_VALUES = 40_000_000
"""Exchanged responses held at once."""

FORM_ALPHAS = (1.0, 10.0, 1000.0)
"""Penalties of the forms, where features are scaled to a kernel with a mean diagonal of one."""

FOR_WEIGHTS = 30
"""Exchanges from which the weights of the forms are estimated."""

AT_ONCE = 16
"""Exchanges whose forms are held at once."""

PAIRED = 400
"""Targets whose correlations stand for those of a region."""

Predict = Callable[[np.ndarray], Iterator[tuple[np.ndarray, ...]]]
"""From responses ``(n_rows, n_columns)`` to held-out responses and their predictions (by one model or several)."""

Score = Callable[[Sequence[tuple[np.ndarray, ...]]], np.ndarray]
"""From all folds' held-out responses and predictions to a score per column."""


@dataclass(frozen=True)
class Null:
    """Scores under exchange.

    Attributes
    ----------
    regions : ndarray (n_exchanges, n_regions)
        Draws of each region's mean score.
    sampled : int ndarray (n_refitted,)
        Targets that were refitted.
    targets : ndarray (n_exchanges, n_refitted)
        Their scores.
    explained : float
        Share of the variance of refitted scores that the forms explain; 1 where every target was refitted.
    """

    regions: np.ndarray
    sampled: np.ndarray
    targets: np.ndarray
    explained: float

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return plain arrays to store."""
        return {
            "null/regions": self.regions.astype(np.float32),
            "null/sampled": self.sampled,
            "null/targets": self.targets.astype(np.float32),
            "null/explained": np.array(self.explained),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Null | None:
        """Rebuild from `to_arrays`; None where nothing was tested."""
        if "null/regions" not in arrays:
            return None
        explained = float(arrays["null/explained"])
        return cls(arrays["null/regions"], arrays["null/sampled"], arrays["null/targets"], explained)


def refit_null(
    Y: np.ndarray,
    exchange: Exchange,
    predict: Predict,
    score: Score,
    regions: Mapping[str, np.ndarray],
    *,
    forms: Callable[[], Sequence[np.ndarray]] | None = None,
    base: np.ndarray | None = None,
    n_refitted: int = N_REFITTED,
    most_refitted: int = MOST_REFITTED,
    seed: int = 0,
) -> Null:
    """Draw the null of every region's mean score.

    Parameters
    ----------
    Y : ndarray (n_rows, n_targets)
        What is exchanged: responses, or what a smaller model leaves over.
    exchange : Exchange
    predict : callable
        Fits every fold anew.
    score : callable
    regions : mapping of str to bool ndarray (n_targets,)
    forms : callable, optional
        Returns bilinear forms of the responses, ``(n_rows, n_rows)`` each; called where not every target is refitted.
    base : ndarray (n_rows, n_targets), optional
        Added to the exchanged rows: what a smaller model says (Freedman and Lane 1983).
    n_refitted, most_refitted : int
        Targets that are refitted, and those where the forms explain less than `ENOUGH` of the first ones.
    seed : int
        Of the sample of targets.
    """
    masks = np.stack([np.asarray(mask, dtype=bool) for mask in regions.values()])
    sampled = sample_targets(masks, n_refitted, seed)
    part, below = Y[:, sampled], None if base is None else base[:, sampled]
    scores = np.concatenate([score_of for score_of in _refitted(part, below, exchange, predict, score)])
    inside = masks[:, sampled]
    if masks.any(axis=0).sum() == len(sampled):
        draws = np.stack([scores[:, one].mean(axis=1) for one in inside], axis=1)
        return Null(draws, sampled, scores, 1.0)
    form, explained = _combined_form(part, exchange, scores, [] if forms is None else forms())
    if explained < ENOUGH and n_refitted < most_refitted:
        return refit_null(
            Y, exchange, predict, score, regions, forms=forms, base=base, n_refitted=most_refitted,
            most_refitted=most_refitted, seed=seed,
        )  # fmt: skip
    degree = 2 if form is None else 4
    shrink = np.array([mean_power(Y[:, m], degree, seed) / mean_power(Y[:, sampled[one]], degree, seed)
                       for m, one in zip(masks, inside, strict=True)])  # fmt: skip
    k = np.sqrt(np.minimum(shrink, 1.0))
    mean = float(scores.mean())
    draws = mean + k * (np.stack([scores[:, one].mean(axis=1) for one in inside], axis=1) - mean)
    if form is not None:
        draws += _of_grams(Y, form, exchange, masks, [sampled[one] for one in inside], k)
    return Null(draws, sampled, scores, explained)


def sample_targets(masks: np.ndarray, n_refitted: int, seed: int) -> np.ndarray:
    """Return targets to refit: all where they are few, else as many of each region as its share allows, sorted."""
    anywhere = np.flatnonzero(masks.any(axis=0))
    if len(anywhere) <= n_refitted:
        return anywhere
    rng = np.random.default_rng([seed, 13])
    share = max(1, n_refitted // len(masks), min(OF_EACH, MOST_REFITTED // len(masks)))
    chosen = [rng.permutation(np.flatnonzero(mask))[:share] for mask in masks]
    return np.unique(np.concatenate(chosen))


def _refitted(
    Y: np.ndarray, base: np.ndarray | None, exchange: Exchange, predict: Predict, score: Score
) -> Iterator[np.ndarray]:
    """Yield the scores of some exchanges at once, ``(n_exchanges, n_targets)``."""
    n_rows, n_targets = Y.shape
    Y = np.asarray(Y, dtype=np.float32)
    step = max(1, MOST_VALUES // max(1, n_rows * n_targets))
    for start in range(0, len(exchange), step):
        orders = exchange.orders[start : start + step]
        stacked = np.empty((n_rows, len(orders), n_targets), dtype=np.float32)
        for index, order in enumerate(orders):
            stacked[:, index] = Y[order] if base is None else Y[order] + base
        yield score(list(predict(stacked.reshape(n_rows, -1)))).reshape(len(orders), n_targets)


def _combined_form(
    part: np.ndarray, exchange: Exchange, scores: np.ndarray, forms: Sequence[np.ndarray]
) -> tuple[np.ndarray | None, float]:
    """Return the combination of forms that predicts refitted scores best, symmetric, and the variance it explains.

    The weights are those of a regression over some exchanges of the refitted targets.
    """
    if not forms:
        return None, 0.0
    some = np.linspace(0, len(exchange) - 1, min(FOR_WEIGHTS, len(exchange))).astype(int)
    unit, all_forms = _unit(part), np.concatenate(forms)
    x = np.empty((len(some), part.shape[1], len(forms)))
    for index, number in enumerate(some):
        exchanged = unit[exchange.orders[number]]
        products = (all_forms @ exchanged).reshape(len(forms), *exchanged.shape)
        x[index] = np.einsum("fnt,nt->tf", products, exchanged)
    flat, y = x.reshape(-1, len(forms)), scores[some].ravel()
    flat, y = flat - flat.mean(axis=0), y - y.mean()
    weights = np.linalg.lstsq(flat, y, rcond=None)[0]
    explained = float(1 - np.mean((y - flat @ weights) ** 2) / np.mean(y**2)) if y.any() else 0.0
    form = sum(weight * one for weight, one in zip(weights.astype(np.float32), forms, strict=True))
    return (form + form.T) / 2, explained


def _of_grams(
    Y: np.ndarray,
    form: np.ndarray,
    exchange: Exchange,
    masks: np.ndarray,
    refitted: Sequence[np.ndarray],
    k: np.ndarray,
) -> np.ndarray:
    """Return a form's mean over a region less k times that over its refitted targets, about its own mean.

    ``(n_exchanges, n_regions)``; the difference of two means is one inner product with the difference of two Grams.
    """
    unit, n_rows = _unit(Y), len(Y)

    def gram(columns: np.ndarray) -> np.ndarray:
        return np.asarray(columns @ columns.T / columns.shape[1]).ravel()

    grams = np.stack(
        [
            gram(unit[:, mask]) - np.float32(share) * gram(unit[:, some])
            for mask, some, share in zip(masks, refitted, k, strict=True)
        ]
    )
    found = np.empty((len(exchange), len(masks)))
    moved = np.empty((AT_ONCE, n_rows, n_rows), dtype=np.float32)
    for start in range(0, len(exchange), AT_ONCE):
        orders = exchange.orders[start : start + AT_ONCE]
        for one, order in zip(moved, orders, strict=False):
            # Rows of the responses go to `order`; so the form comes back to the rows as they were.
            back = np.argsort(order)
            one[:] = form.take(back, axis=0).take(back, axis=1)
        found[start : start + len(orders)] = moved[: len(orders)].reshape(len(orders), -1) @ grams.T
    return found - found.mean(axis=0)


def mean_power(Y: np.ndarray, degree: int, seed: int) -> float:
    """Return the mean over all pairs of targets, also with themselves, of a power of their correlation."""
    n_targets = Y.shape[1]
    if n_targets > PAIRED:
        Y = Y[:, np.random.default_rng([seed, 17]).permutation(n_targets)[:PAIRED]]
    unit = _unit(Y)
    powers = (unit.T @ unit) ** degree
    k = len(powers)
    apart = float((powers.sum() - np.trace(powers)) / max(k * (k - 1), 1))
    return 1 / n_targets + (1 - 1 / n_targets) * apart


def _unit(Y: np.ndarray) -> np.ndarray:
    """Return columns about their mean and of length 1, float32."""
    Y = np.asarray(Y, dtype=np.float64)
    Y = Y - Y.mean(axis=0)
    size = np.sqrt((Y**2).sum(axis=0))
    return np.asarray(Y / np.where(size > 0, size, np.inf), dtype=np.float32)


def column_scores(metric: str, over: str) -> Score:
    """Return the score of every column: the mean over folds, or once over the held-out rows of all folds.

    Parameters
    ----------
    metric : str
        One with a value per target.
    over : {"folds", "pooled"}
    """
    function = METRICS[metric].function

    def score(parts: Sequence[tuple[np.ndarray, ...]]) -> np.ndarray:
        found: np.ndarray = np.mean([function(*part) for part in _scored_together(parts, over)], axis=0)
        return found

    return score


def gain_scores(over: str) -> Score:
    """Return what the last model's R2 exceeds the best of the others' by, for every column; see `column_scores`."""

    def score(parts: Sequence[tuple[np.ndarray, ...]]) -> np.ndarray:
        each = [[r2(truth, one) for one in models] for truth, *models in _scored_together(parts, over)]
        mean = np.mean(each, axis=0)
        gain: np.ndarray = mean[-1] - mean[:-1].max(axis=0)
        return gain

    return score


def _scored_together(parts: Sequence[tuple[np.ndarray, ...]], over: str) -> Sequence[tuple[np.ndarray, ...]]:
    return [tuple(np.concatenate(side) for side in zip(*parts, strict=True))] if over == "pooled" else parts
