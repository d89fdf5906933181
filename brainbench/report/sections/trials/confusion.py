"""Confusion matrices of the main scheme: per pipeline, summed over participants."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures import labels
from brainbench.report.sections.trials.shared import decodes_trials
from brainbench.report.tables import confusion_in_words

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 530
MAX_CONFUSIONS = 12
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return a matrix per pipeline; participants with other classes are not added up."""
    shown: list[dict[str, Any]] = []
    entries = page.findings.get("confusion", [])
    for pipeline in dict.fromkeys(entry["pipeline"] for entry in entries):
        mine = [entry for entry in entries if entry["pipeline"] == pipeline and entry["scheme"] == page.scheme]
        if not mine or len(shown) >= MAX_CONFUSIONS:
            continue
        if any(entry["labels"] != mine[0]["labels"] for entry in mine):
            continue
        counts = np.sum([entry["counts"] for entry in mine], axis=0)
        figure = partial(labels.confusion, mine[0]["labels"], counts, page.mark)
        alt = confusion_in_words(f"{pipeline}, all participants", mine[0]["labels"], counts)
        shown.append({"title": pipeline, "figure": page.save(figure, f"confusion_{pipeline}", alt)})
    return {"confusions": shown} if shown else None
