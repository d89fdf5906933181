"""Logistic regression on features of every trial, standardised by training rows; band power is the plainest of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from brainbench.core.errors import UserError
from brainbench.decoders.base import TrialContext, TrialDecoder
from brainbench.decoders.exchanged import logistic_exchanged
from brainbench.recipes.pipelines import PowerLrSettings
from brainbench.recordings.power import log_band_power

MAX_STEPS = 1000


class LinearProbe(TrialDecoder):
    """Logistic regression on what `prepare` returns, ``(n_trials, n_features)``.

    Parameters
    ----------
    C : float
        Inverse strength of the L2 penalty.

    Attributes
    ----------
    scaler_, model_
        Fitted on training rows.
    """

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    def fit_prepared(
        self, prepared: np.ndarray, y: np.ndarray, *, groups: np.ndarray | None = None,
        domains: np.ndarray | None = None,
    ) -> LinearProbe:  # fmt: skip
        """Fit scaling and regression; see `TrialDecoder.fit_prepared`."""
        self.classes_ = np.unique(y)
        self.scaler_ = StandardScaler().fit(prepared)
        self.model_ = LogisticRegression(C=self.C, max_iter=MAX_STEPS).fit(self.scaler_.transform(prepared), y)
        return self

    def probability_of(self, prepared: np.ndarray, *, domains: np.ndarray | None = None) -> np.ndarray:
        """Return probabilities; see `TrialDecoder.probability_of`."""
        found: np.ndarray = self.model_.predict_proba(self.scaler_.transform(prepared))
        return found

    def exchanged(
        self, prepared: np.ndarray, y: np.ndarray, test: np.ndarray, *, domains: np.ndarray | None = None,
        test_domains: np.ndarray | None = None,
    ) -> np.ndarray | None:  # fmt: skip
        """Fit to every order; scaling knows no labels and is fitted once."""
        self.classes_ = np.unique(y)
        scaler = StandardScaler().fit(prepared)
        return logistic_exchanged(scaler.transform(prepared), y, scaler.transform(test), self.C)


class PowerLr(LinearProbe):
    """Log band power of every channel.

    Parameters
    ----------
    ranges : mapping of str to (low, high)
        Hz.
    sfreq : float
        Hz.
    C : float
    window : float, optional
        Seconds of windows that follow each other; what is left after the last whole one is not read.
    """

    def __init__(
        self, ranges: Mapping[str, Sequence[float]], sfreq: float, C: float = 1.0, window: float | None = None
    ) -> None:
        super().__init__(C)
        self.ranges = ranges
        self.sfreq = sfreq
        self.window = window

    def preparation(self) -> dict[str, Any]:  # noqa: D102
        windows = {} if self.window is None else {"window": self.window}
        return {"as": "log_band_power", "ranges": [list(band) for band in self.ranges.values()], **windows}

    def prepare(self, X: np.ndarray) -> np.ndarray:
        """Return log10 of the power ``(n_trials, n_channels * n_windows * n_bands)``."""
        X = np.asarray(X)
        if self.window is not None:
            size = round(self.window * self.sfreq)
            if not 0 < size <= X.shape[-1]:
                raise UserError(
                    f"`window` ({self.window:g} s, {size} samples) does not fit into trials of {X.shape[-1]} samples"
                )
            n = X.shape[-1] // size
            X = X[..., : n * size].reshape(len(X), -1, size)
        return log_band_power(X, self.sfreq, list(self.ranges.values())).reshape(len(X), -1)

    def check_trials(self, n_channels: int, n_times: int, n_classes: int) -> None:
        """Refuse bands that the rate or the length of trials do not hold; see `TrialDecoder.check_trials`."""
        self.prepare(np.random.default_rng(0).normal(size=(2, n_channels, n_times)))


def power_lr(settings: PowerLrSettings, context: TrialContext) -> PowerLr:
    """Return the unfitted decoder of a recipe's settings."""
    return PowerLr(settings.ranges, context.sfreq, settings.C, settings.window)
