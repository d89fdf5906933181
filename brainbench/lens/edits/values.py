"""Edits that put other values in the place of a network's own: those of another run, a pattern, a direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.encoders.sites import Site
from brainbench.lens.edits.base import Change, Pass, Step, StepFunction

if TYPE_CHECKING:
    from torch import Tensor


def patch(
    block: int, site: Site, clean: Mapping[int, Tensor], tokens: Callable[[Tensor], Tensor] | None = None
) -> Change:
    """Put values of another run, by the stimulus's row, in the place of this run's: of all tokens, or of some."""

    def function(value: Tensor, now: Pass) -> Tensor:
        import torch

        other = torch.stack([clean[int(row)] for row in now.rows]).to(value)
        if tokens is None:
            return other
        chosen = tokens(now.inside(value.shape[1]))
        return other.where(chosen.reshape(*chosen.shape, *[1] * (value.ndim - 2)), value)

    return Change(f"{site} of block {block} of another run", (Step(block, site, function),))


def path(receiver: int, sent: Mapping[int, Tensor]) -> Change:
    """Let one block alone read what heads before would send it, by stimulus (`brainbench.lens.paths.sent`)."""

    def add(value: Tensor, now: Pass, sign: int) -> Tensor:
        import torch

        return value + sign * torch.stack([sent[int(row)] for row in now.rows]).to(value)

    steps = (Step(receiver, "resid_pre", partial(add, sign=1)), Step(receiver, "resid_post", partial(add, sign=-1)))
    return Change(f"path to block {receiver}", steps)


def inject(
    sources: Mapping[int, float], targets: Sequence[int], site: Site, strength: float,
    tokens: Callable[[Tensor], Tensor] | None = None,
) -> Change:  # fmt: skip
    """Add what earlier blocks gave to what later ones give, and bring the sum back to the norm it had.

    Parameters
    ----------
    sources : mapping of int to float
        Blocks, and the weight of what each gives: its recovery rate (`brainbench.lens.effects.recovery`), found on
        other stimuli than those that are edited.
    targets : sequence of int
        Blocks; each is given what sources before it gave, before anything was added there.
    site : {"attn_out", "mlp_out"}
    strength : float
    tokens : callable, optional
        From the tokens that stand for something, bool ``(n, T)``, to those that are given something; by default the
        last of them.
    """

    def function(value: Tensor, now: Pass, block: int) -> Tensor:
        if block in sources:
            now.memory["inject", block] = sources[block] * value
        given = [now.memory["inject", source] for source in sources if source < block]
        if block not in targets or not given:
            return value
        inside = now.inside(value.shape[1])
        chosen = _last(inside) if tokens is None else tokens(inside)
        more = value + strength * sum(given[1:], given[0])
        more = more * (value.norm(dim=-1, keepdim=True) / more.norm(dim=-1, keepdim=True).clamp(min=1e-30))
        return more.where(chosen.unsqueeze(-1), value)

    blocks = sorted({*sources, *targets})
    steps = tuple(Step(block, site, partial(function, block=block)) for block in blocks)
    return Change(f"{site} of blocks {', '.join(map(str, sorted(sources)))} given to later ones", steps)


def _last(inside: Tensor) -> Tensor:
    """Return the last token of every stimulus that stands for something, bool ``(n, T)``."""
    return inside & (inside.flip(1).cumsum(1).flip(1) == 1)


def clamp(block: int, heads: Sequence[int], pattern: Tensor, mask: Tensor, strength: float = 1.0) -> Change:
    """Hold attention of some heads to a pattern where a mask says so.

    Parameters
    ----------
    block : int
    heads : sequence of int
    pattern : Tensor (T, T), or (n, T, T) by row of the stimuli
    mask : Tensor
        bool, of the pattern's shape.
    strength : float
        1 puts the pattern in the place of the attention; less mixes the two.
    """

    def function(value: Tensor, now: Pass) -> Tensor:
        import torch

        rows = torch.from_numpy(now.rows)
        held = (pattern if pattern.ndim == 2 else pattern[rows]).to(value)
        where = (mask if mask.ndim == 2 else mask[rows]).to(value.device)
        value = value.clone()
        for head in heads:
            mixed = strength * held + (1 - strength) * value[:, head]
            value[:, head] = mixed.where(where, value[:, head])
        return value

    return Change(f"clamped heads {', '.join(map(str, heads))} of block {block}", (Step(block, "pattern", function),))


def steer(direction: Mapping[int, Tensor], strength: float, weights: Mapping[int, float] | None = None) -> Change:
    """Add a direction ``(d,)`` a block to its output, times `strength` and the block's weight (1 without)."""

    def push(block: int) -> StepFunction:
        size = strength * (1.0 if weights is None else weights[block])
        return lambda value, _now: value + size * direction[block].to(value)

    blocks = sorted(direction)
    return Change(
        f"steer blocks {', '.join(map(str, blocks))} by {strength:g}",
        tuple(Step(block, "resid_post", push(block)) for block in blocks),
    )


def set_coordinate(
    block: int, features: Sequence[int], value: Tensor | None = None, token: int | None = None
) -> Change:
    """Set features of a block's output to given values ``(n_features,)``, such as their mean, or to 0 without.

    Parameters
    ----------
    block : int
    features : sequence of int
    value : Tensor, optional
    token : int, optional
        One token; all without.
    """

    def function(state: Tensor, _now: Pass) -> Tensor:
        state = state.clone()
        at: Any = slice(None) if token is None else slice(token, token + 1)
        state[:, at, list(features)] = 0 if value is None else value.to(state)
        return state

    what = "0" if value is None else "given values"
    return Change(
        f"features {', '.join(map(str, features))} of block {block} at {what}", (Step(block, "resid_post", function),)
    )
