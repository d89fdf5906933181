"""Attention between electrodes: who asks whom, mean over participants."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures import trials as figures
from brainbench.report.sections.trials.shared import decodes_trials

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 570
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return matrix and maps of every network with attention."""
    shown, trials = [], page.findings["trials"]
    entries = trials.get("attention") or []
    for pipeline in dict.fromkeys(entry["pipeline"] for entry in entries):
        mine = [entry for entry in entries if entry["pipeline"] == pipeline]
        if any(entry["channels"] != mine[0]["channels"] for entry in mine):
            mine = mine[:1]
        channels = mine[0]["channels"]
        matrix = np.mean([entry["mean"] for entry in mine], axis=0)
        received = matrix.mean(axis=0) * len(matrix)
        order = np.argsort(-received)[:5]
        most = ", ".join(channels[index] for index in order)
        drawn = partial(figures.attention, matrix, channels, page.mark)
        saved = [page.save(drawn, f"attention_{pipeline}", f"Attention of {pipeline}; most attended {most}")]
        if trials["sensors"] is not None and channels == trials["sensors"]["names"]:
            places = np.array(trials["sensors"]["positions"])
            flow = np.mean([entry["rollout"] for entry in mine], axis=0) * len(matrix)
            titles = ("attention received", "followed through blocks")
            both = np.stack([received - received.mean(), flow - flow.mean()])
            maps = partial(figures.topographies, both, channels, places, page.mark, titles)
            saved.append(
                page.save(maps, f"attention_received_{pipeline}", f"Attention received, {pipeline}; most at {most}")
            )
        shown.append(
            {
                "title": pipeline,
                "people": [entry["subject"] for entry in mine],
                "figures": saved,
                "entropy": np.mean([entry["entropy"] for entry in mine], axis=0).round(3).tolist(),
                "with_distance": [entry["with_distance"] for entry in mine if entry["with_distance"] is not None],
                "most": [f"{channels[index]} ({received[index]:.2f})" for index in order],
            }
        )
    return {"pipelines": shown} if shown else None
