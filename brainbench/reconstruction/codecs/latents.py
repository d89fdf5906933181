"""A codec that is not fitted, as an encoder: its latents go through the feature store like any features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Layer, Pool
from brainbench.networks.devices import in_batches
from brainbench.reconstruction.base import Codec
from brainbench.reconstruction.images import MODALITIES, stimulus_images

BATCH = 16


class CodecEncoder(Encoder):
    """Latents of a codec as an encoder with one layer.

    Parameters
    ----------
    codec : Codec
        One whose latents do not depend on training images.
    device : str
        Where it runs.
    """

    modalities = MODALITIES
    pools = ("flatten",)

    def __init__(self, codec: Codec, device: str) -> None:
        if codec.fitted:
            raise ValueError("latents of a fitted codec belong to a fold and not to the store")
        self.codec = codec
        self.name = "codec"
        self.untrained = codec.untrained
        self.device = device

    def layers(self) -> list[Layer]:
        """Return its one layer."""
        return [Layer("latents", 0.0, None)]

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of latents; see `Encoder.encode`."""
        self.check_modality(stimuli)

        def forward(rows: range) -> dict[str, np.ndarray]:
            images = stimulus_images(stimuli, self.codec.image_size, self.codec.channels, rows)
            return {"latents": self.codec.encode(images)}

        yield from in_batches(len(stimuli), BATCH, forward)

    def parameters(self) -> dict[str, Any]:
        """Return the codec's parameters."""
        return self.codec.parameters()

    def weight_files(self) -> list[Path]:
        """Return the codec's weight files."""
        return self.codec.weight_files()
