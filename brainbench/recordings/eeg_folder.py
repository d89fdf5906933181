"""The user's own recordings: a table of files, and a table of events or the files' own annotations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.base import Context, subjects_asked
from brainbench.data.tables import read_table
from brainbench.recipes.datasets import EegFolderSettings
from brainbench.recordings.base import RecordingDataset
from brainbench.recordings.channels import of_kind, set_types
from brainbench.recordings.events import Events, by_clock, channel_events, check_names, named_events, own_events
from brainbench.recordings.intracranial.electrodes import contact_labels, electrode_files, electrode_tables
from brainbench.recordings.reading import files_of, mark_of, read_clocked, require_mne
from brainbench.recordings.recording import Clock, Recording

if TYPE_CHECKING:
    import mne

IN_THE_FILES = ("annotations", "stim")
"""Values of `events` that name no table."""


class EegFolder(RecordingDataset):
    """EDF, BDF, GDF, BrainVision, EEGLAB, FIF or CSV files below a folder."""

    name = "eeg-folder"
    expected = "a table of recordings (recordings.csv, or `dataset.recordings`)"

    def __init__(self, settings: EegFolderSettings, root: Path) -> None:
        super().__init__(settings)
        self.root = root
        self.own: EegFolderSettings = settings
        self.unit_is_volt = settings.kind not in ("mag", "grad")
        self.table = _read_table(root / settings.recordings, ("path", "subject"), ("session", "run"))
        self.table["path"] = [_plain(path) for path in self.table["path"]]
        missing = [path for path in self.table["path"] if not (root / path).is_file()]
        if missing:
            raise UserError(f"{settings.recordings}: {len(missing)} files do not exist, such as {missing[0]}")
        if self.table["path"].duplicated().any():
            twice = self.table.loc[self.table["path"].duplicated(), "path"].iloc[0]
            raise UserError(f"{settings.recordings}: {twice} is there twice")
        self.table["session"] = self.table["session"].replace("", "0")
        for names, rows in self.table.groupby(["subject", "session"]):
            if (rows["run"] == "").any() or rows["run"].duplicated().any():
                if not (rows["run"] == "").all():
                    raise UserError(f"{settings.recordings}: runs of {'/'.join(map(str, names))} are not told apart")
                self.table.loc[rows.index, "run"] = [str(index) for index in range(len(rows))]
        self.events = None
        self.kind, self.montage = settings.kind, settings.montage
        if settings.events not in IN_THE_FILES:
            self.events = self._read_events()

    @classmethod
    def open(cls, settings: EegFolderSettings, root: Path | None, context: Context) -> EegFolder:  # noqa: D102
        require_mne()
        assert root is not None
        return cls(settings, root)

    @property
    def subjects(self) -> list[str]:  # noqa: D102
        return sorted(set(self.table["subject"]))

    def paths(self, subject: str) -> list[Path]:  # noqa: D102
        return [self.root / path for path in self.table.loc[self.table["subject"] == subject, "path"]]

    def origins(self, subject: str) -> dict[str, str]:  # noqa: D102
        held = {path: [one for one in files_of(path) if one.is_file()] for path in self.paths(subject)}
        return {  # the samples, beside which a header may say the same of two recordings
            mark_of(max(files, key=lambda one: one.stat().st_size)): str(path)
            for path, files in held.items() if files
        }  # fmt: skip

    def files(self) -> list[Path]:  # noqa: D102
        own = self.own
        rows = self.table[self.table["subject"].isin(subjects_asked(self.subjects, own.subjects))]
        return [*self.tables, *[file for path in rows["path"] for file in files_of(self.root / path)]]

    @property
    def tables(self) -> list[Path]:
        """Files that name recordings, events and contacts, and hold none."""
        named = [self.own.recordings, *([] if self.events is None else [self.own.events])]
        return [self.root / path for path in [*named, *([] if self.own.contacts is None else [self.own.contacts])]]

    def labels_of_contacts(self, subject: str, column: str) -> dict[str, str]:  # noqa: D102
        if self.own.contacts is not None:
            return contact_labels(self.root / self.own.contacts, column, subject)
        rows = self.table[self.table["subject"] == subject]
        tables = dict.fromkeys(files[0] for path in rows["path"] if (files := electrode_files(self.root / path)))
        if not tables:
            several = any(electrode_tables(self.root / path) for path in rows["path"])
            what = "several tables of contacts beside a recording" if several else "no table of contacts"
            raise UserError(
                f"{subject}: {what}, so that `regions.by: {column}` groups nothing",
                hint="`dataset.contacts` names one; `regions.by: shaft` groups contacts by their names",
            )
        found: dict[str, str] = {}
        for table in tables:
            for name, label in contact_labels(table, column, subject).items():
                if found.setdefault(name, label) != label:
                    raise UserError(
                        f"{table}: contact {name} of {subject} is '{label}', in another session's '{found[name]}'",
                        hint="`dataset.contacts` names one table for all",
                    )
        return found

    def recordings(self, subject: str) -> list[Recording]:  # noqa: D102
        rows = self.table[self.table["subject"] == subject]
        read = [self._read(str(r.path), str(r.session), str(r.run)) for r in rows.itertuples()]
        seen = {name for _, names in read for name in names}
        found = {str(label) for one, _ in read for label in one.labels}
        said = check_names(self.own.labels, seen, found, subject)
        return [one.noting(said=said if at == 0 else ()) for at, (one, _) in enumerate(read)]

    def _read_new(self, path: Path) -> tuple[str, Recording]:
        for row in self.table.itertuples():
            if path.is_file() and (self.root / str(row.path)).samefile(path):
                return str(row.subject), self._read(str(row.path), str(row.session), str(row.run))[0]
        return "", self._read(str(path.resolve()), "", "")[0]

    def _read(self, path: str, session: str, run: str) -> tuple[Recording, set[str]]:
        """Return a recording, and the names that its events have in the file or the table."""
        raw, said, clock = read_clocked(self.root / path)
        set_types(raw, self.own.channel_types, path)
        if self.own.unit == "microvolt":
            names, _ = of_kind(raw, self.kind, path)
            raw.apply_function(lambda x: x * 1e-6, picks=names, verbose="ERROR")
        events = self._events_of(path, raw, clock)
        seen = set(events.labels.tolist())
        events = named_events(events, self.own.labels)
        recording = Recording(
            raw, events.onsets, events.labels, session, run, path, tuple(events.left_out), (*said, *events.said), clock
        )
        return recording, seen

    def _events_of(self, path: str, raw: mne.io.BaseRaw, clock: Clock | None) -> Events:
        own = self.own
        if self.events is not None:
            rows = self.events[self.events["path"] == path]
            events = Events(rows["onset"].to_numpy(dtype=float), rows["label"].to_numpy(dtype=str))
            return events if clock is None else by_clock(events, clock)
        if own.events == "stim" or own.stim_channel is not None:
            return channel_events(raw, path, own.stim_channel)
        return own_events(raw, path, list(own.labels or {}))

    def _read_events(self) -> pd.DataFrame:
        own = self.own
        table = _read_table(self.root / own.events, ("path", "onset", "label"))
        table["path"] = [_plain(path) for path in table["path"]]
        for path in table["path"].unique():
            if path not in set(self.table["path"]):
                near = did_you_mean(path, self.table["path"])
                raise UserError(f"{own.events}: '{path}' is not in {own.recordings}{near}")
        unknown = [label for label in own.labels or {} if label not in set(table["label"])]
        if unknown:
            known = sorted(set(table["label"]))
            raise UserError(
                f"dataset.labels: no event is called '{unknown[0]}'{did_you_mean(unknown[0], known)}",
                hint=f"labels: {one_of(known)}",
            )
        return table


def _plain(path: str) -> str:
    """Return a path as both tables write it: no `./`, no backslashes."""
    return os.path.normpath(path.strip().replace("\\", "/"))


def _read_table(path: Path, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return a table of text without the blanks around cells; columns of `needed` hold no empty one."""
    table = read_table(path)
    table.require(*needed)
    for name in needed:
        table.texts(name)
    columns: dict[str, Any] = {name: table.texts(name, required=False) for name in table.columns}
    if "onset" in needed:
        columns["onset"] = table.numbers("onset")
    table.finish()
    frame = pd.DataFrame(columns)
    for name in optional:
        if name not in frame:
            frame[name] = ""
    return frame
