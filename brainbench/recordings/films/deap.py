"""DEAP (Koelstra et al. 2012): music videos; the preprocessed files for Python, ``sNN.dat``."""

from __future__ import annotations

import re
from pathlib import Path

from brainbench.core.errors import UserError
from brainbench.core.pickles import read_pickle
from brainbench.recipes.data.emotion import DeapSettings
from brainbench.recordings.films.base import Film, FilmDataset, checked_array, rated

INNER = "data_preprocessed_python"
RATINGS = ("valence", "arousal", "dominance", "liking")
"""Columns of ``labels``."""
BASELINE_S = 3.0
"""Seconds before every video."""
_EEG = (
    "Fp1 AF3 F3 F7 FC5 FC1 C3 T7 CP5 CP1 P3 P7 PO3 O1 Oz Pz Fp2 AF4 Fz F4 F8 FC6 FC2 Cz C4 T8 CP6 CP2 P4 P8 PO4 O2"
).split()
_OTHERS = {
    "hEOG": "eog", "vEOG": "eog", "zEMG": "emg", "tEMG": "emg", "GSR": "gsr", "Respiration": "resp",
    "Plethysmograph": "misc", "Temperature": "temperature",
}  # fmt: skip
_FILE = re.compile(r"^s\d{2}\.dat$")


class Deap(FilmDataset):
    """32 EEG channels of 32 participants, 40 videos of a minute each, already filtered to 4-45 Hz at 128 Hz."""

    name = "deap"
    expected = f"{INNER}/s01.dat, or s01.dat"
    sfreq = 128.0
    ch_types = dict.fromkeys(_EEG, "eeg") | _OTHERS

    def __init__(self, settings: DeapSettings, root: Path) -> None:
        super().__init__(settings, root)
        self.rating = settings.rating
        self.threshold = settings.threshold

    @classmethod
    def looks_like(cls, path: Path) -> bool:  # noqa: D102
        return _inside(path) is not None

    @property
    def subjects(self) -> list[str]:  # noqa: D102
        folder = _inside(self.root)
        return [] if folder is None else sorted(path.stem for path in folder.iterdir() if _FILE.match(path.name))

    def paths(self, subject: str) -> list[Path]:  # noqa: D102
        return [(_inside(self.root) or self.root) / f"{subject}.dat"]

    def films(self, subject: str) -> dict[str, list[Film]]:  # noqa: D102
        (path,) = self.paths(subject)
        found = read_pickle(path, "recordings and ratings")
        if not isinstance(found, dict) or not {"data", "labels"} <= set(found):
            raise UserError(f"{path}: not a file of DEAP: `data` and `labels` are missing")
        data, labels = (
            checked_array(found["data"], f"{path}: data", 3),
            checked_array(found["labels"], f"{path}: labels", 2),
        )
        if labels.shape != (len(data), len(RATINGS)):
            raise UserError(
                f"{path}: {len(data)} videos and labels of shape {labels.shape}; "
                f"({len(data)}, {len(RATINGS)}) is needed"
            )
        label = rated(labels[:, RATINGS.index(self.rating)], 9, self.threshold, f"{path}, {self.rating}")
        return {
            "0": [
                Film(samples, one, BASELINE_S, f"{path.name}, video {n}")
                for n, (samples, one) in enumerate(zip(data, label, strict=True), 1)
            ]
        }


def _inside(root: Path) -> Path | None:
    for folder in (root, root / INNER):
        if (folder / "s01.dat").is_file() or (
            folder.is_dir() and any(_FILE.match(path.name) for path in folder.iterdir())
        ):
            return folder
    return None
