"""Cortical surfaces: responses and labels per vertex from a pair of GIFTI files, left then right hemisphere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.images import EmptyRois, is_outside, named_labels, open_image, outside_note, readable
from brainbench.data.layouts.matrices import check_finite

HEMISPHERES = ("L", "R")
FSAVERAGE5 = 10242
"""Vertices of one hemisphere of fsaverage5."""
FINER = (40962, 163842)
"""Vertices of one hemisphere of fsaverage6 and fsaverage, whose first ones are those of fsaverage5."""
_MESHES = {
    642: "fsaverage3",
    2562: "fsaverage4",
    40962: "fsaverage6",
    163842: "fsaverage",
    32492: "fs_LR 32k",
}
_STRUCTURES = {"L": "CortexLeft", "R": "CortexRight"}


@dataclass(frozen=True)
class Surface:
    """Values per vertex of both hemispheres side by side, left first.

    Attributes
    ----------
    values : float32 ndarray (n_rows, n_left + n_right)
    n_left : int
        Vertices of the left hemisphere.
    """

    values: np.ndarray
    n_left: int

    @property
    def space(self) -> str:
        """``fsaverage5`` when both hemispheres have its number of vertices, else ``surface``."""
        return "fsaverage5" if (self.n_left, self.values.shape[1]) == (FSAVERAGE5, 2 * FSAVERAGE5) else "surface"

    @property
    def note(self) -> str:
        """What the report says of the mesh."""
        n_right = self.values.shape[1] - self.n_left
        name = "fsaverage5" if self.space == "fsaverage5" else _MESHES.get(self.n_left, "an unknown mesh")
        drawn = "; maps are written, and not drawn"
        if self.n_left == n_right and self.n_left in (FSAVERAGE5, *FINER):
            drawn = (
                "" if self.n_left == FSAVERAGE5 else "; maps are drawn at the vertices of fsaverage5, its first ones"
            )
        return f"{self.n_left} + {n_right} vertices ({name}{drawn})"


class SurfaceMasker:
    """Turns values per vertex into a GIFTI image with one array per map and hemisphere.

    Parameters
    ----------
    n_left : int
        Vertices of the left hemisphere; the others are right.
    """

    def __init__(self, n_left: int) -> None:
        self.n_left = n_left

    def inverse_transform(self, X: np.ndarray) -> Any:
        """Return a `nibabel.GiftiImage` of `X`, ``(n_vertices,)`` or ``(n_maps, n_vertices)``.

        Arrays follow each other as left, right of the first map, left, right of the second, and each says in
        ``AnatomicalStructurePrimary`` which cortex it covers.
        """
        from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiMetaData

        arrays = []
        for row in np.atleast_2d(np.asarray(X, dtype=np.float32)):
            for hemisphere, part in zip(HEMISPHERES, np.split(row, [self.n_left]), strict=True):
                meta = GiftiMetaData({"AnatomicalStructurePrimary": _STRUCTURES[hemisphere]})
                arrays.append(
                    GiftiDataArray(part, intent="NIFTI_INTENT_NONE", datatype="NIFTI_TYPE_FLOAT32", meta=meta)
                )
        return GiftiImage(darrays=arrays)


def read_surface(files: Mapping[str, Path]) -> Surface:
    """Read a pair of ``func.gii`` files, one array per row; a vertex that is NaN in every row stays NaN.

    Parameters
    ----------
    files : mapping of {"L", "R"} to Path

    Raises
    ------
    UserError
        If a file cannot be read, says that it is the other hemisphere, the hemispheres have different numbers of rows,
        or another value is not finite.
    """
    sides = {}
    for hemisphere, path in files.items():
        arrays = _arrays(path, hemisphere)
        # A file holds one array per row, or all rows in one array of vertices x rows.
        values = arrays[0].T if arrays[0].ndim == 2 else np.stack(arrays)
        if values.ndim != 2 or (arrays[0].ndim == 2 and len(arrays) > 1):
            raise UserError(
                f"{path}: {len(arrays)} arrays of shape {arrays[0].shape}; one value per vertex and row is needed"
            )
        values = values.astype(np.float32)
        check_finite(values, path, "row", "vertex", absent=True)
        sides[hemisphere] = values
    left, right = (sides[hemisphere] for hemisphere in HEMISPHERES)
    if len(left) != len(right):
        raise UserError(f"{files['R']}: {len(right)} rows, {files['L']} has {len(left)}")
    return Surface(np.concatenate([left, right], axis=1), left.shape[1])


def read_surface_rois(
    files: Mapping[str, Path], surface: Surface, empty: EmptyRois
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the vertices of every label of a pair of ``label.gii`` files; equal names on both sides are one ROI.

    Raises
    ------
    UserError
        If a file has several maps, no label table, or another number of vertices than the responses.
    """
    expected = {"L": surface.n_left, "R": surface.values.shape[1] - surface.n_left}
    sides, notes = [], []
    names: dict[int, str] = {}
    for offset, hemisphere in enumerate(HEMISPHERES):
        path = files[hemisphere]
        arrays = _arrays(path, hemisphere)
        if len(arrays) != 1:
            raise UserError(
                f"{path}: {len(arrays)} maps of labels in one file; ROIs are read from one",
                hint=f"`wb_command -label-merge ONE.label.gii -label {path.name} -column 1` writes the first of them",
            )
        keys = np.asarray(arrays[0])
        if keys.ndim != 1 or keys.dtype.kind not in "iu":
            raise UserError(
                f"{path}: not a label file (one whole number per vertex); this is {keys.dtype} {keys.shape}"
            )
        if len(keys) != expected[hemisphere]:
            raise UserError(
                f"{path}: {len(keys)} vertices, the responses of this hemisphere have {expected[hemisphere]}"
            )
        table = {int(k): str(name) for k, name in open_image(path).labeltable.get_labels_as_dict().items()}
        if not table:
            raise UserError(f"{path}: the file has no label table, so its regions have no names")
        notes += outside_note(table.get(0, "") if (keys == 0).any() else "", path)
        # Keys of the two sides are told apart by parity: equal keys may stand for different regions.
        inside = keys > 0
        sides.append(np.where(inside, 2 * keys.astype(np.int64) + offset, 0))
        names |= {2 * k + offset: name for k, name in table.items() if k > 0 and not is_outside(name)}
    labels = np.concatenate(sides)
    labels[~np.isin(labels, list(names))] = 0
    rois, more = named_labels(labels, names, files["L"], empty)
    return rois, notes + more


def _arrays(path: Path, hemisphere: str) -> list[np.ndarray]:
    """Return the arrays of a GIFTI file, which must not say that it covers another structure."""
    import nibabel

    image = open_image(path)
    if not isinstance(image, nibabel.gifti.GiftiImage):
        raise UserError(f"{path}: not a GIFTI file")
    for meta in (image.meta, *(array.meta for array in image.darrays)):
        said = str(meta.get("AnatomicalStructurePrimary", "")).strip()
        if said in _STRUCTURES.values() and said != _STRUCTURES[hemisphere]:
            raise UserError(
                f"{path}: is read as hemisphere {hemisphere}, but says in its own metadata that it is {said} "
                "(AnatomicalStructurePrimary)",
                hint="the files of the two hemispheres were exchanged, or one was copied over the other",
            )
    with readable(path):
        arrays = [np.asarray(array.data) for array in image.darrays]
    if not arrays:
        raise UserError(f"{path}: the file holds no array")
    if len({array.shape for array in arrays}) > 1:
        raise UserError(f"{path}: arrays of different shapes: {sorted({array.shape for array in arrays})}")
    return arrays
