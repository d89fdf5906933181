"""The contract of a recording: continuous data and events per run, from which trials are cut.

A subject's trials are an `mne.Epochs` object whose metadata keep where each trial came from (subject, session, run,
trial, onset) and its label, so that what belongs together stays together however trials are dealt into folds.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.data.base import Dataset, Responses, Stimuli
from brainbench.data.recordings.matching import pick_as_trained, positions_of
from brainbench.data.recordings.quality import check_signal, choose_channels
from brainbench.recipes.datasets import RecordingSettings

if TYPE_CHECKING:
    import mne

METADATA = ("subject", "session", "run", "trial", "onset", "label")
"""Columns that every trial has. `run` is unique within a session, `trial` within a run; `onset` is in seconds."""


@dataclass(frozen=True)
class Recording:
    """One continuous run.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Loaded, in volts.
    onsets : float ndarray (n_events,)
        Seconds from the first sample.
    labels : str ndarray (n_events,)
    session, run : str
    where : str
        File, for messages.
    """

    raw: mne.io.BaseRaw
    onsets: np.ndarray
    labels: np.ndarray
    session: str
    run: str
    where: str

    def digest(self) -> str:
        """Return the digest of its samples: two names of one recording have the same."""
        return digest_array(self.raw.get_data())


@dataclass(frozen=True)
class NewRecording:
    """A recording that is not, or need not be, in the data set.

    Parameters
    ----------
    recording : Recording
        Its channels are those that a decoder was trained on, in the same order.
    subject : str
        Who was recorded, where file name or table tell; else empty. The same goes for session and run.
    notes : list of str
        What was done to make it fit.
    """

    recording: Recording
    subject: str
    notes: list[str]


@dataclass(frozen=True)
class Trials:
    """Trials of one subject as arrays.

    Parameters
    ----------
    subject : str
    X : ndarray (n_trials, n_channels, n_times)
        Volts (tesla for magnetometers).
    label, session, run : str ndarray (n_trials,)
    trial : int ndarray (n_trials,)
    onset : float ndarray (n_trials,)
        Seconds from the start of the run.
    info : mne.Info
        Rate, names, kinds and positions of the channels.
    tmin : float
        Seconds between an event and the first sample.
    """

    subject: str
    X: np.ndarray
    label: np.ndarray
    session: np.ndarray
    run: np.ndarray
    trial: np.ndarray
    onset: np.ndarray
    info: mne.Info
    tmin: float

    def __len__(self) -> int:
        return len(self.X)

    @property
    def ch_names(self) -> list[str]:
        """Names of the channels, in order."""
        return list(self.info["ch_names"])

    @property
    def sfreq(self) -> float:
        """Samples per second."""
        return float(self.info["sfreq"])

    @property
    def length(self) -> float:
        """Seconds that a trial lasts."""
        return self.X.shape[-1] / self.sfreq

    def positions(self) -> np.ndarray | None:
        """Return ``(n_channels, 3)`` in metres, or None where any is unknown: nothing is invented."""
        return positions_of(self.info)

    def digest(self) -> str:
        """Return one digest of everything that can change a score."""
        return digest(
            {
                "X": digest_array(self.X),
                "sfreq": self.sfreq,
                "channels": self.ch_names,
                **{name: digest_array(getattr(self, name)) for name in ("label", "session", "run", "trial", "onset")},
            }
        )


class RecordingDataset(Dataset):
    """A data set of continuous recordings; a subclass says which files and events there are.

    Parameters
    ----------
    settings : RecordingSettings
    """

    unit_is_volt = True
    """Whether the plausible range of electrodes applies."""

    def __init__(self, settings: RecordingSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._kept: tuple[str, list[Recording]] | None = None
        self._paired: dict[str, tuple[Stimuli, Responses]] = {}

    @abstractmethod
    def recordings(self, subject: str) -> list[Recording]:
        """Return the runs of a subject in order, channels named and placed."""

    def _recordings(self, subject: str) -> list[Recording]:
        """Return the checked runs of a subject; those of the last one asked for are kept."""
        if self._kept is None or self._kept[0] != subject:
            found = self.recordings(subject)
            _check_events(subject, found)
            prepared = [self._choose(recording) for recording in found]
            _same_montage(subject, prepared)
            self._kept = (subject, prepared)
        return self._kept[1]

    def _choose(self, recording: Recording) -> Recording:
        """Check a run and keep the channels asked for."""
        settings, raw = self.settings, recording.raw
        chosen = choose_channels(raw.ch_names, settings.channels, settings.exclude_channels, recording.where)
        raw.pick(chosen, verbose="ERROR")
        return self._check(recording)

    def _check(self, recording: Recording) -> Recording:
        raw = recording.raw
        check_signal(raw.get_data(), raw.ch_names, recording.where, volts=self.unit_is_volt)
        if self.settings.reference == "average":
            raw.set_eeg_reference("average", verbose="ERROR")
        return recording

    def read_new(self, path: Path, info: mne.Info) -> NewRecording:
        """Read a further recording as those of the data set are read.

        Parameters
        ----------
        path : Path
        info : mne.Info
            Of the trials that a decoder was trained on.

        Raises
        ------
        UserError
            If the file cannot be read, lacks a channel, or is unfit.
        """
        notes: list[str] = []

        def match(raw: mne.io.BaseRaw) -> None:
            notes.extend(pick_as_trained(raw, info, str(path)))

        subject, recording = self._read_new(path, match)
        return NewRecording(self._check(recording), subject, notes)

    def _read_new(self, path: Path, match: Match) -> tuple[str, Recording]:
        """Return who was recorded and the recording; `match` picks the channels once they have their names."""
        raise UserError(f"data set '{self.name}' has no way to read a file that is not its own: {path}")

    def run_digests(self, subject: str) -> dict[tuple[str, str], str]:
        """Return the digest of the samples of every run, by session and run."""
        with self._lock:
            return {(one.session, one.run): one.digest() for one in self._recordings(subject)}

    def epochs(
        self, subject: str, band: Sequence[float] | None = None, span: tuple[float, float] | None = None, *,
        unfiltered: bool = False,
    ) -> mne.Epochs:  # fmt: skip
        """Return the trials of a subject, cut from runs that were filtered whole.

        Parameters
        ----------
        subject : str
        band : (low, high), optional
            Pass band in Hz; without it the settings'.
        span : (tmin, tmax), optional
            Start and end of a trial in seconds after its event; without it the settings'.
        unfiltered : bool
            Take no band at all.

        Raises
        ------
        UserError
            If nothing can be cut, or the recording is unfit.
        """
        import mne

        settings = self.settings
        if span is not None:
            settings = settings.model_copy(update={"tmin": span[0], "tmax": span[1]})
        if unfiltered:
            settings = settings.model_copy(update={"band": None})
        with self._lock:
            runs = [one for one in self._recordings(subject) if len(one.onsets)]
            parts = [cut(one, subject, settings, band) for one in runs]
        parts = [part for part in parts if part is not None]
        if not parts:
            raise UserError(
                f"{subject}: no event leaves room for a whole trial of {settings.tmin:g} to {settings.tmax:g} s"
            )
        return mne.concatenate_epochs(parts, verbose="ERROR") if len(parts) > 1 else parts[0]

    def trials(
        self, subject: str, band: Sequence[float] | None = None, span: tuple[float, float] | None = None, *,
        unfiltered: bool = False,
    ) -> Trials:  # fmt: skip
        """Return the trials of a subject as arrays; see `epochs`."""
        return as_trials(self.epochs(subject, band, span, unfiltered=unfiltered), subject)

    def stimuli(self, subject: str) -> Stimuli:
        """Return the cues: one text per class, since nothing else of the stimuli is recorded.

        With `settings.band_power` the trials themselves are the stimuli, ``(n_channels, n_times)`` in volts.
        """
        if self.settings.band_power is not None:
            return self._signals(subject)[0]
        names = sorted({str(label) for one in self._recordings(subject) for label in one.labels})
        return Stimuli.of(names, ids=names)

    def responses(self, subject: str) -> Responses:
        """Return trials as rows and channels x samples as targets; every channel is a region of its samples.

        With `settings.band_power` targets are the log band power of every channel in a later part of the trial.
        """
        if self.settings.band_power is not None:
            return self._signals(subject)[1]
        trials = self.trials(subject)
        n, n_channels, n_times = trials.X.shape
        names = self.stimuli(subject).ids
        owner = np.repeat(np.arange(n_channels), n_times)
        several = len(set(trials.session)) > 1
        run = np.char.add(np.char.add(trials.session, "/"), trials.run) if several else trials.run
        return Responses(
            subject=subject,
            data=trials.X.reshape(n, -1),
            stimulus=np.array([list(names).index(label) for label in trials.label], dtype=np.int64),
            run=run,
            rois={"all": np.ones(len(owner), dtype=bool)}
            | {name: owner == index for index, name in enumerate(trials.ch_names)},
            labels={"label": trials.label, "session": trials.session},
            notes=[
                f"{n_channels} channels, {trials.sfreq:g} Hz, {trials.tmin:g} to "
                f"{trials.tmin + (n_times - 1) / trials.sfreq:g} s after the event"
            ],
        )

    def _signals(self, subject: str) -> tuple[Stimuli, Responses]:
        """Return trials as stimuli, and the band power of a later part of each as responses; both are kept."""
        from brainbench.data.recordings.pairing import pair_signals

        if subject not in self._paired:
            self._paired[subject] = pair_signals(self, subject)
        return self._paired[subject]


Match = Callable[["mne.io.BaseRaw"], None]


def as_trials(epochs: mne.Epochs, subject: str) -> Trials:
    """Return epochs with the metadata of `METADATA` as arrays."""
    table = epochs.metadata
    return Trials(
        subject=subject,
        X=epochs.get_data(copy=False),
        label=table["label"].to_numpy(dtype=str),
        session=table["session"].to_numpy(dtype=str),
        run=table["run"].to_numpy(dtype=str),
        trial=table["trial"].to_numpy(dtype=np.int64),
        onset=table["onset"].to_numpy(dtype=np.float64),
        info=epochs.info,
        tmin=float(epochs.tmin),
    )


def filtered(recording: Recording, settings: RecordingSettings, band: Sequence[float] | None = None) -> mne.io.BaseRaw:
    """Return a whole run in its pass band and at the rate asked for; the recording itself is not changed."""
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
        raw = (raw.copy() if raw is recording.raw else raw).resample(settings.sfreq, verbose="ERROR")
    return raw


def cut(
    recording: Recording, subject: str, settings: RecordingSettings, band: Sequence[float] | None = None
) -> mne.Epochs | None:
    """Filter a whole run, then cut its trials; a trial that reaches over an end of the run is left out.

    Returns
    -------
    mne.Epochs or None
        None when no trial lies wholly inside of the run.
    """
    import mne
    import pandas as pd

    raw = filtered(recording, settings, band)
    sfreq = raw.info["sfreq"]
    names = sorted(set(recording.labels.tolist()))
    code = {name: index + 1 for index, name in enumerate(names)}
    sample = np.round(recording.onsets * sfreq).astype(int)
    first, last = int(np.floor(settings.tmin * sfreq)), int(np.ceil(settings.tmax * sfreq))
    whole = np.flatnonzero((sample + first >= 0) & (sample + last < raw.n_times))
    if not len(whole):
        return None
    events = np.column_stack(
        [
            sample[whole] + raw.first_samp,
            np.zeros(len(whole), int),
            [code[str(name)] for name in recording.labels[whole]],
        ]
    ).astype(int)
    table = pd.DataFrame(
        {
            "subject": subject,
            "session": recording.session,
            "run": recording.run,
            "trial": whole,
            "onset": recording.onsets[whole],
            "label": recording.labels[whole],
        },
        columns=list(METADATA),
    )
    return mne.Epochs(
        raw, events, {name: code[name] for name in names if name in set(recording.labels[whole])}, settings.tmin,
        settings.tmax, baseline=None, metadata=table, preload=True, picks="all", reject_by_annotation=False,
        event_repeated="error", on_missing="ignore", verbose="ERROR",
    )  # fmt: skip


def _check_events(subject: str, found: Sequence[Recording]) -> None:
    if not found or not sum(len(one.onsets) for one in found):
        files = ", ".join(one.where for one in found[:3])
        raise UserError(f"{subject}: no events{' in ' + files if files else ''}", hint="trials start at events")
    labels = {str(label) for one in found for label in one.labels}
    if len(labels) < 2:
        raise UserError(f"{subject}: every event is '{next(iter(labels))}': one class, nothing to tell apart")
    for one in found:
        doubled = len(one.onsets) - len(np.unique(np.round(one.onsets * one.raw.info["sfreq"])))
        if doubled:
            raise UserError(f"{one.where}: {doubled} events start at the same sample as another")


def _same_montage(subject: str, found: Sequence[Recording]) -> None:
    first = found[0]
    for other in found[1:]:
        compare_montage(first.raw.info, other.raw.info, first.where, other.where)


def compare_montage(one: Any, other: Any, name_of_one: str, name_of_other: str) -> None:
    """Refuse two `mne.Info` that differ in channels or rate, naming what differs.

    Raises
    ------
    UserError
        If a decoder could not be trained on one and tested on the other.
    """
    a, b = list(one["ch_names"]), list(other["ch_names"])
    if a != b:
        only_a, only_b = [n for n in a if n not in b], [n for n in b if n not in a]
        detail = (
            f"only {name_of_one} has {', '.join(only_a[:6]) or 'none'}; "
            f"only {name_of_other} has {', '.join(only_b[:6]) or 'none'}"
            if only_a or only_b
            else "the same channels stand in another order"
        )
        raise UserError(
            f"{name_of_one} and {name_of_other} differ in their montage: {len(a)} and {len(b)} channels; {detail}",
            hint="name the channels that all have with `dataset.channels`",
        )
    if one["sfreq"] != other["sfreq"]:
        raise UserError(
            f"{name_of_one} has {one['sfreq']:g} samples per second, {name_of_other} {other['sfreq']:g}",
            hint="`--set dataset.sfreq=...` resamples all to one rate, after filtering",
        )


def relative(path: Path, root: Path) -> str:
    """Return a path as messages show it."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
