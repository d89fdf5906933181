"""Which folders and which runs of a BIDS data set a recipe means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.order import natural
from brainbench.data.account import RunUse
from brainbench.data.base import subject_named
from brainbench.data.layouts.bids.files import INDICES, BidsRun, agree, entities_of, identity_of
from brainbench.recipes.datasets import BidsSettings

_PREPROCESSED = ("*_desc-preproc_bold.nii.gz", "*_bold.func.gii", "*_bold.dtseries.nii")
_VERSIONS = ("echo", "part", "rec")
"""Entities of images that were made of one and the same measurement."""
_UP = 3
"""Folders above the derivatives in which the raw data set may lie: ``study/derivatives/fmriprep``, and one to spare."""


def holds_derivatives(folder: Path) -> bool:
    """Return whether preprocessed images lie in the subjects of a folder."""
    places = (f"{subject}func/{one}" for subject in ("sub-*/", "sub-*/ses-*/") for one in _PREPROCESSED)
    return any(next(folder.glob(place), None) is not None for place in places)


def holds_events(folder: Path) -> bool:
    """Return whether tables of events lie in a folder or in its subjects."""
    places = ("sub-*/func/*_events.tsv", "sub-*/ses-*/func/*_events.tsv", "*_events.tsv")
    return any(next(folder.glob(place), None) is not None for place in places)


def folders_of(root: Path, derivatives: str) -> tuple[Path, Path]:
    """Return the folder of the preprocessed images and the raw data set, which holds the events.

    `root` is the raw data set, and `derivatives` lies inside; or it is the folder of derivatives itself, and the raw
    data set holds it.

    Raises
    ------
    UserError
        If either is not there, with the folders that hold preprocessed images.
    """
    if (root / derivatives).is_dir():
        return root / derivatives, root
    if holds_derivatives(root):
        for folder in (root, *list(root.resolve().parents)[:_UP]):
            if holds_events(folder):
                return root, folder
        raise UserError(
            f"dataset.root: {root} holds preprocessed images; no folder above it holds the events (*_events.tsv)",
            hint=f"dataset.root: the raw BIDS folder, and dataset.derivatives: {root}",
        )
    inside = [path for path in (root, *sorted(root.glob("*")), *sorted(root.glob("derivatives/*"))) if path.is_dir()]
    there = [path.relative_to(root).as_posix() for path in inside if holds_derivatives(path)]
    raise UserError(
        f"dataset.derivatives: {root / derivatives} is not a folder{did_you_mean(derivatives, there)}",
        hint=f"preprocessed images lie in: {one_of(there)}" if there else "no preprocessed images lie below the root",
    )


def choose_runs(
    found: Mapping[str, list[BidsRun]], settings: BidsSettings
) -> tuple[dict[str, list[BidsRun]], dict[str, list[RunUse]]]:
    """Return the runs of every subject that a recipe wants, and what it leaves out.

    Raises
    ------
    UserError
        If `sessions`, `runs` or `leave_out` name something that is not there, or leave several versions of one
        measurement, such as echoes: as runs of their own, one would be trained on and another tested.
    """
    everything = [run for runs in found.values() for run in runs]
    why: dict[str, str] = {}
    for setting, key in (("sessions", "ses"), ("runs", "run")):
        wanted: Sequence[str] | str = getattr(settings, setting)
        if wanted == "all":
            continue
        known = sorted({run.entities[key] for run in everything if key in run.entities}, key=natural)
        named = [_named(setting, key, one, known) for one in wanted]
        for run in everything:
            if not any(agree(key, run.entities.get(key), one) for one in named):
                why.setdefault(run.stem, f"not in `dataset.{setting}`")
    for entry in settings.leave_out:
        asked = entities_of(entry)
        fitting = [
            run for run in everything if asked and all(agree(k, run.entities.get(k), v) for k, v in asked.items())
        ]
        if not fitting:
            names = [run.stem for run in everything]
            raise UserError(
                f"dataset.leave_out: '{entry}' is no recording of this data set{did_you_mean(entry, names)}",
                hint=f"recordings: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}",
            )
        why |= {run.stem: "`dataset.leave_out`" for run in fitting}
    kept = {subject: [run for run in runs if run.stem not in why] for subject, runs in found.items()}
    left = {
        subject: [
            RunUse(subject, run.entities.get("ses", ""), run.name, "", "the run", why[run.stem])
            for run in runs
            if run.stem in why
        ]
        for subject, runs in found.items()
    }
    if not any(kept.values()):
        raise UserError("dataset: `sessions`, `runs` and `leave_out` leave no run of anybody")
    _check_versions([run for runs in kept.values() for run in runs])
    return {subject: runs for subject, runs in kept.items() if runs}, left


def _check_versions(runs: Sequence[BidsRun]) -> None:
    """Refuse several images of one measurement, such as echoes, naming those that can be left out."""
    measured: dict[tuple[tuple[str, str], ...], list[BidsRun]] = {}
    for run in runs:
        of = identity_of({key: value for key, value in run.entities.items() if key not in _VERSIONS})
        measured.setdefault(of, []).append(run)
    for same in measured.values():
        if len(same) > 1:
            names = ["_".join(f"{k}-{run.entities[k]}" for k in _VERSIONS if k in run.entities) for run in same]
            raise UserError(
                f"{same[0].bold.parent}: {', '.join(run.bold.name for run in same)} are one recording, not {len(same)}",
                hint=f"leave out all but one of them: `dataset.leave_out`, of {', '.join(filter(None, names))}",
            )


def _named(setting: str, key: str, name: str, known: Sequence[str]) -> str:
    """Return the label of a session or run that a recipe names by label or number."""
    label = name.removeprefix(f"{key}-")
    found = next((one for one in known if key in INDICES and agree(key, one, label)), subject_named(known, label))
    if found is None:
        raise UserError(
            f"dataset.{setting}: no recording has {key}-{label}{did_you_mean(label, known)}",
            hint=f"there: {', '.join(known) or f'no name has {key}-'}",
        )
    return found


def check_confounds(runs: Sequence[BidsRun]) -> None:
    """Refuse runs for which fMRIPrep left no table of confounds, naming all of them.

    Raises
    ------
    UserError
        With how to leave such a run out.
    """
    without = []
    for run in runs:
        try:
            run.confounds()
        except UserError:
            without.append(run.stem)
    if without:
        raise UserError(
            f"{runs[0].bold.parent}: no table of confounds (*_desc-confounds_timeseries.tsv) for "
            f"{', '.join(without[:6])}{f' and {len(without) - 6} more' if len(without) > 6 else ''}",
            hint=f"`dataset.leave_out: [{', '.join(without[:6])}]` leaves {'it' if len(without) == 1 else 'them'} out; "
            "`dataset.confounds: []` models no confounds",
        )
