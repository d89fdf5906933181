"""Finds trials that are the same samples under another name: a run that stands in two files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from brainbench.evaluation.trials.content import fingerprints, reach
from brainbench.recordings.recording import Recording


def repeated_events(recordings: Sequence[Recording], tmin: float, tmax: float) -> list[dict[str, np.ndarray]]:
    """Return, for every recording, which events have the samples of an event of an earlier one.

    Copies may differ in rounding, scale and start: what counts is that the samples from `tmin` to `tmax` after the
    events go up and down together, further than two recordings ever do.

    Returns
    -------
    list of {name of the earlier recording: bool ndarray (n_events,)}
    """
    parts = [_of(recording, tmin, tmax) for recording in recordings]
    owner = np.repeat(np.arange(len(parts)), [len(rows) for _, rows in parts])
    row = np.concatenate([rows for _, rows in parts])
    found: list[dict[str, np.ndarray]] = [{} for _ in recordings]
    if len(set(owner.tolist())) < 2:
        return found
    prints = np.concatenate([prints for prints, rows in parts if len(rows)])
    for one, other in cKDTree(prints).query_pairs(reach(prints)):
        early, late = sorted((one, other), key=lambda at: owner[at])
        if owner[early] == owner[late]:
            continue
        mine, recording = found[owner[late]], recordings[owner[late]]
        gone = mine.setdefault(recordings[owner[early]].where, np.zeros(len(recording.onsets), dtype=bool))
        gone[row[late]] = True
    return found


def _of(recording: Recording, tmin: float, tmax: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a fingerprint of every whole trial, and which events they are."""
    sfreq = recording.raw.info["sfreq"]
    data = recording.raw.get_data()
    first = np.round((recording.onsets + tmin) * sfreq).astype(int)
    n_times = round((tmax - tmin) * sfreq) + 1
    rows = np.flatnonzero((first >= 0) & (first + n_times <= data.shape[1]))
    parts = [fingerprints(data[None, :, start : start + n_times])[0] for start in first[rows]]
    return (np.stack(parts) if parts else np.empty((0, 0))), rows
