"""What all figures share: matplotlib's object interface, colours that survive colour blindness and print."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Okabe and Ito's palette."""
INK = "#1f2933"
GREY = "#7b8794"
MAX_CELLS_WITH_TEXT = 160
MARK_CHARACTERS = 14
"""Of the mark, in an inch: a mark that is longer than its figure takes several lines, it is never cut."""


def new_figure(width: float, height: float, mark: str) -> Figure:
    """Return an empty figure of a size in inches; what every figure says stands below it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    if mark:
        text = fill(mark, max(20, int(width * MARK_CHARACTERS)))
        figure.supxlabel(text, x=0.995, ha="right", fontsize=7, color="#b42318", weight="bold")
    return figure


def clean(axes: Any) -> None:
    """Leave of the frame what is read: the axes at the left and at the bottom."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9aa5b1")
    axes.tick_params(colors=INK, labelsize=8)
