"""Calibration of probabilities: a decoder that says .8 should be right in 8 of 10 trials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_BINS = 8
"""Bins of equal width between chance and 1."""


@dataclass(frozen=True)
class Calibration:
    """Confidence of the decision against how often it was right.

    Attributes
    ----------
    edges : ndarray (n_bins + 1,)
    count, confidence, right : ndarray (n_bins,)
        Trials in a bin, and the sums of their confidences and of right decisions.
    ece : float
        Expected calibration error: mean distance between confidence and accuracy, bins weighted by their trials.
    expected, null_95, p : float
        Mean and 95th percentile of the error of a decoder that is perfectly calibrated, on as many trials with the
        same confidences; share of such errors that are as large. Few trials alone give an error well above 0.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    right: np.ndarray
    ece: float
    expected: float
    null_95: float
    p: float


def calibrate(y: np.ndarray, probability: np.ndarray, *, n_draws: int = 1000, seed: int = 0) -> Calibration:
    """Hold the probability of the decided class against the share of right decisions (Guo et al. 2017).

    Parameters
    ----------
    y : int ndarray (n_trials,)
        Class of each held-out trial, from 0.
    probability : ndarray (n_trials, n_classes)
    n_draws : int
        Outcomes drawn under perfect calibration; 0 leaves `expected`, `null_95` and `p` NaN.
    seed : int
    """
    n, n_classes = probability.shape
    top = probability.max(axis=1)
    right = (probability.argmax(axis=1) == y).astype(float)
    edges = np.linspace(1 / n_classes, 1, N_BINS + 1)
    place = bins_of(top, edges)
    member = np.eye(N_BINS)[place]
    confidence = member.T @ top
    ece = float(np.abs(member.T @ right - confidence).sum() / n)
    expected = null_95 = p = float("nan")
    if n_draws:
        drawn = np.random.default_rng([seed, 41]).random((n_draws, n)) < top
        null = np.abs(drawn @ member - confidence).sum(axis=1) / n
        expected, null_95 = float(null.mean()), float(np.quantile(null, 0.95))
        p = float((np.sum(null >= ece - 1e-12) + 1) / (n_draws + 1))
    return Calibration(edges, member.sum(axis=0), confidence, member.T @ right, ece, expected, null_95, p)


def bins_of(top: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the bin of every decision's probability."""
    return np.clip(np.digitize(top, edges) - 1, 0, len(edges) - 2)


def forecast(
    top: np.ndarray, edges: np.ndarray, count: np.ndarray, right: np.ndarray, *, confidence: float = 0.95,
    n_draws: int = 4000, seed: int = 0,
) -> tuple[float, float, float]:  # fmt: skip
    """Return which share of new decisions is likely to be right, and between which shares it will be found.

    Each decision takes the share that was right in its bin of probability; bins without a trial take that over all.
    The interval holds both what is not known of these shares and the chance of each new trial: it is of the share that
    is counted afterwards, not of its expectation. Shares are drawn from their beta distributions (Jeffreys' prior), and
    the new decisions from them. Assumed is that new trials are like the old ones, and right or wrong one by one.

    Parameters
    ----------
    top : ndarray (n_trials,)
        Probability of the decided class of every new trial.
    edges : ndarray (n_bins + 1,)
    count, right : ndarray (n_bins,)
        Held-out trials of every bin, and how many were right.
    confidence : float
    n_draws : int
    seed : int

    Returns
    -------
    value, low, high : float
    """
    count, right = np.asarray(count, dtype=float), np.asarray(right, dtype=float)
    known = count > 0
    n, hits = np.where(known, count, count.sum()), np.where(known, right, right.sum())
    new = np.bincount(bins_of(top, np.asarray(edges)), minlength=len(count))
    value = float(new @ (hits / n) / len(top))
    rng = np.random.default_rng([seed, 47])
    shares = rng.beta(hits + 0.5, n - hits + 0.5, size=(n_draws, len(n)))
    if (~known).any():
        shares[:, ~known] = shares[:, ~known][:, :1]  # what is not known of all bins alike is one number
    seen = rng.binomial(new, shares).sum(axis=1) / len(top)
    tail = (1 - confidence) / 2
    low, high = np.quantile(seen, [tail, 1 - tail], method="inverted_cdf")
    return value, min(float(low), value), max(float(high), value)
