"""What every metric of images compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.report.sections.images.shared import metrics_of, reconstructs

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 150
applies = reconstructs


def draw(page: Page) -> dict[str, Any]:
    """Return the metrics that were scored."""
    return {"metrics": metrics_of(page), "about": page.findings["reconstruction"]}
