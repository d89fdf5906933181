"""BrainOmni: codes of sensor tokens, masked and predicted by criss-cross attention (arXiv 2505.18185).

Half of the features attend along time, the other half between latent sources. Module names are those of the published
checkpoints. Their rotary buffer lost its imaginary part when it was exported: ``rope="released"`` computes what they
compute, ``rope="correct"`` what was meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainbench.core.errors import UserError
from brainbench.networks.zoo.tokenizer import BrainTokenizer, FeedForward, Phase, RMSNorm, TokenizerShape, heads

Rope = Literal["correct", "released"]
ROPE_BASE = 10_000.0
RELEASED_POSITIONS = 240
"""Positions that the released buffer holds."""
OVERLAP = 0.25
"""Share of a window that the next one repeats."""
MASKED = 0.5
RANDOM = 0.2
"""Share of the masked tokens that become another token of the batch; the others become the mask token."""


def rope_frequencies(width: int) -> Tensor:
    """Return the frequencies of a rotary embedding, one for two features, over all heads together."""
    return ROPE_BASE ** (-torch.arange(0, width, 2).float() / width)


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Turn pairs of features ``(..., n_tokens, width)`` by angles that grow with the token's position.

    Raises
    ------
    UserError
        If there are more tokens than the released buffer has positions.
    """
    n, width = x.shape[-2:]
    if rope == "released" and n > RELEASED_POSITIONS:
        raise UserError(
            f"the released rotary buffer has {RELEASED_POSITIONS} positions, the segments {n}",
            hint="take shorter segments, or `rope: correct`",
        )
    angle = torch.outer(torch.arange(n, device=x.device), rope_frequencies(width).to(x.device))
    cos, sin = angle.cos(), angle.sin() if rope == "correct" else torch.zeros_like(angle)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


class _Attention(nn.Module):
    def __init__(self, width: int, n_heads: int, drop_prob: float, rope: Rope | None) -> None:
        super().__init__()
        self.n_heads, self.drop_prob, self.rope = n_heads, drop_prob, rope
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values ``(..., n_heads, n_tokens, width / n_heads)``."""
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        if self.rope is not None:
            query, key = rotate(query, self.rope), rotate(key, self.rope)
        return heads(query, self.n_heads), heads(key, self.n_heads), heads(value, self.n_heads)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the heads give, before the projection ``(..., n_tokens, width)``."""
        query, key, value = self.parts(x)
        drop = self.drop_prob if self.training else 0.0  # the released code drops in evaluation too
        return F.scaled_dot_product_attention(query, key, value, dropout_p=drop).transpose(-2, -3).flatten(-2)


class CrissCross(nn.Module):
    """A block over ``(n, n_sources, n_tokens, width)``: the first half along time, the second between sources.

    `pattern`, `z` and `added` compute nothing: attention, what the heads give, and what attention adds pass through
    them, as one attention among all ``n_sources * n_tokens`` tokens in which every head sees one line alone. Heads
    between sources come first. Patterns are made only without `fused_attn`.
    """

    def __init__(self, width: int, n_heads: int, drop_prob: float, rope: Rope) -> None:
        super().__init__()
        self.n_heads, self.fused_attn = n_heads, True
        self.pre_attn_norm = RMSNorm(width)
        self.time_attn = _Attention(width // 2, n_heads // 2, drop_prob, rope)
        self.spatial_attn = _Attention(width // 2, n_heads // 2, drop_prob, None)
        self.pre_ff_norm = RMSNorm(width)
        self.ff = FeedForward(width, drop_prob)
        self.pattern, self.z, self.added = nn.Identity(), nn.Identity(), nn.Identity()

    def mixed(self, x: Tensor) -> Tensor:
        """Return what attention adds: the sources' half first, so that the halves change places from block to block."""
        along, across = self.pre_attn_norm(x).chunk(2, dim=-1)
        across = across.transpose(1, 2)
        if self.fused_attn:
            z = torch.cat([self.spatial_attn(across).transpose(1, 2), self.time_attn(along)], dim=-1).flatten(1, 2)
        else:
            z = self._by_pattern(across, along)
        between, later = self.z(z).unflatten(1, x.shape[1:3]).chunk(2, dim=-1)
        added = torch.cat([self.spatial_attn.proj(between), self.time_attn.proj(later)], dim=-1)
        out: Tensor = self.added(added.flatten(1, 2)).unflatten(1, x.shape[1:3])
        return out

    def _by_pattern(self, across: Tensor, along: Tensor) -> Tensor:
        """Return what the heads give ``(n, tokens, width)`` by way of their patterns among all tokens."""
        n_sources, n_times = along.shape[1:3]
        query, key, value = self.spatial_attn.parts(across)  # (n, times, heads, sources, ...)
        scores = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        same_time = torch.eye(n_times, dtype=scores.dtype, device=scores.device)
        between = torch.einsum("nthsr,tu->nhstru", scores, same_time)
        values = [value.permute(0, 2, 3, 1, 4)]
        query, key, value = self.time_attn.parts(along)  # (n, sources, heads, times, ...)
        scores = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        same_source = torch.eye(n_sources, dtype=scores.dtype, device=scores.device)
        later = torch.einsum("nshtu,sr->nhstru", scores, same_source)
        values.append(value.transpose(1, 2))
        pattern = self.pattern(torch.cat([between, later], dim=1).flatten(4, 5).flatten(2, 3))
        return (pattern @ torch.cat(values, dim=1).flatten(2, 3)).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        tokens = (x + self.mixed(x)).flatten(1, 2)
        out: Tensor = tokens + self.ff(self.pre_ff_norm(tokens))
        return out.unflatten(1, x.shape[1:3])


@dataclass(frozen=True)
class OmniShape:
    """Sizes of the masked-code model: `TINY` or `BASE` of the release, or others."""

    width: int = 256
    n_heads: int = 8
    depth: int = 12
    drop_prob: float = 0.1


TINY = OmniShape()
BASE = OmniShape(width=512, n_heads=16)


class BrainOmni(nn.Module):
    """Predict the codes of masked tokens of a tokenizer that is not trained any more.

    Parameters
    ----------
    shape : OmniShape
    tokenizer : TokenizerShape
    rope : {"correct", "released"}
    phase : {"circular", "released"}
        Of the tokenizer's objective.
    """

    blocks: nn.ModuleList

    def __init__(
        self, shape: OmniShape = TINY, tokenizer: TokenizerShape | None = None, *, rope: Rope = "correct",
        phase: Phase = "circular",
    ) -> None:  # fmt: skip
        super().__init__()
        self.shape, self.rope = shape, rope
        self.tokenizer = BrainTokenizer(tokenizer, phase=phase).requires_grad_(False)
        sizes = self.tokenizer.shape
        self.mask_token = nn.Parameter(torch.randn(sizes.width))
        same = sizes.width == shape.width
        self.projection = nn.Identity() if same else nn.Linear(sizes.width, shape.width)
        self.blocks = nn.ModuleList(
            CrissCross(shape.width, shape.n_heads, shape.drop_prob, rope) for _ in range(shape.depth)
        )
        self.predict_head = nn.Linear(shape.width, sizes.n_levels * sizes.n_codes)
        for module in (self.projection, self.blocks, self.predict_head):
            for layer in module.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.trunc_normal_(layer.weight, std=0.02)
                    nn.init.zeros_(layer.bias)

    def train(self, mode: bool = True) -> BrainOmni:
        """Set training; the tokenizer stays as it is, codebooks included."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def embedded(self, tokens: Tensor) -> Tensor:
        """Return the first block's input: tokens with their source's query added."""
        out: Tensor = self.projection(tokens + self.tokenizer.encoder.neuros.detach()[:, None])
        return out

    def encode(self, x: Tensor, place: Tensor, kind: Tensor) -> Tensor:
        """Return features ``(n, n_sources, n_tokens, width)`` of length one: the output of the last block but one."""
        found = self.embedded(self.tokenizer.tokenize(x, place, kind, OVERLAP)[0])
        for block in self.blocks[:-1]:
            found = block(found)
        return F.normalize(found, dim=-1, eps=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits ``(n, n_sources, n_tokens, n_levels, n_codes)`` of quantised tokens."""
        x = self.embedded(tokens)
        for block in self.blocks:
            x = block(x)
        sizes = self.tokenizer.shape
        logits: Tensor = self.predict_head(x).unflatten(-1, (sizes.n_levels, sizes.n_codes))
        return logits

    def terms(self, x: Tensor, place: Tensor, kind: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy of masked tokens' codes, and how much of it each level's is, as one term."""
        with torch.no_grad():
            tokens, codes = self.tokenizer.tokenize(x, place, kind, OVERLAP)
        hidden, mask = masked(tokens, self.mask_token)
        return {"cross-entropy": F.cross_entropy(self(hidden)[mask].flatten(0, 1).float(), codes[mask].flatten())}


def masked(tokens: Tensor, mask_token: Tensor) -> tuple[Tensor, Tensor]:
    """Hide half of the tokens of every item ``(n, n_sources, n_tokens, width)``, exactly.

    Four fifths of them become `mask_token`, the others a token drawn from the batch.

    Returns
    -------
    hidden : Tensor
    mask : Tensor of bool (n, n_sources, n_tokens)
    """
    n, *shape, width = tokens.shape
    flat = tokens.reshape(n, -1, width)
    n_tokens = flat.shape[1]
    order = torch.rand(n, n_tokens, device=tokens.device).argsort(1)
    rank = order.argsort(1)
    n_masked = round(MASKED * n_tokens)
    n_random = round(RANDOM * n_masked)
    drawn = flat.reshape(-1, width)[torch.randint(n * n_tokens, (n, n_tokens), device=tokens.device)]
    hidden = torch.where((rank < n_masked)[..., None], mask_token.to(tokens.dtype), flat)
    hidden = torch.where((rank < n_random)[..., None], drawn, hidden)
    return hidden.reshape(tokens.shape), (rank < n_masked).reshape(n, *shape)
