"""Decodes a recording that no decoder of the run has seen: ``brainbench apply RUN recording.edf``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.files import write_text
from brainbench.data.tables import read_table
from brainbench.evaluation.labels import kept_null
from brainbench.evaluation.trials.calibration import forecast
from brainbench.evaluation.trials.content import fingerprints
from brainbench.evaluation.trials.scores import Predictions, Score, score_trials
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.recordings.base import RecordingDataset
from brainbench.recordings.cutting import cut, touching
from brainbench.recordings.recording import NewRecording, Recording, Trials, as_trials, counted
from brainbench.runs.folder import Run
from brainbench.runs.units import one_thread_pool
from brainbench.studies.opened import Opened
from brainbench.studies.trials.fitted import (
    FittedDecoder,
    bands_of,
    choose_pipeline,
    choose_subjects,
    fit_decoder,
    open_decode_run,
    read_new,
)
from brainbench.studies.trials.trials import Member, make_decoder, open_member, recordings_of


@dataclass
class Applied:
    """What a decoder made of a recording.

    Attributes
    ----------
    table : DataFrame
        One row per trial: `trial`, `onset` (seconds), `label` (empty where unknown), a `probability_<class>` per
        class, `predicted`.
    lines : list of str
        What is said of it.
    """

    table: pd.DataFrame
    lines: list[str]


@dataclass
class Ready:
    """A fitted decoder and a recording that fits it.

    Attributes
    ----------
    opened : Opened
    fitted : FittedDecoder
    new : NewRecording
    trials : list of Trials
        Of the recording, one entry per band; none where they were not asked for.
    lines : list of str
        What is said so far.
    """

    opened: Opened[TrialsRecipe]
    fitted: FittedDecoder
    new: NewRecording
    trials: list[Trials]
    lines: list[str]

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of probabilities."""
        return [str(name) for name in self.fitted.decoder.classes_]


def apply_run(
    run: str | Path, recording: str | Path, *, out: str | Path, pipeline: str | None = None,
    subjects: Sequence[str] = (), train_runs: Sequence[str] = (), events: str | Path | None = None,
    root: str | None = None, cache: str | None = None,
) -> Applied:  # fmt: skip
    """Decode the trials of a recording.

    Parameters
    ----------
    run : path-like
        A finished run of `kind: decode` with `pipelines`.
    recording : path-like
        EDF, BDF, GDF, BrainVision, EEGLAB, FIF or CSV.
    out : path-like
        The table to write.
    pipeline : str, optional
        Without it the first of the recipe.
    subjects : sequence of str
        Whose trials train. Without them those of the person recorded, where the recording tells; else everybody's.
    train_runs : sequence of str
        Which of their runs train; without them all but the recording itself.
    events : path-like, optional
        Table with `onset` in seconds and, where known, `label`; without it the recording's own events.
    root : str, optional
        Where the data set of the run lies now.
    cache : str, optional

    Raises
    ------
    UserError
        If anything does not fit, before the decoder is fitted.
    """
    ready = make_ready(
        run, recording, pipeline=pipeline, subjects=subjects, train_runs=train_runs, events=events, root=root,
        cache=cache,
    )  # fmt: skip
    trials, probability = ready.trials[0], decode_trials_of(ready)
    table = pd.DataFrame({"trial": trials.trial, "onset": trials.onset.round(6), "label": trials.label})
    table = add_probabilities(table, probability, ready.classes)
    write_text(out, table.to_csv(index=False))
    said = forecast_lines(Run(run).facts, ready, probability)
    return Applied(table, [*ready.lines, *said, *score_lines(ready, table["label"].to_numpy(dtype=str), probability)])


def make_ready(
    run: str | Path, recording: str | Path, *, pipeline: str | None, subjects: Sequence[str],
    train_runs: Sequence[str], events: str | Path | None, root: str | None, cache: str | None,
    whole_trials: bool = True,
) -> Ready:  # fmt: skip
    """Open everything, check that it fits, and fit the decoder; see `apply_run`."""
    path = Path(recording)
    folder, opened = open_decode_run(run, root, cache)
    recipe = opened.recipe
    settings, how = choose_pipeline(recipe, pipeline)
    choose_subjects(opened, subjects, "")
    first = open_member(opened, (list(subjects) or opened.subjects)[0])
    bands = bands_of(settings, make_decoder(settings, first, recipe))
    new = read_new(opened, path, first, bands)
    chosen = choose_subjects(opened, subjects, new.subject)
    members = [first if name == first.subject else open_member(opened, name) for name in chosen]
    classes = sorted({str(label) for member in members for label in member.rows.label})
    notes: list[str] = []
    dataset = recordings_of(opened)
    if events is not None:
        new = replace(new, recording=_with_events(new.recording, Path(events), path, dataset, notes))
    kept = _known_events(new.recording, classes, notes, needed=whole_trials)
    if not whole_trials:
        kept = _outside_bad_stretches(kept, dataset, notes)
    itself = new.recording.digest()
    new = replace(new, recording=kept)
    trials = cut_new(opened, new, first, bands, notes) if whole_trials else []
    alike = dataset.settings.model_copy(update={"sfreq": float(first.info["sfreq"])})
    whole, _ = cut(kept, new.subject, alike)
    prints = fingerprints(np.empty((0, 1, 1)) if whole is None else whole.get_data(copy=False))
    fitted = fit_decoder(folder, opened, members, settings, how, train_runs=train_runs, itself=itself, prints=prints)
    learned = [str(name) for name in fitted.decoder.classes_]
    if learned != classes:  # the runs that train need not have every class
        kept = _known_events(kept, learned, notes, needed=whole_trials)
        new = replace(new, recording=kept)
        trials = cut_new(opened, new, first, bands, []) if whole_trials else []
    raw = kept.raw
    lines = [
        f"{path}: {raw.times[-1]:.0f} s, {len(raw.ch_names)} channels at {raw.info['sfreq']:g} Hz, "
        f"{len(kept.onsets)} events",
        *(f"  {note}" for note in [*new.notes, *notes]),
        fitted.lines[0],
        *(f"  {note}" for note in fitted.lines[1:]),
    ]
    return Ready(opened, fitted, new, trials, lines)


def cut_new(
    opened: Opened[TrialsRecipe],
    new: NewRecording,
    member: Member,
    bands: Sequence[list[float] | None],
    notes: list[str],
) -> list[Trials]:
    """Return the trials of the recording in every band, cut as those of training were."""
    recording, dataset = new.recording, recordings_of(opened)
    settings = dataset.settings.model_copy(update={"sfreq": float(member.info["sfreq"])})
    parts = []
    for band in bands:
        epochs, left_out = cut(recording, new.subject, settings, band)
        if epochs is None:
            raise UserError(
                f"{recording.where}: no event leaves room for a whole trial of {settings.tmin:g} to "
                f"{settings.tmax:g} s",
                hint="; ".join(f"{left.what} {left.why}" for left in left_out) or None,
            )
        parts.append(as_trials(epochs, new.subject))
    notes.extend(f"{left.what} not decoded: {left.why}" for left in left_out)
    return parts


def decode_trials_of(ready: Ready) -> np.ndarray:
    """Return the probability of each class for every trial of the recording, ``(n_trials, n_classes)``."""
    fitted, parts = ready.fitted, ready.trials
    X = parts[0].X if fitted.decoder.bands is None else np.stack([part.X for part in parts], axis=1)
    domains = np.full(len(X), fitted.domain_of(ready.new))
    with one_thread_pool(ready.opened.recipe.execution.threads_per_unit):
        try:
            probability = fitted.decoder.probability_of(fitted.decoder.prepare(X), domains=domains)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise UserError(f"{ready.new.recording.where}: {error}") from error
    if fitted.settings.align.endswith("_transductive") and domains[0] not in set(fitted.rows.sessions.tolist()):
        ready.lines.append("  transductive: the recording was aligned with the mean covariance of all its own trials")
    return np.asarray(probability, dtype=np.float64)


def add_probabilities(table: pd.DataFrame, probability: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Return the table with a column per class and the likeliest one."""
    for index, name in enumerate(classes):
        table[f"probability_{name}"] = probability[:, index]
    table["predicted"] = np.array(classes)[probability.argmax(axis=1)]
    return table


def forecast_lines(facts: Mapping[str, Any], ready: Ready, probability: np.ndarray) -> list[str]:
    """Return how many decisions are likely to be right; see `brainbench.evaluation.trials.calibration.forecast`.

    Parameters
    ----------
    facts : dict
        Of the run.
    ready : Ready
    probability : ndarray (n_trials, n_classes)
    """
    name, person = ready.fitted.settings.name, ready.new.subject
    kept = [one for one in facts["findings"]["trials"].get("calibration") or [] if one["pipeline"] == name]
    # Participants with other classes have other bins.
    known = [one for one in kept if np.isclose(one["edges"][0], 1 / probability.shape[1])]
    mine = [one for one in known if one["subject"] == person] or known
    if not len(probability) or not kept:
        return []
    if not mine:
        return [f"no forecast: no participant of the run was decoded into {len(ready.classes)} classes"]
    count, right = (np.sum([one[part] for one in mine], axis=0, dtype=float) for part in ("count", "right"))
    value, low, high = forecast(probability.max(axis=1), np.array(mine[0]["edges"]), count, right)
    scheme = next(one["label"] for one in facts["schemes"] if one["main"])
    whose = f"of {person}" if mine[0]["subject"] == person else f"of {one_of([one['subject'] for one in mine])}"
    n = len(probability)
    return [
        f"forecast: {value:.2f} [{low:.2f}, {high:.2f}] of {n} decisions right, as were those as sure among "
        f"{int(count.sum())} held-out trials {whose} ({scheme}); of 100 recordings of {n} trials that are like "
        "these, 95 are to lie in the interval"
    ]


def score_lines(ready: Ready, label: np.ndarray, probability: np.ndarray) -> list[str]:
    """Return what is said of labelled trials; nothing is known of the others."""
    known = label != ""
    if not known.any():
        return ["labels are not known: nothing to score"]
    recipe = ready.opened.recipe
    y = np.searchsorted(ready.classes, label[known])
    n = int(known.sum())
    predictions = Predictions(np.arange(n), np.zeros(n, dtype=int), probability[known])
    several, n_permutations = len(np.unique(y)) > 1, recipe.significance.n_permutations
    null = None
    if several and n_permutations:
        # One recording is one run, and none of it trained: labels are exchanged, and trials resampled, over it all.
        null = kept_null(y, learned=False, kind="rows", n_exchanges=n_permutations, seed=recipe.seed)
    scores = score_trials(
        y, predictions, null=null, learned=False, n_draws=recipe.bootstrap.n_draws,
        confidence=recipe.bootstrap.confidence, seed=recipe.seed,
    ).metrics  # fmt: skip
    if not several:
        return [f"{n} labelled trials, all '{label[known][0]}': {_said('accuracy', scores['accuracy'])}; no ROC-AUC"]
    p = scores["roc_auc"].p
    tested = f", p {p:.3g}" if np.isfinite(p) else ""
    return [
        f"{n} labelled trials: {_said('ROC-AUC', scores['roc_auc'])}{tested}, {_said('accuracy', scores['accuracy'])}"
    ]


def _said(name: str, score: Score) -> str:
    return f"{name} {score.value:.3f} [{score.ci_low:.2f}, {score.ci_high:.2f}]"


def _with_events(
    recording: Recording, path: Path, file: Path, dataset: RecordingDataset, notes: list[str]
) -> Recording:
    """Return the recording with the events of a table; of a table of several recordings those of this one.

    Labels that the recipe's `dataset.labels` renames are renamed here too.
    """
    table = read_table(path)
    table.require("onset")
    onsets = table.numbers("onset")
    labels = table.texts("label", required=False) if "label" in table else [""] * len(table)
    own = np.ones(len(table), dtype=bool)
    if "path" in table:
        named = table.texts("path")
        own = np.array([_names_file(name, file, [path.parent, getattr(dataset, "root", None)]) for name in named])
    table.finish()
    if not own.any():
        near = did_you_mean(file.name, named)
        raise UserError(f"{path}: no row is of {file.name}{near}", hint=f"column 'path' names {one_of(set(named))}")
    if not own.all():
        notes.append(f"{int((~own).sum())} events of other recordings in {path.name} passed over")
    end, held = recording.raw.times[-1], np.ones(len(table), dtype=bool)
    if recording.clock is not None:
        onsets, held = recording.clock(onsets)
    held &= (onsets >= 0) & (onsets <= end)
    off = [line for line, known, mine in zip(table.lines, held, own, strict=True) if mine and not known]
    if off:
        raise UserError(f"{path}:{off[0]}  the event lies outside of the recording (0 to {end:g} s)")
    names = getattr(dataset.settings, "labels", None) or {}
    order = [row for row in np.argsort(onsets, kind="stable") if own[row]]
    return replace(
        recording,
        onsets=onsets[order],
        labels=np.array([names.get(labels[row], labels[row]) for row in order], dtype=str),
    )


def _names_file(name: str, file: Path, folders: Sequence[Path | None]) -> bool:
    """Return whether a cell of a table names a file: from one of the folders, or by its bare name."""
    for folder in folders:
        if folder is not None and (folder / name).is_file():
            return (folder / name).samefile(file)
    return Path(name).name == file.name


def _outside_bad_stretches(recording: Recording, dataset: RecordingDataset, notes: list[str]) -> Recording:
    """Leave out the events whose trials touch a bad stretch: an evaluation does not count them either."""
    gone = touching(recording, dataset.settings.tmin, dataset.settings.tmax)
    if gone.any():
        notes.append(f"{counted(int(gone.sum()), 'trial')} not scored: touching a stretch marked BAD")
    return replace(recording, onsets=recording.onsets[~gone], labels=recording.labels[~gone])


def _known_events(recording: Recording, classes: list[str], notes: list[str], *, needed: bool) -> Recording:
    """Keep the events that a decoder of these classes can answer, and say which were left out."""
    keep = np.isin(recording.labels, ["", *classes])
    if not keep.any() and needed:
        there = sorted(set(recording.labels.tolist()) or {str(m) for m in recording.raw.annotations.description})
        raise UserError(
            f"{recording.where}: no events of the classes {', '.join(classes)}"
            f"{'; it has ' + ', '.join(there[:8]) if there else ', and none at all'}",
            hint="--events takes a table with `onset` in seconds (and `label`); --stream decodes without events",
        )
    if not keep.all():
        left = recording.labels[~keep]
        notes.append(f"{len(left)} events of other classes left out: {one_of(set(left.tolist()))}")
    return replace(recording, onsets=recording.onsets[keep], labels=recording.labels[keep])
