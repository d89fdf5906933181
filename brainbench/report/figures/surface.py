"""The surface that turns on the page: fsaverage5 and values per vertex as a script draws them, without a library."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.data.surfaces import FINER, FSAVERAGE5

_STEPS = 32767
"""Coordinates are whole numbers of 16 bits, of this part of the largest."""


@dataclass(frozen=True)
class Painted:
    """Values of one choice of the page's list: scores, or which of several layers is best.

    Attributes
    ----------
    title : str
    values : ndarray (n_vertices,)
        Both hemispheres, left first; NaN or 0 where there is none.
    layers : sequence of str
        Names of the layers that `values` counts from 1; empty where values are scores.
    scores : int
        The choice that holds the scores of such layers' best one.
    """

    title: str
    values: np.ndarray
    layers: Sequence[str] = ()
    scores: int = 0


def hemispheres(image: Path) -> np.ndarray | None:
    """Return the first map of a GIFTI file of both hemispheres, at the vertices of fsaverage5.

    None where nibabel is not installed, the file is gone, or its mesh does not begin with these vertices.
    """
    try:
        import nibabel
    except ImportError:
        return None
    if not image.is_file():
        return None
    gifti: Any = nibabel.load(image)
    if not hasattr(gifti, "darrays"):
        return None
    sides = [np.asarray(array.data, dtype=float).ravel() for array in gifti.darrays[:2]]
    if len(sides) != 2 or len(sides[0]) != len(sides[1]) or len(sides[0]) not in (FSAVERAGE5, *FINER):
        return None
    return np.concatenate([side[:FSAVERAGE5] for side in sides])


def best_layers(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the number, from 1, of the best layer of every vertex; 0 where none lies above the threshold.

    Parameters
    ----------
    scores : ndarray (n_layers, n_vertices)
        More being better.
    threshold : float
    """
    known = np.where(np.isfinite(scores), scores, -np.inf)
    return np.where(known.max(axis=0) > threshold, known.argmax(axis=0) + 1, 0)


def scene(painted: Sequence[Painted], limit: float, threshold: float) -> str | None:
    """Return what ``templates/surface.js`` draws, as JSON for a page; None where nilearn is not installed.

    Parameters
    ----------
    painted : sequence of Painted
    limit, threshold : float
        What the ends of the colours of scores stand for, and what is hidden at first.
    """
    mesh = _mesh()
    if mesh is None:
        return None
    maps = []
    for one in painted:
        known = np.nan_to_num(one.values)
        if one.layers:
            numbers = _packed(known.astype("<u2"))
            maps.append({"title": one.title, "layers": list(one.layers), "scores": one.scores, "values": numbers})
        else:
            maps.append({"title": one.title, "values": _packed(known.astype("<f4"))})
    found = {
        **mesh, "maps": maps, "limit": limit, "threshold": threshold, "steps": _STEPS, "scores": _colours("RdBu_r"),
        "depths": _colours("viridis"),
    }  # fmt: skip
    # A page ends a script at the first tag of that kind, wherever it stands: names of layers are users'.
    return json.dumps(found, ensure_ascii=True).replace("<", "\\u003c")


@cache
def _mesh() -> dict[str, Any] | None:
    """Return inflated fsaverage5 with the shade of its folds, and its flat map, which has some of its triangles.

    Both hemispheres have the same triangles, but for those at which they are cut to be flattened.
    """
    try:
        import nibabel
        from nilearn import datasets
    except ImportError:
        return None
    files = datasets.fetch_surf_fsaverage("fsaverage5")  # comes with nilearn
    points, shades, flat, kept, triangles = [], [], [], [], None
    for side in ("left", "right"):
        surface: Any = nibabel.load(files[f"infl_{side}"])
        folds: Any = nibabel.load(files[f"sulc_{side}"])
        points.append(np.asarray(surface.darrays[0].data, dtype=float))
        triangles = np.asarray(surface.darrays[1].data)
        shades.append(np.asarray(folds.darrays[0].data) > 0)
        cut: Any = nibabel.load(files[f"flat_{side}"])
        flat.append(np.asarray(cut.darrays[0].data, dtype=float)[:, :2])
        whole = {tuple(corners) for corners in np.sort(cut.darrays[1].data, axis=1).tolist()}
        kept.append(np.array([tuple(corners) in whole for corners in np.sort(triangles, axis=1).tolist()]))
    size, wide = (max(float(np.abs(one).max()) for one in of) for of in (points, flat))
    assert triangles is not None
    return {
        "points": [_packed(np.round(one / size * _STEPS).astype("<i2")) for one in points],
        "triangles": _packed(triangles.astype("<u2")),
        "folds": [_packed(one.astype("u1")) for one in shades],
        "flat": [_packed(np.round(one / wide * _STEPS).astype("<i2")) for one in flat],
        "kept": [_packed(one.astype("u1")) for one in kept],
    }


def _colours(name: str) -> list[list[int]]:
    """Return 64 colours of one of matplotlib's maps, from 0 to 255."""
    from matplotlib import colormaps

    table = colormaps[name](np.linspace(0, 1, 64))[:, :3]
    return [[int(part) for part in row] for row in np.round(255 * table)]


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
