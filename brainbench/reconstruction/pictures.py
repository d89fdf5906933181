"""Between image stacks, float32 ``(n, height, width, channels)`` in [0, 1], and pixels as networks take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def to_pixels(images: np.ndarray, device: str) -> torch.Tensor:
    """Return images as ``(n, channels, height, width)`` in [-1, 1]."""
    import torch

    array = np.ascontiguousarray(np.moveaxis(np.asarray(images, dtype=np.float32), -1, 1))
    return torch.from_numpy(array).to(device) * 2 - 1


def to_images(pixels: torch.Tensor) -> np.ndarray:
    """Return pixels ``(n, channels, height, width)`` in [-1, 1], clipped, as images."""
    clipped = (pixels.float() / 2 + 0.5).clamp(0, 1)
    return np.ascontiguousarray(clipped.permute(0, 2, 3, 1).cpu().numpy())
