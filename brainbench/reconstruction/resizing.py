"""Image stacks, float32 ``(n, height, width, channels)`` in [0, 1]: checked, resized, grey or RGB."""

from __future__ import annotations

from typing import Literal

import numpy as np

from brainbench.core.errors import UserError

GREY = np.array([0.2125, 0.7154, 0.0721])
"""Weights of red, green and blue in luminance (ITU-R BT.709), as in scikit-image's ``rgb2gray``."""


def checked_stack(images: np.ndarray, what: str) -> np.ndarray:
    """Return images as float32 ``(n, height, width, channels)``; ``(n, height, width)`` is grey.

    Raises
    ------
    UserError
        If they are of another shape or type, not finite, or outside of [0, 1].
    """
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise UserError(f"{what}: images must be (n, height, width, 1 or 3), got {images.shape}")
    if images.dtype.kind != "f":
        raise UserError(f"{what}: images must be floats in [0, 1], got {images.dtype}", hint="divide uint8 by 255")
    if not (np.isfinite(images).all() and images.min() >= -1e-6 and images.max() <= 1 + 1e-6):
        raise UserError(f"{what}: values must be finite and in [0, 1], got {images.min():g} to {images.max():g}")
    return images.astype(np.float32, copy=False)


def resized(
    images: np.ndarray, height: int, width: int, interpolation: Literal["bicubic", "bilinear"] = "bicubic"
) -> np.ndarray:
    """Return images at another size: antialiased (Pillow's filters, on floats), clipped to [0, 1]."""
    from PIL import Image

    if images.shape[1:3] == (height, width):
        return images
    resample = Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
    out = np.empty((len(images), height, width, images.shape[3]), dtype=np.float32)
    for index, image in enumerate(images):
        for channel in range(images.shape[3]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel], dtype=np.float32))
            out[index, ..., channel] = np.asarray(plane.resize((width, height), resample))
    return np.clip(out, 0, 1)


def with_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Return images with so many channels: grey is repeated, RGB becomes luminance."""
    if images.shape[3] == channels:
        return images
    return np.repeat(images, 3, axis=3) if channels == 3 else grey(images)


def grey(images: np.ndarray) -> np.ndarray:
    """Return luminance, ``(n, height, width, 1)``."""
    return images if images.shape[3] == 1 else (images @ GREY).astype(np.float32)[..., None]
