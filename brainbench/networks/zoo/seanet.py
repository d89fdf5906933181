"""Temporal codec of one channel: strided convolutions down to tokens, and back (EnCodec's SEANet, not causal).

Module names are those of the published checkpoints, but for the weight norm, which is torch's parametrisation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class _Conv(nn.Module):
    """Convolution whose output has ``length / stride`` samples; what lies outside is the signal mirrored."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = weight_norm(nn.Conv1d(n_in, n_out, kernel, stride))
        self.after = (kernel - stride) // 2
        self.before = kernel - stride - self.after

    def forward(self, x: Tensor) -> Tensor:
        short = max(self.before, self.after) - x.shape[-1] + 1
        if short > 0:  # too short to mirror: it goes on with zeros first
            x = F.pad(x, (0, short))
        out: Tensor = self.conv(F.pad(x, (self.before, self.after), mode="reflect") if self.before else x)
        return out[..., : out.shape[-1] - short] if short > 0 else out


class _ConvTranspose(nn.Module):
    """Transposed convolution whose output has ``length * stride`` samples."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convtr = weight_norm(nn.ConvTranspose1d(n_in, n_out, kernel, stride))
        self.after = (kernel - stride) // 2
        self.before = kernel - stride - self.after

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.convtr(x)
        return out[..., self.before : out.shape[-1] - self.after]


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.ELU(), _Conv(width, width // 2, 3), nn.ELU(), _Conv(width // 2, width, 1))
        self.shortcut = _Conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.block(x)
        return out


class _Recurrent(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers=2)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.permute(2, 0, 1)
        out: Tensor = (self.lstm(steps)[0] + steps).permute(1, 2, 0)
        return out


class SEANetEncoder(nn.Module):
    """Signals ``(n, 1, n_times)`` to tokens ``(n, width, n_times / product of ratios)``.

    Parameters
    ----------
    width : int
        Values of a token.
    n_filters : int
        Of the first convolution; they double with every stride.
    ratios : sequence of int
        Strides, in the decoder's order.
    kernel, last_kernel : int
    """

    def __init__(self, width: int, n_filters: int, ratios: Sequence[int], kernel: int, last_kernel: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_Conv(1, n_filters, kernel)]
        for ratio in reversed(ratios):
            layers += [_Residual(n_filters), nn.ELU(), _Conv(n_filters, 2 * n_filters, 2 * ratio, ratio)]
            n_filters *= 2
        layers += [_Recurrent(n_filters), nn.ELU(), _Conv(n_filters, width, last_kernel)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens."""
        out: Tensor = self.model(x)
        return out


class SEANetDecoder(nn.Module):
    """Tokens ``(n, width, n_tokens)`` back to signals ``(n, 1, n_tokens * product of ratios)``; see `SEANetEncoder`."""

    def __init__(self, width: int, n_filters: int, ratios: Sequence[int], kernel: int, last_kernel: int) -> None:
        super().__init__()
        n_filters *= 2 ** len(ratios)
        layers: list[nn.Module] = [_Conv(width, n_filters, kernel), _Recurrent(n_filters)]
        for ratio in ratios:
            layers += [nn.ELU(), _ConvTranspose(n_filters, n_filters // 2, 2 * ratio, ratio), _Residual(n_filters // 2)]
            n_filters //= 2
        self.model = nn.Sequential(*layers, nn.ELU(), _Conv(n_filters, 1, last_kernel))

    def forward(self, x: Tensor) -> Tensor:
        """Return signals."""
        out: Tensor = self.model(x)
        return out
