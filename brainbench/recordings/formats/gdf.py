"""What GDF files say that MNE leaves unread: units, the rate that marks count at, rejected trials and new segments."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.errors import UserError
from brainbench.recordings.recording import counted

if TYPE_CHECKING:
    import mne

_FIXED = 256
_N_CHANNELS = 252
"""Bytes of the header's first part, and where it says how many channels follow."""
_SECOND, _COUNTED_FIRST = 1.9, 1.94
"""Versions from which units are numbers, and from which the table of marks begins with how many there are."""
_VOLT = 4256
_PREFIXES = {0: "", 18: "m", 19: "u", 20: "n"}
"""ISO 11073 units: of volts, and the prefixes that heads have."""
_N_BYTES = {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 16: 4, 17: 8, 279: 3, 535: 3}
"""Bytes of a number of every type."""
REJECTED, SEGMENT = 1023, 32766
"""Marks that GDF itself defines: a trial that was looked at and rejected (0x03ff), a new segment (0x7ffe)."""


@dataclass(frozen=True)
class _Header:
    """What a GDF file says of its parts: how many channels, and how many marks that count at which rate, Hz.

    Raises
    ------
    UserError
        If the file is shorter than it says; MNE would look for what is not there.
    """

    second: bool
    n_channels: int
    n_marks: int
    rate: float

    @classmethod
    def of(cls, path: Path) -> _Header:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_FIXED)
            try:
                version = float(head[4:8])
            except ValueError:
                raise _damaged(path, f"version '{head[4:8].decode('latin-1')}'") from None
            if len(head) < _FIXED:
                raise _damaged(path, f"{size} bytes")
            second = version >= _SECOND
            n = int(np.frombuffer(head, "<u2" if second else "<u4", 1, _N_CHANNELS)[0])
            begin = int(np.frombuffer(head, "<u2", 1, 184)[0]) * _FIXED if second else _whole(head, 184)
            n_records = _whole(head, 236)
            if not (n and _FIXED * (n + 1) <= begin <= size):
                raise _damaged(path, f"{n} channels, a header of {begin} bytes and {size} bytes in all")
            file.seek(_FIXED + 216 * n)
            n_samples, kinds = np.frombuffer(file.read(8 * n), "<i4").reshape(2, n).tolist()
            unknown = [kind for kind in kinds if kind not in _N_BYTES]
            if unknown or min(n_samples) < 0:
                raise _damaged(path, f"numbers of type {unknown}, {min(n_samples)} samples a record")
            record = sum(_N_BYTES[kind] * count for kind, count in zip(kinds, n_samples, strict=True))
            end = begin + n_records * record
            if n_records < 1 or end > size:
                raise _damaged(path, f"{n_records} records of {record} bytes after byte {begin}, {size} bytes in all")
            file.seek(end)
            table = file.read(8)
            if not table:
                return cls(second, n, 0, 0.0)
            if len(table) < 8:
                raise _damaged(path, f"a table of marks after byte {end}, {size} bytes in all")
            if version >= _COUNTED_FIRST:
                n_marks, rate = int.from_bytes(table[1:4], "little"), float(np.frombuffer(table, "<f4", 1, 4)[0])
            else:
                n_marks, rate = int.from_bytes(table[4:8], "little"), float(int.from_bytes(table[1:4], "little"))
            if end + 8 + n_marks * (12 if table[0] == 3 else 6) > size:
                raise _damaged(path, f"{n_marks} marks after byte {end}, {size} bytes in all")
            return cls(second, n, n_marks, rate)


def _whole(head: bytes, at: int) -> int:
    return int(np.frombuffer(head, "<i8", 1, at)[0])


def _damaged(path: Path, found: str) -> UserError:
    return UserError(f"{path}: cut short or damaged: its header says {found}", hint="copy it again from its source")


def gdf_units(path: Path) -> list[str]:
    """Return the unit of every channel of a GDF header."""
    header = _Header.of(path)
    n = header.n_channels
    with path.open("rb") as file:
        file.seek(_FIXED + (16 + 80 + (6 if header.second else 0)) * n)
        if not header.second:
            return [file.read(8).decode("latin-1").strip("\0 ") for _ in range(n)]
        codes = np.frombuffer(file.read(2 * n), "<u2").tolist()
    prefixes = [_PREFIXES.get(code - _VOLT) for code in codes]
    return ["" if prefix is None else f"{prefix}V" for prefix in prefixes]


def read_gdf(path: Path) -> tuple[mne.io.BaseRaw, list[str], None]:
    """Return a recording whose marks have their times, and those that the format defines the names that MNE obeys.

    Marks count at a rate of their own. A rejected trial becomes a stretch marked ``BAD``, a new segment an
    interruption. What was done is returned with it.

    Raises
    ------
    UserError
        If the file holds less than its header says.
    """
    import mne

    header = _Header.of(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*annotation")  # of times that MNE takes at another rate
        raw: mne.io.BaseRaw = mne.io.read_raw_gdf(path, preload=True, verbose="WARNING")
    return raw, _obey_marks(raw, header) if header.n_marks else [], None


def _obey_marks(raw: mne.io.BaseRaw, header: _Header) -> list[str]:
    import mne

    sfreq, said = float(raw.info["sfreq"]), []
    _, sample, kind, _, length = raw._raw_extras[0]["events"]
    rate = header.rate or sfreq
    if abs(rate / sfreq - 1) > 1e-6:
        said.append(f"marks count at {rate:g} Hz, samples at {sfreq:g}: their times are those of their own rate")
    rejected, segment = (kind == REJECTED) & (length > 1), kind == SEGMENT  # MNE gives a sample to what has no length
    names = kind.astype(str).astype(object)
    names[rejected], names[segment] = "BAD rejected trial", "boundary"
    for n, what in (
        (int(segment.sum()), f"{SEGMENT}: a new segment begins"),
        (int(rejected.sum()), f"{REJECTED}: a trial that was rejected"),
        (int((names == str(REJECTED)).sum()), f"{REJECTED} (a rejected trial) without a length"),
    ):
        said += [f"{counted(n, 'mark')} {what}"] if n else []
    raw.set_annotations(mne.Annotations(sample / rate, length / rate, names.tolist()), verbose="WARNING")
    return said
