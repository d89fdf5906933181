"""Decoding from parts of a trial: a window that slides over it, one frequency band, or one group of channels.

The folds are those of the leading scheme, the pipeline is one of the recipe's, and every part is tested on the same
trials. Rows of ``scores.csv`` carry the part as `roi`, under a scheme of their own, so that q counts all parts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from brainbench.core.errors import UserError
from brainbench.decoders.base import TrialDecoder
from brainbench.evaluation.trials.scores import TrialScores, score_trials
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.recipes.pipelines import BandResolved, PipelineSettings, RegionResolved, TimeResolved
from brainbench.recordings.base import RecordingDataset
from brainbench.recordings.channels import listed
from brainbench.recordings.pairing import filter_reach
from brainbench.recordings.recording import Trials
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.opened import Opened
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.trials.groups import EVERYTHING, Groups, groups_of, picked
from brainbench.studies.trials.nulls import digest_orders, fitted_again, learned_of, refit_orders, trial_null
from brainbench.studies.trials.trials import Case, Member, by_subject, make_decoder, predicted, recordings_of

Kind = Literal["time", "band", "region", "without"]
SHOWN = ("accuracy", "roc_auc")
"""Metrics of a part."""


@dataclass(frozen=True)
class Part:
    """A window (seconds after the event), a band (Hz), or some of the channels."""

    name: str
    low: float = 0.0
    high: float = 0.0
    channels: tuple[str, ...] = ()


@dataclass
class Sweep:
    """All windows, bands, or groups of channels, of the leading scheme.

    Attributes
    ----------
    kind : {"time", "band", "region", "without"}
        Groups of channels alone and all of them, or all but a group.
    settings : PipelineSettings
    section : mapping
        The recipe's section, resolved.
    parts : list of Part
    span : (tmin, tmax) or None
        What trials must cover so that every window lies inside of the run; None keeps the data set's trials.
    rest : mapping of str to tuple of str
        Channels that are in no group, by reason.
    """

    kind: Kind
    settings: PipelineSettings
    section: dict[str, Any]
    parts: list[Part]
    span: tuple[float, float] | None
    rest: Groups = field(default_factory=dict)
    kept: dict[str, tuple[np.ndarray, list[np.ndarray]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def label(self, case: Case) -> str:
        """Name of the scheme in tables."""
        return f"{case.label}, {'one region left out' if self.kind == 'without' else f'by {self.kind}'}"

    def reads(self, member: Member, part: int) -> Member:
        """Return a participant with the channels of a part alone."""
        channels = self.parts[part].channels
        return picked(member, channels) if channels else member

    def prepared(
        self, dataset: RecordingDataset, case: Case, decoder: TrialDecoder, part: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the case's rows that every part has, and what the decoder is fitted on in one of them."""
        rows, parts, start = [], [], 0
        for member in case.members:
            kept, found = self._of(dataset, member, decoder)
            rows.append(start + kept)
            parts.append(found[part])
            start += len(member.rows)
        return np.concatenate(rows), np.concatenate(parts)

    def _of(
        self, dataset: RecordingDataset, member: Member, decoder: TrialDecoder
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        with self.lock:  # all parts of a subject come from one reading
            if member.subject not in self.kept:
                if self.kind == "time":
                    whole = dataset.trials(member.subject, self.settings.band, self.span)
                    kept, at = _same_trials(member, whole)
                    found = [decoder.prepare(_window(whole, part)[at]) for part in self.parts]
                elif self.kind == "band":
                    kept = np.arange(len(member.rows))
                    found = [
                        decoder.prepare(dataset.trials(member.subject, (part.low, part.high)).X) for part in self.parts
                    ]
                else:
                    kept, X = np.arange(len(member.rows)), dataset.trials(member.subject, self.settings.band).X
                    names = list(member.info["ch_names"])
                    found = [decoder.prepare(X[:, [names.index(one) for one in part.channels]]) for part in self.parts]
                self.kept[member.subject] = kept, found
            return self.kept[member.subject]


def _same_trials(member: Member, whole: Trials) -> tuple[np.ndarray, np.ndarray]:
    """Return the member's rows that the longer trials have too, and where those stand."""
    rows = member.rows
    place = {key: index for index, key in enumerate(zip(whole.session, whole.run, whole.trial, strict=True))}
    at = [place.get(key, -1) for key in zip(rows.session, rows.run, rows.trial, strict=True)]
    kept = np.flatnonzero(np.array(at) >= 0)
    return kept, np.array(at)[kept]


def _window(whole: Trials, part: Part) -> np.ndarray:
    start = round((part.low - whole.tmin) * whole.sfreq)
    return whole.X[:, :, start : start + round((part.high - part.low) * whole.sfreq)]


def sweeps_of(recipe: TrialsRecipe, dataset: RecordingDataset, case: Case) -> list[Sweep]:
    """Return the sweeps that a recipe asks for.

    Raises
    ------
    UserError
        If channels cannot be grouped so.
    """
    found = []
    if recipe.time_resolved is not None:
        parts = [Part(f"{low:g} to {high:g} s", low, high) for low, high in recipe.time_resolved.windows]
        found.append(_sweep("time", recipe, recipe.time_resolved, parts, (parts[0].low, parts[-1].high)))
    if recipe.bands is not None:
        parts = [Part(f"{name} {low:g}-{high:g} Hz", low, high) for name, (low, high) in recipe.bands.ranges.items()]
        found.append(_sweep("band", recipe, recipe.bands, parts, None))
    if recipe.regions is not None:
        groups, rest = groups_of(dataset, recipe.regions, case.members)
        everything = tuple(case.members[0].info["ch_names"])
        alone = [Part(name, channels=mine) for name, mine in groups.items()]
        sweep = _sweep("region", recipe, recipe.regions, [*alone, Part(EVERYTHING, channels=everything)], None)
        found.append(replace(sweep, rest=rest))
        others = {name: tuple(one for one in everything if one not in mine) for name, mine in groups.items()}
        parts = [Part(name, channels=mine) for name, mine in others.items() if mine]
        if parts:
            found.append(_sweep("without", recipe, recipe.regions, parts, None))
    return found


def _sweep(
    kind: Kind, recipe: TrialsRecipe, section: TimeResolved | BandResolved | RegionResolved, parts: list[Part],
    span: tuple[float, float] | None,
) -> Sweep:  # fmt: skip
    settings = recipe.part_pipeline(section)
    return Sweep(kind, settings, section.model_dump(mode="json", exclude={"pipeline"}), parts, span)


def check_sweeps(opened: Opened[TrialsRecipe], members: list[Member], lead: list[Case]) -> None:
    """Refuse windows and bands that the recordings or the folds of the leading scheme cannot hold, before any unit.

    Raises
    ------
    UserError
        Naming the window or band.
    """
    recipe, dataset = opened.recipe, recordings_of(opened)
    for case in lead:
        for sweep in sweeps_of(recipe, dataset, case):
            if sweep.kind in ("region", "without"):
                _check_groups(recipe, sweep, case)
    for sweep in sweeps_of(recipe, dataset, lead[0]):
        for member in members:
            rate = float(member.info["sfreq"])
            for part in sweep.parts:
                if sweep.kind == "band" and part.high >= rate / 2:
                    raise UserError(
                        f"bands.ranges: {part.name} needs more than {2 * part.high:g} samples per second; "
                        f"{member.subject} has {rate:g}",
                        hint="leave the band out with `bands.ranges`",
                    )
                if sweep.kind == "time" and round((part.high - part.low) * rate) < 2:
                    raise UserError(
                        f"time_resolved.window: {part.high - part.low:g} s is less than two samples of "
                        f"{member.subject}, which has {rate:g} per second"
                    )
        if sweep.kind == "time":
            _check_windows(dataset, sweep, lead)


def _check_groups(recipe: TrialsRecipe, sweep: Sweep, case: Case) -> None:
    """Refuse groups that the pipeline cannot read: before any unit, and naming the group."""
    for index, part in enumerate(sweep.parts):
        member = sweep.reads(case.members[0], index)
        try:
            make_decoder(sweep.settings, member, recipe).check_trials(
                len(part.channels), member.n_times, len(case.classes)
            )
        except UserError as error:
            which = f"{'all but ' if sweep.kind == 'without' else ''}{part.name} ({len(part.channels)} channels)"
            raise UserError(
                f"regions: {member.subject}, {sweep.settings.name}, {which}: {error.message}", hint=error.hint
            ) from error


def _check_windows(dataset: RecordingDataset, sweep: Sweep, lead: list[Case]) -> None:
    """Refuse windows that leave a fold without trials: only trials that cover all of them are used."""
    for case in lead:
        kept, start = [], 0
        for member in case.members:
            whole = dataset.trials(member.subject, span=sweep.span, unfiltered=True)
            kept.append(start + _same_trials(member, whole)[0])
            start += len(member.rows)
        rows = np.concatenate(kept)
        for number, (train, test) in enumerate(case.folds, start=1):
            left = np.intersect1d(train, rows)
            if not len(np.intersect1d(test, rows)) or len(np.unique(case.rows.label[left])) < len(case.classes):
                raise UserError(
                    f"time_resolved: fold {number} has no trials of every class that cover all windows "
                    f"({sweep.parts[0].low:g} to {sweep.parts[-1].high:g} s)",
                    hint="a later `time_resolved.tmin` or an earlier `tmax` leaves more trials",
                )


def sweep_units(opened: Opened[TrialsRecipe], case: Case) -> list[tuple[Sweep, list[Unit]]]:
    """Return a unit per sweep and part, on the folds of the leading scheme."""
    recipe, dataset = opened.recipe, recordings_of(opened)
    return [
        (sweep, [_unit(dataset, recipe, case, sweep, index) for index in range(len(sweep.parts))])
        for sweep in sweeps_of(recipe, dataset, case)
    ]


def _unit(dataset: RecordingDataset, recipe: TrialsRecipe, case: Case, sweep: Sweep, index: int) -> Unit:
    part = sweep.parts[index]
    settings, who = sweep.settings, case.members[0].subject if len(case.members) == 1 else "all subjects"

    def compute() -> dict[str, np.ndarray]:
        decoder = make_decoder(settings, sweep.reads(case.members[0], index), recipe)
        try:
            rows, prepared = sweep.prepared(dataset, case, decoder, index)
            folds = [(train[np.isin(train, rows)], test[np.isin(test, rows)]) for train, test in case.folds]
            orders = refit_orders(recipe, case, folds)
            y, domains = case.rows.label[rows], case.rows.sessions[rows]
            found: list[dict[str, np.ndarray]] = []
            for number, (train, test) in enumerate(folds):
                fit, held = np.searchsorted(rows, train), np.searchsorted(rows, test)
                decoder.fit_prepared(prepared[fit], y[fit], groups=case.groups(train), domains=domains[fit])
                known = np.flatnonzero(np.isin(rows, case.known(number)))
                probability = predicted(decoder, prepared, domains, held, known, trialwise=case.trialwise).astype(
                    np.float64
                )
                again = fitted_again(
                    decoder, None if orders is None else orders[:, rows], prepared, (fit, held), domains
                )
                found.append({"row": test, "fold": np.full(len(held), number), "probability": probability, **again})
        except (ValueError, np.linalg.LinAlgError) as error:
            raise UserError(f"{who}, {settings.name}, {part.name}: {error}") from error
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    key = {
        "trials": case.digests,
        "rows": [case.fold_digest(number) for number in range(len(case.folds))],
        "exchanged": digest_orders(recipe, case, case.folds),
        "kind": sweep.kind,
        "part": list(part.channels) if part.channels else [part.low, part.high],
        "span": sweep.span,
        "pipeline": settings.model_dump(mode="json", exclude={"name"}),
        "seed": recipe.seed,
        "threads": recipe.execution.threads_per_unit,
    }
    return Unit("decode_part", f"{who}, {settings.name}, {part.name}", key, compute)


def report_sweeps(
    outcome: Outcome, recipe: TrialsRecipe, runner: Runner, found: list[tuple[Case, Sweep, list[Unit]]]
) -> None:
    """Add the scores of every part, and what the report says of them."""
    for case, sweep, units in found:
        for part, arrays in zip(sweep.parts, runner.read(units), strict=True):
            for member, scored, test in _scored(recipe, case, arrays):
                _add(outcome, case, sweep, part, member, scored, test)
        first = case.members[0]
        known = outcome.findings["trials"][sweep.kind] or {"parts": []}  # participants may have other groups
        met = [part["name"] for part in known["parts"]]
        outcome.findings["trials"][sweep.kind] = {
            "scheme": sweep.label(case),
            "pipeline": sweep.settings.name,
            "parts": known["parts"] + [_of_part(part) for part in sweep.parts if part.name not in met],
            "trial": [first.tmin, first.tmin + (first.n_times - 1) / first.info["sfreq"]],
            "reach_s": _reach(recipe, sweep, first),
        }
        for why, names in sweep.rest.items():
            left = f"{first.subject}: {listed(names)}, {why}: in no group, and among all channels."
            outcome.findings["trials"]["not_grouped"].append(left)


def _of_part(part: Part) -> dict[str, Any]:
    """Return what the report says of a part; groups of channels are said a participant."""
    return {"name": part.name} | ({} if part.channels else {"low": part.low, "high": part.high})


def _reach(recipe: TrialsRecipe, sweep: Sweep, member: Member) -> float | None:
    dataset: Any = recipe.dataset
    if sweep.kind != "time":
        return None
    return filter_reach(float(member.info["sfreq"]), sweep.settings.band or dataset.band, dataset.filter)


def _scored(
    recipe: TrialsRecipe, case: Case, arrays: dict[str, np.ndarray]
) -> Iterator[tuple[Member, TrialScores, str | None]]:
    folds = [
        {name: values[arrays["fold"] == fold] for name, values in arrays.items()} for fold in np.unique(arrays["fold"])
    ]
    for member, predictions in by_subject(case, folds):
        y = np.searchsorted(case.classes, case.rows.label[predictions.row])
        null, _ = trial_null(recipe, case, member.subject, y, predictions)
        scored = score_trials(
            y, predictions, null=null, learned=learned_of(case, member.subject), n_draws=recipe.bootstrap.n_draws,
            confidence=recipe.bootstrap.confidence, seed=recipe.seed,
        )  # fmt: skip
        yield member, scored, None if null is None else null.text


def _add(
    outcome: Outcome, case: Case, sweep: Sweep, part: Part, member: Member, scored: TrialScores,
    test: str | None,
) -> None:  # fmt: skip
    for metric in SHOWN:
        score = scored.metrics[metric]
        outcome.add(
            subject=member.subject, scheme=sweep.label(case), pipeline=sweep.settings.name, roi=part.name, fold=ALL,
            metric=metric, value=score.value, ci_low=score.ci_low, ci_high=score.ci_high, p=score.p,
            null_95=score.null_95, n_targets=len(part.channels or member.info["ch_names"]), n_rows=scored.n_trials,
            test=test,
        )  # fmt: skip
