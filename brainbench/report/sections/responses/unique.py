"""Beyond the controls: variance that a layer explains and they do not, and how both share what is explained."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.evaluation.bootstrap import subject_mean
from brainbench.report.figures.layers import shares
from brainbench.report.tables import MEAN, number

if TYPE_CHECKING:
    import pandas as pd

    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 330
PARTS = ("the layer alone", "shared", "the controls alone")


def applies(facts: Facts) -> bool:
    """Return whether unique variance was scored."""
    return "unique_r2" in facts["metrics"]


def draw(page: Page) -> dict[str, Any] | None:
    """Return the heat map of whoever heads the page, and the parts of what is explained, where R2 was scored."""
    heat = page.heat_map("unique_r2", page.lead)
    if heat is None:
        return None
    parts = _parts(page)
    figure = partial(shares, parts, PARTS, page.mark) if parts else None
    return {"heat": heat, "parts": parts, "names": PARTS, "shares": page.save(figure, "shared_variance", _told(parts))}


def _parts(page: Page) -> list[dict[str, Any]]:
    """Return, for every region, the parts of the layer that adds most to the controls: value and interval of each."""
    unique, alone = page.over_folds("unique_r2"), page.over_folds("r2", page.scheme)
    noted = {
        (one["subject"], one["encoder"], one["layer"], one["roi"]): one for one in page.findings.get("controls", [])
    }
    found = []
    for roi in page.rois:
        rows = unique[(unique["subject"] == page.lead) & (unique["roi"] == roi)]
        if not len(rows) or not np.isfinite(rows["value"]).any():
            continue
        best = rows.loc[rows["value"].idxmax()]
        everybody = [name for name in dict.fromkeys(key[0] for key in noted) if name in _own(page)]
        people = everybody if page.lead == MEAN else [page.lead]
        each = []
        for subject in people:
            key = (subject, best["encoder"], best["layer"], roi)
            mine, own = _value(unique, *key), _value(alone, *key)
            if key in noted and mine is not None and own is not None:
                each.append((mine, own - mine, noted[key]["r2"] - (own - mine)))
                about = noted[key]
        if not each:
            continue
        values = np.array(each)
        first = (float(best["ci_low"]), float(best["ci_high"]))
        means = [subject_mean(column, confidence=page.confidence) for column in values.T] if len(values) > 1 else []
        ends = [tuple(about.get(name, (np.nan, np.nan))) for name in ("shared", "controls")]
        others = [(one.ci_low, one.ci_high) for one in means[1:]] or ends
        cells = zip(values.mean(axis=0), [first, *others], strict=True)
        found.append(
            {
                "roi": roi,
                "encoder": best["encoder"],
                "layer": best["layer"],
                "parts": [{"value": float(value), "low": low, "high": high} for value, (low, high) in cells],
            }
        )
    return found


def _own(page: Page) -> set[str]:
    """Return the participants, without those who stand for all."""
    return {one["subject"] for one in page.facts["subjects"]} - {MEAN, "group"}


def _value(rows: pd.DataFrame, subject: str, encoder: str, layer: str, roi: str) -> float | None:
    here = rows[
        (rows["subject"] == subject) & (rows["encoder"] == encoder) & (rows["layer"] == layer) & (rows["roi"] == roi)
    ]
    return float(here["value"].iloc[0]) if len(here) else None


def _told(parts: list[dict[str, Any]]) -> str:
    said = []
    for one in parts:
        cells = ", ".join(f"{name} {number(cell['value'])}" for name, cell in zip(PARTS, one["parts"], strict=True))
        said.append(f"{one['roi']} ({one['encoder']} {one['layer']}): {cells}")
    return f"Parts of held-out R2 that layer and controls explain. {'; '.join(said)}."
