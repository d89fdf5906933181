"""Motion energy: how much of a clip moves, where, how fast and which way (Adelson & Bergen 1985)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Layer, Pool
from brainbench.encoders.gabor import BANDWIDTH, averaging, bank
from brainbench.encoders.pixels import grey_square
from brainbench.encoders.video.networks import checked_clip


class MotionEnergy(Encoder):
    """Energy of filters that drift across the picture, averaged over time and a grid of places.

    A spatial filter that passes one side of the spectrum gives a complex response whose phase turns as things move
    along its direction; the power of that turning at ``+f`` Hz is motion one way, at ``-f`` Hz the other.

    Parameters
    ----------
    settings : MotionEnergySettings
    """

    modalities = ("clip",)
    pools = ("mean",)

    def __init__(self, settings: Any, *, seed: int = 0, device: str = "auto", batch_size: int | None = None) -> None:
        self.name = settings.name
        self.settings = settings

    def layers(self) -> list[Layer]:
        """Return one layer a speed, from what stands still, then all together."""
        n, width = len(self._rates), self._width
        one = [Layer(f"hz.{rate:g}", k / n, width * (1 if rate == 0 else 2)) for k, rate in enumerate(self._rates)]
        return [*one, Layer("all", 1.0, sum(int(layer.width or 0) for layer in one))]

    @property
    def _rates(self) -> list[float]:
        return sorted({0.0, *self.settings.rates_hz})

    @property
    def _width(self) -> int:
        settings = self.settings
        return int(len(settings.wavelengths_px) * settings.n_orientations * settings.grid**2)

    def parameters(self) -> dict[str, Any]:
        """Return the filters' settings."""
        names = ("n_orientations", "wavelengths_px", "rates_hz", "image_size", "grid", "sfreq")
        return {name: getattr(self.settings, name) for name in names} | {"bandwidth": BANDWIDTH}

    @cached_property
    def _filters(self) -> np.ndarray:
        """Transfer functions of all wavelengths and orientations, ``(n_filters, size, size)``."""
        settings = self.settings
        found = bank(settings.image_size, settings.wavelengths_px, settings.n_orientations)
        return found.reshape(-1, *found.shape[2:])

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield features of one clip after the other; see `Encoder.encode`."""
        self.check_modality(stimuli)
        self.check_pool(pool)
        for i in range(len(stimuli)):
            found = self._of_clip(stimuli.load(i), stimuli.ids[i])
            found["all"] = np.concatenate(list(found.values()))
            yield {layer: found[layer][None].astype(np.float32) for layer in layers}

    def _of_clip(self, clip: Any, name: str) -> dict[str, np.ndarray]:
        from scipy import fft

        clip, size, grid = checked_clip(clip, name), self.settings.image_size, self.settings.grid
        rate = self.settings.sfreq
        n = max(2, round(clip.duration * rate))
        frames = clip.at((np.arange(n) + 0.5) * clip.duration / n)
        grey = np.stack([grey_square(frame, size, name) for frame in frames])
        spectrum = fft.fft2(grey - grey.mean())
        places = averaging(size, grid)
        window = np.hanning(n + 2)[1:-1]
        turns = np.exp(-2j * np.pi * np.outer(self._speeds, np.arange(n) * clip.duration / n)) * window / window.sum()
        energies = []
        for one in self._filters:
            response = fft.ifft2(spectrum * one).reshape(n, -1)
            power = np.abs(turns @ response) ** 2
            energy = places @ power.reshape(-1, size, size) @ places.T
            energies.append(np.sqrt(energy).reshape(len(turns), -1))  # to the scale of contrast
        stacked = np.stack(energies, axis=1).reshape(len(turns), -1)
        speeds = np.array(self._speeds)
        return {f"hz.{one:g}": stacked[np.abs(speeds) == one].reshape(-1) for one in self._rates}

    @property
    def _speeds(self) -> list[float]:
        """Rates at which a response turns, Hz: both ways, and none."""
        return [sign * rate for rate in self._rates for sign in ((1.0,) if rate == 0 else (1.0, -1.0))]
