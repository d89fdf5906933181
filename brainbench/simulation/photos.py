"""Photographs that simulated participants look at: crops of installed sample photographs, or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli

SIDE = 128
"""Side of a crop in pixels."""


def sample_crops(n: int, seed: int) -> Stimuli:
    """Return crops of the two photographs that scikit-learn installs (a temple and a flower).

    Crops are squares of 96 to 320 pixels, brought to `SIDE` pixels, half of them mirrored; a new one overlaps an
    earlier one of like size as little as its photograph allows.

    Parameters
    ----------
    n : int
    seed : int
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images()
    rng = np.random.default_rng([seed, 71])
    boxes: list[tuple[int, int, int, int]] = []
    crops, ids = [], []
    for index in range(n):
        which = index % len(photographs.images)
        image = photographs.images[which]
        box = _least_overlap(image.shape[:2], [b[1:] for b in boxes if b[0] == which], rng)
        boxes.append((which, *box))
        top, left, side = box
        crop = Image.fromarray(image[top : top + side, left : left + side]).resize(
            (SIDE, SIDE), Image.Resampling.LANCZOS
        )
        pixels = np.asarray(crop)
        crops.append(np.ascontiguousarray(pixels[:, ::-1] if rng.random() < 0.5 else pixels))
        ids.append(f"{Path(photographs.filenames[which]).stem}-{index:04d}")
    return Stimuli(
        ids=ids,
        modality="image",
        load=crops.__getitem__,
        content_digests=[digest_array(crop) for crop in crops],
        source=f"{n} crops of scikit-learn's sample photographs (china.jpg, flower.jpg)",
    )


def _least_overlap(
    shape: tuple[int, int], taken: list[tuple[int, int, int]], rng: np.random.Generator, tries: int = 12
) -> tuple[int, int, int]:
    """Return top, left and side of a square that overlaps those taken as little as `tries` random ones allow."""
    squares = np.empty((tries, 3), dtype=np.int64)
    for square in squares:
        side = int(rng.integers(96, min(320, *shape) + 1))
        square[:] = rng.integers(shape[0] - side + 1), rng.integers(shape[1] - side + 1), side
    overlap = _shared(squares[:, None], np.array(taken, dtype=np.int64).reshape(1, -1, 3)).max(axis=1, initial=0.0)
    top, left, side = squares[overlap.argmin()].tolist()
    return top, left, side


def _shared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return intersection over union of squares ``(..., 3)``: top, left and side."""
    first = np.maximum(one[..., :2], other[..., :2])
    last = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    inside = np.maximum(last - first, 0).prod(axis=-1)
    return np.asarray(inside / (one[..., 2] ** 2 + other[..., 2] ** 2 - inside))


def sentences(text: str | None, n: int) -> Stimuli:
    """Return the first `n` lines of a text file (without it, of the installed sentences) as text stimuli."""
    lines = _first(_lines(text), n, "sentences")
    return Stimuli(
        ids=[f"sentence-{index + 1:04d}" for index in range(len(lines))],
        modality="text",
        load=lines.__getitem__,
        content_digests=[digest(line) for line in lines],
        source=text or "sentences that brainbench installs",
    )


def story(text: str | None, n_words: int, seed: int) -> Stimuli:
    """Return running words with onsets: seeded durations of about a third of a second, pauses between sentences."""
    words, pause = [], []
    for line in _lines(text):
        parts = line.split()
        words += parts
        pause += [0.0] * (len(parts) - 1) + [0.6]
    words, pause = _first(words, n_words, "words"), pause[:n_words]
    rng = np.random.default_rng([seed, 79])
    duration = 0.12 + 0.045 * np.array([len(word) for word in words]) * rng.lognormal(0, 0.25, len(words))
    onset = np.concatenate([[0.0], np.cumsum(duration + np.array(pause) * rng.uniform(0.5, 1.5, len(words)))[:-1]])
    return Stimuli(
        ids=[f"{index:05d}-{word}" for index, word in enumerate(words)],
        modality="word",
        load=words.__getitem__,
        content_digests=[digest(word.strip(".,;:!?\"'").lower()) for word in words],
        onset=onset,
        duration=duration,
        source=text or "a text that brainbench installs",
    )


def _first(items: list[str], n: int, what: str) -> list[str]:
    if len(items) < n:
        raise UserError(
            f"dataset.n_stimuli: {n} {what} are asked for, the text has {len(items)}",
            hint=f"set `n_stimuli: {len(items)}`, or give a longer `text`",
        )
    return items[:n]


def _lines(text: str | None) -> list[str]:
    path: Any = Path(text).expanduser() if text is not None else Path(__file__).with_name("sentences.txt")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"dataset.text: {path} cannot be read ({error})") from None
    if not lines:
        raise UserError(f"dataset.text: {path} is empty")
    return lines
