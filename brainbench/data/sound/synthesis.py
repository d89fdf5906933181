"""Words spoken by a program where the sound of a story is not at hand: each at its onset, stretched to its duration."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.data.array_cache import cached_arrays
from brainbench.data.sound.recording import Recording, open_wav

PROGRAM = "espeak-ng"
SFREQ = 16000
_SECONDS = 30
"""Time that the program may take for a word."""
_QUIET = 0.01
"""Share of the loudest sample below which the begin and the end of a word are silence."""
_FRAME, _HOP = 512, 128


def spoken(words: Sequence[str], onset: np.ndarray, duration: np.ndarray, cache: Path | None) -> Recording:
    """Return a recording of words spoken by espeak-ng, English, 16 kHz, and silence between them.

    Parameters
    ----------
    words : sequence of str
    onset, duration : ndarray (n_words,)
        Seconds; every word lasts.
    cache : Path or None
        Where the sound is kept.

    Raises
    ------
    UserError
        If the program is not installed, fails, or says nothing of a word.
    """
    voice = _version()

    def compute() -> dict[str, np.ndarray]:
        sounds = {word: _spoken(word) for word in dict.fromkeys(words)}
        samples = np.zeros(int(np.ceil((onset + duration).max() * SFREQ)) + 1, dtype=np.float32)
        for word, start, length in zip(words, onset, duration, strict=True):
            first, n = round(float(start) * SFREQ), round(float(length) * SFREQ)
            if n < 1:
                raise UserError(f"'{word}' at {start:g} s lasts no time: nothing can be spoken in it")
            samples[first : first + n] += stretched(sounds[word], n)[: len(samples) - first]
        return {"samples": samples}

    made_of = {"words": list(words), "onset": digest_array(onset), "duration": digest_array(duration), "voice": voice}
    samples = cached_arrays(cache, "speech", made_of, compute)["samples"]
    return Recording(f"words spoken by {voice}", samples, SFREQ, digest(made_of))


def stretched(samples: np.ndarray, n: int) -> np.ndarray:
    """Return a sound of another length and the same pitch, ``(n,)`` float32 (phase vocoder; Flanagan & Golden 1966)."""
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    if len(samples) == n:
        return samples
    padded = np.pad(samples, (0, max(0, 2 * _FRAME - len(samples))))
    transform = ShortTimeFFT(hann(_FRAME, sym=False), _HOP, SFREQ)
    values = transform.stft(padded)
    last = values.shape[1] - 1
    at = np.linspace(0, last, max(2, round(n / _HOP) + 1 + (values.shape[1] - len(samples) // _HOP)))
    left = np.minimum(at.astype(int), last - 1)
    share = at - left
    size = (1 - share) * np.abs(values[:, left]) + share * np.abs(values[:, left + 1])
    advance = np.angle(values[:, 1:]) - np.angle(values[:, :-1])
    expected = 2 * np.pi * _HOP * np.arange(values.shape[0])[:, None] / _FRAME
    advance = expected + np.angle(np.exp(1j * (advance - expected)))
    phase = np.angle(values[:, :1]) + np.concatenate(
        [np.zeros((values.shape[0], 1)), np.cumsum(advance[:, left[:-1]], axis=1)], axis=1
    )
    found = transform.istft(size * np.exp(1j * phase))
    return np.asarray(np.pad(found, (0, max(0, n - len(found))))[:n], dtype=np.float32)


def _program() -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        raise UserError(
            f"dataset.sound: {PROGRAM} is not installed",
            hint=f"apt install {PROGRAM}; or name a .wav of the story, relative to root",
        )
    return found


def _version() -> str:
    """Return name and version of the program."""
    said = _run([_program(), "--version"], "its version").stdout.decode(errors="replace")
    numbers = [word for word in said.split() if word[:1].isdigit()]
    return f"{PROGRAM} {numbers[0]}" if numbers else PROGRAM


def _run(command: list[str], what: str) -> subprocess.CompletedProcess[bytes]:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{PROGRAM}: {what}: {error}") from None
    if done.returncode:
        raise UserError(
            f"{PROGRAM}: {what}: exit {done.returncode}: {done.stderr.decode(errors='replace')[:200].strip()}"
        )
    return done


def _spoken(word: str) -> np.ndarray:
    """Return the sound of a word without silence around it, 16 kHz."""
    from scipy.signal import resample_poly

    with tempfile.TemporaryDirectory() as folder:
        text, wav = Path(folder) / "word.txt", Path(folder) / "word.wav"
        text.write_text(word, encoding="utf-8")
        _run([_program(), "-v", "en", "-w", str(wav), "-f", str(text)], f"'{word}'")
        if not wav.is_file():
            raise UserError(f"{PROGRAM}: '{word}': it says nothing")
        recording = open_wav(wav)
        samples = recording.read(0, len(recording.samples))
    samples = np.asarray(resample_poly(samples, SFREQ, recording.sfreq), dtype=np.float32)
    loud = np.flatnonzero(np.abs(samples) > _QUIET * np.abs(samples).max(initial=0))
    if not len(loud):
        raise UserError(f"{PROGRAM}: '{word}': it says nothing")
    return samples[loud[0] : loud[-1] + 1]
