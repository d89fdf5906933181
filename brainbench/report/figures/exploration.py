"""Figures of explored regions: response against scale, the gallery, and what other regions do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import COLOURS, LINE, RULE, WIDTH, clean, new_figure
from brainbench.report.figures.images import in_lines, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def gallery(rows: dict[str, np.ndarray], mark: str = "", room: float = WIDTH) -> Figure:
    """Draw rows of images: the best stimuli, unguided ones, guided ones by scale, facets."""
    n = max(len(images) for images in rows.values())
    if room < min(WIDTH, 2.0 + 0.85 * n):
        numbered = {name: {str(j): image for j, image in enumerate(images)} for name, images in rows.items()}
        return in_lines(numbered, mark, room, each=0.87)
    figure = new_figure(2.0 + 0.85 * n, 0.4 + 0.88 * len(rows), mark)
    grid = figure.subplots(len(rows), n, squeeze=False)
    for i, (name, images) in enumerate(rows.items()):
        for j in range(n):
            axes = grid[i, j]
            if j < len(images):
                show(axes, images[j], None)
            else:
                axes.set_visible(False)
        grid[i, 0].set_ylabel(name.replace(": ", "\n"), rotation=0, ha="right", va="center")
    return figure


def scales(item: dict[str, Any], mark: str = "", room: float = WIDTH) -> Figure:
    """Draw the response against the scale of guidance, as guide and judges read it, and its trace over steps."""
    beside, height = room >= 7.4, 3.2 + 0.16 * len(item["readers"])
    figure = new_figure(min(room, 7.4), height if beside else height + 2.8, mark)
    left, right = figure.subplots(1, 2) if beside else figure.subplots(2, 1)
    guided = [step for step in item["steps"] if step["stage"] == "guided"]
    line = [next(step for step in item["steps"] if step["stage"] == "unguided"), *guided]
    places = range(len(line))
    for index, reader in enumerate(item["readers"]):
        colour = COLOURS[index % len(COLOURS)]
        cells = [step["readers"][index] for step in line]
        label = f"{reader['encoder']} {reader['layer']} {'guides' if index == 0 else 'judges'}"
        left.plot(
            places, [cell["mean"] for cell in cells], "o-", color=colour, markersize=4, linewidth=1.3, label=label
        )
        left.vlines(places, [c["ci_low"] for c in cells], [c["ci_high"] for c in cells], color=colour, linewidth=1.3)
    left.axhline(item["high"][0], color=LINE, linewidth=0.9, linestyle=(0, (4, 2)), label="95 % of the stimuli below")
    left.set_xticks(places, ["unguided", *(f"{step['scale']:g}" for step in guided)])
    left.set_xlabel("scale of guidance")
    left.set_ylabel("predicted response (sd of stimuli)")
    left.legend(loc="upper left", bbox_to_anchor=(0, -0.22))
    for index, step in enumerate(guided):
        shade = 0.35 + 0.65 * (index + 1) / len(guided)
        right.plot(step["trace"], color=COLOURS[0], alpha=shade, linewidth=1.3, label=step["row"])
    right.set_xlabel("step")
    right.set_ylabel("response to the image as it stands")
    right.legend(loc="upper left")
    clean(left)
    clean(right)
    return figure


def regions(item: dict[str, Any], mark: str = "", room: float = WIDTH) -> Figure:
    """Draw the predicted responses of all regions to unguided and to guided images."""
    best = next(step for step in item["steps"] if step["row"] == item["best"] and step["stage"] == "guided")
    plain = next(step for step in item["steps"] if step["stage"] == "unguided")
    figure = new_figure(min(4.6, room), 0.9 + 0.3 * len(item["rois"]), mark)
    axes = figure.subplots()
    for y, roi in enumerate(item["rois"]):
        own = roi in (item["roi"], item["minus"])
        axes.plot([plain["rois"][roi], best["rois"][roi]], [y, y], color=RULE, linewidth=1.5, zorder=0)
        axes.plot(plain["rois"][roi], y, "o", color=LINE, markersize=4.5, label="unguided" if y == 0 else None)
        axes.plot(best["rois"][roi], y, "o", color=COLOURS[0 if own else 1], markersize=6)
    axes.set_yticks(range(len(item["rois"])), item["rois"])
    axes.set_ylim(len(item["rois"]) - 0.5, -0.5)
    axes.set_xlabel(f"predicted response (sd of stimuli)\nguided at {item['best']}")
    axes.legend()
    clean(axes)
    return figure
