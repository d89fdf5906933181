"""One subject under one scheme: the units from responses to latents and features, and from those to images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError, one_of
from brainbench.recipes.kinds.reconstruct import ReconstructRecipe
from brainbench.reconstruction.base import Codec, Condition, Generator, Images, Progress
from brainbench.reconstruction.images import stimulus_images
from brainbench.reconstruction.prediction import DecodingSettings, Target, predict_targets
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.cases.case import Case
from brainbench.studies.cases.training_images import TrainingSet, training_set
from brainbench.studies.opened import Opened

LOW_LEVEL = "low_level"
"""Name of the codec's latents among what is predicted."""
EVERY_TARGET = ""
"""The variant that reads all responses."""


@dataclass(frozen=True)
class Variant:
    """Which responses are read: all, one region's, or all but one region's."""

    mode: str
    roi: str
    mask: np.ndarray

    @property
    def label(self) -> str:
        """Name in tables: empty, ``only V1``, ``without V1``."""
        return f"{self.mode} {self.roi}".strip()


@dataclass
class Reconstruction:
    """One subject under one scheme, with what is predicted of its stimuli."""

    opened: Opened[ReconstructRecipe]
    case: Case
    codec: Codec
    generator: Generator | None
    conditions: list[Condition]
    watch: Callable[[str], Progress] | None = None
    """Gives a progress bar to the training of a generator, by name."""

    @property
    def recipe(self) -> ReconstructRecipe:
        """The recipe."""
        return self.opened.recipe

    @property
    def label(self) -> str:
        """Subject and scheme, for progress."""
        return f"{self.case.rows.subject}, {self.case.rows.scheme.label}"

    @property
    def stimulus(self) -> np.ndarray:
        """Index of the stimulus of every row."""
        return self.case.rows.stimulus

    @cached_property
    def images(self) -> Images:
        """Stimuli as the codec sees them, ``(n_stimuli, image_size, image_size, channels)``."""
        return stimulus_images(self.case.features.stimuli, self.codec.image_size, self.codec.channels)

    def feature(self, condition: Condition) -> np.ndarray:
        """Return the true features of every stimulus, ``(n_stimuli, width)``, from the store."""
        stimuli = self.case.features.stimuli
        found = self.opened.store.features(condition.encoder, stimuli, [condition.layer], condition.pool)
        return found[condition.layer]

    def codec_of(self, train: np.ndarray) -> Codec:
        """Return the codec of a fold: fitted to its training images where it is fitted at all."""
        return self.codec.fit(self.images[np.unique(self.stimulus[train])]) if self.codec.fitted else self.codec

    @cached_property
    def latents(self) -> np.ndarray:
        """Latents of every stimulus under a codec that is not fitted, from the store."""
        from brainbench.reconstruction.codecs.latents import CodecEncoder

        encoder = CodecEncoder(self.codec, self.opened.recipe.execution.device)
        return self.opened.store.features(encoder, self.case.features.stimuli, ["latents"], "flatten")["latents"]

    def targets(self, codec: Codec) -> list[Target]:
        """Return everything that is predicted, one row per stimulus."""
        latents = codec.encode(self.images) if codec.fitted else self.latents
        return [Target(LOW_LEVEL, latents), *(Target(one.name, self.feature(one)) for one in self.conditions)]

    @cached_property
    def decoding(self) -> DecodingSettings:
        """Settings of the regressions."""
        head = self.recipe.head
        low, high = head.log10_alphas
        return DecodingSettings(
            np.logspace(low, high, head.n_alphas), dict(head.fixed), head.inner_folds, self.recipe.calibration
        )

    def key(self) -> dict[str, Any]:
        """Return what decides predictions: rows, stimuli, codec and conditions."""
        stimuli, store = self.case.features.stimuli, self.opened.store
        return {
            "rows": self.case.rows.digest,
            "stimuli": stimuli.digest(),
            "codec": self.codec.parameters(),
            "conditions": {c.name: store.key(c.encoder, stimuli, c.layer, c.pool) for c in self.conditions},
            "decoding": {**vars(self.decoding), "alphas": self.decoding.alphas.tolist()},
            "seed": self.recipe.seed,
        }

    def fold_key(self, chunk: np.ndarray) -> list[list[str]]:
        """Return what names the rows of some folds."""
        return [[digest_array(part) for part in self.case.split.folds[index]] for index in chunk]

    @cached_property
    def variants(self) -> list[Variant]:
        """All responses, then what the recipe's ablation asks for."""
        rois = self.case.responses.rois
        found = [Variant("", EVERY_TARGET, np.ones(self.case.rows.Y.shape[1], dtype=bool))]
        ablation = self.recipe.ablation
        if ablation is None:
            return found
        chosen = [name for name in rois if any(fnmatchcase(name, pattern) for pattern in ablation.rois)]
        if not chosen:
            raise UserError(f"ablation.rois: {ablation.rois} matches none of {one_of(rois)}")
        for mode in ablation.modes:
            for name in chosen:
                inside = np.asarray(rois[name], dtype=bool)
                mask = inside if mode == "only" else ~inside
                if mask.any() and not mask.all():
                    found.append(Variant(mode, name, mask))
        return found


# Predictions --------------------------------------------------------------------------------------------------------


def predict_units(one: Reconstruction, variant: Variant, runner: Runner) -> list[Unit]:
    """Return the units that predict latents and features of held-out rows, over chunks of folds."""
    key = {**one.key(), "mask": digest_array(variant.mask)}

    def compute(chunk: np.ndarray) -> dict[str, np.ndarray]:
        parts = [_predict_fold(one, variant, int(index), runner.folder.path) for index in chunk]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return [
        Unit(
            "predict",
            f"{one.label} {variant.label}".strip() + f", fold {chunk[0] + 1}",
            {**key, "folds": one.fold_key(chunk)},
            partial(compute, chunk),
        )
        for chunk in one.case.chunks
    ]


def _predict_fold(one: Reconstruction, variant: Variant, index: int, folder: Path) -> dict[str, np.ndarray]:
    train, test = one.case.split.folds[index]
    responses = one.case.rows.Y
    targets = one.targets(one.codec_of(train))
    try:
        found = predict_targets(
            responses[train][:, variant.mask], responses[test][:, variant.mask], targets, one.stimulus[train],
            one.decoding, groups=one.case.split.inner_groups(train), folder=folder,
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"fold {index + 1}: {error}") from error
    # The training image whose features are most like the predicted ones: what a lookup would have shown.
    by = targets[1] if len(targets) > 1 else targets[0]
    candidates = np.unique(one.stimulus[train])
    likeness = _rows_standardised(found[by.name]) @ _rows_standardised(by.values[candidates]).T
    return {
        "row": test,
        "fold": np.full(len(test), index),
        "nearest": candidates[likeness.argmax(axis=1)],
        **found,
    }


def _rows_standardised(values: np.ndarray) -> np.ndarray:
    centred = np.asarray(values, dtype=np.float64) - values.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    standardised: np.ndarray = centred / np.where(norm > 0, norm, 1)
    return standardised


# Training of a generator ---------------------------------------------------------------------------------------------


def train_units(one: Reconstruction, runner: Runner) -> list[Unit]:
    """Return a unit per distinct set of training images of a generator that must be trained."""
    if one.generator is None or not one.generator.trainable:
        return []
    found: dict[str, Unit] = {}
    for index in range(len(one.case.split.folds)):
        images = training_of(one, index)
        unit = _train_unit(one, images, runner)
        found.setdefault(unit.digest, unit)
    return list(found.values())


def training_of(one: Reconstruction, index: int) -> TrainingSet:
    """Return what the generator of a fold is trained on."""
    train, _ = one.case.split.folds[index]
    return training_set(
        one.recipe.generator,
        one.recipe.seed,
        one.opened.store,
        one.case.features.stimuli,
        np.unique(one.stimulus[train]),
    )


def _train_unit(one: Reconstruction, images: TrainingSet, runner: Runner) -> Unit:
    assert one.generator is not None
    key = {"generator": one.generator.parameters(), "images": images.digest, "seed": one.recipe.seed}

    def compute() -> dict[str, np.ndarray]:
        return trained(one, images, runner).training_record()

    return Unit("train", f"{one.label}, generator", key, compute)


def trained(one: Reconstruction, images: TrainingSet, runner: Runner) -> Generator:
    """Return the generator trained on some images; a finished training is read from the run folder."""
    generator = one.generator
    assert generator is not None
    if not generator.trainable:
        return generator
    name = digest({"generator": generator.parameters(), "images": images.digest, "seed": one.recipe.seed})[:32]
    return generator.train(
        images.pictures(generator.image_size, generator.channels),
        images.features(generator.conditions()),
        runner.folder.path / "generators" / name,
        seed=one.recipe.seed,
        progress=None if one.watch is None else one.watch(name),
    )


# Images --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """What a group of drawing units made: a rung of the ladder, from which responses."""

    rung: str
    variant: Variant


def draw_units(
    one: Reconstruction, predictions: Sequence[Sequence[Unit]], runner: Runner
) -> list[tuple[Drawn, list[Unit]]]:
    """Return the units that make images, by rung: predicted (of every variant) and true."""
    ladder = one.recipe.ladder
    wanted = [(Drawn("predicted", variant), units) for variant, units in zip(one.variants, predictions, strict=True)]
    if "codec" in ladder or "oracle" in ladder:
        wanted.append((Drawn("true", one.variants[0]), predictions[0]))
    return [(drawn, [_draw_unit(one, drawn, units, i, runner) for i in range(len(units))]) for drawn, units in wanted]


def _draw_unit(one: Reconstruction, drawn: Drawn, predictions: Sequence[Unit], i: int, runner: Runner) -> Unit:
    chunk = one.case.chunks[i]
    generator, recipe = one.generator, one.recipe
    key = {
        "predictions": predictions[i].digest,
        "rung": drawn.rung,
        "generator": None if generator is None else generator.parameters(),
        "images": _training_digests(one, chunk),
        "revision": None if recipe.generator is None else recipe.generator.revision,
        "n_samples": None if recipe.generator is None else recipe.generator.n_samples,
        "seed": recipe.seed,
    }

    def compute() -> dict[str, np.ndarray]:
        found = runner.read([predictions[i]])[0]
        parts = [_draw_fold(one, drawn, found, int(index), runner) for index in chunk]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return Unit("draw", f"{one.label}, {drawn.rung} {drawn.variant.label}, fold {chunk[0] + 1}", key, compute)


def _training_digests(one: Reconstruction, chunk: np.ndarray) -> list[str]:
    if one.generator is None or not one.generator.trainable:
        return []
    return [training_of(one, int(index)).digest for index in chunk]


def _draw_fold(
    one: Reconstruction, drawn: Drawn, found: dict[str, np.ndarray], index: int, runner: Runner
) -> dict[str, np.ndarray]:
    """Return the images of a fold's test rows: of the codec, and of the generator if there is one."""
    train, _ = one.case.split.folds[index]
    mine = found["fold"] == index
    rows = found["row"][mine]
    codec = one.codec_of(train)
    seeds = row_seeds(rows, one.recipe.seed)
    if drawn.rung == "true":
        true = {target.name: target.values[one.stimulus[rows]] for target in one.targets(codec)}
        latents = true.pop(LOW_LEVEL)
        features = true
    else:
        latents = found[LOW_LEVEL][mine]
        features = {condition.name: found[condition.name][mine] for condition in one.conditions}
    initial = codec.decode(latents, seeds)
    images = {"row": rows, "low_level": initial[:, None].astype(np.float16)}
    if one.generator is not None:
        ready = trained(one, training_of(one, index), runner) if one.generator.trainable else one.generator
        shaped = {c.name: features[c.name].reshape(len(rows), *c.shape) for c in one.conditions}
        assert one.recipe.generator is not None
        samples = [
            ready.generate(
                shaped,
                initial if ready.takes_initial else None,
                row_seeds(rows, one.recipe.seed, sample),
            )
            for sample in range(one.recipe.generator.n_samples)
        ]
        images["final"] = np.stack(samples, axis=1).astype(np.float16)
    return images


def row_seeds(rows: np.ndarray, seed: int, sample: int = 0) -> list[int]:
    """Return a seed per row, so that an image depends on no other."""
    return [int(np.random.SeedSequence([seed, 101, sample, int(row)]).generate_state(1)[0]) for row in rows]
