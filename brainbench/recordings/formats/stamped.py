"""Recordings in tables (.csv): a column of time stamps, a column of markers, and a column per channel."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.errors import UserError, one_of
from brainbench.data.tables import number_in
from brainbench.recordings.recording import Clock

if TYPE_CHECKING:
    import mne

TIME = ("time", "times", "timestamp", "timestamps", "time_s", "seconds", "lsl_timestamp", "time_stamp")
"""What a column of time stamps may be called, whatever its case: seconds, from any origin."""
MARKERS = ("marker", "markers", "event", "events", "label", "stim", "trigger", "annotation")
"""What a column of markers may be called: empty or 0 where nothing happens; an event begins where a value appears."""
NOTHING = ("", "0", "0.0", "nan", "none", "null", "n/a", "na")
GAP = 1.5
"""Periods between two rows from which on samples are missing."""
LEAST_HZ, MOST_HZ = 10.0, 100_000.0


def read_stamped(path: Path) -> tuple[mne.io.BaseRaw, list[str], Clock]:
    """Return a recording with its markers as annotations, in the numbers of the file, what is said of it, its clock.

    Raises
    ------
    UserError
        If there is no column of time stamps or no channel, a value is no number, or samples are missing: with the row.
    """
    import mne

    header, rows = _read(path)
    at_time, times = _stamps(path, header, rows)
    at_markers = _the_one(path, header, MARKERS, "markers")
    channels = [place for place in range(len(header)) if place not in (at_time, at_markers) and header[place].strip()]
    if not channels:
        raise UserError(f"{path}: no column is a channel")
    names = [header[place].strip() for place in channels]
    if len(set(names)) < len(names):
        raise UserError(f"{path}: two channels are called '{next(n for n in names if names.count(n) > 1)}'")
    sfreq, said = _rate(path, times)
    data = _numbers(path, header, rows, channels).T
    raw = mne.io.RawArray(data, mne.create_info(names, sfreq, "eeg"), verbose="ERROR")
    if at_markers is not None:
        onsets, labels = _events([row[at_markers].strip() for row in rows])
        raw.set_annotations(mne.Annotations(onsets / sfreq, 0.0, labels), verbose="ERROR")
    return raw, said, partial(_on_regular_clock, times - times[0], sfreq)


def _on_regular_clock(clock: np.ndarray, sfreq: float, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where moments by the clock of time stamps ``(n_rows,)`` lie when samples are taken for regular."""
    beyond = moments - np.clip(moments, clock[0], clock[-1])
    regular = np.interp(moments, clock, np.arange(len(clock)) / sfreq)
    return regular + beyond, np.ones(len(moments), dtype=bool)


def _stamps(path: Path, header: list[str], rows: list[list[str]]) -> tuple[int, np.ndarray]:
    """Return the column of time stamps and what it holds, ``(n_rows,)``."""
    place = _the_one(path, header, TIME, "time stamps")
    if place is None:
        raise UserError(
            f"{path}: no column of time stamps among {one_of(header)}",
            hint=f"call it one of {one_of(TIME)}, in seconds",
        )
    return place, _numbers(path, header, rows, [place])[:, 0]


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return header and rows; what separates them is a comma, a semicolon or a tab."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", "%"))]
    if len(lines) < 3:
        raise UserError(f"{path}: {len(lines)} lines are no recording")
    separator = max(",;\t", key=lines[0].count)
    header, *rows = csv.reader(lines, delimiter=separator)
    for place, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise UserError(f"{path}: row {place} below the header has {len(row)} values, the header {len(header)}")
    return header, rows


def _the_one(path: Path, header: list[str], known: tuple[str, ...], what: str) -> int | None:
    plain = [name.strip().lower() for name in header]
    found = [place for place, name in enumerate(plain) if name in known]
    if len(found) > 1:
        raise UserError(f"{path}: two columns may hold {what}: {plain[found[0]]} and {plain[found[1]]}")
    return found[0] if found else None


def _numbers(path: Path, header: list[str], rows: list[list[str]], columns: list[int]) -> np.ndarray:
    """Return columns as numbers, ``(n_rows, n_columns)``."""
    cells = [[row[place] for place in columns] for row in rows]
    try:
        if any("_" in cell for row in cells for cell in row):  # which NumPy reads over, as Python does
            raise ValueError
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = None
    if values is not None and np.isfinite(values).all():
        return values
    number, place = next((k, at) for k, row in enumerate(cells) for at, cell in enumerate(row) if number_in(cell)[1])
    raise UserError(
        f"{path}: row {number + 1} below the header, column '{header[columns[place]]}': "
        f"{number_in(cells[number][place])[1]}",
        hint="a column of markers is called marker, event, label, stim or trigger",
    )


def _rate(path: Path, times: np.ndarray) -> tuple[float, list[str]]:
    """Return the rate that time stamps stand for, and what is said of their jitter."""
    steps = np.diff(times)
    if (steps <= 0).any():
        row = int(np.flatnonzero(steps <= 0)[0]) + 2
        raise UserError(f"{path}: row {row} below the header: time stamps do not rise ({times[row - 1]:g})")
    period = float(np.median(steps))
    sfreq = 1 / period
    if not LEAST_HZ <= sfreq <= MOST_HZ:
        raise UserError(
            f"{path}: time stamps rise by {period:g} a row, which would be {sfreq:g} samples per second",
            hint="time stamps are seconds: divide milliseconds by 1000",
        )
    if (steps > GAP * period).any():
        row = int(np.flatnonzero(steps > GAP * period)[0]) + 2
        raise UserError(
            f"{path}: {steps[row - 2]:g} s lie before row {row} below the header, {period:g} s between other rows: "
            f"samples are missing ({int((steps > GAP * period).sum())} times)",
            hint="cut the recording there, or fill it in the program that wrote it",
        )
    sfreq = round((len(times) - 1) / (times[-1] - times[0]), 6)
    if abs(sfreq - round(sfreq)) < 0.01 * sfreq / 10:
        sfreq = float(round(sfreq))
    jitter = float(np.abs(times - times[0] - np.arange(len(times)) / sfreq).max())
    said = [f"{sfreq:g} samples per second by its time stamps"]
    if jitter > period / 10:
        said.append(f"time stamps lie up to {1000 * jitter:.3g} ms from regular ones, which are taken")
    return sfreq, said


def _events(markers: list[str]) -> tuple[np.ndarray, list[str]]:
    """Return first samples and names of markers: one for as many rows as hold the same value."""
    onsets, labels = [], []
    before = ""
    for place, marker in enumerate(markers):
        if marker.lower() not in NOTHING and marker != before:
            onsets.append(place)
            labels.append(marker)
        before = marker
    return np.array(onsets, dtype=float), labels
