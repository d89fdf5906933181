"""Figures of reconstructed images: the ladder and the gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import (
    COLOURS,
    LINE,
    NAME_CHARACTERS,
    RULE,
    SMALL,
    WIDTH,
    abreast,
    clean,
    new_figure,
)

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
    names, line = [rung["words"] for rung in table], 0.24
    if room < WIDTH:
        names = [fill(name, NAME_CHARACTERS) for name in names]
        line = 0.06 + 0.15 * max(name.count("\n") + 1 for name in names)
    figure = new_figure(min(room, 2.2 + 2.5 * columns), 0.9 + (line * len(table) + 0.6) * lines, mark)
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
        axes.set_yticks(range(len(table)), names)
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
    room: float = WIDTH,
) -> Figure:
    """Draw images side by side, a row per reconstruction: the original, the stages, the rungs of the ladder.

    Where there is little room, every reconstruction takes several lines below its own heading.
    """
    said = [f"{place}, {metric} {value:.2f}" for place, value in zip(places, score, strict=True)]
    if room < min(WIDTH, 1.5 + 1.05 * len(pictures)):
        return in_lines(
            {text: {name: images[i] for name, images in pictures.items()} for i, text in enumerate(said)}, mark, room
        )
    n_rows, n_columns = len(places), len(pictures)
    figure = new_figure(1.5 + 1.05 * n_columns, 0.7 + 1.08 * n_rows, mark)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for j, (name, images) in enumerate(pictures.items()):
        for i in range(n_rows):
            show(grid[i, j], images[i], COLOURS[0] if name == "predicted" else RULE)
            if i == 0:
                grid[i, j].set_title(name, fontsize=SMALL)
            if j == 0:
                text = said[i].replace(", ", "\n", 1)
                grid[i, j].set_ylabel(text, fontsize=SMALL, rotation=0, ha="right", va="center", labelpad=6)
    return figure


def in_lines(rows: Mapping[str, Mapping[str, np.ndarray]], mark: str, room: float, each: float = 1.1) -> Figure:
    """Draw rows of named images for a narrow page: below a row's heading as many in a line as there is room for.

    Parameters
    ----------
    rows : mapping of heading to mapping of name to image
    mark : str
    room : float
        Inches across.
    each : float
        Inches across an image.
    """
    columns = max(1, int(room / each))
    lines = [-(-len(images) // columns) for images in rows.values()]
    named = any(name for images in rows.values() for name in images if not name.isdigit())
    tall = each + 0.42 * named
    figure = new_figure(room, sum(0.3 + tall * n for n in lines), mark)
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=lines)[:, 0]
    for part, (heading, images), n in zip(parts, rows.items(), lines, strict=True):
        part.set_facecolor("none")
        part.suptitle(heading, x=0.02, ha="left", fontsize=9.0, weight="bold")
        grid = part.subplots(n, columns, squeeze=False).ravel()
        for axes in grid[len(images) :]:
            axes.set_visible(False)
        for axes, (name, image) in zip(grid, images.items(), strict=False):
            show(axes, image, COLOURS[0] if name == "predicted" else RULE)
            if named:
                axes.set_title(name, fontsize=SMALL)
    return figure


def show(axes: Any, image: np.ndarray, frame: str | None) -> None:
    """Draw one image as it is, grey or in colours, in a frame of a colour or in none."""
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255,
                interpolation="nearest")  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(frame is not None)
        if frame is not None:
            spine.set_color(frame)
