"""Trains tokenizers of sensors and models of their codes, by key, on segments of recordings given as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from brainbench.networks.devices import resolve_device
from brainbench.networks.options import Training
from brainbench.networks.store import NetworkStore, TrainedNetwork
from brainbench.networks.training import Progress, Trained, train
from brainbench.networks.weights import seeded
from brainbench.networks.zoo.brainomni import BrainOmni, OmniShape
from brainbench.networks.zoo.tokenizer import BrainTokenizer, TokenizerShape, codec_terms, pearson, zscored
from brainbench.recipes.tokenizers import MaskedSettings, PretrainTraining, TokenizerSettings

TOKENIZER, MASKED = "brain-tokenizer", "brain-omni"
"""What the store calls the two."""
STRETCH = 50
"""Steps of an epoch: checkpoints and validation lie between."""
BATCH = 16
"""Segments of a pass without gradients."""


@dataclass(frozen=True)
class Person:
    """What a network reads of a participant.

    Parameters
    ----------
    X : float32 ndarray (n_segments, n_channels, n_times)
        See `brainbench.recordings.whole.sensors.normalised`.
    place : float32 ndarray (n_channels, 6)
    kind : int64 ndarray (n_channels,)
    digest : str
    name : str
    origins : mapping of str to str
        What was read of it: mark of a recording -> its name.
    """

    X: np.ndarray
    place: np.ndarray
    kind: np.ndarray
    digest: str = ""
    name: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)

    def batch(self, rows: Any, device: str, among: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return signals, places and types of some segments, of all sensors or of those `among`."""
        x, place, kind = (torch.from_numpy(part) for part in (self.X[rows], self.place, self.kind))
        if among is not None:
            x, place, kind = x[:, among], place[among], kind[among]
        n = len(x)
        return x.to(device), place.expand(n, -1, -1).to(device), kind.expand(n, -1).to(device)

    def batches(self, device: str) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield all segments in order."""
        for start in range(0, len(self.X), BATCH):
            yield self.batch(slice(start, start + BATCH), device)


@dataclass(frozen=True)
class SensorBatches:
    """Batches of one participant each, drawn by how many segments there are.

    Parameters
    ----------
    people : sequence of Person
    training : Training
        With `n_steps`, of which every epoch takes an equal part.
    sensors : int, optional
        Sensors drawn for a batch.
    codes_after : int
        Steps without codebooks. Where there are any, each batch ends with whether it is coded.
    """

    people: Sequence[Person]
    training: Training
    sensors: int | None = None
    codes_after: int = 0

    def __call__(self, epoch: int, step: int) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
        """Yield the batches of an epoch; see `brainbench.networks.training.Batches`."""
        assert self.training.n_steps is not None
        device = resolve_device(self.training.device)
        weight = torch.tensor([float(len(person.X)) for person in self.people])
        for number in range(step, min(step + STRETCH, self.training.n_steps)):
            person = self.people[int(torch.multinomial(weight, 1))]
            n_channels = person.X.shape[1]
            rows = torch.randperm(len(person.X))[: self.training.batch_size].numpy()
            among = None
            if self.sensors is not None and self.sensors < n_channels:
                among = torch.randperm(n_channels)[: self.sensors]
            batch: tuple[Tensor, ...] = person.batch(rows, device, among)
            if self.codes_after:
                batch = (*batch, torch.tensor(number >= self.codes_after))
            yield len(rows), batch


@dataclass(frozen=True)
class TokenTraining:
    """A tokenizer that is trained once, or read.

    Parameters
    ----------
    settings : TokenizerSettings
    training : PretrainTraining
    people, validation : sequence of Person
    sfreq : float
        Samples per second of all of them.
    store : NetworkStore
    seed : int
    device : str
    threads : int
    """

    settings: TokenizerSettings
    training: PretrainTraining
    people: Sequence[Person]
    validation: Sequence[Person]
    sfreq: float
    store: NetworkStore
    seed: int = 0
    device: str = "auto"
    threads: int = 1

    @property
    def shape(self) -> TokenizerShape:
        """Sizes of the network."""
        return shape_of(self.settings)

    @property
    def options(self) -> Training:
        """The trainer's record."""
        return _options(self.training, self.training.steps, self.training.learning_rate, self)

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the weights."""
        return {
            "network": TOKENIZER,
            "sfreq": self.sfreq,
            "settings": self.settings.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json"),
            "people": [person.digest for person in self.people],
            "validation": [person.digest for person in self.validation],
            "stretch": STRETCH,
            "seed": self.seed,
            "threads": self.threads,
            "device": resolve_device(self.device).partition(":")[0],
        }

    @property
    def key(self) -> str:
        """Its name in the store."""
        return NetworkStore.key(self.describe())

    def built(self) -> BrainTokenizer:
        """Return the network before training."""
        with seeded(self.seed):
            return BrainTokenizer(self.shape, phase=self.settings.phase).eval()

    def trained(self, progress: Progress | None = None) -> TrainedNetwork:
        """Return the trained network's tensors and history; trains it where it was not yet.

        Raises
        ------
        UserError
            If there are fewer vectors in a batch than codes, or a loss is not finite.
        """
        options = self.options

        def run(checkpoint: Path, key: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
            network = self.built()
            batches = SensorBatches(self.people, options, self.training.sensors, self.training.codes_after)
            found = train(
                network, batches, _terms, options, checkpoint=checkpoint, key=key, progress=progress,
                validate=self._validate if self.validation else None,
            )  # fmt: skip
            return network.state_dict(), self.facts(found)

        return self.store.trained(self.describe(), run)

    def facts(self, found: Trained) -> dict[str, Any]:
        """Return what is kept beside the weights: how training went, on whom, from which files."""
        everybody = [*self.people, *self.validation]
        return {
            "history": found.history,
            "best_epoch": found.best_epoch,
            "people": [person.name for person in everybody],
            "origins": {mark: name for person in everybody for mark, name in person.origins.items()},
        }

    def network(self) -> BrainTokenizer:
        """Return the trained network, on its device."""
        network = self.built()
        network.load_state_dict(dict(self.trained().tensors))
        return network.to(resolve_device(self.device)).eval()

    def _validate(self, network: nn.Module) -> dict[str, float]:
        """Return the objective on people who are not trained on, every fourth sensor withheld and nothing drawn."""
        assert isinstance(network, BrainTokenizer)
        network.eval()
        losses, r = [], []
        with torch.inference_mode():
            for person in self.validation:
                seen = torch.arange(person.X.shape[1]) % 4 != 0
                for x, place, kind in person.batches(resolve_device(self.device)):
                    target = zscored(network.windows(x))
                    decoded = network.reconstruct(x, place, kind, seen)
                    losses.append(float(sum(codec_terms(decoded, target, network.phase).values())))
                    r.append(float(pearson(decoded[:, ~seen], target[:, ~seen]).mean()))
        return {"validation_loss": float(np.mean(losses)), "validation_withheld_r": float(np.mean(r))}


@dataclass(frozen=True)
class MaskedTraining:
    """A model of the masked codes of a trained tokenizer; see `TokenTraining`."""

    settings: MaskedSettings
    tokenizer: TokenTraining

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the weights."""
        own = {"network": MASKED, "masked": self.settings.model_dump(mode="json"), "tokenizer": self.tokenizer.key}
        return {**self.tokenizer.describe(), **own}

    @property
    def options(self) -> Training:
        """The trainer's record."""
        tokens = self.tokenizer
        return _options(tokens.training, self.settings.steps, self.settings.learning_rate, tokens)

    @property
    def key(self) -> str:
        """Its name in the store."""
        return NetworkStore.key(self.describe())

    def built(self, tokenizer: BrainTokenizer) -> BrainOmni:
        """Return the network before training, with the trained tokenizer in it."""
        with seeded(self.tokenizer.seed):
            network = omni_of(self.settings, self.tokenizer.settings)
        network.tokenizer.load_state_dict(tokenizer.state_dict())
        return network.eval()

    def trained(self, progress: Progress | None = None) -> TrainedNetwork:
        """Return the trained network's tensors and history; trains it, and its tokenizer, where they were not yet."""
        tokens, options = self.tokenizer, self.options

        def run(checkpoint: Path, key: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
            network = self.built(tokens.network())
            batches = SensorBatches(tokens.people, options, tokens.training.sensors)
            found = train(network, batches, _terms, options, checkpoint=checkpoint, key=key, progress=progress)
            return network.state_dict(), tokens.facts(found)

        return tokens.store.trained(self.describe(), run)

    def network(self) -> BrainOmni:
        """Return the trained network, on its device."""
        network = self.built(self.tokenizer.network())
        network.load_state_dict(dict(self.trained().tensors))
        return network.to(resolve_device(self.tokenizer.device)).eval()


def shape_of(s: TokenizerSettings) -> TokenizerShape:
    """Return the sizes that a recipe gives."""
    return TokenizerShape(
        window=s.window, n_filters=s.n_filters, ratios=tuple(s.ratios), width=s.width, n_heads=s.n_heads,
        n_sources=s.n_sources, n_levels=s.n_levels, n_codes=s.n_codes, code_width=s.code_width, gradient=s.gradient,
        mixing=s.mixing,
    )  # fmt: skip


def omni_of(settings: MaskedSettings, tokenizer: TokenizerSettings) -> BrainOmni:
    """Return a model of masked codes with first weights."""
    shape = OmniShape(settings.width, settings.n_heads, settings.depth, settings.drop_prob)
    return BrainOmni(shape, shape_of(tokenizer), rope=settings.rope, phase=tokenizer.phase)


def _terms(network: nn.Module, *batch: Tensor) -> Mapping[str, Tensor]:
    found: Mapping[str, Tensor] = network.terms(*batch)  # type: ignore[operator]
    return found


def _options(training: PretrainTraining, steps: int, learning_rate: float, of: TokenTraining) -> Training:
    return Training(
        n_epochs=-(-steps // STRETCH), n_steps=steps, batch_size=training.batch_size, learning_rate=learning_rate,
        weight_decay=training.weight_decay, schedule="warmup_cosine", validation=0.0, patience=None, seed=of.seed,
        device=of.device, threads=of.threads, ema=training.ema, clip=1.0, bf16=training.bf16,
    )  # fmt: skip
