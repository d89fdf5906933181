"""Accuracy against the number of calibration trials of a new participant."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.report.figures import trials as figures
from brainbench.report.sections.trials.shared import chance_of, decodes_trials, names_of
from brainbench.report.tables import number

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 520
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return the curve; None where one number was tried."""
    trials, scores = page.findings["trials"], page.scores
    if len(set(trials["shots"])) < 2:
        return None
    mine = (scores["fold"] == "all") & (scores["metric"] == "accuracy") & scores["scheme"].isin(trials["shots"])
    drawn = partial(figures.few_shot, scores[mine], names_of(trials), chance_of(page.facts), page.mark)
    rows = scores[mine]
    means = {label: number(rows[rows["scheme"] == label]["value"].mean()) for label in trials["shots"]}
    few, *_, many = (f"{label}: {value}" for label, value in means.items())
    alt = f"Mean accuracy against calibration trials, from {few} to {many}."
    return {"curve": page.save(drawn, "few_shot", alt)}
