"""Figures of parts of variance: what sets of features explain alone and in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import COLOURS, INK, LINE, NAME_CHARACTERS, WIDTH, abreast, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def parts(regions: Sequence[Mapping[str, Any]], names: Sequence[str], mark: str = "", room: float = WIDTH) -> Figure:
    """Draw a panel per region: a bar for every part with its interval, and one for all sets together.

    Parameters
    ----------
    regions : sequence of {roi, parts}
        Every part with ``of`` (names of sets), ``value``, ``low`` and ``high``; the last one is that of all together.
    names : sequence of str
        Of the parts, the last one of all together.
    mark : str
    room : float
        Inches across.
    """
    lines, columns = abreast(len(regions), 2.5, room - 1.4)
    said = [fill(name, NAME_CHARACTERS) for name in names]
    tall = sum(0.12 + 0.15 * (text.count("\n") + 1) for text in said) + 0.75
    figure = new_figure(min(room, 1.8 + 2.5 * columns), 0.3 + tall * lines, mark)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel in panels[len(regions) :]:
        panel.set_visible(False)
    for place, (axes, region) in enumerate(zip(panels, regions, strict=False)):
        for y, part in enumerate(region["parts"]):
            colour = INK if y == len(names) - 1 else COLOURS[min(len(part["of"]), 4) - 1]
            axes.barh(y, part["value"], height=0.55, color=colour, alpha=0.45)
            if np.isfinite(part["low"]):
                axes.plot([part["low"], part["high"]], [y, y], color=colour, linewidth=1.5)
            axes.plot(part["value"], y, "|", color=colour, markersize=9, markeredgewidth=1.6)
        axes.axvline(0, color=LINE, linewidth=0.9)
        axes.axhline(len(names) - 1.5, color=LINE, linewidth=0.6, linestyle=(0, (4, 2)))
        axes.set_yticks(range(len(names)), said)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_title(region["roi"], loc="left")
        if place >= len(regions) - columns:
            axes.set_xlabel("held-out R²")
            axes.tick_params(labelbottom=True)
        clean(axes)
    return figure
