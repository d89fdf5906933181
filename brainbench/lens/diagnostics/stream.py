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
SHARE = "void: share of tokens"
NORMALISED = "the block normalises after each addition: what leaves it is not what came in plus what was added"
MORE = "the block gives something else than its input and what attention and MLP are known to add"
VOID = {"void_50": 0.5, "void_70": 0.7, "void_80": 0.8, "void_90": 0.9}
"""Shares of the range: one verdict each."""
NOT_VOID = 0.1
"""A block that adds so much of the stream's norm is not unused, whatever the norm does."""
TOLERANCE = 1e-3
"""Of the largest value, that a sum may be off: networks compute in less than float32 too."""


def stream(block: Block) -> Mapping[str, Tensor | str]:
    """Return ratio and cosine of attention, MLP and both with the stream that each is added to."""
    import torch

    before, attention, mlp = block["resid_pre"], block["attn_out"], block["mlp_out"]
    if block.norm != "post" and not _adds_up(block):
        _grown(block)
        return dict.fromkeys((column.name for column in diagnostic.columns), MORE)
    found: dict[str, Tensor | str] = {}
    both, before_size = attention + mlp, before.norm(dim=-1)
    along = torch.empty_like(before)  # room that the three products share
    for part, added, to in (("attn", attention, before), ("mlp", mlp, block["resid_mid"]), ("layer", both, before)):
        size = added.norm(dim=-1)
        held = before_size if to is before else to.norm(dim=-1)
        cosine = torch.mul(added, to, out=along).sum(-1) / (size * held).clamp(min=SMALLEST**2)
        found[f"r_{part}"] = block.mean(size / held.clamp(min=SMALLEST))
        found[f"cos_{part}"] = block.mean(cosine.where((size > SMALLEST) & (held > SMALLEST), float("nan")))
    if block.norm == "post":
        return found | dict.fromkeys(("r_layer", "cos_layer", *VOID, "void_disagrees"), NORMALISED)
    return found | void(block, both.norm(dim=-1) / before_size.clamp(min=SMALLEST))


def void(block: Block, ratio: Tensor, *, inclusive: bool = False) -> dict[str, Tensor | str]:
    """Return the share of tokens whose norm grows less than a share of the range that its earlier growths span.

    Parameters
    ----------
    block : Block
    ratio : Tensor (n, T)
        Of what the block adds to the stream: a block that is void and adds more than `NOT_VOID` is told apart.
    inclusive : bool
        Whether the block's own growth belongs to the range; in the released code, and in the columns, it does not.
    """
    grown, before, so_far = _grown(block)
    span = so_far if inclusive else before
    found: dict[str, Tensor | str] = {}
    for name, alpha in VOID.items():
        found[name] = block.mean((grown < alpha * span).float())
    found["void_disagrees"] = block.mean(((grown < VOID["void_80"] * span) & (ratio > NOT_VOID)).float())
    return found


def _grown(block: Block) -> tuple[Tensor, Tensor, Tensor]:
    """Return how much every token's norm grows, and the range of its growth before and with this block, ``(n, T)``."""
    import torch

    grown = block["resid_post"].norm(dim=-1) - block["resid_pre"].norm(dim=-1)
    low, high = block.carry.get("low"), block.carry.get("high")
    span = torch.zeros_like(grown) if low is None or high is None else high - low
    block.carry["low"] = grown if low is None else torch.minimum(low, grown)
    block.carry["high"] = grown if high is None else torch.maximum(high, grown)
    return grown, span, block.carry["high"] - block.carry["low"]


def _adds_up(block: Block) -> bool:
    """Return whether the stream is the sum that it is taken for: what the sites are called must be what they are."""
    after = block["resid_post"]
    rest = (block["resid_pre"] + block["attn_out"]).add_(block["mlp_out"]).sub_(after)
    return bool(_largest(rest) <= TOLERANCE * _largest(after))


def _largest(values: Tensor) -> Tensor:
    low, high = values.aminmax()
    return high.maximum(-low)


diagnostic = Diagnostic(
    name="stream",
    paper="Csordás, Manning and Potts (2025), Do language models use their depth efficiently?, arXiv:2505.13898; "
    "void: Shemiranifar (2025), Void in language models, arXiv:2505.14467",
    formula="|a|/|h|, |m|/|u|, |a+m|/|h| and cosines of the same pairs, means over tokens (u: stream after attention); "
    "void: share of tokens with d < alpha (max - min of d in the blocks before), d the growth of |h| in the block",
    sites=("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"),
    columns=(
        Column("r_attn", "attention", RATIO),
        Column("r_mlp", "MLP", RATIO),
        Column("r_layer", "both", RATIO),
        Column("cos_attn", "attention", COSINE),
        Column("cos_mlp", "MLP", COSINE),
        Column("cos_layer", "both", COSINE),
        *(Column(name, f"alpha {alpha}", SHARE) for name, alpha in VOID.items()),
        Column("void_disagrees", f"alpha 0.8, and adds > {NOT_VOID}", SHARE),
    ),
    function=stream,
    caution="A cosine near 0 writes new directions, above 0 it strengthens what is there, below 0 it takes away; where "
    "features share directions it can do each of them at once. A small ratio late in a network is not an unused block. "
    "Void is no verdict: the range can only widen with depth, so that late blocks are void by construction, and after "
    "one huge norm all are.",
    version=2,
)
