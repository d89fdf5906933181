"""Small pictures of a few classes that brainbench draws itself: shapes, textures and letters, with labels.

They are what a simulated region can prefer and what a small diffusion network learns to draw within minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.data.base import Stimuli
from brainbench.simulation.patterns import LETTERS

_FINE = 4
"""Pictures are drawn so many times larger and then averaged down."""


def drawings(n: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw pictures of all classes in turn.

    Parameters
    ----------
    n : int
        Number of pictures.
    size : int
        Side, in pixels.
    seed : int

    Returns
    -------
    images : uint8 ndarray (n, size, size, 3)
    labels : str ndarray (n,)
        One of `CLASSES`.
    """
    rng = np.random.default_rng([seed, 101])
    labels = np.array([CLASSES[index % len(CLASSES)] for index in range(n)])
    return np.stack([_picture(label, size, rng) for label in labels]), labels


def drawn_stimuli(n: int, size: int, seed: int) -> Stimuli:
    """Return pictures of all classes as stimuli with the label ``category``."""
    images, labels = drawings(n, size, seed)
    return Stimuli(
        ids=[f"{label}-{index:04d}" for index, label in enumerate(labels)],
        modality="image",
        load=images.__getitem__,
        content_digests=[digest_array(image) for image in images],
        labels={"category": labels},
        source=f"{n} drawn pictures of {len(CLASSES)} classes ({', '.join(CLASSES)})",
    )


def _picture(label: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one picture in two colours that differ in lightness."""
    from PIL import Image

    mask = _DRAW[label](size * _FINE, rng)
    share = np.asarray(
        Image.fromarray((255 * mask).astype(np.uint8)).resize((size, size), Image.Resampling.BOX), dtype=np.float64
    )
    dark, light = rng.uniform(0, 90, 3), rng.uniform(150, 255, 3)
    ground, figure = (dark, light) if rng.random() < 0.5 else (light, dark)
    picture = ground + (share / 255)[..., None] * (figure - ground)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates (across, down) of the pixels in [-1, 1]."""
    line = (np.arange(side) + 0.5) / side * 2 - 1
    across, down = np.meshgrid(line, line)
    return across, down


def _place(side: int, rng: np.random.Generator, least: float, most: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Return coordinates around a random centre, turned at random, and a radius."""
    across, down = _grid(side)
    x, y = rng.uniform(-0.2, 0.2, 2)
    angle = rng.uniform(0, 2 * np.pi)
    turned = (across - x) * np.cos(angle) + (down - y) * np.sin(angle)
    other = (down - y) * np.cos(angle) - (across - x) * np.sin(angle)
    return turned, other, float(rng.uniform(least, most))


def _disc(side: int, rng: np.random.Generator) -> np.ndarray:
    x, y, radius = _place(side, rng, 0.45, 0.75)
    return np.hypot(x, y) < radius


def _star(side: int, rng: np.random.Generator) -> np.ndarray:
    x, y, radius = _place(side, rng, 0.65, 0.9)
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    # Distance to the edge between a tip (at radius) and a notch (at 0.4 radius) of a five-pointed star.
    turn = np.abs((angle * 5 / (2 * np.pi)) % 1 - 0.5) * 2
    return distance < radius * (0.38 + 0.62 * turn**1.6)


def _triangle(side: int, rng: np.random.Generator) -> np.ndarray:
    x, y, radius = _place(side, rng, 0.35, 0.5)
    corners = [2 * np.pi * k / 3 for k in range(3)]
    inside: np.ndarray = np.all([x * np.cos(a) + y * np.sin(a) < radius for a in corners], axis=0)
    return inside


def _stripes(side: int, rng: np.random.Generator) -> np.ndarray:
    across, down = _grid(side)
    angle, cycles, phase = rng.uniform(0, np.pi), rng.uniform(2.25, 4.5), rng.uniform(0, 2 * np.pi)
    return np.sin(np.pi * cycles * (across * np.cos(angle) + down * np.sin(angle)) + phase) > 0


def _checkerboard(side: int, rng: np.random.Generator) -> np.ndarray:
    across, down = _grid(side)
    cells, shift = rng.uniform(3, 6), rng.uniform(0, 2, 2)
    i, j = np.floor((across + 1) / 2 * cells + shift[0]), np.floor((down + 1) / 2 * cells + shift[1])
    return (i + j) % 2 == 0


def _letter(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a letter with round-ended strokes."""
    across, down = _grid(side)
    strokes = list(LETTERS.values())[rng.integers(len(LETTERS))]
    half = np.array([rng.uniform(0.35, 0.55), rng.uniform(0.5, 0.7)])
    centre, brush = rng.uniform(-0.15, 0.15, 2), rng.uniform(0.08, 0.13)
    mask = np.zeros((side, side), dtype=bool)
    for stroke in strokes:
        points = [(np.asarray(point) * 2 - 1) * half + centre for point in stroke]
        for start, end in pairwise(points):
            along = end - start
            t = ((across - start[0]) * along[0] + (down - start[1]) * along[1]) / (along @ along)
            t = np.clip(t, 0, 1)
            mask |= np.hypot(across - start[0] - t * along[0], down - start[1] - t * along[1]) < brush
    return mask


_DRAW: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "disc": _disc,
    "triangle": _triangle,
    "star": _star,
    "stripes": _stripes,
    "checkerboard": _checkerboard,
    "letter": _letter,
}

CLASSES = tuple(_DRAW)
"""What can be drawn."""
