"""Networks as decoders of trials: scaling and alignment from training rows, one training loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainbench.encoders.trial_networks import build_network, check_model
from brainbench.heads.alignment import Aligner
from brainbench.heads.covariance_decoders import MICROVOLT, trial_covariances
from brainbench.heads.training import TrainingPlan, scores_of, torch_state, train_network
from brainbench.heads.trial_decoder import DECODERS, TrialContext, TrialDecoder


class NetworkDecoder(TrialDecoder):
    """A network trained on trials.

    Signals are recentered if asked, then every channel is scaled by the mean and standard deviation of the training
    rows. A subclass that overrides `build` brings a network of its own.

    Parameters
    ----------
    model : str
        Class in `braindecode.models`.
    parameters : mapping, optional
        Its arguments besides sizes and rate.
    sfreq : float
        Samples per second.
    info : mne.Info, optional
        For models that place channels.
    align : str
        See `brainbench.heads.alignment`.
    max_epochs, patience, batch_size : int
    learning_rate, weight_decay : float
    seed, threads : int

    Attributes
    ----------
    network_ : torch.nn.Module
    history_ : brainbench.heads.training.History
    """

    def __init__(
        self, model: str = "EEGNet", parameters: dict[str, Any] | None = None, sfreq: float = 160.0, info: Any = None,
        align: str = "none", max_epochs: int = 120, patience: int = 30, batch_size: int = 16,
        learning_rate: float = 1e-3, weight_decay: float = 1e-2, seed: int = 0, threads: int = 1,
    ) -> None:  # fmt: skip
        self.model = model
        self.parameters = parameters
        self.sfreq = sfreq
        self.info = info
        self.align = align
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed
        self.threads = threads

    def prepare(self, X: np.ndarray) -> np.ndarray:
        """Return float32 microvolts."""
        if X.ndim != 3:
            raise ValueError(f"a network takes (n_trials, n_channels, n_times), got shape {X.shape}")
        return (X * MICROVOLT).astype(np.float32)

    def build(self, n_channels: int, n_times: int, n_classes: int) -> Any:
        """Return an untrained network; torch is seeded."""
        return build_network(
            self.model, self.parameters or {}, n_channels=n_channels, n_times=n_times, n_classes=n_classes,
            sfreq=self.sfreq, info=self.info,
        )  # fmt: skip

    def fit_prepared(
        self, prepared: np.ndarray, y: np.ndarray, *, groups: np.ndarray | None = None,
        domains: np.ndarray | None = None,
    ) -> NetworkDecoder:  # fmt: skip
        """Fit alignment, scaling and network; see `TrialDecoder.fit_prepared`."""
        y = np.asarray(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"one class only: {self.classes_.tolist()}")
        covariances = self._covariances(prepared)
        self.aligner_ = Aligner(self.align).fit(covariances, domains)
        X = self.aligner_.transform_signals(prepared, covariances, domains)
        self.mean_ = X.mean(axis=(0, 2), keepdims=True)
        self.scale_ = X.std(axis=(0, 2), keepdims=True)
        X = (X - self.mean_) / self.scale_
        plan = TrainingPlan(
            self.max_epochs, self.patience, self.batch_size, self.learning_rate, self.weight_decay, self.seed,
            self.threads,
        )  # fmt: skip
        sizes = (X.shape[1], X.shape[2], len(self.classes_))
        self.network_, self.history_ = train_network(lambda: self.build(*sizes), X, codes, plan, groups)
        return self

    def probability_of(self, prepared: np.ndarray, *, domains: np.ndarray | None = None) -> np.ndarray:  # noqa: D102
        from scipy.special import softmax

        X = self.aligner_.transform_signals(prepared, self._covariances(prepared), domains)
        with torch_state(self.seed, self.threads):
            scores = scores_of(self.network_, (X - self.mean_) / self.scale_)
        out: np.ndarray = softmax(scores.astype(np.float64), axis=1)
        return out

    def _covariances(self, prepared: np.ndarray) -> np.ndarray:
        if self.align == "none":
            return np.empty((len(prepared), 0, 0))
        return trial_covariances(prepared.astype(np.float64) / MICROVOLT, "oas")


@DECODERS.register("braindecode")
def _braindecode(settings: Any, context: TrialContext) -> NetworkDecoder:
    check_model(settings.model, settings.parameters, f"pipeline '{settings.name}'")
    return NetworkDecoder(
        model=settings.model, parameters=dict(settings.parameters), sfreq=context.sfreq, info=context.info,
        align=settings.align, max_epochs=settings.max_epochs, patience=settings.patience,
        batch_size=settings.batch_size, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay,
        seed=context.seed, threads=context.threads,
    )  # fmt: skip
