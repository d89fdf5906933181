"""Edits of a network: small changes of values at sites, after which everything behind them is computed anew.

A `Change` is steps at sites of blocks; builders below make the published ones. Values of a site come as
`brainbench.encoders.sites` lays them out, and a step returns one of the same shape. Steps of one pass share a memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.encoders.sites import Site

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Pass:
    """One forward pass under a change.

    Parameters
    ----------
    rows : ndarray (n,)
        Which stimuli run.
    inside : callable
        From a number of tokens to those that stand for something, bool ``(n, T)``.
    memory : dict
        What steps of this pass leave for later steps of it.
    """

    rows: np.ndarray
    inside: Callable[[int], Tensor]
    memory: dict[Any, Tensor] = field(default_factory=dict)


StepFunction = Callable[["Tensor", Pass], "Tensor"]


@dataclass(frozen=True)
class Step:
    """What happens at one site of one block."""

    block: int
    site: Site
    function: StepFunction


@dataclass(frozen=True)
class Change:
    """An edit: a name for people, and its steps.

    Parameters
    ----------
    name : str
        ``skip block 3``.
    steps : tuple of Step
    output : callable, optional
        From what one block was given and gives to what it gives instead, where that is all of the change: runs begin
        behind the block.
    """

    name: str
    steps: tuple[Step, ...]
    output: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def first(self) -> int:
        """The first block that it touches: those before it need not be computed again."""
        return min(step.block for step in self.steps)


@dataclass(frozen=True)
class EditKind:
    """A published edit.

    Parameters
    ----------
    name : str
    paper : str
    formula : str
    site : str
    build : callable
        The function below that makes it.
    """

    name: str
    paper: str
    formula: str
    site: Site
    build: Callable[..., Change]


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


# Whole blocks --------------------------------------------------------------------------------------------------------


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


# Tokens, heads, units ------------------------------------------------------------------------------------------------


def erase(block: int, mean: Tensor, tokens: Callable[[Tensor], Tensor] | None = None) -> Change:
    """Replace what a block is given, at some tokens, by the mean of other stimuli.

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


# Values --------------------------------------------------------------------------------------------------------------


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


REUSE = "Merullo et al. (2024), arXiv:2310.08744"
DEPTH = "Csordás et al. (2025), arXiv:2505.13898"
EDITS: dict[str, EditKind] = {
    kind.name: kind
    for kind in (
        EditKind("skip", DEPTH, "block(h) := h", "resid_post", skip),
        EditKind(
            "last-active", "Shemiranifar (2025), arXiv:2505.14467",
            "output of a token := that of the last block with d >= alpha (max - min of earlier d)", "resid_post",
            last_active,
        ),
        EditKind("erase", DEPTH, "h[t] := mean of h over other stimuli and tokens", "resid_pre", erase),
        EditKind("heads", REUSE, "z[head] := its mean", "z", ablate_heads),
        EditKind("units", "arXiv:2409.02877, arXiv:2502.11096", "units := their mean, or 0", "mlp_act", ablate_units),
        EditKind(
            "sparsify", "CHESS (2024), arXiv:2409.01366; Li et al. (2023), arXiv:2210.06313",
            "act := act where |act| > t, or among the largest", "mlp_act", sparsify,
        ),
        EditKind("patch", "FCCT (2025), arXiv:2511.05923", "value := that of a clean run", "resid_post", patch),
        EditKind("path", REUSE, "block(h) := block(h + s) - s, s sent by heads before", "resid_pre", path),
        EditKind(
            "inject", "FCCT (2025), arXiv:2511.05923",
            "a_t := (a_t + s sum_k w_k a_k) |a_t| / |a_t + s sum_k w_k a_k|, k < t", "attn_out", inject,
        ),
        EditKind(
            "clamp", "Singh et al. (2024), arXiv:2404.07129", "A := s P + (1 - s) A where the mask is set", "pattern",
            clamp,
        ),
        EditKind("steer", "arXiv:2505.20309", "h := h + s w v", "resid_post", steer),
        EditKind(
            "set-coordinate", "Sun et al. (2024), arXiv:2402.17762; arXiv:2510.22603",
            "h[features] := their mean, or 0", "resid_post", set_coordinate,
        ),
    )
}  # fmt: skip
"""Every edit by name, with who published it."""
