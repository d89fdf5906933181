"""`narratives`: 27 stories that 345 people heard (Nastase et al. 2021, OpenNeuro ds002345), on the surface."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.files import read_json
from brainbench.data.base import Context, TargetMasker
from brainbench.data.layouts.stories.base import Scan, Stories, Story, part_of_json
from brainbench.data.surfaces import HEMISPHERES, Surface, SurfaceMasker, read_surface, read_surface_rois
from brainbench.recipes.data.stories import NarrativesSettings

VERSIONS = ("milkyway",)
"""Tasks of which groups heard different words; the words of a group lie in a folder of task and condition."""


class Narratives(Stories):
    """Targets are the vertices of fsaverage6, cleaned of confounds by the authors (AFNI).

    A recording begins before its story: ``event_meta.json`` says with which volume the story begins and how many it
    lasts. Recordings that the authors exclude (``scan_exclude.json``) are left out; of several of one story the first.
    """

    name = "narratives"
    settings: NarrativesSettings
    t_r = 1.5
    space = "surface"
    called = "vertices"
    expected = (
        "derivatives/afni-nosmooth/sub-001/func/*_space-fsaverage6_hemi-L_desc-clean.func.gii, stimuli/gentle/, code/"
    )

    @classmethod
    def open(cls, settings: NarrativesSettings, root: Path | None, context: Context) -> Narratives:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return (path / "stimuli" / "gentle").is_dir() and any(path.glob("derivatives/afni-*"))

    @property
    def _folder(self) -> Path:
        return self.root / "derivatives" / self.settings.preprocessing

    def _people(self) -> list[str]:
        return sorted(path.name for path in self._folder.glob("sub-*"))

    def _json(self, name: str) -> Any:
        path = self.root / "code" / name
        if not path.is_file():
            raise UserError(f"{path}: no such file", hint="the authors' code/ folder comes with the data set")
        try:
            return read_json(path)
        except ValueError as error:
            raise UserError(f"{path}: not JSON ({error})") from None

    @cached_property
    def _events(self) -> Any:
        return self._json("event_meta.json")

    @cached_property
    def _tasks(self) -> Any:
        return self._json("task_meta.json")

    @cached_property
    def _excluded(self) -> list[str]:
        """Return the names of recordings that are left out, without what their files end with."""
        if not self.settings.exclude:
            return list(self.settings.leave_out)
        path = self.root / "code" / "scan_exclude.json"
        try:
            listed = [one for task in self._json(path.name).values() for some in task.values() for one in some]
        except (AttributeError, TypeError):
            raise UserError(f"{path}: {{task: {{subject: [recording, ...]}}}} was expected") from None
        return [*map(str, listed), *self.settings.leave_out]

    def _scans_of(self, subject: str) -> list[Scan]:
        found: dict[str, Scan] = {}
        for left in sorted((self._folder / subject / "func").glob(f"{subject}_task-*_hemi-L_desc-clean.func.gii")):
            stem = left.name.partition("_space-")[0]
            task = stem.partition("_task-")[2].partition("_run-")[0]
            story = self._version(subject, task)
            why = ""
            if any(stem == one or stem.startswith(f"{one}_") for one in self._excluded):
                why = "the authors exclude it, or `dataset.leave_out` does (`dataset.exclude`)"
            elif task not in self._events or not self._words_path(story).is_file():
                why = "event_meta.json or stimuli/gentle/ lacks its story"
            elif story in found:
                why = f"{subject} heard '{story}' more than once"
            if why:
                self._refused[stem] = f"{stem} is left out: {why}"
                continue
            onset, last = self._span(task)
            right = left.with_name(left.name.replace("_hemi-L_", "_hemi-R_"))
            found[story] = Scan(story, (left, right), 0.0, slice(onset, last))
        return list(found.values())

    def _version(self, subject: str, task: str) -> str:
        """Return the story that a participant heard in a task: of some, groups heard different versions."""
        if task not in VERSIONS:
            return task
        path = self.root / "code" / "task_meta.json"
        return f"{task}{part_of_json(self._tasks, path, task, subject, 'condition')}"

    def _span(self, task: str) -> tuple[int, int]:
        """Return the volume with which a story begins, and that after its last; several stories follow each other."""
        path = self.root / "code" / "event_meta.json"
        parts = part_of_json(self._events, path, task).values()
        try:
            begins = [int(part["onset"]) for part in parts]
            ends = [int(part["onset"]) + int(part["duration"]) for part in parts]
        except (TypeError, KeyError, ValueError) as error:
            raise UserError(f"{path}: '{task}' has no onset and duration in volumes ({error})") from None
        return min(begins), max(ends)

    def _words_path(self, story: str) -> Path:
        return self.root / "stimuli" / "gentle" / story / "align.json"

    def _story_files(self, name: str) -> list[Path]:
        used = ["event_meta.json", *(["scan_exclude.json"] if self.settings.exclude else [])]
        used += ["task_meta.json"] if name.startswith(VERSIONS) else []
        return [self._words_path(name), *(self.root / "code" / one for one in used)]

    def files(self) -> list[Path]:
        """Return the recordings, the words, and an atlas."""
        return sorted({*super().files(), *self._atlas.values()})

    def _story_of(self, name: str) -> Story:
        path = self._words_path(name)
        try:
            listed = part_of_json(read_json(path), path, "words")
            timed = [
                (str(one["word"]), float(one["start"]), float(one["end"]))
                for one in listed
                if one.get("case") == "success"
            ]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path}: not an alignment by gentle ({type(error).__name__}: {error})") from None
        unheard = len(listed) - len(timed)
        left = {"they were not found in the sound, and have no time": unheard} if unheard else {}
        task = next((one for one in VERSIONS if name.startswith(one)), name)
        onset, last = self._span(task)
        return Story.of(name, timed, path, length_s=(last - onset) * self.t_r, left_out=left)

    # Vertices ------------------------------------------------------------------------------------------------------

    def _values(self, subject: str, scan: Scan) -> np.ndarray:
        surface = read_surface(dict(zip(HEMISPHERES, scan.files, strict=True)))
        if len(surface.values) < scan.rows.stop:
            raise UserError(
                f"{scan.files[0]}: {len(surface.values)} volumes; '{scan.story}' lasts from volume "
                f"{scan.rows.start} to {scan.rows.stop - 1}",
                hint="`dataset.leave_out` leaves single recordings out",
            )
        self._n_left = surface.n_left
        return surface.values[scan.rows]

    def _masker(self, subject: str, n_targets: int) -> TargetMasker | None:
        return SurfaceMasker(self._n_left)

    @property
    def _atlas(self) -> dict[str, Path]:
        pattern = self.settings.atlas
        return {} if pattern is None else {one: self.root / pattern.format(hemi=one) for one in HEMISPHERES}

    def _regions(self, subject: str, n_targets: int) -> dict[str, np.ndarray]:
        if not self._atlas:
            return super()._regions(subject, n_targets)
        shape = Surface(np.zeros((1, n_targets), dtype=np.float32), self._n_left)
        return {**super()._regions(subject, n_targets), **read_surface_rois(self._atlas, shape, "drop")[0]}
