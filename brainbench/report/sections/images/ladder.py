"""The ladder: what the codec, true features, a lookup or no brain at all would reach."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.report.figures.images import ladder
from brainbench.report.sections.images.shared import metrics_of, over_images, reconstructs, rungs_in_words

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 120
WORDS = {
    ("codec", "codec"): "codec: true latents",
    ("final", "oracle"): "oracle: true features",
    ("final", "predicted"): "predicted",
    ("low_level", "predicted"): "predicted, first stage",
    ("baseline", "nearest"): "nearest training image",
    ("baseline", "mean"): "mean training image",
    ("baseline", "run_mean"): "mean of the run's other images (no brain)",
    ("baseline", "shuffled, final"): "shuffled responses",
    ("baseline", "shuffled, low_level"): "shuffled responses, first stage",
}
"""Rungs of the ladder in words, from the top."""
applies = reconstructs


def draw(page: Page) -> dict[str, Any]:
    """Return an entry per scheme, with every participant's rungs."""
    metrics = metrics_of(page)
    subjects = [subject["subject"] for subject in page.facts["subjects"]]
    schemes = []
    for scheme in page.facts["schemes"]:
        shown = [_of_subject(page, subject, scheme["label"], metrics) for subject in subjects]
        schemes.append({"scheme": scheme, "subjects": [one for one in shown if one is not None]})
    return {"schemes": schemes, "metrics": metrics, "about": page.findings["reconstruction"]}


def _of_subject(page: Page, subject: str, scheme: str, metrics: list[dict[str, Any]]) -> dict[str, Any] | None:
    over = over_images(page)
    mine = over[(over["scheme"] == scheme) & (over["subject"] == subject)]
    table = []
    for (stage, rung), words in WORDS.items():
        here = mine[(mine["stage"] == stage) & (mine["row"] == rung)]
        if len(here):
            cells = {str(row["metric"]): row for row in here.to_dict("records")}
            table.append({"words": words, "predicted": rung == "predicted", "cells": cells})
    if not table:
        return None
    name = f"ladder_{subject}_{scheme.replace('+', '_')}"
    alt = rungs_in_words(f"The ladder of {subject}, {scheme} held out", table, metrics[0])
    return {
        "subject": subject,
        "table": table,
        "gain": mine[mine["stage"] == "final - low_level"].to_dict("records"),
        "figure": page.save(partial(ladder, table, metrics, page.mark), name, alt),
    }
