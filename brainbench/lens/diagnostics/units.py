"""How many hidden units do the work, how large the largest value of the stream is, and how alike tokens become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import TYPE_CHECKING

from brainbench.encoders.sites import Site
from brainbench.lens.base import Block, Column, Diagnostic, Looked

if TYPE_CHECKING:
    from torch import Tensor

ACTIVE = 0.01
"""A unit is active, relatively, above so much of the stimulus's 99.9th percentile."""
PERCENTILE = 0.999
ENERGY = 0.95
"""Of the squared size of what units write."""
SAMPLE = 16
"""Tokens of a stimulus that are compared with one another, evenly spread: as many everywhere."""
SAMPLED = 4000
"""Values that tell about where a quantile lies."""
CLUSTERS, COMPONENTS, RESTARTS = 100, 32, 3
"""k-means of tokens, in so many principal components of standardised features."""
PER_CLUSTER = 5
"""Tokens a cluster, below which no entropy is computed."""
SMOOTH = "the nonlinearity is never exactly 0: no unit is off"
FEW_TOKENS = f"stimuli have fewer than {SAMPLE} tokens"
FEW = f"fewer than {PER_CLUSTER * CLUSTERS} tokens: no {CLUSTERS} clusters"


def units(block: Block) -> Mapping[str, Tensor | str]:
    """Return sparsity of hidden units and the largest value of the stream; keep a sample of tokens."""
    stream, act = block["resid_post"], _size(block, "mlp_act")
    found: dict[str, Tensor | str] = {"active_exact": SMOOTH}
    if block.rectified:
        found["active_exact"] = block.mean((act > 0).float().mean(-1))
    found["active_rel"] = _active(act, block)
    first = act.sum(-1)
    squares = act.square_()  # in its own place: to make room for it would take as long as the squares
    second = squares.sum(-1).sqrt()
    root = act.shape[-1] ** 0.5
    hoyer = (root - first / second.clamp(min=1e-30)) / (root - 1)
    found["hoyer"] = block.mean(hoyer.where(second > 0, float("nan")))
    found["n95"] = _n95(squares, block)
    found |= _massive(block)
    found["first_token_cos"] = block.mean(_cosine(stream, stream[:, :1]))
    found["sample"] = _sample(stream, block)
    return found


def _size(block: Block, site: Site) -> Tensor:
    """Return absolute values, which may be written into: blocks of a batch share the room, as making it takes long."""
    import torch

    value = block[site]
    room = block.carry.get(site)
    if room is None or room.shape != value.shape:
        room = block.carry[site] = torch.empty_like(value)
    return torch.abs(value, out=room)


def _active(act: Tensor, block: Block) -> Tensor:
    """Return the share of hidden units above `ACTIVE` of the stimulus's own percentile, ``(n,)``."""
    found = []
    for values, keep in zip(act, block.keep, strict=True):
        rows = keep.nonzero()[:, 0]
        together = len(rows) > 0 and int(rows[-1]) - int(rows[0]) + 1 == len(rows)
        flat = (values[int(rows[0]) : int(rows[-1]) + 1] if together else values[keep]).flatten()  # a view is faster
        if not len(flat):
            found.append(float("nan"))
            continue
        limit = ACTIVE * _smallest(flat, 1 + round(PERCENTILE * (len(flat) - 1)))
        found.append(int((flat > limit).count_nonzero()) / len(flat))
    return act.new_tensor(found)


def _n95(squares: Tensor, block: Block) -> Tensor:
    """Return the smallest share of units that hold 95 % of the squared size of what is written, ``(n,)``."""
    import torch

    weight = squares.new_ones(squares.shape[-1]) if block.out_norm is None else block.out_norm
    size = (block.keep.to(squares.dtype).unsqueeze(1) @ squares)[:, 0]
    held = (size * weight.square()).double().sort(dim=1, descending=True).values.cumsum(1)
    total = held[:, -1:]
    needed = (held < ENERGY * total).sum(1) + 1
    return torch.where(total[:, 0] > 0, needed / squares.shape[-1], torch.nan)


def _massive(block: Block) -> dict[str, Tensor | str]:
    """Return the largest value beside the median of all, where it stands, and what tells its origin."""
    import torch

    size = _size(block, "resid_post")
    if not bool(block.real.all()):
        size *= block.real.unsqueeze(-1)
    flat, width = size.flatten(1), size.shape[-1]
    peak, at = size.max(1)
    largest, feature = peak.max(1)
    entries = block.real.sum(1) * width
    # Padding is 0: the median of the rest stands behind it.
    place = flat.shape[1] - entries + (entries + 1) // 2
    median = torch.stack([_smallest(row, int(k)) for row, k in zip(flat, place.tolist(), strict=True)])
    ratio = torch.where(median > 0, largest / median, torch.nan)
    expected = torch.tensor([gaussian_ratio(int(count)) for count in entries.tolist()], device=ratio.device)
    rows = torch.arange(len(size), device=size.device).unsqueeze(1)
    features = torch.arange(width, device=size.device)
    by_mlp = block["mlp_out"][rows, at, features].abs() > block["attn_out"][rows, at, features].abs()
    return {
        "massive_ratio": ratio,
        "massive_excess": ratio / expected,
        "massive_token": at[rows[:, 0], feature].float(),
        "massive_feature": feature.float(),
        "peak": peak,
        "by_mlp": by_mlp,
    }


def _smallest(values: Tensor, k: int) -> Tensor:
    """Return the k-th smallest value, from 1.

    On a CPU it is sought between two values of a sample that ought to hold it, and among all where they do not.
    """
    import numpy as np

    if values.is_cuda:
        return values.kthvalue(k).values
    every, n = values.numpy(), len(values)
    some = np.sort(every[:: max(1, n // SAMPLED)])
    place, share = k / n * len(some), k / n
    width = 4 * np.sqrt(len(some) * share * (1 - share)) + 8
    low = some[int(place - width)] if place > width else -np.inf
    high = some[int(place + width)] if place + width < len(some) else np.inf
    below, middle = int(np.count_nonzero(every < low)), every[(every >= low) & (every <= high)]
    if not below < k <= below + len(middle):
        below, middle = 0, every
    return values.new_tensor(float(np.partition(middle, k - below - 1)[k - below - 1]))


def gaussian_ratio(n: int) -> float:
    """Return about what the largest of `n` normal values is, in medians of their sizes.

    The quantile that is exceeded once in n on average, moved by Euler's constant in units of the extreme's scale
    (Gumbel); within 1 % of simulated means from 1,000 values on.
    """
    from scipy.special import ndtri

    n = max(n, 2)
    a = float(ndtri(1 - 1 / (2 * n)))
    b = float(ndtri(1 - 1 / (2 * n * 2.718281828459045))) - a
    return (a + 0.5772156649015329 * b) / float(ndtri(0.75))


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    size = a.norm(dim=-1) * b.norm(dim=-1)
    return ((a * b).sum(-1) / size.clamp(min=1e-30)).where(size > 0, float("nan"))


def _sample(stream: Tensor, block: Block) -> Tensor:
    """Return evenly spread tokens of every stimulus, ``(n, SAMPLE, d)``; NaN of stimuli with fewer."""
    import torch

    n_tokens = block.keep.sum(1)
    order = block.keep.to(torch.int8).argsort(dim=1, descending=True, stable=True)
    step = torch.arange(SAMPLE, device=stream.device)
    chosen = (step * n_tokens.unsqueeze(1)) // SAMPLE
    place = order.gather(1, chosen.clamp(max=stream.shape[1] - 1))
    values = stream.gather(1, place.unsqueeze(-1).expand(-1, -1, stream.shape[-1]))
    return values.masked_fill((n_tokens < SAMPLE)[:, None, None], float("nan"))


# All blocks and stimuli together -------------------------------------------------------------------------------------


def across(kept: Mapping[str, Sequence[Tensor]], looked: Looked) -> Mapping[str, Tensor | str]:
    """Return where the largest value of the last block comes from, and how alike and how various tokens are."""
    import torch

    peak, by_mlp, sample = (torch.stack(list(kept[name])) for name in ("peak", "by_mlp", "sample"))
    return {**origin(peak, by_mlp), **similarity(sample, looked.seed)}


def origin(peak: Tensor, by_mlp: Tensor) -> dict[str, Tensor]:
    """Return whether a block is the first in which the last block's largest feature exceeds half its final size.

    Parameters
    ----------
    peak : Tensor (n_blocks, n, d)
        Largest size of every feature over tokens.
    by_mlp : Tensor (n_blocks, n, d)
        Whether the MLP rather than attention wrote most of it there.
    """
    import torch

    n_blocks, n, _ = peak.shape
    feature = peak[-1].argmax(1)
    rows = torch.arange(n)
    size = peak[:, rows, feature]
    first = (size >= 0.5 * size[-1]).to(torch.int8).argmax(0)
    here = torch.arange(n_blocks).unsqueeze(1) == first
    mlp = by_mlp[:, rows, feature]
    return {"origin_attn": (here & ~mlp).float(), "origin_mlp": (here & mlp).float()}


def similarity(sample: Tensor, seed: int) -> dict[str, Tensor | str]:
    """Return cosines of tokens, the rank of a stimulus's tokens, and entropy and variance over all tokens."""
    import torch

    names = ("token_cos", "token_cos_centred", "eff_rank", "act_entropy", "act_var")
    known = ~torch.isnan(sample[0, :, 0, 0])
    if not bool(known.any()):
        return dict.fromkeys(names, FEW_TOKENS)
    n_blocks, n = sample.shape[:2]
    found: dict[str, Tensor | str] = {name: torch.full((n_blocks, n), float("nan")) for name in names}
    enough = int(known.sum()) * SAMPLE >= PER_CLUSTER * CLUSTERS
    for block in range(n_blocks):
        tokens = sample[block, known].double()
        every = tokens.flatten(0, 1)
        row: dict[str, Tensor] = {
            "token_cos": _mean_cosine(tokens),
            "token_cos_centred": _mean_cosine(tokens - every.mean(0)),
            "eff_rank": effective_rank(tokens),
            "act_var": (every.var(0, unbiased=False).mean() / every.square().mean()).expand(len(tokens)),
        }
        if enough:
            row["act_entropy"] = torch.full((len(tokens),), clustered_entropy(every, CLUSTERS, seed))
        for name, value in row.items():
            cell = found[name]
            assert not isinstance(cell, str)
            cell[block, known] = value.float()
    return found if enough else found | {"act_entropy": FEW}


def _mean_cosine(tokens: Tensor) -> Tensor:
    """Return the mean cosine of all pairs of different tokens, ``(n,)``."""
    unit = tokens / tokens.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    n_tokens = tokens.shape[1]
    return (unit.sum(1).square().sum(-1) - n_tokens) / (n_tokens * (n_tokens - 1))


def effective_rank(tokens: Tensor) -> Tensor:
    """Return exp of the entropy of the singular values, as shares, of each stimulus's tokens, ``(n,)``."""
    import torch

    values = torch.linalg.eigvalsh(tokens @ tokens.transpose(1, 2)).clamp(min=0).sqrt()
    share = values / values.sum(1, keepdim=True).clamp(min=1e-30)
    return torch.special.entr(share).sum(1).exp()


def clustered_entropy(tokens: Tensor, n_clusters: int, seed: int) -> float:
    """Return the entropy of the sizes of k-means clusters of tokens, as a share of ln k."""
    import numpy as np
    import torch
    from sklearn.cluster import KMeans

    spread = tokens.std(0, unbiased=False)
    scaled = (tokens - tokens.mean(0)) / spread.where(spread > 0, 1)
    if not bool(scaled.any()):
        return 0.0
    n_components = min(COMPONENTS, *scaled.shape)
    basis = torch.linalg.eigh(scaled.T @ scaled).eigenvectors[:, -n_components:]
    labels = KMeans(n_clusters, n_init=RESTARTS, random_state=seed).fit_predict((scaled @ basis).numpy())
    share = np.bincount(labels, minlength=n_clusters) / len(labels)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum() / log(n_clusters))


ACTIVITY, COSINE = "share of hidden units", "cosine of tokens"
diagnostic = Diagnostic(
    name="units",
    paper="Li et al. (2023), The lazy neuron phenomenon, arXiv:2210.06313; massive activations: Sun et al. (2024), "
    "arXiv:2402.17762, and arXiv:2508.03616; token similarity: Ru et al. (2023), ToCo, arXiv:2303.01267; entropy: "
    "LUQ, arXiv:2509.23729",
    formula="share of hidden units that are not 0, or above 1 % of the stimulus's 99.9th percentile; smallest share "
    "with 95 % of what is written, squared; (sqrt(f) - |x|_1 / |x|_2) / (sqrt(f) - 1); largest / median size of the "
    f"stream; of {SAMPLE} tokens a stimulus: cosines, exp(entropy of singular values), entropy of {CLUSTERS} k-means "
    f"clusters ({COMPONENTS} components) / ln {CLUSTERS}, variance / mean square",
    sites=("mlp_act", "attn_out", "mlp_out", "resid_post"),
    columns=(
        Column("active_exact", "not exactly 0", ACTIVITY),
        Column("active_rel", "above 1 % of the largest", ACTIVITY),
        Column("n95", "hold 95 %", ACTIVITY),
        Column("hoyer", "Hoyer's sparsity", "sparsity of hidden units"),
        Column("massive_ratio", "largest / median", "largest value of the stream / median"),
        Column("massive_excess", "beside normal values", "largest value of the stream / median"),
        Column("massive_token", "token", "where the largest value stands", over="mode"),
        Column("massive_feature", "feature", "where the largest value stands", over="mode"),
        Column("origin_attn", "attention", "origin of the last block's largest feature"),
        Column("origin_mlp", "MLP", "origin of the last block's largest feature"),
        Column("first_token_cos", "with the first token", COSINE),
        Column("token_cos", "with one another", COSINE),
        Column("token_cos_centred", "without the mean token", COSINE),
        Column("eff_rank", "tokens of a stimulus", "effective rank"),
        Column("act_entropy", "entropy of clusters", "how various tokens are"),
        Column("act_var", "variance / mean square", "how various tokens are"),
    ),
    function=units,
    across=across,
    caution="A share of units that are not exactly 0 means something for ReLU alone; compare networks by the share "
    "that holds 95 %. A shared offset, or one huge feature, brings cosines near 1 by itself: see those without the "
    "mean token. Entropies hold for these numbers of clusters and tokens alone.",
)
