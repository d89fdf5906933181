"""What a recording is once it is read: continuous samples and events of a run, and the trials that were cut from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.data.account import RunUse
from brainbench.recordings.matching import positions_of

if TYPE_CHECKING:
    import mne

METADATA = ("subject", "session", "run", "trial", "onset", "label")
"""Columns that every trial has. `run` is unique within a session, `trial` within a run; `onset` is in seconds."""

Clock = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From moments by the clock of a file, in seconds after its first sample was taken, ``(n,)``, to where these stand in
the samples that there are, in seconds, and which of them were recorded."""


@dataclass(frozen=True)
class LeftOut:
    """Something of a run that is not used.

    Parameters
    ----------
    what : str
        With its unit: ``"2 channels: HEOG, ECG"``.
    why : str
        The reason, and the setting that chooses otherwise.
    """

    what: str
    why: str


@dataclass(frozen=True)
class Recording:
    """One continuous run.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Loaded, in volts; its annotations are the stretches that no trial may touch.
    onsets : float ndarray (n_events,)
        Seconds from the first sample.
    labels : str ndarray (n_events,)
    session, run : str
    where : str
        File, for messages.
    left_out : tuple of LeftOut
        What the run has that is not used.
    said : tuple of str
        What was done to it: projectors applied, events read from a channel.
    clock : Clock, optional
        By which tables of events count, where the samples that there are do not keep it.
    """

    raw: mne.io.BaseRaw
    onsets: np.ndarray
    labels: np.ndarray
    session: str
    run: str
    where: str
    left_out: tuple[LeftOut, ...] = ()
    said: tuple[str, ...] = ()
    clock: Clock | None = None

    def digest(self) -> str:
        """Return the digest of its samples: two names of one recording have the same."""
        return digest_array(self.raw.get_data())

    def noting(self, left_out: Sequence[LeftOut] = (), said: Sequence[str] = ()) -> Recording:
        """Return the recording with more to say of it."""
        return replace(self, left_out=(*self.left_out, *left_out), said=(*self.said, *said))

    def without(self, gone: np.ndarray, why: str) -> Recording:
        """Return the recording without some of its events, ``gone`` (n_events,) bool, counted with the reason."""
        n = int(gone.sum())
        if not n:
            return self
        kept = replace(self, onsets=self.onsets[~gone], labels=self.labels[~gone])
        return kept.noting([LeftOut(counted(n, "event"), why)])

    def account(self, subject: str, session: str, used: str, further: Sequence[LeftOut] = ()) -> list[RunUse]:
        """Return the rows of the report's table: what was used, then each thing left out with its reason."""
        left = [*self.left_out, *further]
        rows = [RunUse(subject, session, self.run, used, why="; ".join(self.said))] if self.said or not left else []
        for one in left:
            rows.append(RunUse(subject, session, self.run, "" if rows else used, one.what, one.why))
        return rows


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


def counted(n: int, what: str) -> str:
    """Return ``"1 event"`` or ``"2 events"``."""
    return f"{n} {what}{'' if n == 1 else 's'}"
