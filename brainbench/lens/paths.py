"""Who reads whom: hidden units that carry a region's response, what heads send, what blocks do without earlier ones.

Conductance needs captum (extra ``lens``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Pool
from brainbench.encoders.capture import Edit
from brainbench.encoders.network import NetworkEncoder
from brainbench.encoders.sites import family_of
from brainbench.lens.edits import Change, Pass, Step
from brainbench.lens.measure import counted, tokens_of
from brainbench.lens.running import edit_of
from brainbench.networks.devices import in_batches

if TYPE_CHECKING:
    from torch import Tensor

MOST = 64
"""Stimuli: each costs a pass forward and back for every step."""
SILENT = 1e-6
"""Of the stream's norm: less than that a block does not add."""


def conductance(
    encoder: NetworkEncoder,
    stimuli: Stimuli,
    rows: Sequence[int],
    weights: np.ndarray,
    *,
    pool: Pool = "mean",
    n_steps: int = 20,
) -> np.ndarray:
    """Return what every hidden unit adds to a region's predicted response, ``(n_blocks, n_rows, n_units)``.

    The response is that of a linear head of the last layer. The path of integration leads from 0 to what block 0 is
    given; units of one block add up to the difference of the response at its ends, tokens summed, but for what passes
    by the units: where a block has a stream beside its MLP, that is its share (captum's `LayerConductance`).

    Parameters
    ----------
    encoder : NetworkEncoder
    stimuli : Stimuli
    rows : sequence of int
        At most `MOST`.
    weights : ndarray (n_features,)
        Head of a region: mean over its targets, in units of raw features of the last layer.
    pool : {"mean", "cls", "flatten"}
    n_steps : int
        Of the integral.

    Raises
    ------
    UserError
        If captum is missing, there are too many stimuli, or the sites of the network are not known.
    """
    import torch

    LayerConductance = _captum()
    if len(rows) > MOST:
        raise UserError(f"conductance of {len(rows)} stimuli: at most {MOST}, each takes {n_steps} passes a block")
    n_blocks, last = len(encoder.stream) - 1, encoder.stream[-1]
    begin = encoder.site(0, "resid_pre")
    layers = [encoder.network.get_submodule(encoder.site(block, "mlp_act").module) for block in range(n_blocks)]
    head = torch.as_tensor(weights, dtype=torch.float32, device=encoder.device)
    found = []
    for row in rows:
        with torch.no_grad():
            given = encoder.run(encoder.inputs(stimuli, [row]), [begin])[begin.name]

        def response(state: Tensor, row: int = row) -> Tensor:
            made: dict[str, Tensor] = {}
            inputs = encoder.inputs(stimuli, [row] * len(state))  # a step of the path each

            def look(value: Tensor) -> Tensor:
                made["last"] = encoder.pooled(value, last, pool, inputs)
                return value

            encoder.run(inputs, [], [Edit(begin, lambda _value: state), Edit(last, look)])
            return made["last"] @ head

        mine = []
        for layer in layers:
            parts = LayerConductance(response, layer).attribute(
                given.requires_grad_(True), n_steps=n_steps, attribute_to_layer_input=True
            )
            one = parts[0] if isinstance(parts, tuple) else parts
            mine.append(one.detach().flatten(0, -2).sum(0).cpu().numpy())
        found.append(np.stack(mine))
    return np.stack(found, axis=1)


def sent(encoder: NetworkEncoder, stimuli: Stimuli, rows: Sequence[int], change: Change) -> dict[int, Tensor]:
    """Return what a change of one block's heads adds to what its attention gives, ``(T, d)`` by row, for `path`.

    With that, what lies between sender and receiver gives what it gave, and later blocks see what the receiver makes of
    it, not what was sent: path patching with MLPs frozen.

    Parameters
    ----------
    encoder : NetworkEncoder
    stimuli : Stimuli
    rows : sequence of int
        One batch: texts are as long as the longest of them.
    change : Change
        Such as `ablate_heads`, or `patch` at ``z``.

    Raises
    ------
    UserError
        If blocks normalise after: what is sent is then no part of what later blocks are given.
    """
    import torch

    family = family_of(encoder.network, [tap.module for tap in encoder.stream[1:]])
    if family is None or family.norm not in ("pre", "parallel"):
        raise UserError(f"paths of {encoder.name}: only blocks that normalise before hand on what is sent as it is")
    inputs, at = encoder.inputs(stimuli, rows), encoder.site(change.first, "attn_out")
    now = Pass(np.asarray(rows), lambda length: counted(inputs, encoder.stream[1], length)[2])
    edits = [edit_of(encoder, step, now) for step in change.steps]
    with torch.inference_mode():
        clean, new = (tokens_of(encoder.run(inputs, [at], some)[at.name], at) for some in ((), edits))
    return dict(zip(map(int, rows), new - clean, strict=True))


@dataclass(frozen=True)
class Without:
    """How otherwise blocks add to the stream where an earlier one is skipped.

    Attributes
    ----------
    largest, high : ndarray (n_blocks, n_blocks)
        Skipped block by later block: |c - c'| / |c| of what the later one adds; the largest of all tokens, and their
        95th percentile. NaN where the second block is not later.
    silent : bool ndarray (n_blocks,)
        Blocks that add nothing to any token; what is divided by is held above `SILENT` of the stream.
    """

    largest: np.ndarray
    high: np.ndarray
    silent: np.ndarray


def without(
    encoder: NetworkEncoder, stimuli: Stimuli, rows: Sequence[int], kind: Literal["total", "direct"] = "total",
    *, skipped: Callable[[Tensor], Tensor] | None = None, read: Callable[[Tensor], Tensor] | None = None,
) -> Without:  # fmt: skip
    """Return what every later block adds otherwise where a block is skipped (arXiv:2505.13898).

    Class, separator and first tokens go through all blocks and are not read, as the paper's code has it of the first.

    Parameters
    ----------
    encoder : NetworkEncoder
    stimuli : Stimuli
    rows : sequence of int
    kind : {"total", "direct"}
        Whether what changes is handed on, or every later block alone is given the stream without what the skipped one
        added: what it reads of it itself.
    skipped, read : callable, optional
        From the tokens that stand for something, bool ``(n, T)``, to those at which blocks are skipped, or read; by
        default all of them. Skipped before a place and read behind it, it is the paper's effect on future tokens.

    Raises
    ------
    UserError
        If blocks normalise after: what they give is then not what they are given and what they add.
    """
    import torch

    family = family_of(encoder.network, [tap.module for tap in encoder.stream[1:]])
    if family is not None and family.norm == "post":
        raise UserError(f"{encoder.name}: blocks that normalise after add nothing to a stream that could be compared")
    encoder.check_stimuli(stimuli)
    blocks = range(len(encoder.stream) - 1)
    before, behind = ([encoder.site(block, site) for block in blocks] for site in ("resid_pre", "resid_post"))
    n, size, read_at = encoder.reads(stimuli, rows, "mean")
    found: dict[tuple[int, int], list[np.ndarray]] = {(s, t): [] for s in blocks for t in blocks if s < t}
    silent = np.ones(len(blocks), dtype=bool)

    def forward(places: range) -> None:
        part = read_at(places)
        inputs = part.inputs

        def ran(steps: Sequence[Step]) -> tuple[list[Tensor], list[Tensor]]:
            edits = [edit_of(encoder, step, Pass(np.asarray(part.rows), lambda _length: inside)) for step in steps]
            values = encoder.run(inputs, [*before, *behind], edits)
            return [tokens_of(values[at.name], at) for at in before], [tokens_of(values[at.name], at) for at in behind]

        given, gave = ran(())
        inside = counted(inputs, encoder.stream[1], given[0].shape[1])[2].to(given[0].device)
        gone = (inside if skipped is None else skipped(inside)).unsqueeze(-1)
        looked = inside if read is None else read(inside)
        added = [new - old for old, new in zip(given, gave, strict=True)]
        least = [SILENT * one.norm(dim=-1) for one in given]
        for block in blocks:
            silent[block] &= bool((added[block].norm(dim=-1) <= least[block])[inside].all())
        for s in blocks:
            taken = added[s].where(gone, 0)
            if kind == "total":
                steps = [Step(s, "resid_post", partial(_put, value=gave[s] - taken))]
            else:  # each is given the stream without it, and hands on what it gave: the next one knows nothing of it
                steps = [Step(t, "resid_pre", partial(_put, value=given[t] - taken)) for t in blocks[s + 1 :]]
                steps += [Step(t, "resid_post", partial(_put, value=gave[t])) for t in blocks[s + 1 :]]
            now_given, now_gave = ran(steps)
            for t in blocks[s + 1 :]:
                start = now_given[t] if kind == "total" else now_given[t] - taken
                apart = (now_gave[t] - start - added[t]).norm(dim=-1) / added[t].norm(dim=-1).maximum(least[t])
                found[s, t].append(apart[looked].cpu().numpy())

    with torch.inference_mode():
        for _ in in_batches(n, size, forward):
            pass
    largest, high = np.full((2, len(blocks), len(blocks)), np.nan)
    for pair, parts in found.items():
        every = np.concatenate(parts)
        largest[pair], high[pair] = every.max(), np.quantile(every, 0.95)
    return Without(largest, high, silent)


def _put(_value: Tensor, _now: Pass, value: Tensor) -> Tensor:
    return value


def unit_path(values: np.ndarray) -> np.ndarray:
    """Return one hidden unit a block, that of the largest mean conductance, int ``(n_blocks,)``.

    Conductances add up, so that the best path takes the best unit of every block. The released score of Wang et al.
    (2025, arXiv:2503.09046) is `joint_score`, which does not add up.

    Parameters
    ----------
    values : ndarray (n_blocks, n_stimuli, n_units)
    """
    return np.asarray(values.mean(axis=1).argmax(axis=1))


def path_stability(values: np.ndarray, share: float = 0.05) -> np.ndarray:
    """Return how much the strongest units of the two halves of the stimuli overlap, by block (Jaccard)."""
    n_units = values.shape[2]
    k = max(1, round(share * n_units))
    halves = [values[:, start::2].mean(axis=1).argsort(axis=1)[:, -k:] for start in (0, 1)]
    return np.array([len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in zip(*halves, strict=True)])


def joint_score(units: np.ndarray, gradients: np.ndarray) -> float:
    """Return the released score of a path: the sum of its units times the sum of their mean gradients.

    It is no share of the response: for a linear one it may be 0 where the units add 3.
    """
    return float(units.sum() * gradients.sum())


def _captum() -> Any:
    try:
        from captum.attr import LayerConductance
    except ImportError:
        raise UserError("conductance needs the package captum", hint="pip install 'brainbench[lens]'") from None
    return LayerConductance
