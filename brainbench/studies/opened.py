"""Opens what a recipe names: the data set, its subjects, the encoders and their layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from brainbench.core.errors import UserError
from brainbench.core.last_used import LastUsed
from brainbench.data.base import Context, Dataset, choose_subjects
from brainbench.data.cards import load_card
from brainbench.data.roots import resolve_root
from brainbench.encoders.base import Encoder, Layer, open_encoder
from brainbench.encoders.selfcheck import CHECKS, remembered_in
from brainbench.features.store import NETWORKS, FeatureStore
from brainbench.recipes.datasets import DATASETS
from brainbench.recipes.encoders import EncoderSettings, RecordedSettings
from brainbench.recipes.kinds import Recipe
from brainbench.recordings.base import RecordingDataset

if TYPE_CHECKING:
    from brainbench.reconstruction.base import Codec, Generator

R = TypeVar("R", bound=Recipe, covariant=True)
"""A kind of recipe: what is opened of one may be read as what is opened of any."""
AnyR = TypeVar("AnyR", bound=Recipe)

FOLDS_BYTES = 128_000_000
"""Of all layers' folds that are kept; one that is larger is made again for every participant."""


@dataclass
class OpenEncoder:
    """An encoder of the recipe with the layers asked for.

    `encoder` is None for predictors that came with the recording (``family: recorded``).
    """

    settings: EncoderSettings
    encoder: Encoder | None
    layers: list[Layer]

    @property
    def name(self) -> str:
        """Its name in the recipe."""
        return self.settings.name

    @property
    def is_model(self) -> bool:
        """Whether it makes a claim."""
        return self.settings.role == "model"

    @property
    def untrained(self) -> bool:
        """Whether its weights are random."""
        return self.encoder is not None and self.encoder.untrained


@dataclass
class Opened(Generic[R]):
    """Everything a recipe names, opened."""

    recipe: R
    dataset: Dataset
    root_note: str
    subjects: list[str]
    store: FeatureStore
    encoders: list[OpenEncoder] = field(default_factory=list)
    codec: Codec | None = None
    generator: Generator | None = None
    in_time: LastUsed = field(default_factory=LastUsed)
    """Features of stories at the times of volumes: participants who heard the same at the same times share them."""
    folds: LastUsed[Any] = field(default_factory=lambda: LastUsed(FOLDS_BYTES))
    """Folds of layers' features (`brainbench.studies.encode.designs`), which participants share who met the same."""

    @cached_property
    def input_files(self) -> list[Path]:
        """Files whose content decides the result: the data's and the weights'."""
        files = list(self.dataset.files())
        for entry in self.encoders:
            if entry.encoder is not None:
                files += entry.encoder.weight_files()
        for one in (self.codec, self.generator):
            if one is not None:
                files += one.weight_files()
        return sorted(set(files))

    @property
    def networks(self) -> Path:
        """Folder of trained networks, beside the features."""
        return self.store.root / NETWORKS

    def encoder(self, name: str) -> OpenEncoder:
        """Return one of the recipe's encoders."""
        return next(entry for entry in self.encoders if entry.name == name)


def open_dataset(recipe: Recipe, cache: Path) -> tuple[Dataset, str]:
    """Open the recipe's data set; return it with a sentence that says which folder was taken."""
    settings: Any = recipe.dataset
    load_card(settings.name)  # the report prints it: that it is there is known before any work
    if not settings.needs_root:
        root, note = None, "no files: everything is simulated"
        folder = getattr(settings, "images", None) or settings.root
        if folder is not None:
            note = f"{folder} (stimuli; the responses are simulated)"
    elif settings.keeps_own_root and settings.root is None:
        root, note = None, "the folder that the data set's own library keeps"
    else:
        root, note = resolve_root(settings.name, settings.root)
    encoders = {entry.name: entry for entry in getattr(recipe, "encoders", [])}
    context = Context(seed=recipe.seed, cache=cache, encoders=encoders, device=recipe.execution.device)
    return DATASETS.builder(settings.name).open(settings, root, context), note


def open_all(recipe: AnyR, cache: Path) -> Opened[AnyR]:
    """Open everything that the sections of a recipe name; heavy libraries are imported here and not before."""
    dataset, note = open_dataset(recipe, cache)
    opened = Opened(recipe, dataset, note, choose_subjects(dataset, recipe.dataset.subjects), FeatureStore(cache))
    execution = recipe.execution
    for settings in getattr(recipe, "encoders", []):
        if isinstance(settings, RecordedSettings):
            opened.encoders.append(OpenEncoder(settings, None, [Layer(settings.feature, 0.0, None)]))
            continue
        with remembered_in(cache / CHECKS):
            encoder = open_encoder(
                settings,
                seed=recipe.seed,
                device=execution.device,
                batch_size=execution.batch_size,
                networks=cache / NETWORKS,
            )
        opened.encoders.append(OpenEncoder(settings, encoder, encoder.select(settings.layers)))
        _check_unseen(encoder, dataset, opened.subjects)
    codec, generator = getattr(recipe, "low_level", None), getattr(recipe, "generator", None)
    if codec is not None:
        from brainbench.recipes.reconstruction import CODECS

        opened.codec = CODECS.builder(codec.codec)(codec, seed=recipe.seed, device=execution.device)
    if generator is not None:
        from brainbench.recipes.reconstruction import GENERATORS

        known = {e.name: (e.encoder, e.settings) for e in opened.encoders if e.encoder is not None}
        opened.generator = GENERATORS.builder(generator.name)(
            generator, known, seed=recipe.seed, device=execution.device
        )
    return opened


def met_before(origins: Mapping[str, str], dataset: Dataset, subjects: Sequence[str]) -> str | None:
    """Return a recording of the subjects that a network learned from, wherever its copies lie; None where it met none.

    Parameters
    ----------
    origins : mapping of str to str
        What the network learned from: mark -> name.
    dataset : Dataset
    subjects : sequence of str
        Those whom it is tested on.
    """
    if not origins or not isinstance(dataset, RecordingDataset):
        return None
    shown = {mark: name for subject in subjects for mark, name in dataset.origins(subject).items()}
    return next((shown[mark] for mark in origins if mark in shown), None)


def _check_unseen(encoder: Encoder, dataset: Dataset, subjects: Sequence[str]) -> None:
    """Refuse an encoder that was trained on the recordings it is shown."""
    shared = met_before(encoder.origins(), dataset, subjects)
    if shared is not None:
        raise UserError(
            f"encoder '{encoder.name}' is trained on recordings that are its stimuli too, such as {shared}: "
            "its layers would have seen them",
            hint="`trained_on`, or the recipe of a tokenizer, must name other runs or other subjects",
        )
