"""Figures of decoded labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from brainbench.report.figures.drawing import INK, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion(labels: Sequence[str], counts: np.ndarray, mark: str = "") -> Figure:
    """Draw a confusion matrix, rows true, as shares of each true label."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 1.6 + 0.42 * len(labels)
    figure = new_figure(size + 0.8, size, mark)
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(share):
        if counts[i, j]:
            axes.text(
                j, i, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=7, color="white" if value > 0.6 else INK
            )
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=7.5)
    axes.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.7, aspect=20).ax.tick_params(labelsize=7)
    return figure
