"""Pipelines with their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.report.sections.trials.shared import decodes_trials

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 590
applies = decodes_trials


def draw(page: Page) -> dict[str, Any]:
    """Return them as the recipe resolved them."""
    return {"pipelines": page.findings["trials"]["pipelines"]}
