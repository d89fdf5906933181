"""Figures of networks of tokens: the terms of their objective over training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.report.figures.drawing import COLOURS, WIDTH, abreast, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOT_TERMS = ("name", "loss", "learning_rate", "best_epoch", "steps", "network")


def curves(found: dict[str, Any], mark: str = "", room: float = WIDTH) -> Figure:
    """Draw every term by epoch, each in a panel of its own.

    Parameters
    ----------
    found : dict
        Term -> its mean of every epoch, among others.
    mark : str
    room : float
        Inches across.
    """
    terms = [name for name in found if name not in NOT_TERMS]
    lines, columns = abreast(len(terms), 1.8, room)
    figure = new_figure(min(room, 1.9 * columns + 0.4), 2.1 * lines, mark)
    panels: Any = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(terms) :]:
        axes.set_visible(False)
    for number, (axes, name) in enumerate(zip(panels, terms, strict=False)):
        values = found[name]
        axes.plot(
            range(1, len(values) + 1),
            values,
            color=COLOURS[number % len(COLOURS)],
            linewidth=1.3,
            marker="o" * (len(values) == 1),
        )
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel("epoch")
        clean(axes)
    return figure
