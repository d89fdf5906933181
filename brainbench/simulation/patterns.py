"""Binary patterns that brainbench draws itself: letters, figures and random patches on an n x n grid.

A generator trained on them has seen nothing of a data set: patterns that equal one of its stimuli are left out.
Letters are our own strokes in a unit box. A stroke is brought to whole cells and drawn with a square brush, so that
the styles (height, width and thickness of a letter) are exact on the smallest grids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError

Stroke = tuple[tuple[float, float], ...]
"""Corners (across, down) of a line in the unit box, joined in order."""

LETTERS: dict[str, tuple[Stroke, ...]] = {
    "A": (((0, 1), (0, 0), (1, 0), (1, 1)), ((0, 0.5), (1, 0.5))),
    "B": (((0, 0), (0, 1), (1, 1), (1, 0), (0, 0)), ((0, 0.5), (1, 0.5))),
    "C": (((1, 0), (0, 0), (0, 1), (1, 1)),),
    "E": (((1, 0), (0, 0), (0, 1), (1, 1)), ((0, 0.5), (1, 0.5))),
    "F": (((1, 0), (0, 0), (0, 1)), ((0, 0.5), (1, 0.5))),
    "G": (((1, 0), (0, 0), (0, 1), (1, 1), (1, 0.5), (0.5, 0.5)),),
    "H": (((0, 0), (0, 1)), ((1, 0), (1, 1)), ((0, 0.5), (1, 0.5))),
    "I": (((0.5, 0), (0.5, 1)),),
    "J": (((1, 0), (1, 1), (0, 1), (0, 0.6)),),
    "K": (((0, 0), (0, 1)), ((1, 0), (0, 0.5), (1, 1))),
    "L": (((0, 0), (0, 1), (1, 1)),),
    "M": (((0, 1), (0, 0), (0.5, 0.5), (1, 0), (1, 1)),),
    "N": (((0, 1), (0, 0), (1, 1), (1, 0)),),
    "O": (((0, 0), (1, 0), (1, 1), (0, 1), (0, 0)),),
    "P": (((0, 1), (0, 0), (1, 0), (1, 0.5), (0, 0.5)),),
    "Q": (((1, 1), (1, 0), (0, 0), (0, 0.5), (1, 0.5)),),
    "R": (((0, 1), (0, 0), (1, 0), (1, 0.5), (0, 0.5)), ((0.4, 0.5), (1, 1))),
    "S": (((1, 0), (0, 0), (0, 0.5), (1, 0.5), (1, 1), (0, 1)),),
    "T": (((0, 0), (1, 0)), ((0.5, 0), (0.5, 1))),
    "U": (((0, 0), (0, 1), (1, 1), (1, 0)),),
    "V": (((0, 0), (0.5, 1), (1, 0)),),
    "W": (((0, 0), (0, 1), (0.5, 0.5), (1, 1), (1, 0)),),
    "X": (((0, 0), (1, 1)), ((1, 0), (0, 1))),
    "Y": (((0, 0), (0.5, 0.5), (1, 0)), ((0.5, 0.5), (0.5, 1))),
    "Z": (((0, 0), (1, 0), (0, 1), (1, 1)),),
    "h": (((0, 0), (0, 1)), ((0, 0.5), (1, 0.5), (1, 1))),
    "n": (((0, 1), (0, 0), (1, 0), (1, 1)),),
    "r": (((0, 1), (0, 0), (1, 0), (1, 0.3)),),
}
"""Strokes of every letter."""

PATTERNS: dict[str, float] = {"letter": 0.4, "strokes": 0.25, "figure": 0.2, "random": 0.15}
"""Kinds of pattern, and the share of each."""

_TRIES = 200
"""Draws in a row that may all be known already before the drawer gives up."""


def binary_patterns(
    n: int, size: int, seed: int, *, exclude: Iterable[np.ndarray | str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Draw distinct binary patterns.

    Parameters
    ----------
    n : int
        Number of patterns.
    size : int
        Side of the grid, in cells; at least 6.
    seed : int
    exclude : iterable of ndarray or str
        Images ``(size, size)`` or ``(size, size, 1)`` (lit where above the middle of their range), or what
        `pattern_digest` gives for them: none of the patterns equals one.

    Returns
    -------
    images : float32 ndarray (n, size, size, 1)
        0 or 1.
    kinds : str ndarray (n,)
        ``letter``, ``strokes`` (random strokes in a letter's box), ``figure`` (bars, frames, crosses, arrows) or
        ``random`` (random patches).

    Raises
    ------
    UserError
        If the grid is too small, or does not have so many distinct patterns.
    """
    if size < 6:
        raise UserError(f"patterns need a grid of at least 6 x 6 cells, got {size} x {size}")
    known = {one if isinstance(one, str) else pattern_digest(one) for one in exclude}
    rng = np.random.default_rng([seed, 97])
    names, shares = list(PATTERNS), list(PATTERNS.values())
    images: list[np.ndarray] = []
    kinds, tries = [], 0
    while len(images) < n:
        kind = names[rng.choice(len(names), p=shares)]
        grid = _DRAW[kind](size, rng)
        name = pattern_digest(grid)
        if name in known or not 0 < grid.sum() < grid.size:
            tries += 1
            if tries > _TRIES:
                raise UserError(f"only {len(images)} distinct patterns of {size} x {size} were found, {n} are wanted")
            continue
        tries = 0
        known.add(name)
        images.append(grid)
        kinds.append(kind)
    return np.stack(images).astype(np.float32)[..., None], np.array(kinds)


def pattern_digest(image: np.ndarray) -> str:
    """Return a digest of the cells that are lit, the same for every type and range of values."""
    grid = np.asarray(image, dtype=np.float64)
    grid = grid.reshape(grid.shape[:2])
    middle = 0.5 if grid.max(initial=0) <= 1 else 0.5 * (grid.max() + grid.min())
    return digest_array(np.packbits(grid > middle))


def draw_strokes(strokes: Iterable[Stroke], size: int, box: tuple[int, int, int, int], brush: int) -> np.ndarray:
    """Draw strokes of the unit box as cells, bool ``(size, size)``.

    Parameters
    ----------
    strokes : iterable of Stroke
    size : int
        Side of the grid, in cells.
    box : tuple of int
        Top, left, height and width, in cells; what lies outside the grid is cut off.
    brush : int
        Thickness of a stroke, in cells.
    """
    top, left, height, width = box
    grid = np.zeros((size, size), dtype=bool)
    for stroke in strokes:
        for (x0, y0), (x1, y1) in pairwise(stroke):
            n = 1 + max(height, width)
            down = top + np.rint(np.linspace(y0, y1, n) * (height - brush)).astype(int)
            across = left + np.rint(np.linspace(x0, x1, n) * (width - brush)).astype(int)
            for i, j in zip(down, across, strict=True):
                grid[max(i, 0) : max(i + brush, 0), max(j, 0) : max(j + brush, 0)] = True
    return grid


def _box(size: int, rng: np.random.Generator) -> tuple[tuple[int, int, int, int], int]:
    """Return the box of a letter, mostly in the middle, and its brush."""
    brush = int(rng.integers(1, max(2, size // 5) + 1))
    least = 2 * brush + 1 if brush > 1 else 4
    height = int(rng.integers(min(least, size - 1), size - size // 6 + 1))
    width = int(rng.integers(min(least, size - 1), max(least, round(height * 1.2)) + 1))
    width = min(width, size)
    spread = 0 if rng.random() < 0.4 else size // 6
    top = (size - height) // 2 + int(rng.integers(-spread, spread + 1))
    left = (size - width) // 2 + int(rng.integers(-spread, spread + 1))
    return (top, left, height, width), brush


def _letter(size: int, rng: np.random.Generator) -> np.ndarray:
    letters = list(LETTERS.values())
    return draw_strokes(letters[rng.integers(len(letters))], size, *_box(size, rng))


def _strokes(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a walk between the corners, edges' middles and middle of a letter's box."""
    points = [(x / 2, y / 2) for y in range(3) for x in range(3)]
    strokes = []
    for _ in range(rng.integers(1, 3)):
        walk = [points[rng.integers(9)]]
        for _ in range(rng.integers(1, 6)):
            x, y = walk[-1]
            # Mostly along one direction, as strokes of letters are; a few are oblique.
            near = [p for p in points if p != (x, y) and (p[0] == x or p[1] == y or rng.random() < 0.1)]
            walk.append(near[rng.integers(len(near))])
        strokes.append(tuple(walk))
    return draw_strokes(strokes, size, *_box(size, rng))


def _figure(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one or two bars, blocks, frames, crosses or arrows."""
    grid = np.zeros((size, size), dtype=bool)
    figures: tuple[tuple[Stroke, ...], ...] = (
        (((0, 0.5), (1, 0.5)),),
        (((0.5, 0), (0.5, 1)),),
        (((0, 0), (1, 0), (1, 1), (0, 1), (0, 0)),),
        (((0, 0.5), (1, 0.5)), ((0.5, 0), (0.5, 1))),
        (((0, 0), (1, 1)), ((1, 0), (0, 1))),
        (((0, 0.5), (0.5, 0), (1, 0.5)), ((0.5, 0), (0.5, 1))),
        (((0, 0.5), (0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)),),
    )
    for _ in range(rng.integers(1, 3)):
        box, brush = _box(size, rng)
        if rng.random() < 0.25:
            top, left, height, width = (max(value, 0) for value in box)
            grid[top : top + height, left : left + width] ^= True
        else:
            grid |= draw_strokes(figures[rng.integers(len(figures))], size, box, brush)
    return grid


def _random(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw random patches of one to three cells a side, each lit with a random probability."""
    side = int(rng.integers(1, 4))
    coarse = rng.random((-(-size // side),) * 2) < rng.uniform(0.2, 0.7)
    grid: np.ndarray = np.kron(coarse, np.ones((side, side), dtype=bool))[:size, :size].astype(bool)
    return grid


_DRAW: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "letter": _letter,
    "strokes": _strokes,
    "figure": _figure,
    "random": _random,
}
