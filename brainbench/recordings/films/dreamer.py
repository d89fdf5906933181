"""DREAMER (Katsigiannis & Ramzan 2018): film clips and a consumer headset; one file, ``DREAMER.mat``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.containers import read_mat
from brainbench.recipes.data.emotion import DreamerSettings
from brainbench.recordings.films.base import Film, FilmDataset, checked_array, rated

FILE = "DREAMER.mat"
SCORES = {"valence": "ScoreValence", "arousal": "ScoreArousal", "dominance": "ScoreDominance"}
_EEG = "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4".split()


class Dreamer(FilmDataset):
    """23 participants, 18 clips, 14 channels at 128 Hz; the recordings before each clip are not used."""

    name = "dreamer"
    expected = FILE
    sfreq = 128.0
    ch_types = dict.fromkeys(_EEG, "eeg")

    def __init__(self, settings: DreamerSettings, root: Path) -> None:
        super().__init__(settings, root)
        self.rating = settings.rating
        self.threshold = settings.threshold
        self._data: list[Any] | None = None

    @classmethod
    def looks_like(cls, path: Path) -> bool:  # noqa: D102
        return (path / FILE).is_file()

    @property
    def subjects(self) -> list[str]:
        """Numbers, in the order of the file."""
        return [str(n) for n in range(1, len(self._people()) + 1)]

    def paths(self, subject: str) -> list[Path]:  # noqa: D102
        return [self.root / FILE]

    def origins(self, subject: str) -> dict[str, str]:  # noqa: D102
        return {f"{mark}, {subject}": f"{name}, {subject}" for mark, name in super().origins(subject).items()}

    def notes(self) -> list[str]:  # noqa: D102
        return [*super().notes(), "the recordings of a minute before each clip are not used"]

    def films(self, subject: str) -> dict[str, list[Film]]:  # noqa: D102
        path, number = self.root / FILE, int(subject)
        who = f"{path}, Data{{{number}}}"
        person = self._people()[number - 1]
        clips = list(_of(_of(person, "EEG", who), "stimuli", f"{who}.EEG"))
        name = SCORES[self.rating]
        scores = checked_array(_of(person, name, who), f"{who}.{name}", 1)
        if len(scores) != len(clips):
            raise UserError(f"{who}: {len(clips)} clips and {len(scores)} values of {name}")
        label = rated(scores, 5, self.threshold, f"{who}.{name}")
        return {
            "0": [
                Film(
                    checked_array(one, f"{who}.EEG.stimuli{{{n}}}", 2).T,
                    said,
                    0.0,
                    f"{FILE} participant {number}, clip {n}",
                )
                for n, (one, said) in enumerate(zip(clips, label, strict=True), 1)
            ]
        }

    def _people(self) -> list[Any]:
        """Return the structures of the participants; the file is read once."""
        if self._data is None:
            path = self.root / FILE
            whole = read_mat(path, ["DREAMER"], whole=True)["DREAMER"]
            rate = float(np.squeeze(_of(whole, "EEG_SamplingRate", f"{path}: DREAMER")))
            names = [str(one).strip() for one in np.ravel(_of(whole, "EEG_Electrodes", f"{path}: DREAMER"))]
            if rate != self.sfreq or names != _EEG:
                raise UserError(f"{path}: {rate:g} Hz and electrodes {', '.join(names)}, not those of the data set")
            people = _of(whole, "Data", f"{path}: DREAMER")
            self._data = [people] if isinstance(people, Mapping) else list(people)
        return self._data


def _of(structure: Any, name: str, where: str) -> Any:
    if not isinstance(structure, Mapping) or name not in structure:
        raise UserError(f"{where}: no field '{name}'")
    return structure[name]
