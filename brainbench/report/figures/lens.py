"""Figures of the lens: columns of diagnostics against depth, beside the scores of regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import COLOURS, RULE, SOFT, WIDTH, abreast, cells, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "os^Dv<>Ph"
FLAT = 1e-3
"""Of a row's largest value: what differs less over blocks is one colour."""
PANEL = 3.1
"""Inches across a panel."""
LINE = 0.16
"""Inches that a line of a legend takes."""
BELOW = 30.0
"""Points from an axis to the legend, under the axis' name."""
SHORT = 10
"""Letters of names that stand in two columns below a panel."""


def against_depth(
    panels: Mapping[str, Sequence[Mapping[str, Any]]],
    scores: Mapping[str, tuple[np.ndarray, np.ndarray]],
    axis: str,
    mark: str = "",
    room: float = WIDTH,
) -> Figure:
    """Draw a panel per kind of number, and one of the scores of regions at the same depths.

    Parameters
    ----------
    panels : mapping of str to sequence of {title, depth, value, low, high}
        What is drawn along y, and its lines; arrays over blocks, NaN where there is no number.
    scores : mapping of str to (depth, value)
        Of every region; none where the encoder was not scored.
    axis : str
        What the scores are.
    mark : str
    room : float
        Inches across.
    """
    from matplotlib.transforms import offset_copy

    n = len(panels) + bool(scores)
    n_rows, n_columns = abreast(n, PANEL, room)
    legends = [_legend([line["title"] for line in lines]) for lines in panels.values()]
    legends += [_legend(list(scores))] if scores else []
    heights = [2.6 + LINE * max(lines for lines, _ in legends[at : at + n_columns]) for at in range(0, n, n_columns)]
    figure = new_figure(min(room, 3.2 * n_columns + 0.3), sum(heights) + 0.2, mark)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, gridspec_kw={"height_ratios": heights}).flatten()
    for ax in axes[n:]:
        ax.set_visible(False)
    for ax, (title, lines) in zip(axes, panels.items(), strict=False):
        for index, line in enumerate(lines):
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            ax.fill_between(line["depth"], line["low"], line["high"], color=colour, alpha=0.16, linewidth=0)
            ax.plot(line["depth"], line["value"], f"{marker}-", color=colour, markersize=3.2, linewidth=1.3,
                    label=line["title"])  # fmt: skip
        ax.set_title(title, loc="left")
    for index, (roi, (depth, value)) in enumerate(scores.items()):
        axes[n - 1].plot(
            depth, value, "o-", color=COLOURS[index % len(COLOURS)], markersize=3.2, linewidth=1.3, label=roi
        )
        axes[n - 1].set_title(f"{axis}, by region", loc="left")
    for ax, (_, abreast_of) in zip(axes[:n], legends, strict=True):
        ax.axhline(0, color=RULE, linewidth=0.8, zorder=0)
        ax.set_xlim(-0.03, 1.03)
        ax.set_xlabel("relative depth")
        below = offset_copy(ax.transAxes, figure, y=-BELOW, units="points")  # never over a line
        ax.legend(ncols=abreast_of, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, borderaxespad=0)
        clean(ax)
    return figure


def _legend(names: Sequence[str]) -> tuple[int, int]:
    """Return how many lines a legend takes below a panel, and how many names stand beside each other in it."""
    beside = 2 if max(map(len, names), default=0) <= SHORT else 1
    return -(-len(names) // beside), beside


def heat_map(groups: Mapping[str, Sequence[tuple[str, np.ndarray]]], mark: str = "", room: float = WIDTH) -> Figure:
    """Draw all numbers of a network as one table: a row a number, a column a block, dark where it is largest.

    Every row is coloured from its own smallest to its own largest value, which stand at its end; cells without a number
    are empty.

    Parameters
    ----------
    groups : mapping of str to sequence of (name, values)
        Values over blocks, NaN where there is no number.
    mark : str
    room : float
        Inches that there are for it.
    """
    n_blocks = max(len(values) for rows in groups.values() for _, values in rows)
    heights = [len(rows) for rows in groups.values()]
    figure = new_figure(min(4.6 + 0.16 * n_blocks, 6.4, room), 0.185 * sum(heights) + 0.3 * len(heights) + 0.5, mark)
    axes = figure.subplots(len(groups), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights})[:, 0]
    for ax, (title, rows) in zip(axes, groups.items(), strict=True):
        table = np.stack([values for _, values in rows])
        known = np.isfinite(table)
        low = np.where(known, table, np.inf).min(axis=1, keepdims=True)
        high = np.where(known, table, -np.inf).max(axis=1, keepdims=True)
        size = np.maximum(np.abs(low), np.abs(high))
        spread = np.where(high - low > FLAT * size, high - low, np.inf)
        image = cells(ax, np.where(known, (table - low) / spread, np.nan), lambda _i, _j: "", cmap="cividis_r",
                      low=0.0, high=1.0)  # fmt: skip
        image.set_rasterized(False)
        ax.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=7)
        for index in range(len(rows)):
            said = f"{low[index, 0]:.2g} to {high[index, 0]:.2g}" if known[index].any() else ""
            ax.annotate(said, (1.01, index), xycoords=("axes fraction", "data"), fontsize=6.5, color=SOFT, va="center")
        ax.set_title(title, loc="left")
    axes[-1].set_xticks(range(0, n_blocks, -(-n_blocks // 8)))
    axes[-1].set_xlabel("block")
    return figure


ALONG = {"block": "block", "dose": "% of hidden units off"}
"""What edits are drawn along, by what rows call it."""


def edits_along(
    panels: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    axis: str,
    along: str,
    mark: str = "",
    room: float = WIDTH,
    value: str = "lost",
) -> Figure:
    """Draw what every region loses, or keeps, under edits: a panel a region, frozen and refitted, with controls.

    Parameters
    ----------
    panels : mapping of region to mapping of {frozen, refitted} to rows
        Rows of ``block`` or ``dose``, `value` and, where there are controls, ``low`` and ``high``.
    axis : str
        What is drawn.
    along : {"block", "dose"}
    mark : str
    room : float
        Inches across.
    value : {"lost", "kept"}
    """
    n_rows, n_columns = abreast(len(panels), PANEL, room)
    figure = new_figure(min(room, 3.2 * n_columns + 0.3), 2.6 * n_rows + 0.6, mark)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).flatten()
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax, (roi, ways) in zip(axes, panels.items(), strict=False):
        for index, (way, rows) in enumerate(ways.items()):
            places, colour = [row[along] * (100 if along == "dose" else 1) for row in rows], COLOURS[index]
            if all("low" in row for row in rows):
                ax.fill_between(places, [row["low"] for row in rows], [row["high"] for row in rows], color=colour,
                                alpha=0.16, linewidth=0, label=f"controls, {way}")  # fmt: skip
            ax.plot(places, [row[value] for row in rows], f"{MARKERS[index]}-", color=colour, markersize=3.2,
                    linewidth=1.3, label=way)  # fmt: skip
        ax.axhline(0, color=RULE, linewidth=0.8, zorder=0)
        ax.set_title(roi, loc="left")
        ax.set_xlabel(ALONG[along])
        ax.set_ylabel(axis)
        clean(ax)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=max(1, int(room / 1.7)))
    return figure
