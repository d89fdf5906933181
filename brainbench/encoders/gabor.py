"""Gabor pyramid: the energy of quadrature pairs at several scales and orientations, a baseline for V1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Layer, Pool
from brainbench.encoders.pixels import grey_square

BANDWIDTH = 0.56
"""Standard deviation of the envelope in wavelengths: one octave at half height."""

AT_ONCE = 8
"""Pictures whose responses are held at once: more would leave the cache, and take three times as long."""


def bank(size: int, wavelengths_px: Sequence[float], n_orientations: int) -> np.ndarray:
    """Return transfer functions, ``(n_scales, n_orientations, size, size)``: Gaussians around +frequency.

    A Gaussian on one side of the spectrum gives the analytic (complex) response, whose squared modulus is the energy of
    the quadrature pair. There is no response to mean luminance.
    """
    frequency = np.fft.fftfreq(size)
    fx, fy = np.meshgrid(frequency, frequency)
    filters = []
    for wavelength in sorted(wavelengths_px):
        spread = 1 / (2 * np.pi * BANDWIDTH * wavelength)
        for k in range(n_orientations):
            angle = np.pi * k / n_orientations
            u, v = np.cos(angle) / wavelength, np.sin(angle) / wavelength
            filters.append(np.exp(-((fx - u) ** 2 + (fy - v) ** 2) / (2 * spread**2)))
    stacked = np.stack(filters)
    stacked[:, 0, 0] = 0
    return stacked.reshape(-1, n_orientations, size, size)


def averaging(size: int, grid: int) -> np.ndarray:
    """Return means over the rows (or columns) of a grid of places, ``(grid, size)``."""
    edges = np.linspace(0, size, grid + 1).round().astype(int)
    places = np.zeros((grid, size))
    for place, (first, last) in zip(places, pairwise(edges), strict=True):
        place[first:last] = 1 / (last - first)
    return places


class GaborPyramid(Encoder):
    """Phase-invariant energy, averaged over a grid of places.

    ``scale.k`` is one wavelength, from the shortest; ``all`` puts them side by side.

    Parameters
    ----------
    settings : GaborSettings
    """

    modalities = ("image", "array")
    pools = ("mean",)

    def __init__(self, settings: Any, *, seed: int = 0, device: str = "auto", batch_size: int | None = None) -> None:
        self.name = settings.name
        self.settings = settings
        self.batch_size = batch_size or 64

    def layers(self) -> list[Layer]:
        """Return one layer per wavelength, then all of them together."""
        n = len(self.settings.wavelengths_px)
        width = self.settings.n_orientations * self._grid**2
        scales = [Layer(f"scale.{k}", k / n, width) for k in range(n)]
        return [*scales, Layer("all", 1.0, width * n)]

    @property
    def _grid(self) -> int:
        return int(min(self.settings.grid, self.settings.image_size))

    def parameters(self) -> dict[str, Any]:
        """Return the filters' settings."""
        return {
            "n_orientations": self.settings.n_orientations,
            "wavelengths_px": sorted(self.settings.wavelengths_px),
            "image_size": self.settings.image_size,
            "grid": self._grid,
            "bandwidth": BANDWIDTH,
        }

    @cached_property
    def _filters(self) -> np.ndarray:
        """Transfer functions, ``(n_scales, n_orientations, size, size)``."""
        return bank(self.settings.image_size, self.settings.wavelengths_px, self.settings.n_orientations)

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of features; see `Encoder.encode`."""
        from scipy import fft

        self.check_modality(stimuli)
        self.check_pool(pool)
        size, grid = self.settings.image_size, self._grid
        places = averaging(size, grid)
        for start in range(0, len(stimuli), self.batch_size):
            rows = range(start, min(start + self.batch_size, len(stimuli)))
            grey = np.stack([grey_square(stimuli.load(i), size, stimuli.ids[i]) for i in rows])
            scales: list[list[np.ndarray]] = [[] for _ in self._filters]
            for few in np.array_split(grey, range(AT_ONCE, len(grey), AT_ONCE)):
                spectrum = fft.fft2(few)[:, None]
                for bank, found in zip(self._filters, scales, strict=True):
                    response = fft.ifft2(spectrum * bank, overwrite_x=True)
                    energy = places @ (response.real**2 + response.imag**2) @ places.T
                    # The square root brings energies to the scale of contrast.
                    found.append(np.sqrt(energy).reshape(len(few), -1).astype(np.float32))
            named = {f"scale.{k}": np.concatenate(found) for k, found in enumerate(scales)}
            named["all"] = np.concatenate(list(named.values()), axis=1)
            yield {layer: named[layer] for layer in layers}
