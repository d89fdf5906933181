"""Groups of channels: by shaft, by a label of the data set's table, or as the recipe names them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.recipes.pipelines import RegionResolved
from brainbench.recordings.base import RecordingDataset
from brainbench.recordings.intracranial.contacts import by_shaft
from brainbench.recordings.intracranial.electrodes import by_label
from brainbench.studies.trials.trials import Member

EVERYTHING = "all channels"
"""What the group of all is called."""

_PICKING = threading.Lock()
"""MNE opens an `Info` for writing while it picks from it, and closes it again: another thread would meet it closed."""

Groups = dict[str, tuple[str, ...]]


def groups_of(dataset: RecordingDataset, section: RegionResolved, members: Sequence[Member]) -> tuple[Groups, Groups]:
    """Return the channels of every group of participants who are pooled, and channels of none by reason.

    Raises
    ------
    UserError
        If a channel is not there, nothing says its group, or pooled participants are grouped differently.
    """
    found = _groups(dataset, section, members[0])
    for member in members[1:]:
        if _groups(dataset, section, member) != found:
            raise UserError(
                f"regions: {members[0].subject} and {member.subject} are pooled, and their channels are grouped "
                f"differently by {section.by}",
                hint="a scheme within participants leads, or `regions.groups` names groups for all",
            )
    return found


def _groups(dataset: RecordingDataset, section: RegionResolved, member: Member) -> tuple[Groups, Groups]:
    names, none = list(member.info["ch_names"]), dict[str, list[str]]()
    if section.groups is not None:
        groups = {name: list(channels) for name, channels in section.groups.items()}
        for group, channels in groups.items():
            missing = [name for name in channels if name not in names]
            if missing:
                raise UserError(
                    f"{member.subject}: regions.groups.{group}: no channel '{missing[0]}'"
                    f"{did_you_mean(missing[0], names)}",
                    hint=f"it has: {one_of(names)}",
                )
            if not channels:
                raise UserError(f"regions.groups.{group} names no channel")
        rest = [name for name in names if not any(name in channels for channels in groups.values())]
        none = {"in no group": rest} if rest else {}
    elif section.by == "shaft":
        groups = by_shaft(names, member.subject)
    else:
        labels = dataset.labels_of_contacts(member.subject, section.by)
        groups, none = by_label(names, labels, member.subject)
    if EVERYTHING in groups:
        raise UserError(f"regions: a group is called '{EVERYTHING}', as is what stands beside the groups")
    return {name: tuple(one) for name, one in groups.items()}, {why: tuple(one) for why, one in none.items()}


def picked(member: Member, channels: Sequence[str]) -> Member:
    """Return a participant with some channels alone, for decoders that are built for them."""
    import mne

    names = list(member.info["ch_names"])
    at = [names.index(name) for name in channels]
    positions = None if member.positions is None else member.positions[at]
    with _PICKING:
        info = mne.pick_info(member.info, at)
    return replace(member, info=info, positions=positions)
