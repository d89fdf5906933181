"""Reads one recording with MNE; a damaged or unknown file is one clear message."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from brainbench.core.digests import digest
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.remembered import file_state
from brainbench.data.tables import read_table
from brainbench.recordings.channels import listed
from brainbench.recordings.formats.edf import read_edf
from brainbench.recordings.formats.eeglab import read_eeglab
from brainbench.recordings.formats.gdf import read_gdf
from brainbench.recordings.formats.stamped import read_stamped
from brainbench.recordings.intracranial.electrodes import electrode_files, electrode_tables, place_contacts
from brainbench.recordings.matching import plain_name
from brainbench.recordings.recording import Clock, counted
from brainbench.recordings.units import header_text, mend_units

if TYPE_CHECKING:
    import mne

READERS = {
    ".edf": "read_raw_edf",
    ".bdf": "read_raw_bdf",
    ".gdf": "read_raw_gdf",
    ".vhdr": "read_raw_brainvision",
    ".set": "read_raw_eeglab",
    ".fif": "read_raw_fif",
    ".csv": "",
}
"""File ending -> reader of `mne.io`; tables have none."""
OWN: dict[str, Callable[[Path], tuple[mne.io.BaseRaw, list[str], Clock | None]]] = {
    ".csv": read_stamped,
    ".gdf": read_gdf,
    ".edf": read_edf,
    ".bdf": read_edf,
    ".set": read_eeglab,
}
"""File ending -> reader of ours, that says what it did, and which clock tables of events count by."""

_BIDS_KINDS = {
    "EEG": "eeg", "ECOG": "ecog", "SEEG": "seeg", "DBS": "dbs", "EOG": "eog", "VEOG": "eog", "HEOG": "eog",
    "ECG": "ecg", "EMG": "emg", "TRIG": "stim", "GSR": "gsr", "RESP": "resp", "TEMP": "temperature", "MISC": "misc",
    "AUDIO": "misc", "PUPIL": "pupil", "EYEGAZE": "eyegaze", "PD": "misc", "SYSCLOCK": "syst", "ADC": "misc",
    "DAC": "misc", "OTHER": "misc",
}  # fmt: skip
"""Kinds of channels as BIDS writes them -> as MNE does; coils of MEG are known from the file alone."""
_BIDS_FOLDERS = ("eeg", "meg", "ieeg")
"""What recordings of BIDS end in, and the folders that they stand in."""
_KNOWN = ("'boundary' events", "naming conventions")
"""Parts of MNE's warnings that say nothing new: interruptions are obeyed, and a file may be called anything."""
_MIDDLE = 2**16
_TRUNCATED = ("does not match the file size", "number of records", "truncated", "unexpected end", "incomplete")


def require_mne() -> None:
    """Refuse with the way to install when MNE is not there."""
    try:
        import mne  # noqa: F401
    except ImportError:
        raise UserError("recordings need MNE", hint='pip install "brainbench[eeg]"') from None


def read_raw(path: Path) -> tuple[mne.io.BaseRaw, list[str]]:
    """Return a recording in memory and what is said of it; see `read_clocked`."""
    return read_clocked(path)[:2]


def read_clocked(path: Path) -> tuple[mne.io.BaseRaw, list[str], Clock | None]:
    """Return a recording in memory, in volts as MNE keeps it, what is said of it (units mended, marks lost), its clock.

    It is read whole: MNE brings channels of several rates to the highest one, which goes wrong for single stretches.

    Raises
    ------
    UserError
        If the file is not there, has no reader, is damaged, holds epochs, or fewer samples than its header says.
    """
    require_mne()
    import mne

    ending = path.suffix.lower()
    if ending not in READERS:
        raise UserError(f"{path}: no reader for '{ending or path.name}'", hint=f"known: {one_of(READERS)}")
    if not path.is_file():
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*")]) if path.parent.is_dir() else ""
        raise UserError(f"{path} does not exist{near}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            raw: mne.io.BaseRaw
            said: list[str]
            clock: Clock | None = None
            if ending in OWN:
                raw, said, clock = OWN[ending](path)
            else:
                raw, said = getattr(mne.io, READERS[ending])(path, preload=True, verbose="WARNING"), []
            said = [*said, *mend_units(raw, path), *_slower_channels(raw, path)]
            table = channel_table(path)
        except MemoryError:
            raise UserError(f"{path}: does not fit into memory") from None
        except UserError:
            raise
        except Exception as error:  # readers raise whatever the damaged bytes lead them to
            _refuse_epochs(path, error)
            reason = str(error).strip().splitlines()
            raise UserError(
                f"{path}: not a readable {ending[1:].upper()} file"
                f" ({type(error).__name__}{': ' + reason[0][:300] if reason else ''})",
                hint="copy all files of the recording, under the names that they had"
                if isinstance(error, FileNotFoundError)
                else "compare its size with the source's, and open it with the program that wrote it",
            ) from error
    if table is not None:
        said += _obey_table(raw, table)
    places = electrode_files(path)
    if places:
        said += place_contacts(raw, places)
    elif several := electrode_tables(path):
        said.append(f"positions not taken: several tables of contacts ({', '.join(one.name for one in several)})")
    for warning in caught:
        text = str(warning.message)
        if any(part in text.lower() for part in _TRUNCATED):
            raise UserError(
                f"{path}: the file is cut short or damaged ({text.splitlines()[0]})",
                hint="copy it again from its source",
            )
        omitted = re.search(r"omitted (\d+) annotation", text.lower())
        if omitted:
            said.append(f"{omitted[1]} annotations lie outside of the samples: the file may be cut short")
        elif issubclass(warning.category, RuntimeWarning) and not any(part in text for part in _KNOWN):
            said.append(f"MNE says: {text.splitlines()[0][:200]}")
    return raw, said, clock


def _slower_channels(raw: mne.io.BaseRaw, path: Path) -> list[str]:
    """Return what is said of EDF channels that were recorded at a lower rate than the one they are read at."""
    if path.suffix.lower() not in (".edf", ".bdf"):
        return []
    extras = raw._raw_extras[0]
    counts = list(extras["n_samps"])
    if len(counts) != len(raw.ch_names):
        return []
    slower: dict[int, list[str]] = {}
    for name, count in zip(raw.ch_names, counts, strict=True):
        if count < max(counts):
            slower.setdefault(int(count), []).append(name)
    return [
        f"{', '.join(names)} recorded at {raw.info['sfreq'] * count / max(counts):g} Hz, read at {raw.info['sfreq']:g}"
        for count, names in slower.items()
    ]


def _refuse_epochs(path: Path, error: Exception) -> None:
    """Say so where a file that cannot be read as a recording holds epochs."""
    import mne

    try:
        if path.suffix.lower() == ".fif":
            n = len(mne.read_epochs(path, preload=False, verbose="ERROR"))
        elif path.suffix.lower() == ".set":
            n = len(mne.io.read_epochs_eeglab(path, verbose="ERROR"))
        else:
            return
    except Exception:  # it is damaged, then, as the first error says
        return
    raise UserError(
        f"{path}: holds {n} epochs, not a continuous recording",
        hint="filters need the continuous recording that the epochs were cut from: name that file",
    ) from error


def files_of(path: Path) -> list[Path]:
    """Return every file that a recording is read from, the named one first.

    The reader says it: parts of a split FIF file, data and markers that a BrainVision header names, the data that an
    EEGLAB file names.
    """
    if not path.is_file():
        return [path]
    table = channel_table(path)
    beside = [*([] if table is None else [table]), *electrode_files(path)]
    return [path, *_companions(path, *file_state(path)), *beside]


def mark_of(path: Path) -> str:
    """Return what tells a recording's file from all others wherever a copy lies: its size, and 64 KiB of its middle."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size // 2 - _MIDDLE // 2))
        return digest([size, hashlib.sha256(file.read(_MIDDLE)).hexdigest()])


@lru_cache(maxsize=4096)
def _companions(path: Path, *_state: int) -> tuple[Path, ...]:
    """Return the files beside one in this state; FIF and EEGLAB files must be opened to know."""
    import mne

    ending = path.suffix.lower()
    found: list[Path] = []
    if ending == ".vhdr":
        for key in ("DataFile", "MarkerFile"):
            match = re.search(rf"^{key}=(.*)$", header_text(path), re.MULTILINE)
            if match and match[1].strip():
                named = path.parent / match[1].strip().replace("$b", path.stem)
                # Marks that are not where the header says are looked for beside it, by MNE too.
                found.append(named if key == "DataFile" or named.is_file() else path.with_suffix(".vmrk"))
    elif ending in (".fif", ".set"):
        reader = getattr(mne.io, READERS[ending])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = [Path(name) for name in reader(path, preload=False, verbose="ERROR").filenames if name]
            except Exception:  # what is wrong with it is said when it is read
                found = []
    return tuple(file for file in found if file.is_file() and not file.samefile(path))


def channel_table(path: Path) -> Path | None:
    """Return the table of channels that BIDS gives a recording: ``sub-01_task-x_channels.tsv``.

    A table may name fewer entities than the recording, as that of a split one does, and may stand in a folder above: of
    the nearest folder that has any, the one that names most.

    Raises
    ------
    UserError
        If two name equally many.
    """
    *entities, suffix = path.stem.split("_")
    if suffix not in _BIDS_FOLDERS or not entities:
        return None
    folder = path.parent
    while True:
        found: dict[int, list[Path]] = {}
        for table in sorted(folder.glob("*_channels.tsv")):
            named = table.stem.split("_")[:-1]
            if set(named) <= set(entities):
                found.setdefault(len(named), []).append(table)
        if found:
            first, *others = found[max(found)]
            if others:
                raise UserError(
                    f"{path}: {first.name} and {others[0].name} are both its table of channels",
                    hint="BIDS allows one in a folder: name what tells them apart, or join them",
                )
            return first
        if folder.name not in _BIDS_FOLDERS and not folder.name.startswith(("sub-", "ses-")):
            return None
        folder = folder.parent


def kinds_of(raw: mne.io.BaseRaw, path: Path) -> dict[str, str]:
    """Return the kind of every channel: what the file says, or a table of BIDS beside it."""
    kinds = dict(zip(raw.ch_names, raw.get_channel_types(), strict=True))
    table = channel_table(path)
    if table is not None:
        told = raw.copy()
        _obey_table(told, table)
        kinds = dict(zip(told.ch_names, told.get_channel_types(), strict=True))
    return kinds


def _obey_table(raw: mne.io.BaseRaw, table: Path) -> list[str]:
    """Take kinds and bad channels from a table of BIDS, in place; return what is said of it.

    Raises
    ------
    UserError
        If it is no such table, or names none of the recording's channels.
    """
    rows = read_table(table)
    rows.require("name")
    names = rows.texts("name")
    rows.finish()
    kinds, status = (rows.texts(one, required=False) if one in rows else [] for one in ("type", "status"))
    known = set(raw.ch_names)
    if not known.intersection(names):
        raise UserError(
            f"{table}: none of its {len(names)} channels is in the recording, such as '{names[0] if names else ''}'",
            hint=f"the recording has {listed(raw.ch_names)}",
        )
    types = {name: _BIDS_KINDS[kind.upper()] for name, kind in zip(names, kinds, strict=False) if name in known
             and kind.upper() in _BIDS_KINDS}  # fmt: skip
    raw.set_channel_types(types, on_unit_change="ignore", verbose="ERROR")
    bad = [name for name, one in zip(names, status, strict=False) if one.lower() == "bad" and name in known]
    raw.info["bads"] = [name for name in raw.ch_names if name in {*raw.info["bads"], *bad}]
    others = [name for name in names if name not in known]
    missing = f", which also names {listed(others)} that the recording lacks" if others else ""
    return [f"kinds and {counted(len(bad), 'bad channel')} from {table.name}{missing}"]


def set_montage(raw: mne.io.BaseRaw, name: str, where: str, ignore: Sequence[str] = ()) -> None:
    """Give channels the positions of one of MNE's montages, in place; those in `ignore` may go without.

    Names that differ from the montage's by dots, case, spaces or age (T3 is T7) find their place.

    Raises
    ------
    UserError
        If there is no such montage, or a channel has no position in it: positions are not invented.
    """
    import mne

    known = mne.channels.get_builtin_montages()
    renamed = {"standard_1005": "colin27_1005", "standard_1020": "colin27_1020"}  # from MNE 1.13 on
    chosen = renamed.get(name, name) if renamed.get(name, name) in known else name
    if chosen not in known:
        raise UserError(f"{where}: no montage '{name}'{did_you_mean(name, known)}", hint=f"known: {one_of(known)}")
    montage = mne.channels.make_standard_montage(chosen)
    eeg = [raw.ch_names[i] for i in mne.pick_types(raw.info, eeg=True, exclude=[])]
    places = {place.lower(): place for place in montage.ch_names}
    plain = {plain_name(place): place for place in reversed(montage.ch_names)}
    place_of = {channel: places.get(channel.lower()) or plain.get(plain_name(channel)) for channel in eeg}
    without = [channel for channel in eeg if place_of[channel] is None and channel not in ignore]
    if without:
        raise UserError(
            f"{where}: {len(without)} channel{'s' * (len(without) > 1)} without a position in montage '{name}': "
            f"{', '.join(without[:8])}{did_you_mean(without[0], montage.ch_names)}",
            hint="exclude them, rename them, or take another montage",
        )
    positions = montage.get_positions()["ch_pos"]
    own = {channel: positions[place] for channel, place in place_of.items() if place is not None}
    head = {point: montage.get_positions()[point] for point in ("nasion", "lpa", "rpa")}
    frame = montage.get_positions()["coord_frame"]
    digitised = mne.channels.make_dig_montage(own, coord_frame=frame, **head)
    raw.set_montage(digitised, on_missing="ignore", verbose="ERROR")
