"""Recordings of sound, read a stretch at a time, and the pieces of them that are stimuli."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path

import numpy as np

from brainbench.core.digests import digest, digest_array, digest_file
from brainbench.core.errors import UserError

MOST_LOUD = 8.0
"""Floats of a mix may pass 1; integers that were saved as floats go to thousands."""
CONVERT = "ffmpeg -i SOUND -ac 1 -ar 16000 SOUND.wav converts it"
MARGIN_S = 1
"""Seconds on both sides of a stretch that are resampled with it, so that its ends are not those of a filter."""


@dataclass(frozen=True)
class Recording:
    """One sound, of one channel or several.

    Attributes
    ----------
    name : str
        For messages.
    samples : ndarray or memmap (n_samples,) or (n_samples, n_channels)
        Integers as a file has them, or floats in -1 ... 1.
    sfreq : int
        Samples per second.
    digest : str
        Of its content.
    """

    name: str
    samples: np.ndarray
    sfreq: int
    digest: str

    @classmethod
    def of(cls, samples: np.ndarray, sfreq: int, name: str = "sound") -> Recording:
        """Return a sound that is held in memory."""
        if samples.size == 0 or not np.isfinite(samples).all():
            raise UserError(f"sound '{name}': {samples.size} samples; all must be finite, and there must be some")
        return cls(name, samples, int(sfreq), digest([digest_array(samples), int(sfreq)]))

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sfreq

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return samples of the mean over channels, float32 in -1 ... 1; silence before its begin and after its end."""
        inside = np.asarray(self.samples[max(start, 0) : max(stop, 0)])
        kind = inside.dtype
        values: np.ndarray = inside.astype(np.float32)
        if kind.kind == "u":
            values = values / 128 - 1
        elif kind.kind == "i":
            values = values / -float(np.iinfo(kind).min)
        if values.ndim > 1:
            values = values.mean(axis=1)
        before = max(0, min(stop, 0) - start) if start < 0 else 0
        return np.pad(values, (before, stop - start - before - len(values)))

    def stretch(self, start_s: int, n_samples: int, sfreq: int) -> np.ndarray:
        """Return `n_samples` at another rate from a whole second on, float32 ``(n_samples,)``."""
        if sfreq == self.sfreq:
            return self.read(start_s * sfreq, start_s * sfreq + n_samples)
        from scipy.signal import resample_poly

        divisor = gcd(sfreq, self.sfreq)
        seconds = -(-n_samples // sfreq)
        first = (start_s - MARGIN_S) * self.sfreq
        raw = self.read(first, first + (seconds + 2 * MARGIN_S) * self.sfreq)
        found = resample_poly(raw, sfreq // divisor, self.sfreq // divisor)
        return np.asarray(found[MARGIN_S * sfreq :][:n_samples], dtype=np.float32)


def open_wav(path: Path) -> Recording:
    """Open a WAV file; its samples stay on disk.

    Raises
    ------
    UserError
        If it is none, damaged, empty, or holds values that are not finite.
    """
    from scipy.io import wavfile

    if not path.is_file():
        raise UserError(f"{path}: no such sound")
    if path.suffix.lower() != ".wav":
        raise UserError(f"{path}: sounds are .wav files", hint=CONVERT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs
            try:
                sfreq, samples = wavfile.read(path, mmap=True)
            except ValueError:  # 24 bits cannot be mapped
                sfreq, samples = wavfile.read(path)
    except (ValueError, OSError, EOFError, IndexError, KeyError) as error:
        raise UserError(f"{path}: cannot be read as WAV ({error})", hint=CONVERT) from None
    if len(samples) == 0 or sfreq <= 0:
        raise UserError(f"{path}: holds no sound")
    if samples.dtype.kind == "f":
        largest = float(np.abs(samples).max())  # NaN where one is
        if not np.isfinite(largest):
            raise UserError(f"{path}: holds samples that are not finite")
        if largest > MOST_LOUD:
            raise UserError(
                f"{path}: float samples of up to {largest:.6g}; -1 to 1 is what players and networks take them for",
                hint="divide by 32768 what was 16 bits, or save it as 16-bit integers",
            )
    return Recording(path.name, samples, int(sfreq), digest_file(path))


@dataclass(frozen=True)
class Heard:
    """Which piece of which recording each stimulus is.

    Attributes
    ----------
    recordings : sequence of Recording
    of : int ndarray (n_stimuli,)
    start, end : ndarray (n_stimuli,)
        Seconds from the begin of the recording.
    """

    recordings: Sequence[Recording]
    of: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def take(self, rows: Sequence[int]) -> Heard:
        """Return the pieces of some stimuli."""
        return replace(self, of=self.of[rows], start=self.start[rows], end=self.end[rows])

    def digest(self) -> str:
        """Return one digest of recordings and pieces."""
        return digest(
            [[one.digest for one in self.recordings], *(digest_array(a) for a in (self.of, self.start, self.end))]
        )

    def piece(self, index: int) -> np.ndarray:
        """Return the samples of one stimulus at its recording's own rate, float32 ``(n_samples,)``."""
        recording = self.recordings[int(self.of[index])]
        return recording.read(round(self.start[index] * recording.sfreq), round(self.end[index] * recording.sfreq))

    def problems(self, ids: Sequence[str]) -> list[tuple[int, str]]:
        """Return what is wrong with pieces, with the number of the stimulus: empty, or outside of their recording."""
        found = []
        for i, name in enumerate(ids):
            recording = self.recordings[int(self.of[i])]
            where = f"stimulus '{name}' is at {self.start[i]:.3f} to {self.end[i]:.3f} s of {recording.name}"
            if not self.start[i] < self.end[i]:
                found.append((i, f"{where}: it lasts no time"))
            elif self.start[i] < 0 or self.end[i] > recording.duration + 0.5:
                found.append((i, f"{where}, which lasts {recording.duration:.3f} s"))
        return found


def sounds_of(recordings: Sequence[Recording]) -> Heard:
    """Return whole recordings as stimuli."""
    ends = np.array([one.duration for one in recordings])
    return Heard(recordings, np.arange(len(recordings)), np.zeros(len(recordings)), ends)
