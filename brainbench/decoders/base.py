"""The contract of a decoder of trials, and the table of known ones.

A decoder is a scikit-learn classifier over ``(n_trials, n_channels, n_times)`` in volts. What it computes from each
trial alone (`prepare`) is separated from what it fits, so that covariances are computed once and shared by
pipelines and folds: only `fit_prepared` ever sees more than one trial.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


@dataclass(frozen=True)
class TrialContext:
    """What a decoder may know of the recording before it sees a trial.

    Parameters
    ----------
    info : mne.Info
        Rate, names, kinds and positions of the channels.
    n_times : int
        Samples in a trial.
    seed : int
    threads : int
        Threads that a fit may use.
    networks : Path, optional
        Folder of trained networks (`brainbench.networks.store`): one that was trained before is read, an interrupted
        training continued.
    """

    info: Any
    n_times: int
    seed: int = 0
    threads: int = 1
    networks: Path | None = None

    @property
    def sfreq(self) -> float:
        """Samples per second."""
        return float(self.info["sfreq"])


class TrialDecoder(ClassifierMixin, BaseEstimator):
    """Base class; a subclass has `fit_prepared` and `probability_of`.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
    """

    classes_: np.ndarray

    @property
    def bands(self) -> list[list[float]] | None:
        """Pass bands of a filter bank; its input may then be ``(n_trials, n_bands, n_channels, n_times)``."""
        return None

    def preparation(self) -> dict[str, Any]:
        """Return what decides `prepare`, to name its result; equal values give equal results."""
        return {"as": "signals"}

    def prepare(self, X: np.ndarray) -> np.ndarray:
        """Return what the decoder is fitted on, computed from each trial alone."""
        return X

    def origins(self) -> dict[str, str]:
        """Return the recordings that a network learned from before, without labels; a trial of them is no test."""
        return {}

    def check_trials(self, n_channels: int, n_times: int, n_classes: int) -> None:
        """Refuse trials of a shape that it cannot read, before anything is fitted; most read any.

        Raises
        ------
        UserError
            With the shape that it needs.
        """

    @abstractmethod
    def fit_prepared(
        self, prepared: np.ndarray, y: np.ndarray, *, groups: np.ndarray | None = None,
        domains: np.ndarray | None = None,
    ) -> TrialDecoder:  # fmt: skip
        """Fit on prepared trials.

        Parameters
        ----------
        prepared : ndarray (n_trials, ...)
        y : ndarray (n_trials,)
        groups : ndarray (n_trials,), optional
            What a validation set must not split: runs, sessions or subjects.
        domains : ndarray (n_trials,), optional
            Subject and session of each trial, for alignment.
        """

    @abstractmethod
    def probability_of(self, prepared: np.ndarray, *, domains: np.ndarray | None = None) -> np.ndarray:
        """Return ``(n_trials, n_classes)`` of prepared trials."""

    def adapt(self, prepared: np.ndarray, *, domains: np.ndarray | None = None) -> None:
        """Use trials of a subject never trained on, without their labels; most decoders have no use for them.

        Parameters
        ----------
        prepared : ndarray (n_trials, ...)
            They are there before any trial is decoded.
        domains : ndarray (n_trials,), optional
            See `fit_prepared`.
        """

    def exchanged(
        self, prepared: np.ndarray, y: np.ndarray, test: np.ndarray, *, domains: np.ndarray | None = None,
        test_domains: np.ndarray | None = None,
    ) -> np.ndarray | None:  # fmt: skip
        """Return probabilities of other trials after fitting to many orders of the labels.

        Parameters
        ----------
        prepared : ndarray (n_trials, ...)
        y : int ndarray (n_orders, n_trials)
            Classes from 0, every class in every order.
        test : ndarray (n_test, ...)
            Prepared trials to be predicted.
        domains, test_domains : ndarray, optional
            See `fit_prepared`.

        Returns
        -------
        ndarray (n_test, n_orders, n_classes), or None
            None where fitting is too dear to be done hundreds of times.
        """
        return None

    def explain(self, prepared: np.ndarray, y: np.ndarray, training: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the fitted decoder looks at in held-out trials, to be drawn and never scored.

        Parameters
        ----------
        prepared : ndarray (n_trials, ...)
            Held out.
        y : ndarray (n_trials,)
        training : ndarray (n_training_trials, ...)
            Prepared trials it was fitted on.

        Returns
        -------
        dict
            ``relevance`` (n_trials, n_channels) for the true class; ``attention`` (n_blocks, n_channels, n_channels),
            mean over the trials; nothing where the decoder has no such account of itself.
        """
        return {}

    def channel_weights(self) -> np.ndarray | None:
        """Return what every channel contributes to the fitted decoder by its own weights, the largest one.

        Returns
        -------
        ndarray (n_channels,), or None
            None for most, who are asked about each channel alone instead.
        """
        return None

    def said(self) -> str:
        """Return what the report says beside its settings of the channels that it reads; empty for most."""
        return ""

    def network_key(self) -> str | None:
        """Return the key under which its fitted network is kept; None where it holds or keeps none."""
        return None

    def fit(
        self, X: np.ndarray, y: np.ndarray, *, groups: np.ndarray | None = None, domains: np.ndarray | None = None
    ) -> TrialDecoder:
        """Fit on trials; see `fit_prepared`."""
        return self.fit_prepared(self.prepare(_trials(X)), np.asarray(y), groups=groups, domains=domains)

    def predict_proba(self, X: np.ndarray, *, domains: np.ndarray | None = None) -> np.ndarray:
        """Return the probability of each class, ``(n_trials, n_classes)``."""
        return self.probability_of(self.prepare(_trials(X)), domains=domains)

    def predict(self, X: np.ndarray, *, domains: np.ndarray | None = None) -> np.ndarray:
        """Return the most probable class of each trial."""
        return self.classes_[self.predict_proba(X, domains=domains).argmax(axis=1)]


def _trials(X: np.ndarray) -> np.ndarray:
    X = np.asarray(X)
    if X.ndim not in (3, 4):
        raise ValueError(f"trials are (n_trials, n_channels, n_times), got shape {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError("trials hold NaN or infinity")
    return X


Build = Callable[[Any, TrialContext], TrialDecoder]
