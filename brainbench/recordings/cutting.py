"""Filters a whole run and cuts its trials; MNE decides which of them are whole and which touch a bad stretch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.errors import UserError
from brainbench.recipes.datasets import RecordingSettings
from brainbench.recordings.events import BAD_EDGE, NOT_RECORDED, interruptions, mark_stretches, onsets_of, stretches_of
from brainbench.recordings.recording import METADATA, LeftOut, Recording, counted

if TYPE_CHECKING:
    import mne

_NOT_WHOLE = ("NO_DATA", "TOO_SHORT")
"""What MNE calls a trial that reaches over an end of the run."""


def filtered(recording: Recording, settings: RecordingSettings, band: Sequence[float] | None = None) -> mne.io.BaseRaw:
    """Return a whole run in its pass band and at the rate asked for; the recording itself is not changed.

    Parts between which the recording was interrupted are filtered and resampled each for itself.
    """
    raw = recording.raw
    band = settings.band if band is None else band
    if band is not None:
        low, high = band
        if high >= raw.info["sfreq"] / 2:
            raise UserError(
                f"{recording.where}: a band up to {high:g} Hz needs more than {2 * high:g} samples per second, the "
                f"recording has {raw.info['sfreq']:g}"
            )
        # A recording that is too short for the filter is the user's to know, not a warning among many.
        raw = raw.copy().filter(low or None, high, method=settings.filter, picks="all", verbose="ERROR")
    if settings.sfreq is not None and settings.sfreq != raw.info["sfreq"]:
        raw = _at_rate(raw.copy() if raw is recording.raw else raw, settings.sfreq)
    return raw


def _at_rate(raw: mne.io.BaseRaw, sfreq: float) -> mne.io.BaseRaw:
    """Return a recording at another rate; the parts between interruptions begin at the samples nearest to their times.

    MNE resamples parts one by one and rounds the length of each: over hundreds of parts, trials would come to lie tens
    of samples beside their events.
    """
    import mne

    rate, edges = raw.info["sfreq"], interruptions(raw)
    if not edges:
        return raw.resample(sfreq, verbose="ERROR")
    edges = [0, *edges, raw.n_times]
    moved = np.round(np.array(edges) * sfreq / rate).astype(int)
    samples, parts = raw.get_data(), []
    for (start, stop), length in zip(pairwise(edges), np.diff(moved), strict=True):
        part = mne.filter.resample(samples[:, start:stop], up=sfreq, down=rate, verbose="ERROR")
        parts.append(np.pad(part, ((0, 0), (0, max(0, length - part.shape[1]))), mode="edge")[:, :length])
    info = raw.info.copy()
    with info._unlock():
        info["sfreq"], info["lowpass"] = sfreq, min(info["lowpass"], sfreq / 2)
    found = mne.io.RawArray(np.concatenate(parts, axis=1), info, verbose="ERROR")
    spanned = BAD_EDGE not in raw.annotations.description
    mark_stretches(found, stretches_of(raw), moved[1:-1].tolist(), spanned=spanned)
    return found


def cut(
    recording: Recording,
    subject: str,
    settings: RecordingSettings,
    band: Sequence[float] | None = None,
    classes: Sequence[str] = (),
) -> tuple[mne.Epochs | None, list[LeftOut]]:
    """Filter a whole run, then cut its trials.

    Parameters
    ----------
    recording : Recording
    subject : str
    settings : RecordingSettings
    band : (low, high), optional
    classes : sequence of str
        Every class of the runs that are put together later: a run that lost one must not number the others anew.

    Returns
    -------
    epochs : mne.Epochs or None
        None when no trial is left.
    left_out : list of LeftOut
        Trials that reach over an end of the run or touch a bad stretch.

    Raises
    ------
    UserError
        If two events fall on one sample at the rate asked for.
    """
    import mne
    import pandas as pd

    raw = filtered(recording, settings, band)
    if not len(recording.onsets):
        return None, []
    names = sorted({*classes, *recording.labels.tolist()})
    code = {name: index + 1 for index, name in enumerate(names)}
    sample = np.round(recording.onsets * raw.info["sfreq"]).astype(int)
    if len(np.unique(sample)) < len(sample):
        raise UserError(
            f"{recording.where}: two events fall on one sample at {raw.info['sfreq']:g} Hz",
            hint="a higher `dataset.sfreq`, or `dataset.labels` naming the events of the task",
        )
    events = np.column_stack([sample + raw.first_samp, np.zeros(len(sample), int), [code[n] for n in recording.labels]])
    table = pd.DataFrame(
        {
            "subject": subject,
            "session": recording.session,
            "run": recording.run,
            "trial": np.arange(len(sample)),
            "onset": recording.onsets,
            "label": recording.labels,
        },
        columns=list(METADATA),
    )
    epochs = mne.Epochs(
        raw, events.astype(int), code, settings.tmin, settings.tmax, baseline=None, metadata=table, preload=True,
        picks="all", proj=False, reject_by_annotation=True, event_repeated="error", on_missing="ignore",
        verbose="ERROR",
    )  # fmt: skip
    span = f"{settings.tmin:g} to {settings.tmax:g} s"
    reasons = Counter(
        f"too close to an end of the run for {span}"
        if reason[0] in _NOT_WHOLE
        else f"touching a stretch marked '{reason[0]}'"
        + ("" if NOT_RECORDED.match(reason[0]) else " (`bad_stretches: keep` takes them)")
        for reason in epochs.drop_log
        if reason
    )
    left_out = [LeftOut(counted(n, "trial"), why) for why, n in sorted(reasons.items())]
    return (epochs if len(epochs) else None), left_out


def touching(recording: Recording, tmin: float, tmax: float) -> np.ndarray:
    """Return which events have a trial that touches a bad stretch, ``(n_events,)``, as MNE judges it."""
    marks = recording.raw.annotations
    sfreq = recording.raw.info["sfreq"]
    first = np.round(np.round(recording.onsets * sfreq) + round(tmin * sfreq)) / sfreq
    stop = first + (round(tmax * sfreq) - round(tmin * sfreq) + 1) / sfreq
    gone = np.zeros(len(first), dtype=bool)
    for onset, length, text in zip(onsets_of(recording.raw), marks.duration, marks.description, strict=True):
        if str(text).lower().startswith("bad"):
            gone |= (onset < stop) & (onset + length > first)
    return gone
