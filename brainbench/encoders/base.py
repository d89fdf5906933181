"""The contract of an encoder: named layers with a depth, and features of all of them from one pass.

Taps are numbered once for all: tap 0 is the input of the first block, tap ``l + 1`` the output of block ``l``;
the relative depth of tap ``t`` is ``t / L``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError, did_you_mean
from brainbench.data.account import RunUse
from brainbench.data.base import Stimuli
from brainbench.data.stimulus_files import given_stimuli
from brainbench.recipes.encoders import ENCODERS, encoder_settings

Pool = Literal["cls", "mean", "flatten"]
POOLS: tuple[Pool, ...] = ("cls", "mean", "flatten")


@dataclass(frozen=True)
class Layer:
    """A named tap of an encoder.

    Attributes
    ----------
    name : str
        As users write it and as globs match it: ``blocks.3``, ``encoder.layer.5``.
    depth : float
        Relative depth in [0, 1].
    width : int or None
        Number of features after ``mean`` or ``cls`` pooling; None where only a forward pass tells.
    """

    name: str
    depth: float
    width: int | None


class Encoder(ABC):
    """Turns stimuli into features, all asked layers from one forward pass.

    Attributes
    ----------
    name : str
        Name of the encoder as the recipe labels it.
    modalities : tuple of str
        The modalities of stimuli it accepts.
    untrained : bool
        True when its weights are random; said wherever its numbers appear.
    pools : tuple of str
        The poolings that mean something for it; an encoder without positions gives the same under each.
    device : str
        Where it runs; its class (``cpu``, ``cuda``, ``mps``) is part of a feature's key.
    note : str
        A sentence for the report, such as what it was trained on.
    account : sequence of RunUse
        What of every run it was trained on here, and what was left out, for the report's Data section.
    networks : Path, optional
        Folder of trained networks (`brainbench.networks.store`), for encoders that are trained here; None keeps theirs
        in memory.
    """

    name: str
    modalities: tuple[str, ...]
    untrained: bool = False
    pools: tuple[Pool, ...] = POOLS
    device: str = "cpu"
    note: str = ""
    account: Sequence[RunUse] = ()
    networks: Path | None = None

    def __repr__(self) -> str:
        names = [layer.name for layer in self.layers()]
        shown = ", ".join(names if len(names) <= 4 else [names[0], names[1], "...", names[-1]])
        marks = ", untrained" if self.untrained else ""
        return (
            f"{type(self).__name__}('{self.name}'): reads {' or '.join(self.modalities)}; {len(names)} "
            f"layer{'' if len(names) == 1 else 's'}: {shown}; on {self.device}{marks}"
        )

    def _repr_html_(self) -> str:
        """Return name, layers and their depths as a notebook shows them."""
        rows = "".join(
            f"<tr><td>{escape(layer.name)}</td><td>{layer.depth:.2f}</td><td>{layer.width or ''}</td></tr>"
            for layer in self.layers()
        )
        head = "<tr><th>layer</th><th>depth</th><th>features</th></tr>"
        return f"<p>{escape(repr(self))}</p><details><summary>layers</summary><table>{head}{rows}</table></details>"

    @abstractmethod
    def layers(self) -> list[Layer]:
        """Return every layer in order of depth."""

    @abstractmethod
    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches in the order of the stimuli: ``{layer: float32 (n_in_batch, n_features)}``."""

    def encode_rest(
        self, stimuli: Stimuli, layers: Sequence[str], pool: Pool, done: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield what `encode` yields after the first `done` stimuli, such as a killed process has left to do.

        Encoders that can, compute no more than that.
        """
        seen = 0
        for batch in self.encode(stimuli, layers, pool):
            size = len(next(iter(batch.values())))
            if seen + size > done:
                yield {layer: values[max(done - seen, 0) :] for layer, values in batch.items()}
            seen += size

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return what decides its features, readable: resolved settings, preprocessing, digest of weights.

        `brainbench cache explain` prints it. The name in the recipe, layers, pool and batch size are no part.
        """

    def digest(self) -> str:
        """Return a digest of weights, preprocessing and resolved settings."""
        return digest({"encoder": type(self).__qualname__, **self.parameters()})

    def select(self, patterns: Sequence[str]) -> list[Layer]:
        """Return the layers whose names match any of the globs, in order of depth.

        Raises
        ------
        UserError
            If a pattern matches no layer.
        """
        layers = self.layers()
        names = [layer.name for layer in layers]
        chosen: set[str] = set()
        for pattern in patterns:
            matched = {name for name in names if fnmatchcase(name, pattern)}
            if not matched:
                raise UserError(
                    f"encoder '{self.name}': layer pattern '{pattern}' matches none of its {len(names)} layers"
                    f"{did_you_mean(pattern, names)}",
                    hint=f"layers: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''} "
                    "(`brainbench layers MODEL` lists all)",
                )
            chosen |= matched
        return [layer for layer in layers if layer.name in chosen]

    def features(
        self,
        stimuli: Any,
        layers: Sequence[str] = ("*",),
        pool: Pool = "mean",
    ) -> dict[str, np.ndarray]:
        """Return features of every stimulus in memory, ``{layer: float32 (n_stimuli, n_features)}``.

        Parameters
        ----------
        stimuli : Stimuli, one stimulus, or a sequence of stimuli
            PIL images, arrays, texts, or paths of images, sounds and texts.
        layers : sequence of str
            Names or globs.
        pool : {"cls", "mean", "flatten"}

        See Also
        --------
        brainbench.features.store.FeatureStore : keeps them on disk, whatever their size.
        """
        shown = self.view(given_stimuli(stimuli, self.modalities, f"encoder '{self.name}'"))
        self.check_modality(shown)
        names = [layer.name for layer in self.select(layers)]
        batches = list(self.encode(shown, names, pool))
        return {name: np.concatenate([batch[name] for batch in batches]) for name in names}

    def weight_files(self) -> list[Path]:
        """Return the files the weights were read from, so that a later run can see them change."""
        return []

    def origins(self) -> dict[str, str]:
        """Return the recordings that it learned from: mark -> name; a trial of them is no test of it."""
        return {}

    def training_key(self) -> str | None:
        """Return the key of the network that is trained here before any feature is read; None for most encoders."""
        return None

    def train(self) -> dict[str, np.ndarray]:
        """Train that network, or read it where it was trained before; return how training went, by epoch."""
        return {}

    def remarks(self, stimuli: Stimuli) -> list[str]:
        """Return what the report warns of: what of these stimuli it does not read. Computes no features."""
        return []

    def view(self, stimuli: Stimuli) -> Stimuli:
        """Return what this encoder reads of the stimuli: of images with captions, one of texts reads these."""
        return stimuli.seen_by(self.modalities)

    def check_modality(self, stimuli: Stimuli) -> None:
        """Raise a UserError when the stimuli are not what this encoder reads."""
        if self.view(stimuli).modality not in self.modalities:
            raise UserError(
                f"encoder '{self.name}' reads {' or '.join(self.modalities)} stimuli, "
                f"the data set has {stimuli.modality} stimuli"
            )

    def check_pool(self, pool: Pool) -> None:
        """Raise a UserError when this encoder has no such pooling."""
        if pool not in self.pools:
            raise UserError(
                f"encoder '{self.name}' cannot pool by '{pool}'; allowed: {', '.join(self.pools)}",
                hint="`cls` needs a class token, `flatten` stimuli of one size",
            )


class ShuffledEncoder(Encoder):
    """Deals an encoder's features to the wrong stimuli, the same wrong one for equal content.

    Parameters
    ----------
    encoder : Encoder
    seed : int
    """

    def __init__(self, encoder: Encoder, seed: int = 0) -> None:
        self.encoder = encoder
        self.seed = seed
        self.name = encoder.name
        self.modalities = encoder.modalities
        self.untrained = encoder.untrained
        self.pools = encoder.pools
        self.device = encoder.device
        self.note = encoder.note

    def layers(self) -> list[Layer]:
        """Return the layers of the encoder."""
        return self.encoder.layers()

    def parameters(self) -> dict[str, Any]:
        """Return the encoder's parameters and the seed of the shuffle."""
        return {"shuffled": self.encoder.digest(), "seed": self.seed, **self.encoder.parameters()}

    def weight_files(self) -> list[Path]:
        """Return the encoder's weight files."""
        return self.encoder.weight_files()

    def origins(self) -> dict[str, str]:
        """Return what the encoder learned from."""
        return self.encoder.origins()

    def training_key(self) -> str | None:
        """Return the key of the encoder's network, if it is trained here."""
        return self.encoder.training_key()

    def train(self) -> dict[str, np.ndarray]:
        """Train the encoder's network."""
        return self.encoder.train()

    def remarks(self, stimuli: Stimuli) -> list[str]:
        """Return the encoder's."""
        return self.encoder.remarks(stimuli)

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield the features of other stimuli; see `Encoder.encode`."""
        contents = list(dict.fromkeys(stimuli.content_digests))
        example = {content: index for index, content in reversed(list(enumerate(stimuli.content_digests)))}
        order = _derangement(len(contents), np.random.default_rng([self.seed, 61]))
        other = {content: example[contents[j]] for content, j in zip(contents, order, strict=True)}
        source = [other[content] for content in stimuli.content_digests]
        if stimuli.modality in ("word", "sound"):
            # They are read in their context: the story stays whole, and the features are dealt out afterwards.
            batches = list(self.encoder.encode(stimuli, layers, pool))
            yield {layer: np.concatenate([batch[layer] for batch in batches])[source] for layer in layers}
            return
        yield from self.encoder.encode(stimuli.take(np.asarray(source)), layers, pool)


def _derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random permutation without a fixed point (n of 2 or more)."""
    order = rng.permutation(n)
    if n < 2:
        return order
    # One random cycle through all: nothing stays in its place.
    target = np.empty(n, dtype=int)
    target[order] = np.roll(order, 1)
    return target


def open_encoder(
    settings: Any, *, seed: int = 0, device: str = "auto", batch_size: int | None = None, networks: Path | None = None
) -> Encoder:
    """Return the encoder that one entry of a recipe's ``encoders:`` section describes.

    Parameters
    ----------
    settings : EncoderSettings or mapping
        The entry: ``{"name": "vit", "family": "image", "model": "vit_base_patch16_224"}``.
    seed : int
        Seed of random weights, random vectors and shuffles.
    device : str
        auto, cpu, mps, cuda or cuda:N.
    batch_size : int, optional
        Stimuli per forward pass; chosen by memory without it.
    networks : Path, optional
        Where networks that are trained here are kept and found again.
    """
    if isinstance(settings, Mapping):
        settings = encoder_settings(dict(settings))
    encoder: Encoder = ENCODERS.builder(settings.family)(settings, seed=seed, device=device, batch_size=batch_size)
    encoder.networks = networks
    if settings.shuffle:
        return ShuffledEncoder(encoder, seed=seed)
    return encoder
