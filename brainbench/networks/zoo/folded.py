"""The same networks with less work: convolutions over time and over electrodes, taken in the cheaper order.

EEGNet filters every electrode over time, normalises, and only then mixes electrodes. Filtering and mixing are linear:
mixing first gives the same with as many filtered signals as there are mixtures and not filters x electrodes. What lies
between them, batch normalisation, needs the mean and the variance of the filtered electrodes: with the mean ``R`` of
the lagged products of the trials and ``m`` of their samples, ``m'w`` and ``w'Rw - (m'w)^2`` for a filter ``w``, in
float64. ShallowFBCSPNet mixes its two convolutions into one already; with electrodes as channels it runs faster. A long
kernel a channel (`LongConv1d`, of MVCNet) goes by products of windows.

Outputs and gradients are those of the library up to rounding. Weights and names of layers are not touched: `folded`
replaces the forward pass of one network on a CPU for the length of a block, such as its training.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@contextlib.contextmanager
def folded(network: nn.Module) -> Iterator[bool]:
    """Let a network that is known here take its cheaper forward pass inside the block; yields whether it does."""
    forward = _forward_of(network)
    if forward is None:
        yield False
        return
    network.forward = forward
    try:
        yield True
    finally:
        del network.forward


def _forward_of(network: nn.Module) -> Callable[[Tensor], Tensor] | None:
    kind, first = type(network), next(network.parameters(), None)
    if first is None or first.device.type != "cpu":  # elsewhere float64 is slow, and the library's order is not
        return None
    if kind.__module__.startswith("braindecode.") and kind.__name__ in _KNOWN:
        expected, forward = _KNOWN[kind.__name__]
        if expected(network):
            return lambda X: forward(network, X)
    return None


# EEGNet -------------------------------------------------------------------------------------------------------------


def _is_eegnet(network: Any) -> bool:
    """Return whether the layers that are folded are those this module knows."""
    first, norm, mix = (getattr(network, name, None) for name in ("conv_temporal", "bnorm_temporal", "conv_spatial"))
    return (
        isinstance(first, nn.Conv2d)
        and isinstance(norm, nn.BatchNorm2d)
        and isinstance(mix, nn.Conv2d)
        and first.bias is None
        and mix.bias is None
        and first.in_channels == 1
        and first.kernel_size[0] == 1
        and first.stride == mix.stride == (1, 1)
        and first.padding == (0, first.kernel_size[1] // 2)
        and mix.groups == first.out_channels
        and mix.padding == (0, 0)
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and _starts_with(network, "ensuredims", "dimshuffle", "conv_temporal", "bnorm_temporal", "conv_spatial")
    )


def _eegnet(network: Any, X: Tensor) -> Tensor:
    norm, mixing = network.bnorm_temporal, network.conv_spatial.weight[:, 0, :, 0]
    filters = network.conv_temporal.weight[:, 0, 0]
    padding, depth = filters.shape[1] // 2, len(mixing) // len(filters)
    wide = filters.double()
    if norm.training:
        products, sums, n = lagged_products(X, filters.shape[1], padding)
        mean = wide @ sums / n
        variance = ((wide @ products) * wide).sum(dim=1) / n - mean.square()
        with torch.no_grad():
            norm.num_batches_tracked += 1
            norm.running_mean.lerp_(mean.to(norm.running_mean), norm.momentum)
            norm.running_var.lerp_((variance * (n / (n - 1))).to(norm.running_var), norm.momentum)
    else:
        mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = norm.weight * (variance + norm.eps).rsqrt()
    shift = norm.bias - mean * scale
    kernels = (wide * scale[:, None]).to(filters).repeat_interleave(depth, dim=0)
    mixed = F.conv1d(torch.matmul(mixing, X), kernels[:, None], padding=padding, groups=len(kernels))
    offset = shift.to(filters).repeat_interleave(depth) * mixing.sum(dim=1)
    return _rest(network, (mixed + offset[:, None])[:, :, None], after="conv_spatial")


def lagged_products(X: Tensor, n_lags: int, padding: int) -> tuple[Tensor, Tensor, int]:
    """Return sums over all windows of `n_lags` samples of all signals, with zeros before and after each signal.

    Parameters
    ----------
    X : Tensor (..., n_times)
    n_lags, padding : int

    Returns
    -------
    products : Tensor (n_lags, n_lags) of float64
        Sum of the outer products of the windows.
    sums : Tensor (n_lags,) of float64
    n : int
        Number of windows.
    """
    signals = F.pad(X.detach().reshape(-1, X.shape[-1]).double(), (padding, padding))
    n_windows = signals.shape[1] - n_lags + 1
    # The first row: every sample that starts a window, times those after it, in frames that one product takes.
    n_frames = -(-n_windows // n_lags)
    left = F.pad(signals[:, :n_windows], (0, n_frames * n_lags - n_windows)).reshape(-1, n_lags)
    right = F.pad(signals, (0, (n_frames + 1) * n_lags - signals.shape[1])).unfold(1, 2 * n_lags, n_lags)
    both = (left.T @ right.reshape(-1, 2 * n_lags)).contiguous()
    first = both.as_strided((n_lags, n_lags), (2 * n_lags + 1, 1)).sum(dim=0)
    # The others: as windows move on by one sample, products of the first leave and those after the last enter.
    head, tail = signals[:, : n_lags - 1], signals[:, n_windows:]
    change = F.pad(tail.T @ tail - head.T @ head, (0, n_lags, 0, 0)).contiguous()
    along = change.as_strided((n_lags - 1, n_lags), (2 * n_lags, 1)).cumsum(dim=0)
    upper = first + F.pad(along, (0, 0, 1, 0))  # (start, lag): product of samples `start` and `start + lag`
    row, column = _lags(n_lags)
    columns = signals.sum(dim=0)
    return upper[row, column].to(X.device), columns.unfold(0, n_windows, 1).sum(dim=1), len(signals) * n_windows


@lru_cache(maxsize=8)
def _lags(n: int) -> tuple[Tensor, Tensor]:
    """Return, for every pair of places, the earlier one and the distance between them."""
    i, j = torch.arange(n)[:, None], torch.arange(n)[None]
    return torch.minimum(i, j), (i - j).abs()


# MVCNet -------------------------------------------------------------------------------------------------------------


class LongConv1d(nn.Conv1d):
    """A convolution of every channel by itself, with a kernel long enough that products of windows are faster.

    As many outputs as the kernel has samples come from a window of almost twice as many, by a product with the kernel
    at all its places. On a CPU, forward and back take less than half the time of the library's.

    Parameters
    ----------
    channels, kernel_size : int
    padding : int
    """

    def __init__(self, channels: int, kernel_size: int, padding: int) -> None:
        super().__init__(channels, channels, kernel_size, padding=padding, groups=channels, bias=False)

    def forward(self, X: Tensor) -> Tensor:
        """Filter ``X (n_trials, n_channels, n_times)``."""
        if X.device.type != "cpu":
            return super().forward(X)
        size, padding = self.kernel_size[0], int(self.padding[0])
        n_times = X.shape[-1] + 2 * padding - size + 1
        n_blocks = -(-n_times // size)
        padded = F.pad(X, (padding, (n_blocks + 1) * size - 1 - X.shape[-1] - padding))
        windows = padded.unfold(-1, 2 * size - 1, size).transpose(0, 1).reshape(X.shape[1], -1, 2 * size - 1)
        place, inside = _places(size)
        filtered = torch.bmm(windows, torch.where(inside, self.weight[:, 0, place], 0.0))
        return filtered.reshape(X.shape[1], len(X), -1)[..., :n_times].transpose(0, 1)


@lru_cache(maxsize=8)
def _places(size: int) -> tuple[Tensor, Tensor]:
    """Return which sample of a kernel meets which of a window for every output, and whether any does."""
    with torch.inference_mode(False):  # what is kept serves training too, whoever asked first
        shift = torch.arange(2 * size - 1)[:, None] - torch.arange(size)[None]
        return shift.clamp(0, size - 1), (shift >= 0) & (shift < size)


# ShallowFBCSPNet ----------------------------------------------------------------------------------------------------


def _is_shallow(network: Any) -> bool:
    both = getattr(network, "conv_time_spat", None)
    return both is not None and _starts_with(network, "ensuredims", "dimshuffle", "conv_time_spat")


def _shallow(network: Any, X: Tensor) -> Tensor:
    time, space = network.conv_time_spat.conv_time, network.conv_time_spat.conv_spat
    kernels = torch.einsum("ft,sfc->sct", time.weight[:, 0, :, 0], space.weight[:, :, 0, :])
    bias = None if space.bias is None else space.bias
    if time.bias is not None:
        moved = space.weight[:, :, 0, :].sum(dim=2) @ time.bias
        bias = moved if bias is None else bias + moved
    return _rest(network, F.conv1d(X, kernels, bias)[..., None], after="conv_time_spat")


_KNOWN: dict[str, tuple[Callable[[Any], bool], Callable[[Any, Tensor], Tensor]]] = {
    "EEGNet": (_is_eegnet, _eegnet),
    "ShallowFBCSPNet": (_is_shallow, _shallow),
}


def _starts_with(network: nn.Module, *names: str) -> bool:
    """Return whether these are the first layers, in a plain sequence in which nothing but us looks on."""
    layers = dict(network.named_children())
    hooked = any(layers[name]._forward_hooks or layers[name]._forward_pre_hooks for name in names if name in layers)
    return isinstance(network, nn.Sequential) and list(layers)[: len(names)] == list(names) and not hooked


def _rest(network: nn.Module, value: Tensor, after: str) -> Tensor:
    """Return the output of the layers after one of a sequence."""
    layers = dict(network.named_children())
    for name in list(layers)[list(layers).index(after) + 1 :]:
        value = layers[name](value)
    return value
