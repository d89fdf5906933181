"""Discrete codebooks: nearest code, moving-average updates, revival of dead codes, residual levels, rotation trick.

The arithmetic is that of vector-quantize-pytorch 1.32 (a test holds it to 1e-6), which differs from the released
BrainOmni code in what counts: sums start as code times count, and a revived code starts with both statistics new.
Module names are those of the published checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainbench.core.errors import UserError

Metric = Literal["euclidean", "cosine"]
Gradient = Literal["rotation", "straight", "whole"]

TINY = 1e-6
"""Least norm that is divided by."""


@dataclass(frozen=True)
class Usage:
    """How much of a codebook is used.

    Attributes
    ----------
    perplexity : float
        Exponential of the entropy of the codes: the number of codes, were all used alike.
    used : float
        Share of the codes that occur at all.
    size : int
        Number of codes.
    """

    perplexity: float
    used: float
    size: int


def usage_of(counts: Tensor) -> Usage:
    """Return how much of a codebook is used, from how often every code occurs ``(n_codes,)``."""
    counts = counts.double()
    share = counts / counts.sum().clamp(min=TINY)
    entropy = -(share * share.clamp(min=1e-300).log()).sum()
    return Usage(float(entropy.exp()), float((counts > 0).double().mean()), len(counts))


def rotate_to(source: Tensor, target: Tensor) -> Tensor:
    """Return `target` as a rotation and scaling of `source` that gradients pass through (Fifty et al. 2024).

    The value is `target`; the gradient that reaches `source` is turned back by the same rotation and scaled by
    ``|target| / |source|``.
    """
    norm, length = source.norm(dim=-1, keepdim=True), target.norm(dim=-1, keepdim=True)
    u = (source / norm.clamp(min=TINY)).detach()
    q = (target / length.clamp(min=TINY)).detach()
    w = F.normalize(u + q, dim=-1, eps=TINY)
    turned = source - 2 * (source * w).sum(-1, keepdim=True) * w + 2 * (source * u).sum(-1, keepdim=True) * q
    return turned * (length / norm.clamp(min=TINY)).detach()


def straight_through(source: Tensor, target: Tensor) -> Tensor:
    """Return `target`, with the gradient of `source`."""
    return source + (target - source).detach()


class Codebook(nn.Module):
    """Codes that follow the vectors they stand for.

    Parameters
    ----------
    size, width : int
        Number of codes, and values of each.
    metric : {"euclidean", "cosine"}
        With "cosine" vectors and codes have length one.
    decay : float
        Of the moving averages.
    smoothing : float
        Added to every count (Laplace).
    dead_below : float
        A code whose moving count falls below takes the place of a vector of the batch.
    kmeans_iterations, kmeans_vectors : int
        The codes begin as k-means of at most so many vectors of the first batch.
    """

    inited: Tensor
    cluster_size: Tensor
    embed: Tensor
    embed_avg: Tensor

    def __init__(
        self, size: int, width: int, *, metric: Metric = "euclidean", decay: float = 0.99, smoothing: float = 1e-6,
        dead_below: float = 2.0, kmeans_iterations: int = 10, kmeans_vectors: int = 4096,
    ) -> None:  # fmt: skip
        super().__init__()
        self.metric, self.decay, self.smoothing, self.dead_below = metric, decay, smoothing, dead_below
        self.kmeans_iterations, self.kmeans_vectors = kmeans_iterations, kmeans_vectors
        self.register_buffer("inited", torch.zeros(1))
        self.register_buffer("cluster_size", torch.zeros(size))
        self.register_buffer("embed", torch.zeros(size, width))
        self.register_buffer("embed_avg", torch.zeros(size, width))

    def prepared(self, x: Tensor) -> Tensor:
        """Return vectors as they are compared: of length one with the cosine."""
        return F.normalize(x, dim=-1, eps=TINY) if self.metric == "cosine" else x

    def nearest(self, x: Tensor) -> Tensor:
        """Return the code nearest to every vector ``(..., width)``."""
        x = self.prepared(x)
        near = x @ self.embed.T
        if self.metric == "euclidean":
            near = near - 0.5 * self.embed.square().sum(-1)
        return near.argmax(dim=-1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest codes' vectors ``(..., width)`` and numbers ``(...)``; in training, learn from them.

        Raises
        ------
        UserError
            If the first batch has fewer vectors than there are codes.
        """
        with torch.autocast(x.device.type, enabled=False):  # codes are found and moved in float32
            flat = self.prepared(x.detach().float()).reshape(-1, x.shape[-1])
            if self.training and not self.inited.item():
                self._begin(flat)
            indices = self.nearest(flat)
            chosen = F.embedding(indices, self.embed).to(x.dtype)
            if self.training:
                self._follow(flat, indices)
        return chosen.reshape(x.shape), indices.reshape(x.shape[:-1])

    def check_enough(self, n_vectors: int) -> None:
        """Refuse to begin with fewer vectors than codes."""
        size = len(self.embed)
        if n_vectors < size:
            raise UserError(
                f"codebook: the first batch gives {n_vectors:,} vectors for {size:,} codes, which would begin as "
                "duplicates",
                hint="take larger batches or longer segments, or fewer codes",
            )

    def usage(self) -> Usage:
        """Return how much is used, by the moving counts of training."""
        return usage_of(self.cluster_size)

    @torch.no_grad()
    def _begin(self, flat: Tensor) -> None:
        self.check_enough(len(flat))
        size = len(self.embed)
        if len(flat) > self.kmeans_vectors >= size:
            flat = flat[torch.randperm(len(flat), device=flat.device)[: self.kmeans_vectors]]
        centres, counts = kmeans(flat, size, self.kmeans_iterations, self.metric)
        self.cluster_size.copy_(counts)
        self.embed_avg.copy_(centres * counts[:, None])
        self._average()
        self.inited.fill_(1)

    @torch.no_grad()
    def _follow(self, flat: Tensor, indices: Tensor) -> None:
        counts, sums = _sums(flat, indices, len(self.embed))
        self.cluster_size.lerp_(counts, 1 - self.decay)
        self.embed_avg.lerp_(sums, 1 - self.decay)
        self._average()
        self._revive(flat)

    def _average(self) -> None:
        total = self.cluster_size.sum()
        smooth = (self.cluster_size + self.smoothing) / (total + len(self.embed) * self.smoothing) * total
        self.embed.copy_(self.prepared(self.embed_avg / smooth[:, None]))

    def _revive(self, flat: Tensor) -> None:
        """Let dead codes begin again as vectors of the batch, each another one, with both statistics new."""
        dead = self.cluster_size < self.dead_below
        n_dead = int(dead.sum())
        if not n_dead:
            return
        if n_dead > len(flat):  # the others wait for the next batch
            places = dead.nonzero()[:, 0]
            dead = torch.zeros_like(dead)
            dead[places[torch.randperm(n_dead, device=flat.device)[: len(flat)]]] = True
            n_dead = len(flat)
        fresh = flat[torch.randperm(len(flat), device=flat.device)[:n_dead]]
        self.embed[dead] = fresh
        self.cluster_size[dead] = self.dead_below
        self.embed_avg[dead] = fresh * self.dead_below


def kmeans(vectors: Tensor, n_clusters: int, n_iterations: int, metric: Metric) -> tuple[Tensor, Tensor]:
    """Return centres ``(n_clusters, width)`` and counts of Lloyd's k-means, begun at vectors drawn without repeats."""
    centres = vectors[torch.randperm(len(vectors), device=vectors.device)[:n_clusters]]
    counts = vectors.new_zeros(n_clusters)
    for _ in range(n_iterations):
        near = vectors @ centres.T
        if metric == "euclidean":
            near = near - 0.5 * centres.square().sum(-1)
        counts, sums = _sums(vectors, near.argmax(dim=-1), n_clusters)
        means = sums / counts.clamp(min=1)[:, None]
        if metric == "cosine":
            means = F.normalize(means, dim=-1, eps=TINY)
        centres = torch.where(counts[:, None] == 0, centres, means)
    return centres, counts


def _sums(vectors: Tensor, indices: Tensor, n: int) -> tuple[Tensor, Tensor]:
    counts = torch.bincount(indices, minlength=n).to(vectors.dtype)
    return counts, vectors.new_zeros(n, vectors.shape[-1]).index_add_(0, indices, vectors)


class Level(nn.Module):
    """One codebook with its gradient and its commitment term."""

    def __init__(self, codebook: Codebook, *, commitment: float, gradient: Gradient) -> None:
        super().__init__()
        self._codebook = codebook
        self.commitment, self.gradient = commitment, gradient

    @property
    def codebook(self) -> Codebook:
        """The codes."""
        return self._codebook

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return quantised vectors, codes, and the commitment term."""
        x = self._codebook.prepared(x)
        chosen, indices = self._codebook(x)
        term = self.commitment * F.mse_loss(x, chosen.detach())
        if self.training and self.gradient != "whole":
            chosen = rotate_to(x, chosen) if self.gradient == "rotation" else straight_through(x, chosen)
        return chosen, indices, term


class ResidualVQ(nn.Module):
    """Codebooks in a row, each of what the ones before left over.

    Parameters
    ----------
    n_levels, size, width : int
    commitment : float
        Weight of the mean over levels of the squared distance to the codes.
    gradient : {"rotation", "straight", "whole"}
        With the first two, as published, every level passes a gradient of its own, and what is quantised gets their
        sum: with four levels four times what it would get without codes, each turned another way. With "whole" the
        sum of all levels passes it once, as if there were no codes.
    **codebook
        For `Codebook`.
    """

    layers: nn.ModuleList

    def __init__(
        self, n_levels: int, size: int, width: int, *, commitment: float = 0.25, gradient: Gradient = "rotation",
        metric: Metric = "euclidean", decay: float = 0.99, dead_below: float = 2.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.gradient = gradient
        self.layers = nn.ModuleList(
            Level(
                Codebook(size, width, metric=metric, decay=decay, dead_below=dead_below),
                commitment=commitment,
                gradient=gradient,
            )
            for _ in range(n_levels)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sum of the levels' vectors, codes ``(..., n_levels)``, and the mean commitment term."""
        rest, total = x, torch.zeros_like(x)
        indices, terms = [], []
        for layer in self.layers:
            chosen, index, term = layer(rest)
            rest, total = rest - chosen.detach(), total + chosen
            indices.append(index)
            terms.append(term)
        if self.training and self.gradient == "whole":
            total = straight_through(x, total)
        return total, torch.stack(indices, dim=-1), torch.stack(terms).mean()

    def decode(self, indices: Tensor) -> Tensor:
        """Return the vectors of codes ``(..., n_levels)``."""
        vectors = [F.embedding(indices[..., k], layer.codebook.embed) for k, layer in enumerate(self.layers)]  # type: ignore[union-attr, arg-type]
        return torch.stack(vectors).sum(0)

    def usage(self) -> list[Usage]:
        """Return how much of every level is used, by the moving counts of training."""
        return [layer.codebook.usage() for layer in self.layers]  # type: ignore[union-attr, operator]
