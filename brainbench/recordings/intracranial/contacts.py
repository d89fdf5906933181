"""Contacts of depth electrodes by shaft and number, and differences of neighbours along a shaft.

A contact is named by its shaft and its number from the tip: ``A1``, ``LH12``, ``TI'3``, ``OF 2``. A shaft is what
stands before the number, a trailing quote (the left side) with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.errors import UserError
from brainbench.recordings.channels import listed, names_of
from brainbench.recordings.recording import LeftOut, counted

if TYPE_CHECKING:
    import mne

_CONTACT = re.compile(r"(?:(?:POL|EEG|SEEG)[ _-]+)?(.*[A-Za-z][A-Za-z']*)[ _-]?(\d{1,3})(?:[ _-]?Ref)?", re.IGNORECASE)
_PAIR = re.compile(r"(.+\d)-(.*\d)")


@dataclass(frozen=True)
class Contact:
    """A contact by its name.

    Parameters
    ----------
    name : str
        As the file has it.
    shaft : str
    number : int
        Along the shaft.
    """

    name: str
    shaft: str
    number: int


def contact_of(name: str) -> Contact | None:
    """Return shaft and number of a contact, or of the first of a pair (``A1-A2``); None where the name has none."""
    first = pair_of(name)[0]
    match = _CONTACT.fullmatch(first.strip())
    return None if match is None else Contact(name, match[1].strip(" _-"), int(match[2]))


def pair_of(name: str) -> tuple[str, ...]:
    """Return the contacts of a channel: two of a difference (``A1-A2``), else itself."""
    match = _PAIR.fullmatch(name.strip())
    if match is None:
        return (name,)
    second = match[2] if re.search("[A-Za-z]", match[2]) else re.sub(r"\d+$", "", match[1]) + match[2]
    return match[1], second


def shaft_pairs(names: Sequence[str], where: str) -> tuple[list[tuple[str, str]], list[LeftOut], list[str]]:
    """Return neighbours along every shaft, contacts that have none, and what is said of gaps.

    Neighbours have numbers that follow each other: no pair reaches over a contact that is missing.

    Parameters
    ----------
    names : sequence of str
    where : str
        File, for messages.

    Returns
    -------
    pairs : list of (anode, cathode)
        In the order of the first contact of each shaft, then by number.
    left_out : list of LeftOut
    said : list of str

    Raises
    ------
    UserError
        If a name has no shaft and number, is a difference already, is there twice, or no pair is left.
    """
    shafts: dict[str, dict[int, str]] = {}
    for name in names:
        if len(pair_of(name)) > 1:
            raise UserError(
                f"{where}: channel {name} is a difference of two contacts already",
                hint="`dataset.reference: as_recorded` takes it as it is",
            )
        contact = contact_of(name)
        if contact is None:
            raise UserError(
                f"{where}: channel {name} has no shaft and number in its name, such as A1 or LH12, so that its "
                "neighbour is not known",
                hint="`dataset.exclude_channels` leaves it out; `dataset.reference: as_recorded` takes no differences",
            )
        other = shafts.setdefault(contact.shaft, {}).setdefault(contact.number, name)
        if other != name:
            raise UserError(f"{where}: {other} and {name} are both contact {contact.number} of shaft {contact.shaft}")
    pairs, alone, gaps = [], [], []
    for shaft, contacts in shafts.items():
        numbers = sorted(contacts)
        mine = [(contacts[n], contacts[n + 1]) for n in numbers if n + 1 in contacts]
        paired = {name for pair in mine for name in pair}
        alone += [contacts[n] for n in numbers if contacts[n] not in paired]
        missing = [f"{shaft}{n}" for n in range(numbers[0], numbers[-1]) if n not in contacts]
        if missing:
            gaps.append(", ".join(missing))
        pairs += mine
    if not pairs:
        raise UserError(
            f"{where}: no two of {counted(len(names), 'contact')} are neighbours on a shaft",
            hint="`dataset.reference: as_recorded` takes no differences",
        )
    left = [LeftOut(listed(alone).replace("channel", "contact"), "no neighbour on its shaft")] if alone else []
    said = [f"{counted(len(pairs), 'difference')} of neighbours along {counted(len(shafts), 'shaft')}"]
    if gaps:
        said.append(f"no pair reaches over what is missing on a shaft: {'; '.join(gaps)}")
    return pairs, left, said


def along_shafts(raw: mne.io.BaseRaw, where: str) -> tuple[list[LeftOut], list[str]]:
    """Take differences of neighbours along every shaft, in place; each lies midway between its contacts.

    Returns
    -------
    left_out, said
        See `shaft_pairs`.

    Raises
    ------
    UserError
        See `shaft_pairs`.
    """
    import mne

    pairs, left, said = shaft_pairs(raw.ch_names, where)
    place = {
        name: np.array(one["loc"][:3]) if one["loc"][:3].any() else np.full(3, np.nan)  # zeros are no place
        for name, one in zip(raw.ch_names, raw.info["chs"], strict=True)
    }
    names = [f"{anode}-{cathode}" for anode, cathode in pairs]
    mne.set_bipolar_reference(
        raw, [one for one, _ in pairs], [other for _, other in pairs], ch_name=names, drop_refs=True, copy=False,
        on_bad="ignore", verbose="ERROR",
    )  # fmt: skip
    raw.pick(names, verbose="ERROR")
    for channel, (anode, cathode) in zip(raw.info["chs"], pairs, strict=True):
        channel["loc"][:3] = (place[anode] + place[cathode]) / 2
    return left, said


def by_shaft(names: Sequence[str], where: str) -> dict[str, list[str]]:
    """Return the channels of every shaft.

    Raises
    ------
    UserError
        If a name has no shaft.
    """
    found: dict[str, list[str]] = {}
    nameless = [name for name in names if contact_of(name) is None]
    if nameless:
        raise UserError(
            f"{where}: {names_of(nameless)} {'has' if len(nameless) == 1 else 'have'} no shaft and number in the name",
            hint="name the groups with `regions.groups`, or leave the channels out (`dataset.exclude_channels`)",
        )
    for name in names:
        contact = contact_of(name)
        assert contact is not None
        found.setdefault(contact.shaft, []).append(name)
    return found
