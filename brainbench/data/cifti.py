"""CIFTI-2 files (``.dtseries.nii``, ``.dscalar.nii``, ``.dlabel.nii``): cortex by hemisphere, then structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.images import EmptyRois, is_outside, named_labels, open_image, readable
from brainbench.data.layouts.matrices import check_finite

DENSE = (".dtseries.nii", ".dscalar.nii")
"""Endings of responses: one map, or one time point, per row."""
LABELS = ".dlabel.nii"
_SECONDS = {"SECOND": 1.0}


@dataclass(frozen=True)
class Cifti:
    """Values per grayordinate.

    Attributes
    ----------
    values : float32 ndarray (n_rows, n_grayordinates)
    brain : nibabel.cifti2.BrainModelAxis
        Which structure, and which vertex or voxel of it, each column is.
    t_r : float or None
        Seconds between rows of a time series.
    """

    values: np.ndarray
    brain: Any
    t_r: float | None

    @property
    def structures(self) -> dict[str, np.ndarray]:
        """Masks of the cortical hemispheres and of every other structure, ``(n_grayordinates,)`` bool."""
        masks = {}
        for name, where, _ in self.brain.iter_structures():
            mask = np.zeros(len(self.brain), dtype=bool)
            mask[where] = True
            masks[structure_name(name)] = mask
        return masks

    @property
    def note(self) -> str:
        """What the report says of the space."""
        parts = ", ".join(f"{name} ({int(mask.sum())})" for name, mask in self.structures.items())
        return f"{len(self.brain)} grayordinates: {parts}"


class CiftiMasker:
    """Turns values per grayordinate into a ``dscalar`` image with one row per map.

    Parameters
    ----------
    brain : nibabel.cifti2.BrainModelAxis
    """

    def __init__(self, brain: Any) -> None:
        self.brain = brain

    def inverse_transform(self, X: np.ndarray) -> Any:
        """Return a `nibabel.Cifti2Image` of `X`, ``(n_grayordinates,)`` or ``(n_maps, n_grayordinates)``."""
        import nibabel

        rows = np.atleast_2d(np.asarray(X, dtype=np.float32))
        maps = nibabel.cifti2.ScalarAxis([f"map {index + 1}" for index in range(len(rows))])
        return nibabel.Cifti2Image(rows, (maps, self.brain))


def is_cifti(path: Path | str) -> bool:
    """Return whether a name is that of a CIFTI file, which ends in ``.nii`` like a volume."""
    return str(path).endswith((*DENSE, LABELS))


def structure_name(name: str) -> str:
    """Return ``left cortex`` of ``CIFTI_STRUCTURE_CORTEX_LEFT``, ``brain stem`` of ``CIFTI_STRUCTURE_BRAIN_STEM``."""
    words = name.removeprefix("CIFTI_STRUCTURE_").lower().split("_")
    if words[-1] in ("left", "right"):
        words = [words[-1], *words[:-1]]
    return " ".join(words)


def read_cifti(path: Path) -> Cifti:
    """Read a dense file, one row per time point or map; a grayordinate that is NaN in every row stays NaN.

    Raises
    ------
    UserError
        If it is no CIFTI file of grayordinates, or another value is not finite.
    """
    image, rows, brain = _open(path)
    with readable(path):
        values = np.asarray(image.dataobj, dtype=np.float32)
    check_finite(values, path, "row", "grayordinate", absent=True)
    t_r = None
    if hasattr(rows, "step") and rows.unit in _SECONDS:
        t_r = float(rows.step) * _SECONDS[rows.unit]
    return Cifti(values, brain, t_r)


def layout_of(path: Path) -> Cifti:
    """Return the grayordinates of a dense file without a row of it."""
    _, _, brain = _open(path)
    return Cifti(np.empty((0, len(brain)), dtype=np.float32), brain, None)


def series_of(path: Path) -> tuple[int, float | None]:
    """Return the number of rows of a ``dtseries`` file and the seconds between them.

    Raises
    ------
    UserError
        If it is no series, or one of something else than time.
    """
    _, rows, _ = _open(path)
    if not hasattr(rows, "step"):
        raise UserError(f"{path}: its rows are no time series")
    if rows.unit not in _SECONDS:
        raise UserError(f"{path}: its series counts in {str(rows.unit).lower()}, not in seconds")
    return len(rows), float(rows.step) * _SECONDS[rows.unit] or None


def read_cifti_rois(path: Path, cifti: Cifti, empty: EmptyRois) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the grayordinates of every label of a ``dlabel`` file, matched by structure and vertex or voxel.

    Parameters
    ----------
    path : Path
        One map of labels; its grayordinates may be others than those of the responses, such as with a medial wall.
    cifti : Cifti
        The responses.
    empty : {"refuse", "drop"}

    Raises
    ------
    UserError
        If the file has several maps, another mesh, or no grayordinate of the responses.
    """
    image, maps, brain = _open(path)
    if not hasattr(maps, "label") or len(maps) != 1:
        raise UserError(f"{path}: {len(maps)} maps; ROIs are read from one map of labels (.dlabel.nii)")
    meshes = dict(brain.nvertices)
    for name, n_vertices in cifti.brain.nvertices.items():
        if meshes.get(name, n_vertices) != n_vertices:
            raise UserError(
                f"{path}: {structure_name(name)} has {meshes[name]} vertices, the responses have {n_vertices}: "
                "another mesh",
                hint="resample one to the other with wb_command",
            )
    if not _same_volume(brain, cifti.brain):
        raise UserError(f"{path}: its voxels lie on another grid than those of the responses")
    with readable(path):
        keys = np.asarray(image.dataobj)[0].astype(np.int64)
    known = dict(zip(_places(brain), keys.tolist(), strict=True))
    labels = np.array([known.get(place, 0) for place in _places(cifti.brain)], dtype=np.int64)
    names = {int(key): str(name) for key, (name, _) in maps.label[0].items() if key == 0 or not is_outside(name)}
    return named_labels(labels, names, path, empty)


def _open(path: Path) -> tuple[Any, Any, Any]:
    """Return a CIFTI image with the axis of its rows and that of its grayordinates."""
    import nibabel

    image = open_image(path)
    if not isinstance(image, nibabel.Cifti2Image):
        raise UserError(f"{path}: is named like a CIFTI file and is none")
    axes: Sequence[Any] = [image.header.get_axis(index) for index in range(image.ndim)]
    if len(axes) != 2 or not isinstance(axes[1], nibabel.cifti2.BrainModelAxis):
        kinds = " x ".join(type(axis).__name__.removesuffix("Axis") for axis in axes)
        raise UserError(
            f"{path}: a CIFTI file of {kinds}; rows x grayordinates are needed (.dtseries.nii, .dscalar.nii)",
            hint="parcellated files (.ptseries.nii) are read as a table: save their values as .npy or .csv",
        )
    return image, axes[0], axes[1]


def _same_volume(one: Any, other: Any) -> bool:
    """Return whether voxels of two brain models share a grid, where both have some."""
    if one.affine is None or other.affine is None:
        return True
    return one.volume_shape == other.volume_shape and bool(np.allclose(one.affine, other.affine, atol=1e-2))


def _places(brain: Any) -> list[tuple[Any, ...]]:
    """Return structure and vertex, or voxel, of every grayordinate."""
    surface = np.asarray(brain.surface_mask)
    return [
        (str(name), int(vertex)) if on_surface else (str(name), *map(int, voxel))
        for name, vertex, voxel, on_surface in zip(brain.name, brain.vertex, brain.voxel, surface, strict=True)
    ]
