"""Continuous recordings in segments of one length, for networks that learn without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.data.account import RunUse
from brainbench.recordings.base import RecordingDataset, compare_montage
from brainbench.recordings.cutting import filtered
from brainbench.recordings.recording import LeftOut, Recording, counted
from brainbench.recordings.whole.sensors import Sensors, normalised, sensors_of

if TYPE_CHECKING:
    import mne


@dataclass(frozen=True)
class Segments:
    """Everything of a participant that a network can learn from.

    Parameters
    ----------
    subject : str
    X : float32 ndarray (n_segments, n_channels, n_times)
        Volts or tesla, filtered and resampled; segments follow each other without a gap where nothing was left out.
    info : mne.Info
    sensors : Sensors
    account : list of RunUse
        What was used of every run, and what was not.
    origins : dict of str to str
        What it was read from (see `RecordingDataset.origins`).
    """

    subject: str
    X: np.ndarray
    info: mne.Info
    sensors: Sensors
    account: list[RunUse]
    origins: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.X)

    @cached_property
    def inputs(self) -> np.ndarray:
        """The segments as networks read them: see `normalised`."""
        return normalised(self.X, self.sensors.kind)

    def digest(self) -> str:
        """Return the digest of samples and sensors."""
        return digest([digest_array(self.X), self.sensors.digest(), float(self.info["sfreq"])])


def read_segments(dataset: RecordingDataset, subject: str, seconds: float) -> Segments:
    """Return a participant's continuous runs in segments; stretches marked BAD and the ends of runs are left out.

    Raises
    ------
    UserError
        If positions are unknown, runs do not fit each other, or no segment is left.
    """
    runs = dataset.continuous(subject)
    parts: list[np.ndarray] = []
    account: list[RunUse] = []
    infos: list[mne.Info] = []
    for run in runs:
        found, info, left = _cut(run, dataset, seconds)
        if infos:
            compare_montage(infos[0], info, runs[0].where, run.where)
        infos.append(info)
        parts.append(found)
        used = f"{counted(len(found), 'segment')} of {seconds:g} s, {counted(found.shape[1], 'channel')}"
        account += run.account(subject, "" if run.session == "0" else run.session, used, left)
    X = np.concatenate(parts) if parts else np.empty((0, 0, 0), dtype=np.float32)
    if not len(X):
        raise UserError(
            f"{subject}: no segment of {seconds:g} s is left of {counted(len(runs), 'run')}",
            hint="; ".join(dict.fromkeys(f"{row.left_out} {row.why}" for row in account if row.left_out)) or None,
        )
    sensors = sensors_of(infos[0], f"{subject}, {runs[0].where}")
    return Segments(subject, X, infos[0], sensors, account, dataset.origins(subject))


def _cut(run: Recording, dataset: RecordingDataset, seconds: float) -> tuple[np.ndarray, mne.Info, list[LeftOut]]:
    """Return the segments of a run, what they are made of, and what was left out."""
    import mne

    raw = filtered(run, dataset.settings)
    if raw.n_times < seconds * raw.info["sfreq"]:
        short = LeftOut("the run", f"it lasts {raw.n_times / raw.info['sfreq']:.1f} s, shorter than a segment")
        return np.empty((0, len(raw.ch_names), round(seconds * raw.info["sfreq"])), np.float32), raw.info, [short]
    epochs = mne.make_fixed_length_epochs(
        raw, duration=seconds, preload=True, reject_by_annotation=True, proj=False, verbose="ERROR"
    )
    n_times = round(seconds * raw.info["sfreq"])
    data = epochs.get_data(copy=False)[:, :, :n_times].astype(np.float32)
    left = []
    if n_bad := sum(bool(reason) for reason in epochs.drop_log):
        left.append(
            LeftOut(counted(n_bad, "segment"), "touching a stretch marked BAD (`bad_stretches: keep` takes them)")
        )
    rest = (raw.n_times % n_times) / raw.info["sfreq"]
    if rest > 0:
        left.append(LeftOut(f"{rest:.1f} s", "the end of the run, shorter than a segment"))
    return data, epochs.info, left
