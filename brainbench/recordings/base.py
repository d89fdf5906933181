"""The contract of a recording: continuous data and events per run, from which trials are cut.

A subject's trials are an `mne.Epochs` object whose metadata keep where each trial came from (subject, session, run,
trial, onset) and its label, so that what belongs together stays together however trials are dealt into folds.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError, one_of
from brainbench.data.account import RunUse
from brainbench.data.base import Dataset, Responses, Stimuli, subjects_asked
from brainbench.recipes.datasets import RecordingSettings
from brainbench.recordings.channels import (
    apply_projectors,
    choose_channels,
    judge_bad,
    listed,
    neighbours,
    of_kind,
    projected_out,
)
from brainbench.recordings.cutting import cut
from brainbench.recordings.events import Events, keep_stretches, one_per_sample
from brainbench.recordings.intracranial.contacts import along_shafts, pair_of
from brainbench.recordings.matching import check_amplitudes, name_as_trained, positions_of, rename_as, spread
from brainbench.recordings.quality import check_signal
from brainbench.recordings.reading import mark_of, set_montage
from brainbench.recordings.recording import LeftOut, NewRecording, Recording, Trials, as_trials, counted
from brainbench.recordings.repeats import repeated_events

if TYPE_CHECKING:
    import mne

MANY = 8
"""Classes of which the report counts each in every run."""
IN_THE_HEAD = ("seeg", "dbs")
"""Kinds of contacts that lie on shafts; of a grid the next number may be the other end of the next row."""
FAR_M = 0.005
"""How far apart heads of MEG, or channels, may lie between runs before the report says so."""


class RecordingDataset(Dataset):
    """A data set of continuous recordings; a subclass says which files and events there are.

    Parameters
    ----------
    settings : RecordingSettings
    """

    unit_is_volt = True
    """Whether the plausible range of electrodes applies."""
    kind = "eeg"
    """Kind of channel that is decoded."""
    montage: str | None = None
    """MNE montage whose positions the channel names stand for; None keeps the files' own positions."""

    def __init__(self, settings: RecordingSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._kept: tuple[str, list[Recording]] | None = None
        self._paired: dict[str, tuple[Stimuli, Responses]] = {}
        self._accounts: dict[tuple[str, tuple[float, float] | None], list[RunUse]] = {}

    @abstractmethod
    def paths(self, subject: str) -> list[Path]:
        """Return the files of a subject's recordings; none where they are known by other names (`origins`)."""

    def files(self) -> list[Path]:  # noqa: D102
        asked = subjects_asked(self.subjects, self.settings.subjects)
        return list(dict.fromkeys(path for one in asked for path in self.paths(one)))

    def origins(self, subject: str) -> dict[str, str]:
        """Return what a network must not have met that is tested on a subject: mark of a recording -> its name."""
        return {mark_of(path): str(path) for path in self.paths(subject) if path.is_file()}

    @abstractmethod
    def recordings(self, subject: str) -> list[Recording]:
        """Return the runs of a subject in order, with all channels and annotations of their files."""

    def _recordings(self, subject: str) -> list[Recording]:
        """Return the checked runs of a subject; those of the last one asked for are kept."""
        if self._kept is None or self._kept[0] != subject:
            found = self.recordings(subject)
            _check_events(subject, found)
            self._kept = (subject, self._without_repeats(self._prepared(found)))
        return self._kept[1]

    def continuous(self, subject: str) -> list[Recording]:
        """Return the checked runs of a subject for those who read them whole: events need not be there."""
        with self._lock:
            found = self.recordings(subject)
            if not found:
                raise UserError(f"{subject}: no recordings")
            return [replace(one, left_out=tuple(filter(_of_signals, one.left_out))) for one in self._prepared(found)]

    def _prepared(self, found: list[Recording]) -> list[Recording]:
        known = list(found[0].raw.ch_names)
        found = [one.noting(said=rename_as(one.raw, known, one.where)) for one in found]
        projected = [projected_out(one.raw, self.kind, self.settings.projectors) for one in found]
        if len(set(projected)) > 1:
            found = [
                one.noting(said=[f"runs differ in what is projected out of them: {names or 'nothing'} of this one"])
                for one, names in zip(found, projected, strict=True)
            ]
        return self._pooled([self._chosen(one) for one in found])

    def _chosen(self, recording: Recording) -> tuple[Recording, dict[str, str]]:
        """Obey what a file says of itself, and keep the channels asked for.

        Returns
        -------
        recording : Recording
        aside : {name: why}
            Channels of the run that should be left out, of every run of the subject.
        """
        settings, raw, where = self.settings, recording.raw, recording.where
        recording = self._timed(recording).noting(said=apply_projectors(raw, settings.projectors, where))
        chosen, left, said, aside = choose_channels(raw, self.kind, settings, where)
        bad, more = self._placed(raw, chosen, aside, where)
        aside |= dict.fromkeys(bad, "marked bad in the file (`bad_channels` chooses otherwise)")
        return recording.noting(left, [*said, *more]), aside

    def _placed(
        self, raw: mne.io.BaseRaw, wanted: Sequence[str], aside: Collection[str], where: str
    ) -> tuple[list[str], list[str]]:
        """Keep the `wanted` channels, in place, at their positions, and judge those called bad; see `judge_bad`.

        What is set `aside` is no brain: it needs no position, and no interpolated channel may have anything of it.
        """
        settings = self.settings
        more = neighbours(raw, self.kind, wanted, settings, where)
        raw.pick([*wanted, *more], verbose="ERROR")
        raw.set_channel_types(dict.fromkeys(aside, "misc"), on_unit_change="ignore", verbose="ERROR")
        if self.montage is not None:
            set_montage(raw, self.montage, where, ignore=[*settings.exclude_channels, *more])
        found = judge_bad(raw, wanted, settings, where)
        raw.pick(list(wanted), verbose="ERROR")
        return found

    def _timed(self, recording: Recording) -> Recording:
        """Keep the events that lie inside of a run, one per sample, and the stretches that no trial may touch."""
        raw = recording.raw
        outside = (recording.onsets < 0) | (recording.onsets > raw.times[-1])
        recording = recording.without(outside, "outside of the recording")
        events = Events(recording.onsets, recording.labels)
        events = one_per_sample(events, raw.info["sfreq"], recording.where)
        keep_stretches(raw, self.settings.bad_stretches)
        return replace(recording, onsets=events.onsets, labels=events.labels).noting(events.left_out)

    def _pooled(self, found: list[tuple[Recording, dict[str, str]]]) -> list[Recording]:
        """Leave the same channels out of all runs of a subject, and check that what remains can be pooled."""
        everywhere = {name: why for _, aside in found for name, why in aside.items()}
        prepared: list[Recording] = []
        for recording, aside in found:
            raw = recording.raw
            reasons = aside | {name: f"{why}, in another run" for name, why in everywhere.items() if name not in aside}
            gone = {name: why for name, why in reasons.items() if name in raw.ch_names}
            if len(gone) == len(raw.ch_names):
                raise UserError(
                    f"{recording.where}: no channel is left to decode from: {'; '.join(set(gone.values()))}"
                )
            raw.drop_channels(list(gone))
            recording = recording.noting(_by_reason(gone))
            if prepared and set(raw.ch_names) == set(prepared[0].raw.ch_names) != raw.ch_names:
                raw.reorder_channels(prepared[0].raw.ch_names)
            prepared.append(self._checked(recording))
        for other in prepared[1:]:
            compare_montage(
                prepared[0].raw.info, other.raw.info, prepared[0].where, other.where,
                any_rate=self.settings.sfreq is not None,
            )  # fmt: skip
        check_amplitudes({one.where: spread(one.raw.get_data()) for one in prepared})
        return prepared

    def _without_repeats(self, found: list[Recording]) -> list[Recording]:
        """Leave out trials that stand in an earlier run of the subject too."""
        if self.settings.repeated_trials == "keep":
            return found
        repeats = repeated_events(found, self.settings.tmin, self.settings.tmax)
        kept = []
        for recording, mine in zip(found, repeats, strict=True):
            gone = np.zeros(len(recording.onsets), dtype=bool)
            for name, rows in mine.items():
                new = rows & ~gone
                gone |= rows
                if new.any():
                    left = LeftOut(
                        counted(int(new.sum()), "trial"),
                        f"the same samples as in {name} (`repeated_trials: keep` takes them)",
                    )
                    recording = recording.noting([left])
            kept.append(replace(recording, onsets=recording.onsets[~gone], labels=recording.labels[~gone]))
        return kept

    def _checked(self, recording: Recording) -> Recording:
        raw = recording.raw
        check_signal(raw.get_data(), raw.ch_names, recording.where, volts=self.unit_is_volt)
        reference = self.settings.reference
        if reference == "average":
            if self.kind in ("mag", "grad"):
                raise UserError(f"dataset.reference: 'average' is for electrodes, not for kind '{self.kind}'")
            raw.set_eeg_reference("average", ch_type=self.kind, verbose="ERROR")
        elif reference == "bipolar":
            if self.kind not in IN_THE_HEAD:
                raise UserError(
                    f"dataset.reference: 'bipolar' is for contacts on shafts (kind {one_of(IN_THE_HEAD)}), not for "
                    f"kind '{self.kind}'"
                )
            recording = recording.noting(*along_shafts(raw, recording.where))
            check_signal(raw.get_data(), raw.ch_names, recording.where, volts=False)
        return recording

    def labels_of_contacts(self, subject: str, column: str) -> dict[str, str]:
        """Return what the data set's table says of every contact of a subject, by name.

        Raises
        ------
        UserError
            If it has no table, or the table no such column.
        """
        raise UserError(
            f"data set '{self.name}' has no table of contacts, so that `regions.by: {column}` groups nothing",
            hint="`regions.by: shaft` groups them by name; `regions.groups` names them",
        )

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
        subject, recording = self._read_new(path)
        raw, where = recording.raw, recording.where
        recording = self._timed(recording).noting(said=apply_projectors(raw, self.settings.projectors, where))
        raw.pick(of_kind(raw, self.kind, where)[0], verbose="ERROR")
        wanted = list(info["ch_names"])
        if self.settings.reference == "bipolar":
            wanted = list(dict.fromkeys(one for name in wanted for one in pair_of(name)))
        notes = name_as_trained(raw, wanted, str(path))
        bad, said = self._placed(raw, wanted, (), where)
        if bad:
            raise UserError(
                f"{where}: {listed(bad)} marked bad in the file, and the decoder reads such channels",
                hint="run the recipe with `exclude_channels`, `bad_channels: interpolate` or `bad_channels: keep`",
            )
        told = [f"{left.what} left out: {left.why}" for left in recording.left_out]
        return NewRecording(self._checked(recording), subject, [*notes, *recording.said, *said, *told])

    def _read_new(self, path: Path) -> tuple[str, Recording]:
        """Return who was recorded and the recording, with all of its channels."""
        raise UserError(f"data set '{self.name}' has no way to read a file that is not its own: {path}")

    def run_digests(self, subject: str) -> dict[tuple[str, str], str]:
        """Return the digest of the samples of every run, by session and run."""
        with self._lock:
            return {(one.session, one.run): one.digest() for one in self._recordings(subject)}

    def account(self, subject: str, span: tuple[float, float] | None = None) -> list[RunUse]:
        """Return what was used of every run of a subject, what was left out, and why; see `epochs` for `span`."""
        if (subject, span) not in self._accounts:
            self.epochs(subject, span=span)
        return self._accounts[subject, span]

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
            runs = self._recordings(subject)
            classes = sorted({str(label) for one in runs for label in one.labels})
            cuts = [cut(one, subject, settings, band, classes) for one in runs]
        session = {one.session for one in runs}
        self._accounts[subject, span] = [
            row
            for one, (part, left) in zip(runs, cuts, strict=True)
            for row in one.account(
                subject,
                "" if session == {"0"} else one.session,
                f"{_trials_used(part, classes)}, {counted(len(one.raw.ch_names), 'channel')}",
                left,
            )
        ]
        infos = [one.raw.info for one in runs]
        for moved, what, then in (
            (head_moves(infos), "the head lies", "which are put together as they are"),
            (sensor_moves(infos), "channels lie", "and are drawn where they lie in the first"),
        ):
            if moved > FAR_M:
                why = f"{what} up to {1000 * moved:.0f} mm apart between runs, {then}"
                self._accounts[subject, span].append(RunUse(subject, why=why))
        parts = [part for part, _ in cuts if part is not None]
        if not parts:
            raise UserError(
                f"{subject}: no event leaves room for a whole trial of {settings.tmin:g} to {settings.tmax:g} s",
                hint="; ".join(dict.fromkeys(f"{one.what} {one.why}" for _, left in cuts for one in left)) or None,
            )
        # Heads of a MEG session do not lie alike in every run: a note of the data, not a reason to stop.
        joined = mne.concatenate_epochs(parts, on_mismatch="ignore", verbose="ERROR") if len(parts) > 1 else parts[0]
        return joined

    def unfiltered(self, subject: str) -> tuple[list[np.ndarray], float]:
        """Return every run of a subject before any filter, ``(n_channels, n_times)`` in volts, and their rate."""
        with self._lock:
            runs = self._recordings(subject)
            return [one.raw.get_data() for one in runs], float(runs[0].raw.info["sfreq"])

    def trials(
        self, subject: str, band: Sequence[float] | None = None, span: tuple[float, float] | None = None, *,
        unfiltered: bool = False,
    ) -> Trials:  # fmt: skip
        """Return the trials of a subject as arrays; see `epochs`."""
        return as_trials(self.epochs(subject, band, span, unfiltered=unfiltered), subject)

    def summary(self, subject: str) -> str:
        """Return how many trials of which classes, channels and Hz; with `band_power` rows and targets."""
        if self.settings.band_power is not None:
            return super().summary(subject)
        trials = self.trials(subject)
        names, counts = np.unique(trials.label, return_counts=True)
        each = ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))
        runs = len(set(zip(trials.session.tolist(), trials.run.tolist(), strict=True)))
        return (
            f"{counted(len(trials), 'trial')} ({each}) of {counted(len(trials.ch_names), 'channel')} at "
            f"{trials.sfreq:g} Hz, {counted(runs, 'run')}"
        )

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
        account = self.account(subject)
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
                f"{trials.tmin + (n_times - 1) / trials.sfreq:g} s after the event",
                *dict.fromkeys(f"{row.left_out} left out: {row.why}" for row in account if "channel" in row.left_out),
            ],
            account=account,
        )

    def _signals(self, subject: str) -> tuple[Stimuli, Responses]:
        """Return trials as stimuli, and the band power of a later part of each as responses; both are kept."""
        from brainbench.recordings.pairing import pair_signals

        if subject not in self._paired:
            self._paired[subject] = pair_signals(self, subject)
        return self._paired[subject]


def head_moves(infos: Sequence[mne.Info]) -> float:
    """Return the largest distance in metres between heads of MEG runs, 0 where positions are not known."""
    places = np.array([info["dev_head_t"]["trans"][:3, 3] for info in infos if info.get("dev_head_t") is not None])
    if len(places) < 2:
        return 0.0
    return float(np.linalg.norm(places[:, None] - places[None], axis=-1).max())


def sensor_moves(infos: Sequence[mne.Info]) -> float:
    """Return how far in metres a channel lies in any run from its place in the first, where both are known."""
    places = [place for info in infos if (place := positions_of(info)) is not None]
    return max((float(np.linalg.norm(place - places[0], axis=1).max()) for place in places), default=0.0)


def _trials_used(part: mne.Epochs | None, classes: Sequence[str]) -> str:
    """Return ``15 trials (8 left, 7 right)``; of many classes only those that a run lacks are named."""
    labels = [] if part is None else part.metadata["label"].tolist()
    if len(classes) > MANY:
        lost = [name for name in classes if name not in labels]
        return counted(len(labels), "trial") + (f" (none of {', '.join(lost)})" if lost and labels else "")
    each = ", ".join(f"{labels.count(name)} {name}" for name in classes)
    return counted(len(labels), "trial") + (f" ({each})" if labels else "")


def _of_signals(left: LeftOut) -> bool:
    """Return whether more than the name of an event was left out: who reads runs whole reads all samples."""
    return not left.what.endswith((" event", " events"))


def _by_reason(gone: dict[str, str]) -> list[LeftOut]:
    reasons: dict[str, list[str]] = {}
    for name, why in gone.items():
        reasons.setdefault(why, []).append(name)
    return [LeftOut(listed(names), why) for why, names in reasons.items()]


def _check_events(subject: str, found: Sequence[Recording]) -> None:
    if not found or not sum(len(one.onsets) for one in found):
        files = ", ".join(one.where for one in found[:3])
        raise UserError(f"{subject}: no events{' in ' + files if files else ''}", hint="trials start at events")
    labels = {str(label) for one in found for label in one.labels}
    if len(labels) < 2:
        raise UserError(f"{subject}: every event is '{next(iter(labels))}': one class, nothing to tell apart")


def compare_montage(one: Any, other: Any, name_of_one: str, name_of_other: str, *, any_rate: bool = False) -> None:
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
    if one["sfreq"] != other["sfreq"] and not any_rate:
        raise UserError(
            f"{name_of_one} has {one['sfreq']:g} samples per second, {name_of_other} {other['sfreq']:g}",
            hint="`--set dataset.sfreq=...` resamples all to one rate, after filtering",
        )


def relative(path: Path, root: Path) -> str:
    """Return a path as messages show it."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
