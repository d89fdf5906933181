"""The files of one subject of the data set `folder`: responses of every format, and what goes with their targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.account import RunUse
from brainbench.data.base import TargetMasker
from brainbench.data.cifti import Cifti, CiftiMasker, is_cifti, read_cifti, read_cifti_rois
from brainbench.data.images import (
    atlas_rois,
    fitted_masker,
    is_image,
    label_table_of,
    read_atlas,
    read_mask,
    read_volumes,
    volume_interval,
)
from brainbench.data.layouts.matrices import Matrix, absent_columns, flat_columns, name_some, read_matrix
from brainbench.data.surfaces import HEMISPHERES, Surface, SurfaceMasker, read_surface, read_surface_rois
from brainbench.data.tables import read_table
from brainbench.recipes.datasets import FolderSettings

_FILES = ("responses", "design", "mask", "rois", "ceiling", "ncsnr", "nuisance", "background")
"""Settings that name a file of the subject."""


@dataclass(frozen=True)
class Targets:
    """Responses as they were read, before targets are dropped; a column that is NaN throughout was not measured.

    Attributes
    ----------
    values : ndarray or memmap (n_rows, n_targets)
    names : list of str or None
        Header of a table.
    masker : TargetMasker or None
    surface, cifti : optional
        Where the responses lie, for ROIs.
    space : str
    t_r : float or None
        Seconds between rows, where the file says it.
    notes : list of str
    """

    values: np.ndarray
    names: list[str] | None = None
    masker: TargetMasker | None = None
    surface: Surface | None = None
    cifti: Cifti | None = None
    space: str = "none"
    t_r: float | None = None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return int(self.values.shape[1])

    def called(self, target: int) -> str:
        """Return how a message calls a target."""
        return f"{target}" if self.names is None else f"{target} ('{self.names[target]}')"


class SubjectFiles:
    """The files of one subject, by the settings that name them.

    Parameters
    ----------
    settings : FolderSettings
    root : Path
    subject : str
    """

    def __init__(self, settings: FolderSettings, root: Path, subject: str) -> None:
        self.settings = settings
        self.root = root
        self.subject = subject

    def path(self, setting: str, hemi: str = "L") -> Path:
        """Return the file that a setting names; of a pair of hemispheres one."""
        pattern: str = getattr(self.settings, setting)
        return self.root / pattern.replace("{subject}", self.subject).replace("{hemi}", hemi)

    def pair(self, setting: str) -> dict[str, Path]:
        """Return the files of both hemispheres."""
        return {hemi: self.path(setting, hemi) for hemi in HEMISPHERES}

    def all(self) -> list[Path]:
        """Return every file that is read."""
        files: list[Path] = []
        for name in _FILES:
            pattern = getattr(self.settings, name)
            if pattern is not None:
                files += list(self.pair(name).values()) if "{hemi}" in pattern else [self.path(name)]
        rois = self.settings.rois
        if rois is not None and is_image(Path(rois)) and not is_cifti(rois) and self.path("rois").is_file():
            files.append(label_table_of(self.path("rois")))
        return files

    # Targets ---------------------------------------------------------------------------------------------------

    def targets(self) -> Targets:
        """Return the responses.

        Raises
        ------
        UserError
            If they cannot be read, do not fit the mask, or a value is missing in some rows.
        """
        path = self.path("responses")
        if path.name.endswith(".gii"):
            surface = read_surface(self.pair("responses"))
            masker = SurfaceMasker(surface.n_left)
            return Targets(surface.values, masker=masker, surface=surface, space=surface.space, notes=[surface.note])
        if is_cifti(path):
            cifti = read_cifti(path)
            return Targets(
                cifti.values, masker=CiftiMasker(cifti.brain), cifti=cifti, space="cifti", t_r=cifti.t_r,
                notes=[cifti.note],
            )  # fmt: skip
        if self.settings.mask is None:
            matrix = read_matrix(path, responses=True)
            return Targets(matrix.values, matrix.names)
        mask_path = self.path("mask")
        mask = read_mask(mask_path)
        masker = fitted_masker(mask)
        if is_image(path):
            values = read_volumes(path, mask, mask_path)
            return Targets(values, masker=masker, space="volume", t_r=volume_interval(path))
        matrix = read_matrix(path, responses=True)
        n_voxels = int(np.sum(np.asarray(mask.dataobj)))
        if matrix.values.shape[1] != n_voxels:
            raise UserError(f"{path}: {matrix.values.shape[1]} columns, {mask_path} has {n_voxels} voxels")
        return Targets(matrix.values, matrix.names, masker, space="volume")

    def kept(self, targets: Targets) -> tuple[np.ndarray, list[RunUse]]:
        """Return which targets are used, ``(n_targets,)`` bool, and why others are not.

        Targets without any value are always left out; those that never change are refused or left out, as the recipe
        says.
        """
        path = self.path("responses")
        if len(targets.values) < 2:
            raise UserError(f"{path}: {len(targets.values)} row; nothing can be fitted to one row")
        n = len(targets)
        absent = absent_columns(targets.values)
        flat = flat_columns(targets.values) & ~absent
        where = "" if self.settings.mask is None else f" (voxels of the mask {self.path('mask').name})"
        if (absent | flat).all():
            raise UserError(f"{path}: all {n} targets are NaN in every row, or never change{where}")
        if absent.any() and self.settings.aligned_targets:
            raise UserError(
                f"{path}: {absent.sum()} of {n} targets are NaN in every row{where}",
                hint="`aligned_targets: true` needs the same targets in everybody: take these out of all files",
            )
        if flat.any() and self.settings.flat_targets == "refuse":
            which = name_some([targets.called(int(target)) for target in np.flatnonzero(flat)])
            raise UserError(
                f"{path}: {flat.sum()} of {n} targets never change: {which}{where}",
                hint="targets are counted from 0; mask them out, or set `dataset.flat_targets: drop`",
            )
        left = []
        for dropped, why in ((absent, "NaN in every row: not measured or not estimated"), (flat, "never change")):
            if dropped.any():
                which = name_some([targets.called(int(target)) for target in np.flatnonzero(dropped)])
                left.append(
                    RunUse(self.subject, left_out=f"{int(dropped.sum())} of {n} targets", why=f"{why}{where}: {which}")
                )
        return ~(absent | flat), left

    def rois(self, targets: Targets) -> tuple[dict[str, np.ndarray], list[str]]:
        """Return ROIs of all targets that were read; without a file those of a CIFTI file are its structures."""
        if self.settings.rois is None:
            return ({}, []) if targets.cifti is None else (targets.cifti.structures, [])
        path, empty = self.path("rois"), self.settings.empty_rois
        if path.name.endswith(".gii"):
            if targets.surface is None:
                raise UserError(f"dataset.rois: {path} is a surface file, the responses are not")
            return read_surface_rois(self.pair("rois"), targets.surface, empty)
        if is_cifti(path):
            if targets.cifti is None:
                raise UserError(f"dataset.rois: {path} is a CIFTI file, the responses are not")
            return read_cifti_rois(path, targets.cifti, empty)
        if is_image(path):
            if self.settings.mask is None:
                raise UserError(f"dataset.rois: the atlas {path} needs a `mask` that says where each target lies")
            mask_path = self.path("mask")
            return atlas_rois(read_atlas(path), read_mask(mask_path), mask_path, resample=False, empty=empty)
        table = read_table(path)
        table.require("target", "roi")
        where = "the header of the responses" if targets.names else f"0 ... {len(targets) - 1}"
        choices = targets.names or [str(target) for target in range(len(targets))]
        index, names = table.indices("target", choices, where), table.texts("roi")
        table.unique("target", "roi")
        table.finish()
        rois = {name: np.zeros(len(targets), dtype=bool) for name in names}
        for target, name in zip(index, names, strict=True):
            rois[name][target] = True
        return rois, []

    # What goes with targets and rows ---------------------------------------------------------------------------

    def per_target(self, setting: str, targets: Targets, keep: np.ndarray) -> np.ndarray | None:
        """Return a ceiling (Pearson r) or an ncsnr of every target that is kept; None where the recipe names none."""
        if getattr(self.settings, setting) is None:
            return None
        path = self.path(setting)
        values = self._values(setting, path, targets)
        if 1 not in values.shape or values.size != len(targets):
            raise UserError(
                f"{path}: {' x '.join(map(str, values.shape))} values, one for each of {len(targets)} targets is needed"
            )
        values = values.ravel()
        wrong = np.flatnonzero(~((values >= 0) & (values <= (1 if setting == "ceiling" else np.inf))) & keep)
        if len(wrong):
            allowed = "Pearson r lies in 0 ... 1" if setting == "ceiling" else "a ratio of deviations is 0 or more"
            raise UserError(
                f"{path}: target {wrong[0]} has {values[wrong[0]]:g}; {allowed} ({len(wrong)} such targets)"
            )
        kept: np.ndarray = values[keep]
        return kept

    def _values(self, setting: str, path: Path, targets: Targets) -> np.ndarray:
        if path.name.endswith(".gii"):
            values = read_surface(self.pair(setting)).values
        elif is_cifti(path):
            cifti = read_cifti(path)
            if targets.cifti is None or cifti.brain != targets.cifti.brain:
                raise UserError(f"{path}: its grayordinates are not those of the responses, or not in their order")
            values = cifti.values
        elif is_image(path):
            if self.settings.mask is None:
                raise UserError(f"dataset.{setting}: the image {path} needs a `mask` that says where each target lies")
            mask_path = self.path("mask")
            values = read_volumes(path, read_mask(mask_path), mask_path)
        else:
            values = _in_order(read_matrix(path), targets)
        return np.asarray(values, dtype=np.float64)

    def nuisance(self, n_rows: int) -> np.ndarray | None:
        """Return regressors of no interest, ``(n_rows, n_nuisance)``, or None where the recipe names none."""
        if self.settings.nuisance is None:
            return None
        path = self.path("nuisance")
        values = np.asarray(read_matrix(path).values, dtype=np.float64)
        if len(values) != n_rows:
            raise UserError(f"{path}: {len(values)} rows, the responses of {self.subject} have {n_rows}")
        return values


def _in_order(matrix: Matrix, targets: Targets) -> np.ndarray:
    """Return the columns of a table that names targets in the order of the responses; others are taken as they stand.

    Raises
    ------
    UserError
        If it names some of the targets and not all.
    """
    names, wanted = matrix.names or [], targets.names or []
    if not set(names) & set(wanted):
        return np.asarray(matrix.values)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise UserError(f"{matrix.path}: no column '{missing[0]}', a target of the responses: {name_some(names)}")
    return np.asarray(matrix.values)[:, [names.index(name) for name in wanted]]
