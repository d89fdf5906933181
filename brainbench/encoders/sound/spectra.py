"""What a sound is before any network: log-mel spectrogram and envelope (baselines)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from brainbench.encoders.base import Layer
from brainbench.encoders.sound.listening import Listener, Spans

SFREQ = 16_000
FRAME, HOP = 400, 160
"""Samples: frames of 25 ms, one every 10 ms."""


class _Frames(Listener):
    """A baseline with one layer, computed from frames of 25 ms."""

    sfreq, window_s, overlap_s, least = SFREQ, 30, 2, FRAME
    layer: str

    def __init__(self, settings: Any, *, seed: int = 0, device: str = "auto", batch_size: int | None = None) -> None:
        self.name = settings.name
        self.settings = settings

    def layers(self) -> list[Layer]:
        """Return the only layer."""
        return [Layer(self.layer, 0.0, self.width())]

    @abstractmethod
    def width(self) -> int:
        """Return the number of features."""

    @abstractmethod
    def of_frames(self, frames: np.ndarray) -> np.ndarray:
        """Return features of frames ``(n_frames, FRAME)``, ``(n_frames, n_features)``."""

    def sums(
        self, samples: np.ndarray, spans: Spans, layers: Sequence[str]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return sums over frames; see `Listener.sums`."""
        frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
        parts = spans((np.arange(len(frames)) * HOP + FRAME / 2) / SFREQ)
        values = self.of_frames(frames)
        n_frames = np.array([last - first for first, last in parts])
        return {self.layer: np.stack([values[first:last].sum(0) for first, last in parts])}, n_frames


class LogMel(_Frames):
    """Log power in bands of the mel scale, from 0 to 8 kHz."""

    layer = "mel"

    def width(self) -> int:
        """As many as there are bands."""
        return int(self.settings.n_mels)

    def parameters(self) -> dict[str, Any]:
        """Return the number of bands."""
        return {"n_mels": self.settings.n_mels}

    @cached_property
    def _filters(self) -> np.ndarray:
        from transformers.audio_utils import mel_filter_bank

        return np.asarray(
            mel_filter_bank(
                FRAME // 2 + 1, self.settings.n_mels, 0.0, SFREQ / 2, SFREQ, norm="slaney", mel_scale="slaney"
            )
        )

    def of_frames(self, frames: np.ndarray) -> np.ndarray:
        """Return log10 power of every band; silence is -10."""
        power = np.abs(np.fft.rfft(frames * np.hanning(FRAME + 1)[:-1])) ** 2
        return np.asarray(np.log10(np.maximum(power @ self._filters, 1e-10)))


class Envelope(_Frames):
    """How loud it is (root mean square), and how fast that rises (its increase per 10 ms, where there is one)."""

    layer = "envelope"

    def width(self) -> int:
        """Loudness and rise."""
        return 2

    def parameters(self) -> dict[str, Any]:
        """Return nothing: it has no settings."""
        return {}

    def of_frames(self, frames: np.ndarray) -> np.ndarray:
        """Return loudness and rise."""
        loudness = np.sqrt(np.mean(frames.astype(np.float64) ** 2, axis=1))
        return np.stack([loudness, np.maximum(np.diff(loudness, prepend=loudness[:1]), 0)], axis=1)
