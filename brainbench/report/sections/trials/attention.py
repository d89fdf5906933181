"""Attention between electrodes: who asks whom, mean over the participants with the same electrodes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures import trials as figures
from brainbench.report.sections.trials.shared import alike, decodes_trials, places_of

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 570
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return matrix and maps of every network with attention."""
    shown = []
    for group in alike(page.findings["trials"].get("attention") or [], "channels"):
        mine = group.entries
        channels = mine[0]["channels"]
        matrix = np.mean([entry["mean"] for entry in mine], axis=0)
        received = matrix.mean(axis=0) * len(matrix)
        order = np.argsort(-received)[:5]
        most = ", ".join(channels[index] for index in order)
        drawn = partial(figures.attention, matrix, channels, page.mark)
        saved = [page.save(drawn, f"attention_{group.name}", f"Attention of {group.title}; most attended {most}")]
        places = places_of(page, mine[0]["subject"])
        if places is not None and channels == places[0]:
            flow = np.mean([entry["rollout"] for entry in mine], axis=0) * len(matrix)
            titles = ("attention received", "followed through blocks")
            both = np.stack([received - received.mean(), flow - flow.mean()])
            maps = partial(figures.topographies, both, channels, places[1], page.mark, titles)
            saved.append(
                page.save(
                    maps, f"attention_received_{group.name}", f"Attention received, {group.title}; most at {most}"
                )
            )
        shown.append(
            {
                "title": group.title,
                "people": [entry["subject"] for entry in mine],
                "figures": saved,
                "entropy": np.mean([entry["entropy"] for entry in mine], axis=0).round(3).tolist(),
                "with_distance": [entry["with_distance"] for entry in mine if entry["with_distance"] is not None],
                "most": [f"{channels[index]} ({received[index]:.2f})" for index in order],
            }
        )
    return {"pipelines": shown} if shown else None
