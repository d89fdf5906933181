"""A linear probe of a tokenizer of sensors: one layer's features of every trial, logistic regression."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest_file
from brainbench.core.errors import UserError
from brainbench.core.remembered import file_state
from brainbench.data.base import Stimuli
from brainbench.decoders.base import TrialContext
from brainbench.decoders.linear import LinearProbe
from brainbench.encoders.base import Encoder, open_encoder
from brainbench.networks.tokens.trained import key_of
from brainbench.recipes.pipelines import TokenProbeSettings
from brainbench.recordings.whole.sensors import Layout


class TokenProbe(LinearProbe):
    """Logistic regression on a layer of a network that learned without labels.

    Parameters
    ----------
    network : mapping
        Settings of the encoder: see `brainbench.recipes.encoders.SensorSettings`.
    layer : str
    C : float
        Inverse strength of the L2 penalty, on features standardised by training rows.
    info : mne.Info
        Rate and positions of the channels.
    networks : Path, optional
        Folder of trained networks.
    seed : int
        Of random weights.
    """

    def __init__(
        self, network: dict[str, Any], layer: str, C: float = 1.0, info: Any = None, networks: Path | None = None,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(C)
        self.network = network
        self.layer = layer
        self.info = info
        self.networks = networks
        self.seed = seed

    def encoder(self) -> Encoder:
        """Return the network as an encoder.

        Raises
        ------
        UserError
            If it is not there, or has no such layer.
        """
        found = open_encoder({"name": "tokens", "family": "sensor", **self.network}, seed=self.seed, device="cpu",
                             networks=self.networks)  # fmt: skip
        if [layer.name for layer in found.select([self.layer])] != [self.layer]:
            raise UserError(f"`layer` is one layer by its name, not '{self.layer}'")
        return found

    def preparation(self) -> dict[str, Any]:
        """Return network, layer and positions; see `TrialDecoder.preparation`."""
        layout = None if self.info is None else Layout(self.info, "").digest()
        file = Path(self.network["network"])  # a trained network's key names its content, the path of a file does not
        content = _content(file, *file_state(file)) if self.network["published"] and file.is_file() else None
        trained = {} if self.network["published"] else {"network": key_of(self.network["network"])}
        return {
            "as": "tokens", "network": self.network | trained, "content": content, "layer": self.layer,
            "layout": layout, "seed": self.seed,
        }  # fmt: skip

    def prepare(self, X: np.ndarray) -> np.ndarray:
        """Return the layer's features of every trial ``(n_trials, n_features)``."""
        signals = np.asarray(X, dtype=np.float32)
        shown = replace(
            Stimuli.of(list(signals)), modality="array", sfreq=float(self.info["sfreq"]),
            layout=Layout(self.info, "trials"),
        )  # fmt: skip
        return self.encoder().features(shown, [self.layer])[self.layer].astype(np.float64)

    def check_trials(self, n_channels: int, n_times: int, n_classes: int) -> None:
        """Refuse a recording whose rate or sensors do not fit; see `TrialDecoder.check_trials`."""
        rng = np.random.default_rng(0)
        self.prepare(rng.normal(size=(2, n_channels, n_times)))

    def origins(self) -> dict[str, str]:
        """Return what the network was trained on."""
        return self.encoder().origins()


@lru_cache(maxsize=8)
def _content(file: Path, *_state: int) -> str:
    return digest_file(file)


def token_probe(settings: TokenProbeSettings, context: TrialContext) -> TokenProbe:
    """Return the unfitted decoder of a pipeline."""
    network = {
        "network": settings.network, "published": settings.published, "rope": settings.rope,
        "weights": settings.weights,
    }  # fmt: skip
    return TokenProbe(network, settings.layer, settings.C, context.info, context.networks, context.seed)
