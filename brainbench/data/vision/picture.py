"""Pictures as stimuli, still or as the frames of a clip."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Endings of files that `image_of` reads."""
_MODES = ("RGB", "L", "P", "1", "RGBA", "LA", "PA", "CMYK", "YCbCr")
"""Pillow modes of at most 8 bits a channel."""


def image_of(path: Path, where: str = "") -> np.ndarray:
    """Return the image of a file, ``(height, width, 3)`` uint8; see `decode_image`.

    Raises
    ------
    UserError
        If it cannot be read; `where` stands before its name.
    """
    from PIL import Image

    try:
        return decode_image(path.read_bytes())
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{where}{path}: not a readable image ({error})") from None


def decode_image(raw: bytes) -> np.ndarray:
    """Return the image in a file's bytes; see `pixels_of`."""
    from PIL import Image

    with Image.open(io.BytesIO(raw)) as image:
        return pixels_of(image)


def pixels_of(image: Any) -> np.ndarray:
    """Return the pixels of a PIL image, upright, ``(height, width, 3)`` uint8; transparent parts lie on mid gray.

    Raises
    ------
    ValueError
        If it is no picture of 8 bits; see `unfit`.
    """
    from PIL import ImageOps

    if why := unfit(image):
        raise ValueError(why)
    return np.array(on_gray(ImageOps.exif_transpose(image)))  # a copy: torch warns of arrays that cannot be written


def on_gray(image: Any) -> Any:
    """Return a PIL image as RGB, its transparent parts on mid gray."""
    from PIL import Image

    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (128, 128, 128, 255)), image)
    return image.convert("RGB")


def unfit(image: Any) -> str:
    """Return why a PIL image is no stimulus, or nothing: Pillow cuts pixels of 16 bits at 255, to white."""
    if getattr(image, "n_frames", 1) > 1:
        return f"{image.n_frames} frames; a stimulus is one image"
    if image.mode not in _MODES:
        return f"pixels of type {image.mode}; save it with 8 bits a channel"
    return ""
