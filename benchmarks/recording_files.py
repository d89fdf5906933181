"""Writes small recordings in the formats of the field, by hand where MNE has no writer: only for tests and fuzz."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import mne

FACTOR = {"µV": 1e-6, "\u03bcV": 1e-6, "uV": 1e-6, "mV": 1e-3, "nV": 1e-9, "V": 1.0}


def write_recording(path: Path, raw: mne.io.BaseRaw, *, unit: str = "uV", run: Any = None) -> float:
    """Write a recording in the format that its ending names; return the rounding of its samples in volts."""
    if path.suffix == ".fif":
        raw.save(path, verbose="ERROR")
        return 1e-9
    if path.suffix == ".vhdr":
        write_brainvision(path, raw, unit)
        return 1e-9
    if path.suffix == ".set":
        write_eeglab(path, raw)
        return 1e-9
    if path.suffix == ".gdf":
        write_gdf(path, raw, {}, version="2.20", unit="uV" if unit == "µV" else unit)
        return 1e-9
    status = None
    if path.suffix == ".bdf":
        status = np.zeros(raw.n_times, int)
        if run is not None and run.events == "stim":
            for onset, label in zip(run.onsets, run.labels, strict=True):
                at = round(onset * raw.info["sfreq"])
                status[at : at + 3] = 1 + (label == "right")
    return write_edf(path, raw, "uV" if unit == "µV" else unit, status)


def write_brainvision(path: Path, raw: mne.io.BaseRaw, unit: str = "µV") -> None:
    """Write a BrainVision header, float32 data and markers."""
    x = (raw.get_data() / FACTOR[unit]).T.astype("<f4")
    path.with_suffix(".eeg").write_bytes(x.tobytes())
    head = ["Brain Vision Data Exchange Header File Version 1.0", "", "[Common Infos]", "Codepage=UTF-8"]
    head += [f"DataFile={path.stem}.eeg", f"MarkerFile={path.stem}.vmrk", "DataFormat=BINARY"]
    head += ["DataOrientation=MULTIPLEXED", f"NumberOfChannels={len(raw.ch_names)}"]
    head += [f"SamplingInterval={1e6 / raw.info['sfreq']:g}", "", "[Binary Infos]", "BinaryFormat=IEEE_FLOAT_32"]
    head += ["", "[Channel Infos]", *(f"Ch{i}={name},,1,{unit}" for i, name in enumerate(raw.ch_names, start=1))]
    path.write_text("\n".join(head) + "\n", encoding="utf-8")
    marks = ["Brain Vision Data Exchange Marker File, Version 1.0", "", "[Common Infos]", "Codepage=UTF-8"]
    marks += [f"DataFile={path.stem}.eeg", "", "[Marker Infos]"]
    marks += ["Mk1=New Segment,,1,1,0,20200101120000000000"]
    for number, mark in enumerate(raw.annotations, start=2):
        text = str(mark["description"])
        kind = "New Segment" if text == "boundary" else "Comment" if text.lower()[:3] in ("bad", "com") else "Stimulus"
        text = "" if kind == "New Segment" else text.removeprefix("Comment/")
        at = round((mark["onset"] - raw.first_time) * raw.info["sfreq"]) + 1
        size = max(1, round(mark["duration"] * raw.info["sfreq"]))
        marks.append(f"Mk{number}={kind},{text},{at},{size},0")
    path.with_suffix(".vmrk").write_text("\n".join(marks) + "\n", encoding="utf-8")


def write_eeglab(path: Path, raw: mne.io.BaseRaw) -> None:
    """Write an EEGLAB file whose data lie in an .fdt file of its own name."""
    import scipy.io

    x = (raw.get_data() * 1e6).astype("<f4")
    x.T.tofile(path.with_suffix(".fdt"))
    sfreq = raw.info["sfreq"]
    chan = np.array([(name,) for name in raw.ch_names], dtype=[("labels", object)])
    kinds = [("type", object), ("latency", object), ("duration", object)]
    event = np.array(
        [
            (str(m["description"]), (m["onset"] - raw.first_time) * sfreq + 1, m["duration"] * sfreq)
            for m in raw.annotations
        ],
        dtype=kinds,
    )
    eeg = {
        "setname": path.stem, "filename": path.name, "filepath": "", "nbchan": float(len(x)), "trials": 1.0,
        "pnts": float(x.shape[1]), "srate": sfreq, "xmin": 0.0, "xmax": x.shape[1] / sfreq, "times": [],
        "data": f"{path.stem}.fdt", "datfile": f"{path.stem}.fdt", "chanlocs": chan, "chaninfo": {"plotrad": 1.0},
        "event": event, "epoch": [], "ref": "common", "icawinv": [], "icasphere": [], "icaweights": [],
        "icachansind": [], "urchanlocs": [], "urevent": [], "eventdescription": [], "epochdescription": [],
        "reject": {}, "stats": {}, "specdata": [], "specicaact": [], "splinefile": "", "icasplinefile": "",
        "dipfit": {}, "history": "", "saved": "yes", "etc": {}, "comments": "", "subject": "", "group": "",
        "condition": "", "session": [],
    }  # fmt: skip
    scipy.io.savemat(path, {"EEG": eeg}, appendmat=False)


def write_edf(
    path: Path,
    raw: mne.io.BaseRaw,
    unit: str = "uV",
    status: np.ndarray | None = None,
    slow: dict[str, int] | None = None,
) -> float:
    """Write EDF (16 bit), or BDF (24 bit) with a Status channel; return the step of the coarsest channel in volts.

    Channels in `slow` are written with so many times fewer samples.
    """
    bits, order = (24, 3) if path.suffix == ".bdf" else (16, 2)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    sfreq = int(raw.info["sfreq"])
    n_records = raw.n_times // sfreq
    x = raw.get_data() / FACTOR[unit]
    names, rows, ranges, per, units = [], [], [], [], []
    for name, row in zip(raw.ch_names, x, strict=True):
        every = (slow or {}).get(name, 1)
        top = float(f"{max(np.nanmax(np.abs(row)) * 1.05, 1e-3):.3g}")
        names.append(name)
        ranges.append(top)
        per.append(sfreq // every)
        gain = 2 * top / (high - low)
        rows.append(np.clip(np.round((np.nan_to_num(row[::every]) + top) / gain + low), low, high).astype(int))
        units.append(unit)
    if status is not None:
        names.append("Status")
        rows.append(status)
        ranges.append(float(high))
        per.append(sfreq)
        units.append("Boolean")
    n = len(names)

    def cell(value: Any, width: int) -> bytes:
        return str(value).ljust(width)[:width].encode("latin-1")

    head = (b"\xffBIOSEMI" if bits == 24 else b"0       ") + cell("subject", 80) + cell("recording", 80)
    head += cell("01.01.20", 8) + cell("12.00.00", 8) + cell(256 * (n + 1), 8) + cell("24BIT" if bits == 24 else "", 44)
    head += cell(n_records, 8) + cell(1, 8) + cell(n, 4)
    stati = [name == "Status" and status is not None for name in names]
    lowest = [low if own else -top for own, top in zip(stati, ranges, strict=True)]
    for values, width in (
        (names, 16), ([""] * n, 80), (units, 8), ([_short(v) for v in lowest], 8), ([_short(v) for v in ranges], 8),
        ([low] * n, 8), ([high] * n, 8), ([""] * n, 80), (per, 8), ([""] * n, 32),
    ):  # fmt: skip
        head += b"".join(cell(value, width) for value in values)
    body = bytearray()
    for record in range(n_records):
        for row, count in zip(rows, per, strict=True):
            part = row[record * count : (record + 1) * count].astype("<i4")
            body += part.view(np.uint8).reshape(-1, 4)[:, :order].tobytes()
    path.write_bytes(head + bytes(body))
    return max(2 * top / (high - low) for own, top in zip(stati, ranges, strict=True) if not own) * FACTOR[unit]


def _short(value: float) -> str:
    """Return a number in at most eight characters."""
    return str(int(value)) if value == int(value) else f"{value:.6g}"[:8]


def write_gdf(
    path: Path,
    raw: mne.io.BaseRaw,
    codes: dict[str, int],
    *,
    version: str = "1.25",
    unit: str = "uV",
    marks_hz: int | None = None,
) -> None:
    """Write GDF: float32, records of a second, and a table of events, of type 3 where one has a length.

    Parameters
    ----------
    path : Path
    raw : Raw
        Whole seconds; its annotations are the events.
    codes : dict
        Name of an annotation -> its number in the file, such as 769 for a cue to the left.
    version : {"1.25", "2.20"}
    unit : str
        ``V``, ``mV``, ``uV`` or ``nV``, which version 2 writes as a number.
    marks_hz : int, optional
        Rate that events count at; the samples' where it is not given.
    """
    rate, n = round(raw.info["sfreq"]), len(raw.ch_names)
    x = (raw.get_data() / FACTOR[unit]).astype("<f4")
    records = x.shape[1] // rate
    names = b"".join(name.encode().ljust(16) for name in raw.ch_names) + b" " * 80 * n
    top = float(np.abs(x).max()) + 1
    at = np.round(raw.annotations.onset * (marks_hz or rate)).astype("<u4") + 1
    lengths = np.round(raw.annotations.duration * (marks_hz or rate)).astype("<u4")
    kinds = np.array([codes[name] for name in raw.annotations.description], "<u2")
    mode = bytes([3 if lengths.any() else 1])
    hz = marks_hz or rate
    if version == "1.25":
        head = b"GDF 1.25" + b"X X".ljust(80) + b"made".ljust(80) + b"2026010112000000"
        head += np.array([256 * (n + 1)], "<i8").tobytes() + bytes(24) + bytes(20)
        head += np.array([records], "<i8").tobytes() + np.array([1, 1, n], "<u4").tobytes()
        head += names + unit.encode("latin-1").ljust(8) * n
        for limit, kind in ((-top, "<f8"), (top, "<f8"), (-np.ceil(top), "<i8"), (np.ceil(top), "<i8")):
            head += np.full(n, np.ceil(limit) if limit > 0 else np.floor(limit), kind).tobytes()
        head += b" " * 80 * n + np.full(n, rate, "<i4").tobytes() + np.full(n, 16, "<i4").tobytes() + bytes(32 * n)
        table = mode + hz.to_bytes(3, "little") + np.array([len(at)], "<u4").tobytes()
    else:
        head = b"GDF 2.20" + b"X X".ljust(66) + bytes(14) + b"made".ljust(64) + bytes(32)
        head += np.array([n + 1], "<u2").tobytes() + bytes(50) + np.array([records], "<i8").tobytes()
        head += np.array([1, 1], "<u4").tobytes() + np.array([n, 0], "<u2").tobytes() + names + bytes(6 * n)
        code = 4256 + {"V": 0, "mV": 18, "uV": 19, "nV": 20}[unit]
        head += np.full(n, code, "<u2").tobytes() + np.repeat([-top, top, -top, top], n).astype("<f8").tobytes()
        head += bytes((68 + 12) * n) + np.full(n, rate, "<i4").tobytes() + np.full(n, 16, "<i4").tobytes()
        head += bytes(32 * n)
        table = mode + len(at).to_bytes(3, "little") + np.array([hz], "<f4").tobytes()
    table += at.tobytes() + kinds.tobytes()
    if lengths.any():
        table += np.zeros(len(at), "<u2").tobytes() + lengths.tobytes()
    body = x[:, : records * rate].reshape(n, records, rate).transpose(1, 0, 2).tobytes()
    path.write_bytes(head + body + table)
