"""Networks as decoders in a recipe: alignment from training rows, then one of `networks.pipelines`."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from brainbench.core.registry import imported
from brainbench.decoders.alignment import Aligner
from brainbench.decoders.base import TrialContext, TrialDecoder
from brainbench.decoders.covariance import MICROVOLT, trial_covariances
from brainbench.networks.classifier import TorchClassifier
from brainbench.networks.classifiers import RBTransformerClassifier
from brainbench.networks.pipelines import Given, microvolts
from brainbench.networks.zoo.duin import DuInTrials
from brainbench.networks.zoo.foundation import FoundationBuilder
from brainbench.recipes.pipelines import NetworkSettings
from brainbench.recordings.matching import positions_of


class NetworkDecoder(TrialDecoder):
    """A network trained on trials.

    Parameters
    ----------
    classifier : TorchClassifier
        Unfitted; it scales trials by the spread of its training rows.
    align : str
        See `brainbench.decoders.alignment`.

    Attributes
    ----------
    classifier_ : TorchClassifier
        Fitted.
    """

    def __init__(self, classifier: TorchClassifier, align: str = "none") -> None:
        self.classifier = classifier
        self.align = align

    def prepare(self, X: np.ndarray) -> np.ndarray:
        """Return float32 microvolts."""
        return microvolts(X)

    def check_trials(self, n_channels: int, n_times: int, n_classes: int) -> None:
        """Let a new network read two trials of noise; see `TrialDecoder.check_trials`."""
        self.classifier.check_trials(n_channels, n_times, n_classes)

    def fit_prepared(
        self, prepared: np.ndarray, y: np.ndarray, *, groups: np.ndarray | None = None,
        domains: np.ndarray | None = None,
    ) -> NetworkDecoder:  # fmt: skip
        """Fit alignment and network; see `TrialDecoder.fit_prepared`."""
        covariances = self._covariances(prepared)
        self.aligner_ = Aligner(self.align).fit(covariances, domains)
        X = self.aligner_.transform_signals(prepared, covariances, domains)
        # With a single group there is none to validate on: the classifier then holds out trials, which do not overlap.
        several = groups is not None and len(np.unique(groups)) > 1
        self.classifier_ = clone(self.classifier).fit(X, np.asarray(y), groups if several else None)
        self.classes_ = self.classifier_.classes_
        return self

    def adapt(self, prepared: np.ndarray, *, domains: np.ndarray | None = None) -> None:  # noqa: D102
        self.aligner_.adapt(self._covariances(prepared), domains)

    def probability_of(self, prepared: np.ndarray, *, domains: np.ndarray | None = None) -> np.ndarray:
        """Return probabilities ``(n_trials, n_classes)``; see `TrialDecoder.probability_of`."""
        X = self.aligner_.transform_signals(prepared, self._covariances(prepared), domains)
        probabilities: np.ndarray = self.classifier_.predict_proba(X)
        return probabilities

    def explain(self, prepared: np.ndarray, y: np.ndarray, training: np.ndarray) -> dict[str, np.ndarray]:
        """Return gradient x input per channel, and attention between electrodes; see `TrialDecoder.explain`.

        Aligned trials live in another space than the scalp's: nothing is returned for them.
        """
        if self.align != "none":
            return {}
        found = {"relevance": self.classifier_.relevance(prepared, y, training).astype(np.float32)}
        if isinstance(self.classifier_, RBTransformerClassifier):
            found["attention"] = self.classifier_.electrode_attention(prepared).astype(np.float32)
        return found

    def channel_weights(self) -> np.ndarray | None:
        """Return the weights of contacts of a network that mixes them first; see `TrialDecoder.channel_weights`."""
        network = self.classifier_.network_
        if not isinstance(network, DuInTrials):
            return None
        found: np.ndarray = network.channel_weights().double().cpu().numpy()
        return found

    def said(self) -> str:
        """Return what a foundation model makes of the channels; see `TrialDecoder.said`."""
        builder = getattr(self.classifier, "module", None)
        return builder.said() if isinstance(builder, FoundationBuilder) else ""

    def network_key(self) -> str | None:
        """Return the key under which its fitted network is kept; see `TrialDecoder.network_key`."""
        key: str | None = self.classifier_.key_
        return key

    def _covariances(self, prepared: np.ndarray) -> np.ndarray:
        if self.align == "none":
            return np.empty((len(prepared), 0, 0))
        return trial_covariances(prepared.astype(np.float64) / MICROVOLT, "oas")


def network_decoder(settings: NetworkSettings, context: TrialContext) -> NetworkDecoder:
    """Return the unfitted decoder of any pipeline with a network."""
    given = Given(
        context.sfreq, list(context.info["ch_names"]), context.seed, context.threads, context.networks,
        positions_of(context.info),
    )  # fmt: skip
    return NetworkDecoder(imported(settings.network_by)(settings, given), settings.align)
