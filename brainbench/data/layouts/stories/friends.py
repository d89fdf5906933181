"""`friends`: episodes of Friends as the Algonauts challenge of 2025 packs CNeuroMod's recordings of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.layouts.matrices import as_float
from brainbench.data.layouts.stories.base import Scan, Stories, Story
from brainbench.data.tables import read_table, read_text
from brainbench.recipes.data.stories import FriendsSettings

PARCELS = 1000
KEY = re.compile(r"ses-(\d+)_task-(s\d{2}e\d{2}[a-z])")
"""Name of a recording in the file: its session, and season, episode and part of it."""
RESPONSES = "{subject}_task-friends_space-MNI152NLin2009cAsym_atlas-Schaefer18_parcel-1000Par7Net_desc-s123456_bold.h5"


class Friends(Stories):
    """Four participants watch seasons 1 to 6; targets are the means of 1,000 parcels (Schaefer et al. 2018).

    What they hear are the words of the transcripts, whose rows are pieces of 1.49 s. Responses to season 7 were
    withheld. Parcels mean the same in everybody, but not everybody has every episode.
    """

    name = "friends"
    settings: FriendsSettings
    t_r = 1.49
    space = "roi"
    called = "parcels"
    expected = f"fmri/sub-01/func/{RESPONSES.format(subject='sub-01')} and stimuli/transcripts/friends/"

    @classmethod
    def open(cls, settings: FriendsSettings, root: Path | None, context: Context) -> Friends:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return any(path.glob("fmri/sub-*/func/*_task-friends_*_bold.h5"))

    def _path(self, subject: str) -> Path:
        return self.root / "fmri" / subject / "func" / RESPONSES.format(subject=subject)

    def _people(self) -> list[str]:
        found = sorted(path.name for path in (self.root / "fmri").glob("sub-*"))
        return [name for name in found if self._path(name).is_file()]

    def _scans_of(self, subject: str) -> list[Scan]:
        import h5py

        path = self._path(subject)
        try:
            with h5py.File(path, "r") as file:
                names = list(file)
        except OSError as error:
            raise UserError(f"{path}: not a readable HDF5 file, or cut short ({error})") from None
        found: dict[str, Scan] = {}
        for name in names:
            match = KEY.fullmatch(name)
            if match is None:
                raise UserError(f"{path}: '{name}' is no name of a recording; ses-001_task-s01e01a was expected")
            if match[2] in found:
                raise UserError(f"{path}: two recordings of {match[2]}: {found[match[2]].where} and {name}")
            if self.settings.seasons == "all" or int(match[2][1:3]) in self.settings.seasons:
                found[match[2]] = Scan(match[2], (path,), where=name)
        return [found[story] for story in sorted(found)]

    def _values(self, subject: str, scan: Scan) -> np.ndarray:
        import h5py

        path = scan.files[0]
        try:
            with h5py.File(path, "r") as file:
                values = as_float(np.asarray(file[scan.where]), path)
        except OSError as error:
            raise UserError(f"{path}: '{scan.where}' is damaged, or cut short ({error})") from None
        if values.ndim != 2 or values.shape[1] != PARCELS:
            raise UserError(f"{path}: '{scan.where}' is {values.shape}; (samples, {PARCELS} parcels) was expected")
        return values

    def _said_of(self, subject: str) -> list[str]:
        missing = sorted(set(self._stories) - {scan.story for scan in self._scans[subject]})
        return [f"{subject} has no recording of {', '.join(missing)}"] if missing else []

    def _story_of(self, name: str) -> Story:
        path = self.root / "stimuli" / "transcripts" / "friends" / f"s{int(name[1:3])}" / f"friends_{name}.tsv"
        table = read_table(path)
        table.require("words_per_tr", "onsets_per_tr", "durations_per_tr")
        timed: list[tuple[str, float, float]] = []
        without = 0
        cells = [_lists(table.texts(f"{one}_per_tr", required=False)) for one in ("words", "onsets", "durations")]
        rows = zip(table.lines, *cells, strict=True)
        for line, words, onsets, durations in rows:
            if (
                words is None
                or onsets is None
                or durations is None
                or len({len(words), len(onsets), len(durations)}) > 1
            ):
                table.problems.add("words, onsets and durations must be lists of equal length", line)
                continue
            for word, onset, duration in zip(words, onsets, durations, strict=True):
                known = isinstance(onset, (int, float)) and isinstance(duration, (int, float)) and onset == onset
                if known and isinstance(word, str) and word.strip():
                    timed.append((word.strip(), float(onset), float(onset) + float(duration)))
                else:
                    without += 1
        table.finish()
        left = {"they have no time": without} if without else {}
        # A row a volume, and rows without any text are rows too, which tables leave out.
        n_rows = len(read_text(path).rstrip("\n").split("\n")) - 1
        return Story.of(name, timed, path, length_s=n_rows * self.t_r, left_out=left)


_NAN = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\bnan\b""")
"""What is not there, which Python does not read; and texts, in which `nan` is a word."""


def _lists(cells: list[str]) -> list[list[Any] | None]:
    """Return the lists that cells of a transcript hold; None where one is no list."""
    found: list[list[Any] | None] = []
    for cell in cells:
        try:
            value = ast.literal_eval(_NAN.sub(lambda one: "None" if one[0] == "nan" else one[0], cell)) if cell else []
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
        found.append(list(value) if isinstance(value, (list, tuple)) else None)
    return found
