"""Stimuli as pictures of one size: what codecs and generators see, and what reconstructions are scored against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.pixels import checked_image, grey_square, square
from brainbench.reconstruction.base import Images

MODALITIES = ("image", "array")
"""Stimuli that are pictures."""


def stimulus_images(stimuli: Stimuli, size: int, channels: int, rows: Iterable[int] | None = None) -> Images:
    """Return stimuli as pictures, float32 ``(n, size, size, channels)`` in [0, 1].

    Parameters
    ----------
    stimuli : Stimuli
        Images, or two-dimensional arrays with values in [0, 1].
    size : int
        Side in pixels; the whole image is resized (bicubic, antialiased).
    channels : {1, 3}
        Grey (luma), or colour.
    rows : iterable of int, optional
        Which stimuli; all of them without it.

    Raises
    ------
    UserError
        If a stimulus is no picture, with its name.
    """
    if stimuli.modality not in MODALITIES:
        raise UserError(f"images cannot be reconstructed from stimuli that are '{stimuli.modality}'")
    index = range(len(stimuli)) if rows is None else list(rows)
    return np.stack([_picture(stimuli.load(i), size, channels, stimuli.ids[i]) for i in index])


def _picture(stimulus: Any, size: int, channels: int, name: str) -> np.ndarray:
    array = np.asarray(stimulus)
    if array.ndim == 2 and (array.min() < 0 or array.max() > 1):
        raise UserError(
            f"stimulus '{name}': the values of a picture lie in [0, 1], got {array.min():g} to {array.max():g}"
        )
    if channels == 1 or array.ndim == 2:
        grey = np.clip(grey_square(array, size, name), 0, 1)[..., None]
        return np.repeat(grey, channels, axis=-1).astype(np.float32)
    return square(checked_image(array, name), size, size).astype(np.float32) / 255
