"""When the volumes of a BIDS run were measured: what headers and sidecars say, and whether they agree."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.gifti import GiftiImage

from brainbench.core.errors import UserError
from brainbench.data.cifti import series_of
from brainbench.data.images import open_image
from brainbench.data.layouts.bids.files import CIFTI, SURFACES, BidsRun, inherited
from brainbench.data.tables import read_text

_UNITS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_T_R_RANGE = (0.05, 60.0)
"""Seconds between volumes that a recording can have; beyond, a unit is wrong."""


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
        If nothing says the repetition time, two places say different ones, a number is none of seconds, or volumes were
        measured at unequal times.
    """
    images = {path: open_image(path) for path in run.images}
    headers = [_header(path, image) for path, image in images.items()]
    n_volumes = headers[0][0]
    if headers[-1][0] != n_volumes:
        raise UserError(f"{run.right}: {headers[-1][0]} volumes, {run.bold.name} has {n_volumes}")
    if n_volumes < 2:
        raise UserError(f"{run.bold}: {n_volumes} volume; a run has several")
    said: list[tuple[Path, float]] = []
    sidecars, derived = run.sidecars, [_read_json(path) for path in run.sidecars]
    for path, facts in zip(sidecars, derived, strict=True):
        said += _repetition_times(facts, path)
    for path in inherited(root, run, "_bold.json"):
        sidecars.append(path)
        if found := _repetition_times(_read_json(path), path):
            said += found
            break  # of the raw data set's own, the nearest holds
    said += [(path, t_r) for path, (_, t_r) in zip(run.images, headers, strict=True) if t_r is not None]
    notes = [] if sidecars else [f"{run.name}: no sidecar; the repetition time is that of the image header"]
    if not said:
        name = f"{run.bold.name.partition('.')[0]}.json"
        raise UserError(
            f"{run.bold}: no sidecar says RepetitionTime and the header has none",
            hint=f'put {name} beside it: {{"RepetitionTime": 2.0}}',
        )
    for path, value in said[1:]:
        if abs(value - said[0][1]) > 1e-3:
            raise UserError(
                f"{path}: repetition time {value:g} s, but {said[0][0]} says {said[0][1]:g} s",
                hint="correct the wrong one; every later step depends on it",
            )
    start = 0.0
    for path, facts in zip(run.sidecars, derived, strict=True):
        if facts.get("SliceTimingCorrected", True) and "StartTime" in facts:
            start = _seconds(facts["StartTime"], path, "StartTime", (0.0, said[0][1]))
    for path, image in images.items():
        for step in _steps(image) if run.right is not None else []:
            if not any(abs(step * unit - said[0][1]) < 1e-3 for unit in (1.0, 1e-3)):
                raise UserError(f"{path}: TimeStep {step:g}, in s or in ms, but {said[0][0]} says {said[0][1]:g} s")
    return Timing(said[0][1], start, n_volumes, sidecars, notes)


def _repetition_times(facts: dict[str, Any], path: Path) -> list[tuple[Path, float]]:
    """Return the repetition times that a sidecar says, as such or by the times of all volumes, with its path."""
    said = []
    if "RepetitionTime" in facts:
        said.append(_seconds(facts["RepetitionTime"], path, "RepetitionTime", _T_R_RANGE))
    if "VolumeTiming" in facts:
        try:
            steps = np.diff(np.asarray(facts["VolumeTiming"], dtype=float))
        except (TypeError, ValueError):
            steps = np.zeros(0)
        if steps.ndim != 1 or not len(steps):
            raise UserError(f"{path}: VolumeTiming is the seconds at which every volume was measured")
        if np.ptp(steps) > 1e-3:
            raise UserError(
                f"{path}: VolumeTiming: volumes were measured {steps.min():g} to {steps.max():g} s after one another",
                hint="a GLM takes volumes at equal times here: estimate betas elsewhere, and read them with "
                "`name: folder`",
            )
        said.append(_seconds(float(steps.mean()), path, "the step of VolumeTiming", _T_R_RANGE))
    return [(path, one) for one in said]


def _header(path: Path, image: Any) -> tuple[int, float | None]:
    """Return how many volumes an image holds, and the seconds between them where its header says them with a unit."""
    if path.name.endswith(CIFTI):
        n_rows, t_r = series_of(path)
        return n_rows, None if t_r is None else _seconds(t_r, path, "the step of its series", _T_R_RANGE)
    if path.name.endswith(SURFACES):
        if not isinstance(image, GiftiImage) or not image.darrays:
            raise UserError(f"{path}: not a GIFTI file, or one without an array")
        first = image.darrays[0].data
        return (first.shape[1] if first.ndim == 2 else len(image.darrays)), None
    if len(image.shape) != 4:
        raise UserError(f"{path}: shape {image.shape}; a run has four axes and several volumes")
    return int(image.shape[3]), _header_t_r(image, path)


def _steps(image: Any) -> Iterator[float]:
    """Yield the time steps that a surface file names; programs disagree whether they are seconds or milliseconds."""
    for meta in (image.meta, image.darrays[0].meta):
        with contextlib.suppress(ValueError):
            if "TimeStep" in meta:
                yield float(meta["TimeStep"])


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
