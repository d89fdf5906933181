"""Maps of the best model layer of every participant."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.maps import ANY, brain_map, map_values, scale_of, surface_map
from brainbench.report.figures.surface import Painted, best_layers, hemispheres, scene

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 630
MAX_MAPS = 8
SURFACES = ("fsaverage5", "surface")


def applies(facts: Facts) -> bool:
    """Return whether targets have a place in the brain."""
    return bool(facts["maps"])


def draw(page: Page) -> dict[str, Any] | None:
    """Return a map per participant, of the layer that is best over all regions; all have one scale and threshold."""
    best = _chosen(page)
    chosen, n_chosen = best[:MAX_MAPS], len(best)
    meshed = [hemispheres(page.root / entry["file"]) if entry["space"] in SURFACES else None for entry in chosen]
    found = [
        map_values(page.root / entry["file"]) if entry["space"] == "volume" or on_mesh is not None else None
        for entry, on_mesh in zip(chosen, meshed, strict=True)
    ]
    limit, threshold = scale_of(np.concatenate([*(one for one in found if one is not None), np.zeros(0)]))
    shown: list[dict[str, Any]] = []
    for entry, values, on_mesh in zip(chosen, found, meshed, strict=True):
        title = f"{entry['subject']}: {entry['encoder']} {entry['layer']}, {page.title_of(entry['metric'])}"
        file = page.root / entry["file"]
        figure: Any = None  # other meshes are drawn by Connectome Workbench
        if values is not None and entry["space"] == "volume":
            background = page.root / entry["background"] if entry["background"] else None
            figure = partial(brain_map, file, background, limit, threshold, title, page.mark)
        elif on_mesh is not None:
            figure = partial(surface_map, on_mesh, limit, threshold, title, page.mark)
        alt = title
        if values is not None and len(values):
            alt += f": highest {values.max():.2f}, {np.mean(np.abs(values) > threshold):.0%} of targets are drawn"
        saved = page.save(figure, f"map_{entry['subject']}", alt)
        shown.append({"title": title, "file": entry["file"], "figure": saved, "why": _why(entry, on_mesh)})
    if not shown:
        return None
    drawn = any(item["figure"] for item in shown)
    turned = [entry for entry, on_mesh in zip(chosen, meshed, strict=True) if on_mesh is not None]
    return {
        "maps": shown,
        "n_left_out": n_chosen - len(chosen),
        "limit": limit,
        "threshold": threshold if drawn and threshold > ANY else None,
        "finer": any(entry["space"] == "surface" for entry in turned),
        "scene": page.fitting(_scene(page, turned, limit, threshold)) if turned else None,
    }


def _why(entry: dict[str, Any], on_mesh: np.ndarray | None) -> str:
    """Return why a map may not be drawn."""
    if entry["space"] in SURFACES and on_mesh is None and entry["file"].endswith(".gii"):
        return "its mesh does not come with nilearn, as fsaverage5 does: open it in FreeView or Connectome Workbench"
    if entry["file"].endswith(".dscalar.nii"):
        return "the fs_LR mesh does not come with nilearn: open it in Connectome Workbench"
    return 'nilearn draws it when it is installed: pip install "brainbench[fmri]"'


def _scene(page: Page, chosen: list[dict[str, Any]], limit: float, threshold: float) -> str | None:
    """Return the surface that turns: the scores of every map, and the best layer of every vertex."""
    painted: list[Painted] = []
    for entry in chosen:
        alike = [
            one for one in page.facts["maps"]
            if all(one[name] == entry[name] for name in ("subject", "scheme", "encoder", "metric"))
        ]  # fmt: skip
        values = {one["layer"]: hemispheres(page.root / one["file"]) for one in alike}
        known = {layer: found for layer, found in values.items() if found is not None}
        if entry["layer"] not in known:
            continue
        title = page.title_of(entry["metric"])
        scores = len(painted)
        painted.append(Painted(f"{entry['subject']}: {title} of {entry['encoder']} {entry['layer']}",
                               known[entry["layer"]]))  # fmt: skip
        if len(known) > 1 and page.toward > 0:
            best = best_layers(np.stack(list(known.values())), threshold)
            painted.append(
                Painted(f"{entry['subject']}: best layer of {entry['encoder']}", best, tuple(known), scores=scores)
            )
    return scene(painted, limit, threshold) if painted else None


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
    return found
