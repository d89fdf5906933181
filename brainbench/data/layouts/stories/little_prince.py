"""`little-prince`: The Little Prince in English, Chinese or French (Li et al. 2022, OpenNeuro ds003643)."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.files import by_name, read_json
from brainbench.data.base import Context, TargetMasker
from brainbench.data.images import atlas_rois, fitted_masker, open_image, read_atlas, read_mask, read_volumes, readable
from brainbench.data.layouts.nsd_files import SYNTHETIC
from brainbench.data.layouts.stories.base import Scan, Stories, Story
from brainbench.data.tables import Problems, Table, read_records
from brainbench.recipes.data.stories import LittlePrinceSettings

VOLUMES = {
    "EN": (282, 298, 340, 303, 265, 343, 325, 292, 368),
    "CN": (283, 322, 322, 307, 293, 392, 364, 293, 401),
    "FR": (309, 326, 354, 315, 293, 378, 332, 294, 336),
}
"""Volumes of each section's preprocessed recording, which begins with the sound (README of the data set)."""
RUN = re.compile(r"_run-(\d+)_")


class LittlePrince(Stories):
    """Participants hear the audiobook in nine sections; targets are voxels of Colin27, denoised by ME-ICA.

    Numbers of runs in the names of files are the scanner's; a participant's runs, in order, are the sections.
    """

    name = "little-prince"
    settings: LittlePrinceSettings
    t_r = 2.0
    space = "volume"
    expected = "derivatives/sub-EN057/func/*_space-MNIColin27_desc-preproc_bold.nii.gz and annotation/EN/"

    def __init__(self, settings: LittlePrinceSettings, root: Path) -> None:
        self.language = settings.language
        copy = root / SYNTHETIC
        self.volumes = _declared(copy) if copy.is_file() else VOLUMES[settings.language]
        super().__init__(settings, root)

    @classmethod
    def open(cls, settings: LittlePrinceSettings, root: Path | None, context: Context) -> LittlePrince:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return any(path.glob("annotation/*/lpp*_word_information.csv"))

    def _people(self) -> list[str]:
        return sorted(path.name for path in (self.root / "derivatives").glob(f"sub-{self.language}*"))

    def _scans_of(self, subject: str) -> list[Scan]:
        pattern = f"{subject}_task-lpp{self.language}_run-*_space-MNIColin27_desc-preproc_bold.nii.gz"
        numbered = {
            path: int(match[1])
            for path in sorted((self.root / "derivatives" / subject / "func").glob(pattern))
            if (match := RUN.search(path.name)) is not None
        }
        found = by_name(numbered, numbered.__getitem__, f"{subject}'s run")
        if len(found) != len(self.volumes):
            self._refused[subject] = (
                f"{subject} is left out: {len(found)} of {len(self.volumes)} runs are there, whose numbers do not say "
                "which sections they are"
            )
            return []
        return [Scan(f"section{k + 1}", (found[number],)) for k, number in enumerate(sorted(found))]

    # Words ---------------------------------------------------------------------------------------------------------

    @property
    def _table_path(self) -> Path:
        return self.root / "annotation" / self.language / f"lpp{self.language}_word_information.csv"

    @cached_property
    def _table(self) -> Table:
        """Return the table of words; its first column has no name, for it counts the rows."""
        records = read_records(self._table_path)
        header = [name or f"column{k}" for k, name in enumerate(records[0][1])]
        problems = Problems(self._table_path)
        for line, cells in records[1:]:
            if len(cells) != len(header):
                problems.add(f"{len(cells)} cells, the header has {len(header)}", line)
        problems.finish()
        table = Table(
            self._table_path, header, [line for line, _ in records[1:]], [c for _, c in records[1:]], problems
        )
        table.require("word", "onset", "offset", "section")
        return table

    @cached_property
    def _sections(self) -> dict[str, list[tuple[str, float, float]]]:
        table = self._table
        onset, offset, section = table.numbers("onset"), table.numbers("offset"), table.numbers("section")
        words = table.texts("word", required=False)
        for line, number in zip(table.lines, section, strict=True):
            if number not in range(1, len(self.volumes) + 1):
                table.problems.add(f"column 'section': {number:g}; 1 ... {len(self.volumes)} were expected", line)
        table.finish()
        found: dict[str, list[tuple[str, float, float]]] = {f"section{k + 1}": [] for k in range(len(self.volumes))}
        for word, start, end, number in zip(words, onset, offset, section, strict=True):
            found[f"section{int(number)}"].append((word, float(start), float(end)))
        return found

    def _story_of(self, name: str) -> Story:
        listed = self._sections[name]
        heard = [one for one in listed if one[0]]
        left = {"their cell of the table is empty": len(listed) - len(heard)} if len(heard) < len(listed) else {}
        length = self.volumes[int(name.removeprefix("section")) - 1] * self.t_r
        return Story.of(name, heard, self._table_path, length_s=length, left_out=left)

    # Voxels --------------------------------------------------------------------------------------------------------

    def files(self) -> list[Path]:
        """Return the recordings, the words, mask and atlas."""
        named = [self.root / one for one in (self.settings.mask, self.settings.atlas) if one is not None]
        named += [self.root / SYNTHETIC] if self.simulated else []
        return sorted({*super().files(), *named})

    @cached_property
    def _mask(self) -> tuple[Any, Path]:
        """Return the mask: the recipe's, or the voxels of the first recording that change."""
        import nibabel

        if self.settings.mask is not None:
            path = self.root / self.settings.mask
            return read_mask(path), path
        path = self._used(self._chosen[0])[0].files[0]
        image = open_image(path)
        with readable(path):
            values = np.asarray(image.dataobj, dtype=np.float32)
        inside = (np.nanstd(values, axis=-1) > 0) if values.ndim == 4 else np.zeros(values.shape[:3], dtype=bool)
        if not inside.any():
            raise UserError(f"{path}: no voxel changes, shape {values.shape}; volumes x time were expected")
        return nibabel.Nifti1Image(inside.astype(np.uint8), image.affine), path

    def _values(self, subject: str, scan: Scan) -> np.ndarray:
        mask, mask_path = self._mask
        values = read_volumes(scan.files[0], mask, mask_path)
        expected = self.volumes[int(scan.story.removeprefix("section")) - 1]
        if len(values) != expected:
            raise UserError(
                f"{scan.files[0]}: {len(values)} volumes, '{scan.story}' of {self.language} has {expected}",
                hint="a participant's runs, in the order of their numbers, are the sections 1 ... 9",
            )
        return values

    def _masker(self, subject: str, n_targets: int) -> TargetMasker | None:
        masker: TargetMasker = fitted_masker(self._mask[0])
        return masker

    def _regions(self, subject: str, n_targets: int) -> dict[str, np.ndarray]:
        if self.settings.atlas is None:
            return super()._regions(subject, n_targets)
        mask, path = self._mask
        found, _ = atlas_rois(read_atlas(self.root / self.settings.atlas), mask, path, resample=True, empty="drop")
        return {**super()._regions(subject, n_targets), **found}


def _declared(copy: Path) -> tuple[int, ...]:
    """Return the volumes of the sections of a made copy."""
    try:
        return tuple(int(n) for n in read_json(copy)["volumes"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{copy}: `volumes` is to list those of every section ({error})") from None
