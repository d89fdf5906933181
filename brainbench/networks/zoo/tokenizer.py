"""BrainTokenizer: a codec for any layout of EEG and MEG sensors (arXiv 2505.18185).

A sensor is its place, direction and type; queries for a few latent sources look at all sensors (as an inverse solution
does), residual codebooks make their tokens discrete, and sensors look at the sources (as a forward solution does) to be
decoded, whether the encoder saw them or not. Module names are those of the published checkpoints. With
``mixing="field"``, which is not published, both looks are replaced by a lead field: see `leadfield`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainbench.core.errors import UserError
from brainbench.networks.zoo.codebook import Gradient, ResidualVQ
from brainbench.networks.zoo.leadfield import FieldDecoder, FieldEncoder
from brainbench.networks.zoo.seanet import SEANetDecoder, SEANetEncoder

SENSOR_TYPES = ("eeg", "mag", "grad")
"""Number of a type: its place here. Axial gradiometers (CTF, KIT) are gradiometers."""
WITHHELD = 0.25
"""Share of the sensors that the encoder does not see in training."""
NOISE = 0.1
"""Standard deviation of what is added to the encoder's input in training."""
PHASE_WEIGHT = 0.5

Phase = Literal["circular", "released"]
Mixing = Literal["attention", "field"]


@dataclass(frozen=True)
class TokenizerShape:
    """Sizes of a tokenizer; the defaults are those of the released weights.

    Attributes
    ----------
    window : int
        Samples that are read together.
    n_filters, ratios, kernel, last_kernel
        Of the temporal codec.
    width, n_heads, n_sources : int
    n_levels, n_codes : int
        Residual codebooks, and codes of each.
    code_width : int, optional
        Values of a code: tokens are projected to so few before the codebooks, and back after them (factorised codes,
        arXiv 2110.04627). None is as published: codes are as wide as tokens.
    gradient : {"rotation", "straight", "whole"}
        How gradients pass the codebooks: level by level, as published, or once (see `ResidualVQ`).
    mixing : {"attention", "field"}
        How sources read sensors and sensors sources: attention as published, or a lead field and its inverse.
    """

    window: int = 512
    n_filters: int = 32
    ratios: tuple[int, ...] = (8, 4, 2)
    kernel: int = 5
    last_kernel: int = 5
    width: int = 256
    n_heads: int = 4
    n_sources: int = 16
    n_levels: int = 4
    n_codes: int = 512
    code_width: int | None = None
    gradient: Gradient = "rotation"
    mixing: Mixing = "attention"

    @property
    def stride(self) -> int:
        """Samples of a token."""
        return int(torch.tensor(self.ratios).prod())

    def describe(self) -> dict[str, object]:
        """Return all sizes, for a digest."""
        return {**asdict(self), "ratios": list(self.ratios)}


class RMSNorm(nn.RMSNorm):
    """Root-mean-square norm over the last axis, as the released networks have it."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)


class FeedForward(nn.Module):
    """Two linear layers, four times as wide between."""

    def __init__(self, width: int, drop_prob: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SELU(), nn.Linear(4 * width, width), nn.Dropout(drop_prob)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(..., width)``."""
        out: Tensor = self.layer(x)
        return out


def heads(x: Tensor, n: int) -> Tensor:
    """Return ``(..., tokens, width)`` as ``(..., n_heads, tokens, width / n_heads)``."""
    return x.unflatten(-1, (n, -1)).transpose(-2, -3)


class SensorEmbedding(nn.Module):
    """What a sensor is: place and direction ``(..., 6)`` and type ``(...)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sensor_embedding_layer = nn.Embedding(len(SENSOR_TYPES), width)
        self.pos_embedding_layer = nn.Sequential(nn.Linear(6, width // 2), nn.SELU(), nn.Linear(width // 2, width))
        self.aggregate_mlp = FeedForward(width)
        self.norm = RMSNorm(width)

    def forward(self, place: Tensor, kind: Tensor) -> Tensor:
        """Return ``(..., width)``."""
        x = self.pos_embedding_layer(place) + self.sensor_embedding_layer(kind)
        out: Tensor = self.norm(x + self.aggregate_mlp(x))
        return out


class _Backward(nn.Module):
    """Sources look at sensors."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.v = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, sources: Tensor, key: Tensor, x: Tensor) -> Tensor:
        n = self.n_heads
        mixed = F.scaled_dot_product_attention(heads(sources, n), heads(key, n), heads(self.v(x), n))
        out: Tensor = self.proj(mixed.transpose(-2, -3).flatten(-2))
        return out


class _Encoder(nn.Module):
    def __init__(self, shape: TokenizerShape) -> None:
        super().__init__()
        width = shape.width
        self.seanet_encoder = SEANetEncoder(
            width, shape.n_filters, shape.ratios, shape.kernel, shape.last_kernel
        )  # fmt: skip
        self.neuros = nn.Parameter(torch.randn(shape.n_sources, width))
        self.backwardsolution = _Backward(width, shape.n_heads)
        self.k_proj = nn.Linear(width, width)

    def codec(self, x: Tensor) -> Tensor:
        """Return tokens ``(n, n_channels, n_tokens, width)`` of windows ``(n, n_channels, n_windows, window)``."""
        n, channels = x.shape[:2]
        tokens: Tensor = self.seanet_encoder(x.flatten(0, 2)[:, None])
        return tokens.transpose(1, 2).reshape(n, channels, -1, tokens.shape[1])

    def forward(self, x: Tensor, sensors: Tensor) -> Tensor:
        """Return tokens of every source ``(n, n_sources, n_tokens, width)``."""
        return self.gathered(self.codec(x), sensors)

    def gathered(self, tokens: Tensor, sensors: Tensor) -> Tensor:
        """Return tokens of every source, of those of every channel."""
        tokens = tokens.transpose(1, 2)
        key = self.k_proj(tokens + sensors[:, None])
        queries = self.neuros.expand(*tokens.shape[:2], -1, -1)
        out: Tensor = self.backwardsolution(queries, key, tokens).transpose(1, 2)
        return out

    def topography(self, x: Tensor, sensors: Tensor) -> Tensor:
        """Return how much sources look at sensors ``(n, n_sources, n_channels)``, mean over heads and time."""
        tokens = self.codec(x).transpose(1, 2)
        n = self.backwardsolution.n_heads
        key = heads(self.k_proj(tokens + sensors[:, None]), n)
        query = heads(self.neuros, n)
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        return weights.mean(dim=(1, 2))


class _Quantizer(nn.Module):
    def __init__(self, shape: TokenizerShape) -> None:
        super().__init__()
        width = shape.code_width or shape.width
        narrower = shape.code_width is not None
        self.narrow = nn.Linear(shape.width, width) if narrower else nn.Identity()
        self.widen = nn.Linear(width, shape.width, bias=False) if narrower else nn.Identity()  # no bias: levels add up
        self.rvq = ResidualVQ(shape.n_levels, shape.n_codes, width, gradient=shape.gradient)

    def inner(self, x: Tensor) -> Tensor:
        """Return what the first codebook reads: tokens of length one, as wide as the codes."""
        return F.normalize(self.narrow(x), dim=-1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tokens, codes, commitment = self.rvq(self.inner(x))
        return self.widen(tokens), codes, commitment

    def uncoded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens as they are but of length one, and no commitment, before there are codes."""
        self.rvq.layers[0].codebook.check_enough(x[..., 0].numel())  # type: ignore[union-attr, operator]
        return self.widen(self.inner(x)), x.new_zeros(())


class _Forward(nn.Module):
    """Sensors look at sources."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, sensors: Tensor, sources: Tensor) -> Tensor:
        n = self.n_heads
        key, value = self.kv(sources).chunk(2, dim=-1)
        mixed = F.scaled_dot_product_attention(heads(sensors, n), heads(key, n), heads(value, n))
        out: Tensor = self.proj(mixed.transpose(-2, -3).flatten(-2))
        return out


class _Decoder(nn.Module):
    def __init__(self, shape: TokenizerShape) -> None:
        super().__init__()
        self.forwardsolution = _Forward(shape.width, shape.n_heads)
        self.seanet_decoder = SEANetDecoder(
            shape.width, shape.n_filters, shape.ratios, shape.kernel, shape.last_kernel
        )  # fmt: skip

    def forward(self, x: Tensor, sensors: Tensor, windows: int) -> Tensor:
        """Return ``(n, n_channels, windows, window)`` of the sources' tokens."""
        n, channels, _ = sensors.shape
        x = x.transpose(1, 2)
        at_sensors = self.forwardsolution(sensors[:, None].expand(-1, x.shape[1], -1, -1), x).transpose(1, 2)
        tokens = at_sensors.reshape(n * channels * windows, -1, x.shape[-1]).transpose(1, 2)
        out: Tensor = self.seanet_decoder(tokens)
        return out.reshape(n, channels, windows, -1)


class BrainTokenizer(nn.Module):
    """Turn recordings of any sensors into tokens of latent sources, and back.

    Parameters
    ----------
    shape : TokenizerShape
    phase : {"circular", "released"}
        Distance of two phases in the objective: the shorter way round, or the released code's plain difference.

    Notes
    -----
    Signals ``(n, n_channels, n_times)``, places ``(n, n_channels, 6)`` and types ``(n, n_channels)``: see
    `brainbench.recordings.whole.sensors`. The released network has 5,050,338 parameters, and 1.05 M numbers in
    codebooks.
    """

    def __init__(self, shape: TokenizerShape | None = None, *, phase: Phase = "circular") -> None:
        super().__init__()
        self.shape = shape or TokenizerShape()
        self.phase = phase
        self.sensor_embed = SensorEmbedding(self.shape.width)
        fielded = self.shape.mixing == "field"
        self.encoder = FieldEncoder(self.shape) if fielded else _Encoder(self.shape)
        self.quantizer = _Quantizer(self.shape)
        self.decoder = FieldDecoder(self.shape) if fielded else _Decoder(self.shape)
        _begin_with_the_signal(self)

    def windows(self, x: Tensor, overlap: float = 0.0) -> Tensor:
        """Return windows ``(n, n_channels, n_windows, window)``; the end is filled with zeros.

        Parameters
        ----------
        x : Tensor (n, n_channels, n_times)
        overlap : float
            Share of a window that the next one repeats.
        """
        window = self.shape.window
        hop = int(window * (1 - overlap))
        n = -(-max(0, x.shape[-1] - window) // hop) + 1
        return F.pad(x, (0, (n - 1) * hop + window - x.shape[-1])).unfold(-1, window, hop)

    def spans(self, n_times: int, overlap: float = 0.0) -> Tensor:
        """Return the first and the last but one sample of every token of a segment ``(n_tokens, 2)``."""
        window, stride = self.shape.window, self.shape.stride
        hop = int(window * (1 - overlap))
        n = -(-max(0, n_times - window) // hop) + 1
        start = (hop * torch.arange(n)[:, None] + stride * torch.arange(window // stride)).flatten()
        return torch.stack([start, start + stride], dim=1)

    def tokenize(self, x: Tensor, place: Tensor, kind: Tensor, overlap: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return quantised tokens ``(n, n_sources, n_tokens, width)`` and their codes ``(..., n_levels)``."""
        latent = self.encoder(self.windows(x, overlap), self.sensor_embed(place, kind))
        tokens, codes, _ = self.quantizer(latent)
        return tokens, codes

    def reconstruct(self, x: Tensor, place: Tensor, kind: Tensor, seen: Tensor | Sequence[int]) -> Tensor:
        """Return all sensors ``(n, n_channels, n_windows, window)``, z-scored by window, decoded from `seen` ones."""
        sensors, windows = self.sensor_embed(place, kind), self.windows(x)
        tokens, _, _ = self.quantizer(self.encoder(windows[:, seen], sensors[:, seen]))
        return self.decoded(tokens, sensors, windows.shape[2])

    def decoded(self, tokens: Tensor, sensors: Tensor, n_windows: int) -> Tensor:
        """Return signals of embedded sensors ``(n, n_channels, n_windows, window)`` from the sources' tokens."""
        at = self.encoder.field(sensors) if isinstance(self.encoder, FieldEncoder) else sensors
        found: Tensor = self.decoder(tokens, at, n_windows)
        return found

    def topography(self, x: Tensor, place: Tensor, kind: Tensor) -> Tensor:
        """Return how much every source looks at every sensor ``(n, n_sources, n_channels)``; rows sum to one.

        With ``mixing="field"`` it is the field of every source, with its sign.
        """
        return self.encoder.topography(self.windows(x), self.sensor_embed(place, kind))

    def terms(self, x: Tensor, place: Tensor, kind: Tensor, coded: Tensor | bool = True) -> dict[str, Tensor]:
        """Return the weighted terms of the objective; a quarter of the sensors is withheld and decoded with all.

        Without `coded` tokens pass as they are: codebooks begin later, with what the codec has become.

        Raises
        ------
        UserError
            If there are fewer than two sensors.
        """
        if x.shape[1] < 2:
            raise UserError("the withheld-channel objective needs at least two channels")
        sensors, windows = self.sensor_embed(place, kind), self.windows(x)
        order = torch.randperm(x.shape[1], device=x.device)
        seen = order[max(1, int(WITHHELD * x.shape[1])) :]
        noisy = windows[:, seen]
        latent = self.encoder(noisy + NOISE * torch.randn_like(noisy), sensors[:, seen])
        if coded:
            tokens, _, commitment = self.quantizer(latent)
        else:
            tokens, commitment = self.quantizer.uncoded(latent)
        decoded = self.decoded(tokens, sensors, windows.shape[2]).float()
        return codec_terms(decoded, zscored(windows.float()), self.phase) | {"commitment": commitment}


@torch.no_grad()
def _begin_with_the_signal(network: nn.Module) -> None:
    """Draw first weights that keep the size of what passes, without biases, and types that hide no positions.

    With torch's own first weights a signal shrinks from layer to layer until biases are all that is left of it: tokens
    of length one are then nearly the same for every signal, and training stands still for hundreds of steps.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d, nn.Linear)):
            weight = module.weight
            fan_in = weight[0].numel()
            if isinstance(module, nn.ConvTranspose1d):  # an output meets two steps of the kernel
                fan_in = 2 * len(weight)
            drawn = nn.init.normal_(torch.empty_like(weight), std=fan_in**-0.5)
            module.weight = nn.Parameter(drawn) if isinstance(module, nn.Linear) else drawn
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)


def zscored(windows: Tensor) -> Tensor:
    """Return windows with mean zero and standard deviation one over the last axis; flat ones are zero."""
    windows = windows - windows.mean(-1, keepdim=True)
    return windows / (windows.std(-1, keepdim=True, unbiased=False) + 1e-6)


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Return correlations over the last axis; 0 where one of the two is flat."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-6)


def codec_terms(decoded: Tensor, target: Tensor, phase: Phase) -> dict[str, Tensor]:
    """Return weighted distances of signals: samples, correlation, amplitude and phase of the spectrum.

    Parameters
    ----------
    decoded, target : Tensor (..., n_times)
    phase : {"circular", "released"}
        With "released" phases of -pi and pi are two pi apart.
    """
    taper = torch.hamming_window(target.shape[-1], device=target.device)
    a, b = (torch.fft.rfft(taper * x, norm="ortho") for x in (decoded, target))
    apart = a.angle() - b.angle()
    if phase == "circular":
        apart = torch.atan2(apart.sin(), apart.cos())
    return {
        "samples": (decoded - target).abs().mean(),
        "correlation": torch.exp(-pearson(decoded, target).mean()),
        "amplitude": (a.abs() - b.abs()).abs().mean(),
        "phase": PHASE_WEIGHT * apart.abs().mean(),
    }
