"""From stimuli to squares of pixels: the only place where images are checked and resized."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainbench.core.errors import UserError

_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""


def checked_image(image: Any, name: str) -> np.ndarray:
    """Return `image` if it is ``(height, width, 3)`` uint8.

    Raises
    ------
    UserError
        Naming the stimulus and what came.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise UserError(
            f"stimulus '{name}': an image must be uint8 of shape (height, width, 3), "
            f"got {image.dtype} of shape {image.shape}"
        )
    return image


def square(image: np.ndarray, height: int, width: int, interpolation: str = "bicubic") -> np.ndarray:
    """Resize the whole image to `height` x `width` with antialiasing, ``(height, width, 3)`` uint8.

    The whole image and not a central crop, since the participant saw the whole image.
    """
    from PIL import Image

    if image.shape[:2] == (height, width):
        return image
    filters = {
        "bicubic": Image.Resampling.BICUBIC,
        "bilinear": Image.Resampling.BILINEAR,
        "nearest": Image.Resampling.NEAREST,
        "lanczos": Image.Resampling.LANCZOS,
    }
    return np.asarray(Image.fromarray(image).resize((width, height), filters[interpolation]))


def grey_square(stimulus: Any, size: int, name: str) -> np.ndarray:
    """Return a ``(size, size)`` float32 picture of an image (luma in [0, 1]) or of a 2-D array (its own units).

    Raises
    ------
    UserError
        If the stimulus is neither.
    """
    from PIL import Image

    array = np.asarray(stimulus)
    if array.ndim == 2 and array.dtype.kind in "fiub":
        grey = array.astype(np.float32)
    else:
        grey = checked_image(array, name) @ _GREY / np.float32(255)
    if grey.shape == (size, size):
        return grey
    return np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BICUBIC))
