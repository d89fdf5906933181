"""The contracts of reconstruction: a codec for the layout of an image, a generator for its content.

Images are float32 ``(n, height, width, channels)`` in [0, 1], with 1 (grey) or 3 (RGB) channels. A codec turns them
into vectors that ridge regression can predict from responses, and back. A generator turns an initial image and
features of its own choosing, its conditions, into a finished image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.encoders.base import Encoder, Pool

Images = np.ndarray
"""float32 ``(n, height, width, channels)`` in [0, 1]."""

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


class Codec(ABC):
    """Images to vectors of low-level latents, and back.

    Attributes
    ----------
    image_size : int
        Side of the square images that it takes and gives, in pixels.
    channels : int
        1 or 3.
    fitted : bool
        Whether `fit` must be called with training images before anything else.
    untrained : bool
        True when its weights are random; said wherever its numbers appear.
    """

    image_size: int
    channels: int
    fitted: bool = False
    untrained: bool = False

    def fit(self, images: Images) -> Codec:
        """Return a codec fitted to images, which must be training images; by default there is nothing to fit."""
        return self

    @abstractmethod
    def encode(self, images: Images) -> np.ndarray:
        """Return latents, float32 ``(n, n_latents)``."""

    @abstractmethod
    def decode(self, latents: np.ndarray, seeds: Sequence[int]) -> Images:
        """Return images of latents, ``(n, n_latents)``; `seeds`, one per image, where decoding is random."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return what decides its latents, readable: resolved settings and the digest of its weights."""

    def weight_files(self) -> list[Path]:
        """Return the files its weights were read from."""
        return []


@dataclass(frozen=True)
class Condition:
    """Features that a generator is conditioned on.

    Attributes
    ----------
    name : str
        ``clip_image``, ``clip_text``, or ``encoder.layer``.
    encoder : Encoder
        What extracts the true features from stimuli.
    layer : str
    pool : {"cls", "mean", "flatten"}
    shape : tuple of int
        Shape of one image's features as the generator takes them; their product is the encoder's width; (-1,)
        takes as many as there are.
    """

    name: str
    encoder: Encoder
    layer: str
    pool: Pool
    shape: tuple[int, ...]


class Generator(ABC):
    """Makes images from conditions and, if it can, an initial image.

    Attributes
    ----------
    image_size : int
        Side of the square images that it gives, in pixels.
    channels : int
        1 or 3.
    takes_initial : bool
        Whether it can start from an image instead of noise.
    trainable : bool
        Whether `train` must be called before `generate`.
    untrained : bool
        True when its weights are random; said wherever its numbers appear.
    """

    image_size: int
    channels: int
    takes_initial: bool = True
    trainable: bool = False
    untrained: bool = False

    @abstractmethod
    def conditions(self) -> list[Condition]:
        """Return what it is conditioned on."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return what decides its images, readable: resolved settings and the digest of its weights."""

    def train(
        self,
        images: Images,
        features: Mapping[str, np.ndarray],
        folder: Path,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> Generator:
        """Return the generator trained on images and their features; continues from a checkpoint in `folder`.

        Parameters
        ----------
        images : ndarray (n, image_size, image_size, channels)
        features : mapping of condition to ndarray (n, *shape)
        folder : Path
            Where checkpoints and the finished weights (safetensors) are kept; a finished training is read from it.
        seed : int
        progress : callable, optional
        """
        return self

    def training_record(self) -> dict[str, np.ndarray]:
        """Return how its training went: ``loss``, and ``network``, the key under which it is kept."""
        return {}

    @abstractmethod
    def generate(
        self,
        features: Mapping[str, np.ndarray],
        initial: Images | None,
        seeds: Sequence[int],
        *,
        progress: Progress | None = None,
    ) -> Images:
        """Return one image per row of the features.

        Parameters
        ----------
        features : mapping of condition to ndarray (n, *shape)
        initial : ndarray (n, height, width, channels) or None
            Images that carry the layout, of any size; None starts from noise.
        seeds : sequence of int (n,)
            One per image, so that an image does not depend on those before it.
        progress : callable, optional
        """

    def weight_files(self) -> list[Path]:
        """Return the files its weights were read from."""
        return []
