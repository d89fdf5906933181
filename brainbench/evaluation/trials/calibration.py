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
    place = np.clip(np.digitize(top, edges) - 1, 0, N_BINS - 1)
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
