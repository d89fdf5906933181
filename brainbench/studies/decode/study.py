"""``kind: decode`` from responses: a label read by classifiers from regions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

import numpy as np

from brainbench.data.base import Responses, Stimuli
from brainbench.recipes.kinds.decode import DecodeRecipe
from brainbench.studies.base import EffectOf, Stage, Study
from brainbench.studies.cases.across import lead_subject
from brainbench.studies.cases.case import Case, note_case, open_cases
from brainbench.studies.cases.labels import (
    Reading,
    classes_of,
    labels_of,
    plan_readings,
    reading_claims,
    report_readings,
)
from brainbench.studies.memory import held_responses, jobs_of, largest, megabytes
from brainbench.studies.outcome import Outcome
from brainbench.studies.words import joined


class DecodeStudy(Study[DecodeRecipe]):
    """Classifiers on every region of every subject, under the main scheme."""

    recipe_model: ClassVar = DecodeRecipe

    @cached_property
    def members(self) -> list[Responses]:
        """Responses of every participant."""
        return [self.opened.dataset.responses(subject) for subject in self.opened.subjects]

    @cached_property
    def cases(self) -> list[Case]:
        """Every participant under the main scheme."""
        shown = [self.opened.dataset.stimuli(subject) for subject in self.opened.subjects]
        return [next(open_cases(self.opened, *both)) for both in zip(shown, self.members, strict=True)]

    @cached_property
    def readings(self) -> list[Reading]:
        """Every classifier on every region."""
        return plan_readings(self.recipe, self.recipe.decoding, self.cases)

    def effect(self) -> EffectOf:
        """Return the label that is read."""
        label = self.recipe.decoding.label

        def features(stimuli: Stimuli, responses: Responses) -> np.ndarray:
            case = next(open_cases(self.opened, stimuli, responses))
            shown = labels_of(case, label)[case.rows.group]
            return (shown[:, None] == np.array(classes_of(shown))).astype(np.float64)

        return EffectOf(f"the label {label}", "", features)

    def stages(self) -> Iterator[Stage]:
        """Yield the one stage: all classes, then every pair."""
        yield Stage("decode", [unit for reading in self.readings for _, unit in reading.tasks])

    def gather(self, outcome: Outcome) -> None:
        """Add the scores of every classifier."""
        for case in self.cases:
            note_case(outcome, case, is_main=True)
        report_readings(self.recipe, self.runner, outcome, self.readings)

    @property
    def lead(self) -> str:
        """Accuracy."""
        return "accuracy"

    def question(self) -> str:
        """Return which label was read from whose responses."""
        decoders = joined([decoder.name for decoder in self.recipe.decoding.decoders])
        return (
            f"Can {decoders} read {self.recipe.decoding.label} from the responses of {self.people}, "
            f"on {self.recipe.held_out} never trained on?"
        )

    def claims(self, outcome: Outcome) -> list[str]:
        """Return which classifier is above chance where."""
        return reading_claims(outcome, lead_subject(outcome))

    def memory(self) -> dict[str, float]:
        """Estimate the responses, and those of a region that each unit copies."""
        rows, targets = largest(self.members)
        parts = held_responses(self.recipe, self.members)
        return {**parts, "units at once": jobs_of(self.recipe) * 4 * megabytes((rows, targets), 8)}
