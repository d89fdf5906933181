"""Networks of pictures and texts as encoders: VisualBERT, LXMERT, ViLT, CLIP, BLIP, BLIP-2, LLaVA, Qwen2.5-VL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Layer, Pool
from brainbench.encoders.capture import Tap, pooled
from brainbench.encoders.language.begin import without_sink
from brainbench.encoders.network import NetworkEncoder
from brainbench.encoders.pixels import checked_image
from brainbench.encoders.selfcheck import Checked, Probe, checked
from brainbench.encoders.vision_language.networks import Given, Kind, Regions, Stream, kind_of
from brainbench.encoders.vision_language.regions import RegionProvider, open_regions
from brainbench.networks.devices import resolve_device
from brainbench.networks.pretrained import built, digest_config, files_of, quietly, source_of
from brainbench.networks.weights import digest_weights, hub

if TYPE_CHECKING:
    from torch import Tensor

    from brainbench.recipes.encoders import VisionLanguageSettings

PROBES = ("A dog.", "Two grey cats sleep on a bed near the open window, and it rains.")
"""Texts on which a network is checked when it is opened: a short and a long one."""


class VisionLanguageEncoder(NetworkEncoder):
    """A network that sees a picture and reads its caption: features of its words' and its patches' tokens.

    Parameters
    ----------
    settings : VisionLanguageSettings
    seed : int
        Seed of random weights.
    device : str
    batch_size : int, optional
    """

    modalities: tuple[str, ...] = ("image", "text")
    _begin: str | None = None
    """Of a language model whose first place is a sink: the token that is put before texts and pictures, or nothing."""

    def __init__(
        self, settings: VisionLanguageSettings, *, seed: int = 0, device: str = "auto", batch_size: int | None = None
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self.device = resolve_device(device)
        self.source = source_of(settings.model)
        self.modalities = ("image", "text") if settings.given == "text" else ("image",)
        self._who = f"encoder '{self.name}'"
        self._batch_size = batch_size
        self.regions: RegionProvider | None = None
        self._said: list[str] = []
        self.kind = self._open(seed)
        self.network = self.kind.network
        self.untrained = settings.weights == "random" or (self.regions is not None and self.regions.untrained)
        self._weights = digest_weights(self.network)
        self._streams = self._check()
        self._parts = self._layers()
        if self._loaded is not None:
            self._loaded.check(self.reading.before_last_tap, self._who, partial=settings.partial_weights)
        self.pools = ("cls", "mean") if self.reading.class_token else ("mean",)
        self.note = "; ".join([*self._said, *self.reading.said])

    def _open(self, seed: int) -> Kind:
        from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer

        settings, who = self.settings, self._who
        options: dict[str, Any] = {"trust_remote_code": False}
        what = f"{who}: model '{settings.model}'"
        with quietly(), hub(what):
            config = AutoConfig.from_pretrained(self.source, **options)
        of = kind_of(config, who)
        network: Any
        network, self._loaded = built(
            self.source, seed=seed, untrained=settings.weights == "random", what=what, kind=of.class_
        )
        network = network.eval().requires_grad_(False).to(self.device).float()
        tokenizer_of = settings.tokenizer or self.source
        with quietly(), hub(f"{who}: tokenizer of '{tokenizer_of}'"):
            tokenizer = AutoTokenizer.from_pretrained(tokenizer_of, **options)
        processor: Any = None
        if of.needs != "regions" and (of.needs == "processor" or settings.given != "text"):
            auto = AutoProcessor if of.needs == "processor" else AutoImageProcessor
            with quietly(), hub(f"{who}: preprocessing of the model '{settings.model}'"):
                processor = auto.from_pretrained(self.source, **options)
        if of.needs == "processor":
            tokenizer = processor.tokenizer
        self._set_padding(tokenizer)
        if of.needs == "regions" and settings.given != "text":
            width = int(getattr(config, "visual_embedding_dim", 0) or config.visual_feat_dim)
            self.regions = open_regions(settings, width, device=self.device, seed=seed)
            self._said.append(self.regions.note)
        if self._loaded is not None:
            self._said.append(self._loaded.sentence)
        self._said.append(self._what_is_given(of))
        self._tokenizer_digest = digest(tokenizer.backend_tokenizer.to_str())
        return of(network, tokenizer, processor, self.device, settings.tokens)

    def _set_padding(self, tokenizer: Any) -> None:
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        tokenizer.padding_side = "right"  # on the left it would move positions with the company in a batch
        if not tokenizer.is_fast:
            raise UserError(f"{self._who}: {self.settings.model} has no fast tokenizer")

    def _what_is_given(self, kind: type[Kind]) -> str:
        given = self.settings.given
        if given == "both":
            return "sees the picture and reads its first caption"
        said = {"image": "sees the picture alone", "text": "reads the first caption alone"}[given]
        return f"{said} ({kind.instead[given]})" if given in kind.instead else said

    # Checking ------------------------------------------------------------------------------------------------------

    def _check(self) -> dict[Stream, tuple[Tap, ...]]:
        """Check every stream that is read, and return the taps of each."""
        rng = np.random.default_rng(0)
        given, tokens = self.settings.given, self.settings.tokens
        if self.kind.causal:
            with quietly():
                states = self.kind.hidden(self.kind.given(1, PROBES[1:], None))["joint"] or []
            self._begin, said = without_sink(self.kind.tokenizer, [one[0] for one in states])
            self._said += [said] * bool(said)
        withheld = {"image": "text", "text": "visual"}.get(given)
        if tokens == withheld:
            raise UserError(
                f"{self._who}: tokens: {tokens}: with `given: {given}` there are none; take `tokens: all` or "
                f"`{'text' if given == 'text' else 'visual'}`"
            )
        pictures = list(rng.integers(0, 256, (2, 64, 64, 3)).astype(np.uint8))
        texts = None if given == "image" else PROBES
        seen = None if given == "text" else self._noise() if self.regions is not None else pictures
        with quietly():
            both = self.kind.given(2, texts, seen)
            one = self.kind.given(1, None if texts is None else texts[:1], _first(seen))
        found: dict[Stream, Checked] = {}
        for stream, blocks in self.kind.streams().items():
            asked = stream in ("joint", tokens) or tokens == "all"
            if stream == withheld or stream not in both.attended or not asked:
                continue
            mask, alone = both.attended[stream], one.attended[stream]
            first = "embeddings" if stream != "visual" else "stem"

            def together(stream: Stream = stream) -> list[Tensor] | None:
                return self.kind.hidden(both)[stream]

            probe = Probe(together, partial(self.kind.forward, one), mask, alone, True, first, blocks)
            parameters = {"device": self.device, "stream": stream, **self._settings()}
            found[stream] = checked(self.network, partial(_itself, probe), parameters, self._who)
        read = list(found.values())
        self.reading = replace(
            read[0],
            taps=(),
            alone=any(one.alone for one in read),
            class_token=len(read) == 1 and read[0].class_token,
            largest=max(one.largest for one in read),
            before_last_tap=tuple(sorted({name for one in read for name in one.before_last_tap})),
            said=tuple(dict.fromkeys(line for one in read for line in one.said)),
        )
        return {
            stream: tuple([*(replace(tap, n_prefix=0) for tap in one.taps), *self.kind.after(stream)])
            for stream, one in found.items()
        }

    def _noise(self) -> Regions:
        """Return regions of noise on which the network is checked."""
        import torch

        config: Any = self.network.config
        width = int(getattr(config, "visual_embedding_dim", 0) or config.visual_feat_dim)
        made = torch.Generator().manual_seed(0)
        boxes = torch.tensor([0.1, 0.2, 0.6, 0.9]).expand(2, 5, 4)
        there = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
        return torch.rand(2, 5, width, generator=made), boxes, there

    def _layers(self) -> dict[str, tuple[Tap, ...]]:
        """Return the taps whose vectors make each layer, put one after the other.

        Of two streams, `all` reads both at the same depth: the cross layers where there are such, else every tap of
        the longer one with the nearest of the other.
        """
        if len(self._streams) == 1:
            (stream, taps), *_ = self._streams.items()
            self._of = dict.fromkeys([tap.name for tap in taps], stream)
            self.reading = replace(self.reading, taps=taps)
            return {tap.name: (tap,) for tap in taps}
        named = {
            stream: [replace(tap, name=f"{stream}.{tap.name}") for tap in taps]
            for stream, taps in self._streams.items()
        }
        self._of = {tap.name: stream for stream, taps in named.items() for tap in taps}
        self.reading = replace(self.reading, taps=tuple(tap for taps in named.values() for tap in taps))
        text, visual = named["text"], named["visual"]
        if self.kind.fused:
            n = len({tap.module for tap in text} & {tap.module for tap in visual}) + 1
            pairs = list(zip(text[-n:], visual[-n:], strict=True))
        else:
            n_after = len(self.kind.after("text"))
            bodies = [taps[: len(taps) - n_after] for taps in (text, visual)]
            pairs = [(_nearest(bodies[0], tap.depth), _nearest(bodies[1], tap.depth)) for tap in max(bodies, key=len)]
            pairs += [(text[-1], visual[-1])] * n_after
        return {f"joint.{i}": pair for i, pair in enumerate(pairs)}

    def layers(self) -> list[Layer]:
        """Return every layer in order of depth."""
        return [
            Layer(name, max(tap.depth for tap in taps), sum(int(tap.width or 0) for tap in taps))
            for name, taps in self._parts.items()
        ]

    # What decides features -----------------------------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        processor = self.kind.processor
        pictures = getattr(processor, "image_processor", processor)
        return {
            "network": type(self.network).__name__,
            "config": digest_config(self.network.config),
            "weights": self._weights,
            "tokenizer": self._tokenizer_digest,
            "processor": None if pictures is None else digest_config(pictures),
            "given": self.settings.given,
            "tokens": self.settings.tokens,
            "regions": None if self.regions is None else self.regions.parameters(),
            **({"first token": {"put before": self._begin}} if self._begin else {}),
        }

    def parameters(self) -> dict[str, Any]:
        """Return network, preprocessing, what is given and read, regions, and the digest of the weights."""
        return {**self._settings(), "taps": [[tap.module, tap.item, tap.layout] for tap in self.taps]}

    def weight_files(self) -> list[Path]:
        """Return the files of a local model, and of regions."""
        return [*files_of(self.source), *([] if self.regions is None else self.regions.files)]

    def check_stimuli(self, stimuli: Stimuli) -> None:
        """Raise a UserError for a picture without caption or regions, before the first batch."""
        if self.settings.given != "image":
            for i in range(len(stimuli)):
                self._text(stimuli, i)
        if self.regions is not None:
            self.regions.check(stimuli)

    def remarks(self, stimuli: Stimuli) -> list[str]:
        """Say how many texts are longer than what the network reads."""
        if self.settings.given == "image":
            return []
        texts = [self._text(stimuli, i) for i in range(len(stimuli))]
        longest = self.kind.max_tokens
        n_cut = sum(len(ids) > longest for ids in self.kind.tokenizer(texts, verbose=False)["input_ids"])
        return [f"{self._who}: {n_cut} of {len(texts)} texts are longer than {longest} tokens and were cut"] * (
            n_cut > 0
        )

    def _text(self, stimuli: Stimuli, row: int) -> str:
        return str(stimuli.load(row)) if stimuli.modality == "text" else stimuli.caption(row)

    def inputs(self, stimuli: Stimuli, rows: Sequence[int]) -> Given:
        """Return pictures, or their regions, with their captions; what `given` withholds is left out."""
        texts = None if self.settings.given == "image" else [self._text(stimuli, i) for i in rows]
        seen: Any = None
        if self.settings.given != "text":
            if self.regions is not None:
                seen = self.regions.of(stimuli, rows)
            else:
                seen = [checked_image(stimuli.load(i), stimuli.ids[i]) for i in rows]
        given = self.kind.given(len(rows), texts, seen)
        for stream in self._streams:
            empty = (~self._mask(given, stream).any(1)).nonzero()
            if len(empty):
                row = rows[int(empty[0])]
                said = "" if texts is None else f" ('{texts[int(empty[0])]}')"
                raise UserError(f"{self._who}: stimulus '{stimuli.ids[row]}'{said} gives no token that is read")
        return given

    # Features ------------------------------------------------------------------------------------------------------

    def forward(self, inputs: Any) -> None:
        """Run the network, or the towers that are read."""
        self.kind.forward(inputs)

    def _mask(self, given: Given, stream: Stream) -> Tensor:
        """Return which tokens of a stream are averaged."""
        tokens = self.settings.tokens
        groups = [given.text, given.visual] if tokens == "all" else [given.text if tokens == "text" else given.visual]
        masks = [group[stream] for group in groups if stream in group]
        return masks[0] | masks[-1]

    def encode_rest(
        self, stimuli: Stimuli, layers: Sequence[str], pool: Pool, done: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of features; see `Encoder.encode_rest`."""
        names = [tap.name for layer in layers for tap in self._parts[layer]]
        for batch in super().encode_rest(stimuli, names, pool, done):
            yield {layer: np.concatenate([batch[tap.name] for tap in self._parts[layer]], axis=1) for layer in layers}

    def pooled(self, value: Tensor, tap: Tap, pool: Pool, inputs: Any) -> Tensor:
        """Return the mean over the tokens that are read, or the class token."""
        if tap.layout == "vector":
            return value.float().clone()
        return pooled(value, tap, pool, self._mask(inputs, self._of[tap.name]))


def _nearest(taps: Sequence[Tap], depth: float) -> Tap:
    return min(taps, key=lambda tap: abs(tap.depth - depth))


def _itself(probe: Probe) -> Probe:
    return probe


def _first(seen: Any) -> Any:
    """Return what the first of two stimuli is seen as."""
    if seen is None:
        return None
    return tuple(one[:1] for one in seen) if isinstance(seen, tuple) else seen[:1]
