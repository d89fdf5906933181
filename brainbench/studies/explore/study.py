"""``kind: explore``: the images that regions respond to most, as their encoding models predict."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

from brainbench.core.errors import UserError
from brainbench.data.base import Responses
from brainbench.recipes.kinds.explore import ExploreRecipe
from brainbench.runs.units import Unit
from brainbench.studies.base import FeatureSet, Stage, Study, generators_trained
from brainbench.studies.cases.case import note_case, open_cases
from brainbench.studies.explore.exploration import Exploration, check_guide
from brainbench.studies.explore.results import explore_claims, report_exploration
from brainbench.studies.memory import (
    BATCH_MB,
    BLOCK_MB,
    TORCH_MB,
    held_responses,
    jobs_of,
    largest,
    megabytes,
    network_mb,
)
from brainbench.studies.outcome import Outcome


class ExploreStudy(Study[ExploreRecipe]):
    """Guided images for the regions of every subject, under the main scheme."""

    recipe_model: ClassVar = ExploreRecipe

    @cached_property
    def members(self) -> list[Responses]:
        """Responses of every participant."""
        return [self.opened.dataset.responses(subject) for subject in self.opened.subjects]

    @cached_property
    def explorations(self) -> list[Exploration]:
        """Every subject.

        Raises
        ------
        UserError
            If something cannot be explored, before any long work.
        """
        found = []
        for responses in self.members:
            if responses.stimulus is None:
                raise UserError(f"{self.recipe.dataset.name}: regions are explored from trials, not from a story")
            stimuli = self.opened.dataset.stimuli(responses.subject)
            for entry in self.opened.encoders:
                if entry.encoder is None:
                    raise UserError(f"encoder '{entry.name}': what was recorded cannot judge a drawn image")
                entry.encoder.check_modality(stimuli)
            one = Exploration(self.opened, next(open_cases(self.opened, stimuli, responses)), self.runner)
            check_guide(one)
            found.append(one)
        return found

    @cached_property
    def plans(self) -> list[dict[str, list[Unit]]]:
        """Units of every subject by stage."""
        return [one.plan() for one in self.explorations]

    def features(self) -> Iterator[FeatureSet]:
        """Yield every asked layer of every encoder and set of stimuli."""
        distinct = {one.stimuli.digest(): one.stimuli for one in self.explorations}.values()
        for entry in self.opened.encoders:
            if entry.encoder is not None:
                layers = [layer.name for layer in entry.layers]
                for stimuli in distinct:
                    yield FeatureSet(entry.name, entry.encoder, stimuli, layers, entry.settings.pool)

    def stages(self) -> Iterator[Stage]:
        """Yield encoding models, the training of the generator, and drawings."""
        for name in ("fit", "train", "draw"):
            units = {unit.digest: unit for plan in self.plans for unit in plan[name]}
            yield Stage(name, list(units.values()))

    def trained(self) -> list[str]:
        """Return the keys of the generators that were trained."""
        units = [unit for plan in self.plans for unit in plan["train"]]
        return generators_trained(self.recipe.generator.name, units, self.runner)

    def gather(self, outcome: Outcome) -> None:
        """Add what was drawn for every region, and what every encoding model reads of it."""
        for one in self.explorations:
            note_case(outcome, one.case, is_main=True)
            report_exploration(outcome, one)

    @property
    def lead(self) -> str:
        """The response that encoding models predict."""
        return "predicted_response"

    def question(self) -> str:
        """Return whose regions were explored."""
        return f"Which images would the regions of {self.people} respond to most, as their encoding models predict?"

    def claims(self, outcome: Outcome) -> list[str]:
        """Return what guidance reached, and who agrees."""
        return explore_claims(outcome)

    def untrained(self) -> list[str]:
        """Return encoders and generator with random weights."""
        generator = self.opened.generator
        made = [self.recipe.generator.name] if generator is not None and generator.untrained else []
        return [*super().untrained(), *made]

    def memory(self) -> dict[str, float]:
        """Estimate responses, networks, and the larger of fit and guidance of the units at once."""
        generator, encoders = self.opened.generator, self.opened.encoders
        assert generator is not None
        parts = held_responses(self.recipe, self.members)
        rows, targets = largest(self.members)
        width = max(layer.width or 1000 for entry in encoders for layer in entry.layers)
        fitted = megabytes((rows, width), 4) + 3 * megabytes((rows, width), 8) + 3 * megabytes((rows, targets), 8)
        # A gradient through network, decoder and encoder keeps the activations of all three.
        guided = 4 * BATCH_MB
        weights = sum(path.stat().st_size for path in generator.weight_files()) / 1e6
        networks = sum(network_mb(entry.encoder) for entry in encoders if entry.settings.has_gradient)
        parts["units at once"] = jobs_of(self.recipe) * (max(fitted, guided) + BLOCK_MB)
        parts["networks"] = TORCH_MB + networks + weights
        return parts
