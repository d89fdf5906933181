"""Volumes: opening images, masks and atlases, and refusing those that lie on different grids."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from brainbench.core.errors import UserError, did_you_mean
from brainbench.data.base import TargetMasker
from brainbench.data.layouts.matrices import check_finite, name_some
from brainbench.data.tables import Problems, read_table

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

ALL = "all"
"""The ROI that holds every target."""

EmptyRois = Literal["refuse", "drop"]

_OUTSIDE = re.compile(
    r"\?+|0|none|clear.?label|(no.?|un)label(l?ed)?|unknown|unassigned|.*(background|outside|medial.?wall).*",
    re.IGNORECASE,
)
"""What atlases call all that lies in no region."""


class SubsetMasker:
    """A masker that puts back the targets that were dropped, as zeros.

    Parameters
    ----------
    masker : TargetMasker
        A fitted masker of all targets.
    keep : bool ndarray (n_all_targets,)
    """

    def __init__(self, masker: TargetMasker, keep: np.ndarray) -> None:
        self.masker = masker
        self.keep = keep

    def inverse_transform(self, X: np.ndarray) -> Any:
        """Return an image of `X`, ``(n_kept,)`` or ``(n_maps, n_kept)``."""
        full = np.zeros((*X.shape[:-1], len(self.keep)), dtype=X.dtype)
        full[..., self.keep] = X
        return self.masker.inverse_transform(full)


def fill_outside(image: Any, inside: Any, value: float) -> None:
    """Give an image in memory a value wherever another of its kind, volume, surface or grayordinates, is 0."""
    for values, mask in zip(_values_of(image), _values_of(inside), strict=True):
        values[mask == 0] = value


def _values_of(image: Any) -> list[np.ndarray]:
    return [one.data for one in image.darrays] if hasattr(image, "darrays") else [np.asarray(image.dataobj)]


def same_places(one: TargetMasker, other: TargetMasker, n_targets: int) -> bool:
    """Return whether two maskers put each of as many targets into the same place of the same grid or mesh."""
    numbers = np.arange(1, n_targets + 1, dtype=np.float32)
    first, second = one.inverse_transform(numbers), other.inverse_transform(numbers)
    if type(first) is not type(second):
        return False
    pairs = list(zip(_values_of(first), _values_of(second), strict=True))
    if hasattr(first, "darrays"):
        return all(np.array_equal(*pair) for pair in pairs)
    if hasattr(first.header, "get_axis"):
        return bool(first.header.get_axis(1) == second.header.get_axis(1)) and np.array_equal(*pairs[0])
    return not grid_difference(first, second) and np.array_equal(*pairs[0])


def volume_interval(path: Path) -> float | None:
    """Return the seconds between the volumes of an image; None when its header does not say them with a unit."""
    header = open_image(path).header
    zooms, unit = header.get_zooms(), header.get_xyzt_units()[1]
    seconds = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}.get(unit)
    return None if seconds is None or len(zooms) < 4 or zooms[3] <= 0 else float(zooms[3]) * seconds


def is_image(path: Path) -> bool:
    """Return whether a name is that of a NIfTI image."""
    return path.name.endswith((".nii", ".nii.gz"))


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn a damaged or foreign image file into a message that names it.

    Parsers of headers, XML and compressed streams raise errors of every kind where bytes are not what they expect.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise UserError(f"{path}: not a readable image, or cut short ({lines[0][:200]})") from None


def open_image(path: Path) -> Any:
    """Return an image whose values are read when they are asked for.

    Raises
    ------
    UserError
        If there is no such file or it is no image.
    """
    import nibabel

    if not path.is_file():
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"{path}: no such file{did_you_mean(path.name, near)}")
    with readable(path):
        return nibabel.load(path)


def load_image(path: Path) -> Any:
    """Return an image whose values are in memory, so that a damaged file is met here and not by a library later.

    Raises
    ------
    UserError
        If there is no such file or it cannot be read to its end.
    """
    image = open_image(path)
    with readable(path):
        return type(image)(np.asarray(image.dataobj), image.affine, image.header)


def grid_difference(image: Any, reference: Any) -> str:
    """Return how the grid of an image differs from another's; empty when it does not."""
    if image.shape[:3] != reference.shape[:3]:
        return f"its shape is {_by(image.shape[:3])}, not {_by(reference.shape[:3])}"
    apart = np.abs(np.asarray(image.affine) - np.asarray(reference.affine)).max()
    if apart > 1e-2:
        return f"its affine differs by up to {apart:.3g} mm"
    return ""


def check_grid(image: Any, path: Path, reference: Any, reference_path: Path) -> None:
    """Refuse an image that lies on another grid than its reference."""
    difference = grid_difference(image, reference)
    if difference:
        raise UserError(
            f"{path}: does not lie on the grid of {reference_path}: {difference}",
            hint="resample it: nilearn.image.resample_to_img(image, reference, interpolation='nearest')",
        )


def read_mask(path: Path) -> Nifti1Image:
    """Return a mask as an image of 0 and 1; values of 0 and below, and NaN, are outside.

    Raises
    ------
    UserError
        If it is not one volume, infinite, empty, or holds more than one value inside (an atlas, probabilities).
    """
    import nibabel

    image = open_image(path)
    values = _volume(image, path, outside=True)
    inside = np.unique(values[values > 0])
    if len(inside) and np.ptp(inside) <= _rounding(image):
        inside = inside[:1]
    if not len(inside):
        raise UserError(f"{path}: the mask is empty")
    if len(inside) > 1:
        raise UserError(
            f"{path}: a mask has one value inside, this image has {len(inside)} "
            f"({name_some([f'{v:g}' for v in inside])})",
            hint="an atlas belongs to `rois` or `atlas`; threshold a probability map first",
        )
    return nibabel.Nifti1Image((values > 0).astype(np.uint8), image.affine)


def fitted_masker(mask: Nifti1Image) -> Any:
    """Return a nilearn masker that only selects the voxels of a mask."""
    from nilearn.maskers import NiftiMasker

    return NiftiMasker(mask_img=mask, standardize=None).fit()


def read_volumes(path: Path, mask: Nifti1Image, mask_path: Path) -> np.ndarray:
    """Return the voxels of a mask, one row per volume, ``(n_volumes, n_voxels)`` float32.

    A voxel that is NaN in every volume was not estimated and stays NaN.

    Raises
    ------
    UserError
        If the image cannot be read, lies on another grid, or another value inside the mask is not finite.
    """
    from nilearn.masking import apply_mask

    image = open_image(path)
    if len(image.shape) not in (3, 4):
        raise UserError(f"{path}: {len(image.shape)} axes; one volume has 3, one volume per row 4")
    check_grid(image, path, mask, mask_path)
    with readable(path):
        values = np.atleast_2d(np.asarray(apply_mask(image, mask, ensure_finite=False), dtype=np.float32))
    check_finite(values, path, "volume", "voxel of the mask", absent=True)
    return values


@dataclass(frozen=True)
class Atlas:
    """An image of whole-numbered labels and what they are called.

    Attributes
    ----------
    image : Nifti1Image
        Three axes; 0 is outside.
    names : mapping of int to str
        Several labels may share a name: together they make one ROI. Label 0 is the outside, whatever it is called.
    path : Path
    """

    image: Any
    names: Mapping[int, str]
    path: Path


_INHERITS = 5
"""Folders above an image in which BIDS looks: its own, session, subject, derivatives' root, and one to spare."""


def label_table_of(path: Path) -> Path:
    """Return the label table of an atlas image: beside it with its name, .tsv or .csv, or where BIDS inherits from.

    fMRIPrep keeps one table for all segmentations of a kind, ``desc-aparcaseg_dseg.tsv``, at the derivatives' root.

    Raises
    ------
    UserError
        If there is none, or several name as much of what the image is.
    """
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    for suffix in (".tsv", ".csv"):
        if (path.parent / f"{stem}{suffix}").is_file():
            return path.parent / f"{stem}{suffix}"
    own = set(stem.split("_"))
    for folder in list(path.parents)[:_INHERITS] if "dseg" in own else ():
        fitting = [table for table in sorted(folder.glob("*dseg.tsv")) if set(table.stem.split("_")) <= own]
        most = max((len(table.stem.split("_")) for table in fitting), default=0)
        closest = [table for table in fitting if len(table.stem.split("_")) == most]
        if len(closest) > 1:
            raise UserError(
                f"{path}: several label tables may be its own: {', '.join(table.name for table in closest)}",
                hint=f"put the right one beside it as {stem}.tsv",
            )
        if closest:
            return closest[0]
    raise UserError(
        f"{path}: no label table beside it ({stem}.tsv or {stem}.csv)",
        hint="a table with the columns index and name",
    )


def read_label_table(path: Path) -> dict[int, str]:
    """Read a label table (columns ``index`` and ``name``, as BIDS has them)."""
    table = read_table(path)
    table.require("index", "name")
    numbers, names = table.numbers("index", minimum=0), table.texts("name")
    table.unique("index")
    for line, number in zip(table.lines, numbers, strict=True):
        if np.isfinite(number) and number != round(number):
            table.problems.add(f"column 'index': {number:g} is not a whole number", line)
    table.finish()
    return {int(number): name for number, name in zip(numbers, names, strict=True)}


def read_atlas(path: Path) -> Atlas:
    """Read an atlas image and the label table beside it.

    Raises
    ------
    UserError
        If the image has values between labels, more than one volume, or the table is wrong.
    """
    import nibabel

    image = open_image(path)
    if len(image.shape) == 4 and image.shape[3] > 1:
        raise UserError(
            f"{path}: {image.shape[3]} volumes: a probabilistic atlas; one label per voxel is needed",
            hint="take the most likely label of every voxel",
        )
    labels = whole_labels(image, path)
    names = read_label_table(label_table_of(path))
    return Atlas(nibabel.Nifti1Image(labels, image.affine), names, path)


def whole_labels(image: Any, path: Path) -> np.ndarray:
    """Return the labels of an image of one volume, int32; NaN means outside, as 0 does.

    Raises
    ------
    UserError
        If values lie between labels, by more than the rounding of how they are stored.
    """
    values = _volume(image, path, outside=True)
    labels = np.round(values)
    between = values[np.abs(values - labels) > min(_rounding(image), 0.25)]
    if between.size:
        raise UserError(
            f"{path}: {between.size} voxels lie between labels (such as {between.flat[0]:.4g}): probabilities, "
            "or an atlas that was resampled with interpolation"
        )
    return labels.astype(np.int32)


def _rounding(image: Any) -> float:
    """Return by how much stored values may miss whole numbers: that of a float, or half a step of scaled integers."""
    slope = float(getattr(image.dataobj, "slope", 1.0))
    return max(1e-3, abs(slope) * 0.51 if slope not in (0.0, 1.0) else 0.0)


def atlas_rois(
    atlas: Atlas, mask: Nifti1Image, mask_path: Path, *, resample: bool, empty: EmptyRois
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the voxels of a mask that lie in each region of an atlas.

    Parameters
    ----------
    atlas : Atlas
    mask : Nifti1Image
    mask_path : Path
        For messages.
    resample : bool
        Bring the atlas to the mask's grid (nearest neighbour) instead of refusing another grid.
    empty : {"refuse", "drop"}
        What happens to regions without a voxel.

    Returns
    -------
    rois : mapping of str to bool ndarray (n_voxels,)
    notes : list of str

    Raises
    ------
    UserError
        If the atlas lies on another grid and is not to be resampled, or does not say where it lies.
    """
    image, notes = atlas.image, []
    if resample and grid_difference(image, mask):
        from nilearn.image import resample_to_img

        if np.array_equal(image.affine, np.eye(4)):
            raise UserError(
                f"{atlas.path}: its affine is np.eye(4), what an image has that was saved without one, and its grid is "
                f"not that of {mask_path}: nothing says where its labels lie",
                hint="save it with the affine of the image that its labels were drawn on",
            )
        notes.append(f"{atlas.path.name} was resampled from {_size(image)} to {_size(mask)} mm with nearest neighbor")
        image = resample_to_img(image, mask, interpolation="nearest", force_resample=True, copy_header=True)
    else:
        check_grid(image, atlas.path, mask, mask_path)
    labels = np.asarray(image.dataobj).reshape(mask.shape)[np.asarray(mask.dataobj) > 0]
    rois, more = named_labels(labels, atlas.names, atlas.path, empty)
    return rois, notes + more


def named_labels(
    labels: np.ndarray, names: Mapping[int, str], path: Path, empty: EmptyRois
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Turn one label per target into named masks; labels without a name are left out and counted.

    Raises
    ------
    UserError
        If an ROI has no target (``empty="refuse"``), or none has any, or names are counted from 0 and labels from 1.
    """
    labels = np.asarray(labels).astype(np.int64)
    rois: dict[str, np.ndarray] = {}
    first = names.get(0, "")
    notes = outside_note(first, path)
    names = {index: name for index, name in names.items() if index != 0}
    for index, name in names.items():
        rois[name] = rois.get(name, np.zeros(len(labels), dtype=bool)) | (labels == index)
    nameless = np.setdiff1d(np.unique(labels[labels > 0]), list(names))
    if notes and names and nameless.tolist() == [max(names) + 1]:
        raise UserError(
            f"{path}: its table counts from 0 ('{first}'), and label {max(names) + 1} has no name: every region "
            "would have the name of the one after it",
            hint="add 1 to every index of the table",
        )
    if len(nameless):
        notes.append(f"{path.name}: labels {name_some(nameless.tolist())} have no name and are no ROI")
    kept, more = without_empty(rois, path, empty)
    return kept, notes + more


def is_outside(name: str) -> bool:
    """Return whether a label's name is one of all that lies in no region."""
    return _OUTSIDE.fullmatch(name.strip()) is not None


def outside_note(name: str, path: Path) -> list[str]:
    """Say that label 0 is the outside where a table calls it by the name of a region."""
    if not name or is_outside(name):
        return []
    return [f"{path.name}: label 0, '{name}', is taken for what lies outside of all regions, and is no ROI"]


def without_empty(
    rois: Mapping[str, np.ndarray], path: Path, empty: EmptyRois
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Refuse or drop ROIs without a target; at least one must have some."""
    bare = [name for name, mask in rois.items() if not mask.any()]
    if bare and (empty == "refuse" or len(bare) == len(rois)):
        problems = Problems(path)
        for name in bare:
            problems.add(f"ROI '{name}' has no target in the data")
        problems.finish(
            "mask, atlas and data do not overlap"
            if len(bare) == len(rois)
            else "take it out of the table, or set `dataset.empty_rois: drop`"
        )
    notes = [f"{path.name}: ROIs without a target are left out: {name_some(bare)}"] if bare else []
    return {name: mask for name, mask in rois.items() if name not in bare}, notes


def with_all(rois: Mapping[str, np.ndarray], n_targets: int, path: Path) -> dict[str, np.ndarray]:
    """Return the ROIs behind the one that holds every target, whose name no other may have."""
    if ALL in rois:
        raise UserError(f"{path}: '{ALL}' is the name of the ROI of all targets; choose another")
    return {ALL: np.ones(n_targets, dtype=bool), **rois}


def read_background(path: Path) -> Nifti1Image:
    """Return an image to draw maps on, held in memory.

    Raises
    ------
    UserError
        If it is not one volume of finite values.
    """
    import nibabel

    image = open_image(path)
    return nibabel.Nifti1Image(_volume(image, path).astype(np.float32), image.affine)


def _volume(image: Any, path: Path, *, outside: bool = False) -> np.ndarray:
    """Return the values of an image of one volume, three axes; with `outside`, NaN means outside and becomes 0."""
    if (len(image.shape) == 4 and image.shape[3] == 1) or len(image.shape) == 3:
        with readable(path):
            values = np.asarray(image.dataobj).reshape(image.shape[:3])
    else:
        raise UserError(f"{path}: shape {_by(image.shape)}; one volume has three axes")
    if outside and values.dtype.kind == "f":
        values = np.where(np.isnan(values), 0, values)
    if not np.isfinite(values).all():
        place = np.argwhere(~np.isfinite(values))
        raise UserError(f"{path}: {len(place)} voxels are not finite, the first at {_by(place[0])}")
    return values


def _by(shape: Any) -> str:
    return " x ".join(str(int(n)) for n in shape)


def _size(image: Any) -> str:
    from nibabel.affines import voxel_sizes

    return " x ".join(f"{size:.3g}" for size in voxel_sizes(image.affine))
