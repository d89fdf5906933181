"""What another way of holding out costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.sections.images.shared import metrics_of, over_images, reconstructs

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 130
applies = reconstructs


def draw(page: Page) -> dict[str, Any] | None:
    """Return the predicted scores under every scheme, and what is lost against the main one."""
    labels = [scheme["label"] for scheme in page.facts["schemes"]]
    if len(labels) < 2:
        return None
    over = over_images(page)
    rows = over[(over["stage"] == page.findings["reconstruction"]["last"]) & (over["row"] == "predicted")]
    found = []
    for subject in dict.fromkeys(rows["subject"]):
        for metric in metrics_of(page):
            mine = rows[(rows["subject"] == subject) & (rows["metric"] == metric["name"])]
            values = {str(row["scheme"]): row["value"] for row in mine.to_dict("records")}
            if labels[0] in values:
                changes = [
                    (label, values.get(label), values.get(label, np.nan) - values[labels[0]]) for label in labels
                ]
                found.append({"subject": subject, "metric": metric["name"], "changes": changes})
    return {"rows": found} if found else None
