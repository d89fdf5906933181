"""Maps of the best model layer of every participant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.report.figures.maps import brain_map, surface_map

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 630
MAX_MAPS = 8


def applies(facts: Facts) -> bool:
    """Return whether targets have a place in the brain."""
    return bool(facts["maps"])


def draw(page: Page) -> dict[str, Any] | None:
    """Return a map per participant, of the layer that is best over all regions."""
    metric = page.facts["metric"]
    rows = page.over_folds(metric, page.scheme)
    rows = rows[rows["role"] == "model"]
    shown: list[dict[str, Any]] = []
    for subject in dict.fromkeys(entry["subject"] for entry in page.facts["maps"]):
        mine = rows[rows["subject"] == subject]
        means = mine.groupby(["encoder", "layer"], sort=False)["value"].mean()
        if not len(means):
            continue
        encoder, layer = (page.toward * means).idxmax()
        for entry in page.facts["maps"]:
            chosen = (entry["subject"], entry["scheme"], entry["encoder"], entry["layer"], entry["metric"])
            if chosen != (subject, page.scheme, encoder, layer, metric) or len(shown) >= MAX_MAPS:
                continue
            background = page.root / entry["background"] if entry["background"] else None
            title = f"{subject}: {encoder} {layer}, {page.title_of(metric)}"
            file = page.root / entry["file"]
            figure = None  # grayordinates and other meshes are drawn by Connectome Workbench
            if entry["space"] == "volume":
                figure = brain_map(file, background, title, page.mark)
            elif entry["space"] == "fsaverage5":
                figure = surface_map(file, title, page.mark)
            shown.append({"title": title, "file": entry["file"], "figure": page.save(figure, f"map_{subject}", title)})
    return {"maps": shown} if shown else None
