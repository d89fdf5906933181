"""Confusion matrices of the main scheme: per pipeline, summed over the participants with the same classes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures import labels
from brainbench.report.sections.trials.shared import alike, decodes_trials
from brainbench.report.tables import confusion_in_words

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 530
MAX_CONFUSIONS = 12
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return a matrix per pipeline; participants with other classes have one of their own."""
    entries = [one for one in page.findings.get("confusion", []) if one["scheme"] == page.scheme]
    groups, shown = alike(entries, "labels"), []
    for group in groups[:MAX_CONFUSIONS]:
        names, counts = group.entries[0]["labels"], np.sum([entry["counts"] for entry in group.entries], axis=0)
        figure = partial(labels.confusion, names, counts, page.mark)
        everybody = ", all participants" if group.title == group.pipeline else ""
        alt = confusion_in_words(group.title + everybody, names, counts)
        shown.append({"title": group.title, "figure": page.save(figure, f"confusion_{group.name}", alt)})
    return {"confusions": shown, "n_left_out": len(groups) - len(shown)} if shown else None
