"""The best layer of each region, with how often it was the best one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.report.figures.layers import best_layers
from brainbench.report.tables import MEAN

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 320


def applies(facts: Facts) -> bool:
    """Return whether best layers were sought."""
    return "best_layer" in facts["findings"]


def draw(page: Page) -> dict[str, Any] | None:
    """Return an entry per encoder with more than one layer: of the group, or of all participants."""
    shown = []
    for encoder in page.facts["encoders"]:
        entries = [
            entry for entry in page.findings["best_layer"]
            if entry["encoder"] == encoder["name"] and entry["scheme"] == page.scheme
            and (entry["subject"] == page.lead or page.lead == MEAN)
        ]  # fmt: skip
        if not entries:
            continue
        names = [layer["name"] for layer in encoder["layers"]]
        rois = [roi for roi in page.rois if any(entry["roi"] == roi for entry in entries)]
        figure = partial(best_layers, entries, names, rois, page.mark)
        planted = {roi: one["layer"] for roi, one in page.truth.items() if one.get("encoder") == encoder["name"]}
        shown.append(
            {
                "encoder": encoder["name"],
                "figure": page.save(figure, f"best_layer_{encoder['name']}", _most(entries, encoder["name"], rois)),
                "entries": [{**entry, "planted": planted.get(entry["roi"])} for entry in entries],
            }
        )
    return {"encoders": shown} if shown else None


def _most(entries: list[dict[str, Any]], encoder: str, rois: list[str]) -> str:
    """Return which layer is best most often, by region."""
    said = []
    for roi in rois:
        shares: dict[str, float] = {}
        mine = [entry for entry in entries if entry["roi"] == roi]
        for entry in mine:
            for layer, share in entry["share"].items():
                shares[layer] = shares.get(layer, 0.0) + share / len(mine)
        layer = max(shares, key=lambda name: shares[name])
        said.append(f"{roi}: {layer} in {shares[layer]:.0%} of draws")
    return f"How often each layer of {encoder} is the best one. {'; '.join(said)}."
