"""A codec that needs no weights: principal components of training images, or of their patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from brainbench.recipes.reconstruction import PcaSettings
from brainbench.reconstruction.base import Codec, Images


class PcaCodec(Codec):
    """Principal components of pixels.

    Parameters
    ----------
    image_size : int
    channels : {1, 3}
    n_components : int
        Kept of whole images, or of each patch; fewer when there are fewer images or pixels.
    patch : int, optional
        Side of square patches that share one set of components: a code that keeps places apart.
    """

    fitted = True
    _mean: np.ndarray
    _components: np.ndarray

    def __init__(
        self, image_size: int = 32, channels: int = 3, n_components: int = 100, patch: int | None = None
    ) -> None:
        self.image_size = image_size
        self.channels = channels
        self.n_components = n_components
        self.patch = patch

    def fit(self, images: Images) -> PcaCodec:
        """Return a codec with components of `images`, ``(n, image_size, image_size, channels)``."""
        pieces = self._pieces(images).reshape(-1, self._width)
        fitted = PcaCodec(self.image_size, self.channels, self.n_components, self.patch)
        fitted._mean = pieces.mean(axis=0, dtype=np.float64)
        centred = pieces - fitted._mean
        n = min(self.n_components, *centred.shape)
        if centred.shape[1] <= centred.shape[0]:
            _, vectors = np.linalg.eigh(centred.T @ centred)
            fitted._components = vectors[:, ::-1][:, :n].T
        else:
            fitted._components = np.linalg.svd(centred, full_matrices=False)[2][:n]
        # Signs are arbitrary: the largest weight of each component is positive.
        largest = np.abs(fitted._components).argmax(axis=1)
        fitted._components *= np.sign(fitted._components[np.arange(n), largest])[:, None]
        return fitted

    def encode(self, images: Images) -> np.ndarray:
        """Return scores of the components, float32 ``(n, n_latents)``."""
        scores = (self._pieces(images) - self._mean) @ self._components.T
        return scores.reshape(len(images), -1).astype(np.float32)

    def decode(self, latents: np.ndarray, seeds: Sequence[int]) -> Images:
        """Return images, clipped to [0, 1]; nothing is random."""
        n, side, c = len(latents), self.image_size, self.channels
        pieces = latents.reshape(n, -1, len(self._components)) @ self._components + self._mean
        if self.patch is not None:
            k, p = side // self.patch, self.patch
            pieces = pieces.reshape(n, k, k, p, p, c).transpose(0, 1, 3, 2, 4, 5)
        return np.clip(pieces.reshape(n, side, side, c), 0, 1).astype(np.float32)

    def parameters(self) -> dict[str, Any]:
        """Return the settings; components follow from the training images."""
        return {
            "codec": "pca",
            "image_size": self.image_size,
            "channels": self.channels,
            "n_components": self.n_components,
            "patch": self.patch,
        }

    @property
    def _width(self) -> int:
        return (self.patch or self.image_size) ** 2 * self.channels

    def _pieces(self, images: Images) -> np.ndarray:
        """Return whole images or patches as vectors, ``(n, n_pieces, n_pixels)`` float64."""
        n, side, c = len(images), self.image_size, self.channels
        if images.shape[1:] != (side, side, c):
            raise ValueError(f"images must be (n, {side}, {side}, {c}), got {images.shape}")
        images = np.asarray(images, dtype=np.float64)
        if self.patch is not None:
            k, p = side // self.patch, self.patch
            images = images.reshape(n, k, p, k, p, c).transpose(0, 1, 3, 2, 4, 5)
        return images.reshape(n, -1, self._width)


def open_pca(settings: PcaSettings, *, seed: int, device: str) -> PcaCodec:
    """Return the codec that a recipe asks for."""
    return PcaCodec(settings.image_size, 1 if settings.grey else 3, settings.n_components, settings.patch)
