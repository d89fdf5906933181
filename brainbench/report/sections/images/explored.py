"""What drives a region: response against scale, the gallery, and what other regions do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures import exploration

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 200


def applies(facts: Facts) -> bool:
    """Return whether regions were explored."""
    return "exploration" in facts["findings"]


def draw(page: Page) -> dict[str, Any]:
    """Return an entry per participant and target."""
    files = {(e["subject"], e["target"]): e["file"] for e in page.facts["pictures"] if e["what"] == "exploration"}
    shown = []
    for item in page.findings["exploration"]:
        title = f"{item['subject']}: {item['target']}"
        name = f"explore_{item['subject']}_{item['target'].replace(' ', '')}"
        with np.load(page.root / files[item["subject"], item["target"]], allow_pickle=False) as stored:
            rows = {row: stored[row][: item["n_gallery"]] for row in stored.files}
        gallery, scales = exploration.gallery(rows, page.mark), exploration.scales(item, page.mark)
        regions = exploration.regions(item, page.mark)
        shown.append(
            {
                **item,
                "title": title,
                "gallery": page.save(gallery, f"{name}_images", f"images of {title}"),
                "scales": page.save(scales, f"{name}_scales", f"predicted response against scale, {title}"),
                "regions": page.save(regions, f"{name}_regions", f"predicted responses of all regions, {title}"),
            }
        )
    return {"items": shown}
