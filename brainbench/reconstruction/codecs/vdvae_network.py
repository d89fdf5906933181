"""The network of the very deep VAE (Child 2021).

The encoder reads the image at falling resolutions. The decoder rises through them; each of its blocks has a Gaussian
prior of latents given what stands above, and a posterior that also sees the encoder. Pixels follow a mixture of
discretised logistic distributions (Salimans et al. 2017). Tensors are named as in the official weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from brainbench.recipes.reconstruction import block_string

if TYPE_CHECKING:
    from brainbench.recipes.reconstruction import VdvaeSettings

MEAN, STD = 115.92961967, 69.37404
"""Of the 8-bit pixels of ImageNet at 64 x 64; what the network was trained to read."""
_SMALLEST_LOG_SCALE = -7.0
_EDGE = 1e-5
"""Uniform draws keep this distance from 0 and 1."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network; the defaults of `VdvaeSettings` are the official ImageNet-64 model's.

    Attributes
    ----------
    encoder : list of (resolution, factor by which the block reduces it, or None)
    decoder : list of (resolution, resolution that the block starts from, or None)
    width : int
        Channels.
    middle : int
        Channels inside a block.
    z_channels : int
    n_mixtures : int
    """

    encoder: list[tuple[int, int | None]]
    decoder: list[tuple[int, int | None]]
    width: int
    middle: int
    z_channels: int
    n_mixtures: int

    @classmethod
    def of(cls, settings: VdvaeSettings) -> Architecture:
        """Return the architecture that a recipe describes."""
        return cls(
            encoder=block_string(settings.encoder_blocks, "encoder_blocks", "xd"),
            decoder=block_string(settings.decoder_blocks, "decoder_blocks", "xm"),
            width=settings.width,
            middle=max(1, int(settings.width * settings.bottleneck)),
            z_channels=settings.z_channels,
            n_mixtures=settings.n_mixtures,
        )

    @property
    def image_size(self) -> int:
        """Side of the images."""
        return self.encoder[0][0]

    def shapes(self, n_layers: int) -> list[tuple[int, int, int]]:
        """Return the shapes of the first layers of latents, channels first."""
        return [(self.z_channels, side, side) for side, _ in self.decoder[:n_layers]]


class Block(nn.Module):
    """Four convolutions, each after a GELU; where there are more than 2 x 2 places the middle ones look around."""

    def __init__(self, width: int, middle: int, out: int, resolution: int, *, residual: bool, down: int | None) -> None:
        super().__init__()
        kernel = 3 if resolution > 2 else 1
        self.c1 = _convolution(width, middle, 1)
        self.c2 = _convolution(middle, middle, kernel)
        self.c3 = _convolution(middle, middle, kernel)
        self.c4 = _convolution(middle, out, 1)
        self.residual, self.down = residual, down

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what it makes of ``(n, width, side, side)``."""
        out = x
        for convolution in (self.c1, self.c2, self.c3, self.c4):
            out = convolution(functional.gelu(out))
        if self.residual:
            out = x + out
        return out if self.down is None else functional.avg_pool2d(out, self.down)


class Encoder(nn.Module):
    """The image at every resolution."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.in_conv = _convolution(3, sizes.width, 3)
        self.enc_blocks = nn.ModuleList(
            Block(sizes.width, sizes.middle, sizes.width, side, residual=True, down=down)
            for side, down in sizes.encoder
        )
        _damp([block.c4 for block in self.enc_blocks])  # type: ignore[misc]

    def forward(self, pixels: torch.Tensor) -> dict[int, torch.Tensor]:
        """Return the last activations at each resolution."""
        x = self.in_conv(pixels)
        found = {x.shape[2]: x}
        for block in self.enc_blocks:
            x = block(x)
            found[x.shape[2]] = x
        return found


class DecoderBlock(nn.Module):
    """One stochastic layer: prior, posterior, and what its latents add."""

    def __init__(self, sizes: Architecture, side: int, source: int | None) -> None:
        super().__init__()
        width, middle, z = sizes.width, sizes.middle, sizes.z_channels
        self.side, self.source, self.z_channels = side, source, z
        self.enc = Block(2 * width, middle, 2 * z, side, residual=False, down=None)
        self.prior = Block(width, middle, 2 * z + width, side, residual=False, down=None)
        nn.init.zeros_(self.prior.c4.weight)
        self.z_proj = _convolution(z, width, 1)
        self.resnet = Block(width, middle, width, side, residual=True, down=None)

    def forward(self, stack: dict[int, torch.Tensor], latents: Latents) -> None:
        """Take the layer's latents from `latents` and put its result at its resolution in `stack`."""
        x = stack[self.side]
        if self.source is not None:
            x = x + functional.interpolate(stack[self.source], scale_factor=self.side // self.source)
        mean, log_std, shift = self.prior(x).split([self.z_channels, self.z_channels, x.shape[1]], dim=1)
        z = latents.next(self, x, mean, log_std)
        x = x + shift + self.z_proj(z)
        stack[self.side] = self.resnet(x)


class Latents:
    """Where the latents of each layer come from: given, else from the posterior of an image, else from the prior.

    Parameters
    ----------
    given : sequence of Tensor (n, z_channels, side, side)
        Latents of the first layers.
    seen : mapping of resolution to Tensor, optional
        The encoder's activations; None draws from the prior.
    generators : sequence of torch.Generator, optional
        One per image; None takes means.
    temperature : float
        Scale of the prior's standard deviation.
    """

    def __init__(
        self,
        given: Sequence[torch.Tensor] = (),
        seen: dict[int, torch.Tensor] | None = None,
        generators: Sequence[torch.Generator] | None = None,
        temperature: float = 1.0,
    ) -> None:
        self._given, self._seen, self._generators = list(given), seen, generators
        self._temperature = temperature
        self.taken: list[torch.Tensor] = []

    def next(self, block: DecoderBlock, x: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
        """Return the latents of the next layer, given the prior's mean and log standard deviation."""
        if len(self.taken) < len(self._given):
            z = self._given[len(self.taken)]
        else:
            temperature = self._temperature
            if self._seen is not None:
                mean, log_std = block.enc(torch.cat([x, self._seen[block.side]], dim=1)).chunk(2, dim=1)
                temperature = 1.0
            z = mean
            if self._generators is not None:
                z = mean + temperature * log_std.exp() * _normal(mean, self._generators)
        self.taken.append(z)
        return z


class Decoder(nn.Module):
    """From latents to features of every pixel."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.image_size = sizes.image_size
        self.dec_blocks = nn.ModuleList(DecoderBlock(sizes, side, source) for side, source in sizes.decoder)
        _damp([block.z_proj for block in self.dec_blocks])  # type: ignore[misc]
        _damp([block.resnet.c4 for block in self.dec_blocks])  # type: ignore[union-attr, misc]
        sides = sorted({side for side, _ in sizes.decoder})
        self.bias_xs = nn.ParameterList([nn.Parameter(torch.zeros(1, sizes.width, side, side)) for side in sides])
        self.out_net = nn.ModuleDict({"out_conv": _convolution(sizes.width, 10 * sizes.n_mixtures, 1)})
        self.gain = nn.Parameter(torch.ones(1, sizes.width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, sizes.width, 1, 1))

    def forward(self, n: int, latents: Latents) -> torch.Tensor:
        """Return the parameters of every pixel's distribution, ``(n, 10 * n_mixtures, side, side)``."""
        stack = {bias.shape[2]: bias.expand(n, -1, -1, -1) for bias in self.bias_xs}
        for block in self.dec_blocks:
            block(stack, latents)
        out: torch.Tensor = self.out_net["out_conv"](stack[self.image_size] * self.gain + self.bias)
        return out


class VeryDeepVae(nn.Module):
    """Encoder and decoder."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes)

    def infer(
        self, pixels: torch.Tensor, generators: Sequence[torch.Generator] | None = None
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the posterior's latents of every layer, and the pixels' distributions that they give.

        Parameters
        ----------
        pixels : Tensor (n, 3, side, side)
            Standardised.
        generators : sequence of torch.Generator, optional
            One per image, for a sample; without them each layer gives its mean.
        """
        latents = Latents(seen=self.encoder(pixels), generators=generators)
        out = self.decoder(len(pixels), latents)
        return latents.taken, out

    def generate(
        self, given: Sequence[torch.Tensor], generators: Sequence[torch.Generator], temperature: float = 1.0
    ) -> torch.Tensor:
        """Return the pixels' distributions given the first layers, the others drawn from the prior."""
        out: torch.Tensor = self.decoder(
            len(generators), Latents(given, generators=generators, temperature=temperature)
        )
        return out


def sample_pixels(out: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Draw pixels, ``(n, 3, side, side)`` in [-1, 1], from mixtures of discretised logistic distributions.

    One logistic of each pixel's mixture is drawn (Gumbel-max). Red has its mean; green's mean moves with red, blue's
    with red and green, by coefficients that are squashed into [-1, 1].

    Parameters
    ----------
    out : Tensor (n, 10 * n_mixtures, side, side)
        Per pixel: the weights' logits, then for each colour means, log scales and coefficients.
    generators : sequence of torch.Generator
        One per image.
    """
    n, width, height, side = out.shape
    k = width // 10
    logits, rest = out[:, :k], out[:, k:].reshape(n, 3, 3, k, height, side)
    gumbel = -torch.log(-torch.log(_uniform(logits, generators)))
    chosen = (logits + gumbel).argmax(dim=1)[:, None, None, None].expand(n, 3, 3, 1, height, side)
    mean, log_scale, coefficient = rest.gather(3, chosen).squeeze(3).unbind(dim=2)
    uniform = _uniform(mean, generators)
    logistic = torch.log(uniform) - torch.log1p(-uniform)
    draws = mean + log_scale.clamp(min=_SMALLEST_LOG_SCALE).exp() * logistic
    slope = torch.tanh(coefficient)
    red = draws[:, 0].clamp(-1, 1)
    green = (draws[:, 1] + slope[:, 0] * red).clamp(-1, 1)
    blue = (draws[:, 2] + slope[:, 1] * red + slope[:, 2] * green).clamp(-1, 1)
    return torch.stack([red, green, blue], dim=1)


# Helpers ----------------------------------------------------------------------------------------------------------


def _convolution(width: int, out: int, kernel: int) -> nn.Conv2d:
    convolution = nn.Conv2d(width, out, kernel, padding=kernel // 2)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


def _damp(convolutions: Sequence[nn.Conv2d]) -> None:
    """Scale the last convolutions of N residual blocks by 1 / sqrt(N), so that a new network does not explode."""
    with torch.no_grad():
        for convolution in convolutions:
            convolution.weight.mul_(1 / math.sqrt(len(convolutions)))


def _normal(like: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Return standard normal noise, drawn on the CPU with one generator per image."""
    return torch.stack([torch.randn(like.shape[1:], generator=one) for one in generators]).to(like)


def _uniform(like: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Return uniform noise inside (0, 1), drawn on the CPU with one generator per image."""
    draws = torch.stack([torch.rand(like.shape[1:], generator=one) for one in generators]).to(like)
    return draws * (1 - 2 * _EDGE) + _EDGE
