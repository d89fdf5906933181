"""Finds the files of a BIDS data set: preprocessed runs, events, sidecars, masks; and reads what they say of time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.order import natural
from brainbench.data.images import open_image
from brainbench.data.tables import Table, read_table, read_text

_DERIVED = ("space", "res", "desc", "cohort", "den")
"""Entities that name a preprocessed file, not the recording it came from."""

INDICES = ("run", "echo", "flip", "inv", "split", "chunk")
"""Entities that are numbers: ``run-01`` and ``run-1`` are the same run. All others are labels, letter by letter."""

MISSING = "n/a"
"""How BIDS writes a cell without a value."""

PEAK_S = 4.0
"""An event later than this before the end of a run has its response outside of it."""

_UNITS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_T_R_RANGE = (0.05, 60.0)
"""Seconds between volumes that a recording can have; beyond, a unit is wrong."""


@dataclass(frozen=True)
class BidsRun:
    """One preprocessed run.

    Attributes
    ----------
    subject : str
        With its prefix: ``"sub-01"``.
    bold : Path
    entities : mapping of str to str
        Of the recording: ``sub``, ``ses``, ``task``, ``run``, ...
    """

    subject: str
    bold: Path
    entities: dict[str, str]

    @property
    def name(self) -> str:
        """What tells it from other runs of the subject: ``ses-1_run-2``."""
        parts = [f"{key}-{value}" for key, value in self.entities.items() if key not in ("sub", "task")]
        return "_".join(parts) or "run-1"

    @property
    def stem(self) -> str:
        """Beginning of the names of all files of the recording."""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items())

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


def find_runs(derivatives: Path, task: str, space: str, resolution: str | None) -> dict[str, list[BidsRun]]:
    """Return the preprocessed runs of every subject, in order of session and run, counted as numbers.

    Raises
    ------
    UserError
        If nothing fits (with the tasks and spaces that are there), one run comes twice, or a file lies in the folder of
        another subject or session than its name says.
    """
    if not derivatives.is_dir():
        raise UserError(f"dataset.derivatives: {derivatives} is not a folder")
    images = [*derivatives.glob("sub-*/func/*_bold.nii.gz"), *derivatives.glob("sub-*/ses-*/func/*_bold.nii.gz")]
    images.sort(key=lambda path: natural(path.relative_to(derivatives).as_posix()))
    known = [(path, entities_of(path.name)) for path in images if path.name.endswith("_desc-preproc_bold.nii.gz")]
    fitting = [
        (path, entities)
        for path, entities in known
        if entities.get("task") == task
        and entities.get("space") == space
        and (resolution is None or entities.get("res") == resolution)
    ]
    if not fitting:
        _explain_nothing(derivatives, known, task, space, resolution)
    runs: dict[str, list[BidsRun]] = {}
    first: dict[tuple[tuple[str, str], ...], Path] = {}
    for path, entities in fitting:
        _check_folder(path, path.relative_to(derivatives).parts[:-1], entities)
        recorded = {key: value for key, value in entities.items() if key not in _DERIVED}
        twin = first.setdefault(identity_of(recorded), path)
        if twin is not path:
            raise UserError(
                f"{path.parent}: two images of one run: {twin.name} and {path.name}",
                hint="name one with `dataset.resolution`, or take the other out of the folder",
            )
        runs.setdefault(f"sub-{entities['sub']}", []).append(BidsRun(f"sub-{entities['sub']}", path, recorded))
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
        found = {entities[key] for _, entities in known if key in entities}
        if value not in found:
            setting = "resolution" if key == "res" else key
            raise UserError(
                f"dataset.{setting}: no *_desc-preproc_bold.nii.gz of {key} '{value}' in {derivatives}"
                f"{did_you_mean(value, found)}",
                hint=f"found: {one_of(found) or 'no preprocessed image'}",
            )
    raise UserError(
        f"{derivatives}: no *_desc-preproc_bold.nii.gz has "
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
class Timing:
    """When the volumes of a run were measured.

    Attributes
    ----------
    t_r : float
        Seconds.
    start : float
        Seconds from the start of each repetition to the slice that volumes were brought to.
    n_volumes : int
    sidecars : list of Path
    notes : list of str
    """

    t_r: float
    start: float
    n_volumes: int
    sidecars: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_timing(root: Path, run: BidsRun) -> Timing:
    """Return the repetition time, on which sidecars and header must agree, and the reference of slice timing.

    The derivative's sidecar, the nearest sidecar of the raw data set and the image's header must agree.

    Raises
    ------
    UserError
        If nothing says the repetition time, two places say different ones, or a number is none of seconds.
    """
    image = open_image(run.bold)
    if len(image.shape) != 4 or image.shape[3] < 2:
        raise UserError(f"{run.bold}: shape {image.shape}; a run has four axes and several volumes")
    sidecar = run.bold.with_name(run.bold.name.removesuffix(".nii.gz") + ".json")
    derived = _read_json(sidecar) if sidecar.is_file() else {}
    said: list[tuple[Path, float]] = []
    sidecars = [sidecar] if sidecar.is_file() else []
    if "RepetitionTime" in derived:
        said.append((sidecar, _seconds(derived["RepetitionTime"], sidecar, "RepetitionTime", _T_R_RANGE)))
    for path in inherited(root, run, "_bold.json"):
        sidecars.append(path)
        facts = _read_json(path)
        if "RepetitionTime" in facts:
            said.append((path, _seconds(facts["RepetitionTime"], path, "RepetitionTime", _T_R_RANGE)))
            break  # of the raw data set's own, the nearest holds
    header = _header_t_r(image, run.bold)
    if header is not None:
        said.append((run.bold, header))
    notes = [] if sidecars else [f"{run.name}: no sidecar; the repetition time is that of the image header"]
    if not said:
        raise UserError(
            f"{run.bold}: no sidecar says RepetitionTime and the header has none",
            hint=f'put {sidecar.name} beside it: {{"RepetitionTime": 2.0}}',
        )
    for path, value in said[1:]:
        if abs(value - said[0][1]) > 1e-3:
            raise UserError(
                f"{path}: repetition time {value:g} s, but {said[0][0]} says {said[0][1]:g} s",
                hint="correct the wrong one; every later step depends on it",
            )
    start = 0.0
    if derived.get("SliceTimingCorrected", True) and "StartTime" in derived:
        start = _seconds(derived["StartTime"], sidecar, "StartTime", (0.0, said[0][1]))
    return Timing(said[0][1], start, int(image.shape[3]), sidecars, notes)


def _header_t_r(image: Any, path: Path) -> float | None:
    """Return the repetition time of a header; None when it was never set (0, or 1 without a unit)."""
    value, unit = float(image.header.get_zooms()[3]), image.header.get_xyzt_units()[1]
    if value <= 0 or (unit not in _UNITS and value == 1.0):
        return None
    seconds = value * _UNITS.get(unit, 1.0)
    low, high = _T_R_RANGE
    if not low <= seconds <= high:
        raise UserError(
            f"{path}: the header gives {value:g} {unit if unit in _UNITS else 'without a unit'} as repetition time, "
            f"which is {seconds:g} s; recordings have {low:g} to {high:g} s",
            hint="the unit is wrong: image.header.set_xyzt_units('mm', 'sec') and set_zooms((..., seconds))",
        )
    return seconds


def _seconds(value: Any, path: Path, name: str, allowed: tuple[float, float]) -> float:
    low, high = allowed
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise UserError(
            f"{path}: {name} is {value!r}; it is a number of seconds from {low:g} to {high:g}",
            hint="BIDS counts in seconds, not milliseconds"
            if isinstance(value, (int, float)) and value > high
            else None,
        )
    return float(value)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}  not JSON: {error.msg}") from None
    if not isinstance(facts, dict):
        raise UserError(f"{path}: a sidecar is a JSON object")
    return facts


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


def read_events(path: Path, column: str, ids: Sequence[str], where: str, end: float) -> Events:
    """Read a table of events.

    Parameters
    ----------
    path : Path
    column : str
        Column that names the stimulus; ``n/a`` or nothing where the event shows none.
    ids : sequence of str
        Known stimuli.
    where : str
        Where they stand, for messages.
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
    stimulus = shown.indices(column, ids, where)
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
