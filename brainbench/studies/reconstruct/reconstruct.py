"""``kind: reconstruct``: responses to latents and features, those to images, and the ladder that images stand on."""

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
from brainbench.studies.encode.encode import MAX_CHUNKS, Case, note_case, open_cases
from brainbench.studies.opened import Opened
from brainbench.studies.outcome import Outcome
from brainbench.studies.reconstruct.training_images import TrainingSet, training_set

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
class Study:
    """One subject under one scheme, with what is predicted of its stimuli."""

    opened: Opened
    case: Case
    codec: Codec
    generator: Generator | None
    conditions: list[Condition]
    watch: Callable[[str], Progress] | None = None
    """Gives a progress bar to the training of a generator, by name."""

    @property
    def recipe(self) -> ReconstructRecipe:
        """The recipe."""
        assert isinstance(self.opened.recipe, ReconstructRecipe)
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
    def chunks(self) -> list[np.ndarray]:
        """Folds, gathered into at most `MAX_CHUNKS` units."""
        n = len(self.case.split.folds)
        return np.array_split(np.arange(n), min(MAX_CHUNKS, n))

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


def open_studies(opened: Opened) -> list[Study]:
    """Return every subject under every scheme.

    Raises
    ------
    UserError
        If rows are not shown stimuli, or a scheme cannot be dealt.
    """
    assert opened.codec is not None
    conditions = opened.generator.conditions() if opened.generator is not None else []
    studies = []
    for subject in opened.subjects:
        responses = opened.dataset.responses(subject)
        if responses.stimulus is None:
            raise UserError(f"{opened.recipe.dataset.name}: images are reconstructed from trials, not from a story")
        for case in open_cases(opened, opened.dataset.stimuli(subject), responses):
            studies.append(Study(opened, case, opened.codec, opened.generator, conditions))
    return studies


def reconstruct(opened: Opened, runner: Runner, outcome: Outcome) -> None:
    """Run a recipe that reconstructs into `outcome`."""
    from brainbench.studies.reconstruct.ladder import report_studies

    recipe = opened.recipe
    assert isinstance(recipe, ReconstructRecipe)
    _extract(opened, runner)
    studies = open_studies(opened)
    for study in studies:
        main = study.case.rows.scheme.label == recipe.schemes[0].label
        note_case(outcome, study.case, is_main=main)
    predictions = {(i, v.label): predict_units(s, v, runner) for i, s in enumerate(studies) for v in s.variants}
    runner.run("predict", [unit for units in predictions.values() for unit in units])
    training = [train_units(study, runner) for study in studies]
    _train(studies, training, runner)
    drawn = [draw_units(s, [predictions[i, v.label] for v in s.variants], runner) for i, s in enumerate(studies)]
    runner.run("draw", [unit for units in drawn for _, chunk in units for unit in chunk])
    report_studies(opened, runner, outcome, studies, drawn, [predictions[i, EVERY_TARGET] for i in range(len(studies))])


def plan_units(opened: Opened, runner: Runner) -> list[Unit]:
    """Return every unit that predicts, trains or draws."""
    units = []
    for study in open_studies(opened):
        predictions = [predict_units(study, variant, runner) for variant in study.variants]
        units += [unit for chunk in predictions for unit in chunk]
        units += train_units(study, runner)
        units += [unit for _, chunk in draw_units(study, predictions, runner) for unit in chunk]
    return list({unit.digest: unit for unit in units}.values())


def _extract(opened: Opened, runner: Runner) -> None:
    """Bring what conditions and metrics need into the store, one pass per encoder and set of stimuli."""
    conditions = opened.generator.conditions() if opened.generator is not None else []
    distinct = {one.digest(): one for one in map(opened.dataset.stimuli, opened.subjects)}.values()
    for condition in conditions:
        for one in distinct:
            condition.encoder.check_modality(one)
            with runner.stages.stage(f"features: {condition.name}", total=len(one)) as advance:
                done = 0

                def show(now: int, _total: int, advance: Any = advance) -> None:
                    nonlocal done
                    advance(now - done)
                    done = now

                opened.store.features(condition.encoder, one, [condition.layer], condition.pool, progress=show)


# Predictions --------------------------------------------------------------------------------------------------------


def predict_units(study: Study, variant: Variant, runner: Runner) -> list[Unit]:
    """Return the units that predict latents and features of held-out rows, over chunks of folds."""
    key = {**study.key(), "mask": digest_array(variant.mask)}

    def compute(chunk: np.ndarray) -> dict[str, np.ndarray]:
        parts = [_predict_fold(study, variant, int(index), runner.folder.path) for index in chunk]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return [
        Unit(
            "predict",
            f"{study.label} {variant.label}".strip() + f", fold {chunk[0] + 1}",
            {**key, "folds": study.fold_key(chunk)},
            partial(compute, chunk),
        )
        for chunk in study.chunks
    ]


def _predict_fold(study: Study, variant: Variant, index: int, folder: Path) -> dict[str, np.ndarray]:
    train, test = study.case.split.folds[index]
    responses = study.case.rows.Y
    targets = study.targets(study.codec_of(train))
    try:
        found = predict_targets(
            responses[train][:, variant.mask], responses[test][:, variant.mask], targets, study.stimulus[train],
            study.decoding, groups=study.case.split.inner_groups(train), folder=folder,
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"fold {index + 1}: {error}") from error
    # The training image whose features are most like the predicted ones: what a lookup would have shown.
    by = targets[1] if len(targets) > 1 else targets[0]
    candidates = np.unique(study.stimulus[train])
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


def train_units(study: Study, runner: Runner) -> list[Unit]:
    """Return a unit per distinct set of training images of a generator that must be trained."""
    if study.generator is None or not study.generator.trainable:
        return []
    found: dict[str, Unit] = {}
    for index in range(len(study.case.split.folds)):
        images = training_of(study, index)
        unit = _train_unit(study, images, runner)
        found.setdefault(unit.digest, unit)
    return list(found.values())


def training_of(study: Study, index: int) -> TrainingSet:
    """Return what the generator of a fold is trained on."""
    train, _ = study.case.split.folds[index]
    return training_set(study.opened, study.case.features.stimuli, np.unique(study.stimulus[train]))


def _train_unit(study: Study, images: TrainingSet, runner: Runner) -> Unit:
    assert study.generator is not None
    key = {"generator": study.generator.parameters(), "images": images.digest, "seed": study.recipe.seed}

    def compute() -> dict[str, np.ndarray]:
        ready = trained(study, images, runner)
        return {"loss": np.asarray(getattr(ready, "losses", []), dtype=np.float32)}

    return Unit("train", f"{study.label}, generator", key, compute)


def trained(study: Study, images: TrainingSet, runner: Runner) -> Generator:
    """Return the generator trained on some images; a finished training is read from the run folder."""
    generator = study.generator
    assert generator is not None
    if not generator.trainable:
        return generator
    name = digest({"generator": generator.parameters(), "images": images.digest, "seed": study.recipe.seed})[:32]
    return generator.train(
        images.pictures(generator.image_size, generator.channels),
        images.features(generator.conditions()),
        runner.folder.path / "generators" / name,
        seed=study.recipe.seed,
        progress=None if study.watch is None else study.watch(name),
    )


def _train(studies: Sequence[Study], units: Sequence[Sequence[Unit]], runner: Runner) -> None:
    """Train generators, showing per cent where they are trained in this process."""
    todo = list({unit.digest: unit for mine in units for unit in mine}.values())
    if not todo:
        return
    with runner.stages.stage("train the generator (%)", total=100 * len(todo)) as advance:
        shown: dict[str, int] = {}

        def watch(name: str) -> Progress:
            def show(done: int, total: int) -> None:
                now = 100 * done // max(1, total)
                advance(now - shown.get(name, 0))
                shown[name] = now

            return show

        for study in studies:
            study.watch = watch
        runner.engine.run(todo, runner.folder)
        for study in studies:
            study.watch = None
        advance(100 * len(todo) - sum(shown.values()))


# Images --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """What a group of drawing units made: a rung of the ladder, from which responses."""

    rung: str
    variant: Variant


def draw_units(study: Study, predictions: Sequence[Sequence[Unit]], runner: Runner) -> list[tuple[Drawn, list[Unit]]]:
    """Return the units that make images, by rung: predicted (of every variant) and true."""
    ladder = study.recipe.ladder
    wanted = [(Drawn("predicted", variant), units) for variant, units in zip(study.variants, predictions, strict=True)]
    if "codec" in ladder or "oracle" in ladder:
        wanted.append((Drawn("true", study.variants[0]), predictions[0]))
    return [(drawn, [_draw_unit(study, drawn, units, i, runner) for i in range(len(units))]) for drawn, units in wanted]


def _draw_unit(study: Study, drawn: Drawn, predictions: Sequence[Unit], i: int, runner: Runner) -> Unit:
    chunk = study.chunks[i]
    generator, recipe = study.generator, study.recipe
    key = {
        "predictions": predictions[i].digest,
        "rung": drawn.rung,
        "generator": None if generator is None else generator.parameters(),
        "images": _training_digests(study, chunk),
        "n_samples": None if recipe.generator is None else recipe.generator.n_samples,
        "seed": recipe.seed,
    }

    def compute() -> dict[str, np.ndarray]:
        found = runner.read([predictions[i]])[0]
        parts = [_draw_fold(study, drawn, found, int(index), runner) for index in chunk]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return Unit("draw", f"{study.label}, {drawn.rung} {drawn.variant.label}, fold {chunk[0] + 1}", key, compute)


def _training_digests(study: Study, chunk: np.ndarray) -> list[str]:
    if study.generator is None or not study.generator.trainable:
        return []
    return [training_of(study, int(index)).digest for index in chunk]


def _draw_fold(
    study: Study, drawn: Drawn, found: dict[str, np.ndarray], index: int, runner: Runner
) -> dict[str, np.ndarray]:
    """Return the images of a fold's test rows: of the codec, and of the generator if there is one."""
    train, _ = study.case.split.folds[index]
    mine = found["fold"] == index
    rows = found["row"][mine]
    codec = study.codec_of(train)
    seeds = row_seeds(rows, study.recipe.seed)
    if drawn.rung == "true":
        true = {target.name: target.values[study.stimulus[rows]] for target in study.targets(codec)}
        latents = true.pop(LOW_LEVEL)
        features = true
    else:
        latents = found[LOW_LEVEL][mine]
        features = {condition.name: found[condition.name][mine] for condition in study.conditions}
    initial = codec.decode(latents, seeds)
    images = {"row": rows, "low_level": initial[:, None].astype(np.float16)}
    if study.generator is not None:
        ready = trained(study, training_of(study, index), runner) if study.generator.trainable else study.generator
        shaped = {c.name: features[c.name].reshape(len(rows), *c.shape) for c in study.conditions}
        assert study.recipe.generator is not None
        samples = [
            ready.generate(
                shaped,
                initial if ready.takes_initial else None,
                row_seeds(rows, study.recipe.seed, sample),
            )
            for sample in range(study.recipe.generator.n_samples)
        ]
        images["final"] = np.stack(samples, axis=1).astype(np.float16)
    return images


def row_seeds(rows: np.ndarray, seed: int, sample: int = 0) -> list[int]:
    """Return a seed per row, so that an image depends on no other."""
    return [int(np.random.SeedSequence([seed, 101, sample, int(row)]).generate_state(1)[0]) for row in rows]
