"""Noise ceilings: the best score that the repeats, or the other participants, allow; and how far they are known.

All in units of Pearson's r between a prediction and the measured responses. With reliability rho of a measurement
(the share of its variance that repeats), a perfect model of the repeatable part reaches r = sqrt(rho).

Ceilings of a region are means over targets of a root, and a root of a noisy number is too small on average: targets are
first drawn together until they spread as much as they do without their sampling error, which the jackknife over groups
of rows gives. The same groups give the region's interval. A ceiling whose interval reaches 0 was not found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

N_GROUPS = 20
"""Groups of stimuli, or stretches of time, that the jackknife leaves out."""

FEWEST_REPEATED = 3
"""Stimuli shown twice that a split-half ceiling needs."""

AT_ONCE = 256
"""Targets whose halves are averaged at once: about a cache."""


@dataclass(frozen=True)
class RegionCeiling:
    """The ceiling of a region in the unit of a metric; an interval where the data can give one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def failed(self) -> bool:
        """Whether the interval reaches 0: nothing may be divided by it."""
        return self.low is not None and self.low <= 0


@dataclass(frozen=True)
class Ceiling:
    """Ceilings of targets before they are clipped.

    Attributes
    ----------
    values : ndarray (n_targets,)
        Correlations, or shares of variance, below 0 where noise makes them so.
    power : {1, 2}
        The power of Pearson's r that `values` are in.
    left_out : ndarray (n_groups, n_targets), optional
        The same without each group of rows.
    """

    values: np.ndarray
    power: int = 2
    left_out: np.ndarray | None = None

    def shared_with(self, share: np.ndarray) -> Ceiling:
        """Return shares of variance (power 2) of responses of which only `share`, ``(n_targets,)``, was looked at."""
        left_out = None if self.left_out is None else self.left_out * share
        return Ceiling(self.values * share, 2, left_out)

    @property
    def targets(self) -> np.ndarray:
        """Ceiling of every target in r, in [0, 1]."""
        return _in_r(self.values, self.power)

    def region(
        self, mask: np.ndarray, power: int = 1, *, median: bool = False, confidence: float = 0.95
    ) -> RegionCeiling | None:
        """Return the ceiling of a region, or None where no target has one.

        Parameters
        ----------
        mask : bool ndarray (n_targets,)
        power : int
            The power of r that the metric is in.
        median : bool
            Of the targets, in place of the mean.
        confidence : float
        """
        known = np.asarray(mask, dtype=bool) & np.isfinite(self.values)
        if not known.any():
            return None
        values = np.asarray(self.values, dtype=np.float64)[known]
        average = np.median if median else np.mean

        def summary(of: np.ndarray, noise: float) -> float:
            return float(average(_in_r(_drawn_together(of, noise), self.power) ** power))

        if self.left_out is None:
            return RegionCeiling(summary(values, 0.0))
        from scipy import stats

        left_out = self.left_out[:, known]
        n_groups = len(left_out)
        noise = float((n_groups - 1) * left_out.var(axis=0).mean())
        error = float(np.sqrt((n_groups - 1) * left_out.mean(axis=1).var()))
        half = error * float(stats.t.ppf((1 + confidence) / 2, n_groups - 1))
        low, high = (summary(values + shift, noise) for shift in (-half, half))
        return RegionCeiling(summary(values, noise), 0.0 if values.mean() <= half else low, high)


def _in_r(values: np.ndarray, power: int) -> np.ndarray:
    return np.asarray(np.clip(values, 0, 1) ** (1 / power))


def _drawn_together(values: np.ndarray, noise: float) -> np.ndarray:
    """Return values with the same mean, and the variance that is left when `noise` is taken away."""
    spread = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    if noise <= 0 or spread <= 0:
        return values
    mean = values.mean()
    return np.asarray(mean + np.sqrt(max(1 - noise / spread, 0.0)) * (values - mean))


def without_offsets(data: np.ndarray, stimulus: np.ndarray, run: np.ndarray) -> np.ndarray:
    """Return responses without the offsets of runs, ``(n_presentations, n_targets)``.

    Where stimuli meet several runs, offsets move their means less than the halves of their showings, which would count
    them as noise. What the same stimuli differ by from run to run is taken out, and so are the means of runs that
    share no stimulus with others. Where no stimulus meets two runs, nothing tells an offset from what stimuli do.

    Parameters
    ----------
    data : ndarray (n_presentations, n_targets)
    stimulus : int ndarray (n_presentations,)
    run : ndarray (n_presentations,)
    """
    from scipy.sparse.csgraph import connected_components

    names, runs = (np.unique(one, return_inverse=True)[1] for one in (stimulus, run))
    offsets = np.eye(int(runs.max()) + 1)[runs]
    counts = np.bincount(names)
    met = np.zeros((len(counts), offsets.shape[1]))
    np.add.at(met, names, offsets)
    n_parts, part = connected_components(met.T @ met, directed=False)
    if n_parts == offsets.shape[1]:
        return data
    within = offsets - (met / counts[:, None])[names]
    moved = np.linalg.pinv(within.T @ within, rcond=1e-8, hermitian=True) @ (within.T @ data)
    parts = np.eye(n_parts)[part[runs]]
    level = parts.T @ (data - moved[runs]) / parts.sum(axis=0)[:, None]
    moved += (level - level.mean(axis=0))[part]
    return np.asarray(data - moved.astype(data.dtype)[runs])


@dataclass(frozen=True)
class Reliability:
    """Split-half reliability of single showings.

    Attributes
    ----------
    raw : ndarray (n_targets,)
        Share of a single showing's variance over stimuli that repeats, below 0 where noise makes it so.
    left_out : ndarray (n_groups, n_targets), optional
        The same without each group of stimuli.
    """

    raw: np.ndarray
    left_out: np.ndarray | None = None

    @property
    def single(self) -> np.ndarray:
        """The share clipped to [0, 1]."""
        return np.clip(self.raw, 0, 1)

    def ceiling(self, n: float) -> Ceiling:
        """Return the ceiling of predicting the mean over `n` showings (Spearman-Brown)."""
        left_out = None if self.left_out is None else _spearman_brown(self.left_out, n)
        return Ceiling(_spearman_brown(self.raw, n), 2, left_out)

    def of_mean(self, n: float) -> np.ndarray:
        """Return the ceiling of every target, in r, of predicting the mean over `n` showings."""
        return self.ceiling(n).targets


def _spearman_brown(reliability: np.ndarray, n: float) -> np.ndarray:
    """Return the reliability of a measurement of `n` times the length; of 1 / `n` times it for the inverse."""
    return np.asarray(n * reliability / np.maximum(1 + (n - 1) * reliability, 1e-12))


def split_half(data: np.ndarray, stimulus: np.ndarray, *, n_splits: int = 100, seed: int = 0) -> Reliability:
    """Return the reliability of single showings from random halves of the repeats.

    Every stimulus' showings are dealt into two halves of equal size (one is left out where their number is odd),
    the half means are correlated over stimuli, averaged over splits, and brought to one showing by Spearman-Brown.
    The noise of half means has the variance of one showing times the mean over stimuli of 1 / (showings in a half),
    so that their harmonic mean is the length of a half.

    Parameters
    ----------
    data : ndarray (n_presentations, n_targets)
    stimulus : int ndarray (n_presentations,)
    n_splits : int
        Random halves averaged.
    seed : int

    Raises
    ------
    ValueError
        If fewer than three stimuli were shown twice.
    """
    rng = np.random.default_rng([seed, 31])
    _, inverse, counts = np.unique(stimulus, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts >= 2)
    if len(repeated) < FEWEST_REPEATED:
        raise ValueError(f"a split-half ceiling needs three stimuli shown twice, found {len(repeated)}")
    rows = [np.flatnonzero(inverse == index) for index in repeated]
    halves = np.array([len(one) // 2 for one in rows])
    group = np.random.default_rng([seed, 41]).permutation(len(rows)) % min(N_GROUPS, len(rows))
    dealt = _dealt(counts[repeated], n_splits, rng)
    single = np.empty((int(group.max()) + 2, data.shape[1]))
    length = 1 / float(np.mean(1 / halves))
    for start in range(0, data.shape[1], AT_ONCE):
        some = np.asarray(data[:, start : start + AT_ONCE], dtype=np.float64)
        some = some - some.mean(axis=0)
        r = _correlations_of_halves(((of, some[one]) for of, one in zip(dealt, rows, strict=True)), group)
        single[:, start : start + AT_ONCE] = _spearman_brown(r.mean(axis=1), 1 / length)
    return Reliability(single[0], single[1:])


def _dealt(counts: np.ndarray, n_splits: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return for every stimulus the weights of its showings in first, then second halves, ``(2 * n_splits, count)``.

    Dealt split by split and in them stimulus by stimulus, whether it is done at once (where all were shown equally
    often) or one by one.
    """
    if (counts == counts[0]).all():
        places = np.tile(np.arange(counts[0]), (n_splits, len(counts), 1))
        orders = list(rng.permuted(places, axis=2).swapaxes(0, 1))
    else:
        each = [[rng.permutation(int(count)) for count in counts] for _ in range(n_splits)]
        orders = [np.stack(one) for one in zip(*each, strict=True)]
    dealt = []
    for order in orders:
        half = order.shape[1] // 2
        weights = np.zeros((2, *order.shape))
        for one, places in zip(weights, (order[:, :half], order[:, half : 2 * half]), strict=True):
            np.put_along_axis(one, places, 1 / half, axis=1)
        dealt.append(weights.reshape(2 * n_splits, -1))
    return dealt


def _correlations_of_halves(halves: Iterable[tuple[np.ndarray, np.ndarray]], group: np.ndarray) -> np.ndarray:
    """Return correlations over stimuli of the halves of their showings, ``(1 + n_groups, n_splits, n_targets)``.

    A stimulus at a time, whose half means in all splits are one product: what is summed stays in the cache.

    Parameters
    ----------
    halves : iterable of (ndarray (2 * n_splits, n_showings), ndarray (n_showings, n_targets))
        Of every stimulus the weights of its showings in the first halves, then in the second ones, and the showings.
    group : int ndarray (n_stimuli,)
        Left out after the first row, which is of all stimuli.
    """
    sums: np.ndarray | None = None
    for number, (weights, showings) in zip(group, halves, strict=True):
        means = weights @ showings
        n_splits = len(means) // 2
        if sums is None:
            sums = np.zeros((5, int(group.max()) + 1, n_splits, means.shape[1]))
            product = np.empty_like(sums[0, 0])
        one, other = means[:n_splits], means[n_splits:]
        sums[:2, number] += means.reshape(2, n_splits, -1)
        for total, (a, b) in zip(sums[2:, number], ((one, one), (other, other), (one, other)), strict=True):
            np.multiply(a, b, out=product)
            total += product
    assert sums is not None
    return _left_out(np.bincount(group)[:, None, None], *sums)


def leave_one_out(data: np.ndarray) -> list[Ceiling]:
    """Return every participant's correlation with the mean of the others.

    It is what a model that knows the other participants perfectly would reach on this one: an estimate from below
    of the ceiling, since the mean of the others is itself noisy.

    Parameters
    ----------
    data : ndarray (n_subjects, n_rows, n_targets)
        Rows in order of time: the jackknife leaves out stretches.
    """
    total, stretches = data.sum(axis=0), _stretches(data.shape[1])
    found = [_correlations(one, (total - one) / (len(data) - 1), stretches) for one in data]
    return [Ceiling(r[0], 1, r[1:]) for r in found]


def group_split_half(data: np.ndarray, *, n_splits: int = 100, seed: int = 0) -> Ceiling:
    """Return the ceiling of the mean over participants: its split-half reliability (Spearman-Brown).

    Parameters
    ----------
    data : ndarray (n_subjects, n_rows, n_targets)
        Z-scored responses, rows in order of time.
    """
    rng = np.random.default_rng([seed, 37])
    n = len(data)
    half, stretches = n // 2, _stretches(data.shape[1])
    total = np.zeros((int(stretches.max()) + 2, data.shape[2]))
    for _ in range(n_splits):
        order = rng.permutation(n)
        total += _correlations(data[order[:half]].mean(axis=0), data[order[half : 2 * half]].mean(axis=0), stretches)
    reliability = _spearman_brown(total / n_splits, n / half)
    return Ceiling(reliability[0], 2, reliability[1:])


def from_ncsnr(ncsnr: np.ndarray, repeats: np.ndarray | int) -> np.ndarray:
    """Return the ceiling, in r, from the noise ceiling SNR of the Natural Scenes Dataset.

    With ``ncsnr = s`` (standard deviation of signal over that of noise) and stimuli averaged over ``n_i`` showings,
    the explainable share of variance is ``s^2 / (s^2 + mean(1 / n_i))`` (Allen et al. 2022).

    Parameters
    ----------
    ncsnr : ndarray (n_targets,)
    repeats : int or ndarray (n_stimuli,)
        Showings averaged into each stimulus' response.
    """
    signal = np.asarray(ncsnr, dtype=float) ** 2
    noise = float(np.mean(1 / np.asarray(repeats, dtype=float)))
    return np.sqrt(signal / (signal + noise))


def _stretches(n_rows: int) -> np.ndarray:
    """Return the stretch of every row: `N_GROUPS` of neighbouring rows."""
    n_groups = min(N_GROUPS, n_rows)
    return np.arange(n_rows) * n_groups // n_rows


def _correlations(a: np.ndarray, b: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return correlations of columns, first over all rows, then without each group, ``(1 + n_groups, n_columns)``."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    a, b = (a - a.mean(axis=0))[order], (b - b.mean(axis=0))[order]
    sums = (np.add.reduceat(values, starts, axis=0) for values in (np.ones((len(order), 1)), a, b, a * a, b * b, a * b))
    return _left_out(*sums)


def _left_out(
    n: np.ndarray, a: np.ndarray, b: np.ndarray, aa: np.ndarray, bb: np.ndarray, ab: np.ndarray
) -> np.ndarray:
    """Return correlations over all groups, then without each, from sums over each, ``(1 + n_groups, ...)``."""

    def without(parts: np.ndarray) -> np.ndarray:
        whole = parts.sum(axis=0)
        return np.concatenate([whole[None], whole - parts])

    n, a, b = without(n), without(a), without(b)
    size = np.sqrt(np.maximum((without(aa) - a * a / n) * (without(bb) - b * b / n), 0))
    flat = size <= 1e-12 * np.maximum(size[0], 1e-300)
    products = without(ab) - a * b / n
    return np.divide(products, size, out=np.zeros_like(products), where=~flat)
