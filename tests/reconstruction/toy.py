"""A toy that `small` learns in seconds: red or blue bars, upright or lying, told by two encoders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Layer, Pool
from brainbench.recipes.encoders import PixelsSettings
from brainbench.recipes.reconstruction import SmallSettings
from brainbench.reconstruction.generators.small import SmallGenerator

SIDE = 12


class Told(Encoder):
    """Two features that the test gives by hand."""

    modalities = ("image",)

    def __init__(self, name: str) -> None:
        self.name = name

    def layers(self) -> list[Layer]:
        return [Layer("told", 0.0, 2)]

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        raise NotImplementedError

    def parameters(self) -> dict[str, Any]:
        return {}


def bars(n: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return images ``(n, 12, 12, 3)`` and features: which way the bar lies, and its colour."""
    rng = np.random.default_rng(seed)
    lying, blue = rng.integers(0, 2, n), rng.integers(0, 2, n)
    images = np.full((n, SIDE, SIDE, 3), 0.1, dtype=np.float32)
    for image, is_lying, is_blue in zip(images, lying, blue, strict=True):
        start = rng.integers(1, SIDE - 4)
        canvas = image if is_lying else image.transpose(1, 0, 2)
        canvas[start : start + 3, 1:-1, 2 if is_blue else 0] = 0.9
    return images, {"shape.told": np.eye(2)[lying], "colour.told": np.eye(2)[blue]}


def lying(images: np.ndarray) -> np.ndarray:
    """Return which bars lie: rows differ more than columns."""
    grey = images.sum(axis=3)
    return grey.mean(axis=2).var(axis=1) > grey.mean(axis=1).var(axis=1)


def blue(images: np.ndarray) -> np.ndarray:
    """Return which bars are blue."""
    return images[..., 2].mean(axis=(1, 2)) > images[..., 0].mean(axis=(1, 2))


def toy_generator(**changes: Any) -> SmallGenerator:
    """Return an untrained generator of the toy."""
    settings = {
        "image_size": SIDE,
        "condition_on": [{"encoder": "shape", "layer": "told"}, {"encoder": "colour", "layer": "told"}],
        "width": 16,
        "train_steps": 260,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "ema": 0.98,
        "feature_noise": 0.2,
        "steps": 12,
        "guidance": 1.5,
    }
    encoders = {name: (Told(name), PixelsSettings(name=name)) for name in ("shape", "colour")}
    return SmallGenerator(SmallSettings.model_validate(settings | changes), encoders, seed=0, device="cpu")
