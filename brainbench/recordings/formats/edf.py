"""What EDF+ and BDF+ files say that MNE leaves unread: when each record of an interrupted recording began."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.errors import UserError
from brainbench.recordings.recording import Clock, counted

if TYPE_CHECKING:
    import mne

_KIND, _KIND_BYTES = 192, 5
"""Where the header says that records do not follow each other, and in how many bytes."""
_INTERRUPTED = (b"EDF+D", b"BDF+D")
_BEGIN = re.compile(rb"\+(\d+(?:\.\d*)?)\x14\x14")
"""How an annotation signal says when its record begins: seconds after the file's start."""


@dataclass(frozen=True)
class _Records:
    """Records of a file, and when they were measured.

    Parameters
    ----------
    begin : float ndarray (n_records,)
        Seconds after the beginning of the first one.
    length : float
        Seconds of each.
    follows : bool ndarray (n_records - 1,)
        Whether nothing lies between one record and the next.
    """

    begin: np.ndarray
    length: float
    follows: np.ndarray

    def place(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where times ``(n,)`` stand in the samples that there are, in seconds, and which were recorded.

        A time between two records stands where the later one begins.
        """
        record = np.clip(np.searchsorted(self.begin, times + 1e-9, side="right") - 1, 0, None)
        into = times - self.begin[record]
        held = (into < self.length) | np.append(self.follows, False)[record]
        return record * self.length + np.clip(into, 0.0, self.length), held & (times > -1e-9)


def read_edf(path: Path) -> tuple[mne.io.BaseRaw, list[str], Clock | None]:
    """Return a recording whose marks stand where they were set; where it was interrupted stands ``boundary``.

    What was done is returned with it, and of an interrupted file its clock.

    MNE puts the records of an interrupted file together and leaves its marks at the times of the clock: after an
    interruption they lie too late by its length.

    Raises
    ------
    UserError
        If records do not say when they began, or began before the one before had ended.
    """
    import mne

    reader = mne.io.read_raw_bdf if path.suffix.lower() == ".bdf" else mne.io.read_raw_edf
    with path.open("rb") as file:
        file.seek(_KIND)
        interrupted = file.read(_KIND_BYTES) in _INTERRUPTED
    with warnings.catch_warnings():
        if interrupted:
            warnings.filterwarnings("ignore", message=".*annotation")  # of times that MNE takes for those of samples
        raw: mne.io.BaseRaw = reader(path, preload=True, verbose="WARNING")
    if not interrupted:
        return raw, [], None
    records = _records_of(raw, path)
    return raw, _obey_records(raw, records, path), records.place


def _obey_records(raw: mne.io.BaseRaw, records: _Records, path: Path) -> list[str]:
    import mne

    marks = mne.read_annotations(path)
    start, held = records.place(marks.onset)
    stop, _ = records.place(marks.onset + marks.duration)
    # What is bad from before the recording goes on is bad from there; an event has no other time than its own.
    held |= np.array([str(text).lower().startswith("bad") for text in marks.description], dtype=bool) & (stop > start)
    breaks = (np.flatnonzero(~records.follows) + 1) * records.length
    raw.set_annotations(
        mne.Annotations(
            [*start[held], *breaks],
            [*(stop - start)[held], *np.zeros(len(breaks))],
            [*marks.description[held], *["boundary"] * len(breaks)],
        ),
        verbose="WARNING",
    )
    lost = int((~held).sum())
    said = [f"{counted(len(breaks), 'interruption')}: marks stand where they were set"] if len(breaks) else []
    return [*said, *([f"{counted(lost, 'mark')} of times that were not recorded"] if lost else [])]


def _records_of(raw: mne.io.BaseRaw, path: Path) -> _Records:
    extras = raw._raw_extras[0]
    counts = np.asarray(extras["n_samps"], dtype=int) * extras["dtype_byte"]
    first = min(extras["tal_idx"], default=None)
    if first is None:
        raise UserError(f"{path}: its header says that it was interrupted, and no signal says when records began")
    before, size, record = int(counts[:first].sum()), int(counts[first]), int(counts.sum())
    length, begin = float(extras["record_length"][0]), []
    with path.open("rb") as file:
        for number in range(int(extras["n_records"])):
            file.seek(extras["data_offset"] + number * record + before)
            found = _BEGIN.match(file.read(size))
            if found is None:
                raise UserError(f"{path}: record {number + 1} of an interrupted file does not say when it began")
            begin.append(float(found[1]))
    gaps = np.diff(begin) - length
    half = 0.5 / raw.info["sfreq"]
    if (gaps < -half).any():
        number = int(np.flatnonzero(gaps < -half)[0]) + 2
        raise UserError(
            f"{path}: record {number} began at {begin[number - 1]:g} s, before the one before it had ended "
            f"({begin[number - 2] + length:g} s)",
            hint="copy it again from its source, or export it again",
        )
    return _Records(np.array(begin) - begin[0], length, gaps <= half)
