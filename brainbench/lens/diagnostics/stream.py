"""How much every block adds to its stream, and whether it adds, strengthens or erases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from brainbench.lens.base import Block, Column, Diagnostic

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-6
"""Norms of the stream below this count as this; a direction shorter than this is none."""
RATIO, COSINE = "norm of what is added / norm of the stream", "cosine of what is added with the stream"
NORMALISED = "the block normalises after each addition: what leaves it is not what came in plus what was added"
MORE = "the block gives something else than its input and what attention and MLP are known to add"
TOLERANCE = 1e-3
"""Of the largest value, that a sum may be off: networks compute in less than float32 too."""


def stream(block: Block) -> Mapping[str, Tensor | str]:
    """Return ratio and cosine of attention, MLP and both with the stream that each is added to."""
    before, attention, mlp = block["resid_pre"], block["attn_out"], block["mlp_out"]
    if block.norm != "post" and not _adds_up(block):
        return dict.fromkeys((column.name for column in diagnostic.columns), MORE)
    found: dict[str, Tensor | str] = {}
    for part, added, to in (
        ("attn", attention, before),
        ("mlp", mlp, block["resid_mid"]),
        ("layer", attention + mlp, before),
    ):
        size, held = added.norm(dim=-1), to.norm(dim=-1)
        cosine = (added * to).sum(-1) / (size * held).clamp(min=SMALLEST**2)
        found[f"r_{part}"] = block.mean(size / held.clamp(min=SMALLEST))
        found[f"cos_{part}"] = block.mean(cosine.where((size > SMALLEST) & (held > SMALLEST), float("nan")))
    if block.norm == "post":
        found |= dict.fromkeys(("r_layer", "cos_layer"), NORMALISED)
    return found


def _adds_up(block: Block) -> bool:
    """Return whether the stream is the sum that it is taken for: what the sites are called must be what they are."""
    after = block["resid_post"]
    made = block["resid_pre"] + block["attn_out"] + block["mlp_out"]
    return bool((made - after).abs().amax() <= TOLERANCE * after.abs().amax())


diagnostic = Diagnostic(
    name="stream",
    paper="Csordás, Manning and Potts (2025), Do language models use their depth efficiently?, arXiv:2505.13898",
    formula="|a|/|h|, |m|/|u|, |a+m|/|h| and cosines of the same pairs, means over tokens (u: stream after attention)",
    sites=("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"),
    columns=(
        Column("r_attn", "attention", RATIO),
        Column("r_mlp", "MLP", RATIO),
        Column("r_layer", "both", RATIO),
        Column("cos_attn", "attention", COSINE),
        Column("cos_mlp", "MLP", COSINE),
        Column("cos_layer", "both", COSINE),
    ),
    function=stream,
    caution="A cosine near 0 writes new directions, above 0 it strengthens what is there, below 0 it takes away; where "
    "features share directions it can do each of them at once. A small ratio late in a network is not an unused block.",
)
