"""Which region carries which score: a region alone, and all but it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.report.figures.images import ladder
from brainbench.report.sections.images.shared import metrics_of, over_images, reconstructs, rungs_in_words

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 140
applies = reconstructs


def draw(page: Page) -> dict[str, Any] | None:
    """Return a figure per participant."""
    shown, over = [], over_images(page)
    last = over["stage"] == page.findings["reconstruction"]["last"]
    rows = over[(over["scheme"] == page.scheme) & last & over["row"].str.startswith("predicted")]
    for subject in dict.fromkeys(rows["subject"]):
        mine = rows[rows["subject"] == subject]
        table = [
            {
                "words": "all responses" if name == "predicted" else name.removeprefix("predicted, "),
                "predicted": name == "predicted",
                "cells": {str(row["metric"]): row for row in mine[mine["row"] == name].to_dict("records")},
            }
            for name in dict.fromkeys(mine["row"])
        ]
        if len(table) > 1:
            figure = partial(ladder, table, metrics_of(page), page.mark)
            saved = page.save(
                figure, f"ablation_{subject}", rungs_in_words(f"Regions of {subject}", table, metrics_of(page)[0])
            )
            shown.append({"subject": subject, "figure": saved})
    return {"participants": shown} if shown else None
