"""Where the betas of a BIDS subject lie: voxels of a mask, vertices of two hemispheres, or grayordinates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.data.base import TargetMasker
from brainbench.data.cifti import DENSE, LABELS, Cifti, CiftiMasker, is_cifti, layout_of, read_cifti, read_cifti_rois
from brainbench.data.images import (
    EmptyRois,
    atlas_rois,
    check_grid,
    fitted_masker,
    is_image,
    load_image,
    read_atlas,
    read_mask,
    read_volumes,
)
from brainbench.data.layouts.bids.betas import by_target, in_mask, load_glmsingle
from brainbench.data.layouts.bids.files import CIFTI, SURFACES, VOLUMES, BidsRun
from brainbench.data.layouts.matrices import absent_columns
from brainbench.data.surfaces import HEMISPHERES, Surface, SurfaceMasker, read_surface, read_surface_rois
from brainbench.recipes.datasets import BidsSettings


class Place(ABC):
    """The targets of one subject, as its preprocessed images have them.

    Attributes
    ----------
    called : str
        What a target is: ``"voxels of the mask"``.
    space : str
        See `brainbench.data.base.Responses`.
    masker : TargetMasker
        Of all targets.
    note : str
        What the report says of the place; may be empty.
    """

    called: str
    space: str
    masker: TargetMasker
    note: str = ""

    @abstractmethod
    def key(self) -> str:
        """Return a digest of what the targets are, for the key of betas."""

    @abstractmethod
    def series(self, run: BidsRun) -> np.ndarray:
        """Return the volumes of a run, ``(n_volumes, n_targets)`` float32; a target not measured in it is NaN."""

    @abstractmethod
    def betas(self, files: Sequence[Path]) -> np.ndarray:
        """Return betas that lie in a file, or in one per hemisphere, ``(n_betas, n_targets)`` float32."""

    @abstractmethod
    def rois(self, files: Sequence[Path], empty: EmptyRois) -> tuple[dict[str, np.ndarray], list[str]]:
        """Return the targets of every region of an atlas, and notes."""

    def structures(self) -> dict[str, np.ndarray]:
        """Return the ROIs of a subject without an atlas."""
        return {}


class VoxelPlace(Place):
    """Voxels that lie in every one of some masks.

    Parameters
    ----------
    subject : str
    masks : sequence of Path
    smoothing_fwhm_mm : float or None
        Of the volumes, before the GLM.
    """

    called = "voxels of the mask"
    space = "volume"

    def __init__(self, subject: str, masks: Sequence[Path], smoothing_fwhm_mm: float | None) -> None:
        import nibabel

        self.path = masks[0]
        first = read_mask(self.path)
        inside = np.asarray(first.dataobj) > 0
        for path in masks[1:]:
            mask = read_mask(path)
            check_grid(mask, path, first, self.path)
            inside &= np.asarray(mask.dataobj) > 0
        if not inside.any():
            raise UserError(f"{subject}: no voxel lies in the masks of all runs")
        self.mask = nibabel.Nifti1Image(inside.astype(np.uint8), first.affine)
        self.masker = fitted_masker(self.mask)
        self._smoothing = smoothing_fwhm_mm

    def key(self) -> str:
        """See `Place.key`."""
        return digest_array(np.asarray(self.mask.dataobj))

    def series(self, run: BidsRun) -> np.ndarray:
        """See `Place.series`."""
        values = read_volumes(run.bold, self.mask, self.path)
        if self._smoothing is None:
            return values
        from nilearn.maskers import NiftiMasker

        masker = NiftiMasker(mask_img=self.mask, smoothing_fwhm=self._smoothing, standardize=None).fit()
        smooth = np.asarray(masker.transform(load_image(run.bold)), dtype=np.float32)
        smooth[:, absent_columns(values)] = np.nan  # a neighbour's signal is not its own
        return smooth

    def betas(self, files: Sequence[Path]) -> np.ndarray:
        """See `Place.betas`."""
        path = _one(files, "glmsingle", (".npy", ".hdf5", ".h5", ".mat", ".nii", ".nii.gz"), self.called)
        if is_image(path):
            return read_volumes(path, self.mask, self.path)
        return in_mask(load_glmsingle(path), np.asarray(self.mask.dataobj) > 0, path)

    def rois(self, files: Sequence[Path], empty: EmptyRois) -> tuple[dict[str, np.ndarray], list[str]]:
        """See `Place.rois`."""
        path = _one(files, "atlas", (".nii", ".nii.gz"), self.called)
        return atlas_rois(read_atlas(path), self.mask, self.path, resample=True, empty=empty)


class SurfacePlace(Place):
    """Vertices of both hemispheres, left first, as the first run has them.

    Parameters
    ----------
    run : BidsRun
    """

    called = "vertices"

    def __init__(self, run: BidsRun) -> None:
        self._first = run.bold
        first = read_surface(_pair(run))
        self._like = Surface(first.values[:1], first.n_left)
        self.masker = SurfaceMasker(self._like.n_left)
        self.space, self.note = self._like.space, self._like.note

    @property
    def _sides(self) -> tuple[int, int]:
        return self._like.n_left, self._like.values.shape[1] - self._like.n_left

    def key(self) -> str:
        """See `Place.key`."""
        return digest(list(self._sides))

    def series(self, run: BidsRun) -> np.ndarray:
        """See `Place.series`."""
        return self._checked(read_surface(_pair(run)), run.bold)

    def _checked(self, surface: Surface, path: Path) -> np.ndarray:
        sides = (surface.n_left, surface.values.shape[1] - surface.n_left)
        if sides != self._sides:
            raise UserError(
                f"{path}: {sides[0]} + {sides[1]} vertices, {self._first.name} has {self._sides[0]} + {self._sides[1]}"
            )
        return surface.values

    def betas(self, files: Sequence[Path]) -> np.ndarray:
        """See `Place.betas`."""
        if len(files) == 2:
            return self._checked(read_surface(dict(zip(HEMISPHERES, files, strict=True))), files[0])
        path = _one(files, "glmsingle", (".npy", ".hdf5", ".h5", ".mat"), self.called)
        return by_target(load_glmsingle(path), sum(self._sides), self.called, path)

    def rois(self, files: Sequence[Path], empty: EmptyRois) -> tuple[dict[str, np.ndarray], list[str]]:
        """See `Place.rois`."""
        if len(files) != 2:
            raise UserError(
                f"dataset.atlas: the images of `dataset.space` lie on a surface, {files[0].name} does not",
                hint='an atlas of surfaces is a pair of label files: "areas_hemi-{hemi}.label.gii"',
            )
        return read_surface_rois(dict(zip(HEMISPHERES, files, strict=True)), self._like, empty)


class GrayordinatePlace(Place):
    """Grayordinates: cortex by hemisphere, then structures of voxels, as the first run has them.

    Parameters
    ----------
    run : BidsRun
    """

    called = "grayordinates"
    space = "cifti"

    def __init__(self, run: BidsRun) -> None:
        self._first = run.bold
        self._like = layout_of(run.bold)
        self.masker = CiftiMasker(self._like.brain)
        self.note = self._like.note

    def key(self) -> str:
        """See `Place.key`."""
        brain = self._like.brain
        places = [digest_array(np.asarray(part)) for part in (brain.name.astype(str), brain.vertex, brain.voxel)]
        return digest([places, {str(name): int(n) for name, n in brain.nvertices.items()}])

    def series(self, run: BidsRun) -> np.ndarray:
        """See `Place.series`."""
        return self._checked(read_cifti(run.bold), run.bold)

    def _checked(self, cifti: Cifti, path: Path) -> np.ndarray:
        if cifti.brain != self._like.brain:
            raise UserError(f"{path}: its grayordinates are not those of {self._first.name}, or not in their order")
        return cifti.values

    def betas(self, files: Sequence[Path]) -> np.ndarray:
        """See `Place.betas`."""
        path = _one(files, "glmsingle", (".npy", ".hdf5", ".h5", ".mat", *DENSE), self.called)
        if is_cifti(path):
            return self._checked(read_cifti(path), path)
        return by_target(load_glmsingle(path), len(self._like.brain), self.called, path)

    def rois(self, files: Sequence[Path], empty: EmptyRois) -> tuple[dict[str, np.ndarray], list[str]]:
        """See `Place.rois`."""
        return read_cifti_rois(_one(files, "atlas", (LABELS,), self.called), self._like, empty)

    def structures(self) -> dict[str, np.ndarray]:
        """See `Place.structures`."""
        return self._like.structures


def place_of(subject: str, runs: Sequence[BidsRun], masks: Sequence[Path], settings: BidsSettings) -> Place:
    """Return where the targets of a subject lie, by the format of its first image.

    Parameters
    ----------
    subject : str
    runs : sequence of BidsRun
    masks : sequence of Path
        Of volumes; empty for others.
    settings : BidsSettings

    Raises
    ------
    UserError
        If runs come in several formats, or a setting is for volumes and they are none.
    """
    first = runs[0].bold
    ending = next(one for one in (SURFACES, CIFTI, VOLUMES) if first.name.endswith(one))
    for run in runs:
        if not run.bold.name.endswith(ending):
            raise UserError(f"{subject}: {first.name} and {run.bold.name}: all runs must come in one format")
    if ending == VOLUMES:
        return VoxelPlace(subject, masks, settings.smoothing_fwhm_mm)
    for setting in ("mask", "smoothing_fwhm_mm"):
        if getattr(settings, setting) is not None:
            raise UserError(
                f"dataset.{setting}: is for volumes; {first.name} of `space: {settings.space}` is none",
                hint="leave it out, or choose the space of a volume",
            )
    return SurfacePlace(runs[0]) if ending == SURFACES else GrayordinatePlace(runs[0])


def _pair(run: BidsRun) -> dict[str, Path]:
    return dict(zip(HEMISPHERES, run.images, strict=True))


def _one(files: Sequence[Path], setting: str, endings: tuple[str, ...], called: str) -> Path:
    """Return the one file that a setting names, which must end in one of some ways."""
    if len(files) != 1 or not files[0].name.endswith(endings) or (is_cifti(files[0]) and ".nii" in endings):
        raise UserError(
            f"dataset.{setting}: {files[0].name} is none of {', '.join(endings)}, in which the {called} of "
            "`dataset.space` may come"
        )
    return files[0]
