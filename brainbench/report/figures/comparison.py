"""Figures of a comparison: runs side by side, and their paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from brainbench.report.figures.drawing import COLOURS, LINE, RULE, WIDTH, clean, new_figure
from brainbench.report.tables import LEVEL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MARKERS = "osD^vPX*"


def side_by_side(rows: pd.DataFrame, names: Sequence[str], title: str, mark: str = "", room: float = WIDTH) -> Figure:
    """Draw a line per score with the means of both runs; names are the runs, the first one is in all rows.

    Parameters
    ----------
    rows : DataFrame
        Columns ``label``, ``run``, ``first`` and ``other``.
    names : sequence of str
    title, mark : str
    room : float
        Inches across.
    """
    labels = list(dict.fromkeys(rows["label"]))
    figure = new_figure(min(room, 8.0), 1.2 + 0.26 * len(labels), mark)
    axes = figure.subplots()
    for y, label in enumerate(labels):
        mine = rows[rows["label"] == label]
        points = {names[0]: float(mine["first"].iloc[0])} | dict(zip(mine["run"], mine["other"], strict=True))
        axes.plot([min(points.values()), max(points.values())], [y, y], color=RULE, linewidth=1.5, zorder=0)
        for k, name in enumerate(names):
            if name in points:
                axes.plot(points[name], y, MARKERS[k % len(MARKERS)], color=COLOURS[k % len(COLOURS)], markersize=5,
                          label=name if y == 0 else None)  # fmt: skip
    axes.axvline(0, color=RULE, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(f"{title},{' ' if room >= WIDTH else chr(10)}mean over participants")
    clean(axes)
    figure.legend(loc="outside upper center", ncols=max(1, int(room / 2)))
    return figure


def differences(rows: pd.DataFrame, title: str, mark: str = "", room: float = WIDTH) -> Figure:
    """Draw every paired difference with its interval; filled and coloured q < .05."""
    several = rows["run"].nunique() > 1
    figure = new_figure(min(room, 8.0), 1.0 + 0.26 * len(rows), mark)
    axes = figure.subplots()
    for y, (value, low, high, q) in enumerate(rows[["difference", "low", "high", "q"]].to_numpy(dtype=float)):
        sure = q < LEVEL
        colour = COLOURS[0] if sure else LINE
        if np.isfinite(low):
            axes.plot([low, high], [y, y], color=colour, linewidth=1.4)
        axes.plot(value, y, "o", color=colour, markersize=5, markerfacecolor=colour if sure else "white")
    axes.axvline(0, color=LINE, linewidth=0.9, linestyle="--", zorder=0)
    labels = [f"{label} · {run}" if several else label for label, run in zip(rows["label"], rows["run"], strict=True)]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"difference of {title}")
    clean(axes)
    return figure
