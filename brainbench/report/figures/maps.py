"""Maps of a brain, drawn by nilearn."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import INK, MARK_CHARACTERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def brain_map(image: Path, background: Path | None, title: str, mark: str = "") -> Figure | None:
    """Draw a volume map on its background with nilearn; None where nilearn is not installed."""
    try:
        import nibabel
        from nilearn import plotting
    except ImportError:
        return None
    volume: Any = nibabel.load(image)
    data = np.asarray(volume.dataobj)
    # nilearn reads the brackets of a path as a pattern: it is given images.
    behind: Any = None if background is None else nibabel.load(background)
    limit = float(np.nanmax(np.abs(data), initial=1e-3)) or 1e-3
    from matplotlib.figure import Figure

    # nilearn lays out its own axes.
    figure = Figure(figsize=(8.4, 2.5), dpi=110, facecolor="white")
    # A recording of one slice has no other axis to cut through.
    flat = min(volume.shape[:3]) == 1
    plotting.plot_stat_map(
        volume, bg_img=behind, figure=figure, colorbar=True, vmax=limit,
        display_mode="z" if flat else "ortho", cut_coords=1 if flat else None, threshold=1e-6, annotate=not flat,
        cmap="RdBu_r", black_bg=False, draw_cross=False,
    )  # fmt: skip
    _label_map(figure, title, mark)
    return figure


def surface_map(image: Path, title: str, mark: str = "") -> Figure | None:
    """Draw a map on fsaverage5 (both hemispheres from outside and inside); None where nilearn is not installed."""
    try:
        import nibabel
        from nilearn import datasets, plotting
    except ImportError:
        return None
    from matplotlib.figure import Figure

    gifti: Any = nibabel.load(image)
    left, right = (np.asarray(array.data) for array in gifti.darrays[:2])
    limit = float(np.nanmax(np.abs(np.concatenate([left, right])), initial=1e-3)) or 1e-3
    mesh = datasets.fetch_surf_fsaverage("fsaverage5")  # comes with nilearn
    figure = Figure(figsize=(8.4, 2.4), dpi=110, facecolor="white")
    views = [("left", "lateral"), ("left", "medial"), ("right", "medial"), ("right", "lateral")]
    for index, (side, view) in enumerate(views):
        axes = figure.add_subplot(1, len(views), index + 1, projection="3d")
        plotting.plot_surf_stat_map(
            mesh[f"infl_{side}"], left if side == "left" else right, hemi=side, view=view, bg_map=mesh[f"sulc_{side}"],
            axes=axes, figure=figure, colorbar=index == len(views) - 1, vmax=limit, threshold=1e-6, cmap="RdBu_r",
            engine="matplotlib",
        )  # fmt: skip
    _label_map(figure, title, mark)
    return figure


def _label_map(figure: Figure, title: str, mark: str) -> None:
    if mark:
        text = fill(mark, int(figure.get_figwidth() * MARK_CHARACTERS))
        figure.text(0.995, 0.01, text, ha="right", va="bottom", fontsize=7, color="#b42318", weight="bold")
    figure.text(0.01, 0.97, title, ha="left", va="top", fontsize=8, color=INK)
