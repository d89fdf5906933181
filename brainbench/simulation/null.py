r"""Null participants: responses of a recording's own design in which no feature has a part.

Rows, runs, repeats, regions and labels stay; the numbers are drawn anew. With a matrix G of independent normal numbers
the rows of :math:`G E / \sqrt n` have the covariance of the n rows of E over all targets, so that regions stay as
smooth as they were, and two participants who are drawn with the same G keep what they share. Drawn are

- in trials: the means of runs, an answer to every stimulus that all its showings share (what repeats share in the data;
  none where the null says that rows may change places), and noise with the variance and the lag-one autocorrelation
  that repeats leave over;
- in time: drifts slower than the high-pass filter, and an autoregressive process with every target's own coefficients.

An effect of known size may be added (`Effect`): a signal that is linear in given features, with every target's own
weights the same in all sets, whose correlation with the responses, run means and drifts aside, is what was asked for.

Answers to stimuli are drawn alike for participants who met the same stimuli, time courses for those who met them at the
same times. What the recording says about features is thereby lost: each drawn row mixes all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.data.base import Context, Dataset, Responses, Stimuli
from brainbench.features.drift import drift_basis, remove_drift, segments_of

MEMORY_S = 12.0
"""Seconds over which an autoregressive process looks back."""

MOST_LAGS = 8
"""Lags of it at most."""

BURNED = 50
"""Rows that are drawn before a run and left out, so that it starts in the middle of things."""

AT_ONCE = 512
"""Rows that are drawn at once."""


@dataclass(frozen=True)
class NullDraw:
    """A null participant.

    Attributes
    ----------
    responses : Responses
    ceiling : ndarray (n_targets,) or None
        The true ceiling of every target, in r, of predicting the mean over a stimulus' showings; None where
        it is not known.
    spread : ndarray (n_targets,)
        Standard deviation of what was drawn, run means and drifts aside.
    """

    responses: Responses
    ceiling: np.ndarray | None
    spread: np.ndarray


@dataclass(frozen=True)
class Effect:
    """What participants answer to, beside what null participants are made of.

    Attributes
    ----------
    size : float
        Correlation, between 0 and 1, of every target with its signal, single rows.
    features : callable
        From stimuli and responses to the features of every row, ``(n_rows, n_features)``.
    """

    size: float
    features: Callable[[Stimuli, Responses], np.ndarray]


class NullDataset(Dataset):
    """A data set whose participants answer to nothing that an encoder could know.

    Parameters
    ----------
    real : Dataset
        Its designs are kept; every subject is read once.
    answers : bool
        Whether the showings of a stimulus share something (trial designs).
    seed : int
    centered : bool
        Whether the means of runs will be taken out, so that they lower no ceiling (trial designs).
    high_pass_s : float or None
        Longest period that counts as signal (continuous designs).
    effect : Effect, optional
        What is planted; ceilings are not known then.
    """

    def __init__(
        self, real: Dataset, *, answers: bool, seed: int, centered: bool = False, high_pass_s: float | None = None,
        effect: Effect | None = None,
    ) -> None:  # fmt: skip
        self.real, self.answers, self.seed, self.centered, self.high_pass_s = real, answers, seed, centered, high_pass_s
        self.effect = effect
        self.name, self.simulated, self.aligned_targets = real.name, True, real.aligned_targets
        self.number = 0
        self._read: dict[str, Responses] = {}
        self._drawn: dict[str, NullDraw] = {}
        self._signals: dict[str, np.ndarray] = {}

    @classmethod
    def open(cls, settings: Any, root: Path | None, context: Context) -> NullDataset:
        """Refuse: null participants are drawn from a data set that is open."""
        raise TypeError("a NullDataset is made from an open data set")

    @property
    def subjects(self) -> list[str]:
        """Those of the data set."""
        return self.real.subjects

    def stimuli(self, subject: str) -> Stimuli:
        """Return the stimuli, which stay."""
        return self.real.stimuli(subject)

    def files(self) -> list[Path]:
        """Return the files of the data set."""
        return self.real.files()

    def draw(self, number: int) -> None:
        """Take another set of participants; each set has a number and is always the same."""
        self.number, self._drawn = number, {}

    def responses(self, subject: str) -> Responses:
        """Return the null participant that stands in a subject's place."""
        return self.participant(subject).responses

    def participant(self, subject: str) -> NullDraw:
        """Return the null participant with what is known of it."""
        if subject not in self._drawn:
            if subject not in self._read:
                self._read[subject] = self.real.responses(subject)

            def rng(*what: str) -> np.random.Generator:
                return np.random.default_rng([self.seed, 97, self.number, int(digest(list(what))[:12], 16)])

            real, stimuli = self._read[subject], self.real.stimuli(subject)
            draw = _in_time if real.continuous is not None else _trials
            self._drawn[subject] = self._planted(draw(self, real, stimuli, rng), subject)
        return self._drawn[subject]

    def _planted(self, draw: NullDraw, subject: str) -> NullDraw:
        """Add the effect."""
        if self.effect is None:
            return draw
        if subject not in self._signals:
            self._signals[subject] = self._signal(self.effect, subject)
        size, responses = self.effect.size, draw.responses
        data = responses.data + size / np.sqrt(1 - size**2) * draw.spread * self._signals[subject]
        data = data.astype(responses.data.dtype)
        planted = replace(responses, data=data, notes=["drawn: an effect was planted"])
        return replace(draw, responses=planted, ceiling=None)

    def _signal(self, effect: Effect, subject: str) -> np.ndarray:
        """Return every target's signal, ``(n_rows, n_targets)`` of unit variance, the same in all sets."""
        real = self._read[subject]
        X = np.asarray(effect.features(self.real.stimuli(subject), real), dtype=np.float64)
        if real.continuous is not None:
            pools = segments_of(np.arange(len(X)), np.asarray(real.run, dtype=str))
            X = remove_drift(X, pools, real.continuous.t_r, self.high_pass_s)
        X = _of_unit_variance(X)
        rng = np.random.default_rng([self.seed, 101, int(digest([subject])[:12], 16)])
        return _of_unit_variance(X @ rng.standard_normal((X.shape[1], real.n_targets)))


Rng = Callable[..., np.random.Generator]
"""The generator of what is named: the same names, the same numbers."""


def _trials(how: NullDataset, real: Responses, stimuli: Stimuli, rng: Rng) -> NullDraw:
    """Draw means of runs, answers to stimuli, and noise."""
    assert real.stimulus is not None
    data = np.asarray(real.data, dtype=np.float64)
    run = np.unique(np.asarray(real.run, dtype=str), return_inverse=True)[1]
    pools = [np.flatnonzero(run == number) for number in range(run.max() + 1)]
    level = np.stack([data[rows].mean(axis=0) for rows in pools])
    clean = data - level[run]
    parts = _of_repeats(clean, np.asarray(real.stimulus), len(stimuli))
    counts = np.bincount(real.stimulus, minlength=len(stimuli))
    drawn = np.tile(data.mean(axis=0), (len(data), 1))
    of_runs = np.zeros(data.shape[1])
    if len(pools) > 1:
        levels = (level - level.mean(axis=0)) * np.sqrt(len(pools) / (len(pools) - 1))
        levels = _mixed(levels, len(pools), rng("runs", real.subject))
        drawn += levels[run]
        in_run = np.zeros((len(stimuli), len(pools)))
        np.add.at(in_run, (real.stimulus, run), 1)
        of_runs = (in_run[counts > 0] / counts[counts > 0, None] @ levels).var(axis=0)
    ceiling = None
    if how.answers and parts.answers is not None:
        drawn += _mixed(parts.answers, len(parts.answers), rng("answers", stimuli.digest()))[real.stimulus]
        signal = (parts.answers**2).mean(axis=0)
        total = signal + parts.variance * float(np.mean(1 / counts[counts > 0])) + (0 if how.centered else of_runs)
        ceiling = np.sqrt(signal / np.where(total > 0, total, np.inf))
    elif not how.answers:
        ceiling = np.zeros(data.shape[1])
    drawn += _Process(parts.noise, pools, 1).draw(parts.variance, rng("noise", real.subject))
    shared = 0.0 if parts.answers is None or not how.answers else (parts.answers**2).mean(axis=0)
    return NullDraw(_with(real, drawn), ceiling, np.sqrt(parts.variance + shared))


@dataclass(frozen=True)
class _Parts:
    """What repeats share, ``(n_stimuli, n_targets)`` or None without repeats; what they do not, and its variance."""

    answers: np.ndarray | None
    noise: np.ndarray
    variance: np.ndarray


def _of_repeats(clean: np.ndarray, stimulus: np.ndarray, n_stimuli: int) -> _Parts:
    """Part responses into what the showings of a stimulus share and what not, by the moments of both.

    Where some stimuli were shown once, the noise has the variance that repeats show, and the shape of all rows.
    """
    counts = np.bincount(stimulus, minlength=n_stimuli)
    shown = counts > 0
    if counts.max() < 2:
        return _Parts(None, clean, clean.var(axis=0))
    means = np.zeros((n_stimuli, clean.shape[1]))
    np.add.at(means, stimulus, clean)
    means /= np.maximum(counts, 1)[:, None]
    left = clean - means[stimulus]
    variance = (left**2).sum(axis=0) / float((counts[shown] - 1).sum())
    answers = np.where(shown[:, None], means - means[shown].mean(axis=0), 0.0)
    squares = (answers**2).sum(axis=0)
    shared = np.maximum(squares / max(shown.sum() - 1, 1) - variance * float(np.mean(1 / counts[shown])), 0.0)
    answers *= np.sqrt(shared * n_stimuli / np.where(squares > 0, squares, np.inf))
    if counts[shown].min() < 2:
        return _Parts(answers, clean, variance)
    return _Parts(answers, left * np.sqrt(counts / np.maximum(counts - 1, 1))[stimulus][:, None], variance)


def _in_time(how: NullDataset, real: Responses, stimuli: Stimuli, rng: Rng) -> NullDraw:
    """Draw drifts and an autoregressive process, alike for participants who met the same at the same times."""
    assert real.continuous is not None
    t_r, run = real.continuous.t_r, np.asarray(real.run, dtype=str)
    data = np.asarray(real.data, dtype=np.float64)
    pools = segments_of(np.arange(len(data)), run)
    clean = remove_drift(data, pools, t_r, how.high_pass_s)
    same = (stimuli.digest(), digest_array(run), digest_array(np.asarray(real.continuous.row_time)))
    n_lags = int(np.clip(round(MEMORY_S / t_r), 1, MOST_LAGS))
    drawn = _Process(clean, pools, n_lags).draw(clean.var(axis=0), rng("noise", *same))
    sizes = rng("drift", *same)
    for rows in pools:
        basis = drift_basis(len(rows), t_r, how.high_pass_s)
        weights = basis.T @ data[rows]
        weights[1:] *= sizes.standard_normal((len(weights) - 1, 1))
        drawn[rows] += basis @ weights
    return NullDraw(_with(real, drawn), None, clean.std(axis=0))


class _Process:
    """An autoregressive process of every target with innovations that targets share as the data's do.

    Parameters
    ----------
    values : ndarray (n_rows, n_targets)
    pools : sequence of int ndarray
        Rows of every run, in time.
    n_lags : int
    """

    def __init__(self, values: np.ndarray, pools: list[np.ndarray], n_lags: int) -> None:
        self.pools = pools
        long = [rows for rows in pools if len(rows) > 2 * n_lags + 1]
        n_lags = n_lags if long else 0
        moments = np.zeros((n_lags + 1, values.shape[1]))
        for rows in long or pools:
            x = values[rows]
            for lag in range(n_lags + 1):
                moments[lag] += (x[lag:] * x[: len(x) - lag]).sum(axis=0)
        rho = moments / np.where(moments[0] > 0, moments[0], np.inf)
        rho[0] = 1.0
        # Yule and Walker; with moments divided by all rows the process is stable.
        lags = np.abs(np.subtract.outer(np.arange(n_lags), np.arange(n_lags)))
        self.weights = np.linalg.solve(rho[lags].transpose(2, 0, 1), rho[1:].T[..., None])[..., 0].T
        self.share = 1 - (self.weights * rho[1:]).sum(axis=0)
        new = []
        for rows in long or pools:
            x = values[rows]
            e = x[n_lags:].copy()
            for lag in range(1, n_lags + 1):
                e -= self.weights[lag - 1] * x[n_lags - lag : len(x) - lag]
            new.append(e)
        innovations = np.concatenate(new)
        size = np.sqrt((innovations**2).mean(axis=0))
        self.innovations = innovations / np.where(size > 0, size, np.inf)

    def draw(self, variance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return all runs of a process with this variance, ``(n_rows, n_targets)``."""
        drawn = np.zeros((sum(map(len, self.pools)), self.innovations.shape[1]))
        for rows in self.pools:
            x = _mixed(self.innovations, BURNED + len(rows), rng)
            for now in range(len(self.weights), len(x)):
                for lag, weight in enumerate(self.weights, start=1):
                    x[now] += weight * x[now - lag]
            drawn[rows] = x[BURNED:]
        return np.asarray(drawn * np.sqrt(variance * self.share))


def _mixed(values: np.ndarray, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return normal rows with the covariance of the rows of `values`, ``(n_rows, n_targets)``."""
    mixed = np.empty((n_rows, values.shape[1]))
    source = np.asarray(values / np.sqrt(len(values)), dtype=np.float32)
    for start in range(0, n_rows, AT_ONCE):
        stop = min(start + AT_ONCE, n_rows)
        mixed[start:stop] = rng.standard_normal((stop - start, len(values)), dtype=np.float32) @ source
    return mixed


def _of_unit_variance(values: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and variance 1; constant ones become 0."""
    centered = values - values.mean(axis=0)
    spread = centered.std(axis=0)
    return np.asarray(centered / np.where(spread > 1e-9 * np.abs(values).max(initial=1e-300), spread, np.inf))


def _with(real: Responses, drawn: np.ndarray) -> Responses:
    kind = real.data.dtype if real.data.dtype.kind == "f" else np.dtype(np.float32)
    return replace(real, data=drawn.astype(kind), ceiling=None, notes=["drawn: a null participant"])


def truths(dataset: NullDataset, subjects: list[str]) -> Mapping[str, np.ndarray]:
    """Return the true ceilings of the participants for whom they are known."""
    found = {subject: dataset.participant(subject).ceiling for subject in subjects}
    return {subject: ceiling for subject, ceiling in found.items() if ceiling is not None}
