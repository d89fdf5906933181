"""Finds the files of a BIDS data set: preprocessed runs, sidecars, masks, events; and reads the events."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.order import natural
from brainbench.data.layouts.bids.shown import Names
from brainbench.data.surfaces import HEMISPHERES
from brainbench.data.tables import Table, read_table

VOLUMES, SURFACES, CIFTI = "_desc-preproc_bold.nii.gz", "_bold.func.gii", "_bold.dtseries.nii"
"""Endings of the preprocessed images that are read; surfaces come in pairs."""
_READ = ", ".join(f"*{ending}" for ending in (VOLUMES, SURFACES, CIFTI))

_DERIVED = ("space", "res", "desc", "cohort", "den", "hemi")
"""Entities that name a preprocessed file, not the recording it came from."""

INDICES = ("run", "echo", "flip", "inv", "split", "chunk")
"""Entities that are numbers: ``run-01`` and ``run-1`` are the same run. All others are labels, letter by letter."""

MISSING = "n/a"
"""How BIDS writes a cell without a value."""

PEAK_S = 4.0
"""An event later than this before the end of a run has its response outside of it."""


@dataclass(frozen=True)
class BidsRun:
    """One preprocessed run.

    Attributes
    ----------
    subject : str
        With its prefix: ``"sub-01"``.
    bold : Path
        A volume, a CIFTI file, or the left hemisphere of a pair of surfaces.
    entities : mapping of str to str
        Of the recording: ``sub``, ``ses``, ``task``, ``run``, ...
    right : Path or None
        The right hemisphere of a pair of surfaces.
    """

    subject: str
    bold: Path
    entities: dict[str, str]
    right: Path | None = None

    @property
    def name(self) -> str:
        """What tells it from other runs of the subject: ``ses-1_run-2``."""
        parts = [f"{key}-{value}" for key, value in self.entities.items() if key not in ("sub", "task")]
        return "_".join(parts) or "run-1"

    @property
    def stem(self) -> str:
        """Beginning of the names of all files of the recording."""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items())

    @property
    def images(self) -> list[Path]:
        """The image, or those of both hemispheres."""
        return [self.bold] if self.right is None else [self.bold, self.right]

    @property
    def sidecars(self) -> list[Path]:
        """What fMRIPrep wrote beside the images; older versions keep ``.dtseries`` and ``.func`` in the name."""
        names = [path.with_name(f"{path.name.partition('.')[0]}.json") for path in self.images]
        names += [path.with_suffix(".json") for path in self.images]
        return [path for path in dict.fromkeys(names) if path.is_file()]

    def beside(self, ending: str) -> Path:
        """Return the derivative of the same space with another ending."""
        return self.bold.with_name(self.bold.name.removesuffix("desc-preproc_bold.nii.gz") + ending)

    def confounds(self) -> Path:
        """Return the table of confounds.

        Raises
        ------
        UserError
            If fMRIPrep left none.
        """
        for suffix in ("timeseries", "regressors"):
            path = self.bold.with_name(f"{self.stem}_desc-confounds_{suffix}.tsv")
            if path.is_file():
                return path
        raise UserError(
            f"{self.bold.parent}: no {self.stem}_desc-confounds_timeseries.tsv",
            hint="`dataset.confounds: []` models no confounds",
        )


def entities_of(name: str) -> dict[str, str]:
    """Return ``{"sub": "01", "task": "x"}`` of ``sub-01_task-x_bold.nii.gz``, in order."""
    return dict(re.findall(r"(?:^|_)([a-zA-Z]+)-([a-zA-Z0-9+]+)", name.split(".")[0]))


def agree(key: str, one: str | None, other: str | None) -> bool:
    """Return whether two values of an entity are the same: numbers for indices, letters for labels."""
    if one is None or other is None or key not in INDICES or not (one.isdigit() and other.isdigit()):
        return one == other
    return int(one) == int(other)


def identity_of(entities: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return what tells a recording from others, the same however its indices are padded."""
    return tuple(sorted((k, str(int(v)) if k in INDICES and v.isdigit() else v) for k, v in entities.items()))


NATIVE = "native"
"""What `space` is called where names have no label for it: the images as they were measured, corrected for motion."""


def find_runs(derivatives: Path, task: str, space: str, resolution: str | None) -> dict[str, list[BidsRun]]:
    """Return the preprocessed runs of every subject, in order of session and run, counted as numbers.

    Raises
    ------
    UserError
        If nothing fits (with the tasks and spaces that are there), one run comes twice, or a file lies in the folder of
        another subject or session than its name says.
    """
    images = [*derivatives.glob("sub-*/func/*_bold.*"), *derivatives.glob("sub-*/ses-*/func/*_bold.*")]
    images.sort(key=lambda path: natural(path.relative_to(derivatives).as_posix()))
    known = [(path, entities_of(path.name)) for path in images if path.name.endswith((VOLUMES, SURFACES, CIFTI))]
    fitting = [
        (path, entities)
        for path, entities in known
        if entities.get("task") == task
        and entities.get("space", NATIVE) == space
        and entities.get("desc", "preproc") == "preproc"
        and (resolution is None or resolution in ([entities[k] for k in ("res", "den") if k in entities] or ["none"]))
    ]
    if not fitting:
        _explain_nothing(derivatives, known, task, space, resolution)
    found: dict[tuple[tuple[str, str], ...], dict[str, tuple[Path, dict[str, str]]]] = {}
    for path, entities in fitting:
        _check_folder(path, path.relative_to(derivatives).parts[:-1], entities)
        recorded = {key: value for key, value in entities.items() if key not in _DERIVED}
        sides = found.setdefault(identity_of(recorded), {})
        side = entities.get("hemi", "") if path.name.endswith(SURFACES) else ""
        twin = sides.get(side) or (next(iter(sides.values())) if sides and "" in (side, *sides) else None)
        if twin is not None:
            raise UserError(
                f"{path.parent}: two images of one run: {twin[0].name} and {path.name}",
                hint="name one with `dataset.resolution`, or take the other out of the folder",
            )
        sides[side] = (path, recorded)
    runs: dict[str, list[BidsRun]] = {}
    for sides in found.values():
        path, recorded = next(iter(sides.values()))
        if path.name.endswith(SURFACES) and tuple(sides) != HEMISPHERES:
            raise UserError(f"{path}: a run on the surface is two files, hemi-L and hemi-R; the other is not there")
        right = sides["R"][0] if "R" in sides else None
        runs.setdefault(f"sub-{recorded['sub']}", []).append(BidsRun(f"sub-{recorded['sub']}", path, recorded, right))
    return runs


def _check_folder(path: Path, folders: Sequence[str], entities: dict[str, str]) -> None:
    """Refuse a file whose name says another subject or session than the folders it lies in."""
    for folder in folders:
        key, dash, value = folder.partition("-")
        if dash and key in ("sub", "ses") and entities.get(key) != value:
            said = f"{key}-{entities[key]}" if key in entities else f"no {key}"
            raise UserError(f"{path}: lies in {folder}, but its name says {said}", hint="rename or move the file")


def _explain_nothing(
    derivatives: Path, known: Sequence[tuple[Path, dict[str, str]]], task: str, space: str, resolution: str | None
) -> None:
    wanted = {"task": task, "space": space} | ({"res": resolution} if resolution is not None else {})
    for key, value in wanted.items():
        found = {
            entities[one] for _, entities in known for one in (key, "den" if key == "res" else key) if one in entities
        }
        if key == "space" and any("space" not in entities for _, entities in known):
            found.add(NATIVE)
        if value not in found:
            setting = "resolution" if key == "res" else key
            raise UserError(
                f"dataset.{setting}: no preprocessed image ({_READ}) of {key} '{value}' in {derivatives}"
                f"{did_you_mean(value, found)}",
                hint=f"found: {one_of(found) or ('none' if known else 'no preprocessed image')}",
            )
    raise UserError(
        f"{derivatives}: no preprocessed image ({_READ}) has "
        f"{' and '.join(f'{key}-{value}' for key, value in wanted.items())} together"
    )


def inherited(root: Path, run: BidsRun, ending: str) -> Iterator[Path]:
    """Yield the files of the raw data set that apply to a run, the nearest first (BIDS inheritance principle)."""
    folder = root / run.subject
    session = run.entities.get("ses")
    levels = [root, folder] if session is None else [root, folder, folder / f"ses-{session}"]
    levels.append(levels[-1] / "func")
    for level in reversed(levels):
        fitting = []
        for path in level.glob(f"*{ending}"):
            entities = entities_of(path.name)
            if all(agree(key, run.entities.get(key), value) for key, value in entities.items()):
                fitting.append((len(entities), path))
        yield from (path for _, path in sorted(fitting, key=lambda pair: (-pair[0], pair[1].name)))


def events_file(root: Path, run: BidsRun) -> Path:
    """Return the table of events of a run.

    Raises
    ------
    UserError
        If there is none.
    """
    fitting = list(inherited(root, run, "_events.tsv"))
    if not fitting:
        there = sorted((path.name for path in (root / run.subject).rglob("*_events.tsv")), key=natural)
        raise UserError(
            f"{root}: no events for {run.bold.name} (looked for {run.subject}/**/func/{run.stem}_events.tsv)",
            hint=f"events of {run.subject}: {', '.join(there[:4])}{' ...' if len(there) > 4 else ''}"
            if there
            else "dataset.root is the raw BIDS folder, which holds the events; dataset.derivatives lies inside",
        )
    first = fitting[0]
    for other in fitting[1:]:
        if other.parent == first.parent and identity_of(entities_of(other.name)) == identity_of(
            entities_of(first.name)
        ):
            raise UserError(f"{first.parent}: two tables of events of one run: {first.name} and {other.name}")
    return first


@dataclass(frozen=True)
class Events:
    """The events of a run that show a stimulus, in order of onset.

    Attributes
    ----------
    path : Path
    onset, duration : ndarray (n_events,)
        Seconds from the first volume.
    stimulus : int ndarray (n_events,)
    lines : list of int
    labels : mapping of str to str ndarray (n_events,)
    n_others : int
        Events that show no stimulus.
    """

    path: Path
    onset: np.ndarray
    duration: np.ndarray
    stimulus: np.ndarray
    lines: list[int]
    labels: dict[str, np.ndarray]
    n_others: int

    def __len__(self) -> int:
        return len(self.onset)


def read_events(path: Path, column: str, names: Names, end: float) -> Events:
    """Read a table of events.

    Parameters
    ----------
    path : Path
    column : str
        Column that names the stimulus; ``n/a`` or nothing where the event shows none.
    names : Names
        Known stimuli.
    end : float
        Seconds until the last volume has been measured.

    Raises
    ------
    UserError
        With every event whose stimulus is unknown, or that has no onset or duration, or lies outside of the run.
    """
    table = read_table(path)
    table.require("onset", "duration", column)
    cells = table.texts(column, required=False)
    shown: Table = table.rows([cell not in ("", MISSING) for cell in cells])
    stimulus = names.indices(shown, column)
    onset, duration = shown.numbers("onset", minimum=0.0), shown.numbers("duration", minimum=0.0)
    for line, time in zip(shown.lines, onset, strict=True):
        if time >= end:
            shown.problems.add(f"column 'onset': {time:g} s lies beyond the end of the run ({end:g} s)", line)
    shown.finish()
    order = np.argsort(onset, kind="stable")
    return Events(
        path=path,
        onset=onset[order],
        duration=duration[order],
        stimulus=stimulus[order],
        lines=[shown.lines[row] for row in order],
        labels={name: cell[order] for name, cell in shown.others("onset", "duration", column).items()},
        n_others=len(table) - len(shown),
    )
