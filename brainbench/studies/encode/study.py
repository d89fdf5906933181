"""``kind: encode``: fits, scores, unique variance, similarity; layer by layer and region by region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np

from brainbench.data.base import Responses, Stimuli
from brainbench.encoders.base import Layer
from brainbench.evaluation.intervals import N_GROUPS, targets_at_once
from brainbench.evaluation.metrics import METRICS
from brainbench.evaluation.refit import MOST_REFITTED, MOST_VALUES, Null
from brainbench.evaluation.scoring import Scored
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.runs.units import Unit
from brainbench.studies.base import EffectOf, FeatureSet, Stage, Study, distinct_stimuli
from brainbench.studies.cases.across import best_layers, mean_over_subjects
from brainbench.studies.cases.case import Case, note_case, open_cases
from brainbench.studies.cases.ceilings import CeilingBook
from brainbench.studies.cases.features import Features
from brainbench.studies.cases.labels import Reading, plan_readings, report_readings
from brainbench.studies.cases.rows import GROUP, group_responses
from brainbench.studies.encode.claims import encoding_answer, encoding_claims
from brainbench.studies.encode.designs import KeptDesigns, designs_bytes
from brainbench.studies.encode.edits import EditStudy
from brainbench.studies.encode.fits import (
    Cell,
    Fits,
    LayerFits,
    nested_unit,
    plan_fits,
    plan_nested,
    report_fit,
    report_nested,
    score_unit,
)
from brainbench.studies.encode.intervals import interval_unit
from brainbench.studies.encode.nulls import n_exchanges
from brainbench.studies.encode.partition import PartitionFits, partition_unit, plan_partition, report_partition
from brainbench.studies.encode.patterns import pattern_units, report_patterns
from brainbench.studies.encode.similarity import geometry_cells, report_geometry
from brainbench.studies.encode.tested import Tests
from brainbench.studies.encode.zero_shot import report_unseen, unseen_cells, unseen_megabytes
from brainbench.studies.inside import LensStudy
from brainbench.studies.memory import (
    BATCH_MB,
    BLOCK_MB,
    REPORT_MB,
    TORCH_MB,
    held_responses,
    jobs_of,
    largest,
    megabytes,
    network_mb,
)
from brainbench.studies.outcome import Outcome
from brainbench.studies.words import joined

U = TypeVar("U")


class EncodeStudy(Study[EncodeRecipe]):
    """Encoding models of every layer of every encoder, for every subject and scheme."""

    recipe_model: ClassVar = EncodeRecipe

    # Units -----------------------------------------------------------------------------------------------------------

    @cached_property
    def members(self) -> list[Responses]:
        """Responses of every participant."""
        subjects = self.opened.subjects
        with self.runner.stages.stage("responses", total=len(subjects)) as advance:
            found = []
            for subject in subjects:
                found.append(self.opened.dataset.responses(subject))
                advance(1)
        return found

    @cached_property
    def cases(self) -> list[Case]:
        """Every participant, and their mean where targets are aligned, under every scheme."""
        dataset, timing = self.opened.dataset, self.recipe.timing
        shown = [dataset.stimuli(subject) for subject in self.opened.subjects]
        everyone = list(zip(shown, self.members, strict=True))
        if dataset.aligned_targets and len(self.members) > 1:
            everyone.append((shown[0], group_responses(self.members)))
        return [
            case
            for stimuli, responses in everyone
            for case in open_cases(self.opened, stimuli, responses, timing)
        ]  # fmt: skip

    @cached_property
    def designs(self) -> KeptDesigns:
        """Folds of the layers' features, which participants share."""
        return KeptDesigns(self.opened.folds)

    @cached_property
    def fits(self) -> list[LayerFits]:
        """The fits of every layer in every case."""
        return [fit for case in self.cases for fit in plan_fits(self.opened, case)]

    @cached_property
    def nested(self) -> list[tuple[list[Fits], LayerFits]]:
        """Fits of the controls, and of the controls with every layer."""
        return [pair for case in self.cases for pair in plan_nested(self.opened, case)]

    @cached_property
    def scores(self) -> list[Unit]:
        """The score of every fit."""
        return [score_unit(self.recipe, self.runner.folder, fit, self.designs) for fit in self.fits]

    @cached_property
    def nested_scores(self) -> list[Unit]:
        """What every layer adds to the controls."""
        folder = self.runner.folder
        return [nested_unit(self.recipe, folder, small, full, self.designs) for small, full in self.nested]

    @cached_property
    def intervals(self) -> list[Unit | None]:
        """The intervals of every fit's scores, or None where too few units were drawn."""
        return [interval_unit(self.recipe, self.runner.folder, fit, self.designs) for fit in self.fits]

    @cached_property
    def nested_intervals(self) -> list[Unit | None]:
        """The intervals of what every layer adds."""
        folder, known = self.runner.folder, {(id(one.case), one.encoder.name, one.layer.name): one for one in self.fits}
        return [
            interval_unit(self.recipe, folder, full, self.designs, small,
                          known[id(full.case), full.encoder.name, full.layer.name])
            for small, full in self.nested
        ]  # fmt: skip

    @cached_property
    def partitions(self) -> list[tuple[PartitionFits, Unit]]:
        """What sets of features explain alone and in common."""
        plans = [plan_partition(self.opened, case) for case in self.cases]
        folder = self.runner.folder
        return [(plan, partition_unit(self.recipe, folder, plan, self.designs)) for plan in plans if plan is not None]

    @cached_property
    def ceilings(self) -> CeilingBook:
        """Noise ceilings."""
        return CeilingBook(self.recipe, self.members, self.runner, aligned=self.opened.dataset.aligned_targets)

    @cached_property
    def patterns(self) -> list[tuple[LayerFits, Unit]]:
        """Scores of the patterns of every fit."""
        return pattern_units(self.recipe, self.runner.folder, self.fits)

    @cached_property
    def geometry(self) -> list[Cell]:
        """Similarity of every layer and region."""
        return geometry_cells(self.opened, self.cases) if self.recipe.similarity else []

    @cached_property
    def unseen(self) -> list[Cell]:
        """The test on two stimuli left out, of every layer and region."""
        settings = self.recipe.zero_shot
        return [] if settings is None else unseen_cells(self.opened, settings, self.cases)

    @cached_property
    def readings(self) -> list[Reading]:
        """Classifiers of a label, under the main scheme."""
        main = [case for case in self.cases if self._is_main(case) and case.rows.subject != GROUP]
        return [] if self.recipe.decoding is None else plan_readings(self.recipe, self.recipe.decoding, main)

    @cached_property
    def lens(self) -> LensStudy | None:
        """Diagnostics of the networks."""
        settings = self.recipe.lens
        return None if settings is None else LensStudy(self.opened, settings)

    @cached_property
    def edits(self) -> EditStudy | None:
        """Effects of edits of the networks."""
        settings = self.recipe.lens
        if settings is None or not settings.edits:
            return None
        return EditStudy(self.opened, settings, [case for case in self.cases if self._is_main(case)])

    def _is_main(self, case: Case) -> bool:
        return case.rows.scheme.label == self.recipe.schemes[0].label

    def features(self) -> Iterator[FeatureSet]:
        """Yield every asked layer of every encoder and set of stimuli."""
        distinct = distinct_stimuli(self.opened)
        for entry in self.opened.encoders:
            if entry.encoder is not None:
                layers = [layer.name for layer in entry.layers]
                for stimuli in distinct:
                    yield FeatureSet(entry.name, entry.encoder, stimuli, layers, entry.settings.pool)

    def effect(self) -> EffectOf:
        """Return the middle layer of the first encoder that makes a claim, or of the first of all."""
        opened = self.opened
        entry = next((entry for entry in opened.encoders if entry.is_model), opened.encoders[0])
        layer = entry.layers[len(entry.layers) // 2].name

        def features(stimuli: Stimuli, responses: Responses) -> np.ndarray:
            return Features(opened, stimuli, responses, self.recipe.timing).rows(entry.name, layer)

        return EffectOf(f"{entry.name}, layer {layer}", entry.name, features)

    @classmethod
    def sample(cls, recipe: Any, subjects: Sequence[str]) -> list[str]:
        """Return the first participant, or two where they make the ceiling."""
        return list(subjects[: 2 if recipe.ceiling.method == "between_subjects" else 1])

    def stages(self) -> Iterator[Stage]:
        """Yield fits, their scores, then what needs no fit."""
        unseen = self.unseen  # refuses what it cannot test before anything is fitted
        nested = [fit for small, full in self.nested for fit in [*small, full]]
        nested += [fit for plan, _ in self.partitions for fit in plan.fits.values()]
        fits = [*self._by_layer(self.fits, [fit.units for fit in self.fits]), *(fit.units for fit in nested)]
        yield Stage("fit", [unit for units in fits for unit in units])
        yield Stage("score", [*self._by_layer(self.fits, self.scores), *self.nested_scores])
        about = [*self._by_layer(self.fits, self.intervals), *self.nested_intervals]
        yield Stage("intervals", [unit for unit in about if unit is not None])
        yield Stage("parts of variance", [unit for _, unit in self.partitions])
        held = any(METRICS[name].power is not None for name in self.recipe.metrics)
        split = [self.ceilings.unit(case.responses, case.rows) for case in self.cases if held]
        yield Stage("ceilings", [unit for unit in split if unit is not None])
        yield Stage("patterns", [unit for _, unit in self.patterns])
        yield Stage("geometry (RSA, CKA)", [cell.unit for cell in self.geometry])
        yield Stage("unseen stimuli (2 vs 2)", [cell.unit for cell in unseen])
        yield Stage("decode", [unit for reading in self.readings for _, unit in reading.tasks])
        yield Stage("lens", [] if self.lens is None else self.lens.units)
        yield Stage("edits", [] if self.edits is None else self.edits.units)

    @staticmethod
    def _by_layer(fits: Sequence[LayerFits], units: Sequence[U]) -> list[U]:
        """Return units layer by layer: participants share what is made of a layer's features."""
        order: dict[tuple[str, str], list[U]] = {}
        for fit, unit in zip(fits, units, strict=True):
            order.setdefault((fit.encoder.name, fit.layer.name), []).append(unit)
        return [unit for units_of in order.values() for unit in units_of]

    # What was found --------------------------------------------------------------------------------------------------

    def gather(self, outcome: Outcome) -> None:
        """Add scores, maps, best layers and means over participants."""
        recipe, runner = self.recipe, self.runner
        ceilings = self.ceilings
        for case in self.cases:
            note_case(outcome, case, is_main=self._is_main(case))
        tests = Tests(recipe)
        draws: dict[tuple[str, str, str], list[tuple[Layer, Scored]]] = {}
        for fit, unit, about in zip(self.fits, self.scores, self.intervals, strict=True):
            arrays = runner.read([unit])[0]
            scored, null = Scored.from_arrays(arrays), Null.from_arrays(arrays)
            if null is not None:
                tests.add(fit, scored, null)
            report_fit(recipe, outcome, fit, scored, ceilings, self._read(about))
            key = (fit.case.rows.subject, fit.case.rows.scheme.label, fit.encoder.name)
            draws.setdefault(key, []).append((fit.layer, scored))
        for (_, full), unit, about in zip(self.nested, self.nested_scores, self.nested_intervals, strict=True):
            arrays = runner.read([unit])[0]
            scored, null = Scored.from_arrays(arrays), Null.from_arrays(arrays)
            if null is not None:
                tests.add(full, scored, null)
            report_nested(recipe, outcome, full, scored, self._read(about), arrays["controls_r2"])
        for plan, unit in self.partitions:
            report_partition(outcome, plan, runner.read([unit])[0])
        tests.report(outcome, ceilings)
        best_layers(outcome, draws, self.recipe.bootstrap.confidence)
        report_patterns(recipe, runner, outcome, self.patterns)
        geometry = report_geometry(recipe, runner, outcome, self.cases, self.geometry)
        if recipe.zero_shot is not None:
            report_unseen(runner, outcome, self.unseen)
        mean_over_subjects(recipe, outcome, self.opened.subjects)
        tests.report_means(outcome)
        geometry.test_means()
        if recipe.decoding is not None:
            report_readings(recipe, runner, outcome, self.readings)
        if self.lens is not None:
            self.lens.report(runner, outcome)
        if self.edits is not None:
            outcome.findings["edits"] = self.edits.findings(runner)

    def _read(self, unit: Unit | None) -> Mapping[str, np.ndarray]:
        return {} if unit is None else self.runner.read([unit])[0]

    @property
    def lead(self) -> str:
        """The first of the recipe's metrics."""
        return self.recipe.metrics[0]

    def question(self) -> str:
        """Return which layer of which model was held against which controls."""
        held = self.recipe.held_out
        models = joined([entry.name for entry in self.opened.encoders if entry.is_model])
        controls = joined([entry.name for entry in self.opened.encoders if not entry.is_model])
        if not models:
            return f"How much do {controls} explain of which region in {self.people}, on {held} never trained on?"
        against = f", held against {controls}" if controls else ""
        return f"Which layer of {models} explains which region in {self.people}{against}, on {held} never trained on?"

    def claims(self, outcome: Outcome) -> list[str]:
        """Return what beats its controls, and what does not."""
        return encoding_claims(self.recipe, outcome)

    def answer(self, outcome: Outcome) -> list[str]:
        """Return where layers are above chance, where beyond the controls, and how far the best one comes."""
        return encoding_answer(self.recipe, outcome)

    # Size ------------------------------------------------------------------------------------------------------------

    def memory(self) -> dict[str, float]:
        """Estimate responses, networks, and the largest of fit, exchanges and intervals of the units at once."""
        recipe, encoders, cases = self.recipe, self.opened.encoders, self.cases
        parts = held_responses(recipe, self.members)
        held = {id(case.responses): case.responses.data for case in cases}
        parts["responses"] = sum(megabytes(data.shape, data.itemsize) for data in held.values()) + sum(
            megabytes(case.rows.Y.shape, case.rows.Y.itemsize)
            for case in cases
            if not np.may_share_memory(case.rows.Y, case.responses.data)
        )
        shown, targets = largest([case.responses for case in cases])
        rows = max(len(case.rows) for case in cases)
        tested = max(len(test) for case in cases for _, test in case.split.folds)
        n_layers = sum(len(entry.layers) for entry in encoders)
        networks = [entry for entry in encoders if entry.settings.has_network]
        if networks:
            parts["libraries"] += TORCH_MB
            passes = 1 if self.lens is None else max(1, min(jobs_of(recipe), len(self.lens.units)))
            parts["networks"] = sum(network_mb(entry.encoder) for entry in networks) + passes * BATCH_MB
        widest = max((layer.width or 1000 for entry in encoders for layer in entry.layers), default=1)
        width = widest if recipe.reduction.method == "none" else min(widest, recipe.reduction.n_components)
        side = min(rows, width)
        # Counted copies; `benchmarks/main_job.py` holds the sum against measured peaks.
        features = megabytes((rows, widest), 4) + 3 * megabytes((rows, width), 8)
        solve = 4 * megabytes((side, side), 8) + 2 * megabytes((rows, side), 8)
        fit = megabytes((rows, targets), 12) + megabytes((tested, targets), 32)
        fit += megabytes((recipe.head.n_alphas, targets), 8)
        models = 1 if recipe.unique is None else 3 + sum(not entry.is_model for entry in encoders)
        refitted = min(MOST_VALUES, rows * n_exchanges(recipe) * min(MOST_REFITTED, targets))
        scores = (2 + models) * megabytes((rows, targets), 8) + 4 * megabytes((refitted,), 4)
        at_once = min(targets_at_once(N_GROUPS, rows), targets) if recipe.bootstrap.n_draws else 0
        intervals = 3 * megabytes((N_GROUPS, rows, at_once), 8)
        block = min(BLOCK_MB, 8 * megabytes((rows, targets), 8))
        edits = 0.0 if self.edits is None else self.edits.megabytes + solve + fit
        unseen = unseen_megabytes(recipe.zero_shot, cases)
        units = jobs_of(recipe) * (max(features + solve + fit, scores, intervals, edits, unseen) + block)
        ceilings = min(jobs_of(recipe), len(self.members)) * (5 * megabytes((shown, targets), 4) + block)
        designs = [designs_bytes(len(case.rows), width, len(case.split.folds)) for case in cases]
        kept = min(n_layers * sum(designs), self.opened.folds.most) / 1e6
        return {**parts, "folds that participants share": kept, "units at once": max(units, ceilings, REPORT_MB)}

    def disk(self) -> float:
        """Estimate true and predicted responses of every fit."""
        rows, targets = largest(self.members)
        n_layers = sum(len(entry.layers) for entry in self.opened.encoders)
        return len(self.members) * n_layers * len(self.recipe.schemes) * 2 * megabytes((rows, targets), 4)
