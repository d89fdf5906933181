"""``kind: decode`` on recordings: a unit of work per subject, scheme, pipeline and fold; scores and comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

from brainbench.evaluation.trials.modes import MODES
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.recipes.pipelines import FbcspLdaSettings, NetworkSettings, PipelineSettings
from brainbench.runs.units import Unit
from brainbench.studies.base import Stage, Study
from brainbench.studies.cases.across import mean_over_subjects
from brainbench.studies.memory import BASE_MB, BATCH_MB, BLOCK_MB, MNE_MB, TORCH_MB, jobs_of, megabytes
from brainbench.studies.outcome import Outcome
from brainbench.studies.trials.claims import trial_answer, trial_claims
from brainbench.studies.trials.contacts import check_contacts, contact_units, report_contacts
from brainbench.studies.trials.decoding import (
    Held,
    Hits,
    compare_pipelines,
    note_trials,
    pattern_units,
    pipeline_units,
    score_pipeline,
)
from brainbench.studies.trials.insight import note_calibration, note_explanations, note_networks
from brainbench.studies.trials.parts import Sweep, check_sweeps, report_sweeps, sweep_units
from brainbench.studies.trials.trials import Case, Member, check_pipelines, open_member, open_trials, recordings_of
from brainbench.studies.words import joined

NEVER = {
    "k-fold": "trials never trained on",
    "leave-one-run-out": "runs never trained on",
    "leave-one-session-out": "sessions never trained on",
    "leave-one-subject-out": "participants never trained on",
    "chronological": "later trials never trained on",
    "few-shot": "participants of whom a few trials are known",
}
"""What the test trials of a scheme are, in words."""


class TrialsStudy(Study[TrialsRecipe]):
    """Pipelines on the trials of every subject, under every scheme."""

    recipe_model: ClassVar = TrialsRecipe

    @cached_property
    def _opened_trials(self) -> tuple[list[Member], list[Case]]:
        with self.runner.stages.stage("read and filter", total=len(self.opened.subjects)) as advance:
            members, cases = open_trials(self.opened)
            check_sweeps(self.opened, members, _leading(cases))
            check_contacts(self.recipe, _leading(cases))
            advance(len(members))
        return members, cases

    @property
    def members(self) -> list[Member]:
        """Every participant."""
        return self._opened_trials[0]

    @property
    def cases(self) -> list[Case]:
        """Every scheme on the participants that it pools."""
        return self._opened_trials[1]

    @cached_property
    def pipelines(self) -> list[tuple[Case, PipelineSettings, list[Unit]]]:
        """Every pipeline on every case, a unit a fold."""
        return pipeline_units(self.opened, self.cases)

    @cached_property
    def patterns(self) -> list[tuple[Member, PipelineSettings, Unit]]:
        """Spatial patterns of every participant and CSP pipeline."""
        return pattern_units(self.opened, self.members)

    @cached_property
    def sweeps(self) -> list[tuple[Case, Sweep, list[Unit]]]:
        """Windows and bands of the leading scheme."""
        return [(case, sweep, mine) for case in _leading(self.cases) for sweep, mine in sweep_units(self.opened, case)]

    @cached_property
    def contacts(self) -> list[tuple[Case, list[Unit]]]:
        """Contacts of the leading scheme, ranked by training rows."""
        return [(case, contact_units(self.opened, case)) for case in _leading(self.cases)]

    @classmethod
    def sample(cls, recipe: Any, subjects: Sequence[str]) -> list[str]:
        """Return the first participant, or two where trials of others train."""
        return list(subjects[: 2 if any(one.across_subjects for one in recipe.evaluate) else 1])

    def rehearse(self) -> None:
        """Try every pipeline on trials of the first subject."""
        check_pipelines(self.opened, [open_member(self.opened, self.opened.subjects[0])])

    def stages(self) -> Iterator[Stage]:
        """Yield the one stage: nothing here needs another unit."""
        units = [unit for *_, mine in self.pipelines for unit in mine]
        units += [unit for *_, unit in self.patterns]
        units += [unit for _, mine in self.contacts for unit in mine]
        yield Stage("decode", units + [unit for *_, mine in self.sweeps for unit in mine])

    def gather(self, outcome: Outcome) -> None:
        """Add scores, comparisons, windows and bands, and what decoders looked at."""
        recipe, runner, cases = self.recipe, self.runner, self.cases
        note_trials(outcome, recipe, recordings_of(self.opened), self.members, cases)
        subjects = [member.subject for member in self.members]
        with runner.stages.stage("score", total=len(self.pipelines)) as advance:
            right: dict[tuple[str, str], dict[str, Hits]] = {}
            held_out: dict[tuple[str, str, str], Held] = {}
            for case, settings, mine in self.pipelines:
                arrays = runner.read(mine)
                note_networks(outcome, settings, arrays)
                if case.label == cases[0].label:
                    note_explanations(outcome, case, settings, arrays)
                for member, held, hits in score_pipeline(outcome, recipe, case, settings, arrays):
                    held_out[case.label, settings.name, member.subject] = held
                    right.setdefault((case.label, member.subject), {})[settings.name] = hits
                advance(1)
            report_sweeps(outcome, recipe, runner, self.sweeps)
            report_contacts(outcome, recipe, runner, self.contacts)
            mean_over_subjects(recipe, outcome, subjects)
            compare_pipelines(outcome, recipe, right, subjects)
            note_calibration(outcome, recipe, held_out)
        for member, settings, unit in self.patterns:
            drawn: Any = runner.read([unit])[0]["patterns"]
            found = {"subject": member.subject, "pipeline": settings.name, "values": drawn.round(6).tolist()}
            outcome.findings["trials"]["patterns"].append(found)

    @property
    def lead(self) -> str:
        """Accuracy."""
        return "accuracy"

    def question(self) -> str:
        """Return which pipelines were to tell the classes apart, and on what."""
        pipelines = joined([pipeline.name for pipeline in self.recipe.pipelines])
        lead = self.recipe.evaluate[0]
        never = NEVER["few-shot" if MODES[lead.mode].labelled else lead.scheme]
        return f"Can {pipelines} tell the classes apart in trials of {self.people}, on {never}?"

    def claims(self, outcome: Outcome) -> list[str]:
        """Return who is above chance, and which pipelines differ."""
        return trial_claims(self.opened.subjects, outcome)

    def answer(self, outcome: Outcome) -> list[str]:
        """Return how many are above chance, the best pipeline over them, and whether pipelines differ."""
        return trial_answer(self.opened.subjects, outcome)

    def memory(self) -> dict[str, float]:
        """Estimate recordings, what pipelines keep of them, and the units at once, from the first subject's trials."""
        recipe, opened = self.recipe, self.opened
        n, n_channels, n_times = recordings_of(opened).trials(opened.subjects[0]).X.shape
        networks = [pipeline for pipeline in recipe.pipelines if isinstance(pipeline, NetworkSettings)]
        banks = [pipeline for pipeline in recipe.pipelines if isinstance(pipeline, FbcspLdaSettings)]
        n_bands = max((len(pipeline.bands) for pipeline in banks), default=1)
        subjects = len(opened.subjects)
        covariances = (len(recipe.pipelines) - len(networks) + sum(len(one.bands) for one in banks)) * subjects
        signals = subjects * len({str(pipeline.band) for pipeline in networks})
        whole = megabytes((n, n_channels, n_times), 8)
        kept = (2 * whole * subjects if recipe.regions else 0.0) + (
            2 * whole * jobs_of(recipe) if recipe.contacts else 0.0
        )
        pooled = subjects if any(evaluation.across_subjects for evaluation in recipe.evaluate) else 1
        fit = max(4 * megabytes((n, n_bands, n_channels, n_channels), 8), 3 * megabytes((n, n_channels, n_times), 4))
        return {
            "libraries": BASE_MB + MNE_MB + (TORCH_MB + BATCH_MB if networks else 0.0),
            "recordings": (n_bands + 4) * megabytes((n, n_channels, n_times), 8),
            "covariances": covariances * megabytes((n, n_channels, n_channels), 8),
            "signals": signals * megabytes((n, n_channels, n_times), 4),
            "groups and contacts": kept,
            "units at once": jobs_of(recipe) * (pooled * fit + BLOCK_MB),
        }

    def disk(self) -> float:
        """Return next to nothing: probabilities of trials."""
        return 0.1


def _leading(cases: list[Case]) -> list[Case]:
    return [case for case in cases if case.label == cases[0].label]
