"""From draws of a null to p values: of a score, of a region over all layers, of targets; and from p to q."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from brainbench.evaluation.exchange import FEW, Exchange

if TYPE_CHECKING:  # metrics import the test of geometries, and these import metrics
    from brainbench.evaluation.refit import Null
    from brainbench.evaluation.scoring import Scored

MANY = 10_000
"""Distinct exchanges from which a tail may be continued beyond the exchanges that were drawn."""

SMALLEST = 1e-6
"""No tail that a few hundred exchanges were fitted to says less."""

RARE, RARE_TIED = 5, 1
"""Exchanges at least as good as observed up to which the tail stands for their count; of draws with many ties."""

LEANING = -0.35
"""Skewness of draws below which no smooth tail stands for their count: two standard errors of 199 symmetric draws."""

DISTINCT = 0.9
"""Share of draws that differ, below which they count as tied: a smooth tail says too little of P(X >= x)."""

NORMAL_SKEW = 1.6e-5
"""Skewness below which the law is normal to six digits, and the shape of a gamma law too large to be summed."""

MOST_KURTOSIS = 4.0
"""Of the draws beyond that of the Pearson III law; beyond 8 the expansion would turn back."""


def p_of_draws(observed: float, draws: np.ndarray, exchange: Exchange) -> float:
    """Return the p of one score: (b + 1) / (n + 1), or the tail of a Pearson III law where b is 5 or less.

    So few exchanges say little of how rare a score is: at .01, a count of 199 has an error of .007 and lies .005 above.
    The law is fitted by the draws' mean, variance and skewness, as moments of forms under exchange have it (Mielke and
    Berry 2007; Winkler et al. 2016), is normal where they lean to the left, and is stretched where their kurtosis is
    larger than its own (Cornish and Fisher).
    It is used where the draws follow it (Kolmogorov and Smirnov, .05) and at least 10,000 exchanges are distinct, and
    says no more than 7 / (n + 1): rates at larger levels are those of the count. Where draws clearly lean to the left,
    or are tied with one another or with what is observed, it only makes p smaller than 2 / (n + 1).

    Parameters
    ----------
    observed : float
    draws : ndarray (n_exchanges,)
    exchange : Exchange
    """
    n = len(draws)
    better = int(np.sum(draws >= observed - 1e-12))
    counted = (better + 1) / (n + 1)
    tied = len(np.unique(draws)) < DISTINCT * n or better > int(np.sum(draws > observed + 1e-12))
    rough = tied or _skewness(draws) < LEANING
    if better > (RARE_TIED if rough else RARE) or n < FEW or exchange.n_distinct < MANY:
        return counted
    tail = _pearson_tail(observed, draws)
    return counted if tail is None else min(tail, counted if rough else (RARE + 2) / (n + 1))


def _skewness(draws: np.ndarray) -> float:
    apart, spread = draws - draws.mean(), float(draws.std())
    return float(((apart / spread) ** 3).mean()) if spread > 1e-12 else 0.0


def _pearson_tail(observed: float, draws: np.ndarray) -> float | None:
    from scipy import special, stats

    n, spread = len(draws), float(draws.std(ddof=1))
    if not spread > 1e-12:
        return None
    unit = np.sort(draws - draws.mean()) / spread
    # Draws with a longer left tail, as R2 has, end on the right sooner than a normal law: a law that ends where the
    # observed score lies would call anything there impossible.
    skew = max(_skewness(unit), 0.0)
    below, ranks = 1 - pearson_beyond(unit, skew), np.arange(n)
    apart = max(float((below - ranks / n).max()), float(((ranks + 1) / n - below).max()))
    if special.kolmogorov(np.sqrt(n) * apart) < 0.05:
        return None
    beyond = float(pearson_beyond(np.array((observed - draws.mean()) / spread), skew))
    z = -float(special.ndtri_exp(np.log(max(beyond, 1e-300))))
    more = min(float(stats.kurtosis(draws, bias=False)) - 1.5 * skew**2, MOST_KURTOSIS)
    if more > 1e-3:
        # The root of w + more * (w^3 - 3 w) / 24 = z, of which there is one.
        slope = (24 / more - 3) / 3
        z = 2 * float(np.sqrt(slope) * np.sinh(np.arcsinh(12 * z / (more * slope**1.5)) / 3))
    # With t instead of the normal law a spread known from n draws is paid for.
    return max(float(special.stdtr(n - 1, -z / np.sqrt(1 + 1 / n))), SMALLEST)


def pearson_beyond(x: np.ndarray, skew: float) -> np.ndarray:
    """Return the probability above `x` of the Pearson III law of mean 0, variance 1 and a skewness of 0 or more.

    A gamma law of shape ``4 / skew**2``, moved and scaled; what `scipy.stats.pearson3` says.
    """
    from scipy import special

    if skew < NORMAL_SKEW:
        return np.asarray(special.ndtr(-x))
    shape = 4 / skew**2
    return np.asarray(special.gammaincc(shape, np.maximum(shape + 2 * x / skew, 0)))


def p_over_layers(
    observed: Sequence[float], draws: Sequence[np.ndarray], exchange: Exchange
) -> tuple[float, np.ndarray]:
    """Return one p for a region over all layers of an encoder, and the draws of what was tested.

    What is tested is the largest score over layers, every layer's in units of its own null. All layers are drawn under
    the same exchanges, so that what they share is not counted twice. The observed scores enter means and spreads as one
    more exchange, which keeps the test exact.

    Parameters
    ----------
    observed : sequence of float, one per layer
    draws : sequence of ndarray (n_exchanges,)
    exchange : Exchange
    """
    stacked = np.column_stack([np.asarray(observed, dtype=float), np.stack(draws).astype(float)])
    mean, spread = stacked.mean(axis=1, keepdims=True), stacked.std(axis=1, keepdims=True)
    largest = ((stacked - mean) / np.where(spread > 1e-12, spread, np.inf)).max(axis=0)
    return p_of_draws(float(largest[0]), largest[1:], exchange), largest


def p_of_targets(
    observed: np.ndarray, null: Null, exchange: Exchange, *, toward: int = 1, pace: np.ndarray | None = None
) -> np.ndarray:
    """Return the p of every target, from the draws of all refitted targets together.

    Targets that share a design share their null but for its spread, which in time depends on how slow a target is:
    there the logarithm of the spread is a line in `pace`, fitted over the refitted targets.

    Parameters
    ----------
    observed : ndarray (n_targets,)
    null : Null
    exchange : Exchange
    toward : {1, -1}
        Whether more is better, or less.
    pace : ndarray (n_targets,), optional
        Autocorrelation at the first lag.
    """
    mean, own = float(null.targets.mean()), null.targets.std(axis=0)
    spread = np.full(len(observed), float(null.targets.std()))
    if pace is not None and len(null.sampled) > 2 and (own > 0).all():
        line = np.polyfit(pace[null.sampled], np.log(own), 1)
        low, high = np.log(own.min()), np.log(own.max())
        spread = np.exp(np.clip(np.polyval(line, pace), low, high))
    spread = np.where(spread > 1e-12, spread, np.inf)
    pool = np.sort((toward * (null.targets - mean) / spread[null.sampled]).ravel())
    better = len(pool) - np.searchsorted(pool, toward * (observed - mean) / spread - 1e-9)
    p = (better + 1) / (len(pool) + 1)
    return p if exchange.n_distinct >= MANY else np.maximum(p, 1 / (len(exchange) + 1))


def fill_p(scored: Scored, null: Null, exchange: Exchange, *, toward: int = 1, pace: np.ndarray | None = None) -> None:
    """Fill the p values of regions and targets for the first metric of `scored`; see `p_of_draws`, `p_of_targets`."""
    lead = scored.metrics[0]
    draws = toward * null.regions.astype(float)
    values = toward * scored.roi_values[lead]
    scored.roi_p[lead] = np.array([p_of_draws(float(v), d, exchange) for v, d in zip(values, draws.T, strict=True)])
    scored.roi_null_95[lead] = toward * np.quantile(draws, 0.95, axis=0)
    scored.target_p = p_of_targets(scored.targets[lead], null, exchange, toward=toward, pace=pace)


def fdr(p: np.ndarray) -> np.ndarray:
    """Return Benjamini-Hochberg q values; NaN stays NaN and does not count as a test."""
    from scipy.stats import false_discovery_control

    p = np.asarray(p, dtype=float)
    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q
