"""Responses that lie in images: volumes with a mask, pairs of surfaces, and CIFTI files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from brainbench.commands.proposing.inventory import Inventory
from brainbench.core.errors import UserError
from brainbench.data.cifti import is_cifti
from brainbench.data.images import open_image

_SIDE = re.compile(r"(?<![A-Za-z0-9])L(?![A-Za-z0-9])")
"""The left hemisphere in a name: ``L.func.gii``, ``sub-01_hemi-L_betas.func.gii``."""
_SURFACE, _LABELS = ".func.gii", ".label.gii"


def images_in(found: Inventory) -> tuple[dict[str, int], dict[str, str]] | None:
    """Return the images of responses (``{hemi}`` for the side) with their rows, and the settings of files beside them.

    Surfaces come before CIFTI files, and these before volumes. None where there are none.
    """
    surfaces = _pairs(found, _SURFACE)
    if surfaces:
        rows = {name: _rows(found.root / name.replace("{hemi}", "L")) for name in surfaces}
        labels = _pairs(found, _LABELS)
        return rows, {"rois": labels[0]} if labels else {}
    dense = [path for path in found.of("volume") if is_cifti(path)]
    series = [path for path in dense if not path.name.endswith(".dlabel.nii")]
    if series:
        labels = [found.short(path) for path in dense if path not in series]
        return _with_rows(found, series, {"rois": labels[0]} if labels else {})
    volumes = {path: _shape(path) for path in found.of("volume")}
    series = [path for path, shape in volumes.items() if len(shape) == 4 and shape[3] > 1]
    if not series:
        return None
    beside: dict[str, str] = {}
    grid = volumes[series[0]][:3]
    for path, shape in volumes.items():
        if shape == grid and re.search(r"mask", path.name, re.IGNORECASE):
            beside.setdefault("mask", found.short(path))
        elif shape == grid and _table_of(path) is not None:
            beside.setdefault("rois", found.short(path))
    return _with_rows(found, series, beside)


def _with_rows(found: Inventory, files: list[Path], beside: dict[str, str]) -> tuple[dict[str, int], dict[str, str]]:
    names = [found.short(path) for path in files]
    return {name: _rows(found.root / name) for name in names}, beside


def _pairs(found: Inventory, ending: str) -> list[str]:
    """Return files that are there for both hemispheres, with ``{hemi}`` for the side."""
    names = {found.short(path) for path in found.of("surface") if path.name.endswith(ending)}
    pairs = []
    for name in names:
        folder, _, file = name.rpartition("/")
        both = f"{folder}/{_SIDE.sub('{hemi}', file)}" if folder else _SIDE.sub("{hemi}", file)
        if both != name and both.replace("{hemi}", "R") in names:
            pairs.append(both)
    return sorted(pairs)


def _image(path: Path) -> Any:
    try:
        return open_image(path)
    except UserError:  # the loader says what is wrong with it
        return None


def _shape(path: Path) -> tuple[int, ...]:
    image = _image(path)
    return () if image is None else tuple(image.shape)


def _rows(path: Path) -> int:
    """Return the number of rows of an image: its last axis, the first of CIFTI, or the arrays of GIFTI."""
    image = _image(path)
    if image is None:
        return 0
    if hasattr(image, "darrays"):
        first = image.darrays[0].data
        return int(first.shape[1]) if first.ndim == 2 else len(image.darrays)
    return int(image.shape[0] if is_cifti(path) else image.shape[3])


def _table_of(path: Path) -> Path | None:
    """Return the table of labels beside an atlas."""
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    tables = (path.with_name(stem + ending) for ending in (".tsv", ".csv"))
    return next((table for table in tables if table.is_file()), None)
