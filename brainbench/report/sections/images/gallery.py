"""Reconstructed images beside the original: the best, the median, the worst."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.images import gallery
from brainbench.report.sections.images.shared import reconstructs

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 110
MAX_GALLERIES = 4
HEADINGS = {
    "final: predicted": "predicted",
    "low_level: predicted": "first stage",
    "final: oracle": "oracle",
    "codec: codec": "codec",
    "baseline: nearest": "nearest\ntraining\nimage",
    "baseline: mean": "mean\ntraining\nimage",
    "baseline: run_mean": "mean of run\n(no brain)",
}
applies = reconstructs


def draw(page: Page) -> dict[str, Any] | None:
    """Return a figure per participant and scheme."""
    shown: list[dict[str, Any]] = []
    galleries = [entry for entry in page.facts["pictures"] if entry["what"] == "gallery"]
    for entry in galleries[:MAX_GALLERIES]:
        with np.load(page.root / entry["file"], allow_pickle=False) as stored:
            pictures = {_heading(name): stored[name] for name in entry["columns"]}
            places, stimuli, score = stored["place"], stored["stimulus"], stored["score"]
        figure = partial(gallery, pictures, places, stimuli, score, page.title_of(entry["metric"]), page.mark)
        title = f"{entry['subject']}, {entry['scheme']} held out"
        ranked = ", ".join(f"{place} {value:.2f}" for place, value in zip(places, score, strict=True))
        alt = f"Images of {title}, {' beside '.join(pictures)}; {page.title_of(entry['metric'])}: {ranked}."
        name = f"gallery_{entry['subject']}_{entry['scheme'].replace('+', '_')}"
        shown.append({"title": title, "metric": entry["metric"], "figure": page.save(figure, name, alt)})
    if not shown:
        return None
    about = page.findings["reconstruction"]
    return {"galleries": shown, "about": about, "left_out": [entry["file"] for entry in galleries[MAX_GALLERIES:]]}


def _heading(column: str) -> str:
    """Return the heading of a gallery's column."""
    return HEADINGS.get(column, column.partition(": ")[2] or column)
