"""One change for every part of a recording's files: samples, channels, rates, events, and what files say of them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import mne

Change = Callable[[Path], None]


def signal_parts(path: Path) -> Iterator[tuple[str, Change]]:
    """Yield the name of every part of a recording's file and what changes it in place."""
    yield from _BY_ENDING[path.suffix](path)


# FIF: as MNE reads and writes it --------------------------------------------------------------------------------------


def _of_fif(path: Path) -> Iterator[tuple[str, Change]]:
    for name, change in _FIF.items():
        yield name, _rewritten(change)


def _rewritten(change: Callable[[mne.io.BaseRaw], mne.io.BaseRaw]) -> Change:
    import mne

    def apply(path: Path) -> None:
        raw = change(mne.io.read_raw_fif(path, preload=True, verbose="ERROR"))
        other = path.with_name("new_raw.fif")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw.save(other, verbose="ERROR")
        os.replace(other, path)

    return apply


def _sample(raw: mne.io.BaseRaw) -> mne.io.BaseRaw:
    raw._data[1, 1150] += 1e-5
    return raw


def _rebuilt(raw: mne.io.BaseRaw, rate: float = 1.0, later: int = 0) -> mne.io.BaseRaw:
    """Return the same samples at another rate, or from another first sample, with marks at the same date."""
    import mne

    info = mne.create_info(raw.ch_names, raw.info["sfreq"] * rate, raw.get_channel_types())
    info.set_meas_date(raw.info["meas_date"])
    other = mne.io.RawArray(raw.get_data(), info, first_samp=raw.first_samp + later, verbose="ERROR")
    return other.set_annotations(raw.annotations)


def _marked(**changed: Any) -> Callable[[mne.io.BaseRaw], mne.io.BaseRaw]:
    """Change the onset, name or duration of the fifth mark."""

    def change(raw: mne.io.BaseRaw) -> mne.io.BaseRaw:
        import mne

        marks = {name: list(getattr(raw.annotations, name)) for name in ("onset", "duration", "description")}
        for name, value in changed.items():
            marks[name][4] = value(marks[name][4])
        return raw.set_annotations(mne.Annotations(**marks, orig_time=raw.annotations.orig_time))

    return change


def _projected(raw: mne.io.BaseRaw) -> mne.io.BaseRaw:
    return raw.set_eeg_reference("average", projection=True, verbose="ERROR")


def _bad(raw: mne.io.BaseRaw) -> mne.io.BaseRaw:
    raw.info["bads"] = [raw.ch_names[3]]
    return raw


def _moved(raw: mne.io.BaseRaw) -> mne.io.BaseRaw:
    raw.info["chs"][2]["loc"][:3] += 0.01
    return raw


_FIF: dict[str, Callable[[mne.io.BaseRaw], mne.io.BaseRaw]] = {
    "sample": _sample,
    "rate": lambda raw: _rebuilt(raw, rate=1.25),
    "first sample": lambda raw: _rebuilt(raw, later=7),
    "name of a channel": lambda raw: raw.rename_channels({raw.ch_names[2]: "FC4"}),
    "kind of a channel": lambda raw: raw.set_channel_types({raw.ch_names[2]: "eog"}, verbose="ERROR"),
    "order of channels": lambda raw: raw.reorder_channels(raw.ch_names[::-1]),
    "bad channels": _bad,
    "projectors": _projected,
    "position": _moved,
    "onset of a mark": _marked(onset=lambda onset: onset + 0.05),
    "name of a mark": _marked(description=lambda name: "right" if name == "left" else "left"),
    "a bad stretch": _marked(description=lambda _: "BAD_cough", duration=lambda _: 0.5),
}


# BrainVision: text and floats -----------------------------------------------------------------------------------------


def _of_header(path: Path) -> Iterator[tuple[str, Change]]:
    yield "rate", _replaced("SamplingInterval=10000", "SamplingInterval=8000")
    yield "data file", _replaced(f"DataFile={path.stem}.eeg", "DataFile=other.eeg")
    yield "marker file", _replaced(f"MarkerFile={path.stem}.vmrk", "MarkerFile=other.vmrk")
    yield "name of a channel", _replaced("Ch3=C4,", "Ch3=FC4,")
    yield "reference", _replaced("Ch1=C3,,", "Ch1=C3,Cz,")
    yield "resolution", _replaced("Ch1=C3,,1,", "Ch1=C3,,2,")
    yield "unit", _replaced("Ch1=C3,,1,uV", "Ch1=C3,,1,nV")
    yield "number of channels", _replaced("NumberOfChannels=4", "NumberOfChannels=3")
    yield "type of samples", _replaced("IEEE_FLOAT_32", "INT_16")


def _of_marks(path: Path) -> Iterator[tuple[str, Change]]:
    mark = next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("Mk6="))
    kind, name, at, size, channel = mark.split(",")
    other = "right" if name == "left" else "left"
    yield "kind of a mark", _replaced(mark, f"Mk6=New Segment,{name},{at},{size},{channel}")
    yield "name of a mark", _replaced(mark, f"{kind},{other},{at},{size},{channel}")
    yield "place of a mark", _replaced(mark, f"{kind},{name},{int(at) + 5},{size},{channel}")
    yield "channel of a mark", _replaced(mark, f"{kind},{name},{at},{size},2")


def _replaced(old: str, new: str) -> Change:
    def apply(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path}: {old}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    return apply


def _of_floats(path: Path) -> Iterator[tuple[str, Change]]:
    def apply(path: Path) -> None:
        values = np.fromfile(path, "<f4")
        values[4 * 1150] += 10
        values.tofile(path)

    yield "sample", apply
    yield "length", lambda path: path.write_bytes(path.read_bytes()[:-16000]) and None


# EEGLAB: a structure of MATLAB ----------------------------------------------------------------------------------------


def _of_set(path: Path) -> Iterator[tuple[str, Change]]:
    yield "rate", _in_set(srate=lambda value: value * 1.25)
    yield "number of samples", _in_set(pnts=lambda value: value // 2)
    yield "number of channels", _in_set(nbchan=lambda value: value - 1)
    yield "data file", _in_set(data=lambda _: "other.fdt", datfile=lambda _: "other.fdt")
    yield "name of a channel", _in_set(chanlocs=_item(2, labels=lambda _: "FC4"))
    yield "name of a mark", _in_set(event=_item(4, type=lambda name: "left" if name == "right" else "right"))
    yield "place of a mark", _in_set(event=_item(4, latency=lambda at: at + 5))


def _item(at: int, **changed: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def change(items: np.ndarray) -> np.ndarray:
        for name, value in changed.items():
            items[name][0, at] = value(items[name][0, at])
        return items

    return change


def _in_set(**changed: Callable[[Any], Any]) -> Change:
    def apply(path: Path) -> None:
        from scipy.io import loadmat, savemat

        stored = loadmat(path, appendmat=False)["EEG"]
        eeg = {name: stored[name][0, 0] for name in stored.dtype.names}
        eeg = {name: {} if value.dtype == object else value for name, value in eeg.items()}
        savemat(path, {"EEG": eeg | {name: value(eeg[name]) for name, value in changed.items()}}, appendmat=False)

    return apply


# EDF and BDF: a header of cells, and samples --------------------------------------------------------------------------

_CELLS = (
    ("name of a channel", 16), ("transducer", 80), ("unit", 8), ("smallest value", 8), ("largest value", 8),
    ("smallest number", 8), ("largest number", 8), ("filters", 80), ("samples in a record", 8),
)  # fmt: skip


def _of_edf(path: Path) -> Iterator[tuple[str, Change]]:
    n = int(path.read_bytes()[252:256])
    at = 256
    for name, width in _CELLS:
        yield name, _cell(at + width, width)  # of the second channel
        at += n * width
    yield "seconds of a record", _cell(244, 8)
    yield "date", _cell(168, 8)
    yield "sample", _flipped


def _cell(at: int, width: int) -> Change:
    def apply(path: Path) -> None:
        content = bytearray(path.read_bytes())
        old = content[at : at + width].decode("latin-1").strip()
        try:
            new = str(2 * int(float(old)) + 1)
        except ValueError:
            new = {"uV": "nV", "01.01.20": "02.01.20"}.get(old, "FC6" if width == 16 else f"{old}x")
        content[at : at + width] = new.ljust(width)[:width].encode("latin-1")
        path.write_bytes(bytes(content))

    return apply


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    header, size = int(content[184:192]), 3 if content[0] == 255 else 2
    rows = int(content[252:256])
    counts = [int(content[256 + rows * 216 + 8 * k :][:8]) for k in range(rows)]
    record = size * sum(counts)
    seconds = 11 if size == 3 or rows == 4 else 3  # within a trial: records last a second
    content[header + seconds * record + size * counts[0] + size * (counts[1] // 2)] ^= 64  # of the second channel
    path.write_bytes(bytes(content))


_BY_ENDING: dict[str, Callable[[Path], Iterator[tuple[str, Change]]]] = {
    ".fif": _of_fif, ".vhdr": _of_header, ".vmrk": _of_marks, ".eeg": _of_floats, ".set": _of_set, ".fdt": _of_floats,
    ".edf": _of_edf, ".bdf": _of_edf,
}  # fmt: skip
