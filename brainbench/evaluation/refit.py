r"""A null that refits: every exchange of responses is fitted and scored as the data were, and its penalty chosen.

Exchanged responses are further targets of the same design, so that a fold's features are factorised once and an
exchange costs products only. Where targets are few, all of them are fitted under every exchange. Large regions would be
dear: 8,000 targets x 199 exchanges are 1.6 million choices of a penalty. There a draw is carried in three steps, each
from fewer and dearer fits to more and cheaper ones, as surveys do in several phases (Cochran 1977, chapters 7 and 12):

1. A dozen targets, four of each region, are fitted with the choice of their penalty under some of the exchanges. Their
   scores f are a line in the scores x of the same fits with one penalty for all, :math:`f = a + bx + e`, where that
   penalty is the one that explains most (as a rule more than .95 of the variance: responses without an effect are
   all shrunk strongly).
2. x is found for many targets of each region under every exchange (`brainbench.ridge.fixed`: a product a fold). The
   region's draw is :math:`a + b \bar x + k \bar e`; where an exchange has no residuals e of its own, those of a fitted
   one, drawn at random and taken together, stand for them. Where the line explains less than `ENOUGH`, targets are
   fitted under all exchanges.
3. Of regions with still more targets the mean of x is carried by its numerator, a bilinear form :math:`q = y'P'APy`
   whose mean over T targets is one inner product with the region's Gram matrix:
   :math:`\frac1T \sum_t y_t' P' A P y_t = \langle P'AP, \tfrac1T YY' \rangle`.

Means over m sampled targets vary more than means over all T. For a function of even degree, such as a correlation with
one's own prediction, the covariance of two targets is a power series in their squared correlation. q takes its first
term of x, so that what it leaves over is at most :math:`\rho^4` of the variance of one; e is taken for :math:`\rho^2`.
:math:`k^2` is the ratio of the means of these over pairs: of a region's targets, and of its sampled ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from brainbench.evaluation.exchange import Exchange
from brainbench.evaluation.metrics import METRICS, r2

N_REFITTED = 12
"""Targets whose penalty is chosen anew, over all regions; if there are no more, under every exchange."""

OF_EACH = 4
"""At least so many of every region, as long as these are not more than `MOST_REFITTED`: of heavy-tailed responses one
target says too little of how wide its region's null is."""

N_WITHOUT_LINE = 32
"""Targets whose penalty is chosen anew where the line explains less than `ENOUGH`."""

MOST_REFITTED = 64
"""Targets up to which there may be more, where regions are many."""

N_FITS = 500
"""About so many targets x exchanges are fitted for the line."""

FOR_LINE = 20
"""Exchanges that it is drawn through at least."""

ENOUGH = 0.9
"""Share of the variance of scores that the line has to explain."""

FIXED_ALPHAS = (10.0, 100.0, 1000.0)
"""Penalties that are tried for the line, where features are scaled to a kernel with a mean diagonal of one."""

N_FIXED, FIXED_OF_EACH, MOST_FIXED = 40, 8, 256
"""The same as the first three for targets that are fitted with one penalty."""

MOST_VALUES = 40_000_000
"""Exchanged responses held at once where penalties are chosen."""

CACHED_VALUES = 400_000
"""Exchanged responses held at once for products."""

PAIRED = 400
"""Targets whose correlations stand for those of a region."""

Parts = Sequence[tuple[np.ndarray, ...]]
"""Held-out responses of every fold and their predictions (by one model or several)."""

Predict = Callable[[np.ndarray], Iterable[tuple[np.ndarray, ...]]]
"""From responses ``(n_rows, n_columns)`` to `Parts`."""

Score = Callable[[Parts], np.ndarray]
"""From all folds' held-out responses and predictions to a score per column."""


class Fixed(Protocol):
    """Fits with one penalty, see `brainbench.ridge.fixed.FixedFits`."""

    def __call__(self, Y: np.ndarray) -> Parts:
        """Return held-out responses and their predictions."""

    def form(self) -> np.ndarray:
        """Return their score as a bilinear form of the responses, ``(n_rows, n_rows)``, symmetric."""


@dataclass(frozen=True)
class Null:
    """Scores under exchange.

    Attributes
    ----------
    regions : ndarray (n_exchanges, n_regions)
        Draws of each region's mean score.
    sampled : int ndarray (n_sampled,)
        Targets that were drawn from all regions, all of them where they are few.
    targets : ndarray (n_exchanges, n_sampled)
        Their scores, by the line and its residuals where no penalty was chosen.
    explained : float
        Share of the variance of scores that the line explains; 1 where every penalty was chosen.
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
    fixed: Callable[[float], Fixed] | None = None,
    base: np.ndarray | None = None,
    less: np.ndarray | None = None,
    n_refitted: int = N_REFITTED,
    seed: int = 0,
) -> Null:
    """Draw the null of every region's mean score.

    Parameters
    ----------
    Y : ndarray (n_rows, n_targets)
        What is exchanged: responses, or what a smaller model leaves over.
    exchange : Exchange
    predict : callable
        Fits every fold anew and chooses penalties.
    score : callable
    regions : mapping of str to bool ndarray (n_targets,)
    fixed : callable, optional
        From a penalty to fits with this penalty. Without it the sampled targets are fitted under every exchange, and
        carried to their region by their correlations alone.
    base : ndarray (n_rows, n_targets), optional
        Added to the exchanged rows: what a smaller model says (Freedman and Lane 1983).
    less : ndarray (n_exchanges, n_sampled), optional
        Scores of smaller models, `Null.targets` of the same call with them, which are taken from those of this one.
        Only without `fixed`.
    n_refitted : int
        Targets whose penalties are chosen.
    seed : int
        Of the sample of targets, and of the residuals' draws.
    """
    masks = np.stack([np.asarray(mask, dtype=bool) for mask in regions.values()])
    every = np.arange(len(exchange))

    def scores(some: np.ndarray, targets: np.ndarray, fit: Predict = predict, most: int = MOST_VALUES) -> np.ndarray:
        below = None if base is None else base[:, targets]
        return _scores(Y[:, targets], below, exchange.orders[some], fit, score, most)

    chosen = sample_targets(masks, n_refitted, OF_EACH, MOST_REFITTED, seed)
    if fixed is None or len(chosen) == masks.any(axis=0).sum():
        found = scores(every, chosen) - (0.0 if less is None else less)
        return Null(_carried(found, Y, chosen, masks, 2, seed), chosen, found, 1.0)
    some = np.unique(np.linspace(0, len(every) - 1, max(FOR_LINE, N_FITS // len(chosen))).astype(int))
    found = scores(some, chosen)
    models = [fixed(alpha) for alpha in FIXED_ALPHAS]
    lines = [_Line.of(scores(some, chosen, one, CACHED_VALUES), found) for one in models]
    line, model = max(zip(lines, models, strict=True), key=lambda pair: pair[0].explained)
    if line.explained < ENOUGH:
        first, chosen = chosen, sample_targets(masks, N_WITHOUT_LINE, OF_EACH, MOST_REFITTED, seed)
        whole, known = np.empty((len(every), len(chosen))), np.isin(chosen, first)
        whole[np.ix_(some, known)], rest = found, np.setdiff1d(every, some)
        whole[np.ix_(rest, known)] = scores(rest, first)
        whole[:, ~known] = scores(every, chosen[~known])
        some, found = every, whole
        line = _Line.of(scores(every, chosen, model, CACHED_VALUES), found)
    many = np.union1d(chosen, sample_targets(masks, N_FIXED, FIXED_OF_EACH, MOST_FIXED, seed))
    fitted, place = line(scores(every, many, model, CACHED_VALUES)), np.searchsorted(many, chosen)
    # Residuals of one exchange stay together: what targets have in common is kept.
    rng = np.random.default_rng([seed, 19])
    source, like = rng.integers(len(some), size=len(every)), rng.integers(len(chosen), size=len(many))
    source[some], like[place] = np.arange(len(some)), np.arange(len(chosen))
    left = (found - fitted[np.ix_(some, place)])[source]
    draws = _carried(fitted, Y, many, masks, 4, seed) + _carried(left, Y, chosen, masks, 2, seed)
    if (masks.sum(axis=1) > masks[:, many].sum(axis=1)).any():
        draws += _of_grams(Y, model.form(), exchange, masks, many, fitted, seed)
    return Null(draws, many, fitted + left[:, like], line.explained)


@dataclass(frozen=True)
class _Line:
    """Scores with chosen penalties as a line in those with one penalty for all."""

    slope: float
    intercept: float
    explained: float

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> _Line:
        """Return the line of least squares."""
        x_mean, y_mean = float(x.mean()), float(y.mean())
        square, total = float(((x - x_mean) ** 2).sum()), float(((y - y_mean) ** 2).sum())
        slope = float(((x - x_mean) * (y - y_mean)).sum()) / square if square > 0 else 0.0
        return cls(slope, y_mean - slope * x_mean, slope**2 * square / total if total > 0 else 0.0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the line's values."""
        return np.asarray(self.intercept + self.slope * x)


def sample_targets(masks: np.ndarray, n: int, of_each: int, most: int, seed: int) -> np.ndarray:
    """Return targets of all regions, sorted; a larger sample of the same seed holds a smaller one.

    Parameters
    ----------
    masks : bool ndarray (n_regions, n_targets)
    n : int
        About so many; all where there are no more.
    of_each, most : int
        At least so many of every region, as long as these are not more than `most` in all.
    seed : int
    """
    anywhere = np.flatnonzero(masks.any(axis=0))
    if len(anywhere) <= n:
        return anywhere
    rng = np.random.default_rng([seed, 13])
    share = max(1, n // len(masks), min(of_each, most // len(masks)))
    chosen = [rng.permutation(np.flatnonzero(mask))[:share] for mask in masks]
    return np.unique(np.concatenate(chosen))


def _scores(
    Y: np.ndarray, base: np.ndarray | None, orders: np.ndarray, fit: Predict, score: Score, most: int
) -> np.ndarray:
    """Return the scores of exchanged responses, ``(n_exchanges, n_targets)``, `most` values at once."""
    n_rows, n_targets = Y.shape
    Y, found = np.asarray(Y, dtype=np.float32), np.empty((len(orders), n_targets))
    step = max(1, most // max(1, Y.size))
    for start in range(0, len(orders), step):
        some = orders[start : start + step]
        stacked = Y[some.T]
        if base is not None:
            stacked += base[:, None]
        found[start : start + step] = score(list(fit(stacked.reshape(n_rows, -1)))).reshape(len(some), n_targets)
    return found


def _carried(
    values: np.ndarray, Y: np.ndarray, sampled: np.ndarray, masks: np.ndarray, degree: int, seed: int
) -> np.ndarray:
    """Return draws of regions' means from those of sampled targets, ``(n_exchanges, n_regions)``; see `_narrower`."""
    inside, mean = masks[:, sampled], values.mean()
    return np.asarray(mean + _narrower(Y, sampled, masks, degree, seed) * (_means(values, inside) - mean))


def _means(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return means over the targets inside of every region, from the last axis."""
    return np.asarray(values @ (inside / inside.sum(axis=1, keepdims=True)).T)


def _narrower(Y: np.ndarray, sampled: np.ndarray, masks: np.ndarray, degree: int, seed: int) -> np.ndarray:
    """Return by how much means over all targets of a region vary less than those over its sampled ones.

    The power `degree` of their correlation bounds how far two targets go together.
    """
    ratios = [
        1.0 if mask.sum() == inside.sum() else
        mean_power(Y[:, mask], degree, seed) / mean_power(Y[:, sampled[inside]], degree, seed)
        for mask, inside in zip(masks, masks[:, sampled], strict=True)
    ]  # fmt: skip
    return np.sqrt(np.minimum(ratios, 1.0))


def _of_grams(
    Y: np.ndarray,
    form: np.ndarray,
    exchange: Exchange,
    masks: np.ndarray,
    sampled: np.ndarray,
    scores: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Return what the form says of the targets of a region that are not sampled, ``(n_exchanges, n_regions)``.

    That is its mean over the region less the narrower mean over sampled targets, about its own mean and in units of
    the sampled targets' `scores`. The difference of two means is one inner product with the difference of two Grams.
    """
    unit, n_rows = _unit(Y), len(Y)
    some = np.linspace(0, len(exchange) - 1, min(FOR_LINE, len(exchange))).astype(int)
    exchanged = unit[:, sampled][exchange.orders[some].T].reshape(n_rows, -1)
    values = np.einsum("nt,nt->t", form @ exchanged, exchanged).reshape(len(some), -1)
    slope = np.float32(_Line.of(values, scores[some]).slope)
    shares = _narrower(Y, sampled, masks, 4, seed).astype(np.float32)

    def gram(columns: np.ndarray) -> np.ndarray:
        return np.asarray(columns @ columns.T / columns.shape[1]).ravel()

    grams = np.stack(
        [
            gram(unit[:, mask]) - share * gram(unit[:, sampled[inside]])
            for mask, inside, share in zip(masks, masks[:, sampled], shares, strict=True)
        ]
    )
    found = np.empty((len(exchange), len(masks)))
    columns, moved = np.empty_like(form), np.empty_like(form)
    # Rows of the responses go to `order`; so the form comes back to the rows as they were.
    for values_of_one, back in zip(found, np.argsort(exchange.orders, axis=1), strict=True):
        form.take(back, axis=1, out=columns, mode="clip")
        columns.take(back, axis=0, out=moved, mode="clip")
        values_of_one[:] = grams @ moved.ravel()
    return np.asarray(slope * (found - found.mean(axis=0)))


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


def best_scores(over: str) -> Score:
    """Return the best R2 of several models for every column; see `column_scores`."""

    def score(parts: Parts) -> np.ndarray:
        each = [[r2(truth, one) for one in models] for truth, *models in _scored_together(parts, over)]
        best: np.ndarray = np.mean(each, axis=0).max(axis=0)
        return best

    return score


def _scored_together(parts: Sequence[tuple[np.ndarray, ...]], over: str) -> Sequence[tuple[np.ndarray, ...]]:
    return [tuple(np.concatenate(side) for side in zip(*parts, strict=True))] if over == "pooled" else parts
