"""How networks of tokens were trained: people, and every term of the objective."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.report.figures.tokens import curves

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 720


def applies(facts: Facts) -> bool:
    """Return whether a network of tokens was trained."""
    return "codebooks" in facts["findings"]


def draw(page: Page) -> dict[str, Any] | None:
    """Return who was trained on, and the curves of every network."""
    shown = []
    for one in page.findings["training"]:
        file = f"training_{one['name'].replace(' ', '_')}"
        alt = f"Objective of the {one['name']} by epoch, from {one['loss'][0]:.3g} to {one['loss'][-1]:.3g}"
        shown.append(
            {
                "name": one["name"],
                "best": one["best_epoch"],
                "n": len(one["loss"]),
                "steps": one["steps"],
                "validated": "validation_loss" in one,
                "figure": page.save(partial(curves, one, page.mark), file, alt),
            }
        )
    return {"people": page.findings["people"], "networks": shown}
