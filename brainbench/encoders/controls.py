"""The controls a careful reviewer asks for: pixels, word rate, random vectors, one-hot identity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Layer, Pool
from brainbench.encoders.pixels import grey_square
from brainbench.recordings.power import log_band_power

BATCH = 256


class OneLayer(Encoder):
    """A control with one layer, computed stimulus by stimulus."""

    layer: str

    def __init__(self, settings: Any, *, seed: int = 0, device: str = "auto", batch_size: int | None = None) -> None:
        self.name = settings.name
        self.settings = settings
        self.seed = seed

    def layers(self) -> list[Layer]:
        """Return the only layer."""
        return [Layer(self.layer, 0.0, self.width())]

    def width(self) -> int | None:
        """Return the number of features, where it does not depend on the stimuli."""
        return None

    def parameters(self) -> dict[str, Any]:
        """Return the settings."""
        return {}

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of features; see `Encoder.encode`."""
        self.check_modality(stimuli)
        for start in range(0, len(stimuli), BATCH):
            rows = range(start, min(start + BATCH, len(stimuli)))
            yield {self.layer: self.compute(stimuli, rows).astype(np.float32)}

    def compute(self, stimuli: Stimuli, rows: range) -> np.ndarray:
        """Return features of some stimuli, ``(n_rows, n_features)``."""
        raise NotImplementedError


class Pixels(OneLayer):
    """Grey pixels of a small square version of an image; arrays are used as they are."""

    modalities = ("image", "array")
    layer = "pixels"

    def parameters(self) -> dict[str, Any]:
        """Return the size."""
        return {"size": self.settings.image_size}

    def compute(self, stimuli: Stimuli, rows: range) -> np.ndarray:
        """Return flattened pixels."""
        if stimuli.modality == "array":
            return np.stack([np.asarray(stimuli.load(i), dtype=np.float32).ravel() for i in rows])
        size = self.settings.image_size
        return np.stack([grey_square(stimuli.load(i), size, stimuli.ids[i]).ravel() for i in rows])


class WordRate(OneLayer):
    """One for every word."""

    modalities = ("word",)
    layer = "rate"

    def width(self) -> int:
        """One feature."""
        return 1

    def compute(self, stimuli: Stimuli, rows: range) -> np.ndarray:
        """Return ones."""
        return np.ones((len(rows), 1))


class InputPower(OneLayer):
    """Log band power of every channel of a signal."""

    modalities = ("array",)
    layer = "power"

    def parameters(self) -> dict[str, Any]:
        """Return the bands."""
        return {"bands": list(self.settings.bands.values())}

    def compute(self, stimuli: Stimuli, rows: range) -> np.ndarray:
        """Return channels x bands."""
        if stimuli.sfreq is None:
            raise UserError(f"encoder '{self.name}' needs signals with a sampling rate", hint="`dataset.band_power`")
        signals = np.stack([stimuli.load(i) for i in rows])
        found = log_band_power(signals, stimuli.sfreq, list(self.settings.bands.values()))
        return found.reshape(len(signals), -1)


class RandomVectors(OneLayer):
    """A Gaussian vector for every distinct content, whatever the order and company it comes in."""

    modalities = ("image", "text", "word", "sound", "clip", "array")
    layer = "vector"

    def width(self) -> int:
        """As many as asked for."""
        return int(self.settings.width)

    def parameters(self) -> dict[str, Any]:
        """Return width and seed."""
        return {"width": self.settings.width, "seed": self.seed}

    def compute(self, stimuli: Stimuli, rows: range) -> np.ndarray:
        """Return one draw per content, seeded by it."""
        draws = []
        for row in rows:
            words = [int(stimuli.content_digests[row][i : i + 8], 16) for i in (0, 8, 16, 24)]
            draws.append(np.random.default_rng([self.seed, *words]).standard_normal(self.settings.width))
        return np.stack(draws)


class OneHot(OneLayer):
    """One column per distinct content."""

    modalities = ("image", "text", "word", "sound", "clip", "array")
    layer = "identity"

    def compute(self, stimuli: Stimuli, rows: range) -> np.ndarray:
        """Return rows of an identity matrix, columns in order of digest."""
        names = sorted(set(stimuli.content_digests))
        column = {name: index for index, name in enumerate(names)}
        out = np.zeros((len(rows), len(names)))
        for place, row in enumerate(rows):
            out[place, column[stimuli.content_digests[row]]] = 1
        return out


def recorded(settings: Any, **_: Any) -> Encoder:
    """Refuse: a recorded predictor is a column of the responses, not a function of stimuli."""
    raise UserError(
        f"encoder '{settings.name}': a recorded predictor comes with the responses of a data set and encodes nothing"
    )
