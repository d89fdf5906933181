"""What drives a region: response against scale, the gallery, and what other regions do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures import exploration
from brainbench.report.tables import number

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
        gallery, scales = partial(exploration.gallery, rows, page.mark), partial(exploration.scales, item, page.mark)
        regions = partial(exploration.regions, item, page.mark)
        shown.append(
            {
                **item,
                "title": title,
                "gallery": page.save(gallery, f"{name}_images", f"Images for {title}, a row each: {'; '.join(rows)}."),
                "scales": page.save(scales, f"{name}_scales", _responses(item, title)),
                "regions": page.save(regions, f"{name}_regions", _others(item, title)),
            }
        )
    return {"items": shown}


def _responses(item: dict[str, Any], title: str) -> str:
    """Return the mean predicted response of every scale, as the guide reads it."""
    said = [f"{step['stage']} {step['row']} {number(step['readers'][0]['mean'])}" for step in item["steps"]]
    guide = item["readers"][0]["encoder"]
    return f"Predicted response of {title} by scale of guidance, read by {guide}: {', '.join(said)}."


def _others(item: dict[str, Any], title: str) -> str:
    """Return the predicted response of every region without guidance and with it."""
    best = next(step for step in item["steps"] if step["row"] == item["best"] and step["stage"] == "guided")
    plain = next(step for step in item["steps"] if step["stage"] == "unguided")
    said = [f"{roi} from {number(plain['rois'][roi])} to {number(best['rois'][roi])}" for roi in item["rois"]]
    return f"Predicted responses to images for {title}, without guidance and with it: {'; '.join(said)}."
