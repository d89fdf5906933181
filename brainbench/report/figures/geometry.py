"""Figures of geometry: RDMs as pictures, and stimuli placed by their distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.distance import squareform

from brainbench.report.figures.drawing import COLOURS, INK, SMALL, WIDTH, abreast, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NAMES = 24
"""Stimuli beyond which they are dots without names."""
MARKERS = "os^Dv<>P"


def rdms(regions: Sequence[Mapping[str, Any]], mark: str = "", room: float = WIDTH) -> Figure:
    """Draw the RDM of every region beside that of its best layer.

    Parameters
    ----------
    regions : sequence of {roi, measured, encoder, layer, of_layer}
        Condensed, as percentages of ranks; see `brainbench.studies.rsa.drawn.region_drawn`.
    mark : str
    room : float
        Inches across.
    """
    lines, columns = abreast(len(regions), 4.4, max(room, 4.4))
    figure = new_figure(min(room, 4.4 * columns + 0.4), lines * (2.7 if room >= WIDTH else 2.2) + 0.7, mark)
    panels = figure.subplots(lines, 2 * columns, squeeze=False).ravel()
    image = None
    for axes in panels:
        axes.set_visible(False)
    for place, one in enumerate(regions):
        shown = [(one["roi"], one["measured"])]
        if "of_layer" in one:
            shown.append((f"{one['encoder']}\n{one['layer']}", one["of_layer"]))
        for axes, (title, values) in zip(panels[2 * place :], shown, strict=False):
            square = squareform(np.array(values, dtype=float))
            image = axes.imshow(square, cmap="viridis", vmin=0, vmax=100, interpolation="nearest")
            axes.set_title(title, fontsize=SMALL)
            axes.set_visible(True)
            axes.set_xticks([])
            axes.set_yticks([])
    if image is not None:
        bar = figure.colorbar(image, ax=list(panels), location="bottom", shrink=0.5, aspect=40)
        bar.set_label("% of pairs that are nearer")
    return figure


def places(
    regions: Sequence[Mapping[str, Any]], ids: Sequence[str], labels: Sequence[str], mark: str = "", room: float = WIDTH
) -> Figure:
    """Draw the stimuli of every region at their places, with names where they are few, in colours of a label.

    Parameters
    ----------
    regions : sequence of {roi, points, share}
    ids, labels : sequence of str
        Of the stimuli; no labels, or one each.
    mark : str
    room : float
        Inches across.
    """
    lines, columns = abreast(len(regions), 3.1, room)
    figure = new_figure(min(room, 3.1 * columns + 0.2), 3.2 * lines + 0.3, mark)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    kinds = list(dict.fromkeys(labels))
    for axes in panels[len(regions) :]:
        axes.set_visible(False)
    for axes, one in zip(panels, regions, strict=False):
        points = np.array(one["points"])
        for index, kind in enumerate(kinds or [""]):
            mine = np.array([not labels or label == kind for label in (labels or ids)])
            axes.plot(*points[mine].T, MARKERS[index % len(MARKERS)], color=COLOURS[index % len(COLOURS)], markersize=4,
                      linestyle="none", label=kind or None)  # fmt: skip
        if len(ids) <= MAX_NAMES:
            for name, (x, y) in zip(ids, points, strict=True):
                axes.annotate(name, (x, y), (3, 3), textcoords="offset points", fontsize=SMALL - 1, color=INK)
        axes.set_title(f"{one['roi']} ({one['share']:.0%})", loc="left")
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xticks([])
        axes.set_yticks([])
    if kinds:
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=max(1, int(room / 1.7)))
    return figure
