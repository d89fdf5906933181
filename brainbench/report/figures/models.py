"""Figures of the GLMs that responses were estimated by: the design of a run, and the mask over the mean image."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import COLOURS, RULE, SMALL, WIDTH, clean, new_figure
from brainbench.report.figures.maps import label_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGE_MM = 0.5
"""Displacement that the table counts as large."""
MAX_NAMES = 40
"""Regressors beyond which only the first of each group is named."""


def design(regressors: Sequence[str], values: np.ndarray, n_events: int, mark: str = "", room: float = WIDTH) -> Figure:
    """Draw the design matrix of a run, volumes downwards: every regressor by its own largest size.

    Parameters
    ----------
    regressors : sequence of str
        Events first.
    values : ndarray (n_volumes, n_regressors)
    n_events : int
    mark : str
    room : float
        Inches across.
    """
    figure = new_figure(min(room, max(3.4, 1.2 + 0.16 * len(regressors))), 4.2, mark)
    axes = figure.subplots()
    image = axes.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    named = len(regressors) <= MAX_NAMES * room / WIDTH
    firsts = [0, n_events, len(regressors) - 1]
    places = list(range(n_events, len(regressors))) if named else [one for one in firsts[1:] if one < len(regressors)]
    axes.set_xticks(places, [regressors[place] for place in places], rotation=90, fontsize=SMALL)
    axes.xaxis.tick_top()
    axes.text(0.0, -0.02, f"{n_events} events", transform=axes.transAxes, va="top", fontsize=SMALL)
    if 0 < n_events < len(regressors):
        axes.axvline(n_events - 0.5, color=COLOURS[1], linewidth=1.2)
    axes.set_ylabel("volume")
    axes.tick_params(length=2)
    figure.colorbar(image, ax=axes, shrink=0.6, aspect=25)
    return figure


def motion(runs: Sequence[dict[str, Any]], mark: str = "", room: float = WIDTH) -> Figure:
    """Draw framewise displacement over the volumes of all runs of a participant, runs one after the other.

    Parameters
    ----------
    runs : sequence of {run, displacement}
    mark : str
    room : float
        Inches across.
    """
    figure = new_figure(room, 1.9, mark)
    axes, start = figure.subplots(), 0
    for index, one in enumerate(runs):
        values = np.array(one["displacement"], dtype=float)
        axes.plot(start + np.arange(len(values)), values, color=COLOURS[0], linewidth=0.9)
        if index:
            axes.axvline(start - 0.5, color=RULE, linewidth=0.8, zorder=0)
        start += len(values)
    axes.axhline(LARGE_MM, color=COLOURS[1], linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set_xlim(-0.5, start - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("volume, runs one after the other")
    axes.set_ylabel("moved, mm")
    clean(axes)
    return figure


def mask_over_mean(mean: Path, mask: Path, title: str, mark: str = "", room: float = WIDTH) -> Figure | None:
    """Draw the edge of the mask on the mean image of a run; None where nilearn is not installed, or a file is gone."""
    try:
        import nibabel
        from nilearn import plotting
    except ImportError:
        return None
    if not (mean.is_file() and mask.is_file()):
        return None
    from matplotlib.figure import Figure

    behind: Any = nibabel.load(mean)
    inside: Any = nibabel.load(mask)
    beside, flat = room >= WIDTH, min(behind.shape[:3]) == 1
    several = "ortho" if beside else "tiled"
    figure = Figure(figsize=(room, 3.0 if beside else room), dpi=150, facecolor="white")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "empty mask|Could not determine cut coords|No contour levels")
        shown: Any = plotting.plot_img(
            behind, figure=figure, cmap="gray", display_mode="z" if flat else several, cut_coords=1 if flat else None,
            black_bg=False, draw_cross=False, annotate=not flat, axes=(0.0, 0.02, 1.0, 0.87), colorbar=False,
        )  # fmt: skip
        shown.add_contours(inside, levels=[0.5], colors=[COLOURS[1]], linewidths=1.0)
    label_map(figure, title, mark)
    return figure
