"""Maps of a brain, drawn by nilearn."""

from __future__ import annotations

import warnings
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import MARK_CHARACTERS, SMALL, WARN, WIDTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTILE = 0.95
ANY = 1e-6
"""Threshold that hides targets without a value alone."""


def map_values(image: Path) -> np.ndarray | None:
    """Return the values of a map that are not zero; None where nibabel is not installed, or the file is gone."""
    try:
        import nibabel
    except ImportError:
        return None
    if not image.is_file():
        return None
    volume: Any = nibabel.load(image)
    parts = [array.data for array in volume.darrays[:2]] if hasattr(volume, "darrays") else [volume.dataobj]
    values = np.concatenate([np.asarray(part, dtype=float).ravel() for part in parts])
    return values[np.isfinite(values) & (values != 0)]


def scale_of(values: np.ndarray) -> tuple[float, float]:
    """Return the largest value that colours stand for, and the one below which nothing is drawn.

    Chance is symmetric around zero or lies below it, so that the scores below zero say how far from zero noise reaches:
    what is drawn lies further out than `QUANTILE` of them. That is a help for the eye and no test.

    Parameters
    ----------
    values : ndarray
        Of all maps that are to be compared.
    """
    if not len(values):
        return 1e-3, ANY
    limit, below = float(np.abs(values).max()), -values[values < 0]
    return limit, min(max(ANY, float(np.quantile(below, QUANTILE)) if len(below) else ANY), 0.9 * limit)


def brain_map(
    image: Path, background: Path | None, limit: float, threshold: float, title: str, mark: str = "",
    room: float = WIDTH,
) -> Figure | None:  # fmt: skip
    """Draw a volume map on its background with nilearn; None where nilearn is not installed.

    Parameters
    ----------
    image, background : Path
    limit, threshold : float
        See `scale_of`.
    title, mark : str
    room : float
        Inches across.
    """
    try:
        import nibabel
        from nilearn import plotting
    except ImportError:
        return None
    volume: Any = nibabel.load(image)
    # nilearn reads the brackets of a path as a pattern: it is given images.
    behind: Any = None if background is None else nibabel.load(background)
    from matplotlib.figure import Figure

    # nilearn lays out its own axes.
    beside = room >= WIDTH
    figure = Figure(figsize=(room, 3.0 if beside else room), dpi=150, facecolor="white")
    # A recording of one slice has no other axis to cut through.
    flat = min(volume.shape[:3]) == 1
    several = "ortho" if beside else "tiled"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "empty mask|Could not determine cut coords")  # nothing above the threshold
        plotting.plot_stat_map(
            volume, bg_img=behind, figure=figure, colorbar=True, vmax=limit,
            display_mode="z" if flat else several, cut_coords=1 if flat else None, threshold=threshold,
            annotate=not flat, cmap="RdBu_r", black_bg=False, draw_cross=False, axes=(0.0, 0.02, 1.0, 0.87),
        )  # fmt: skip
    label_map(figure, title, mark)
    return figure


def surface_map(
    values: np.ndarray, limit: float, threshold: float, title: str, mark: str = "", room: float = WIDTH
) -> Figure | None:
    """Draw a map on fsaverage5 (both hemispheres from outside and inside); None where nilearn is not installed.

    Parameters
    ----------
    values : ndarray (n_vertices,)
        Of both hemispheres, left first.
    limit, threshold : float
        See `scale_of`.
    title, mark : str
    room : float
        Inches across.
    """
    try:
        from nilearn import datasets, plotting
    except ImportError:
        return None
    from matplotlib.figure import Figure

    left, right = np.split(values, 2)
    beside = room >= WIDTH
    mesh = datasets.fetch_surf_fsaverage("fsaverage5")  # comes with nilearn
    figure = Figure(figsize=(room, 2.2 if beside else 3.2), dpi=150, facecolor="white")
    views = [("left", "lateral"), ("left", "medial"), ("right", "medial"), ("right", "lateral")]
    for index, (side, view) in enumerate(views):
        axes = figure.add_subplot(1 if beside else 2, 4 if beside else 2, index + 1, projection="3d")
        plotting.plot_surf_stat_map(
            mesh[f"infl_{side}"], left if side == "left" else right, hemi=side, view=view, bg_map=mesh[f"sulc_{side}"],
            axes=axes, figure=figure, colorbar=index == len(views) - 1, vmax=limit, threshold=threshold, cmap="RdBu_r",
            engine="matplotlib",
        )  # fmt: skip
        axes.set_box_aspect(None, zoom=1.7)  # matplotlib leaves room for axes that are not drawn
        for drawn in axes.collections:
            drawn.set_rasterized(True)  # twenty thousand triangles are a picture
    label_map(figure, title, mark)
    return figure


def label_map(figure: Figure, title: str, mark: str) -> None:
    """Write title and mark on a figure that lays out its own axes."""
    if mark:
        text = fill(mark, int(figure.get_figwidth() * MARK_CHARACTERS))
        figure.text(0.995, 0.01, text, ha="right", va="bottom", fontsize=SMALL - 1, color=WARN, weight="bold")
    title = fill(title, int(figure.get_figwidth() * MARK_CHARACTERS))
    figure.text(0.01, 0.97, title, ha="left", va="top")
