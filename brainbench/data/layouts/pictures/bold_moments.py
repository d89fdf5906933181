"""`bold-moments`: 1,102 clips of three seconds, ten participants (Lahner et al. 2024, OpenNeuro ds005165)."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.files import by_name
from brainbench.core.pickles import read_pickle
from brainbench.data.base import Context
from brainbench.data.layouts.pictures.base import Measured, Pictures, Shown, as_float32, key_of
from brainbench.data.surfaces import HEMISPHERES, Surface, SurfaceMasker, read_surface_rois
from brainbench.data.vision.clip import ANIMATED, FILMS
from brainbench.recipes.data.pictures import BoldMomentsSettings

COUNTS = {"train": (1000, 3), "test": (102, 10)}
"""Clips, and showings of each."""
FIRST = {"train": 1, "test": 1001}
"""Number of the first clip."""
N_VERTICES = 163842
SIDES = dict(zip(HEMISPHERES, ("left", "right"), strict=True))


class BoldMoments(Pictures):
    """Betas by GLMsingle on fsaverage (version B), as the authors organise them: clips x showings x vertices.

    Which run a showing belongs to is not kept in these files. With an atlas only its vertices are read.
    """

    settings: BoldMomentsSettings
    name = "bold-moments"
    modality = "clip"
    called = "vertices"
    space = "surface"
    expected = (
        "derivatives/versionB/fsaverage/GLM/sub-01/prepared_betas/"
        "sub-01_organized_betas_task-train_hemi-left_normalized.pkl, ..."
    )

    @classmethod
    def open(cls, settings: BoldMomentsSettings, root: Path | None, context: Context) -> BoldMoments:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root, context)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return any(path.glob("derivatives/versionB/fsaverage/GLM/sub-*/prepared_betas"))

    @property
    def _folder(self) -> Path:
        return self.root / "derivatives" / "versionB" / "fsaverage" / "GLM"

    @cached_property
    def subjects(self) -> list[str]:
        """Participants with betas."""
        return sorted(path.parent.name for path in self._folder.glob("sub-*/prepared_betas"))

    def _path(self, subject: str, part: str, side: str) -> Path:
        name = f"{subject}_organized_betas_task-{part}_hemi-{SIDES[side]}_normalized.pkl"
        return self._folder / subject / "prepared_betas" / name

    def _response_files(self, subject: str) -> list[Path]:
        betas = [self._path(subject, part, side) for part in COUNTS for side in HEMISPHERES]
        return [*betas, *self._atlas.values()]

    @property
    def _atlas(self) -> dict[str, Path]:
        pattern = self.settings.atlas
        return {} if pattern is None else {one: self.root / pattern.format(hemi=one) for one in HEMISPHERES}

    # Clips ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _clips(self) -> dict[str, Path]:
        folder = self.root / self.settings.stimuli
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (*FILMS, *ANIMATED))
        numbered = [path for path in found if path.stem.isdecimal()]
        return by_name(numbered, lambda path: f"vid{int(path.stem):04d}", "clip")

    def _file_of(self, name: str) -> Path:
        return self._clips.get(name, self.root / self.settings.stimuli / f"{name.removeprefix('vid')}.mp4")

    # Betas ---------------------------------------------------------------------------------------------------------

    def _organized(self, subject: str, part: str, side: str) -> tuple[np.ndarray, list[str]]:
        """Return betas, clips x showings x vertices, and the names of the clips."""
        path = self._path(subject, part, side)
        found = read_pickle(path, "betas and names of clips")
        if not isinstance(found, (tuple, list)) or len(found) < 2:
            raise UserError(f"{path}: a {type(found).__name__}; betas and names of clips were expected")
        betas, listed = np.asarray(found[0]), [str(one) for one in found[1]]
        n_vertices = N_VERTICES if not self.simulated else betas.shape[-1]
        clips, showings = COUNTS[part] if not self.simulated else betas.shape[:2]
        if betas.dtype.kind != "f" or betas.shape != (clips, showings, n_vertices) or len(listed) != clips:
            raise UserError(
                f"{path}: {betas.dtype} of shape {betas.shape} with {len(listed)} names; {clips} clips x {showings} "
                f"showings x {n_vertices} vertices was expected"
            )
        names = []
        for one in listed:
            number = re.search(r"\d{4}", one)
            if number is None or (int(number[0]) >= FIRST["test"]) != (part == "test"):
                raise UserError(
                    f"{path}: '{one}' is no clip of the {part} set; vid{FIRST[part]:04d}, ... were expected"
                )
            names.append(f"vid{number[0]}")
        return betas, names

    def _shown_to(self, subject: str) -> Shown:
        names: list[str] = []
        test: list[bool] = []
        for part in COUNTS:
            betas, listed = self._organized(subject, part, "L")
            if len(set(listed)) < len(listed):
                raise UserError(f"{self._path(subject, part, 'L')}: a clip is listed twice")
            names += [name for name in listed for _ in range(betas.shape[1])]
            test += [part == "test"] * (betas.shape[0] * betas.shape[1])
        held = np.array(test)
        return Shown(names, held, np.where(held, "test", "train"), np.where(held, "test", "train"))

    def _measured(self, subject: str, shown: Shown) -> Measured:
        sides = {side: self._side(subject, side, shown) for side in HEMISPHERES}
        n_left, n_right = (sides[side].shape[1] for side in HEMISPHERES)
        rois: dict[str, np.ndarray] = {}
        chosen = np.arange(n_left + n_right)
        if self._atlas:
            shape = Surface(np.zeros((1, n_left + n_right), dtype=np.float32), n_left)
            rois, _ = read_surface_rois(self._atlas, shape, "drop")
            chosen = np.flatnonzero(np.any(list(rois.values()), axis=0))
        left, right = chosen[chosen < n_left], chosen[chosen >= n_left] - n_left
        data = np.concatenate([sides["L"][:, left], sides["R"][:, right]], axis=1)
        whole = len(chosen) == n_left + n_right
        return Measured(
            data,
            {name: mask[chosen] for name, mask in rois.items()},
            masker=SurfaceMasker(n_left) if whole else None,
            notes=[f"{len(chosen)} of {n_left} + {n_right} vertices of fsaverage"],
        )

    def _side(self, subject: str, side: str, shown: Shown) -> np.ndarray:
        """Return the betas of a hemisphere, a row a showing; float32 copies are kept in the cache."""
        parts = []
        for part in COUNTS:
            path = self._path(subject, part, side)

            def compute(part: str = part) -> dict[str, np.ndarray]:
                betas, names = self._organized(subject, part, side)
                return {
                    "betas": as_float32(betas.reshape(-1, betas.shape[2])), "names": np.array(names, dtype="S")
                }  # fmt: skip

            kept = self._kept("betas", {"part": part, "order": key_of(shown.test)}, path, compute)
            parts.append((kept["betas"], [one.decode() for one in kept["names"]]))
        listed = [name for betas, names in parts for name in np.repeat(names, len(betas) // len(names))]
        if listed != shown.names:
            raise UserError(
                f"{self._path(subject, 'train', side)}: clips are not in the order of the left hemisphere's file"
            )
        return np.concatenate([betas for betas, _ in parts])
