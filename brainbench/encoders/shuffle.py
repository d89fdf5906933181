"""The shuffled control: every stimulus gets the features of another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Layer, Pool


class ShuffledEncoder(Encoder):
    """Deals an encoder's features to the wrong stimuli, the same wrong one for equal content.

    Parameters
    ----------
    encoder : Encoder
    seed : int
    """

    def __init__(self, encoder: Encoder, seed: int = 0) -> None:
        self.encoder = encoder
        self.seed = seed
        self.name = encoder.name
        self.modalities = encoder.modalities
        self.untrained = encoder.untrained
        self.pools = encoder.pools
        self.device = encoder.device

    def layers(self) -> list[Layer]:
        """Return the layers of the encoder."""
        return self.encoder.layers()

    def parameters(self) -> dict[str, Any]:
        """Return the encoder's parameters and the seed of the shuffle."""
        return {"shuffled": self.encoder.digest(), "seed": self.seed, **self.encoder.parameters()}

    def weight_files(self) -> list[Path]:
        """Return the encoder's weight files."""
        return self.encoder.weight_files()

    def training_key(self) -> str | None:
        """Return the key of the encoder's network, if it is trained here."""
        return self.encoder.training_key()

    def train(self) -> dict[str, np.ndarray]:
        """Train the encoder's network."""
        return self.encoder.train()

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield the features of other stimuli; see `Encoder.encode`."""
        contents = list(dict.fromkeys(stimuli.content_digests))
        example = {content: index for index, content in reversed(list(enumerate(stimuli.content_digests)))}
        order = _derangement(len(contents), np.random.default_rng([self.seed, 61]))
        other = {content: example[contents[j]] for content, j in zip(contents, order, strict=True)}
        source = [other[content] for content in stimuli.content_digests]
        if stimuli.modality == "word":
            # A word is read in its context: the story stays whole, and the features are dealt out afterwards.
            batches = list(self.encoder.encode(stimuli, layers, pool))
            yield {layer: np.concatenate([batch[layer] for batch in batches])[source] for layer in layers}
            return
        shuffled = replace(
            stimuli,
            load=lambda index: stimuli.load(source[index]),
            content_digests=[stimuli.content_digests[index] for index in source],
        )
        yield from self.encoder.encode(shuffled, layers, pool)


def _derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random permutation without a fixed point (n of 2 or more)."""
    order = rng.permutation(n)
    if n < 2:
        return order
    # One random cycle through all: nothing stays in its place.
    target = np.empty(n, dtype=int)
    target[order] = np.roll(order, 1)
    return target
