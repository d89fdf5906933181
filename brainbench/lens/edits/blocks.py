"""Edits of whole blocks, and what stands in the place of a block's part in controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from brainbench.lens.edits.base import Change, Pass, Step, StepFunction

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Spread:
    """How tokens of the stream vary at a place, and what an edit takes there: what controls are drawn from.

    A control takes as much as the edit, but something else. With the covariance C of the stream and a random rotation
    R of the directions in which it varies, the edit's part t, about its mean, becomes C^(1/2) R C^(-1/2) t, times a
    number that makes it as large; the mean is taken as the edit takes it. Over rotations a control varies as the stream
    does: to take something where no feature varies, as most directions at random would, costs nothing.

    Parameters
    ----------
    directions : Tensor (d, k)
        Orthonormal; those in which the stream varies.
    size : Tensor (k,)
        Standard deviation of the stream along each.
    mean : Tensor (d,)
        Of what the edit takes.
    part : Tensor (k, k)
        Covariance of what the edit takes, along the directions, in units of `size`.
    power : float
        Variance of what the edit takes, over all directions.
    """

    directions: Tensor
    size: Tensor
    mean: Tensor
    part: Tensor
    power: float

    @classmethod
    def of(cls, covariance: Tensor, mean: Tensor, taken: Tensor) -> Spread:
        """Return the spread from the covariances ``(d, d)`` of the stream and of what an edit takes, float64."""
        import torch

        values, vectors = torch.linalg.eigh(covariance)
        known = values > 1e-8 * values[-1].clamp(min=1e-30)
        directions, size = vectors[:, known], values[known].sqrt()
        whitened = directions / size
        return cls(directions, size, mean, whitened.T @ taken @ whitened, float(taken.trace()))

    def map(self, seed: Sequence[int]) -> Tensor:
        """Return the matrix ``(d, d)`` of a rotation, which tokens are multiplied with from the left."""
        import torch

        k = len(self.size)
        turn, upper = torch.linalg.qr(torch.from_numpy(np.random.default_rng(list(seed)).standard_normal((k, k))))
        turn = turn * upper.diagonal().sign()  # all rotations alike (Mezzadri 2007)
        after = float(((turn @ self.part @ turn.T).diagonal() * self.size**2).sum())
        scale = (self.power / max(after, 1e-30)) ** 0.5
        return scale * (self.directions / self.size) @ turn.T @ (self.size[:, None] * self.directions.T)

    def turned(self, taken: Tensor, by: Tensor) -> Tensor:
        """Return what a control takes in the place of what the edit takes, ``(n, T, d)``, with its `map`."""
        mean = self.mean.to(taken)
        return mean + (taken - mean) @ by.to(taken)


def skip(block: int) -> Change:
    """Let a block give what it was given. After post-norm blocks too, whose output is then not normalised."""
    return _exchanged(f"skip block {block}", block, lambda given, _gave: given)


def skip_control(block: int, spread: Spread, seed: int) -> Change:
    """Take from the stream as much as the block adds, in directions drawn as the stream varies (`Spread`)."""
    by = cache(lambda: spread.map([seed, block, 61]))  # once, and not before it runs: as long as some batches take
    return _exchanged(
        f"control {seed} of block {block}", block, lambda given, gave: gave - spread.turned(gave - given, by())
    )


def _exchanged(name: str, block: int, output: Callable[[Tensor, Tensor], Tensor]) -> Change:
    """Return the change of what a block gives, from what it was given and what it gives."""

    def keep(value: Tensor, now: Pass) -> Tensor:
        now.memory["given", block] = value.clone()
        return value

    def give(value: Tensor, now: Pass) -> Tensor:
        return output(now.memory["given", block], value)

    return Change(name, (Step(block, "resid_pre", keep), Step(block, "resid_post", give)), output)


def brain_lens(block: int, n_blocks: int) -> Change:
    """Let the last block give what `block` gives, behind which stands all that stands behind the last one.

    A head that was fitted to the last layer then reads an earlier block, as a readout lens reads it with the network's
    own output layer: frozen it finds what is there in the form of the end, fitted again what is there in any form.
    """

    def keep(value: Tensor, now: Pass) -> Tensor:
        now.memory["gave", block] = value.clone()
        return value

    def give(_value: Tensor, now: Pass) -> Tensor:
        return now.memory["gave", block]

    steps = (Step(block, "resid_post", keep), Step(n_blocks - 1, "resid_post", give))
    return Change(f"block {block} read in place of the last one", steps, leaves=True)


def last_active(n_blocks: int, alpha: float = 0.8) -> Change:
    """Read every token off the last block that is not void for it, as published; all blocks see the full stream.

    Void as `stream` has it. Nothing is left out of the computation: the last block's output alone is exchanged.
    """

    def keep(block: int) -> StepFunction:
        def function(value: Tensor, now: Pass) -> Tensor:
            now.memory["before", block] = value.clone()
            return value

        return function

    def follow(block: int) -> StepFunction:
        def function(value: Tensor, now: Pass) -> Tensor:
            import torch

            memory = now.memory
            grown = value.norm(dim=-1) - memory.pop(("before", block)).norm(dim=-1)
            low, high = memory.get("low", grown), memory.get("high", grown)
            active = (grown >= alpha * (high - low)).unsqueeze(-1)
            memory["low"], memory["high"] = torch.minimum(low, grown), torch.maximum(high, grown)
            memory["active"] = torch.where(active, value, memory.get("active", value))
            return memory["active"].clone() if block == n_blocks - 1 else value

        return function

    steps = [
        step
        for block in range(n_blocks)
        for step in (Step(block, "resid_pre", keep(block)), Step(block, "resid_post", follow(block)))
    ]
    return Change(f"last active block, alpha {alpha}", tuple(steps))
