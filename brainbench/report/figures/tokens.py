"""Figures of networks of tokens: the terms of their objective over training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.report.figures.drawing import COLOURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOT_TERMS = ("name", "loss", "learning_rate", "best_epoch", "steps")


def curves(found: dict[str, Any], mark: str = "") -> Figure:
    """Draw every term by epoch, each in a panel of its own.

    Parameters
    ----------
    found : dict
        Term -> its mean of every epoch, among others.
    mark : str
    """
    terms = [name for name in found if name not in NOT_TERMS]
    figure = new_figure(1.9 * len(terms) + 0.4, 2.1, mark)
    panels: Any = figure.subplots(1, len(terms), squeeze=False)[0]
    for number, (axes, name) in enumerate(zip(panels, terms, strict=True)):
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
