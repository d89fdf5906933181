"""Figures of reconstructed images: the ladder and the gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import COLOURS, LINE, RULE, SMALL, WIDTH, abreast, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ladder(
    table: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]], mark: str = "", room: float = WIDTH
) -> Figure:
    """Draw every rung's score with its interval over images, a panel per metric; what was predicted stands out.

    Parameters
    ----------
    table : sequence of {words, predicted, cells}
    metrics : sequence of {name, title, chance}
    mark : str
    room : float
        Inches across.
    """
    lines, columns = abreast(len(metrics), 2.5, room - 1.4)
    figure = new_figure(min(room, 2.2 + 2.5 * columns), 0.9 + (0.24 * len(table) + 0.6) * lines, mark)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for panel in panels[len(metrics) :]:
        panel.set_visible(False)
    for axes, metric in zip(panels, metrics, strict=False):
        if metric["chance"] is not None:
            axes.axvline(metric["chance"], color=LINE, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
        for y, rung in enumerate(table):
            cell = rung["cells"].get(metric["name"])
            if cell is None or not np.isfinite(cell["value"]):
                continue
            colour = COLOURS[0] if rung["predicted"] else LINE
            if np.isfinite(cell["ci_low"]):
                axes.plot([cell["ci_low"], cell["ci_high"]], [y, y], color=colour, linewidth=1.6)
            axes.plot(cell["value"], y, "o", color=colour, markersize=6 if rung["predicted"] else 4.5)
            if cell.get("null_95") is not None and np.isfinite(cell["null_95"]):
                axes.plot(cell["null_95"], y, "|", color=COLOURS[1], markersize=11, markeredgewidth=1.6)
        axes.set_yticks(range(len(table)), [rung["words"] for rung in table])
        axes.set_ylim(len(table) - 0.5, -0.5)
        axes.set_title(metric["title"], loc="left")
        clean(axes)
    return figure


def gallery(
    pictures: Mapping[str, np.ndarray],
    places: np.ndarray,
    stimuli: np.ndarray,
    score: np.ndarray,
    metric: str,
    mark: str = "",
) -> Figure:
    """Draw images side by side, a row per reconstruction: the original, the stages, the rungs of the ladder."""
    n_rows, n_columns = len(places), len(pictures)
    figure = new_figure(1.5 + 1.05 * n_columns, 0.7 + 1.08 * n_rows, mark)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for j, (name, images) in enumerate(pictures.items()):
        for i in range(n_rows):
            axes, image = grid[i, j], images[i]
            axes.imshow(
                image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255,
                interpolation="nearest",
            )  # fmt: skip
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color(COLOURS[0] if name == "predicted" else RULE)
            if i == 0:
                axes.set_title(name)
            if j == 0:
                text = f"{places[i]}\n{metric} {score[i]:.2f}"
                axes.set_ylabel(text, fontsize=SMALL, rotation=0, ha="right", va="center", labelpad=6)
    return figure
