"""The user's own recordings: a table of files, and a table of events or the files' own annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.base import Context
from brainbench.data.recordings.base import Match, Recording, RecordingDataset
from brainbench.data.recordings.reading import files_of, read_raw, require_mne, set_montage
from brainbench.recipes.datasets import EegFolderSettings


class EegFolder(RecordingDataset):
    """EDF, BDF, GDF, BrainVision, EEGLAB or FIF files below a folder."""

    name = "eeg-folder"
    expected = "a table of recordings (recordings.csv, or `dataset.recordings`)"

    def __init__(self, settings: EegFolderSettings, root: Path) -> None:
        super().__init__(settings)
        self.root = root
        self.own: EegFolderSettings = settings
        self.unit_is_volt = settings.kind not in ("mag", "grad")
        self.table = _read_table(root / settings.recordings, ("path", "subject"), ("session", "run"))
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
        if settings.events != "annotations":
            self.events = self._read_events()

    @classmethod
    def open(cls, settings: EegFolderSettings, root: Path | None, context: Context) -> EegFolder:  # noqa: D102
        require_mne()
        assert root is not None
        return cls(settings, root)

    @property
    def subjects(self) -> list[str]:  # noqa: D102
        return sorted(set(self.table["subject"]))

    def files(self) -> list[Path]:  # noqa: D102
        own = self.own
        rows = self.table if own.subjects == "all" else self.table[self.table["subject"].isin(own.subjects)]
        tables = [self.root / own.recordings, *([] if self.events is None else [self.root / own.events])]
        return [*tables, *[file for path in rows["path"] for file in files_of(self.root / path)]]

    def recordings(self, subject: str) -> list[Recording]:  # noqa: D102
        rows = self.table[self.table["subject"] == subject]
        return [self._read(str(r.path), str(r.session), str(r.run)) for r in rows.itertuples()]

    def _read_new(self, path: Path, match: Match) -> tuple[str, Recording]:
        for row in self.table.itertuples():
            if path.is_file() and (self.root / str(row.path)).samefile(path):
                return str(row.subject), self._read(str(row.path), str(row.session), str(row.run), match)
        return "", self._read(str(path.resolve()), "", "", match)

    def _read(self, path: str, session: str, run: str, match: Match | None = None) -> Recording:
        import mne

        own = self.own
        raw = read_raw(self.root / path)
        kinds: dict[str, Any] = {"meg": own.kind} if own.kind in ("mag", "grad") else {"meg": False, own.kind: True}
        picks = mne.pick_types(raw.info, exclude=[], **kinds)
        if not len(picks):
            there = sorted(set(raw.get_channel_types()))
            raise UserError(
                f"{path}: no channel of kind '{own.kind}'", hint=f"`dataset.kind`: it has {', '.join(there)}"
            )
        onsets, labels = self._events_of(path, raw)
        raw.pick(picks, verbose="ERROR")
        if own.unit == "microvolt":
            raw.apply_function(lambda x: x * 1e-6, picks="all", verbose="ERROR")
        if match is not None:  # further channels may have no position
            match(raw)
        if own.montage is not None:
            set_montage(raw, own.montage, path, ignore=own.exclude_channels)
        return Recording(raw, onsets, labels, session, run, path)

    def _events_of(self, path: str, raw: object) -> tuple[np.ndarray, np.ndarray]:
        """Return onsets in seconds from the first sample, and labels, in order of time."""
        if self.events is None:
            marks = raw.annotations  # type: ignore[attr-defined]
            # Annotations count from the measurement's date where the file has one, and so from its first sample.
            shift = raw.first_time if marks.orig_time is not None else 0.0  # type: ignore[attr-defined]
            onsets = np.asarray(marks.onset, dtype=float) - shift
            labels = np.array([str(mark) for mark in marks.description], dtype=str)
        else:
            rows = self.events[self.events["path"] == path]
            onsets = rows["onset"].to_numpy(dtype=float)
            labels = rows["label"].to_numpy(dtype=str)
        names = self.own.labels
        if names is not None:
            keep = np.isin(labels, list(names))
            onsets, labels = onsets[keep], np.array([names[label] for label in labels[keep]], dtype=str)
        order = np.argsort(onsets, kind="stable")
        return onsets[order], labels[order]

    def _read_events(self) -> pd.DataFrame:
        own = self.own
        table = _read_table(self.root / own.events, ("path", "onset", "label"), ())
        onset = pd.to_numeric(table["onset"], errors="coerce")
        if not np.isfinite(onset).all():
            row = int(np.flatnonzero(~np.isfinite(onset))[0])
            raise UserError(f"{own.events}: row {row + 2}: onset '{table['onset'].iloc[row]}' is not seconds")
        table["onset"] = onset
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


def _read_table(path: Path, needed: tuple[str, ...], optional: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.*sv")]) if path.parent.is_dir() else ""
        raise UserError(f"{path} does not exist{near}")
    try:
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a table: {error}") from None
    for name in needed:
        if name not in table:
            raise UserError(
                f"{path.name}: no column '{name}'{did_you_mean(name, table.columns)}",
                hint=f"columns: {', '.join(table.columns)}",
            )
        if (table[name] == "").any():
            raise UserError(f"{path.name}: row {int(np.flatnonzero(table[name] == '')[0]) + 2}: '{name}' is empty")
    for name in optional:
        if name not in table:
            table[name] = ""
    if not len(table):
        raise UserError(f"{path.name} has no rows")
    return table
