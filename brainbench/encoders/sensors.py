"""Tokenizers of sensors as encoders: the layers of a trained network, on signals of any layout.

Layers are ``codec`` (tokens of every channel; a tokenizer with a lead field has none), ``sources`` (what latent sources
gather), ``levels.k`` (the sum of the first codebooks' vectors), and ``blocks.k`` of a masked-code model. Tokens that
begin after the signal's end, where the last window is filled up, are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.files import read_json
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Pool
from brainbench.encoders.capture import Tap, log_power
from brainbench.encoders.network import Inputs, NetworkEncoder
from brainbench.encoders.sites import stream_of
from brainbench.networks.devices import resolve_device
from brainbench.networks.store import NetworkStore
from brainbench.networks.tensors import load_tensors
from brainbench.networks.tokens.trained import key_of
from brainbench.networks.tokens.training import MASKED, omni_of, shape_of
from brainbench.networks.weights import digest_weights, load_strictly, read_weights, seeded
from brainbench.networks.zoo.brainomni import BASE, OVERLAP, TINY, BrainOmni
from brainbench.networks.zoo.leadfield import FieldEncoder
from brainbench.networks.zoo.official import load_official
from brainbench.networks.zoo.tokenizer import BrainTokenizer
from brainbench.recipes.encoders import SensorSettings
from brainbench.recipes.tokenizers import MaskedSettings, TokenizerSettings
from brainbench.recordings.reading import mark_of
from brainbench.recordings.whole.sensors import Sensors, normalised

BATCH = 16
PATTERNS = 2**28
"""Bytes of the attention patterns of one block and batch, at most."""
PUBLISHED_RATE = 256.0


class Reader(nn.Module):
    """A network with a place of its own for every layer.

    Parameters
    ----------
    network : BrainTokenizer or BrainOmni
    """

    def __init__(self, network: BrainTokenizer | BrainOmni) -> None:
        super().__init__()
        self.network = network
        self.codec, self.sources = nn.Identity(), nn.Identity()
        self.levels = nn.ModuleList(nn.Identity() for _ in range(self.tokenizer.shape.n_levels))

    @property
    def tokenizer(self) -> BrainTokenizer:
        """The tokenizer."""
        return self.network.tokenizer if isinstance(self.network, BrainOmni) else self.network

    @property
    def depth(self) -> range:
        """Numbers of the blocks."""
        return range(len(self.network.blocks)) if isinstance(self.network, BrainOmni) else range(0)

    @property
    def overlap(self) -> float:
        """Share of a window that the next one repeats."""
        return OVERLAP if isinstance(self.network, BrainOmni) else 0.0

    def forward(self, x: Tensor, place: Tensor, kind: Tensor) -> Tensor:
        """Run through every place, and return the last one's value ``(n, n_sources, n_tokens, width)``."""
        tokenizer, encoder = self.tokenizer, self.tokenizer.encoder
        windows, sensors = tokenizer.windows(x, self.overlap), tokenizer.sensor_embed(place, kind)
        if isinstance(encoder, FieldEncoder):
            latent = encoder(windows, sensors)
        else:
            latent = encoder.gathered(self.codec(encoder.codec(windows)), sensors)
        quantizer, total = tokenizer.quantizer, torch.zeros_like(latent)
        rest = quantizer.inner(self.sources(latent))
        for layer, level in zip(quantizer.rvq.layers, self.levels, strict=True):
            chosen = layer(rest)[0]
            rest, total = rest - chosen, level(total + quantizer.widen(chosen))
        if isinstance(self.network, BrainOmni):
            total = self.network.embedded(total)
            for block in self.network.blocks:
                total = block(total)
        return total


class SensorEncoder(NetworkEncoder):
    """Layers of a tokenizer of sensors.

    Pooling ``mean`` is, of blocks, the mean over tokens of every source's features, as published; of layers before,
    whose values swing with the signal, the log10 of their mean square. ``flatten`` keeps every token.

    Parameters
    ----------
    settings : SensorSettings
    seed : int
        Of random weights.
    device : str
    batch_size : int, optional
    """

    modalities = ("array",)
    pools = ("mean", "flatten")
    no_stream = (
        "a tokenizer has no blocks: codec, sources and levels hand on no stream, and sensors are attended once; a "
        "masked-code model (BrainOmni) has them"
    )
    _batch_size: int

    def __init__(
        self, settings: SensorSettings, *, seed: int = 0, device: str = "auto", batch_size: int | None = None
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self.untrained = settings.weights == "random"
        self.device = resolve_device(device)
        self._seed, self._batch_size = seed, batch_size or BATCH
        self._shown: Sensors | None = None
        self._most = PATTERNS

    # What it is -------------------------------------------------------------------------------------------------------

    @cached_property
    def key(self) -> str:
        """Key of a trained network, or path of a published file."""
        return self.settings.network if self.settings.published is not None else key_of(self.settings.network)

    @cached_property
    def _known(self) -> dict[str, Any]:
        """What the store says of its network; of a published one nothing."""
        key = self.key
        if self.settings.published is not None:
            if not Path(key).is_file():
                raise UserError(f"encoder '{self.name}': `network`: {key} does not exist")
            return {}
        store = NetworkStore(self.networks or ".")
        about = store.root / f"{key}.json"
        there = [entry.key for entry in store.entries() if entry.network in ("brain-tokenizer", MASKED)]
        if key not in there:
            raise UserError(
                f"encoder '{self.name}': no tokenizer '{key}' is kept in {store.root}{did_you_mean(key, there)}",
                hint=f"there: {one_of(there) or 'none'}; a recipe of `kind: pretrain` trains one, and `published` says "
                "what a file holds",
            )
        found: dict[str, Any] = read_json(about)
        return found

    @cached_property
    def _rate(self) -> float:
        return float(self._known.get("sfreq", PUBLISHED_RATE))

    @cached_property
    def network(self) -> torch.nn.Module:  # type: ignore[override]
        """The network behind its places."""
        return Reader(self._loaded()).to(self.device).eval().requires_grad_(False)

    def _loaded(self) -> BrainTokenizer | BrainOmni:
        settings, known = self.settings, self._known
        network: BrainTokenizer | BrainOmni
        with seeded(self._seed):
            if settings.published == "braintokenizer":
                network = BrainTokenizer()
            elif settings.published is not None:
                network = BrainOmni(TINY if settings.published == "tiny" else BASE, rope=settings.rope)
            elif known["network"] == MASKED:
                tokenizer = TokenizerSettings.model_validate(known["settings"])
                network = omni_of(MaskedSettings.model_validate(known["masked"]), tokenizer)
            else:
                tokenizer = TokenizerSettings.model_validate(known["settings"])
                network = BrainTokenizer(shape_of(tokenizer), phase=tokenizer.phase)
            if self.untrained:
                whole = network.tokenizer if isinstance(network, BrainOmni) else network
                width = whole.shape.code_width or whole.shape.width
                for layer in whole.quantizer.rvq.layers:
                    layer.codebook.embed.normal_(std=width**-0.5)  # type: ignore[union-attr, operator]
        if self.untrained:
            return network
        if settings.published is not None:
            load_official(network, read_weights(Path(settings.network)), Path(settings.network))
            return network
        file = Path(self.networks or ".") / f"{self.key}.safetensors"
        found = load_tensors(file, self.key)
        if found is None:
            raise UserError(f"encoder '{self.name}': {file} is damaged or gone", hint="run its `kind: pretrain` again")
        load_strictly(network, found[0], file)
        return network

    @property
    def note(self) -> str:  # type: ignore[override]
        """What the report says of it."""
        if self.untrained:
            return "random weights and codes, before any training"
        if self.settings.published is not None:
            return f"published weights of {self.settings.published}, {Path(self.settings.network).name}"
        people = ", ".join(self._known["training"]["people"])
        return f"trained without labels on recordings of {people}; key {self.key}"

    @cached_property
    def _weights(self) -> str:
        """Digest of the weights, which nothing changes: asked for with every layer, it would cost as much as a pass."""
        return digest_weights(self.network)

    def parameters(self) -> dict[str, Any]:
        """Return the digest of the weights, the rate, and how tokens are read."""
        reader = self.network
        assert isinstance(reader, Reader)
        return {"weights": self._weights, "rate": self._rate, "rope": getattr(reader.network, "rope", "none")}

    def weight_files(self) -> list[Path]:
        """Return the published file."""
        return [] if self.untrained or self.settings.published is None else [Path(self.settings.network)]

    def origins(self) -> dict[str, str]:
        """Return the recordings that a network of the store was trained on."""
        if self.untrained or self.settings.published is not None:
            return {}
        training = self._known["training"]
        if "origins" in training:
            return dict(training["origins"])
        return {mark_of(Path(file)): file for file in training["files"] if Path(file).is_file()}  # of an older store

    @cached_property
    def taps(self) -> Sequence[Tap]:
        """Codec (of channels, where there is one), sources, levels and blocks."""
        reader = self.network
        assert isinstance(reader, Reader)
        fielded = reader.tokenizer.shape.mixing == "field"
        names = [*([] if fielded else ["codec"]), "sources", *(f"levels.{k}" for k in range(len(reader.levels)))]
        places = {name: name for name in names} | {f"blocks.{k}": f"network.blocks.{k}" for k in reader.depth}
        last = len(places) - 1
        return [
            Tap(name, place, "output", k / last, layout="map_last" if name.startswith("blocks") else "")
            for k, (name, place) in enumerate(places.items())
        ]

    @cached_property
    def stream(self) -> Sequence[Tap]:
        """The blocks of a masked-code model and what the first is given; of a tokenizer nothing."""
        return stream_of(self.network, self.taps)

    # What it reads ----------------------------------------------------------------------------------------------------

    def batch_size(self) -> int:
        """Return how many trials a forward pass takes: as many as leave room for attention among all their tokens."""
        return min(self._batch_size, self._most)

    def check_stimuli(self, stimuli: Stimuli) -> None:
        """Refuse signals of another rate, and such whose sensors are not known."""
        if stimuli.layout is None or stimuli.sfreq is None:
            raise UserError(
                f"encoder '{self.name}' reads signals whose sensors are known; these stimuli say nothing of them"
            )
        if stimuli.sfreq != self._rate:
            raise UserError(
                f"encoder '{self.name}' was trained at {self._rate:g} samples per second, the stimuli have "
                f"{stimuli.sfreq:g}",
                hint=f"`dataset.sfreq: {self._rate:g}` resamples, after filtering",
            )
        self._shown = stimuli.layout.sensors()
        reader = self.network
        assert isinstance(reader, Reader)
        if isinstance(reader.network, BrainOmni):
            n_times = np.shape(stimuli.load(0))[-1]
            n_tokens = reader.tokenizer.shape.n_sources * len(reader.tokenizer.spans(n_times, reader.overlap))
            self._most = max(1, PATTERNS // (4 * reader.network.shape.n_heads * n_tokens**2))

    def inputs(self, stimuli: Stimuli, rows: Sequence[int]) -> Inputs:
        """Return trials, scaled as segments of training were, with places and types of their sensors."""
        reader = self.network
        assert isinstance(reader, Reader)
        sensors = self._shown or stimuli.layout.sensors()
        X = normalised(np.stack([stimuli.load(i) for i in rows]).astype(np.float64), sensors.kind)
        place, kind = (torch.from_numpy(part).to(self.device) for part in (sensors.place, sensors.kind))
        n = len(rows)
        args = (torch.from_numpy(X).to(self.device), place.expand(n, -1, -1), kind.expand(n, -1))
        spans, inside = self._times(X.shape[-1])
        n_sources = reader.tokenizer.shape.n_sources
        mask = inside.repeat(n_sources).expand(n, -1)
        ms = spans.double().mean(1).mul(1e3 / self._rate).float().repeat(n_sources).unsqueeze(1)
        return Inputs(n, args, mask=mask, real=mask, places={"ms": ms})

    def _times(self, n_times: int) -> tuple[Tensor, Tensor]:
        """Return the samples of every token of a source ``(n_tokens, 2)``, and whether it begins within the signal."""
        reader = self.network
        assert isinstance(reader, Reader)
        spans = reader.tokenizer.spans(n_times, reader.overlap).to(self.device)
        return spans, spans[:, 0] < n_times

    def pooled(self, value: Tensor, tap: Tap, pool: Pool, inputs: Inputs) -> Tensor:
        """Return one vector a trial ``(n, channels or sources x features)``, of tokens that begin within the signal."""
        value = value[:, :, self._times(inputs.args[0].shape[-1])[1]].float()
        if pool == "flatten":
            return value.flatten(1).clone()
        if tap.name.startswith("blocks"):
            return value.mean(dim=2).flatten(1)
        return log_power(value, 2)
