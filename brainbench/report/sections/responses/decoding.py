"""Decoding labels from responses: accuracies, pairs of classes, confusion."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.evaluation.decoding import PAIR
from brainbench.report.figures.labels import confusion
from brainbench.report.tables import ALL, confusion_in_words, how_tested

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 400
MAX_MATRICES = 8


def applies(facts: Facts) -> bool:
    """Return whether labels were decoded from responses."""
    return "accuracy" in facts["metrics"] and "trials" not in facts["findings"]


def draw(page: Page) -> dict[str, Any] | None:
    """Return rows of the tables, and confusion matrices."""
    rows = page.over_folds("accuracy")
    if not len(rows):
        return None
    scores = page.scores
    pairs = scores[(scores["fold"] == ALL) & scores["metric"].str.startswith(PAIR)]
    matrices, counted = [], page.findings.get("confusion", [])
    for index, entry in enumerate(counted[:MAX_MATRICES]):
        figure = partial(confusion, entry["labels"], np.array(entry["counts"]), page.mark)
        title = f"{entry['subject']}, {entry['roi']}, {entry['pipeline']}"
        matrices.append(
            {
                "title": title,
                "figure": page.save(
                    figure, f"confusion_{index + 1}", confusion_in_words(title, entry["labels"], entry["counts"])
                ),
            }
        )
    return {
        "rows": rows.to_dict("records"),
        "pairs": pairs[pairs["subject"] == page.lead].to_dict("records"),
        "matrices": matrices,
        "n_left_out": len(counted) - len(matrices),
        "tests": how_tested(rows),
        "chance": page.facts.get("chance", {}).get("accuracy") if counted else None,
    }
