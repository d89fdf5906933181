"""``kind: reconstruct``: predictions, images drawn from them, and the ladder that images stand on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Responses
from brainbench.recipes.kinds.reconstruct import ReconstructRecipe
from brainbench.reconstruction.base import Condition, Progress
from brainbench.reconstruction.cards import load_weights_card
from brainbench.reconstruction.generators.clip import without_captions
from brainbench.reconstruction.metrics import METRICS
from brainbench.reconstruction.metrics import title_of as image_title
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.base import FeatureSet, Stage, Study, distinct_stimuli, generators_trained
from brainbench.studies.cases.case import note_case, open_cases
from brainbench.studies.memory import BATCH_MB, BLOCK_MB, TORCH_MB, held_responses, jobs_of, largest, megabytes
from brainbench.studies.outcome import Outcome
from brainbench.studies.reconstruct.claims import image_claims, lead_metric
from brainbench.studies.reconstruct.gallery import keep_images
from brainbench.studies.reconstruct.ladder import (
    MAX_SIZE,
    Item,
    Judge,
    items_of,
    note_chance,
    report_difference,
    report_item,
    rows_have_runs,
    score_units,
)
from brainbench.studies.reconstruct.reconstruction import (
    Drawn,
    Reconstruction,
    draw_units,
    predict_units,
    train_units,
)

METRIC_MB = 500.0
"""A batch through a network that images are compared with."""
STREAMED_MB = 540.0
"""Targets of training rows that are held at once."""


@dataclass
class TrainingStage(Stage):
    """Trainings of a generator, shown in per cent where they run in this process."""

    reconstructions: Sequence[Reconstruction]

    def run(self, runner: Runner) -> None:
        """Train what is not trained yet."""
        todo = list({unit.digest: unit for unit in self.units}.values())
        with runner.stages.stage(self.name, total=100 * len(todo)) as advance:
            shown: dict[str, int] = {}

            def watch(name: str) -> Progress:
                def show(done: int, total: int) -> None:
                    now = 100 * done // max(1, total)
                    advance(now - shown.get(name, 0))
                    shown[name] = now

                return show

            for one in self.reconstructions:
                one.watch = watch
            runner.engine.run(todo, runner.folder)
            for one in self.reconstructions:
                one.watch = None
            advance(100 * len(todo) - sum(shown.values()))


@dataclass
class Ladder:
    """What is made and scored of one reconstruction."""

    one: Reconstruction
    predictions: list[list[Unit]]
    drawn: list[tuple[Drawn, list[Unit]]]
    judge: Judge
    items: list[Item]
    scores: list[Unit]


class ReconstructStudy(Study[ReconstructRecipe]):
    """Images of every subject under every scheme."""

    recipe_model: ClassVar = ReconstructRecipe

    @cached_property
    def conditions(self) -> list[Condition]:
        """Features that the generator takes."""
        return self.opened.generator.conditions() if self.opened.generator is not None else []

    @cached_property
    def members(self) -> list[Responses]:
        """Responses of every participant."""
        return [self.opened.dataset.responses(subject) for subject in self.opened.subjects]

    @cached_property
    def reconstructions(self) -> list[Reconstruction]:
        """Every subject under every scheme.

        Raises
        ------
        UserError
            If rows are not shown stimuli, or a scheme cannot be dealt.
        """
        opened, codec = self.opened, self.opened.codec
        assert codec is not None
        found = []
        for responses in self.members:
            if responses.stimulus is None:
                raise UserError(f"{self.recipe.dataset.name}: images are reconstructed from trials, not from a story")
            for case in open_cases(opened, opened.dataset.stimuli(responses.subject), responses):
                found.append(Reconstruction(opened, case, codec, opened.generator, self.conditions))
        return found

    @cached_property
    def ladders(self) -> list[Ladder]:
        """Units and items of every reconstruction."""
        found = []
        for one in self.reconstructions:
            predictions = [predict_units(one, variant, self.runner) for variant in one.variants]
            drawn = draw_units(one, predictions, self.runner)
            judge = Judge(one)
            items = items_of(one, drawn, predictions[0])
            scores = score_units(one, judge, items, self.runner)
            found.append(Ladder(one, predictions, drawn, judge, items, scores))
        return found

    def features(self) -> Iterator[FeatureSet]:
        """Yield what conditions need, one pass per encoder and set of stimuli."""
        distinct = distinct_stimuli(self.opened)
        for one in self.conditions:
            for stimuli in distinct:
                yield FeatureSet(one.name, one.encoder, stimuli, [one.layer], one.pool)

    @cached_property
    def generator_units(self) -> list[Unit]:
        """Trainings of the generator, one for each set of training images."""
        return [unit for one in self.reconstructions for unit in train_units(one, self.runner)]

    def trained(self) -> list[str]:
        """Return the keys of the generators that were trained."""
        name = "" if self.recipe.generator is None else self.recipe.generator.name
        return generators_trained(name, self.generator_units, self.runner)

    def stages(self) -> Iterator[Stage]:
        """Yield predictions, trainings, drawings and scores."""
        ladders, ours = self.ladders, self.reconstructions
        yield Stage("predict", [unit for ladder in ladders for units in ladder.predictions for unit in units])
        yield TrainingStage("train the generator (%)", self.generator_units, ours)
        yield Stage("draw", [unit for ladder in ladders for _, units in ladder.drawn for unit in units])
        yield Stage("score", [unit for ladder in ladders for unit in ladder.scores])

    def gather(self, outcome: Outcome) -> None:
        """Add the rows, gallery and facts of every reconstruction."""
        for one in self.reconstructions:
            note_case(outcome, one.case, is_main=one.case.rows.scheme.label == self.recipe.schemes[0].label)
        for ladder in self.ladders:
            for name, reason in ladder.judge.scorer().unavailable.items():
                outcome.warn(f"{name} is unavailable: {reason}")
        for ladder in self.ladders:
            one, judge, items = ladder.one, ladder.judge, ladder.items
            if "run_mean" in self.recipe.ladder and not rows_have_runs(one):
                outcome.warn(
                    f"{one.label}: the rung run_mean is left out: showings are averaged over runs, so that rows have "
                    "none (`responses.average_repeats: false`, or hold out runs, keeps them)"
                )
            arrays = self.runner.read(ladder.scores)
            scored = {(item.stage, item.name): found for item, found in zip(items, arrays, strict=True)}
            note_chance(outcome, one)
            for (stage, name), found in scored.items():
                report_item(outcome, one, judge, stage, name, found)
            report_difference(outcome, one, judge, scored)
            keep_images(outcome, self.runner, one, judge, items, scored)
        outcome.findings["reconstruction"] = self._facts()
        for stimuli in distinct_stimuli(self.opened):
            bare = without_captions(self.conditions, stimuli)
            if bare:
                text = "their text features are those of the empty text"
                outcome.warn(f"{bare} of {len(stimuli)} stimuli have no captions: {text}")

    def _facts(self) -> dict[str, object]:
        """Return what the report says besides images and scores."""
        recipe = self.recipe
        return {
            "codec": recipe.low_level.codec,
            "generator": None if recipe.generator is None else recipe.generator.name,
            "calibration": recipe.calibration,
            "identify_within": recipe.identify_within,
            "lead": lead_metric(recipe),
            "metrics": {name: vars(METRICS[name]) for name in recipe.metrics},
            "last": "low_level" if recipe.generator is None else "final",
            "weights": self._weights(),
        }

    def _weights(self) -> list[dict[str, str]]:
        """Return what to cite for the downloaded weights of codec and generator, and their licences."""
        recipe = self.recipe
        names = [recipe.low_level.codec] + ([] if recipe.generator is None else [recipe.generator.name])
        cards = [card for name in names if (card := load_weights_card(name)) is not None]
        return [{"title": card.title, "licence": card.licence, "citation": card.citation} for card in cards]

    @property
    def lead(self) -> str:
        """The first of the recipe's metrics."""
        return self.recipe.metrics[0]

    def title_of(self, metric: str) -> str:
        """Return the name of a metric of images for people."""
        return image_title(metric)

    def question(self) -> str:
        """Return whose images were sought, and what training never saw."""
        folds, held = self.recipe.folds, self.recipe.held_out
        if folds.column is not None:
            held = f"a {folds.column}"
        elif folds.cluster_by is not None:
            held = "clusters of images"
        return f"Which images did {self.people} see? Reconstructed from responses, with {held} never trained on."

    def claims(self, outcome: Outcome) -> list[str]:
        """Return what beats chance and what needs no brain."""
        return image_claims(self.recipe, outcome)

    def untrained(self) -> list[str]:
        """Return encoders, codec and generator with random weights."""
        names, codec, generator = super().untrained(), self.opened.codec, self.opened.generator
        if codec is not None and codec.untrained:
            names.append(self.recipe.low_level.codec)
        if generator is not None and generator.untrained and self.recipe.generator is not None:
            names.append(self.recipe.generator.name)
        return names

    def memory(self) -> dict[str, float]:
        """Estimate responses, networks, and regressions and images of the units at once."""
        recipe, codec, generator = self.recipe, self.opened.codec, self.opened.generator
        assert codec is not None
        parts, jobs = held_responses(recipe, self.members), jobs_of(recipe)
        rows, targets = largest(self.members)
        maker = codec if generator is None else generator
        size = min(maker.image_size, MAX_SIZE)
        width = sum(abs(int(np.prod(one.shape))) for one in self.conditions)
        width += getattr(recipe.low_level, "n_components", 0)
        # Larger targets are streamed from disk; what is predicted of the test rows is kept.
        fitted = min(megabytes((rows, width), 8), STREAMED_MB) * 3 + megabytes((rows, width), 4)
        fitted += 4 * megabytes((rows, min(rows, targets)), 8)
        pictures = 6 * megabytes((rows, size, size, maker.channels), 4)
        parts["units at once"] = jobs * (fitted + pictures + BLOCK_MB)
        if any(METRICS[name].weights for name in recipe.metrics):
            parts["networks of metrics"] = jobs * METRIC_MB
        if generator is not None or self.opened.encoders:
            files = [path for one in (codec, generator) if one is not None for path in one.weight_files()]
            parts["networks"] = TORCH_MB + BATCH_MB + sum(path.stat().st_size for path in files) / 1e6
        return parts
