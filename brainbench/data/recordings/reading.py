"""Reads one recording with MNE; a damaged or unknown file is one clear message."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brainbench.core.errors import UserError, did_you_mean, one_of

if TYPE_CHECKING:
    import mne

READERS = {
    ".edf": "read_raw_edf",
    ".bdf": "read_raw_bdf",
    ".gdf": "read_raw_gdf",
    ".vhdr": "read_raw_brainvision",
    ".set": "read_raw_eeglab",
    ".fif": "read_raw_fif",
}
"""File ending -> reader of `mne.io`."""

COMPANIONS = {".vhdr": (".eeg", ".vmrk", ".dat"), ".set": (".fdt",)}
"""Files that hold the rest of a recording, beside the one that is named."""

_TRUNCATED = ("does not match the file size", "number of records", "truncated", "unexpected end", "incomplete")


def require_mne() -> None:
    """Refuse with the way to install when MNE is not there."""
    try:
        import mne  # noqa: F401
    except ImportError:
        raise UserError("recordings need MNE", hint='pip install "brainbench[eeg]"') from None


def read_raw(path: Path) -> mne.io.BaseRaw:
    """Return a recording in memory, in volts as MNE keeps it.

    Raises
    ------
    UserError
        If the file is not there, has no reader, is damaged, or holds fewer samples than its header says.
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
            raw: mne.io.BaseRaw = getattr(mne.io, READERS[ending])(path, preload=True, verbose="WARNING")
        except MemoryError:
            raise UserError(f"{path}: does not fit into memory") from None
        except Exception as error:  # readers raise whatever the damaged bytes lead them to
            reason = str(error).strip().splitlines()
            raise UserError(
                f"{path}: not a readable {ending[1:].upper()} file"
                f" ({type(error).__name__}{': ' + reason[0] if reason else ''})",
                hint="compare its size and checksum with the source's; a broken download is the usual cause",
            ) from error
    for warning in caught:
        text = str(warning.message)
        if any(part in text.lower() for part in _TRUNCATED):
            raise UserError(
                f"{path}: the file is cut short or damaged ({text.splitlines()[0]})",
                hint="copy it again from its source",
            )
    return raw


def files_of(path: Path) -> list[Path]:
    """Return the named file and its companions that exist."""
    companions = [path.with_suffix(ending) for ending in COMPANIONS.get(path.suffix.lower(), ())]
    return [path, *[file for file in companions if file.is_file()]]


def set_montage(raw: mne.io.BaseRaw, name: str, where: str, ignore: Sequence[str] = ()) -> None:
    """Give channels the positions of one of MNE's montages, in place; those in `ignore` may go without.

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
    places = {place.lower() for place in montage.ch_names}
    without = [channel for channel in eeg if channel.lower() not in places and channel not in ignore]
    if without:
        raise UserError(
            f"{where}: {len(without)} channel{'s' * (len(without) > 1)} without a position in montage '{name}': "
            f"{', '.join(without[:8])}{did_you_mean(without[0], montage.ch_names)}",
            hint="exclude them, rename them, or take another montage",
        )
    raw.set_montage(montage, match_case=False, on_missing="ignore", verbose="ERROR")
