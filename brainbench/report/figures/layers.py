"""Figures of layers, regions and participants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import COLOURS, INK, MAX_CELLS_WITH_TEXT, clean, new_figure
from brainbench.report.tables import LEVEL, Matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def heat_map(table: Matrix, title: str, mark: str = "") -> Figure:
    """Draw layers x ROIs, controls below the models, ceilings on top; a dot marks q < .05."""
    has_ceiling = np.isfinite(table.ceiling).any()
    n_rows, n_rois = table.value.shape
    figure = new_figure(min(11.0, 2.6 + 0.62 * n_rois), min(16.0, 1.3 + 0.27 * n_rows + 0.35 * has_ceiling), mark)
    axes = figure.subplots()
    limit = float(np.nanmax(np.abs(table.value), initial=1e-3))
    shown = table.value
    image = axes.imshow(shown, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit)
    if shown.size <= MAX_CELLS_WITH_TEXT:
        for (i, j), value in np.ndenumerate(shown):
            text = "–" if not np.isfinite(value) else f"{value:.2f}".replace("-0.00", "0.00").replace("0.", ".", 1)
            text += " •" if table.q[i, j] < LEVEL else ""
            colour = "white" if np.isfinite(value) and abs(value) > 0.62 * limit else INK
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color=colour, in_layout=False)
    if 0 < table.n_models < n_rows:
        axes.axhline(table.n_models - 0.5, color=INK, linewidth=1.4)
    labels = list(table.rois)
    if has_ceiling:
        best = np.nanmax(np.where(np.isfinite(table.ceiling), table.ceiling, -np.inf), axis=0)
        labels = [f"{roi}\n(≤ {c:.2f})" if np.isfinite(c) else roi for roi, c in zip(labels, best, strict=True)]
    slanted = n_rois >= 9 or max(len(roi) for roi in table.rois) > 11
    axes.set_xticks(
        range(n_rois), labels, fontsize=8, rotation=60 if slanted else 0, ha="left" if slanted else "center",
        rotation_mode="anchor" if slanted else "default",
    )  # fmt: skip
    axes.set_yticks(range(n_rows), [row.text for row in table.rows], fontsize=7.5)
    for label, row in zip(axes.get_yticklabels(), table.rows, strict=True):
        label.set_color(INK if row.role == "model" else "#7b8794")
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=25)
    bar.set_label(title, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def depth_curves(table: Matrix, title: str, mark: str = "", truth: Mapping[str, Any] | None = None) -> Figure:
    """Draw score against relative depth for every ROI, with ceiling and controls; bands are confidence."""
    n = len(table.rois)
    columns = min(3, n)
    lines = int(np.ceil(n / columns))
    figure = new_figure(3.3 * columns + 0.4, 2.35 * lines + 0.5, mark)
    panels = np.atleast_1d(figure.subplots(lines, columns, sharey=True, squeeze=False)).ravel()
    encoders = list(dict.fromkeys(row.encoder for row in table.rows))
    for panel in panels[n:]:
        panel.set_visible(False)
    for j, roi in enumerate(table.rois):
        axes = panels[j]
        ceiling = table.ceiling[:, j]
        if np.isfinite(ceiling).any():
            axes.axhline(float(np.nanmax(ceiling)), color="#9aa5b1", linestyle=(0, (4, 2)), linewidth=1)
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
                axes.plot(table.depth[i], table.value[i, j], "*", color="#b42318", markersize=11, zorder=5)
        axes.axhline(0, color="#cbd2d9", linewidth=0.8, zorder=0)
        axes.set_title(roi, fontsize=9, color=INK, loc="left")
        axes.set_xlim(-0.03, 1.03)
        clean(axes)
        if j >= n - columns:
            axes.set_xlabel("relative depth", fontsize=8)
        if j % columns == 0:
            axes.set_ylabel(title, fontsize=8)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(5, len(labels)), fontsize=8, frameon=False)
    return figure


def best_layers(
    entries: Sequence[Mapping[str, Any]], layers: Sequence[str], rois: Sequence[str], mark: str = ""
) -> Figure:
    """Draw, per ROI, in which share of bootstrap draws each layer was the best one, averaged over participants."""
    share = np.zeros((len(rois), len(layers)))
    for i, roi in enumerate(rois):
        mine = [entry for entry in entries if entry["roi"] == roi]
        for entry in mine:
            share[i] += [entry["share"].get(layer, 0.0) / len(mine) for layer in layers]
    figure = new_figure(min(11.0, 2.2 + 0.55 * len(layers)), min(14.0, 1.2 + 0.3 * len(rois)), mark)
    axes = figure.subplots()
    image = axes.imshow(share, aspect="auto", cmap="Greens", vmin=0, vmax=1)
    if share.size <= MAX_CELLS_WITH_TEXT:
        for (i, j), value in np.ndenumerate(share):
            if value >= 0.005:
                axes.text(
                    j, i, f"{value:.0%}", ha="center", va="center", fontsize=7, color="white" if value > 0.6 else INK,
                    in_layout=False,
                )  # fmt: skip
    axes.set_xticks(range(len(layers)), layers, rotation=60, ha="right", fontsize=7.5)
    axes.set_yticks(range(len(rois)), rois, fontsize=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.7, aspect=20).set_label("share of draws", fontsize=8)
    return figure


def participants(values: Mapping[str, Mapping[str, float]], rois: Sequence[str], title: str, mark: str = "") -> Figure:
    """Draw every participant's score per ROI; the bar is their mean."""
    figure = new_figure(min(10.0, 2.0 + 0.9 * len(rois)), 2.9, mark)
    axes = figure.subplots()
    for j, roi in enumerate(rois):
        points = np.array([value for value in values.get(roi, {}).values() if np.isfinite(value)])
        if not len(points):
            continue
        spread = np.linspace(-0.16, 0.16, len(points)) if len(points) > 1 else np.zeros(1)
        axes.plot(j + spread, np.sort(points), "o", color=COLOURS[0], markersize=3.6, alpha=0.75)
        axes.plot([j - 0.26, j + 0.26], [points.mean()] * 2, color=COLOURS[1], linewidth=2)
    axes.axhline(0, color="#cbd2d9", linewidth=0.8)
    axes.set_xticks(range(len(rois)), rois, fontsize=8, rotation=0 if len(rois) < 9 else 60)
    axes.set_ylabel(title, fontsize=8)
    clean(axes)
    return figure
