"""Between images, float32 ``(n, height, width, channels)`` in [0, 1], and tensors of networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""


def fitted(images: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Return images resized as a whole (bicubic, antialiased) to ``(n, size, size, channels)``, within [0, 1]."""
    from PIL import Image

    images = np.asarray(images, dtype=np.float32)
    if images.shape[-1] == 1 and channels == 3:
        images = np.repeat(images, 3, axis=-1)
    elif images.shape[-1] == 3 and channels == 1:
        images = (images @ _GREY)[..., None]
    if images.shape[1:3] == (size, size):
        return images
    bicubic = Image.Resampling.BICUBIC
    resized = [
        np.stack([np.asarray(Image.fromarray(plane).resize((size, size), bicubic)) for plane in planes], axis=-1)
        for planes in np.moveaxis(images, -1, 1)
    ]
    return np.clip(np.stack(resized), 0, 1)


def to_pixels(images: np.ndarray, device: str) -> torch.Tensor:
    """Return images as ``(n, channels, height, width)`` in [-1, 1]."""
    import torch

    array = np.ascontiguousarray(np.moveaxis(np.asarray(images, dtype=np.float32), -1, 1))
    return torch.from_numpy(array).to(device) * 2 - 1


def to_images(pixels: torch.Tensor) -> np.ndarray:
    """Return pixels ``(n, channels, height, width)`` in [-1, 1], clipped, as images."""
    clipped = (pixels.float() / 2 + 0.5).clamp(0, 1)
    return np.ascontiguousarray(clipped.permute(0, 2, 3, 1).cpu().numpy())
