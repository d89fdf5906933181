"""RBTransformer: electrodes as tokens, each holding the entropy of its bands (arXiv 2511.13954).

There is no time axis: a window becomes ``(n_electrodes, n_bands)`` and attention runs between electrodes. Module names
are those of the published checkpoints, so that their state dicts load as they are.

The published scores come from overlapping windows of one trial on both sides of every fold; that split is not here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from brainbench.core.errors import UserError

BANDS: tuple[tuple[float, float], ...] = ((4.0, 8.0), (8.0, 14.0), (14.0, 31.0), (31.0, 49.0))
"""Theta, alpha, beta and gamma of the paper, in Hz."""

FILTER_ORDER = 5
ZScore = Literal["window", "channel", "none"]
Filter = Literal["causal", "zero_phase"]


def gaussian_entropy(variance: np.ndarray | float) -> np.ndarray:
    """Return the differential entropy of a Gaussian in bits, ``log2(2 pi e variance) / 2``."""
    return 0.5 * np.log2(2 * np.pi * np.e * np.asarray(variance, dtype=np.float64))


def band_entropy(
    X: np.ndarray,
    sfreq: float,
    *,
    bands: Sequence[tuple[float, float]] = BANDS,
    zscore: ZScore = "window",
    filtering: Filter = "causal",
) -> np.ndarray:
    """Return the band differential-entropy tokens of trials.

    Each trial is z-scored, filtered into bands (Butterworth of order 5, second-order sections), and every filtered
    channel gives ``log2(2 pi e variance) / 2``: exact for Gaussian noise, whose variance in a band of width b is
    ``2 b / sfreq`` of the whole.

    Parameters
    ----------
    X : ndarray (n_trials, n_channels, n_times)
        Not changed.
    sfreq : float
        Hz. (The released code takes every recording for one of 128 Hz.)
    bands : sequence of (low, high)
        Hz.
    zscore : {"window", "channel", "none"}
        One mean and one standard deviation a trial (the paper), one pair a channel, or neither. With "none", doubling
        the amplitude adds one bit.
    filtering : {"causal", "zero_phase"}
        Causal (the paper) holds the filter's transient, which lowers the entropy of short windows.

    Returns
    -------
    ndarray (n_trials, n_channels, n_bands) of float32
        Bits.

    Raises
    ------
    UserError
        If a band does not fit below half the sampling rate, or a channel is flat.
    """
    from scipy.signal import butter, sosfilt, sosfiltfilt

    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 3:
        raise UserError(f"trials must be (n_trials, n_channels, n_times), not {X.shape}")
    check_bands(bands, sfreq)
    flat = np.ptp(X, axis=-1) == 0
    if flat.any():
        trial, channel = (int(k) for k in np.argwhere(flat)[0])
        raise UserError(
            f"channel {channel} of trial {trial} is flat: its entropy is minus infinity ({int(flat.sum())} such cases)",
            hint="drop or interpolate the channel",
        )
    if zscore == "window":
        X = (X - X.mean(axis=(1, 2), keepdims=True)) / X.std(axis=(1, 2), keepdims=True)
    elif zscore == "channel":
        X = (X - X.mean(axis=2, keepdims=True)) / X.std(axis=2, keepdims=True)
    elif zscore != "none":
        raise UserError(f"zscore must be 'window', 'channel' or 'none', not {zscore!r}")
    if filtering not in ("causal", "zero_phase"):
        raise UserError(f"filtering must be 'causal' or 'zero_phase', not {filtering!r}")
    apply = sosfilt if filtering == "causal" else sosfiltfilt
    tokens = [
        gaussian_entropy(apply(butter(FILTER_ORDER, band, "bandpass", fs=sfreq, output="sos"), X).var(axis=-1))
        for band in bands
    ]
    return np.stack(tokens, axis=-1).astype(np.float32)


def check_bands(bands: Sequence[tuple[float, float]], sfreq: float) -> None:
    """Refuse bands that a recording of `sfreq` Hz cannot hold.

    Raises
    ------
    UserError
        Naming the band.
    """
    if not bands:
        raise UserError("at least one band is needed")
    for low, high in bands:
        if not 0 < low < high < sfreq / 2:
            raise UserError(
                f"band {low:g}-{high:g} Hz does not fit between 0 and half the sampling rate ({sfreq / 2:g} Hz)",
                hint="give other bands, or the recording's true sampling rate",
            )


class _Projection(nn.Module):
    """Bands of one electrode to the model's width; the same weights for every electrode."""

    def __init__(self, n_bands: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_bands, width)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.linear(tokens)
        return out


class _ElectrodeIdentity(nn.Module):
    """A learned vector that says which electrode a token is."""

    def __init__(self, n_electrodes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(1, n_electrodes, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.embedding


class _PreNorm(nn.Module):
    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(self.norm(x))


class InterCorticalAttention(nn.Module):
    """Self-attention between electrodes.

    The matrix of the last forward pass stays in `weights`, ``(n_trials, n_heads, n_electrodes, n_electrodes)``: row =
    electrode that asks, column = electrode that answers; rows sum to one. It is detached, and is taken before dropout.
    """

    def __init__(self, width: int, n_heads: int, head_width: int, drop_prob: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.scale = head_width**-0.5
        self.to_qkv = nn.Linear(width, 3 * n_heads * head_width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(n_heads * head_width, width), nn.Dropout(drop_prob))
        self.dropout = nn.Dropout(drop_prob)
        self.weights: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n_trials, n_electrodes, width)``."""
        n, electrodes, _ = x.shape
        query, key, value = self.to_qkv(x).reshape(n, electrodes, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2) * self.scale).softmax(dim=-1)
        self.weights = weights.detach()
        mixed = self.dropout(weights) @ value
        out: Tensor = self.to_out(mixed.transpose(1, 2).reshape(n, electrodes, -1))
        return out


class _FeedForward(nn.Module):
    def __init__(self, width: int, drop_prob: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Dropout(drop_prob), nn.Linear(width, width), nn.Dropout(drop_prob)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class _Block(nn.Module):
    def __init__(self, width: int, n_heads: int, head_width: int, drop_prob: float) -> None:
        super().__init__()
        self.attention = _PreNorm(width, InterCorticalAttention(width, n_heads, head_width, drop_prob))
        self.feed_forward = _PreNorm(width, _FeedForward(width, drop_prob))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.feed_forward(self.attention(x))
        return out


class _Head(nn.Module):
    def __init__(self, width: int, n_outputs: int, drop_prob: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        layers: list[nn.Module] = []
        for wide_in, wide_out in ((width, 2 * width), (2 * width, 2 * width), (2 * width, width)):
            layers += [nn.Linear(wide_in, wide_out), nn.GELU(), nn.Dropout(drop_prob)]
        self.mlp = nn.Sequential(*layers, nn.Linear(width, n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp(self.norm(x.mean(dim=1)))
        return out


class RBTransformer(nn.Module):
    """Classify windows from the band entropies of their electrodes.

    Parameters
    ----------
    n_electrodes, n_outputs : int
    n_bands : int
    width : int
    depth : int
        Inter-cortical attention blocks.
    n_heads, head_width : int
    drop_prob : float

    Notes
    -----
    Input ``(n_trials, n_electrodes, n_bands)``, output logits ``(n_trials, n_outputs)``. With the defaults,
    ``660480 + 128 n_electrodes + 129 n_outputs`` weights.
    """

    def __init__(
        self,
        n_electrodes: int,
        n_outputs: int,
        n_bands: int = len(BANDS),
        *,
        width: int = 128,
        depth: int = 4,
        n_heads: int = 6,
        head_width: int = 32,
        drop_prob: float = 0.1,
    ) -> None:
        super().__init__()
        self.bde_proj_layer = _Projection(n_bands, width)
        self.electrode_id_embedding = _ElectrodeIdentity(n_electrodes, width)
        self.dropout = nn.Dropout(drop_prob)
        self.intercortical_attention_blocks = nn.ModuleList(
            _Block(width, n_heads, head_width, drop_prob) for _ in range(depth)
        )
        self.classification_head = _Head(width, n_outputs, drop_prob)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        x = self.dropout(self.electrode_id_embedding(self.bde_proj_layer(tokens)))
        for block in self.intercortical_attention_blocks:
            x = block(x)
        logits: Tensor = self.classification_head(x)
        return logits

    def attention(self) -> Tensor:
        """Return the attention of the last forward pass, ``(depth, n_trials, n_heads, n_electrodes, n_electrodes)``.

        Raises
        ------
        RuntimeError
            If there was no forward pass yet.
        """
        found = [module.weights for module in self.modules() if isinstance(module, InterCorticalAttention)]
        if any(weights is None for weights in found):
            raise RuntimeError("there is no attention before a forward pass")
        return torch.stack([weights for weights in found if weights is not None])


def attention_rollout(attention: np.ndarray) -> np.ndarray:
    """Follow attention through the blocks and their residual paths (Abnar and Zuidema 2020).

    Parameters
    ----------
    attention : ndarray (depth, n_electrodes, n_electrodes)
        Rows sum to one.

    Returns
    -------
    ndarray (n_electrodes, n_electrodes)
        How much of each input electrode (column) stands in each output token (row); rows sum to one.
    """
    n = attention.shape[-1]
    flow = np.eye(n)
    for block in attention:
        flow = (block + np.eye(n)) / 2 @ flow
    return flow


def attention_entropy(attention: np.ndarray) -> np.ndarray:
    """Return how widely each electrode looks: entropy of its row divided by that of a uniform one, in [0, 1].

    Parameters
    ----------
    attention : ndarray (..., n_electrodes, n_electrodes)

    Returns
    -------
    ndarray (..., n_electrodes)
    """
    safe = np.where(attention > 0, attention, 1.0)
    entropy: np.ndarray = -(attention * np.log(safe)).sum(axis=-1) / math.log(attention.shape[-1])
    return entropy
