"""Tables of contacts: where each lies and what it is called in an atlas, as BIDS writes it or as the user does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.tables import Table, number_in, read_table
from brainbench.recordings.channels import listed
from brainbench.recordings.intracranial.contacts import pair_of
from brainbench.recordings.matching import plain_name
from brainbench.recordings.recording import counted

if TYPE_CHECKING:
    import mne

_METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
_NOTHING = ("", "n/a")


def electrode_tables(recording: Path) -> list[Path]:
    """Return the tables of contacts that BIDS puts beside an intracranial recording, one a space."""
    named = re.fullmatch(r"(sub-[^_]+(?:_ses-[^_]+)?)_.+_ieeg", recording.stem)
    return [] if named is None else sorted(recording.parent.glob(f"{named[1]}_*electrodes.tsv"))


def electrode_files(recording: Path) -> list[Path]:
    """Return the table of contacts beside a recording, and its system of coordinates.

    Nothing is returned where there is none, or several of which no one is the recording's.
    """
    tables = electrode_tables(recording)
    if len(tables) != 1:
        return []
    system = tables[0].with_name(tables[0].name.replace("electrodes.tsv", "coordsystem.json"))
    return [tables[0], *([system] if system.is_file() else [])]


def place_contacts(raw: mne.io.BaseRaw, files: Sequence[Path]) -> list[str]:
    """Give contacts the positions of a table of BIDS, in place; return what is said of it.

    Positions stay unknown where the table says n/a, and all of them where no unit is given.

    Raises
    ------
    UserError
        If the table is none, a coordinate is no number, or it names none of the recording's contacts.
    """
    path = files[0]
    table = read_table(path)
    table.require("name", "x", "y", "z")
    names = table.texts("name")
    table.finish()
    unit = _unit(files[1]) if len(files) > 1 else ""
    if unit not in _METRES:
        given = f"coordinates in '{unit}'" if unit else "no unit of coordinates"
        return [f"positions of {path.name} not taken: {given}"]
    rows = {name: row for row, name in enumerate(names)}
    places = np.array([_numbers(table, axis) for axis in "xyz"]).T * _METRES[unit]
    known = [name for name in raw.ch_names if name in rows]
    if not known:
        raise UserError(
            f"{path}: none of its {len(rows)} contacts is in the recording, such as '{next(iter(rows), '')}'",
            hint=f"the recording has {listed(raw.ch_names)}",
        )
    n = 0
    for name, channel in zip(raw.ch_names, raw.info["chs"], strict=True):
        if name in rows and np.isfinite(places[rows[name]]).all():
            channel["loc"][:3] = places[rows[name]]
            n += 1
    others = f" ({counted(len(raw.ch_names) - n, 'channel')} without one)" if n < len(raw.ch_names) else ""
    return [f"positions of {counted(n, 'contact')} from {path.name}{others}"]


def _numbers(table: Table, axis: str) -> np.ndarray:
    """Return a column of coordinates, NaN for n/a."""
    found = []
    for line, cell in zip(table.lines, table.texts(axis, required=False), strict=True):
        value, wrong = (np.nan, "") if cell in _NOTHING else number_in(cell)
        if wrong:
            raise UserError(f"{table.path}:{line}  {axis}: {wrong}")
        found.append(value)
    return np.array(found)


def _unit(path: Path) -> str:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable JSON file: {error}") from None
    return str(said.get("iEEGCoordinateUnits", "")) if isinstance(said, dict) else ""


def contact_labels(path: Path, column: str, subject: str) -> dict[str, str]:
    """Return what a column of a table says of every contact of a subject; n/a is left out.

    Parameters
    ----------
    path : Path
        With a column `name`, and where it is of several people `subject`.
    column : str
    subject : str

    Raises
    ------
    UserError
        If there is no such table or column, or a contact has two labels.
    """
    table = read_table(path)
    table.require("name")
    names, whose = table.texts("name"), table.texts("subject") if "subject" in table else [subject] * len(table)
    table.finish()
    if column not in table:
        others = [one for one in table.columns if one not in ("name", "subject", "x", "y", "z", "size")]
        raise UserError(
            f"{path}: no column '{column}'{did_you_mean(column, others)}", hint=f"columns: {one_of(others) or 'none'}"
        )
    found: dict[str, str] = {}
    labels = table.texts(column, required=False)
    for line, who, name, label in zip(table.lines, whose, names, labels, strict=True):
        if who != subject or label in _NOTHING:
            continue
        if found.setdefault(name, label) != label:
            raise UserError(f"{path}:{line}  contact {name} is '{found[name]}' and '{label}'")
    return found


def by_label(
    names: Sequence[str], labels: Mapping[str, str], where: str
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the channels of every label, and those of none with the reason.

    A difference of two contacts has their label where both have the same.

    Parameters
    ----------
    names : sequence of str
    labels : mapping of str to str
        By contact.
    where : str
        For messages.

    Raises
    ------
    UserError
        If no channel has a label.
    """
    plain = {plain_name(name): label for name, label in labels.items()}
    found: dict[str, list[str]] = {}
    none: dict[str, list[str]] = {}
    for name in names:
        own = [labels.get(one, plain.get(plain_name(one), "")) for one in ([name] if name in labels else pair_of(name))]
        if not all(own):
            none.setdefault("without a label", []).append(name)
        elif len(set(own)) > 1:
            none.setdefault("between two labels", []).append(name)
        else:
            found.setdefault(own[0], []).append(name)
    if not found:
        raise UserError(
            f"{where}: none of {counted(len(names), 'channel')} has a label, such as {names[0]}",
            hint=f"the table has {listed(list(labels))}" if labels else "the table has no contact of this participant",
        )
    return dict(sorted(found.items())), none
