"""Geometry: similarity of layers and regions, with nothing fitted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures import geometry as figures

if TYPE_CHECKING:
    from brainbench.report.frame import Picture
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 350
METRICS = ("rsa", "rsa_pearson", "cka")


def applies(facts: Facts) -> bool:
    """Return whether one of its metrics was scored."""
    return any(metric in facts["metrics"] for metric in METRICS)


def draw(page: Page) -> dict[str, Any] | None:
    """Return a heat map per metric."""
    maps = [{"metric": metric, "heat": page.heat_map(metric, page.lead)} for metric in METRICS]
    shown = [one for one in maps if one["heat"] is not None]
    if not shown:
        return None
    drawn = page.findings.get("rdms", [])
    return {
        "metrics": shown,
        "regions": drawn,
        "left_out": page.findings.get("rdms_left_out", ""),
        "rdms": page.save(partial(figures.rdms, drawn, page.mark), "rdms", _alike(page, drawn)) if drawn else None,
        "places": _places(page, drawn) if drawn else None,
    }


def _places(page: Page, drawn: list[dict[str, Any]]) -> Picture | None:
    stimuli = page.findings["rdm_stimuli"]
    figure = partial(figures.places, drawn, stimuli["ids"], stimuli["labels"], page.mark)
    said = "; ".join(f"{one['roi']}: the two directions hold {one['share']:.0%} of all distances" for one in drawn)
    return page.save(figure, "mds", f"Stimuli by their distances in every region (classical scaling). {said}.")


def _alike(page: Page, drawn: list[dict[str, Any]]) -> str:
    """Return which two stimuli are most alike and most different in every region."""
    ids, said = page.findings["rdm_stimuli"]["ids"], []
    first, second = np.triu_indices(len(ids), 1)
    for one in drawn:
        values = np.array(one["measured"], dtype=float)
        near, far = int(np.nanargmin(values)), int(np.nanargmax(values))
        pairs = [f"{ids[first[at]]} and {ids[second[at]]}" for at in (near, far)]
        said.append(f"{one['roi']}: most alike {pairs[0]}, most different {pairs[1]}")
    return f"RDMs of regions and of their best layers, as ranks. {'; '.join(said)}."
