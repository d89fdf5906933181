"""What the numbers of a file are: units that MNE does not know by the spelling the file has."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from brainbench.recordings.formats.gdf import gdf_units

if TYPE_CHECKING:
    import mne

_VOLT = re.compile(r"(?P<prefix>n|nano|u|\u03bc|micro|m|milli|)\s*(v|volts?)")
_FACTOR = {"n": 1e-9, "nano": 1e-9, "u": 1e-6, "\u03bc": 1e-6, "micro": 1e-6, "m": 1e-3, "milli": 1e-3, "": 1.0}


def volts(unit: str) -> float | None:
    """Return how many volts a unit is; None where it is none of volts.

    The micro sign and the Greek letter mu are one, as they are to whoever reads them. `mV` and `MV` are millivolts: no
    head has a million volts.
    """
    found = _VOLT.fullmatch(unicodedata.normalize("NFKC", unit).strip().lower())
    return None if found is None else _FACTOR[found["prefix"]]


def mend_units(raw: mne.io.BaseRaw, path: Path) -> list[str]:
    """Scale channels whose unit MNE left unread, in place, and return what was done.

    Such a channel keeps the file's numbers as if they were volts, and in BrainVision files counts as no electrode.
    """
    mended: dict[str, list[str]] = {}
    for index, (unit, applied) in _units(raw, path).items():
        wanted = volts(unit)
        if wanted is None or abs(applied / wanted - 1) < 1e-6:
            continue
        name = raw.ch_names[index]
        raw.apply_function(lambda x, by=wanted / applied: x * by, picks=[name], verbose="ERROR")
        if raw.get_channel_types([name]) == ["misc"]:
            raw.set_channel_types({name: "eeg"}, verbose="ERROR")
        mended.setdefault(unit, []).append(name)
    return [f"unit '{unit}' of {', '.join(names)} read as {volts(unit):g} V" for unit, names in mended.items()]


def _units(raw: mne.io.BaseRaw, path: Path) -> dict[int, tuple[str, float]]:
    """Return, by channel, the unit that the file writes and the factor to volts that MNE has applied."""
    if path.suffix.lower() == ".vhdr":
        found = {}
        for index, (resolution, unit) in enumerate(_brainvision_units(path)[: len(raw.ch_names)]):
            info = raw.info["chs"][index]
            found[index] = unit, float(info["cal"] * info["range"]) / resolution
        return found
    if path.suffix.lower() in (".edf", ".bdf", ".gdf"):
        applied = raw._raw_extras[0]["units"]
        types = raw.get_channel_types()
        units = gdf_units(path) if path.suffix.lower() == ".gdf" else _edf_units(path)
        # Channels of annotations are no channels of the recording: names tell which units are whose.
        if len(units) == len(applied) == len(raw.ch_names):
            return {index: (unit, float(applied[index])) for index, unit in enumerate(units) if types[index] != "stim"}
    return {}


def _brainvision_units(path: Path) -> list[tuple[float, str]]:
    """Return resolution and unit of every channel line of a BrainVision header; microvolts where it names none."""
    found = []
    channels = header_text(path).partition("[Channel Infos]")[2].partition("\n[")[0]
    for line in channels.splitlines():
        match = re.fullmatch(r"Ch\d+=(.*)", line.strip())
        if match:
            _, _, resolution, unit = [*(part.strip() for part in match[1].split(",")), "", "", ""][:4]
            found.append((float(resolution or 1.0), unit.replace("\xc2", "") or "uV"))
    return found


def header_text(path: Path) -> str:
    """Return the text of a BrainVision header, in the code page that it names."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _edf_units(path: Path) -> list[str]:
    """Return the unit of every signal of an EDF or BDF header but its annotations."""
    with path.open("rb") as file:
        fixed = file.read(256)
        n = int(fixed[252:256])
        labels = [file.read(16).decode("latin-1").strip() for _ in range(n)]
        file.seek(80 * n, 1)
        units = [file.read(8).decode("latin-1").strip() for _ in range(n)]
    return [
        unit for label, unit in zip(labels, units, strict=True) if label not in ("EDF Annotations", "BDF Annotations")
    ]
