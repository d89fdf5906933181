"""When in the trial, and at which frequencies: accuracy of windows and of bands."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.report.figures import trials as figures
from brainbench.report.sections.trials.shared import chance_of, decodes_trials
from brainbench.report.tables import MEAN, number

if TYPE_CHECKING:
    import pandas as pd

    from brainbench.report.page import Page

PLACE = 550
MAX_PEOPLE = 12
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return the curve over windows and the one over bands, each with its table."""
    time, band = _parts(page, "time"), _parts(page, "band")
    return {"time": time, "band": band} if time or band else None


def _parts(page: Page, kind: str) -> dict[str, Any] | None:
    facts = page.findings["trials"].get(kind)
    if not facts:
        return None
    chance = chance_of(page.facts)
    rows = page.over_folds("accuracy", facts["scheme"])
    order = {part["name"]: number for number, part in enumerate(facts["parts"])}
    rows = rows.assign(place=rows["roi"].map(order)).sort_values("place", kind="stable")
    people = rows[rows["subject"] != MEAN].sort_values("subject", kind="stable")
    names = list(dict.fromkeys(people["subject"]))
    cells = {(row["roi"], row["subject"]): {**row, "sure": row["q"] < page.level} for row in people.to_dict("records")}
    table = [{"name": part, "cells": [cells.get((part, name)) for name in names]} for part in order]
    shown = people[people["subject"].isin(names[:MAX_PEOPLE])]
    if kind == "time":
        figure = partial(figures.by_window, shown, facts["parts"], chance, facts["trial"], page.mark)
    else:
        figure = partial(figures.by_band, shown, facts["parts"], chance, page.mark)
    return {
        **facts,
        "figure": page.save(figure, f"accuracy_by_{kind}", _in_words(kind, shown, page.level)),
        "table": table,
        "people": names,
        "n_left_out": max(0, len(names) - MAX_PEOPLE),
    }


def _in_words(kind: str, rows: pd.DataFrame, level: float) -> str:
    """Return every participant's best part, and how many are above chance."""
    said = []
    for subject, mine in rows.groupby("subject", sort=False):
        best = mine.iloc[int(mine["value"].argmax())]
        sure = f"{int((mine['q'] < level).sum())} of {len(mine)} above chance"
        said.append(f"{subject} highest in {best['roi']}, {number(best['value'])}; {sure}")
    return f"Accuracy by {kind}: {'. '.join(said)}."
