"""Figures of decoded labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from brainbench.report.figures.drawing import BARE_CELL, WIDTH, cells, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion(labels: Sequence[str], counts: np.ndarray, mark: str = "", room: float = WIDTH) -> Figure:
    """Draw a confusion matrix, rows true, as shares of each true label; for a narrow page as small as names allow."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names, size = 0.6 + 0.075 * max(map(len, labels)), 1.6 + 0.45 * len(labels)
    close = room < min(size + 0.8, WIDTH) and names + BARE_CELL * len(labels) <= room
    if close:
        figure = new_figure(room, room + 0.2, mark)
    else:
        figure = new_figure(size + 0.8, size, mark)
    numbered = not close or (room - names) / len(labels) > 0.1 * len(f"{counts.max():.0f}")

    def text(i: int, j: int) -> str:
        return f"{counts[i, j]:.0f}" if counts[i, j] else ""

    axes = figure.subplots()
    image = cells(axes, share, text if numbered else None, cmap="Blues", low=0, high=1)
    axes.set_aspect("equal")
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if not (close and numbered):
        where = {"location": "bottom", "shrink": 0.8, "aspect": 30} if close else {"shrink": 0.7, "aspect": 20}
        figure.colorbar(image, ax=axes, **where)
    return figure
