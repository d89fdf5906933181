"""`folder`: the user's own data, one table of stimuli and per subject a table of rows and their responses."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import DATASETS, Context, Continuous, Dataset, Responses, Stimuli, TargetMasker
from brainbench.data.images import (
    SubsetMasker,
    atlas_rois,
    fitted_masker,
    is_image,
    label_table_of,
    read_atlas,
    read_background,
    read_mask,
    read_volumes,
    with_all,
    without_empty,
)
from brainbench.data.layouts.designs import (
    Clock,
    Design,
    Recording,
    check_coverage,
    common_clock,
    read_recording,
    read_trials,
    regular_recording,
)
from brainbench.data.layouts.matrices import flat_columns, name_some, read_matrix
from brainbench.data.stimulus_files import read_stimuli
from brainbench.data.surfaces import HEMISPHERES, Surface, SurfaceMasker, read_surface, read_surface_rois
from brainbench.data.tables import Problems, read_table
from brainbench.recipes.datasets import FolderSettings


@dataclass(frozen=True)
class _Targets:
    """Responses as they were read, before flat targets are dropped."""

    values: np.ndarray
    names: list[str] | None = None
    masker: TargetMasker | None = None
    surface: Surface | None = None
    space: str = "none"
    notes: list[str] = field(default_factory=list)

    def called(self, target: int) -> str:
        return f"{target}" if self.names is None else f"{target} ('{self.names[target]}')"


@DATASETS.register("folder")
class Folder(Dataset):
    """Responses that the user has, in a folder that the user lays out; see docs/data/folder.md.

    Stimuli, tables of rows and the presence of all files are checked when the folder is opened; the numbers of a
    subject when its responses are asked for. Nothing is mended silently: what does not fit is refused with its row.
    """

    name = "folder"
    expected = "stimuli.csv and one folder per subject"

    def __init__(self, settings: FolderSettings, root: Path) -> None:
        self.settings = settings
        self.root = root
        self.simulated = settings.simulated
        self.aligned_targets = settings.aligned_targets
        self._subjects = self._find_subjects()
        wanted = self._subjects if settings.subjects == "all" else settings.subjects
        self._chosen = [subject for subject in self._subjects if subject in set(wanted)]
        self._check_files()
        self._table = read_stimuli(root / settings.stimuli, settings.modality, continuous=settings.continuous)
        self._trials: dict[str, Design] = {}
        self._recordings: dict[str, Recording] = {}
        self._clock = Clock({})
        if settings.continuous:
            self._read_recordings()
        else:
            self._trials = {one: read_trials(self._path("design", one), self._table) for one in self._chosen}
        if settings.aligned_targets:
            self._check_aligned()
        self._known: dict[str, Responses] = {}

    @classmethod
    def open(cls, settings: FolderSettings, root: Path | None, context: Context) -> Folder:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set: any folder does, unless it has one called `folder` inside."""
        return path.is_dir() and ((path / "stimuli.csv").is_file() or not (path / cls.name / "stimuli.csv").is_file())

    @property
    def subjects(self) -> list[str]:
        """Subjects for which a file of responses or a design was found."""
        return list(self._subjects)

    def files(self) -> list[Path]:
        """Return stimuli, and every file of the subjects asked for."""
        files = list(self._table.files)
        for subject in self._chosen:
            files += self._subject_files(subject)
        return sorted(set(files))

    def notes(self) -> list[str]:
        """Say what is odd about the stimuli."""
        notes = list(self._table.notes)
        if self._trials:
            shown = np.unique(np.concatenate([design.stimulus for design in self._trials.values()]))
            unseen = len(self._table.stimuli) - len(shown)
            if unseen:
                notes.append(f"{unseen} of {len(self._table.stimuli)} stimuli were shown to no one")
        if self._clock.offset:
            notes.append("times are counted from the start of each run; runs follow each other with 60 s of silence")
        return notes

    @cached_property
    def _stimuli(self) -> Stimuli:
        stimuli = self._table.stimuli
        if self._table.run is None or stimuli.onset is None:
            return stimuli
        return replace(stimuli, onset=self._clock.place(self._table.run, stimuli.onset))

    def stimuli(self, subject: str) -> Stimuli:
        """Return the stimuli, the same for everyone."""
        return self._stimuli

    def responses(self, subject: str) -> Responses:
        """Return the responses of a subject, checked against its design."""
        if subject not in self._known:
            self._known[subject] = self._read(subject)
        return self._known[subject]

    # Finding files ---------------------------------------------------------------------------------------------

    def _find_subjects(self) -> list[str]:
        """Return everyone who has responses or a design, in natural order."""
        pattern = self.settings.responses
        if Path(pattern).is_absolute():
            raise UserError(f"dataset.responses: '{pattern}' must be relative to {self.root}")
        found = _matching(self.root, pattern)
        if not found:
            names = sorted(entry.name for entry in self.root.iterdir())
            raise UserError(
                f"{self.root}: no file matches dataset.responses '{pattern}'",
                hint=f"the folder holds: {', '.join(names[:12]) or 'nothing'}",
            )
        design = self.settings.design
        if design is not None and "{subject}" in design and "{subject}" in pattern and not Path(design).is_absolute():
            found |= _matching(self.root, design)
        return sorted(found, key=lambda name: re.sub(r"\d+", lambda number: number.group().zfill(9), name))

    def _path(self, setting: str, subject: str, hemi: str = "L") -> Path:
        pattern: str = getattr(self.settings, setting)
        return self.root / pattern.replace("{subject}", subject).replace("{hemi}", hemi)

    def _pair(self, setting: str, subject: str) -> dict[str, Path]:
        return {hemi: self._path(setting, subject, hemi) for hemi in HEMISPHERES}

    def _subject_files(self, subject: str) -> list[Path]:
        files = []
        for name in ("responses", "design", "mask", "rois", "ceiling", "ncsnr", "nuisance", "background"):
            pattern = getattr(self.settings, name)
            if pattern is not None:
                files += (
                    list(self._pair(name, subject).values()) if "{hemi}" in pattern else [self._path(name, subject)]
                )
        rois = self.settings.rois
        if rois is not None and is_image(Path(rois)) and self._path("rois", subject).is_file():
            files.append(label_table_of(self._path("rois", subject)))
        return files

    def _check_files(self) -> None:
        problems = Problems(self.root)
        for subject in self._chosen:
            for path in self._subject_files(subject):
                if not path.is_file():
                    shown = path.relative_to(self.root) if path.is_relative_to(self.root) else path
                    problems.add(f"{subject}: {shown} is missing")
        problems.finish("leave the subject out with `dataset.subjects`, or change the paths of the recipe")

    # Designs ---------------------------------------------------------------------------------------------------

    def _read_recordings(self) -> None:
        settings = self.settings
        if settings.design is None:
            if self._table.run is not None:
                raise UserError(
                    f"{self._table.path}: has a column 'run', but `dataset.design: null` means one run",
                    hint="give a design with the columns run and time",
                )
            return
        self._recordings = {one: read_recording(self._path("design", one), settings.t_r) for one in self._chosen}
        self._clock = common_clock(self._table, self._recordings)

    def _check_aligned(self) -> None:
        first = next(iter(self._chosen), None)
        for subject in self._chosen[1:]:
            assert first is not None
            for one, other in self._comparable(first, subject):
                if len(one) != len(other):
                    raise UserError(f"dataset.aligned_targets: {subject} has {len(other)} rows, {first} has {len(one)}")
                apart = np.flatnonzero(one != other)
                if len(apart):
                    raise UserError(
                        f"{self._path('design', subject)}: row {apart[0] + 1} differs from that of {first} "
                        f"('{other[apart[0]]}', not '{one[apart[0]]}')",
                        hint="`aligned_targets: true` averages rows over subjects: the tables must be equal",
                    )

    def _comparable(self, first: str, second: str) -> list[tuple[np.ndarray, np.ndarray]]:
        if self._trials:
            ids = np.array(self._table.stimuli.ids)
            a, b = self._trials[first], self._trials[second]
            return [(ids[a.stimulus], ids[b.stimulus]), (a.run, b.run)]
        if self._recordings:
            one, other = self._recordings[first], self._recordings[second]
            return [(one.run, other.run), (one.time, other.time)]
        return []

    def _design(self, subject: str, n_rows: int) -> Design:
        if not self.settings.continuous:
            return self._trials[subject]
        assert self.settings.t_r is not None or subject in self._recordings
        recording = self._recordings.get(subject) or regular_recording(n_rows, self.settings.t_r or 0.0)
        notes = check_coverage(self._table, recording, subject)
        time = self._clock.place(recording.run, recording.time)
        return Design(
            recording.run, continuous=Continuous(time, recording.t_r), labels=recording.labels, path=recording.path,
            notes=notes,
        )  # fmt: skip

    # Responses -------------------------------------------------------------------------------------------------

    def _read(self, subject: str) -> Responses:
        targets = self._read_targets(subject)
        path = self._path("responses", subject)
        n_rows, n_all = targets.values.shape
        design = self._design(subject, n_rows)
        if len(design) != n_rows:
            raise UserError(
                f"{path}: {n_rows} rows of responses, {design.path} has {len(design)} rows below its header"
            )
        notes = [f"{n_rows} rows x {n_all} targets from {path.name}", *targets.notes, *design.notes]
        keep = self._check_flat(targets, path, notes)
        rois, roi_notes = self._rois(subject, targets)
        if not keep.all():
            rois, dropped = without_empty(
                {name: mask[keep] for name, mask in rois.items()}, path, self.settings.empty_rois
            )
            roi_notes += dropped
        masker = targets.masker
        ceiling, ncsnr = (self._checked(name, subject, targets) for name in ("ceiling", "ncsnr"))
        return Responses(
            subject=subject,
            data=targets.values if keep.all() else np.ascontiguousarray(targets.values[:, keep]),
            stimulus=design.stimulus,
            run=design.run,
            rois=with_all(rois, int(keep.sum()), path),
            continuous=design.continuous,
            masker=masker if masker is None or keep.all() else SubsetMasker(masker, keep),
            space=targets.space,
            nuisance=self._nuisance(subject, n_rows),
            labels=design.labels,
            ceiling=None if ceiling is None else ceiling[keep],
            ncsnr=None if ncsnr is None else ncsnr[keep],
            background=None if self.settings.background is None else read_background(self._path("background", subject)),
            notes=notes + roi_notes,
        )

    def _read_targets(self, subject: str) -> _Targets:
        path = self._path("responses", subject)
        if path.name.endswith(".gii"):
            surface = read_surface(self._pair("responses", subject))
            masker = SurfaceMasker(surface.n_left) if surface.space == "fsaverage5" else None
            return _Targets(surface.values, None, masker, surface, surface.space, [surface.note])
        if self.settings.mask is None:
            matrix = read_matrix(path)
            return _Targets(matrix.values, matrix.names)
        mask_path = self._path("mask", subject)
        mask = read_mask(mask_path)
        masker = fitted_masker(mask)
        if is_image(path):
            return _Targets(read_volumes(path, mask, mask_path), None, masker, space="volume")
        matrix = read_matrix(path)
        n_voxels = int(np.sum(np.asarray(mask.dataobj)))
        if matrix.values.shape[1] != n_voxels:
            raise UserError(f"{path}: {matrix.values.shape[1]} columns, {mask_path} has {n_voxels} voxels")
        return _Targets(matrix.values, matrix.names, masker, space="volume")

    def _check_flat(self, targets: _Targets, path: Path, notes: list[str]) -> np.ndarray:
        """Return which targets are kept; flat ones are refused, or dropped and noted."""
        if len(targets.values) < 2:
            raise UserError(f"{path}: {len(targets.values)} row; nothing can be fitted to one row")
        flat = np.flatnonzero(flat_columns(targets.values))
        keep = np.ones(targets.values.shape[1], dtype=bool)
        if not len(flat):
            return keep
        which = name_some([targets.called(int(target)) for target in flat])
        if self.settings.flat_targets == "refuse" or len(flat) == len(keep):
            raise UserError(
                f"{path}: {len(flat)} of {len(keep)} targets never change: {which}",
                hint="targets are counted from 0; mask them out, or set `dataset.flat_targets: drop`",
            )
        notes.append(f"{len(flat)} of {len(keep)} targets never change and were dropped: {which}")
        keep[flat] = False
        return keep

    def _rois(self, subject: str, targets: _Targets) -> tuple[dict[str, np.ndarray], list[str]]:
        """Return ROIs of all targets that were read."""
        if self.settings.rois is None:
            return {}, []
        path, empty = self._path("rois", subject), self.settings.empty_rois
        if path.name.endswith(".gii"):
            if targets.surface is None:
                raise UserError(f"dataset.rois: {path} is a surface file, the responses are not")
            return read_surface_rois(self._pair("rois", subject), targets.surface, empty)
        if is_image(path):
            if self.settings.mask is None:
                raise UserError(f"dataset.rois: the atlas {path} needs a `mask` that says where each target lies")
            mask_path = self._path("mask", subject)
            return atlas_rois(read_atlas(path), read_mask(mask_path), mask_path, resample=False, empty=empty)
        n_targets = targets.values.shape[1]
        table = read_table(path)
        table.require("target", "roi")
        where = "the header of the responses" if targets.names else f"0 ... {n_targets - 1}"
        choices = targets.names or [str(target) for target in range(n_targets)]
        index, names = table.indices("target", choices, where), table.texts("roi")
        table.unique("target", "roi")
        table.finish()
        rois = {name: np.zeros(n_targets, dtype=bool) for name in names}
        for target, name in zip(index, names, strict=True):
            rois[name][target] = True
        return rois, []

    def _checked(self, setting: str, subject: str, targets: _Targets) -> np.ndarray | None:
        """Return a ceiling (Pearson r) or an ncsnr of every target, or None where the recipe names none."""
        if getattr(self.settings, setting) is None:
            return None
        values = self._one_per_target(setting, subject, targets)
        wrong = np.flatnonzero((values < 0) | (values > (1 if setting == "ceiling" else np.inf)))
        if len(wrong):
            allowed = "Pearson r lies in 0 ... 1" if setting == "ceiling" else "a ratio of deviations is 0 or more"
            raise UserError(
                f"{self._path(setting, subject)}: target {wrong[0]} has {values[wrong[0]]:g}; {allowed} "
                f"({len(wrong)} such targets)"
            )
        return values

    def _one_per_target(self, setting: str, subject: str, targets: _Targets) -> np.ndarray:
        path, n_targets = self._path(setting, subject), targets.values.shape[1]
        if path.name.endswith(".gii"):
            values = read_surface(self._pair(setting, subject)).values
        elif is_image(path):
            if self.settings.mask is None:
                raise UserError(f"dataset.{setting}: the image {path} needs a `mask` that says where each target lies")
            mask_path = self._path("mask", subject)
            values = read_volumes(path, read_mask(mask_path), mask_path)
        else:
            values = np.asarray(read_matrix(path).values)
        if 1 not in values.shape or values.size != n_targets:
            raise UserError(
                f"{path}: {' x '.join(map(str, values.shape))} values, one for each of {n_targets} targets is needed"
            )
        return np.asarray(values, dtype=np.float64).ravel()

    def _nuisance(self, subject: str, n_rows: int) -> np.ndarray | None:
        if self.settings.nuisance is None:
            return None
        path = self._path("nuisance", subject)
        values = np.asarray(read_matrix(path).values, dtype=np.float64)
        if len(values) != n_rows:
            raise UserError(f"{path}: {len(values)} rows, the responses of {subject} have {n_rows}")
        return values


def _matching(root: Path, pattern: str) -> set[str]:
    """Return the names that stand for ``{subject}`` in the files that match a pattern."""
    if "{subject}" not in pattern:
        return {"subject"} if (root / pattern.replace("{hemi}", "L")).is_file() else set()
    parts = pattern.replace("{hemi}", "L").split("{subject}")
    expression = re.escape(parts[0]) + "(?P<subject>[^/]+)" + "(?P=subject)".join(re.escape(part) for part in parts[1:])
    found = set()
    for path in root.glob("*".join(glob.escape(part) for part in parts)):
        match = re.fullmatch(expression, path.relative_to(root).as_posix())
        if match and path.is_file():
            found.add(match["subject"])
    return found
