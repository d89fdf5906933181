"""Parts of variance: what several sets of features explain alone and in common, of every region."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.evaluation.bootstrap import subject_mean
from brainbench.report.figures.partition import parts
from brainbench.report.tables import GROUP, MEAN, number

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 332
MAX_REGIONS = 12
TOGETHER = "all together"


def applies(facts: Facts) -> bool:
    """Return whether variance was taken apart."""
    return bool(facts["findings"].get("partition"))


def draw(page: Page) -> dict[str, Any]:
    """Return the figure of whoever heads the page, and the parts of every region."""
    noted = page.findings["partition"]
    sets = noted[0]["sets"]
    regions = [one for one in (_of_region(page, noted, roi) for roi in page.rois) if one is not None]
    names = [_named(cell["of"], sets) for cell in regions[0]["parts"][:-1]] + [TOGETHER]
    figure = partial(parts, regions[:MAX_REGIONS], names, page.mark)
    return {
        "regions": regions,
        "names": names,
        "sets": [f"{name} ({layer})" for name, layer in sets.items()],
        "figure": page.save(figure, "parts_of_variance", _told(regions, names)),
        "shown": min(MAX_REGIONS, len(regions)),
    }


def _of_region(page: Page, noted: list[dict[str, Any]], roi: str) -> dict[str, Any] | None:
    """Return the parts of a region: of the one who heads the page, or means over participants with their intervals."""
    own = [one for one in noted if one["roi"] == roi and one["subject"] not in (GROUP, MEAN)]
    mine = own if page.lead == MEAN else [one for one in noted if one["roi"] == roi and one["subject"] == page.lead]
    if not mine:
        return None
    rows = [[*one["parts"], {"of": list(one["sets"]), **one["together"]}] for one in mine]
    found = []
    for cells in zip(*rows, strict=True):
        values = np.array([cell["value"] for cell in cells])
        if len(cells) > 1:
            mean = subject_mean(values, confidence=page.confidence)
            low, high = mean.ci_low, mean.ci_high
        else:
            low, high = (cells[0].get(end, np.nan) for end in ("low", "high"))
        found.append({"of": cells[0]["of"], "value": float(values.mean()), "low": low, "high": high})
    return {"roi": roi, "parts": found}


def _named(of: list[str], sets: dict[str, str]) -> str:
    """Return a part in words: `a alone`, `a & b`, or `all 3` where every set has it."""
    if len(of) == 1:
        return f"{of[0]} alone"
    return f"all {len(sets)} share" if len(of) == len(sets) > 2 else f"{' & '.join(of)} share"


def _told(regions: list[dict[str, Any]], names: list[str]) -> str:
    said = []
    for one in regions:
        cells = (f"{name} {number(cell['value'])}" for name, cell in zip(names, one["parts"], strict=True))
        said.append(f"{one['roi']}: {', '.join(cells)}")
    return f"Parts of held-out R2 that sets of features explain. {'; '.join(said)}."
