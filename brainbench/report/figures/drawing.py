"""What all figures share: matplotlib's object interface, one size of text, colours, and how a figure becomes files.

Colours survive colour blindness, print and a dark page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Okabe and Ito's palette."""
INK = "#1f2933"
SOFT = "#52606d"
"""Text and marks that stand back."""
LINE, RULE, BAND = "#7b8794", "#cbd2d9", "#e4e7eb"
"""Lines that are read (chance, ceilings), lines that lead the eye, and areas behind the data."""
ON_LIGHT, ON_DARK = "#10161d", "#fefefe"
"""Text on coloured cells: it stays as it is on a dark page."""
WARN = "#b42318"
DARK = {
    INK: "#e6edf3", SOFT: "#a9b4c0", BAND: "#333d47", RULE: "#46505b", WARN: "#ff9d94", "#000000": "#e6edf3",
    "#ffffff": "#151b22", "#0072b2": "#4aa8e0", "#d55e00": "#f58a3c", "#009e73": "#2fc79a", "#8c6d31": "#c9a862",
}  # fmt: skip
"""What stands for a colour on a dark page; other colours are seen on both.
Cells of maps keep theirs."""
WIDTH = 9.4
"""Inches: the column of the page. Every figure is shown at its own size, so that text is equally large in all."""
PHONE = 3.6
"""Inches: the column of the page on a phone, for which figures of several panels are drawn once more."""
SMALL = 8.0
"""Points, of numbers in cells and of legends; all other text has 9."""
STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # names are drawn as they are written: `$` begins no formula
    "font.size": 9.0, "axes.titlesize": 9.0, "axes.labelsize": 9.0, "xtick.labelsize": 9.0, "ytick.labelsize": 9.0,
    "legend.fontsize": SMALL, "legend.frameon": False,
    "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.edgecolor": LINE, "axes.facecolor": "none",
    "svg.fonttype": "path", "svg.hashsalt": "brainbench", "pdf.fonttype": 3,
}  # fmt: skip
"""matplotlib's settings while a report is drawn.

Fonts of type 42 in PDF would take twice the time of all else: every figure cuts its own fonts.
"""
MAX_CELLS_WITH_TEXT = 160
CELL, BARE_CELL = 0.5, 0.15
"""Inches across the narrowest cell in which a number is read, and across one without a number."""
NAME_CHARACTERS = 18
"""Of a row's name in a line, where there is little room."""
MARK_CHARACTERS = 14
"""Of the mark, in an inch: a mark that is longer than its figure takes several lines, it is never cut."""


def new_figure(width: float, height: float, mark: str) -> Figure:
    """Return an empty figure of a size in inches; what every figure says stands below it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(width, WIDTH), height), dpi=150, layout="constrained", facecolor="none")
    if mark:
        text = fill(mark, max(20, int(figure.get_figwidth() * MARK_CHARACTERS)))
        figure.supxlabel(text, x=0.995, ha="right", fontsize=SMALL - 1, color=WARN, weight="bold")
    return figure


def abreast(n_panels: int, each: float, room: float) -> tuple[int, int]:
    """Return lines and columns of panels that are `each` inches wide, as many in a line as there is room for."""
    lines = -(-n_panels // max(1, int(room / each)))
    return lines, -(-n_panels // lines)


def stacked(names: Sequence[str], n_columns: int, room: float, *, cell: float) -> tuple[list[str], list[slice]]:
    """Return how a table of cells stands in a narrow room: its rows' names on several lines, its columns in blocks.

    Parameters
    ----------
    names : sequence of str
        Of the rows.
    n_columns : int
    room : float
        Inches across.
    cell : float
        Inches across the narrowest cell that is read.

    Returns
    -------
    list of str
    list of slice
        Columns of every block; blocks stand below one another.
    """
    lines = [fill(name, NAME_CHARACTERS) for name in names]
    longest = max((len(part) for line in lines for part in line.split("\n")), default=0)
    each = max(1, int((room - 0.4 - 0.075 * longest) / cell))
    n_blocks = -(-n_columns // each)
    each = -(-n_columns // n_blocks)
    return lines, [slice(start, min(n_columns, start + each)) for start in range(0, n_columns, each)]


def legend(figure: Figure, room: float) -> None:
    """Put the legend beside the axes, or above them where there is no room."""
    if room >= WIDTH:
        figure.legend(loc="outside right upper")
    else:
        figure.legend(loc="outside upper center", ncols=max(1, int(room / 1.7)))


def clean(axes: Any) -> None:
    """Leave of the frame what is read: the axes at the left and at the bottom."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)


def on(colour: Any) -> str:
    """Return the colour of text that is read on a cell of a colour (RGB from 0 to 1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return ON_LIGHT if luminance > 0.18 else ON_DARK  # where black and white have the same contrast


def cells(
    axes: Any, values: np.ndarray, texts: Callable[[int, int], str] | None, *, cmap: str, low: float,
    high: float,
) -> Any:  # fmt: skip
    """Draw a table as coloured cells, with numbers where they are few enough to be read; return the image.

    Parameters
    ----------
    axes : Axes
    values : ndarray (n_rows, n_columns)
    texts : callable, optional
        From row and column to what stands in the cell.
    cmap : str
    low, high : float
        What the ends of the colour map stand for.
    """
    image = axes.imshow(values, aspect="auto", cmap=cmap, vmin=low, vmax=high)
    if texts is not None and values.size <= MAX_CELLS_WITH_TEXT:
        for (i, j), value in np.ndenumerate(values):
            colour = on(image.cmap(image.norm(value))) if np.isfinite(value) else SOFT
            axes.text(j, i, texts(i, j), ha="center", va="center", fontsize=SMALL, color=colour, in_layout=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def blocks_of_cells(
    figure: Figure, values: np.ndarray, blocks: Sequence[slice], texts: Callable[[int, int], str], *, cmap: str,
    low: float, high: float,
) -> list[tuple[Any, slice, Any]]:  # fmt: skip
    """Draw a table's columns in blocks below one another, all cells of one width; return axes, columns and image."""
    drawn = []
    for axes, block in zip(figure.subplots(len(blocks), 1, squeeze=False)[:, 0], blocks, strict=True):

        def text(i: int, j: int, start: int = block.start) -> str:
            return texts(i, start + j)

        shown = text if values.size <= MAX_CELLS_WITH_TEXT else None
        drawn.append((axes, block, cells(axes, values[:, block], shown, cmap=cmap, low=low, high=high)))
        axes.set_xlim(-0.5, blocks[0].stop - 0.5)
    return drawn


def short(value: float) -> str:
    """Return a number as a narrow cell holds it: `.12`, `-.50`, `10.25`."""
    text = f"{value:.2f}"
    return re.sub(r"^(-?)0\.", r"\1.", "0.00" if text == "-0.00" else text)


def vectors(figure: Figure) -> tuple[str, bytes]:
    """Return a figure as SVG and PDF, laid out once; the same bytes for the same figure."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    svg, pdf = as_svg(figure), io.BytesIO()
    figure.set_layout_engine("none")
    FigureCanvasPdf(figure).print_pdf(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return svg, pdf.getvalue()


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG; the same bytes for the same figure."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    svg = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None, "Creator": None})
    return svg.getvalue().decode()


def for_both_themes(figure: Figure, svg: str) -> str:
    """Return a figure's SVG as a page shows it on light and on dark paper: ink follows what the reader prefers.

    A figure that has paper of its own, such as a map, stays as it is.
    """
    from matplotlib.colors import to_rgba

    if to_rgba(figure.get_facecolor())[3]:
        return svg
    rules = "".join(
        f'[style*="{part}: {light}"]{{{part}:{dark}!important}}' for light, dark in DARK.items()
        for part in ("fill", "stroke")
    )  # fmt: skip
    head, end, body = svg.partition("<defs>")
    return f"{head}<style>@media (prefers-color-scheme:dark){{{rules}}}</style>{end}{body}"
