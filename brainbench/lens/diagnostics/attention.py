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
OF_SENSORS = "tokens are of sensors: distances are in cm and ms"
NO_SENSORS = "tokens are no sensors whose places are known"
NO_PLACE = "tokens are of no one sensor whose place is known"
NO_TIME = "tokens have a place and no time: each is of a whole signal"


def attention(block: Block) -> Mapping[str, Tensor | str]:
    """Return mutual information, window, entropy, distance and sinks of attention, means over heads.

    Rows of the pattern are normalised again over the tokens that stand for something. Where heads see one line of
    tokens alone, a line is what others' whole sequence is: numbers are means over lines.
    """
    import torch

    pattern = block["pattern"]
    if block.lines:
        parts = [_along(pattern[:, heads], tokens, block) for heads, tokens in block.lines]
        heads = {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
    else:
        heads = _heads(pattern, block.inside, block.real, block.places)
    found: dict[str, Tensor | str] = {name: heads[name].nanmean(1) for name in OVER_HEADS}
    found["nmi_low"], found["nmi_high"] = _ends(heads["nmi"])
    found |= dict.fromkeys(("distance", "distance_low", "distance_high"), NOT_A_SEQUENCE)
    found |= dict.fromkeys(("distance_cm", "lag_ms"), NO_SENSORS)
    units = set(block.places)
    if units & {"cm", "ms"}:
        found |= dict.fromkeys(("distance", "distance_low", "distance_high"), OF_SENSORS)
        found |= {"distance_cm": NO_PLACE, "lag_ms": NO_TIME}
    for unit in units:
        if unit in ("cm", "ms"):
            found["distance_cm" if unit == "cm" else "lag_ms"] = heads[unit].nanmean(1)
        else:
            low, high = _ends(heads[unit])
            found |= {"distance": heads[unit].nanmean(1), "distance_low": low, "distance_high": high}
    return found


OVER_HEADS = ("nmi", "nmi_no_sink", "nmi_mask", "eff_window", "attn_entropy", "sink_mass", "inside_sink")
"""Columns that are means over heads."""


def _ends(heads: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lowest and the highest head's number, ``(n,)``; heads without one do not count."""
    import torch

    none = heads.isnan()
    low, high = heads.where(~none, torch.inf).amin(1), heads.where(~none, -torch.inf).amax(1)
    return low.where(~none.all(1), torch.nan), high.where(~none.all(1), torch.nan)


def _heads(pattern: Tensor, inside: Tensor, real: Tensor, places: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return every number by head, ``(n, heads)``, and mean distances by unit."""
    import torch

    A, n_tokens = _among(pattern, inside)
    known = (n_tokens >= FEWEST).unsqueeze(1)
    some = n_tokens.clamp(min=FEWEST).unsqueeze(1)  # against every head
    rows = _entropy(A)
    weight = _queries(A, inside)
    received = _over_queries(A, weight)
    along = (rows * weight.unsqueeze(1)).sum(2)
    nmi = _nmi(received, along, some)
    found = {
        "nmi": nmi,
        "nmi_no_sink": _without(A, rows, received, weight, some),
        "nmi_mask": _of_mask(A, some).unsqueeze(1).expand_as(nmi),
        "eff_window": some ** (1 - nmi) / some,
        "attn_entropy": along / some.log(),
        "inside_sink": received.amax(2),
        **_distances(places, inside, A, weight),
    }
    return {name: value.where(known, torch.nan) for name, value in found.items()} | {"sink_mass": sink(pattern, real)}


def _along(pattern: Tensor, tokens: Tensor, block: Block) -> dict[str, Tensor]:
    """Return every number of heads that see one line of tokens alone: means over lines that hold a part of the signal.

    Parameters
    ----------
    pattern : Tensor (n, heads, T, T)
    tokens : Tensor (n_lines, length)
    block : Block
    """
    import torch

    n = len(pattern)
    own = pattern[:, :, tokens.unsqueeze(2), tokens.unsqueeze(1)].transpose(1, 2).flatten(0, 1)
    inside, real = (each[:, tokens].flatten(0, 1) for each in (block.inside, block.real))
    places = {unit: where[tokens] for unit, where in block.places.items()}
    found = _heads(own, inside, real, {unit: where.repeat(n, 1, 1) for unit, where in places.items()})
    for unit, where in places.items():
        if bool((where == where[:, :1]).all()):  # nothing lies apart along these lines
            found[unit] = torch.full_like(found[unit], torch.nan)
    return {name: value.unflatten(0, (n, -1)).nanmean(1) for name, value in found.items()}


def sink(pattern: Tensor, real: Tensor) -> Tensor:
    """Return what the most attended token receives from the others, mean over them, ``(n, heads)``.

    Class, separator and first tokens are among those that may be it.
    """
    import torch

    both = real.to(pattern.dtype)
    others = (real.sum(1) - 1).clamp(min=1)
    received = _over_queries(pattern, both) - pattern.diagonal(dim1=2, dim2=3) * both.unsqueeze(1)
    received = received.where(real.unsqueeze(1), 0) / others[:, None, None]
    return received.amax(2).where((real.sum(1) > 1).unsqueeze(1), torch.nan)


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


def _distances(places: Mapping[str, Tensor], inside: Tensor, A: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Return how far apart query and key lie, by unit, ``(n, heads)``.

    Places are the same of all rows, ``(T, n_dimensions)``, or each row's own, ``(n, T, n_dimensions)``.
    """
    import torch

    found = {}
    cut = A.shape[2] != inside.shape[1]
    for unit, where in places.items():
        there = where[..., inside[0], :] if cut else where
        apart = torch.cdist(there, there, compute_mode="donot_use_mm_for_euclid_dist")
        if cut and apart.ndim == 2:  # queries and places are the same of all stimuli
            found[unit] = A.flatten(2) @ (apart / len(apart)).flatten()
        else:
            found[unit] = (A.flatten(2) @ (apart * weight.unsqueeze(2)).flatten(1).unsqueeze(2))[..., 0]
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
