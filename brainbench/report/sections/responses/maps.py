"""Maps of the best model layer of every participant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.maps import ANY, brain_map, map_values, scale_of, surface_map

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 630
MAX_MAPS = 8
DRAWN = ("volume", "fsaverage5")


def applies(facts: Facts) -> bool:
    """Return whether targets have a place in the brain."""
    return bool(facts["maps"])


def draw(page: Page) -> dict[str, Any] | None:
    """Return a map per participant, of the layer that is best over all regions; all have one scale and threshold."""
    chosen = _chosen(page)
    found = [map_values(page.root / entry["file"]) if entry["space"] in DRAWN else None for entry in chosen]
    limit, threshold = scale_of(np.concatenate([*(one for one in found if one is not None), np.zeros(0)]))
    shown: list[dict[str, Any]] = []
    for entry, values in zip(chosen, found, strict=True):
        title = f"{entry['subject']}: {entry['encoder']} {entry['layer']}, {page.title_of(entry['metric'])}"
        file, figure = page.root / entry["file"], None  # other meshes are drawn by Connectome Workbench
        if values is not None and entry["space"] == "volume":
            background = page.root / entry["background"] if entry["background"] else None
            figure = brain_map(file, background, limit, threshold, title, page.mark)
        elif values is not None and entry["space"] == "fsaverage5":
            figure = surface_map(file, limit, threshold, title, page.mark)
        alt = title
        if values is not None and len(values):
            alt += f": highest {values.max():.2f}, {np.mean(np.abs(values) > threshold):.0%} of targets are drawn"
        saved = page.save(figure, f"map_{entry['subject']}", alt)
        shown.append({"title": title, "file": entry["file"], "figure": saved})
    drawn = any(item["figure"] for item in shown)
    return (
        {"maps": shown, "limit": limit, "threshold": threshold if drawn and threshold > ANY else None}
        if shown
        else None
    )


def _chosen(page: Page) -> list[dict[str, Any]]:
    """Return the map of every participant's best model layer over all regions."""
    rows = page.over_folds(page.facts["metric"], page.scheme)
    rows = rows[rows["role"] == "model"]
    found: list[dict[str, Any]] = []
    for subject in dict.fromkeys(entry["subject"] for entry in page.facts["maps"]):
        means = rows[rows["subject"] == subject].groupby(["encoder", "layer"], sort=False)["value"].mean()
        if len(means):
            key = (subject, page.scheme, *(page.toward * means).idxmax(), page.facts["metric"])
            names = ("subject", "scheme", "encoder", "layer", "metric")
            found += [entry for entry in page.facts["maps"] if tuple(entry[name] for name in names) == key]
    return found[:MAX_MAPS]
