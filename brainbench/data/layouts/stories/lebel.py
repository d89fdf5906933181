"""`lebel2023`: hours of stories in eight people (LeBel et al. 2023, ds003020), as the authors preprocess them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.files import read_json
from brainbench.data.base import Context
from brainbench.data.containers import opened_hdf5
from brainbench.data.layouts.matrices import as_float
from brainbench.data.layouts.stories.base import Scan, Stories, Story, part_of_json
from brainbench.data.textgrid import read_intervals
from brainbench.recipes.data.stories import LebelSettings

WORDS = 1
"""Place of the words' tier among the tiers of a TextGrid; phonemes are tier 0."""
NOT_WORDS = {"", "sentence_start", "sentence_end", "br", "lg", "ls", "ns", "sp"}
"""Marks of breath, laughter, lip smacks, noise and silence among the words."""
LEAD_S = 10.0
"""Seconds of a recording before its story begins."""
DROPPED = 10
"""Volumes that the preprocessed responses lack at either end: their first row is at 10 s of the story."""


class Lebel(Stories):
    """Eight participants hear 27 to 84 stories; targets are the voxels of cortex, z-scored within stories.

    ``respdict.json`` says how many volumes each story's recording had; preprocessed responses lack ten at either end.
    """

    name = "lebel2023"
    t_r = 2.0
    test_stories = ("wheretheressmoke",)
    expected = "derivative/preprocessed_data/UTS01/*.hf5, derivative/TextGrids/*.TextGrid, derivative/respdict.json"

    @classmethod
    def open(cls, settings: LebelSettings, root: Path | None, context: Context) -> Lebel:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return any(path.glob("derivative/preprocessed_data/UTS*/*.hf5"))

    def notes(self) -> list[str]:
        """Say what the test story is."""
        test = f"{self.test_stories[0]} is the mean over its showings, and less noisy than stories heard once"
        return [*super().notes(), *([test] if self.test_stories[0] in self._stories else [])]

    def _people(self) -> list[str]:
        return sorted(path.name for path in (self.root / "derivative" / "preprocessed_data").glob("UTS*"))

    def _scans_of(self, subject: str) -> list[Scan]:
        folder = self.root / "derivative" / "preprocessed_data" / subject
        first = DROPPED * self.t_r - LEAD_S
        return [Scan(path.stem, (path,), first) for path in sorted(folder.glob("*.hf5"))]

    @property
    def _counts_path(self) -> Path:
        return self.root / "derivative" / "respdict.json"

    @cached_property
    def _counts(self) -> dict[str, int]:
        path = self._counts_path
        if not path.is_file():
            raise UserError(f"{path}: no such file; it says how many volumes each story's recording had")
        try:
            return {str(name): int(n) for name, n in read_json(path).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: {{story: number of volumes}} was expected ({error})") from None

    def _story_files(self, name: str) -> list[Path]:
        return [self._story(name).path, self._counts_path]

    def _story_of(self, name: str) -> Story:
        path = self.root / "derivative" / "TextGrids" / f"{name}.TextGrid"
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; the recording of '{name}' has no words",
                hint="leave the story out with `dataset.stories`",
            )
        words = [
            (text, one.start, one.end)
            for one in read_intervals(path, WORDS)
            if (text := one.text.strip()).lower().strip("{}").strip() not in NOT_WORDS
        ]
        recorded = part_of_json(self._counts, self._counts_path, name) * self.t_r - 2 * LEAD_S
        return Story.of(name, words, path, length_s=recorded)

    def _values(self, subject: str, scan: Scan) -> np.ndarray:
        path = scan.files[0]
        with opened_hdf5(path, "data") as found:
            values = as_float(np.asarray(found), path)
        expected = part_of_json(self._counts, self._counts_path, scan.story) - 2 * DROPPED
        if values.ndim != 2 or len(values) != expected:
            raise UserError(
                f"{path}: {values.shape}; ({expected}, voxels) was expected: respdict.json has "
                f"{expected + 2 * DROPPED} volumes of '{scan.story}', of which {DROPPED} are dropped at either end"
            )
        return values
