"""Whether an edit takes more from a region than edits of the same size chosen at random, and more than noise.

Three questions, each with a p of its own, of which the largest counts: a claim needs all three answers. Does it take
more than controls do? Is what it takes beyond theirs more than participants, or folds, differ? And is there anything
that could be lost: is the intact score above 0? The first alone would call chance differences of a noisy region, or of
a head that reads nothing, effects of a network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEWEST = 20
"""Controls, below which nothing is called beyond them: p by their count cannot fall below 1 / 20."""
PEOPLE = 5
"""Participants from which they are the sample; with fewer it is the folds."""
LOOSE = 0.1
"""Share of controls with p < .05 among the others above which the normal law is not theirs, and their count is used."""
SMALLEST = 1e-6
"""No law that twenty controls were fitted to says less."""


@dataclass(frozen=True)
class Band:
    """An effect beside those of controls.

    Attributes
    ----------
    mean, low, high : float
        Of the controls: mean, and the 2.5th and 97.5th percentile.
    n : int
        Controls.
    p : float
        The largest of the three; NaN where one of them is not known.
    p_controls, p_noise, p_intact : float
    """

    mean: float
    low: float
    high: float
    n: int
    p: float
    p_controls: float
    p_noise: float
    p_intact: float


def band(clean: np.ndarray, edited: np.ndarray, controls: np.ndarray, shares: float, *, law: bool = True) -> Band:
    """Return where the effect of an edit on one region stands.

    Parameters
    ----------
    clean : ndarray (n_participants, n_folds)
        Intact scores.
    edited : ndarray (n_participants, n_folds)
        Under the edit.
    controls : ndarray (n_controls, n_participants, n_folds)
        Under the controls.
    shares : float
        Test rows of a fold / its training rows: folds share what they are trained on.
    law : bool
        Whether p of controls may come from a law (`p_controls`).
    """
    lost, others = float((clean - edited).mean()), (clean - controls).mean(axis=(1, 2))
    low, high = np.quantile(others, [0.025, 0.975])
    p = (p_controls(lost, others, law=law), p_noise(controls.mean(axis=0) - edited, shares), p_noise(clean, shares))
    return Band(float(others.mean()), float(low), float(high), len(others), float(np.max(p)), *p)


def p_controls(lost: float, others: np.ndarray, *, law: bool = True) -> float:
    """Return how rare an effect is among controls ``(n_controls,)``.

    From `FEWEST` controls on, the tail of Student's law for one more draw of a normal law known by these alone, which
    says less than their count ever could; with fewer, or without `law`, (1 + as large) / (1 + n).
    """
    from scipy.special import stdtr

    n, spread = len(others), float(others.std(ddof=1)) if len(others) > 1 else 0.0
    if n < FEWEST or not law or not spread > 1e-12:
        return (1 + int(np.sum(others >= lost - 1e-12))) / (1 + n)
    return max(float(stdtr(n - 1, -(lost - others.mean()) / (spread * np.sqrt(1 + 1 / n)))), SMALLEST)


def p_noise(values: np.ndarray, shares: float) -> float:
    """Return p of a mean above 0 over participants, or over the folds of fewer than `PEOPLE`; NaN of a single fold.

    Over folds the variance is that of Nadeau and Bengio (2003): 1 / k + `shares` in place of 1 / k.

    Parameters
    ----------
    values : ndarray (n_participants, n_folds)
    shares : float
    """
    from scipy.special import stdtr

    people = len(values)
    sample = values.mean(axis=1) if people >= PEOPLE else values.mean(axis=0)
    n = len(sample)
    if n < 2:
        return float("nan")
    mean = float(sample.mean())
    error = float(sample.std(ddof=1)) * np.sqrt(1 / n + (0.0 if people >= PEOPLE else shares))
    if not error > 1e-12:
        return 1.0 if mean <= 1e-12 else SMALLEST
    return max(float(stdtr(n - 1, -mean / error)), SMALLEST)


def share_beyond(others: np.ndarray, level: float = 0.05) -> float:
    """Return the share of controls whose p among the others of their test is below a level; NaN with too few.

    Parameters
    ----------
    others : ndarray (n_tests, n_controls)
        Effects of the controls of every block and region.
    """
    from scipy.special import stdtr

    n = others.shape[1]
    if n <= FEWEST - 1:
        return float("nan")
    # All but one, for each: mean and variance by what the one adds.
    total, square = others.sum(axis=1, keepdims=True), (others**2).sum(axis=1, keepdims=True)
    mean = (total - others) / (n - 1)
    variance = np.maximum(square - others**2 - (n - 1) * mean**2, 0) / (n - 2)
    known = variance > 1e-24
    if not known.any():
        return float("nan")
    t = (others - mean)[known] / np.sqrt(variance[known] * (1 + 1 / (n - 1)))
    return float(np.mean(stdtr(n - 2, -t) < level))
