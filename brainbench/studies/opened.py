"""Opens what a recipe names: the data set, its subjects, the encoders and their layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.base import DATASETS, Context, Dataset, Responses, Stimuli
from brainbench.data.recordings.reading import READERS
from brainbench.data.roots import resolve_root
from brainbench.encoders.base import Encoder, Layer, open_encoder
from brainbench.features.store import NETWORKS, FeatureStore
from brainbench.recipes.encoders import EncoderSettings, RecordedSettings
from brainbench.recipes.kinds import Recipe
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.recipes.kinds.explore import ExploreRecipe
from brainbench.recipes.kinds.reconstruct import ReconstructRecipe

if TYPE_CHECKING:
    from brainbench.reconstruction.base import Codec, Generator

WITHOUT_FILES = ("simulated",)
"""Data sets that need no folder."""
OWN_FOLDER = ("moabb",)
"""Data sets whose library knows a folder when the recipe names none."""


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
class Opened:
    """Everything a recipe names, opened."""

    recipe: Recipe
    dataset: Dataset
    root_note: str
    subjects: list[str]
    store: FeatureStore
    encoders: list[OpenEncoder] = field(default_factory=list)
    codec: Codec | None = None
    generator: Generator | None = None

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

    def encoder(self, name: str) -> OpenEncoder:
        """Return one of the recipe's encoders."""
        return next(entry for entry in self.encoders if entry.name == name)


def open_dataset(recipe: Recipe, cache: Path) -> tuple[Dataset, str]:
    """Open the recipe's data set; return it with a sentence that says which folder was taken."""
    settings: Any = recipe.dataset
    if settings.name in WITHOUT_FILES:
        root, note = None, "no files: everything is simulated"
        folder = getattr(settings, "images", None) or settings.root
        if folder is not None:
            note = f"{folder} (stimuli; the responses are simulated)"
    elif settings.name in OWN_FOLDER and settings.root is None:
        root, note = None, "the folder that the data set's own library keeps"
    else:
        root, note = resolve_root(settings.name, settings.root)
    encoders = {entry.name: entry for entry in getattr(recipe, "encoders", [])}
    context = Context(seed=recipe.seed, cache=cache, encoders=encoders, device=recipe.execution.device)
    return DATASETS[settings.name].open(settings, root, context), note


def choose_subjects(dataset: Dataset, wanted: str | Sequence[str]) -> list[str]:
    """Return the subjects asked for, in the data set's order.

    Raises
    ------
    UserError
        If a subject does not exist, with the nearest that does.
    """
    known = dataset.subjects
    if wanted == "all":
        if not known:
            raise UserError("dataset: no subject was found")
        return known
    for subject in wanted:
        if subject not in known:
            reasons = [note for note in dataset.notes() if subject in note]
            raise UserError(
                f"dataset.subjects: '{subject}' is not a subject of this data set"
                f"{did_you_mean(subject, known)}{' (' + reasons[0] + ')' if reasons else ''}",
                hint=f"subjects: {one_of(known)}",
            )
    return [subject for subject in known if subject in set(wanted)]


def open_all(recipe: Recipe, cache: Path) -> Opened:
    """Open everything a recipe names; heavy libraries are imported here and not before."""
    dataset, note = open_dataset(recipe, cache)
    opened = Opened(recipe, dataset, note, choose_subjects(dataset, recipe.dataset.subjects), FeatureStore(cache))
    execution = recipe.execution
    if isinstance(recipe, EncodeRecipe | ReconstructRecipe | ExploreRecipe):
        for settings in recipe.encoders:
            if isinstance(settings, RecordedSettings):
                opened.encoders.append(OpenEncoder(settings, None, [Layer(settings.feature, 0.0, None)]))
                continue
            encoder = open_encoder(
                settings,
                seed=recipe.seed,
                device=execution.device,
                batch_size=execution.batch_size,
                networks=cache / NETWORKS,
            )
            opened.encoders.append(OpenEncoder(settings, encoder, encoder.select(settings.layers)))
            _check_unseen(dataset, encoder)
    if isinstance(recipe, ReconstructRecipe | ExploreRecipe):
        from brainbench.reconstruction.base import CODECS, GENERATORS

        generator = recipe.generator
        if isinstance(recipe, ReconstructRecipe):
            codec = recipe.low_level
            opened.codec = CODECS[codec.codec](codec, seed=recipe.seed, device=execution.device)
        if generator is not None:
            known = {e.name: (e.encoder, e.settings) for e in opened.encoders if e.encoder is not None}
            opened.generator = GENERATORS[generator.name](generator, known, seed=recipe.seed, device=execution.device)
    return opened


def _check_unseen(dataset: Dataset, encoder: Encoder) -> None:
    """Refuse an encoder that was trained on the recordings it is shown."""
    trained_on = set(encoder.weight_files())
    shared = [path for path in dataset.files() if path in trained_on and path.suffix in READERS]
    if shared:
        raise UserError(
            f"encoder '{encoder.name}' is trained on recordings that are its stimuli too, such as {shared[0].name}: "
            "its layers would have seen them",
            hint="`trained_on` must name other runs or other subjects",
        )


class Features:
    """Features of one subject's stimuli, one row per presentation or time point, with their digests.

    Parameters
    ----------
    opened : Opened
    stimuli : Stimuli
    responses : Responses
    """

    def __init__(self, opened: Opened, stimuli: Stimuli, responses: Responses) -> None:
        self.opened = opened
        self.stimuli = stimuli
        self.responses = responses

    def digest(self, name: str, layer: str) -> str:
        """Return the digest of one layer's features, without computing them."""
        entry = self.opened.encoder(name)
        if entry.encoder is None:
            return digest_array(self._recorded(entry))
        store = self.opened.store
        timing = None
        if self.responses.continuous is not None:
            assert isinstance(self.opened.recipe, EncodeRecipe)
            timing = {
                **self.opened.recipe.timing.model_dump(),
                "row_time": digest_array(np.asarray(self.responses.continuous.row_time, dtype=np.float64)),
                "t_r": self.responses.continuous.t_r,
                "acting": self._acting_durations is not None,
            }
        return digest([store.key(entry.encoder, self.stimuli, layer, entry.settings.pool), timing])

    def rows(self, name: str, layer: str) -> np.ndarray:
        """Return the features of every row of the responses, ``(n_presentations, n_features)``."""
        entry = self.opened.encoder(name)
        if entry.encoder is None:
            return self._recorded(entry)
        features = self.stored(name, layer)
        continuous = self.responses.continuous
        if continuous is None:
            assert self.responses.stimulus is not None
            return features[self.responses.stimulus]
        from brainbench.features.timing import to_rows

        recipe = self.opened.recipe
        assert isinstance(recipe, EncodeRecipe) and self.stimuli.onset is not None
        timing = recipe.timing
        return to_rows(
            features,
            self.stimuli.onset,
            self._acting_durations,
            continuous.row_time,
            continuous.t_r,
            resample=timing.resample,
            hrf=timing.hrf,
            delays_s=tuple(timing.delays_s),
        )

    @property
    def timing_note(self) -> str:
        """What the report says of a continuous design's stimuli in time."""
        from brainbench.features.timing import timing_note

        assert isinstance(self.opened.recipe, EncodeRecipe)
        return timing_note(self.stimuli, self.opened.recipe.timing.durations)

    @cached_property
    def _acting_durations(self) -> np.ndarray | None:
        from brainbench.features.timing import acting_durations

        assert isinstance(self.opened.recipe, EncodeRecipe)
        return acting_durations(self.stimuli, self.opened.recipe.timing.durations)

    def stored(self, name: str, layer: str) -> np.ndarray:
        """Return the features of every stimulus, ``(n_stimuli, n_features)``, from the store."""
        entry = self.opened.encoder(name)
        assert entry.encoder is not None
        return self.opened.store.features(entry.encoder, self.stimuli, [layer], entry.settings.pool)[layer]

    def _recorded(self, entry: OpenEncoder) -> np.ndarray:
        feature: str = entry.settings.feature  # type: ignore[attr-defined]
        extra = self.responses.extra_features
        if feature not in extra:
            raise UserError(
                f"encoder '{entry.name}': the data set has no recorded predictor '{feature}'"
                f"{did_you_mean(feature, extra)}",
                hint=f"recorded predictors: {one_of(extra) or 'none'}",
            )
        values = np.asarray(extra[feature], dtype=np.float32)
        return values if values.ndim == 2 else values[:, None]
