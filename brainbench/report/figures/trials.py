"""Figures of decoded trials: accuracy per participant, few-shot curves, scalp patterns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import BAND, COLOURS, INK, LINE, SMALL, WIDTH, abreast, clean, legend, new_figure
from brainbench.report.tables import LEVEL, MEAN

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MARKERS = "osD^vPX*<>"
SAME_PLACE = 1e-3
"""Metres within which channels have one place on a map."""


def spectra(people: Sequence[dict[str, Any]], mark: str = "", room: float = WIDTH) -> Figure:
    """Draw power spectra before and after filtering, a panel per participant: median and 10 to 90 % over channels.

    Parameters
    ----------
    people : sequence of {subject, unit, frequencies, before, filtered_frequencies, filtered, band}
    mark : str
    room : float
        Inches across.
    """
    lines, columns = abreast(len(people), 3.0, room)
    figure = new_figure(min(room, 3.0 * columns + 0.4), 2.2 * lines + 0.5, mark)
    panels = np.ravel(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False))
    for axes, one in zip(panels, people, strict=False):
        parts = (("before", "frequencies", LINE), ("filtered", "filtered_frequencies", COLOURS[0]))
        for name, at, colour in parts:
            low, middle, high = np.array(one[name])
            axes.fill_between(one[at], low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(one[at], middle, color=colour, linewidth=1.3)
        for edge in one["band"] or []:
            axes.axvline(edge, color=LINE, linewidth=0.9, linestyle="--", zorder=0)
        axes.set_title(one["subject"])
        clean(axes)
    for axes in panels[len(people) :]:
        axes.set_visible(False)
    # What a filter leaves of its stop band is of no interest: 60 decibels below the highest line are drawn.
    top = max(float(np.max(one["before"])) for one in people)
    lowest = min(float(np.min(one["before"])) for one in people)
    panels[0].set_ylim(max(lowest - 15, top - 80), top + 4)
    for axes in panels[max(0, len(people) - columns) : len(people)]:
        axes.set_xlabel("Hz")
    unit = people[0].get("unit", "µV")  # runs of before 28 November 2026 do not say it
    figure.supylabel(f"dB of ({unit})² per Hz" if "/" in unit else f"dB of {unit}² per Hz", fontsize=9)
    return figure


def accuracies(
    rows: pd.DataFrame, pipelines: Sequence[str], chance: float, mark: str = "", room: float = WIDTH
) -> Figure:
    """Draw accuracy per participant and pipeline with intervals; filled marks q < .05, grey is the chance band.

    Parameters
    ----------
    rows : DataFrame
        Accuracy over folds of one scheme.
    pipelines : sequence of str
    chance : float
    mark : str
    room : float
        Inches across.
    """
    subjects = [str(name) for name in dict.fromkeys(rows["subject"])]
    figure = new_figure(min(room, 2.6 + len(subjects) * (0.5 + 0.16 * len(pipelines))), 3.3, mark)
    axes = figure.subplots()
    width = 0.76 / max(1, len(pipelines))
    for j, subject in enumerate(subjects):
        mine = rows[rows["subject"] == subject]
        highest = mine["null_95"].max()
        if np.isfinite(highest):
            # The band ends where 95 % of permuted labels stay below, for the pipeline with the widest null.
            axes.fill_between([j - 0.44, j + 0.44], 2 * chance - highest, highest, color=BAND, linewidth=0)
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
    axes.axhline(chance, color=LINE, linewidth=1, linestyle="--")
    axes.set_xticks(range(len(subjects)), subjects, rotation=0 if len(subjects) < 1.3 * room else 60)
    axes.set_ylabel("accuracy")
    axes.set_ylim(*_accuracy_limits(chance))
    clean(axes)
    legend(figure, room)
    return figure


def differences(rows: pd.DataFrame, mark: str = "", room: float = WIDTH) -> Figure:
    """Draw differences of accuracy with their intervals, a line per pair of pipelines."""
    figure = new_figure(min(room, 6.4), min(9.0, 0.9 + 0.24 * len(rows)), mark)
    axes = figure.subplots()
    numbers = rows[["value", "ci_low", "ci_high", "q"]].to_numpy(dtype=float)
    for place, (value, low, high, q) in enumerate(numbers):
        colour = COLOURS[0] if q < LEVEL else LINE
        axes.plot([low, high], [place, place], color=colour, linewidth=1.4)
        axes.plot(value, place, "o", color=colour, markersize=4)
    axes.axvline(0, color=LINE, linewidth=0.9, linestyle="--")
    axes.set_yticks(range(len(rows)), rows["pipeline"])
    axes.invert_yaxis()
    axes.set_xlabel("difference of accuracy")
    clean(axes)
    return figure


def few_shot(
    rows: pd.DataFrame, pipelines: Sequence[str], chance: float, mark: str = "", room: float = WIDTH
) -> Figure:
    """Draw accuracy against trials per class of the new participant: thin lines participants, thick ones their mean."""
    figure = new_figure(min(room, 6.6), 3.2, mark)
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
    axes.axhline(chance, color=LINE, linewidth=1, linestyle="--")
    axes.set_xlabel("trials per class of the new participant in training")
    axes.set_ylabel("accuracy")
    axes.set_xticks(sorted(set(shots)))
    clean(axes)
    legend(figure, room)
    return figure


def by_window(
    rows: pd.DataFrame, parts: Sequence[dict[str, Any]], chance: float, trial: Sequence[float], mark: str = "",
    room: float = WIDTH,
) -> Figure:  # fmt: skip
    """Draw accuracy of every window at its middle, a panel per participant; filled marks q < .05.

    Parameters
    ----------
    rows : DataFrame
        Accuracy of the windows, participants in order.
    parts : sequence of {name, low, high}
    chance : float
    trial : (start, end)
        What the other pipelines of the recipe are given, in seconds; it is underlined.
    mark : str
    room : float
        Inches across.
    """
    subjects = [str(name) for name in dict.fromkeys(rows["subject"])]
    lines, columns = abreast(len(subjects), 2.9, room)
    figure = new_figure(min(room, 2.9 * columns + 0.5), 2.2 * lines + 0.5, mark)
    panels = np.ravel(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False))
    middle = np.array([(part["low"] + part["high"]) / 2 for part in parts])
    names = [part["name"] for part in parts]
    for axes, subject in zip(panels, subjects, strict=False):
        mine = rows[rows["subject"] == subject].drop_duplicates("roi").set_index("roi").reindex(names)
        value, null = mine["value"].to_numpy(dtype=float), mine["null_95"].to_numpy(dtype=float)
        axes.fill_between(middle, 2 * chance - null, null, color=BAND, linewidth=0)
        axes.fill_between(
            middle, mine["ci_low"].to_numpy(dtype=float), mine["ci_high"].to_numpy(dtype=float), color=COLOURS[0],
            alpha=0.15, linewidth=0,
        )  # fmt: skip
        axes.plot(middle, value, color=COLOURS[0], linewidth=1.4)
        sure = mine["q"].to_numpy(dtype=float) < LEVEL
        axes.plot(middle[~sure], value[~sure], "o", color=COLOURS[0], markerfacecolor="white", markersize=4.5)
        axes.plot(middle[sure], value[sure], "o", color=COLOURS[0], markersize=4.5)
        axes.axhline(chance, color=LINE, linewidth=1, linestyle="--")
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.plot(trial, [0.015, 0.015], color=COLOURS[1], linewidth=3, transform=axes.get_xaxis_transform())
        axes.set_title(subject)
        clean(axes)
    for axes in panels[len(subjects) :]:
        axes.set_visible(False)
    panels[0].set_ylim(*_accuracy_limits(chance))
    for axes in panels[max(0, len(subjects) - columns) : len(subjects)]:
        axes.set_xlabel("middle of the window, s")
    figure.supylabel("accuracy", fontsize=9)
    return figure


def by_band(
    rows: pd.DataFrame, parts: Sequence[dict[str, Any]], chance: float, mark: str = "", room: float = WIDTH
) -> Figure:
    """Draw accuracy of every frequency band: a group of marks per band, one participant each; filled q < .05."""
    subjects = [str(name) for name in dict.fromkeys(rows["subject"])]
    figure = new_figure(min(room, 2.4 + len(parts) * (0.55 + 0.13 * len(subjects))), 3.0, mark)
    axes = figure.subplots()
    width = 0.7 / max(1, len(subjects))
    for j, part in enumerate(parts):
        here = rows[rows["roi"] == part["name"]]
        highest = here["null_95"].max()
        if np.isfinite(highest):
            axes.fill_between([j - 0.42, j + 0.42], 2 * chance - highest, highest, color=BAND, linewidth=0)
        for k, subject in enumerate(subjects):
            one = here[here["subject"] == subject]
            if not len(one):
                continue
            row, colour = one.iloc[0], COLOURS[k % len(COLOURS)]
            x = j + (k - (len(subjects) - 1) / 2) * width
            axes.plot([x, x], [row["ci_low"], row["ci_high"]], color=colour, linewidth=1.2)
            axes.plot(
                x, row["value"], MARKERS[k % len(MARKERS)], color=colour, markersize=5,
                markerfacecolor=colour if row["q"] < LEVEL else "white", label=subject if j == 0 else None,
            )  # fmt: skip
    axes.axhline(chance, color=LINE, linewidth=1, linestyle="--")
    names = [part["name"].rpartition(" ")[0].rpartition(" ") for part in parts]
    axes.set_xticks(
        range(len(parts)), [f"{name.replace('_', ' ')}\n{hz} Hz" for name, _, hz in names]
    )  # fmt: skip
    axes.set_ylabel("accuracy")
    axes.set_ylim(*_accuracy_limits(chance))
    clean(axes)
    legend(figure, room)
    return figure


def _accuracy_limits(chance: float) -> tuple[float, float]:
    return max(0.0, chance - 0.35), 1.03


def reliability(entry: dict[str, Any], mark: str = "") -> Figure:
    """Draw how often decisions were right against how sure the decoder was; the size of a mark is its trials.

    Parameters
    ----------
    entry : {edges, count, confidence, right}
    """
    figure = new_figure(2.7, 2.6, mark)
    axes = figure.subplots()
    count = np.array(entry["count"], dtype=float)
    filled = count > 0
    n = count[filled]
    said, right = np.array(entry["confidence"])[filled] / n, np.array(entry["right"])[filled] / n
    low = entry["edges"][0]
    axes.plot([low, 1], [low, 1], color=LINE, linewidth=1, linestyle="--")
    spread = np.sqrt(np.maximum(right * (1 - right), 1 / (4 * n)) / n)
    axes.errorbar(said, right, spread, fmt="none", ecolor=LINE, elinewidth=1)
    axes.plot(said, right, color=COLOURS[0], linewidth=1)
    axes.scatter(said, right, s=12 + 160 * n / n.sum(), color=COLOURS[0], zorder=3)
    axes.set_xlim(low - 0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("probability of the decision")
    axes.set_ylabel("share that was right")
    clean(axes)
    return figure


def attention(matrix: np.ndarray, names: Sequence[str], mark: str = "", room: float = WIDTH) -> Figure:
    """Draw who attends to whom: rows ask, columns answer; where there is little room, not every name is written."""
    side = min(WIDTH - 0.9, 2.2 + 0.13 * len(names))
    close = room < side + 0.9
    figure = new_figure(room if close else side + 0.9, room + 0.6 if close else side, mark)
    axes = figure.subplots()
    step = -(-len(names) // int((room - 1.0) / 0.13)) if close else 1
    places = range(0, len(names), step)
    image = axes.imshow(matrix * len(names), cmap="viridis")
    axes.set_xticks(places, names[::step], rotation=90, fontsize=SMALL)
    axes.set_yticks(places, names[::step], fontsize=SMALL)
    axes.tick_params(length=0, pad=1)
    axes.set_xlabel("electrode that answers")
    axes.set_ylabel("electrode that asks")
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=25, location="bottom" if close else "right")
    bar.set_label("attention, times its uniform share")
    return figure


def topographies(
    patterns: np.ndarray, names: Sequence[str], positions: np.ndarray, mark: str = "",
    titles: Sequence[str] | None = None, room: float = WIDTH, *, fields: bool = False,
) -> Figure | None:  # fmt: skip
    """Draw scalp maps with MNE; None where MNE is not installed.

    Channels at one place, the two coils of a planar gradiometer, are drawn as one; see `one_a_place`.

    Parameters
    ----------
    patterns : ndarray (n_patterns, n_channels)
    names : sequence of str
    positions : ndarray (n_channels, 3)
        Metres, head coordinates, as they were recorded.
    titles : sequence of str, optional
        One per map; patterns are numbered without it.
    room : float
        Inches across.
    fields : bool
        Whether values are what channels measure, not what is said of them.
    """
    try:
        import mne
    except ImportError:
        return None
    patterns, names, positions = one_a_place(patterns, names, positions, fields=fields)
    info = mne.create_info(list(names), 1.0, "eeg")
    info.set_montage(
        mne.channels.make_dig_montage(dict(zip(names, positions, strict=True)), coord_frame="head"), verbose="ERROR"
    )
    titles = [f"pattern {number}" for number in range(1, len(patterns) + 1)] if titles is None else titles
    lines, columns = abreast(len(patterns), 1.75, room)
    figure = new_figure(min(room, 1.75 * columns + 0.3), 2.0 * lines, mark)
    figure.set_facecolor("white")  # outlines and colours of maps are read on white
    panels: Any = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(patterns) :]:
        axes.set_visible(False)
    for axes, pattern, title in zip(panels, patterns, titles, strict=False):
        limit = float(np.abs(pattern).max()) or 1.0
        mne.viz.plot_topomap(
            pattern, info, axes=axes, show=False, cmap="RdBu_r", vlim=(-limit, limit), contours=4, sensors=True
        )
        axes.set_title(title)
    return figure


def one_a_place(
    values: np.ndarray, names: Sequence[str], positions: np.ndarray, *, fields: bool = False
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return maps, names and positions of which no two share a place: no map could be drawn of those.

    Parameters
    ----------
    values : ndarray (n_maps, n_channels)
    names : sequence of str
    positions : ndarray (n_channels, 3)
        Metres.
    fields : bool
        Take the root mean square of two, since each coil measures a slope in a direction of its own; else their mean.
    """
    first = (np.linalg.norm(positions[:, None] - positions[None], axis=-1) < SAME_PLACE).argmax(axis=1)
    places = np.unique(first)
    if len(places) < len(first):
        power = 2 if fields else 1
        values = np.stack([(values[:, first == at] ** power).mean(axis=1) ** (1 / power) for at in places], axis=1)
    return values, [names[at] for at in places], positions[places]
