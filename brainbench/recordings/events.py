"""Events of a recording: which marks of a file start a trial, when, and which only say something of the recording.

Times are seconds from the first sample that the file holds, whatever number that sample has and whether the file says
when it was measured.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.recordings.recording import Clock, LeftOut, counted

if TYPE_CHECKING:
    import mne

_BAD = re.compile(r"(comment/)?bad", re.IGNORECASE)  # BrainVision files have a kind before every description
_BAD_PREFIX = re.compile(r"^(comment/)?bad[ _]*", re.IGNORECASE)
_BREAK = re.compile(r"edge|boundary|new segment|lostsamples", re.IGNORECASE)
NOT_RECORDED = re.compile(r"bad_acq_skip", re.IGNORECASE)  # MNE puts zeros where a FIF file skips
_REMARK = re.compile(r"comment|syncstatus|recording (starts?|ends?|stops?|paused|resumed)", re.IGNORECASE)
"""Beginnings of descriptions that no task writes: bad stretches, interruptions, and remarks of people or machines."""
_ON_SAMPLE, _BESIDE = 2e-2, 1e-3
"""Samples by which an edge may miss a sample and still lie on it, and by which marks keep away from it."""
EDGE, BAD_EDGE = "EDGE boundary", "BAD boundary"
"""How MNE marks an interruption, for filters and for trials."""
COMBINED = ("STI101", "STI 014")
"""Stim channels in which Neuromag systems combine all others, newer and older."""


@dataclass(frozen=True)
class Events:
    """Events in order of time.

    Parameters
    ----------
    onsets : float ndarray (n_events,)
        Seconds from the first sample.
    labels : str ndarray (n_events,)
        As the file writes them.
    left_out : list of LeftOut
    said : list of str
    """

    onsets: np.ndarray
    labels: np.ndarray
    left_out: list[LeftOut] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def onsets_of(raw: mne.io.BaseRaw) -> np.ndarray:
    """Return when a recording's annotations begin, in seconds from its first sample, ``(n_annotations,)``.

    MNE counts annotations from the measurement's start, or from sample 0 where the date is unknown: either way the
    first sample of the file stands at `first_time`.
    """
    return np.asarray(raw.annotations.onset, dtype=float) - raw.first_time


def annotated_events(raw: mne.io.BaseRaw, named: Sequence[str] = ()) -> Events:
    """Return the annotations that can be events; those `named` are, whatever they are called."""
    text = np.array([str(mark) for mark in raw.annotations.description], dtype=str)
    aside = np.array([_is_no_event(mark) and mark not in named for mark in text], dtype=bool)
    left_out = []
    remarks = Counter(mark for mark in text[aside] if _REMARK.match(mark) and not _BAD.match(mark))
    if remarks:
        left_out.append(
            LeftOut(
                counted(sum(remarks.values()), "annotation"),
                f"remarks, no events: {_some(list(remarks))} (`labels` naming them makes them events)",
            )
        )
    return Events(onsets_of(raw)[~aside], text[~aside], left_out)


def own_events(raw: mne.io.BaseRaw, where: str, named: Sequence[str] = ()) -> Events:
    """Return the events that a file holds: its annotations, where it has none those of its stim channels."""
    events = annotated_events(raw, named)
    if not len(events.onsets) and "stim" in raw.get_channel_types():
        return channel_events(raw, where)
    return events


def channel_events(raw: mne.io.BaseRaw, where: str, channel: str | None = None) -> Events:
    """Return the events that a stim channel holds, labelled with their codes.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    where : str
        File, for messages.
    channel : str, optional
        Its name. Without it all of kind stim are taken together, or that alone which Neuromag combines them in: MNE's
        rule, whatever its configuration on this machine says.

    Raises
    ------
    UserError
        If there is no such channel.
    """
    import mne

    if channel is not None and channel not in raw.ch_names:
        raise UserError(f"{where}: dataset.stim_channel: no channel '{channel}'{did_you_mean(channel, raw.ch_names)}")
    stim = [raw.ch_names[i] for i in mne.pick_types(raw.info, meg=False, stim=True, exclude=[])]
    if channel is None and not stim:
        raise UserError(
            f"{where}: no channel of kind stim",
            hint="`dataset.stim_channel` names the channel that holds the codes",
        )
    combined = [name for name in COMBINED if name in stim][:1]
    for names in [[channel]] if channel is not None else [combined, stim] if combined else [stim]:
        found = mne.find_events(raw, stim_channel=names, shortest_event=1, verbose="ERROR")
        if len(found):  # one that is idle says nothing, and others may
            break
    # By position: a channel called `stim`, as MOABB calls its own, is a kind of channel by name too.
    codes = raw.get_data(picks=[raw.ch_names.index(name) for name in names]).astype(np.int64)
    falls = int(((codes[:, 1:] > 0) & (codes[:, 1:] < codes[:, :-1])).sum(axis=1).max())
    why = "of the stim channel, from a higher code straight to another: no events by MNE's rule (a table can name them)"
    return Events(
        (found[:, 0] - raw.first_samp) / raw.info["sfreq"],
        found[:, 2].astype(str),
        [LeftOut(counted(falls, "change"), why)] if falls else [],
        [f"{counted(len(found), 'event')} from the stim channel{'s' * (len(names) > 1)} {_some(names)}"],
    )


def by_clock(events: Events, clock: Clock) -> Events:
    """Return events of a table, which count by a file's clock, where they stand in its samples; those that do."""
    onsets, held = clock(events.onsets)
    lost = int((~held).sum())
    left = [LeftOut(counted(lost, "event"), "of times that were not recorded")] if lost else []
    return Events(onsets[held], events.labels[held], [*events.left_out, *left], events.said)


def named_events(events: Events, labels: Mapping[str, str] | None, why: str = "not named in `labels`") -> Events:
    """Return the events that are asked for, called as they shall be called; all of them where none is named."""
    if labels is None:
        return events
    keep = np.isin(events.labels, list(labels))
    left = list(events.left_out)
    if not keep.all():
        others = Counter(events.labels[~keep].tolist())
        left.append(LeftOut(counted(sum(others.values()), "event"), f"{why}: {_some(sorted(others))}"))
    renamed = np.array([labels[label] for label in events.labels[keep].tolist()], dtype=str)
    return Events(events.onsets[keep], renamed, left, events.said)


def one_per_sample(events: Events, sfreq: float, where: str) -> Events:
    """Return events in order of time, of which no two stand at one sample.

    The same label twice is one event, which is counted.

    Raises
    ------
    UserError
        If a sample has events of two classes: nothing says which one the trial is of.
    """
    order = np.argsort(events.onsets, kind="stable")
    onsets, labels = events.onsets[order], events.labels[order]
    sample = np.round(onsets * sfreq).astype(int)
    again = np.flatnonzero(np.diff(sample) == 0) + 1
    both = [at for at in again if labels[at] != labels[at - 1]]
    if both:
        one, other = labels[both[0] - 1], labels[both[0]]
        raise UserError(
            f"{where}: '{one}' and '{other}' stand at the same sample, {onsets[both[0]]:g} s"
            + (f" ({len(both)} times such a pair)" if len(both) > 1 else ""),
            hint="`dataset.labels` names the events that start a trial; two classes at once cannot be mended",
        )
    if not len(again):
        return Events(onsets, labels, events.left_out, events.said)
    keep = np.delete(np.arange(len(onsets)), again)
    left = LeftOut(counted(len(again), "event"), "the same label a second time at the same sample")
    return Events(onsets[keep], labels[keep], [*events.left_out, left], events.said)


def keep_stretches(raw: mne.io.BaseRaw, choice: str) -> None:
    """Leave on a recording only what trials and filters heed, in place: bad stretches, and where it was interrupted.

    An interruption is written as MNE writes it, so that no trial spans it and no filter runs across it. EEGLAB gives it
    the length of what was cut away; in the samples that remain it has none. And it puts it halfway between two samples,
    of which the later one is the first of what follows.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    choice : {"leave_out", "keep"}
        `keep` takes bad stretches for good, but for what was not recorded; filters still stop at interruptions.
    """
    sfreq = raw.info["sfreq"]
    stretches: list[tuple[float, float, str]] = []
    breaks: set[int] = set()
    for start, mark in zip(onsets_of(raw), raw.annotations, strict=True):
        name = str(mark["description"])
        if _BREAK.match(_BAD_PREFIX.sub("", name)):
            breaks.add(math.floor(start * sfreq + 0.5 + _ON_SAMPLE))
        elif _BAD.match(name) and (choice == "leave_out" or NOT_RECORDED.match(name)):
            stretches.append((start, float(mark["duration"]), re.sub("^comment/", "", name, flags=re.IGNORECASE)))
    inside = sorted(sample for sample in breaks if 0 < sample < raw.n_times)  # else the beginning or end of the file
    mark_stretches(raw, stretches, inside, spanned=choice == "keep")


def interruptions(raw: mne.io.BaseRaw) -> list[int]:
    """Return the samples before which a recording that `mark_stretches` has marked was interrupted."""
    at = onsets_of(raw)[raw.annotations.description == EDGE]
    return [round(start * raw.info["sfreq"]) for start in at.tolist()]


def stretches_of(raw: mne.io.BaseRaw) -> list[tuple[float, float, str]]:
    """Return onset (from the first sample), duration (both s) and name of the bad stretches of a marked recording."""
    marks = zip(onsets_of(raw).tolist(), raw.annotations.duration.tolist(), raw.annotations.description, strict=True)
    return [(start, max(length, 0.0), str(name)) for start, length, name in marks if name not in (EDGE, BAD_EDGE)]


def mark_stretches(
    raw: mne.io.BaseRaw, stretches: Sequence[tuple[float, float, str]], breaks: Sequence[int], *, spanned: bool
) -> None:
    """Write bad stretches and interruptions on a recording, in place of what is there.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    stretches : sequence of (onset, duration, name)
        In seconds from the first sample.
    breaks : sequence of int
        Samples before which the recording was interrupted.
    spanned : bool
        Whether trials may span an interruption.
    """
    import mne

    sfreq = raw.info["sfreq"]
    marked = [*stretches, *((at / sfreq, 0.0, kind) for kind in (EDGE, BAD_EDGE)[: 2 - spanned] for at in breaks)]
    onset, duration, text = zip(*marked, strict=True) if marked else ((), (), ())
    raw.set_annotations(mne.Annotations(onset, duration, text, orig_time=None), verbose="ERROR")
    # MNE rounds onsets to microseconds, and compares seconds that it has computed in two ways: a trial that begins or
    # ends where a stretch or an interruption does would touch it by chance. A mark that begins a thousandth of a sample
    # after the sample, and ends as much before, touches only what shares samples with it, or has some on both sides.
    marks = raw.annotations
    inset = np.where(marks.description == EDGE, 0.0, _BESIDE)
    begin = marks.onset * sfreq
    begin, end = (
        np.where(np.abs(edge - np.round(edge)) < _ON_SAMPLE, np.round(edge) + aside, edge)
        for edge, aside in ((begin, inset), (begin + marks.duration * sfreq, -inset))
    )
    marks.onset[:], marks.duration[:] = begin / sfreq, (end - begin) / sfreq


def check_names(labels: Mapping[str, str] | None, seen: set[str], found: set[str], who: str) -> list[str]:
    """Return what is said of names in `labels` that meet no event of a subject.

    Parameters
    ----------
    labels : mapping of str to str or None
        Name in the files -> class.
    seen : set of str
        Names that the subject's files have.
    found : set of str
        Classes that have events.
    who : str
        The subject, for messages.

    Raises
    ------
    UserError
        If a class has no event at all, with the nearest name that is there.
    """
    missing = [name for name in labels or {} if name not in seen]
    lost = [name for name in missing if (labels or {})[name] not in found]
    if lost:
        raise UserError(
            f"{who}: dataset.labels: no event is called '{lost[0]}'{did_you_mean(lost[0], seen)}",
            hint=f"events: {one_of(repr(name) for name in seen)}" if seen else "the recordings have no events",
        )
    return [f"dataset.labels: '{name}' meets no event of {who}" for name in missing]


def _is_no_event(mark: str) -> bool:
    return any(pattern.match(mark) for pattern in (_BAD, _BREAK, _REMARK))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
