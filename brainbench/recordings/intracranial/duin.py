"""Du-IN (Zheng et al. 2024, arXiv 2405.11459): sEEG of people who read words aloud, in the authors' pickles.

A run is ``<subject>/word-recitation/<run>/dataset.bipolar.default.{aligned|unaligned}/`` with two pickles: `data`, a
list of trials (`name` of the word, `data_s` channels x samples), and `info` with `ch_names`. They are of the authors'
own dictionary, which is read as a plain one; nothing in the files is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.order import natural
from brainbench.core.pickles import read_pickle
from brainbench.data.base import Context, subjects_asked
from brainbench.recipes.data.intracranial import DuInSettings
from brainbench.recordings.base import RecordingDataset
from brainbench.recordings.formats.pieces import joined_pieces
from brainbench.recordings.intracranial.electrodes import contact_labels
from brainbench.recordings.reading import require_mne
from brainbench.recordings.recording import Recording

INNER = ("", "seeg.he2023xuanwu", "data/seeg.he2023xuanwu")
TASK = "word-recitation"
SFREQ = 1000.0
"""Hz, of the published files; they do not say it."""
DICTIONARIES = ("utils.DotDict", "utils.DotDict.DotDict")
"""What the authors' dictionary is called in their pickles."""


class DuIn(RecordingDataset):
    """Runs of spoken words; every trial of a file is one."""

    name = "du-in"
    kind = "seeg"
    expected = f"seeg.he2023xuanwu/001/{TASK}/run1/dataset.bipolar.default.unaligned/data"

    def __init__(self, settings: DuInSettings, root: Path) -> None:
        super().__init__(settings)
        self.own = settings
        self.root = root

    @classmethod
    def open(cls, settings: DuInSettings, root: Path | None, context: Context) -> DuIn:  # noqa: D102
        require_mne()
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:  # noqa: D102
        return _inside(path) is not None

    @property
    def subjects(self) -> list[str]:  # noqa: D102
        folder = _inside(self.root)
        return [] if folder is None else sorted(path.parent.name for path in folder.glob(f"*/{TASK}"))

    def paths(self, subject: str) -> list[Path]:  # noqa: D102
        return [folder / "data" for folder in self._runs(subject).values()]

    def files(self) -> list[Path]:  # noqa: D102
        asked = subjects_asked(self.subjects, self.settings.subjects)
        found = [folder / name for one in asked for folder in self._runs(one).values() for name in ("data", "info")]
        return [*found, *self.tables]

    @property
    def tables(self) -> list[Path]:
        """The table of contacts."""
        return [] if self.own.contacts is None else [self.root / self.own.contacts]

    def notes(self) -> list[str]:  # noqa: D102
        return [
            f"samples were taken for {self.own.unit}s at {SFREQ:g} Hz, which the files do not say",
            "contacts are differences of neighbours, filtered by the authors; where they lie is not published",
        ]

    def labels_of_contacts(self, subject: str, column: str) -> dict[str, str]:  # noqa: D102
        if self.own.contacts is None:
            return super().labels_of_contacts(subject, column)
        return contact_labels(self.root / self.own.contacts, column, subject)

    def _runs(self, subject: str) -> dict[str, Path]:
        folder = (_inside(self.root) or self.root) / subject / TASK
        inner = f"dataset.bipolar.default.{self.own.version}"
        runs = sorted(folder.iterdir(), key=lambda path: natural(path.name))  # whose order is that of time
        found = {path.name: path / inner for path in runs if (path / inner / "data").is_file()}
        if not found:
            raise UserError(
                f"{folder}: no run has {inner}/data", hint="`dataset.version` chooses aligned or unaligned pickles"
            )
        return found

    def recordings(self, subject: str) -> list[Recording]:
        """Return a run per folder; filters and trials heed that its trials were cut before."""
        return [self._recording(subject, run, folder) for run, folder in self._runs(subject).items()]

    def _recording(self, subject: str, run: str, folder: Path) -> Recording:
        path = folder / "data"
        trials = read_pickle(path, "trials of words", dictionaries=DICTIONARIES)
        info = read_pickle(folder / "info", "names of channels", dictionaries=DICTIONARIES)
        names = info.get("ch_names") if isinstance(info, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{folder / 'info'}: not a file of Du-IN: `ch_names` is missing")
        if len(set(names)) < len(names):
            raise UserError(f"{folder / 'info'}: a channel is there twice in `ch_names`")
        if not isinstance(trials, list) or not trials:
            raise UserError(f"{path}: not a file of Du-IN: a list of trials is needed, got {type(trials).__name__}")
        scale = 1e-6 if self.own.unit == "microvolt" else 1.0
        pieces, labels = [], []
        for number, trial in enumerate(trials, start=1):
            where = f"{subject}, {run}, trial {number} of {path.name}"
            word, samples = _trial(trial, where)
            pieces.append((scale * samples, where))
            labels.append(word)
        raw, starts = joined_pieces(pieces, dict.fromkeys(names, "seeg"), SFREQ)
        return Recording(raw, starts, np.array(labels, dtype=str), "0", run, f"{subject}, {run}")


def _trial(trial: Any, where: str) -> tuple[str, np.ndarray]:
    """Return the word of a trial and its samples ``(n_channels, n_times)``."""
    if not isinstance(trial, dict) or not {"name", "data_s"} <= set(trial):
        raise UserError(f"{where}: not a trial of Du-IN: `name` and `data_s` are needed")
    samples = np.asarray(trial["data_s"])
    if samples.ndim != 2 or samples.dtype.kind not in "fiu":
        raise UserError(
            f"{where}: `data_s` is channels x samples in numbers, got shape {samples.shape} of {samples.dtype}"
        )
    return str(trial["name"]), samples.astype(np.float64)


def _inside(root: Path) -> Path | None:
    return next((root / inner for inner in INNER if any((root / inner).glob(f"*/{TASK}/*/dataset.bipolar.*"))), None)
