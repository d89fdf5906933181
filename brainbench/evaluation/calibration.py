"""Calibration: how often a p value rejects on data without an effect, and how often an interval covers the truth.

A row is a name, a promise, and a function that draws one data set by its seed and returns one number for it. Seeds are
a digest of the row's name and of the set's number, so that a row is continued and never restarted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

CONFIDENCE = 0.99
"""Of the exact intervals."""

Promise = Literal["p", "discrete p", "cover", "power", "value", "stated"]


@dataclass(frozen=True)
class Row:
    """One line of the calibration table.

    Parameters
    ----------
    name : str
        Seeds are its digest: a new name means new data sets.
    promise : {"p", "discrete p", "cover", "power", "value", "stated"}
        ``p``: `one` returns a p value of data without an effect. ``discrete p``: the same of a statistic with few
        values, which may reject more rarely than it says. ``cover``: 1 where the interval covers the truth, else 0.
        ``power``: a p value of data with an effect. ``value``: any number, whose mean is promised; ``stated``: one
        whose mean is not.
    one : callable
        Takes a seed and returns the number of one data set, or a list with one number for each of `many`.
    many : int
        Data sets of one call, which share their features: given these, they are independent.
    at_least : float
        Promised rate of detection at .05 (``power``).
    between : (float, float)
        Promised range of the mean (``value``), or of the rate (``cover``).
    n_sets : int
        Data sets that the row is worth: fewer where one takes long.
    """

    name: str
    promise: Promise
    one: Callable[[int], float | Sequence[float]]
    at_least: float = 0.0
    between: tuple[float, float] = (0.92, 0.97)
    n_sets: int = 2000
    many: int = 1

    def seed(self, index: int) -> int:
        """Return the seed of one data set, or of one call for `many`."""
        return int(hashlib.sha256(f"{self.name}/{index}".encode()).hexdigest()[:15], 16)


@dataclass(frozen=True)
class Rate:
    """A share of data sets with its exact interval."""

    share: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, hits: int, n: int, confidence: float = CONFIDENCE) -> Rate:
        """Return the share with its exact interval (Clopper and Pearson 1934)."""
        from scipy.stats import beta

        tail = (1 - confidence) / 2
        low = float(beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
        high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
        return cls(hits / n if n else float("nan"), low, high, n)

    @classmethod
    def of_clusters(cls, hits: Sequence[float], tests: Sequence[float], confidence: float = CONFIDENCE) -> Rate:
        """Return the share of tests that come in clusters, such as those of one data set, with its interval.

        The exact interval of as many independent tests as would know the share as well (Korn and Graubard 1998); never
        of more than there are, and of the clusters alone where the share is 0 or 1.

        Parameters
        ----------
        hits, tests : sequence of float, one per cluster
        confidence : float
        """
        from scipy.stats import beta, t

        found, all_tests = np.asarray(hits, dtype=float), np.asarray(tests, dtype=float)
        n, total = len(found), float(all_tests.sum())
        if n < 2 or not total:
            return cls.of(int(found.sum()), int(total), confidence)
        share = float(found.sum() / total)
        spread = float(n / (n - 1) * ((found - share * all_tests) ** 2).sum()) / total**2
        worth = float(n)
        if spread > 0:
            known = t.ppf((1 + confidence) / 2, total - 1) / t.ppf((1 + confidence) / 2, n - 1)
            worth = min(share * (1 - share) / spread * float(known) ** 2, total)
        tail, hit = (1 - confidence) / 2, share * worth
        low = float(beta.ppf(tail, hit, worth - hit + 1)) if share > 0 else 0.0
        high = float(beta.ppf(1 - tail, hit + 1, worth - hit)) if share < 1 else 1.0
        return cls(share, low, high, int(total))

    def __str__(self) -> str:
        return f"{self.share:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Judged:
    """What a row's data sets say of its promise.

    Attributes
    ----------
    text : str
        Rates with their exact intervals.
    verdict : {"holds", "FAILS", "open", "stated"}
        ``FAILS``: an interval lies wholly outside what is promised. ``open``: an interval is still too wide, or the
        rate lies outside while its interval does not: continue the row.
    """

    text: str
    verdict: str


AT_05, AT_01 = (0.035, 0.065), (0.0, 0.015)
"""Rates at .05 and at .01 that a p value keeps."""

WIDEST_05, WIDEST_01 = 0.015, 0.01
"""Half the width of an interval up to which it says something."""


def judge(row: Row, values: Sequence[float]) -> Judged:
    """Return what the data sets drawn so far say of a row's promise."""
    found = np.asarray(values, dtype=float)
    found = found[np.isfinite(found)]
    n = len(found)
    if n < 2:
        return Judged("no data sets", "open")
    if row.promise in ("value", "stated"):
        half = 2.576 * float(found.std(ddof=1)) / np.sqrt(n)
        mean = float(found.mean())
        text = f"mean {mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"
        judged = "stated" if row.promise == "stated" else _verdict(mean, mean - half, mean + half, *row.between)
        return Judged(text, judged)
    if row.promise in ("p", "discrete p"):
        five = Rate.of(int(np.sum(found <= 0.05 + 1e-12)), n)
        one = Rate.of(int(np.sum(found <= 0.01 + 1e-12)), n)
        low = AT_05[0] if row.promise == "p" else 0.0
        verdicts = [
            _verdict(five.share, five.low, five.high, low, AT_05[1], WIDEST_05),
            _verdict(one.share, one.low, one.high, *AT_01, WIDEST_01),
        ]
        verdict = next((one for one in ("FAILS", "open") if one in verdicts), "holds")
        return Judged(f".05: {five}   .01: {one}", verdict)
    hits = found <= 0.05 + 1e-12 if row.promise == "power" else found > 0.5
    rate = Rate.of(int(hits.sum()), n)
    low, high = (row.at_least, 1.0) if row.promise == "power" else row.between
    return Judged(str(rate), _verdict(rate.share, rate.low, rate.high, low, high))


def _verdict(value: float, low: float, high: float, least: float, most: float, widest: float = np.inf) -> str:
    if high < least or low > most:
        return "FAILS"
    return "open" if not least <= value <= most or (high - low) / 2 > widest else "holds"
