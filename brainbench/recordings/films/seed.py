"""SEED (Zheng & Lu 2015) and SEED-IV (Zheng et al. 2018): film clips in three sessions, 62 channels at 200 Hz."""

from __future__ import annotations

import re
from pathlib import Path

from brainbench.core.errors import UserError
from brainbench.data.containers import read_mat
from brainbench.recordings.films.base import Film, FilmDataset, checked_array

_EEG = (
    "Fp1 Fpz Fp2 AF3 AF4 F7 F5 F3 F1 Fz F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 T7 C5 C3 C1 Cz C2 C4 C6 T8 "
    "TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO5 PO3 POz PO4 PO6 PO8 CB1 O1 Oz O2 CB2"
).split()
EMOTIONS = {-1: "negative", 0: "neutral", 1: "positive"}
"""SEED: values of ``label.mat``."""
EMOTIONS_IV = ("neutral", "sad", "fear", "happy")
LABELS_IV = {
    "1": (1, 2, 3, 0, 2, 0, 0, 1, 0, 1, 2, 1, 1, 1, 2, 3, 2, 2, 3, 3, 0, 3, 0, 3),
    "2": (2, 1, 3, 0, 0, 2, 0, 2, 3, 3, 2, 3, 2, 0, 1, 1, 2, 1, 0, 3, 0, 1, 3, 1),
    "3": (1, 2, 2, 1, 3, 3, 3, 1, 1, 2, 1, 0, 2, 3, 3, 0, 2, 3, 0, 0, 2, 0, 1, 0),
}
"""SEED-IV: emotion of every clip by session, from the data set's ReadMe; no file that a program reads has it."""
_FILE = re.compile(r"^(\d+)_(\d{8})\.mat$")
_CLIP = re.compile(r"_eeg(\d+)$")


class Seed(FilmDataset):
    """15 participants, 15 clips in each of three sessions; all see the same clips."""

    name = "seed"
    inner = "Preprocessed_EEG"
    expected = "Preprocessed_EEG/<subject>_<date>.mat and label.mat, or those files themselves"
    sfreq = 200.0
    ch_types = dict.fromkeys(_EEG, "eeg")

    @classmethod
    def looks_like(cls, path: Path) -> bool:  # noqa: D102
        return any(cls._sessions(folder) for folder in (path, path / cls.inner))

    @classmethod
    def _sessions(cls, folder: Path) -> dict[str, dict[str, Path]]:
        """Return subject -> session -> file of a folder; a session goes by its date."""
        found: dict[str, dict[str, Path]] = {}
        if (folder / "label.mat").is_file():
            for path in sorted(folder.iterdir()):
                if named := _FILE.match(path.name):
                    found.setdefault(named[1], {})[named[2]] = path
        return found

    def _own_sessions(self) -> dict[str, dict[str, Path]]:
        return self._sessions(self.root) or self._sessions(self.root / self.inner)

    @property
    def subjects(self) -> list[str]:  # noqa: D102
        return sorted(self._own_sessions(), key=int)

    def paths(self, subject: str) -> list[Path]:  # noqa: D102
        return list(self._own_sessions()[subject].values())

    def files(self) -> list[Path]:  # noqa: D102
        found = super().files()
        return [*found, *dict.fromkeys(path.with_name("label.mat") for path in found)]

    def labels(self, session: str, path: Path) -> list[str]:
        """Return the emotion of every clip of a session, in order."""
        table = path.with_name("label.mat")
        codes = checked_array(read_mat(table, ["label"])["label"], f"{table}: label", 2).ravel()
        unknown = sorted({float(code) for code in codes} - set(EMOTIONS))
        if unknown:
            raise UserError(f"{table}: label {unknown[0]:g} is none of -1, 0 and 1")
        return [EMOTIONS[int(code)] for code in codes]

    def films(self, subject: str) -> dict[str, list[Film]]:  # noqa: D102
        return {session: self._clips(path, session) for session, path in self._own_sessions()[subject].items()}

    def _clips(self, path: Path, session: str) -> list[Film]:
        stored, labels = read_mat(path, [], whole=True), self.labels(session, path)
        by_number = {int(named[1]): name for name in stored if (named := _CLIP.search(name))}
        missing = [number for number in range(1, len(labels) + 1) if number not in by_number]
        if missing or len(by_number) != len(labels):
            which = f"`..._eeg{missing[0]}` is missing" if missing else f"it has {len(by_number)}"
            raise UserError(f"{path}: {len(labels)} clips have a label, and {which}")
        return [
            Film(
                checked_array(stored[by_number[n]], f"{path}: {by_number[n]}", 2), label, 0.0, f"{path.name}, clip {n}"
            )
            for n, label in enumerate(labels, 1)
        ]


class SeedIv(Seed):
    """15 participants, 24 clips in each of three sessions; clips differ between sessions."""

    name = "seed-iv"
    inner = "eeg_raw_data"
    expected = "eeg_raw_data/1/<subject>_<date>.mat (folders 1, 2 and 3), or those folders themselves"

    @classmethod
    def _sessions(cls, folder: Path) -> dict[str, dict[str, Path]]:
        found: dict[str, dict[str, Path]] = {}
        for session in LABELS_IV:
            for path in sorted((folder / session).glob("*.mat")):
                if named := _FILE.match(path.name):
                    other = found.setdefault(named[1], {}).setdefault(session, path)
                    if other != path:
                        raise UserError(
                            f"{path.parent}: two recordings of participant {named[1]}: {other.name}, {path.name}"
                        )
        return found

    def files(self) -> list[Path]:  # noqa: D102
        return FilmDataset.files(self)

    def labels(self, session: str, path: Path) -> list[str]:  # noqa: D102
        return [EMOTIONS_IV[code] for code in LABELS_IV[session]]
