"""Figures of decoded trials: accuracy per participant, few-shot curves, scalp patterns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures import COLOURS, INK, _clean, _figure
from brainbench.report.tables import LEVEL, MEAN

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MARKERS = "osD^vPX*<>"


def accuracies(rows: pd.DataFrame, pipelines: Sequence[str], chance: float, mark: str = "") -> Figure:
    """Draw accuracy per participant and pipeline with intervals; filled marks q < .05, grey is the chance band.

    Parameters
    ----------
    rows : DataFrame
        Accuracy over folds of one scheme.
    pipelines : sequence of str
    chance : float
    """
    subjects = [str(name) for name in dict.fromkeys(rows["subject"])]
    figure = _figure(min(12.0, 2.6 + len(subjects) * (0.5 + 0.16 * len(pipelines))), 3.3, mark)
    axes = figure.subplots()
    width = 0.76 / max(1, len(pipelines))
    for j, subject in enumerate(subjects):
        mine = rows[rows["subject"] == subject]
        highest = mine["null_95"].max()
        if np.isfinite(highest):
            # The band ends where 95 % of permuted labels stay below, for the pipeline with the widest null.
            axes.fill_between([j - 0.44, j + 0.44], 2 * chance - highest, highest, color="#e4e7eb", linewidth=0)
        for k, name in enumerate(pipelines):
            one = mine[mine["pipeline"] == name]
            if not len(one):
                continue
            row = one.iloc[0]
            x, colour = j + (k - (len(pipelines) - 1) / 2) * width, COLOURS[k % len(COLOURS)]
            if np.isfinite(row["ci_low"]):
                axes.plot([x, x], [row["ci_low"], row["ci_high"]], color=colour, linewidth=1.2)
            axes.plot(
                x, row["value"], MARKERS[k % len(MARKERS)], color=colour, markersize=5,
                markerfacecolor=colour if row["q"] < LEVEL else "white", label=name if j == 0 else None,
            )  # fmt: skip
    axes.axhline(chance, color="#7b8794", linewidth=1, linestyle="--")
    axes.set_xticks(range(len(subjects)), subjects, fontsize=8, rotation=0 if len(subjects) < 12 else 60)
    axes.set_ylabel("accuracy", fontsize=8)
    axes.set_ylim(min(0.0, chance - 0.5) if chance < 0.2 else max(0.0, chance - 0.35), 1.03)
    _clean(axes)
    figure.legend(loc="outside right upper", fontsize=7.5, frameon=False)
    return figure


def differences(rows: pd.DataFrame, mark: str = "") -> Figure:
    """Draw differences of accuracy with their intervals, a line per pair of pipelines."""
    figure = _figure(6.4, min(9.0, 0.9 + 0.24 * len(rows)), mark)
    axes = figure.subplots()
    numbers = rows[["value", "ci_low", "ci_high", "q"]].to_numpy(dtype=float)
    for place, (value, low, high, q) in enumerate(numbers):
        colour = COLOURS[0] if q < LEVEL else "#7b8794"
        axes.plot([low, high], [place, place], color=colour, linewidth=1.4)
        axes.plot(value, place, "o", color=colour, markersize=4)
    axes.axvline(0, color="#9aa5b1", linewidth=0.9, linestyle="--")
    axes.set_yticks(range(len(rows)), rows["pipeline"], fontsize=7.5)
    axes.invert_yaxis()
    axes.set_xlabel("difference of accuracy", fontsize=8)
    _clean(axes)
    return figure


def few_shot(rows: pd.DataFrame, pipelines: Sequence[str], chance: float, mark: str = "") -> Figure:
    """Draw accuracy against trials per class of the new participant: thin lines participants, thick ones their mean."""
    figure = _figure(6.6, 3.2, mark)
    axes = figure.subplots()
    shots = rows["scheme"].str.rsplit("-", n=1).str[-1].astype(int)
    for k, name in enumerate(pipelines):
        colour = COLOURS[k % len(COLOURS)]
        mine = rows.assign(shots=shots)[rows["pipeline"] == name]
        for subject, one in mine.groupby("subject", sort=False):
            one = one.sort_values("shots")
            if subject == MEAN or mine["subject"].nunique() == 1:
                axes.plot(one["shots"], one["value"], "o-", color=colour, linewidth=2, markersize=4, label=name)
            else:
                axes.plot(one["shots"], one["value"], color=colour, linewidth=0.6, alpha=0.5)
    axes.axhline(chance, color="#7b8794", linewidth=1, linestyle="--")
    axes.set_xlabel("trials per class of the new participant in training", fontsize=8)
    axes.set_ylabel("accuracy", fontsize=8)
    axes.set_xticks(sorted(set(shots)))
    _clean(axes)
    figure.legend(loc="outside right upper", fontsize=7.5, frameon=False)
    return figure


def topographies(patterns: np.ndarray, names: Sequence[str], positions: np.ndarray, mark: str = "") -> Figure | None:
    """Draw scalp patterns with MNE; None where MNE is not installed.

    Parameters
    ----------
    patterns : ndarray (n_patterns, n_channels)
    names : sequence of str
    positions : ndarray (n_channels, 3)
        Metres, head coordinates, as they were recorded.
    """
    try:
        import mne
    except ImportError:
        return None
    info = mne.create_info(list(names), 1.0, "eeg")
    info.set_montage(
        mne.channels.make_dig_montage(dict(zip(names, positions, strict=True)), coord_frame="head"), verbose="ERROR"
    )
    figure = _figure(1.75 * len(patterns) + 0.3, 2.0, mark)
    panels: Any = figure.subplots(1, len(patterns), squeeze=False)[0]
    for number, (axes, pattern) in enumerate(zip(panels, patterns, strict=True), start=1):
        limit = float(np.abs(pattern).max()) or 1.0
        mne.viz.plot_topomap(
            pattern, info, axes=axes, show=False, cmap="RdBu_r", vlim=(-limit, limit), contours=4, sensors=True
        )
        axes.set_title(f"pattern {number}", fontsize=8, color=INK)
    return figure
