"""Opens the trials of a recipe: rows of every subject, folds of every scheme, and what decoders are fitted on.

Signals are read once per subject and band, turned into what a decoder needs (covariances, or float32 signals), and
kept only in that form, shared by all pipelines and folds that ask for the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import canonical_json, digest, digest_array
from brainbench.core.errors import UserError
from brainbench.data.base import Dataset
from brainbench.decoders.base import TrialContext, TrialDecoder
from brainbench.evaluation.certificate import Certificate
from brainbench.evaluation.trials.certificate import trial_certificate
from brainbench.evaluation.trials.content import fingerprints
from brainbench.evaluation.trials.modes import MODES
from brainbench.evaluation.trials.scores import Predictions
from brainbench.evaluation.trials.splitters import TrialRows, TrialSplitter
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.recipes.pipelines import PIPELINES, Evaluation, PipelineSettings
from brainbench.recordings.base import RecordingDataset, compare_montage
from brainbench.recordings.matching import check_amplitudes, spread
from brainbench.recordings.power import densities
from brainbench.recordings.recording import Trials
from brainbench.studies.opened import Opened, met_before

MOST_TRIALS = 60
"""Of a subject, evenly spread: so many say what filtered spectra look like."""
UNITS = {"mag": (1e15, "fT"), "grad": (1e13, "fT/cm")}
"""Kind of channel -> how many of the unit that its spectra are drawn in are one T or T/m; others are drawn in µV."""


@dataclass(frozen=True)
class Signal:
    """Power densities before and after filtering, in decibels of a unit squared per Hz.

    Attributes
    ----------
    unit : str
        Microvolts; of magnetic channels see `UNITS`.
    frequencies, filtered_frequencies : ndarray (n_frequencies,)
        Hz: of runs, and of trials.
    before, filtered : ndarray (3, n_frequencies)
        10th, 50th and 90th percentile over channels: of runs as they were recorded, and of trials.
    power : ndarray (n_channels,)
        Of the trials: variance in decibels.
    """

    unit: str
    frequencies: np.ndarray
    before: np.ndarray
    filtered_frequencies: np.ndarray
    filtered: np.ndarray
    power: np.ndarray


@dataclass(frozen=True)
class Member:
    """One subject: rows, channels, and the digest of its trials in the data set's band."""

    subject: str
    rows: TrialRows
    info: Any
    n_times: int
    tmin: float
    positions: np.ndarray | None
    digest: str
    spread: float
    """Median over channels of the standard deviation, in volts."""
    signal: Signal


@dataclass(frozen=True)
class Case:
    """One scheme on the subjects that it pools.

    Attributes
    ----------
    label : str
        Name of the scheme in tables; few-shot schemes carry their number of shots.
    evaluation : Evaluation
    members : list of Member
        One for schemes within a subject.
    rows : TrialRows
        Of all members, one after the other.
    folds : list of (train, test)
    unlabelled : list of int ndarray
        Rows of each fold's new subject that are there beforehand without labels; none for most schemes.
    """

    label: str
    evaluation: Evaluation
    members: tuple[Member, ...]
    rows: TrialRows
    folds: list[tuple[np.ndarray, np.ndarray]]
    unlabelled: list[np.ndarray] = field(default_factory=list)

    @cached_property
    def classes(self) -> list[str]:
        """Every label, sorted."""
        return [str(name) for name in np.unique(self.rows.label)]

    @cached_property
    def certificate(self) -> Certificate:
        """What training and test share."""
        return trial_certificate(self.folds, self.rows)

    @cached_property
    def digests(self) -> list[str]:
        """Digest of every member's trials."""
        return [member.digest for member in self.members]

    def groups(self, train: np.ndarray) -> np.ndarray:
        """Return what validation inside the training rows must not split: subjects, else sessions, else runs."""
        rows = self.rows.take(train)
        for values in (rows.subject, rows.sessions, rows.runs):
            if len(np.unique(values)) > 1:
                return values
        return rows.runs

    def fold_digest(self, index: int) -> list[str]:
        """Return what names the rows of one fold, and how they are used."""
        known = self.known(index)
        used = [digest_array(known)] if len(known) else []
        return [*(digest_array(part) for part in self.folds[index]), *used, *["trialwise"] * self.trialwise]

    def known(self, index: int) -> np.ndarray:
        """Return the rows of a fold's new subject that are there beforehand without labels."""
        return self.unlabelled[index] if self.unlabelled else np.empty(0, dtype=int)

    @property
    def trialwise(self) -> bool:
        """Whether every test trial is decoded as if it were the only one."""
        return MODES[self.evaluation.mode].trialwise

    def transductive(self, align: str) -> bool:
        """Return whether an alignment uses test trials of a subject or session of which it knows no others."""
        if MODES[self.evaluation.mode].share == 1:
            return align != "none"
        sessions = self.rows.sessions
        return align.endswith("_transductive") and any(
            not np.isin(sessions[test], sessions[np.concatenate([train, self.known(index)])]).all()
            for index, (train, test) in enumerate(self.folds)
        )


@dataclass
class TrialStore:
    """What decoders are fitted on, computed once per subject, band and preparation."""

    dataset: RecordingDataset
    kept: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    networks: Path | None = None
    """Folder of trained networks."""

    def prepared(self, case: Case, settings: PipelineSettings, decoder: TrialDecoder) -> np.ndarray:
        """Return the prepared trials of all members of a case, ``(n_trials, ...)``."""
        parts = [self._of(member.subject, settings, decoder) for member in case.members]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _of(self, subject: str, settings: PipelineSettings, decoder: TrialDecoder) -> np.ndarray:
        key = (subject, canonical_json(preparation_of(settings, decoder)))
        with self.lock:  # two units that need the same wait for one computation
            if key not in self.kept:
                bands = decoder.bands
                if bands is None:
                    X = self.dataset.trials(subject, settings.band).X
                else:
                    X = np.stack([self.dataset.trials(subject, band).X for band in bands], axis=1)
                try:
                    self.kept[key] = decoder.prepare(X)
                except ValueError as error:
                    raise UserError(f"{subject}, {settings.name}: {error}") from error
            return self.kept[key]


def preparation_of(settings: PipelineSettings, decoder: TrialDecoder) -> dict[str, Any]:
    """Return everything that decides a decoder's prepared trials, besides the recording."""
    return {"band": settings.band, "preparation": decoder.preparation()}


def recordings_of(opened: Opened[TrialsRecipe]) -> RecordingDataset:
    """Return the recordings of a recipe with pipelines, which takes no other data set."""
    if not isinstance(opened.dataset, RecordingDataset):
        raise TypeError(f"{opened.recipe.dataset.name} has no recordings")
    return opened.dataset


def open_trials(opened: Opened[TrialsRecipe]) -> tuple[list[Member], list[Case]]:
    """Read every subject and deal its trials into the folds of every scheme.

    Raises
    ------
    UserError
        If a recording is unfit, montages differ where subjects are pooled, the trials cannot be dealt so, or a
        pipeline does not fit the recording: all before the first unit.
    """
    recipe = opened.recipe
    members = [open_member(opened, subject) for subject in opened.subjects]
    if any(evaluation.across_subjects for evaluation in recipe.evaluate):
        check_alike(members)
    check_pipelines(opened, members)
    return members, [case for evaluation in recipe.evaluate for case in _cases(evaluation, members, recipe)]


def check_pipelines(opened: Opened[TrialsRecipe], members: Sequence[Member]) -> None:
    """Refuse bands that a subject's rate does not hold, and networks that cannot read a subject's trials, or have."""
    recipe = opened.recipe
    checked: set[tuple[str, tuple[int, ...]]] = set()
    for member in members:
        for settings in recipe.pipelines:
            decoder = make_decoder(settings, member, recipe, opened.networks)
            for band in decoder.bands or ([settings.band] if settings.band else []):
                if band[1] >= member.info["sfreq"] / 2:
                    raise UserError(
                        f"pipeline '{settings.name}': a band up to {band[1]:g} Hz needs more than {2 * band[1]:g} "
                        f"samples per second; {member.subject} has {member.info['sfreq']:g}"
                    )
            shape = (len(member.info["ch_names"]), member.n_times, len(np.unique(member.rows.label)))
            if (settings.name, shape) not in checked:
                try:
                    decoder.check_trials(*shape)
                    _check_unseen(decoder, opened.dataset, opened.subjects)
                except UserError as error:
                    where = f"pipeline '{settings.name}', {member.subject}"
                    raise UserError(f"{where}: {error.message}", hint=error.hint) from error
                checked.add((settings.name, shape))


def _check_unseen(decoder: TrialDecoder, dataset: Dataset, subjects: Sequence[str]) -> None:
    """Refuse a network that has learned from the recordings that it is tested on, labels or not."""
    shared = met_before(decoder.origins(), dataset, subjects)
    if shared is not None:
        raise UserError(
            f"its network learned from recordings that are decoded here, such as {shared}",
            hint="pretrain it on other people (`held_out` of its recipe are the ones to decode)",
        )


def check_alike(members: Sequence[Member]) -> None:
    """Refuse to pool subjects whose trials differ in channels, rate, length or unit."""
    first = members[0]
    check_amplitudes({member.subject: member.spread for member in members})
    for other in members[1:]:
        compare_montage(first.info, other.info, first.subject, other.subject)
        if other.n_times != first.n_times:
            raise UserError(
                f"trials of {first.subject} have {first.n_times} samples, of {other.subject} {other.n_times}",
                hint="`dataset.sfreq` brings all to one rate",
            )


def open_member(opened: Opened[TrialsRecipe], subject: str) -> Member:
    """Read the trials of a subject and keep their rows; see `open_trials`."""
    trials = recordings_of(opened).trials(subject)
    n = len(trials)
    rows = TrialRows(
        subject=np.full(n, subject),
        session=trials.session,
        run=trials.run,
        trial=trials.trial,
        label=trials.label,
        onset=trials.onset,
        length=trials.length,
        content=fingerprints(trials.X),
    )
    names = np.unique(trials.label)
    if len(names) < 2:
        raise UserError(f"{subject}: every whole trial is '{names[0]}': one class, nothing to tell apart")
    found = digest(
        {"trials": trials.digest(), "filter": opened.recipe.dataset.model_dump(exclude={"root", "subjects"})}
    )
    positions = trials.positions() if on_scalp(trials.info) else None
    return Member(
        subject, rows, trials.info, trials.X.shape[-1], trials.tmin, positions, found, spread(trials.X),
        _signal(recordings_of(opened), subject, trials),
    )  # fmt: skip


def on_scalp(info: Any) -> bool:
    """Return whether channels can be drawn on the scalp; contacts in the head have places, but not there."""
    return set(info.get_channel_types()) <= {"eeg", "mag", "grad"}


def _signal(dataset: RecordingDataset, subject: str, trials: Trials) -> Signal:
    """Return the spectra of a subject's runs and of its trials."""
    runs, rate = dataset.unfiltered(subject)
    frequencies, before = densities(runs, rate)
    step = max(1, len(trials) // MOST_TRIALS)
    own, filtered = densities(list(trials.X[::step]), trials.sfreq)
    scale, unit = UNITS.get(dataset.kind, (1e6, "µV"))

    def decibels(density: np.ndarray) -> np.ndarray:
        found: np.ndarray = 10 * np.log10(np.maximum(density * scale**2, 1e-12))
        return found

    percentiles = (10, 50, 90)
    return Signal(
        unit, frequencies, np.percentile(decibels(before), percentiles, axis=0), own,
        np.percentile(decibels(filtered), percentiles, axis=0), decibels(trials.X.var(axis=-1).mean(axis=0)),
    )  # fmt: skip


def splitters_of(evaluation: Evaluation, seed: int) -> list[tuple[str, TrialSplitter]]:
    """Return the splitters of a scheme with their names in tables; few-shot has one a number of shots."""
    few = evaluation.scheme == "few-shot"
    return [
        (
            f"few-shot-{shots}" if few else evaluation.label,
            TrialSplitter(
                evaluation.scheme, n_splits=evaluation.n_splits, test_share=evaluation.test_share, shots=shots,
                all_shots=tuple(evaluation.shots) if few else (), mode=evaluation.mode, seed=seed,
            ),
        )
        for shots in (evaluation.shots if few else [0])
    ]  # fmt: skip


def _cases(evaluation: Evaluation, members: Sequence[Member], recipe: TrialsRecipe) -> list[Case]:
    pools = [tuple(members)] if evaluation.across_subjects else [(member,) for member in members]
    cases = []
    for label, splitter in splitters_of(evaluation, recipe.seed):
        for pool in pools:
            rows = TrialRows.joined([member.rows for member in pool])
            who = pool[0].subject if len(pool) == 1 else f"{len(pool)} subjects"
            try:
                folds = list(splitter.split(groups=rows))
            except ValueError as error:
                raise UserError(f"{who}, {label}: {error}") from error
            for number, (train, _) in enumerate(folds, start=1):
                missing = sorted(set(rows.label) - set(rows.label[train]))
                if missing:
                    raise UserError(
                        f"{who}, {label}: training of fold {number} has no trial of '{missing[0]}'",
                        hint="another scheme holds out less",
                    )
            cases.append(Case(label, evaluation, pool, rows, folds, [splitter.unlabelled(rows, t) for _, t in folds]))
    return cases


def make_decoder(
    settings: PipelineSettings, member: Member, recipe: TrialsRecipe, networks: Path | None = None
) -> TrialDecoder:
    """Return a new decoder for the recordings of a subject; `networks` is where trained networks are kept."""
    context = TrialContext(
        info=member.info, n_times=member.n_times, seed=recipe.seed, threads=recipe.execution.threads_per_unit,
        networks=networks,
    )  # fmt: skip
    return PIPELINES.builder(settings.decoder)(settings, context)


def predicted(
    decoder: TrialDecoder, prepared: np.ndarray, domains: np.ndarray, held: np.ndarray, known: np.ndarray, *,
    trialwise: bool,
) -> np.ndarray:  # fmt: skip
    """Return the probabilities of held-out trials, ``(n_held, n_classes)``, as the mode of the scheme has it.

    Parameters
    ----------
    decoder : TrialDecoder
        Fitted.
    prepared : ndarray (n_trials, ...)
    domains : ndarray (n_trials,)
    held, known : int ndarray
        Rows that are tested, and rows of the new subject that are there without labels.
    trialwise : bool
        Decode every trial as if it were the only one.
    """
    if len(known):
        decoder.adapt(prepared[known], domains=domains[known])
    parts = held[:, None] if trialwise else [held]
    return np.concatenate([decoder.probability_of(prepared[rows], domains=domains[rows]) for rows in parts])


def by_subject(case: Case, arrays: list[dict[str, np.ndarray]]) -> Iterator[tuple[Member, Predictions]]:
    """Yield each member's held-out predictions, from the folds that test it."""
    for member in case.members:
        mine = [one for one in arrays if np.all(case.rows.subject[one["row"]] == member.subject)]
        if not mine:
            continue
        yield (
            member,
            Predictions(
                row=np.concatenate([one["row"] for one in mine]),
                fold=np.concatenate([np.full(len(one["row"]), index) for index, one in enumerate(mine)]),
                probability=np.concatenate([one["probability"] for one in mine]),
                exchanged=np.concatenate([one["exchanged"] for one in mine]) if "exchanged" in mine[0] else None,
            ),
        )
