"""Figures of contacts in the head: groups of them, what each contributes, and how many are enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.drawing import (
    BAND,
    COLOURS,
    INK,
    LINE,
    WIDTH,
    abreast,
    cells,
    clean,
    legend,
    new_figure,
    short,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PANEL = 3.1
LEVEL = 0.05


def by_group(
    alone: pd.DataFrame, without: pd.DataFrame, names: Sequence[str], chance: float, mark: str = "",
    room: float = WIDTH,
) -> Figure:  # fmt: skip
    """Draw accuracy of every group of channels alone and of all without it, a panel a participant.

    Parameters
    ----------
    alone, without : DataFrame
        Accuracy of groups (`roi`), participants in order; `alone` has a row of all channels.
    names : sequence of str
        Groups in order, the one of all channels last.
    chance : float
    mark : str
    room : float
        Inches across.
    """
    subjects = [str(name) for name in dict.fromkeys(alone["subject"])]
    lines, columns = abreast(len(subjects), PANEL, room)
    figure = new_figure(min(room, PANEL * columns + 1.2), (0.24 * len(names) + 0.75) * lines + 0.4, mark)
    panels = np.ravel(figure.subplots(lines, columns, sharex=True, squeeze=False))
    for panel, (axes, subject) in enumerate(zip(panels, subjects, strict=False)):
        mine = [name for name in names if name in set(alone.loc[alone["subject"] == subject, "roi"])]
        for rows, shift, colour, shape, label in (
            (alone, -0.12, COLOURS[0], "o", "alone"), (without, 0.16, COLOURS[1], "s", "left out"),
        ):  # fmt: skip
            own = rows[rows["subject"] == subject].drop_duplicates("roi").set_index("roi")
            for at, name in enumerate(mine):
                if name not in own.index:
                    continue
                row, y = own.loc[name], at + shift
                if rows is alone and np.isfinite(row["null_95"]):
                    axes.fill_betweenx([at - 0.42, at + 0.42], 2 * chance - row["null_95"], row["null_95"], color=BAND,
                                       linewidth=0)  # fmt: skip
                axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=1.2)
                axes.plot(
                    row["value"], y, shape, color=colour, markersize=5, label=label if panel == at == 0 else None,
                    markerfacecolor=colour if row["q"] < LEVEL else "white",
                )  # fmt: skip
        axes.axvline(chance, color=LINE, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(mine)), mine)
        axes.set_ylim(len(mine) - 0.5, -0.5)
        axes.set_title(subject)
        clean(axes)
    for axes in panels[len(subjects) :]:
        axes.set_visible(False)
    panels[0].set_xlim(max(0.0, chance - 0.35), 1.03)
    figure.supylabel("")
    for axes in panels[max(0, len(subjects) - columns) : len(subjects)]:
        axes.set_xlabel("accuracy")
    legend(figure, room)
    return figure


def contribution(
    places: Mapping[str, tuple[str, int]], values: Mapping[str, float], label: str, marked: Sequence[str] = (),
    mark: str = "",
) -> Figure:  # fmt: skip
    """Draw what every contact contributes: a row a shaft, a column a number along it.

    Parameters
    ----------
    places : mapping of str to (shaft, number)
        By channel.
    values : mapping of str to float
        By channel.
    label : str
        What the colours are.
    marked : sequence of str
        Channels with a frame: those that were planted.
    mark : str
    """
    shafts = list(dict.fromkeys(shaft for shaft, _ in places.values()))
    numbers = sorted({number for _, number in places.values()})
    table = np.full((len(shafts), len(numbers)), np.nan)
    at = {name: (shafts.index(shaft), numbers.index(number)) for name, (shaft, number) in places.items()}
    for name, cell in at.items():
        table[cell] = values[name]
    figure = new_figure(1.6 + 0.46 * len(numbers), 0.9 + 0.26 * len(shafts), mark)
    axes = figure.subplots()
    known = table[np.isfinite(table)]
    image = cells(
        axes, table, lambda i, j: short(table[i, j]) if np.isfinite(table[i, j]) else "",
        cmap="cividis_r", low=float(known.min()), high=float(known.max()),
    )  # fmt: skip
    for name in marked:
        row, column = at[name]
        axes.add_patch(_frame(row, column))
    axes.set_xticks(range(len(numbers)), [str(number) for number in numbers])
    axes.set_yticks(range(len(shafts)), shafts)
    axes.set_xlabel("number along the shaft")
    axes.set_ylabel("shaft")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=18)
    bar.set_label(label)
    return figure


def _frame(row: int, column: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, edgecolor=COLOURS[1], linewidth=1.6)


def by_number(rows: pd.DataFrame, chance: float, mark: str = "", room: float = WIDTH) -> Figure:
    """Draw accuracy against the number of contacts that are decoded from, a line a participant.

    Parameters
    ----------
    rows : DataFrame
        Accuracy, participants in order; `n_targets` is the number of contacts.
    chance : float
    mark : str
    room : float
        Inches across.
    """
    figure = new_figure(min(room, 5.2), 2.7, mark)
    axes = figure.subplots()
    for index, (subject, mine) in enumerate(rows.groupby("subject", sort=False)):
        mine, colour = mine.sort_values("n_targets"), COLOURS[index % len(COLOURS)]
        n, value = mine["n_targets"].to_numpy(dtype=float), mine["value"].to_numpy(dtype=float)
        axes.fill_between(n, mine["ci_low"].to_numpy(dtype=float), mine["ci_high"].to_numpy(dtype=float), color=colour,
                          alpha=0.12, linewidth=0)  # fmt: skip
        axes.plot(n, value, "o-", color=colour, markersize=4, linewidth=1.3, label=str(subject))
    axes.axhline(chance, color=LINE, linewidth=1, linestyle="--")
    ticks = sorted({int(n) for n in rows["n_targets"]})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(n) for n in ticks], color=INK)
    axes.minorticks_off()
    axes.set_ylim(max(0.0, chance - 0.35), 1.03)
    axes.set_xlabel("contacts, the best of the training trials")
    axes.set_ylabel("accuracy")
    clean(axes)
    legend(figure, room)
    return figure
