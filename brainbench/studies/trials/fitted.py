"""A decoder fitted on chosen subjects and runs of a finished run, and a new recording made to fit it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import SCHEMA, canonical_json, digest, digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.decoders.base import TrialDecoder
from brainbench.decoders.files import CannotBeWritten, load_fitted, save_fitted
from brainbench.evaluation.trials.content import reach, repeated
from brainbench.evaluation.trials.splitters import TrialRows
from brainbench.features.store import default_cache
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.recipes.pipelines import PipelineSettings
from brainbench.recipes.reader import parse_recipe
from brainbench.recordings.base import RecordingDataset
from brainbench.recordings.cutting import filtered
from brainbench.recordings.matching import check_positions, check_rate, check_scale, spread
from brainbench.recordings.recording import NewRecording
from brainbench.runs.folder import FINISHED, Run
from brainbench.runs.units import one_thread_pool
from brainbench.studies.opened import Opened, open_all
from brainbench.studies.trials.trials import (
    Case,
    Member,
    TrialStore,
    check_alike,
    make_decoder,
    preparation_of,
    recordings_of,
)

NEW = "new"
"""Stands for the subject or session of a recording that training never saw."""


@dataclass
class FittedDecoder:
    """A fitted decoder and the trials it came from.

    Attributes
    ----------
    settings : PipelineSettings
    decoder : TrialDecoder
        Fitted.
    member : Member
        The first of the subjects, for channels, rate and length.
    rows : TrialRows
        The training trials.
    lines : list of str
        What is said of it.
    """

    settings: PipelineSettings
    decoder: TrialDecoder
    member: Member
    rows: TrialRows
    lines: list[str] = field(default_factory=list)

    @property
    def bands(self) -> list[list[float] | None]:
        """Pass bands that it reads; None stands for the data set's."""
        return bands_of(self.settings, self.decoder)

    def domain_of(self, new: NewRecording) -> str:
        """Return the subject and session of a recording, by which alignment finds its reference."""
        subjects = set(self.rows.subject.tolist())
        subject = new.subject or (next(iter(subjects)) if len(subjects) == 1 else NEW)
        return f"{subject}/{new.recording.session or NEW}"

    def check_online(self, domain: str) -> None:
        """Refuse a decoder that needs all trials of an unseen person before its first decision."""
        if self.settings.align.endswith("_transductive") and domain not in set(self.rows.sessions.tolist()):
            raise UserError(
                f"{self.settings.name} is transductive: its alignment needs all trials of an unseen person or session, "
                "which do not exist yet when the first decision is due",
                hint=f"align: {self.settings.align.removesuffix('_transductive')}",
            )


def bands_of(settings: PipelineSettings, decoder: TrialDecoder) -> list[list[float] | None]:
    """Return the pass bands that a decoder reads; None stands for the data set's."""
    return [*decoder.bands] if decoder.bands is not None else [settings.band]


def open_decode_run(path: str | Path, root: str | None, cache: str | None) -> tuple[Run, Opened[TrialsRecipe]]:
    """Open a finished run of a recipe with pipelines.

    Raises
    ------
    UserError
        If it is none.
    """
    run = Run(path)
    if run.manifest.get("status") != FINISHED:
        raise UserError(f"{path}: the run has not finished", hint="run its recipe again to finish it")
    source = run.path / "recipe.yaml"
    overrides = [] if root is None else [f"dataset.root={root}"]
    read = parse_recipe(source.read_text(encoding="utf-8"), str(source), overrides)
    recipe = TrialsRecipe.of(read)
    if recipe is None:
        what = "a decode run without pipelines" if read.kind == "decode" else f"a {read.kind} run"
        raise UserError(f"{path} is {what}; only runs of `kind: decode` with `pipelines` have decoders of trials")
    return run, open_all(recipe, default_cache(cache))


def choose_pipeline(recipe: TrialsRecipe, name: str | None) -> tuple[PipelineSettings, str]:
    """Return a pipeline by name, else the first, and how it was chosen.

    Never the best one: the recording may be among those that made it the best.
    """
    names = [settings.name for settings in recipe.pipelines]
    if name is None:
        which = "the only pipeline" if len(names) == 1 else f"first of {len(names)} pipelines; --pipeline takes another"
        return recipe.pipelines[0], which
    if name not in names:
        raise UserError(
            f"--pipeline: the run has no pipeline '{name}'{did_you_mean(name, names)}",
            hint=f"pipelines: {one_of(names)}",
        )
    return recipe.pipelines[names.index(name)], "as asked"


def choose_subjects(opened: Opened[TrialsRecipe], wanted: Sequence[str], recorded: str) -> list[str]:
    """Return whose trials train: those asked for, else the recorded person's own, else everybody's."""
    for name in wanted:
        if name not in opened.subjects:
            raise UserError(
                f"--subject: '{name}' is not in the run{did_you_mean(name, opened.subjects)}",
                hint=f"subjects: {one_of(opened.subjects)}",
            )
    if wanted:
        return [name for name in opened.subjects if name in wanted]
    return [recorded] if recorded in opened.subjects else list(opened.subjects)


def read_new(opened: Opened[TrialsRecipe], path: Path, member: Member, bands: list[list[float] | None]) -> NewRecording:
    """Read a recording and check channels, places, rate and scale against what was trained on.

    Raises
    ------
    UserError
        If it does not fit.
    """
    dataset = recordings_of(opened)
    new = dataset.read_new(path, member.info)
    raw, where = new.recording.raw, new.recording.where
    check_positions(raw.info, member.info, where)
    used = [band or dataset.settings.band for band in bands]
    new.notes.extend(check_rate(raw.info["sfreq"], member.info["sfreq"], used, where))
    X = filtered(new.recording, dataset.settings, bands[0]).get_data()
    check_scale(X, spread(dataset.trials(member.subject, bands[0]).X), where)
    return new


def fit_decoder(
    run: Run, opened: Opened[TrialsRecipe], members: list[Member], settings: PipelineSettings, how: str, *,
    train_runs: Sequence[str], itself: str, prints: np.ndarray,
) -> FittedDecoder:  # fmt: skip
    """Fit a pipeline on runs of some subjects, or read it where the run folder has it fitted.

    Parameters
    ----------
    run : Run
    opened : Opened
    members : list of Member
        Whose trials train.
    settings : PipelineSettings
    how : str
        How it was chosen, to be said.
    train_runs : sequence of str
        ``run`` or ``session/run``; none for all.
    itself : str
        Digest of the recording to be decoded, whose trials never train.
    prints : ndarray (n_trials, n)
        Fingerprints of its trials in the data set's band: a run that has any of them is a copy, and does not train.
    """
    recipe, dataset = opened.recipe, recordings_of(opened)
    check_alike(members)
    # The case is only a name for its rows here: its folds are not those of an evaluation.
    case = Case("training", recipe.evaluate[0], tuple(members), TrialRows.joined([m.rows for m in members]), [])
    train, notes = _training_rows(dataset, members, case.rows, train_runs, itself, prints)
    rows = case.rows.take(train)
    names = np.unique(rows.label)
    if len(names) < 2:
        raise UserError(f"every training trial is '{names[0]}': one class, nothing to tell apart")
    decoder, store = make_decoder(settings, members[0], recipe, opened.networks), TrialStore(dataset)
    key = {
        "schema": SCHEMA,
        "trials": case.digests,
        "rows": digest_array(train),
        "prepared": canonical_json(preparation_of(settings, decoder)),
        "pipeline": settings.model_dump(mode="json", exclude={"name"}),
        "seed": recipe.seed,
        "threads": recipe.execution.threads_per_unit,
        "versions": {name: version(name) for name in ("scikit-learn", "pyriemann")},
    }
    folder = run.path / "decoders" / digest(key)[:32]
    if folder.is_dir() and load_fitted(decoder, folder):
        origin = "read from the run folder"
    else:
        shutil.rmtree(folder, ignore_errors=True)
        prepared = store.prepared(case, settings, decoder)[train]
        try:
            with one_thread_pool(recipe.execution.threads_per_unit):
                decoder.fit_prepared(prepared, rows.label, groups=case.groups(train), domains=rows.sessions)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise UserError(f"{settings.name}: {error}") from error
        origin = _keep(decoder, folder, settings, rows)
    who = ", ".join(dict.fromkeys(rows.subject.tolist()))
    lines = [
        f"decoder {settings.name} ({how}), trained on {len(rows)} trials of {who}: "
        f"{', '.join(dict.fromkeys(rows.run.tolist()))}; {origin}",
        *notes,
    ]
    return FittedDecoder(settings, decoder, members[0], rows, lines)


def _keep(decoder: TrialDecoder, folder: Path, settings: PipelineSettings, rows: TrialRows) -> str:
    about: dict[str, Any] = {
        "pipeline": settings.model_dump(mode="json"),
        "classes": [str(name) for name in decoder.classes_],
        "runs": sorted(set(rows.runs.tolist())),
        "n_trials": len(rows),
    }
    try:
        save_fitted(decoder, folder, about)
    except CannotBeWritten as error:
        return f"fitted; not kept, since {error}, which cannot be written without pickle"
    return "fitted, and kept in the run folder"


def _training_rows(
    dataset: RecordingDataset,
    members: list[Member],
    rows: TrialRows,
    wanted: Sequence[str],
    itself: str,
    prints: np.ndarray,
) -> tuple[np.ndarray, list[str]]:
    """Return the rows that train, without those of the recording itself, and what is said of them."""
    names = np.char.add(np.char.add(rows.session, "/"), rows.run)
    known = sorted(set(rows.run.tolist()))
    for name in wanted:
        if name not in known and name not in set(names.tolist()):
            raise UserError(f"--train-runs: no run '{name}'{did_you_mean(name, known)}", hint=f"runs: {one_of(known)}")
    train = np.isin(rows.run, list(wanted)) | np.isin(names, list(wanted)) if wanted else np.ones(len(rows), bool)
    notes = []
    copies = np.zeros(len(rows), dtype=bool)
    if rows.content is not None and len(prints):
        copies = repeated(rows.content, prints, reach(np.concatenate([rows.content, prints])))
    for member in members:
        for (session, run), found in dataset.run_digests(member.subject).items():
            own = (rows.subject == member.subject) & (rows.session == session) & (rows.run == run) & train
            if not own.any() or (found != itself and not copies[own].any()):
                continue
            same = "is" if found == itself else "holds trials of"
            if wanted:
                raise UserError(
                    f"--train-runs: {member.subject} {run} {same} the recording that is to be decoded",
                    hint="a decoder that was trained on it would know its labels",
                )
            train &= ~own
            notes.append(f"{member.subject} {run} {same} this recording: its trials did not train")
    if not train.any():
        raise UserError("no run is left to train on: the recording is the only one")
    return np.flatnonzero(train), notes
