"""Which hidden units carry a region's response, block by block: conductance and neuron paths; what heads send.

Conductance needs captum (extra ``lens``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Pool
from brainbench.encoders.capture import Edit
from brainbench.encoders.network import NetworkEncoder
from brainbench.encoders.sites import family_of
from brainbench.lens.edits import Change, Pass
from brainbench.lens.measure import counted, tokens_of
from brainbench.lens.running import edit_of

if TYPE_CHECKING:
    from torch import Tensor

MOST = 64
"""Stimuli: each costs a pass forward and back for every step."""


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
