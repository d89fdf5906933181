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
from brainbench.data.images import open_image
from brainbench.data.tables import Table, read_table, read_text

_DERIVED = ("space", "res", "desc", "cohort", "den")
"""Entities that name a preprocessed file, not the recording it came from."""

MISSING = "n/a"
"""How BIDS writes a cell without a value."""

PEAK_S = 4.0
"""An event later than this before the end of a run has its response outside of it."""

_UNITS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


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


def find_runs(derivatives: Path, task: str, space: str, resolution: str | None) -> dict[str, list[BidsRun]]:
    """Return the preprocessed runs of every subject, in order of their names.

    Raises
    ------
    UserError
        If nothing fits (with the tasks and spaces that are there), or one run comes in several resolutions.
    """
    if not derivatives.is_dir():
        raise UserError(f"dataset.derivatives: {derivatives} is not a folder")
    images = sorted(
        [*derivatives.glob("sub-*/func/*_bold.nii.gz"), *derivatives.glob("sub-*/ses-*/func/*_bold.nii.gz")]
    )
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
    for path, entities in fitting:
        recorded = {key: value for key, value in entities.items() if key not in _DERIVED}
        run = BidsRun(f"sub-{entities['sub']}", path, recorded)
        others = runs.setdefault(run.subject, [])
        if others and others[-1].entities == run.entities:
            raise UserError(
                f"{path.parent}: two images of one run: {others[-1].bold.name} and {path.name}",
                hint="name one with `dataset.resolution`",
            )
        others.append(run)
    return runs


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
            if all(run.entities.get(key) == value for key, value in entities.items()):
                fitting.append((len(entities), path))
        yield from (path for _, path in sorted(fitting, key=lambda pair: (-pair[0], pair[1].name)))


def events_file(root: Path, run: BidsRun) -> Path:
    """Return the table of events of a run.

    Raises
    ------
    UserError
        If there is none.
    """
    for path in inherited(root, run, "_events.tsv"):
        return path
    raise UserError(
        f"{root}: no events for {run.bold.name} (looked for {run.subject}/**/func/{run.stem}_events.tsv)",
        hint="dataset.root is the raw BIDS folder, which holds the events; dataset.derivatives lies inside",
    )


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

    Raises
    ------
    UserError
        If nothing says the repetition time, or two places say different ones.
    """
    image = open_image(run.bold)
    if len(image.shape) != 4 or image.shape[3] < 2:
        raise UserError(f"{run.bold}: shape {image.shape}; a run has four axes and several volumes")
    sidecar = run.bold.with_name(run.bold.name.removesuffix(".nii.gz") + ".json")
    sidecars = [path for path in (sidecar, *inherited(root, run, "_bold.json")) if path.is_file()]
    said: list[tuple[Path, float]] = []
    start = 0.0
    for path in sidecars:
        facts = _read_json(path)
        if "RepetitionTime" in facts:
            said.append((path, _seconds(facts["RepetitionTime"], path)))
            break  # the nearest one holds
    derived = _read_json(sidecar) if sidecar.is_file() else {}
    if derived.get("SliceTimingCorrected", True) and "StartTime" in derived:
        start = float(derived["StartTime"])
    header = _header_t_r(image)
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
    return Timing(said[0][1], start, int(image.shape[3]), sidecars, notes)


def _header_t_r(image: Any) -> float | None:
    """Return the repetition time of a header; None when it was never set (0, or 1 without a unit)."""
    value, unit = float(image.header.get_zooms()[3]), image.header.get_xyzt_units()[1]
    if value <= 0 or (unit not in _UNITS and value == 1.0):
        return None
    return value * _UNITS.get(unit, 1.0)


def _seconds(value: Any, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 100:
        raise UserError(f"{path}: RepetitionTime {value!r} is not a number of seconds")
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
