"""Figures of decoded labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from brainbench.report.figures.drawing import cells, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion(labels: Sequence[str], counts: np.ndarray, mark: str = "") -> Figure:
    """Draw a confusion matrix, rows true, as shares of each true label."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 1.6 + 0.45 * len(labels)
    figure = new_figure(size + 0.8, size, mark)
    axes = figure.subplots()
    image = cells(axes, share, lambda i, j: f"{counts[i, j]:.0f}" if counts[i, j] else "", cmap="Blues", low=0, high=1)
    axes.set_aspect("equal")
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    figure.colorbar(image, ax=axes, shrink=0.7, aspect=20)
    return figure
