"""Where attention goes: everywhere or to a few places, near or far, and how much of it to one token alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from brainbench.lens.base import Block, Column, Diagnostic

if TYPE_CHECKING:
    from torch import Tensor

FEWEST = 2
"""Tokens; with fewer there is nothing that attention could choose."""
LEAST_ENTROPY = 1e-5
"""Nats; keys with less are one key, and float32 says no more of them."""
NMI = "NMI of query and key"
DISTANCE = "mean distance of what is attended"
NOT_A_SEQUENCE = "where the tokens of this network lie is not known"
NO_SENSORS = "tokens are no sensors"


def attention(block: Block) -> Mapping[str, Tensor | str]:
    """Return mutual information, window, entropy, distance and sinks of attention, means over heads.

    Rows of the pattern are normalised again over the tokens that stand for something.
    """
    import torch

    pattern, inside = block["pattern"], block.inside
    found: dict[str, Tensor | str] = {"sink_mass": sink(pattern, block.real)}
    A, n_tokens = _among(pattern, inside)
    known = n_tokens >= FEWEST
    some = n_tokens.clamp(min=FEWEST).unsqueeze(1)  # against every head
    rows = _entropy(A)
    weight = _queries(A, inside)
    received = _over_queries(A, weight)
    along = (rows * weight.unsqueeze(1)).sum(2)
    nmi = _nmi(received, along, some)
    largest = received.amax(2)
    found["nmi"], found["nmi_low"], found["nmi_high"] = nmi.mean(1), nmi.amin(1), nmi.amax(1)
    found["nmi_no_sink"] = _without(A, rows, received, weight, some).mean(1)
    found["nmi_mask"] = _of_mask(A, some)
    found["eff_window"] = (some ** (1 - nmi) / some).mean(1)
    found["attn_entropy"] = (along / some.log()).mean(1)
    found["inside_sink"] = largest.mean(1)
    for name, value in found.items():
        if name != "sink_mass" and not isinstance(value, str):
            found[name] = torch.where(known, value, torch.nan)
    return found | _distances(block, A, weight, known)


def sink(pattern: Tensor, real: Tensor) -> Tensor:
    """Return what the most attended token receives from the others, mean over them and over heads, ``(n,)``.

    Class, separator and first tokens are among those that may be it.
    """
    import torch

    both = real.to(pattern.dtype)
    others = (real.sum(1) - 1).clamp(min=1)
    received = _over_queries(pattern, both) - pattern.diagonal(dim1=2, dim2=3) * both.unsqueeze(1)
    received = received.where(real.unsqueeze(1), 0) / others[:, None, None]
    return torch.where(real.sum(1) > 1, received.amax(2).mean(1), torch.nan)


def _among(pattern: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pattern among the tokens that stand for something, rows of sum 1, and how many these are.

    Where they are the same of all stimuli, the others are cut away; else they are 0.
    """
    n_tokens = inside.sum(1)
    if bool((inside == inside[:1]).all()) and bool(inside[0].any()):
        rows = inside[0].nonzero()[:, 0]
        first, last = int(rows[0]), int(rows[-1]) + 1
        if last - first == len(rows):
            A = pattern[:, :, first:last, first:last]
        else:
            A = pattern[:, :, rows][..., rows]
    else:
        A = pattern * (inside[:, None, :, None] & inside[:, None, None, :])
    total = A.sum(-1, keepdim=True)
    return A / total.clamp(min=1e-12), n_tokens


def _queries(A: Tensor, inside: Tensor) -> Tensor:
    """Return the weight of every query, ``(n, T)``: alike over the tokens that stand for something."""
    if A.shape[2] == inside.shape[1]:
        counted = inside.to(A.dtype)
        return counted / counted.sum(1, keepdim=True).clamp(min=1)
    return A.new_full((A.shape[0], A.shape[2]), 1 / max(A.shape[2], 1))


def _over_queries(A: Tensor, weight: Tensor) -> Tensor:
    """Return what every key receives, ``(n, heads, T)``, from queries of weights ``(n, T)``."""
    return (weight[:, None, None].expand(-1, A.shape[1], -1, -1) @ A)[:, :, 0]


def _entropy(p: Tensor) -> Tensor:
    """Return the entropy over the last axis, in nats; faster than PyTorch's `entr`: one array, written into."""
    return -p.clamp(min=1e-30).log_().mul_(p).sum(-1)  # 0 ln 0 is 0, and NaN stays NaN


def _nmi(received: Tensor, along: Tensor, n_tokens: Tensor) -> Tensor:
    """Return I(q; k) / sqrt(H(q) H(k)) with queries alike, ``(n, heads)``; 0 where all look at one key."""
    import torch

    keys = _entropy(received)
    scale = (n_tokens.log() * keys).clamp(min=0).sqrt()
    return torch.where(keys > LEAST_ENTROPY, (keys - along).clamp(min=0) / scale.clamp(min=1e-6), 0)


def _without(A: Tensor, rows: Tensor, received: Tensor, weight: Tensor, n_tokens: Tensor) -> Tensor:
    """Return NMI without the key that receives most, rows normalised again.

    Queries that look at nothing else count no more.
    """
    top = received.argmax(2)
    mass = A.gather(3, top[:, :, None, None].expand(-1, -1, A.shape[2], 1))[..., 0]
    left = 1 - mass
    looks = left > 1e-6
    safe = left.where(looks, 1)
    entropy = (rows + mass * mass.clamp(min=1e-30).log()) / safe + safe.log()
    share = weight.unsqueeze(1) * looks
    share = share / share.sum(2, keepdim=True).clamp(min=1e-12)
    keys = ((share / safe).unsqueeze(2) @ A)[:, :, 0]
    keys = keys.scatter(2, top.unsqueeze(2), 0)
    return _nmi(keys, (entropy * share).sum(2), n_tokens)


def _of_mask(A: Tensor, n_tokens: Tensor) -> Tensor:
    """Return the NMI that a mask alone makes: of a uniform pattern where no token sees those after it, ``(n,)``."""
    import torch

    some = range(0, A.shape[2], max(A.shape[2] // 8, 1))
    sees_later = torch.stack([(A[:, :, q, q + 1 :] != 0).flatten(1).any(1) for q in some]).any(0)
    if bool(sees_later.all()):
        return A.new_zeros(len(A))
    found = {}
    for count in n_tokens[:, 0].unique().tolist():
        k = torch.arange(1, int(count) + 1, dtype=A.dtype, device=A.device)
        received = (1 / k).flip(0).cumsum(0).flip(0) / count
        found[count] = _nmi(received.view(1, 1, -1), k.log().mean().view(1, 1), k.new_tensor([[count]]))[0, 0]
    return torch.stack([found[count] for count in n_tokens[:, 0].tolist()]).where(~sees_later, 0)


def _distances(block: Block, A: Tensor, weight: Tensor, known: Tensor) -> dict[str, Tensor | str]:
    """Return how far apart query and key lie, by unit, with the smallest and the largest head's."""
    import torch

    found: dict[str, Tensor | str] = dict.fromkeys(("distance", "distance_low", "distance_high"), NOT_A_SEQUENCE)
    found |= dict.fromkeys(("distance_cm", "lag_ms"), NO_SENSORS)
    cut = A.shape[2] != block.inside.shape[1]
    for unit, where in block.places.items():
        there = where[block.inside[0]] if cut else where
        apart = torch.cdist(there, there, compute_mode="donot_use_mm_for_euclid_dist")
        if cut:  # queries and places are the same of all stimuli
            mean = A.flatten(2) @ (apart / len(apart)).flatten()
        else:
            mean = (A.flatten(2) @ (apart * weight.unsqueeze(2)).flatten(1).unsqueeze(2))[..., 0]
        mean = torch.where(known.unsqueeze(1), mean, torch.nan)
        if unit in ("cm", "ms"):
            found["distance_cm" if unit == "cm" else "lag_ms"] = mean.mean(1)
        else:
            found |= {"distance": mean.mean(1), "distance_low": mean.amin(1), "distance_high": mean.amax(1)}
    return found


diagnostic = Diagnostic(
    name="attention",
    paper="Zhang et al. (2025), UNIP, arXiv:2502.02257; sinks: Xiao et al. (2024), arXiv:2309.17453, and "
    "Cappellazzo et al. (2025), arXiv:2510.22603",
    formula="NMI = I(q;k) / sqrt(H(q) H(k)), queries alike; window N^(1-NMI) / N; entropy of rows / ln N; mean "
    "distance of query and key; the most attended token's share; means over heads",
    sites=("pattern",),
    columns=(
        Column("nmi", "mean of heads", NMI),
        Column("nmi_low", "lowest head", NMI),
        Column("nmi_high", "highest head", NMI),
        Column("nmi_no_sink", "without the most attended key", NMI),
        Column("nmi_mask", "the mask alone", NMI),
        Column("eff_window", "share of keys", "effective window"),
        Column("attn_entropy", "mean of heads", "entropy of attention / ln N"),
        Column("distance", "mean of heads", DISTANCE),
        Column("distance_low", "nearest head", DISTANCE),
        Column("distance_high", "farthest head", DISTANCE),
        Column("distance_cm", "sensors", "distance of sensors (cm)"),
        Column("lag_ms", "sensors", "lag of tokens (ms)"),
        Column("sink_mass", "any token", "attention of one token"),
        Column("inside_sink", "tokens of the stimulus", "attention of one token"),
    ),
    function=attention,
    caution="NMI depends on the number of tokens and on the mask: a causal head that looks everywhere alike has the "
    "NMI of the column 'the mask alone', and no band of other papers carries over. Distances are in patches of the "
    "grid or in tokens. One much attended token lowers NMI by itself.",
)
