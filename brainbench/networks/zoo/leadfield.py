"""Latent sources by least squares: a lead field that is learned, its inverse for any layout, and a codec of sources.

This departs from the published BrainTokenizer, whose sources and sensors find each other by attention and must learn
from nothing what lies between two sensors. Here the same dot products of sensors' and sources' vectors are a lead
field. Courses of sources are the regularised least-squares (minimum-norm) estimate from the sensors that are seen, the
codec reads courses instead of channels, and the field carries decoded courses to any sensor. The field is a smooth
function of place, direction and type, so that sensors are interpolated before any training.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainbench.networks.zoo.seanet import SEANetDecoder, SEANetEncoder

if TYPE_CHECKING:
    from brainbench.networks.zoo.tokenizer import TokenizerShape

NOISE = 0.1
"""Variance of a sensor's noise at the start, in units of what the sources give a sensor; training moves it."""


class FieldEncoder(nn.Module):
    """Signals of sensors to tokens of sources.

    Parameters
    ----------
    shape : TokenizerShape
    """

    def __init__(self, shape: TokenizerShape) -> None:
        super().__init__()
        self.seanet_encoder = SEANetEncoder(
            shape.width, shape.n_filters, shape.ratios, shape.kernel, shape.last_kernel
        )  # fmt: skip
        self.neuros = nn.Parameter(torch.randn(shape.n_sources, shape.width))
        self.log_noise = nn.Parameter(torch.tensor(math.log(NOISE)))

    def field(self, sensors: Tensor) -> Tensor:
        """Return what a source of variance one gives every sensor ``(n, n_channels, n_sources)``.

        Sensors' vectors have a mean square of one: all sources together give about variance one.
        """
        found: Tensor = sensors @ self.neuros.T / self.neuros.numel() ** 0.5
        return found

    def inverse(self, sensors: Tensor) -> Tensor:
        """Return weights of sensors ``(n, n_sources, n_channels)``: (F'F + noise I)^-1 F'."""
        with torch.autocast(sensors.device.type, enabled=False):  # there is no solver in half precision
            field = self.field(sensors.float())
            square = field.transpose(1, 2) @ field
            noise = self.log_noise.exp() * torch.eye(square.shape[-1], device=field.device)
            found: Tensor = torch.linalg.solve(square + noise, field.transpose(1, 2))
        return found

    def courses(self, x: Tensor, sensors: Tensor) -> Tensor:
        """Return time courses of sources ``(n, n_sources, n_windows, window)`` of windows of channels."""
        return torch.einsum("nsc,ncwt->nswt", self.inverse(sensors), x)

    def forward(self, x: Tensor, sensors: Tensor) -> Tensor:
        """Return tokens of every source ``(n, n_sources, n_tokens, width)``."""
        courses = self.courses(x, sensors)
        tokens: Tensor = self.seanet_encoder(courses.flatten(0, 2)[:, None])
        return tokens.transpose(1, 2).reshape(*courses.shape[:2], -1, tokens.shape[1])

    def topography(self, x: Tensor, sensors: Tensor) -> Tensor:
        """Return the field of every source ``(n, n_sources, n_channels)``; signals do not change it."""
        return self.field(sensors).transpose(1, 2)


class FieldDecoder(nn.Module):
    """Tokens of sources to signals of sensors."""

    def __init__(self, shape: TokenizerShape) -> None:
        super().__init__()
        self.seanet_decoder = SEANetDecoder(
            shape.width, shape.n_filters, shape.ratios, shape.kernel, shape.last_kernel
        )  # fmt: skip

    def forward(self, x: Tensor, field: Tensor, windows: int) -> Tensor:
        """Return ``(n, n_channels, windows, window)``, every window with mean zero and variance one."""
        n, n_sources, _, width = x.shape
        tokens = x.reshape(n * n_sources * windows, -1, width).transpose(1, 2)
        courses = self.seanet_decoder(tokens).reshape(n, n_sources, windows, -1)
        mixed = torch.einsum("ncs,nswt->ncwt", field, courses)
        return F.layer_norm(mixed.float(), mixed.shape[-1:])
