"""Figures of layers, regions and participants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import (
    BARE_CELL,
    CELL,
    COLOURS,
    INK,
    LINE,
    MAX_CELLS_WITH_TEXT,
    ON_LIGHT,
    RULE,
    SOFT,
    WARN,
    WIDTH,
    abreast,
    blocks_of_cells,
    clean,
    new_figure,
    short,
    stacked,
)
from brainbench.report.tables import LEVEL, Matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def heat_map(table: Matrix, title: str, mark: str = "", room: float = WIDTH) -> Figure:
    """Draw layers x ROIs, controls below the models, ceilings on top; a dot marks q < .05.

    Colours go both ways from zero where signs differ, and from zero to the largest value where they do not; the bar
    shows the part of them that is used. Where there is little room, regions stand in blocks below one another.
    """
    has_ceiling = np.isfinite(table.ceiling).any()
    n_rows, n_rois = table.value.shape
    names = [row.text for row in table.rows]
    width = 1.5 + 0.075 * max(map(len, names)) + max(1.5, 0.4 + 0.1 * max(map(len, table.rois))) * n_rois
    close, numbered = room < min(width, WIDTH), table.value.size <= MAX_CELLS_WITH_TEXT
    blocks, head, line = [slice(0, n_rois)], 1.3 + 0.35 * has_ceiling, 0.29
    if close:
        names, blocks = stacked(names, n_rois, room, cell=CELL if numbered else BARE_CELL)
        line = max(line, 0.06 + 0.15 * max(name.count("\n") + 1 for name in names))
    height = len(blocks) * max(1.9, head + line * n_rows) + 0.7 * (close and not numbered)
    figure = new_figure(room if close else width, height if close else min(16.0, height), mark)
    lowest, highest = float(np.nanmin(table.value, initial=0.0)), float(np.nanmax(table.value, initial=0.0))
    limit = max(-lowest, highest, 1e-3)
    both = lowest < 0 < highest
    low, high = (-limit, limit) if both or not limit else ((0.0, limit) if highest > 0 else (-limit, 0.0))
    cmap = "RdBu_r" if both else ("YlGnBu" if highest > 0 else "YlGnBu_r")

    def text(i: int, j: int) -> str:
        value = table.value[i, j]
        said = short(value) if np.isfinite(value) else "–"
        return said + (" •" if table.q[i, j] < LEVEL else "")

    labels = list(table.rois)
    if has_ceiling:
        best = np.nanmax(np.where(np.isfinite(table.ceiling), table.ceiling, -np.inf), axis=0)
        labels = [f"{roi}\n(≤ {c:.2f})" if np.isfinite(c) else roi for roi, c in zip(labels, best, strict=True)]
    slanted = close or n_rois >= 9 or max(len(roi) for roi in table.rois) > 11
    drawn = blocks_of_cells(figure, table.value, blocks, text, cmap=cmap, low=low, high=high)
    for axes, block, _ in drawn:
        if 0 < table.n_models < n_rows:
            axes.axhline(table.n_models - 0.5, color=ON_LIGHT, linewidth=1.4)
        axes.set_xticks(
            range(block.stop - block.start), labels[block], rotation=60 if slanted else 0,
            ha="left" if slanted else "center", rotation_mode="anchor" if slanted else "default",
        )  # fmt: skip
        axes.set_yticks(range(n_rows), names)
        for label, row in zip(axes.get_yticklabels(), table.rows, strict=True):
            label.set_color(INK if row.role == "model" else SOFT)
        axes.xaxis.tick_top()
    if close and numbered:
        return figure  # the cells hold their numbers
    where = {"location": "bottom", "shrink": 0.9, "aspect": 40} if close else {"shrink": 0.6, "aspect": 25}
    bar = figure.colorbar(drawn[0][2], ax=[axes for axes, _, _ in drawn], **where)
    bar.set_label(title if n_rows > 3 else "")  # a short bar has no room beside it
    (bar.ax.set_xlim if close else bar.ax.set_ylim)(min(lowest, 0.0), max(highest, 0.0) if highest > lowest else limit)
    return figure


def depth_curves(
    table: Matrix, title: str, mark: str = "", truth: Mapping[str, Any] | None = None, room: float = WIDTH
) -> Figure:
    """Draw score against relative depth for every ROI, with ceiling and controls; bands are confidence.

    Parameters
    ----------
    table : Matrix
    title, mark : str
    truth : mapping, optional
        What was planted in each region.
    room : float
        Inches across.
    """
    n = len(table.rois)
    lines, columns = abreast(n, 3.0, room)
    figure = new_figure(min(room, 3.0 * columns + 0.4), 2.35 * lines + 0.5, mark)
    panels = np.atleast_1d(figure.subplots(lines, columns, sharey=True, squeeze=False)).ravel()
    encoders = list(dict.fromkeys(row.encoder for row in table.rows))
    for panel in panels[n:]:
        panel.set_visible(False)
    for j, roi in enumerate(table.rois):
        axes = panels[j]
        ceiling = table.ceiling[:, j]
        if np.isfinite(ceiling).any():
            axes.axhline(float(np.nanmax(ceiling)), color=LINE, linestyle=(0, (4, 2)), linewidth=1)
        for k, encoder in enumerate(encoders):
            rows = [i for i, row in enumerate(table.rows) if row.encoder == encoder]
            colour = COLOURS[k % len(COLOURS)]
            model = table.rows[rows[0]].role == "model"
            value, low, high = table.value[rows, j], table.low[rows, j], table.high[rows, j]
            if len(rows) > 1:
                order = np.argsort(table.depth[rows], kind="stable")
                x = table.depth[rows][order]
                axes.fill_between(x, low[order], high[order], color=colour, alpha=0.16, linewidth=0)
                axes.plot(
                    x,
                    value[order],
                    "o-" if model else "s--",
                    color=colour,
                    markersize=3.2,
                    linewidth=1.4,
                    label=encoder,
                )
            else:
                axes.axhline(
                    float(value[0]), color=colour, linestyle="-" if model else ":", linewidth=1.4, label=encoder
                )
                if np.isfinite(low[0]):
                    axes.axhspan(float(low[0]), float(high[0]), color=colour, alpha=0.10, linewidth=0)
        planted = (truth or {}).get(roi, {})
        for i, row in enumerate(table.rows):
            if planted and row.encoder == planted.get("encoder") and row.layer == planted.get("layer"):
                axes.plot(table.depth[i], table.value[i, j], "*", color=WARN, markersize=11, zorder=5)
        axes.axhline(0, color=RULE, linewidth=0.8, zorder=0)
        axes.set_title(roi, color=INK, loc="left")
        axes.set_xlim(-0.03, 1.03)
        clean(axes)
        if j >= n - columns:
            axes.set_xlabel("relative depth")
        if j % columns == 0:
            axes.set_ylabel(title)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(max(1, int(room / 1.8)), len(labels)))
    return figure


def best_layers(
    entries: Sequence[Mapping[str, Any]],
    layers: Sequence[str],
    rois: Sequence[str],
    mark: str = "",
    room: float = WIDTH,
) -> Figure:
    """Draw, per ROI, in which share of bootstrap draws each layer was the best one, averaged over participants."""
    share = np.zeros((len(rois), len(layers)))
    for i, roi in enumerate(rois):
        mine = [entry for entry in entries if entry["roi"] == roi]
        for entry in mine:
            share[i] += [entry["share"].get(layer, 0.0) / len(mine) for layer in layers]
    width = 2.4 + 0.75 * len(layers)
    close, numbered = room < min(width, WIDTH), share.size <= MAX_CELLS_WITH_TEXT
    names, blocks = list(rois), [slice(0, len(layers))]
    if close:
        names, blocks = stacked(rois, len(layers), room, cell=CELL if numbered else BARE_CELL)
    height = len(blocks) * (1.6 + 0.3 * len(rois)) + 0.7 * (close and not numbered)
    figure = new_figure(room if close else width, height if close else min(14.0, height), mark)

    def text(i: int, j: int) -> str:
        return f"{share[i, j]:.0%}" if share[i, j] >= 0.005 else ""

    drawn = blocks_of_cells(figure, share, blocks, text, cmap="Greens", low=0, high=1)
    for axes, block, _ in drawn:
        axes.set_xticks(range(block.stop - block.start), layers[block], rotation=60, ha="right")
        axes.set_yticks(range(len(rois)), names)
    if not (close and numbered):
        where = {"location": "bottom", "shrink": 0.9, "aspect": 40} if close else {"shrink": 0.7, "aspect": 20}
        bar = figure.colorbar(drawn[0][2], ax=[axes for axes, _, _ in drawn], **where)
        bar.set_label("share of draws")
    return figure


def participants(
    values: Mapping[str, Mapping[str, float]], rois: Sequence[str], title: str, mark: str = "", room: float = WIDTH
) -> Figure:
    """Draw every participant's score per ROI; the bar is their mean."""
    figure = new_figure(min(2.0 + 0.9 * len(rois), max(room, 1.0 + 0.3 * len(rois))), 2.9, mark)
    axes = figure.subplots()
    for j, roi in enumerate(rois):
        points = np.array([value for value in values.get(roi, {}).values() if np.isfinite(value)])
        if not len(points):
            continue
        spread = np.linspace(-0.16, 0.16, len(points)) if len(points) > 1 else np.zeros(1)
        axes.plot(j + spread, np.sort(points), "o", color=COLOURS[0], markersize=3.6, alpha=0.75)
        axes.plot([j - 0.26, j + 0.26], [points.mean()] * 2, color=COLOURS[1], linewidth=2)
    axes.axhline(0, color=RULE, linewidth=0.8)
    axes.set_xticks(range(len(rois)), rois, rotation=0 if len(rois) < 0.9 * room else 60)
    axes.set_ylabel(title)
    clean(axes)
    return figure


def shares(rows: Sequence[Mapping[str, Any]], names: Sequence[str], mark: str = "", room: float = WIDTH) -> Figure:
    """Draw the parts of what two sets of features explain, a group of marks per region, with intervals.

    Parameters
    ----------
    rows : sequence of {roi, parts}
        Every part with ``value``, ``low`` and ``high``.
    names : sequence of str
        Of the parts.
    mark : str
    room : float
        Inches across.
    """
    figure = new_figure(min(room, 7.4), 1.1 + (0.22 * len(names) + 0.14) * len(rows), mark)
    axes = figure.subplots()
    for y, row in enumerate(rows):
        for k, (name, part) in enumerate(zip(names, row["parts"], strict=True)):
            at, colour = y + (k - (len(names) - 1) / 2) * 0.24, COLOURS[k]
            axes.plot([0, part["value"]], [at, at], color=colour, linewidth=5, alpha=0.25, solid_capstyle="butt")
            if np.isfinite(part["low"]):
                axes.plot([part["low"], part["high"]], [at, at], color=colour, linewidth=1.3)
            axes.plot(part["value"], at, "osD"[k], color=colour, markersize=4.5, label=name if y == 0 else None)
    axes.axvline(0, color=LINE, linewidth=0.9)
    axes.set_yticks(range(len(rows)), [row["roi"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("held-out R²")
    clean(axes)
    figure.legend(loc="outside upper center", ncols=max(1, int(room / 1.7)))
    return figure
