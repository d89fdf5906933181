"""Blocks of targets, centred and scaled, and what the predictions of a block are made from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from brainbench.core.arrays import Array, Arrays
from brainbench.ridge.solver.spectra import Features, Spectrum

BLOCK_BYTES = 24 << 20
"""Targets are taken in blocks whose responses and basis predictions take so many bytes: about a last-level cache."""

MIN_BLOCK = 128
"""Fewer targets at once would make the products slow."""


@dataclass(frozen=True)
class Block:
    """Some targets, centred and scaled.

    Attributes
    ----------
    columns : slice
    Y : array (n_rows, n_targets)
    mean, scale : array (n_targets,)
        What was subtracted, and the power of two that was divided by.
    cross : array (n_targets, n_features) or None
        Y'X, where a spectrum asks for it.
    """

    columns: slice
    Y: Array
    mean: Array
    scale: Array
    cross: Array | None = None

    def cast(self, xp: Arrays, dtype: str) -> Block:
        """Return the block in another type."""
        if dtype == xp.dtype_of(self.Y):
            return self
        cross = None if self.cross is None else xp.asarray(self.cross, dtype)
        return replace(self, Y=xp.asarray(self.Y, dtype), scale=xp.asarray(self.scale, dtype), cross=cross)

    def crossed(self, features: Features) -> Block:
        """Return the block with its cross-products."""
        return self if self.cross is not None else replace(self, cross=self.Y.T @ features.X)


def make_block(xp: Arrays, Y: Array, columns: slice, fit_intercept: bool) -> Block:
    """Return a block of targets, without cross-products.

    Every target is scaled by itself, so that no target knows of another and squares stay far from the type's limits.
    What rounding leaves of a constant target is set to 0.
    """
    Y = Y[:, columns]
    n_rows, dtype = len(Y), xp.dtype_of(Y)
    eps = float(np.finfo(dtype).eps)
    mean = xp.zeros((Y.shape[1],), dtype)
    if fit_intercept:
        mean = xp.asarray(xp.sum64(Y, 0) / n_rows, dtype)
    Y = xp.contiguous(Y - mean)
    largest = xp.largest(Y)
    scale = xp.power_of_two(largest)
    Y *= xp.where(largest > (8 * eps + n_rows * 2.2e-16) * abs(mean), 1 / scale, 0.0)
    return Block(columns, Y, mean, scale)


def coordinates_of_targets(spectrum: Spectrum, block: Block) -> tuple[Array, Array]:
    """Return ``b`` and the known rows' share of it, both ``(n_targets, n_directions)``."""
    part = block.Y[spectrum.known].T @ spectrum.known_coordinates
    return (block.cross @ spectrum.vectors - part if spectrum.difference else part), part
