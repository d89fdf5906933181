"""Edits of tokens, heads and hidden units of a block, which are taken away or put at their mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from brainbench.lens.edits.base import Change, Pass, Step
from brainbench.lens.edits.blocks import Spread

if TYPE_CHECKING:
    from torch import Tensor


def erase(block: int, mean: Tensor, tokens: Callable[[Tensor], Tensor] | None = None) -> Change:
    """Replace what a block is given, at some tokens, by the mean token.

    Parameters
    ----------
    block : int
    mean : Tensor (d,)
        Mean token of the block's input (`brainbench.lens.running.means`).
    tokens : callable, optional
        From the tokens that stand for something, bool ``(n, T)``, to those that are erased; by default all of them.
    """

    def function(value: Tensor, now: Pass) -> Tensor:
        inside = now.inside(value.shape[1])
        chosen = inside if tokens is None else tokens(inside)
        return mean.to(value).where(chosen.unsqueeze(-1), value)

    return Change(f"erase before block {block}", (Step(block, "resid_pre", function),))


def erase_control(block: int, mean: Tensor, spread: Spread, seed: int) -> Change:
    """Take as much from what a block is given as erasing it takes, in directions drawn as the stream varies."""
    by = cache(lambda: spread.map([seed, block, 67]))

    def function(value: Tensor, now: Pass) -> Tensor:
        taken = spread.turned(value - mean.to(value), by())
        return (value - taken).where(now.inside(value.shape[1]).unsqueeze(-1), value)

    return Change(f"control {seed} before block {block}", (Step(block, "resid_pre", function),))


def ablate_heads(block: int, heads: Sequence[int], mean: Tensor | None = None) -> Change:
    """Replace what some heads give by their mean over stimuli, ``(heads, d / heads)``, or by 0 without one."""

    def function(value: Tensor, _now: Pass) -> Tensor:
        value = value.clone()
        value[:, :, list(heads)] = 0 if mean is None else mean.to(value)[list(heads)]
        return value

    return Change(f"heads {', '.join(map(str, heads))} of block {block}", (Step(block, "z", function),))


def ablate_units(block: int, units: Sequence[int], mean: Tensor | None = None) -> Change:
    """Replace hidden units by their mean over stimuli, ``(f,)``, or by 0 without one: the lesion of a localizer."""

    def function(value: Tensor, _now: Pass) -> Tensor:
        value = value.clone()
        value[..., list(units)] = 0 if mean is None else mean.to(value)[list(units)]
        return value

    return Change(f"{len(units)} units of block {block}", (Step(block, "mlp_act", function),))


def sparsify(block: int, share: float, threshold: Tensor | None = None, *, top: bool = False) -> Change:
    """Switch hidden units off that are small.

    Parameters
    ----------
    block : int
    share : float
        Of the units, for the name; with `top` the share of every token's units that is switched off, smallest first.
    threshold : Tensor (f,), optional
        Size below which each unit is switched off (`thresholds`).
    top : bool
    """

    def function(value: Tensor, _now: Pass) -> Tensor:
        size = value.abs()
        if not top:
            assert threshold is not None
            return value.where(size > threshold.to(value), 0)
        n_off = round(share * value.shape[-1])
        if n_off == 0:
            return value
        return value.where(size > size.kthvalue(n_off, dim=-1, keepdim=True).values, 0)

    return Change(f"{share:.0%} of the units of block {block} off", (Step(block, "mlp_act", function),))


def sparsify_control(block: int, share: float, seed: int) -> Change:
    """Switch as many hidden units off as `sparsify` does, but the same ones for every token, drawn at random."""

    def function(value: Tensor, _now: Pass) -> Tensor:
        width = value.shape[-1]
        off = np.random.default_rng([seed, block, 71]).permutation(width)[: round(share * width)]
        value = value.clone()
        value[..., off] = 0
        return value

    return Change(f"control {seed} of {share:.0%} of the units of block {block}", (Step(block, "mlp_act", function),))


def thresholds(act: np.ndarray, out_norm: np.ndarray, share: float, mode: str) -> np.ndarray:
    """Return the size of every hidden unit below which it is switched off, so that `share` of all are.

    Parameters
    ----------
    act : ndarray (n_tokens, f)
        Hidden units of a sample of tokens.
    out_norm : ndarray (f,)
        Norm of what each unit writes.
    share : float
    mode : {"channel", "uniform"}
        ``channel`` switches off what writes least, size times norm; ``uniform`` what is smallest, whatever it writes.
    """
    weight = out_norm if mode == "channel" else np.ones_like(out_norm)
    limit = np.quantile(np.abs(act) * weight, share)
    found: np.ndarray = limit / np.maximum(weight, 1e-30)
    return found
