"""Edits of a network: small changes of values at sites, after which everything behind them is computed anew.

A `Change` is steps at sites of blocks; builders make the published ones, which `EDITS` names.
"""

from __future__ import annotations

from brainbench.lens.edits.base import Change, EditKind, Pass, Step, StepFunction, together
from brainbench.lens.edits.blocks import Spread, brain_lens, last_active, skip, skip_control
from brainbench.lens.edits.parts import (
    ablate_heads,
    ablate_units,
    erase,
    erase_control,
    sparsify,
    sparsify_control,
    thresholds,
)
from brainbench.lens.edits.values import clamp, inject, patch, path, set_coordinate, steer

__all__ = [
    "EDITS",
    "Change",
    "EditKind",
    "Pass",
    "Spread",
    "Step",
    "StepFunction",
    "ablate_heads",
    "ablate_units",
    "brain_lens",
    "clamp",
    "erase",
    "erase_control",
    "inject",
    "last_active",
    "patch",
    "path",
    "set_coordinate",
    "skip",
    "skip_control",
    "sparsify",
    "sparsify_control",
    "steer",
    "thresholds",
    "together",
]

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
        EditKind(
            "brain-lens", f"after the readout lens ({DEPTH}), with the head of a region", "block L(h) := block l(h)",
            "resid_post", brain_lens,
        ),
        EditKind("erase", DEPTH, "h[t] := mean of h over stimuli and tokens", "resid_pre", erase),
        EditKind("heads", REUSE, "z[head] := its mean", "z", ablate_heads),
        EditKind("units", "arXiv:2409.02877, arXiv:2502.11096", "units := their mean, or 0", "mlp_act", ablate_units),
        EditKind(
            "sparsify", "CHESS (2024), arXiv:2409.01366; Li et al. (2023), arXiv:2210.06313",
            "act := act where |act| > t, or among the largest", "mlp_act", sparsify,
        ),
        EditKind(
            "patch", "FCCT (2025), arXiv:2511.05923", "value := that of another run, here or at any site", "resid_post",
            patch,
        ),
        EditKind("path", REUSE, "block(h) := block(h + s) - s, s sent by heads before", "resid_pre", path),
        EditKind(
            "inject", "FCCT (2025), arXiv:2511.05923",
            "a_t := (a_t + s sum_k w_k a_k) |a_t| / |a_t + s sum_k w_k a_k|, k < t; of attention or MLP", "attn_out",
            inject,
        ),
        EditKind(
            "clamp", "Singh et al. (2024), arXiv:2404.07129", "A := s P + (1 - s) A where the mask is set", "pattern",
            clamp,
        ),
        EditKind("steer", "arXiv:2505.20309", "h := h + s w v", "resid_post", steer),
        EditKind(
            "set-coordinate", "Sun et al. (2024), arXiv:2402.17762; arXiv:2510.22603",
            "h[features] := given values, such as their mean, or 0", "resid_post", set_coordinate,
        ),
    )
}  # fmt: skip
"""Every edit by name, with who published it."""
