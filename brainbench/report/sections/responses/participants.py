"""Each participant's best model layer per region, who is above chance, and a panel each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.evaluation.metrics import BEST, metric_of
from brainbench.report.figures.layers import heat_map, participants
from brainbench.report.tables import GROUP, MEAN, in_words, number

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 640
MAX_PANELS = 24


def applies(facts: Facts) -> bool:
    """Return whether there are several participants, and encoders."""
    return len(facts["subjects"]) > 1 and bool(facts["encoders"])


def draw(page: Page) -> dict[str, Any] | None:
    """Return figure, regions above chance, and panels; None where no model has a score."""
    names = [subject["subject"] for subject in page.facts["subjects"] if subject["subject"] not in (GROUP, MEAN)]
    metric = page.facts["metric"]
    title = page.title_of(metric)
    rows = page.over_folds(metric, page.scheme)
    rows = rows[rows["subject"].isin(names) & (rows["role"] == "model") & rows["value"].notna()]
    if len(names) < 2 or not len(rows):
        return None
    best = rows.sort_values("value", ascending=page.toward > 0).groupby(["subject", "roi"]).tail(1)
    values: dict[str, dict[str, float]] = {}
    above: dict[str, list[str]] = {name: [] for name in names}
    for row in best.itertuples():
        values.setdefault(str(row.roi), {})[str(row.subject)] = float(row.value)  # type: ignore[arg-type]
    # One test a region: over all layers of a model.
    tested = page.over_folds(BEST + metric, page.scheme)
    tested = tested[tested["subject"].isin(names) & (tested["role"] == "model")]
    known = metric_of(metric)
    right = tested["value"] > 0 if known is None else known.beyond_chance(tested["value"])
    for row in tested[(tested["q"] < page.level) & right].itertuples():
        if str(row.roi) not in above[str(row.subject)]:
            above[str(row.subject)].append(str(row.roi))
    panels = []
    for name in names if len(names) <= MAX_PANELS else []:
        table = page.matrix(metric, name, page.scheme)
        if table is not None:
            figure = page.save(
                partial(heat_map, table, title, page.mark),
                f"layer_by_roi_{name}",
                f"{name}. {in_words(table, title, page.toward)}",
            )
            panels.append({"name": name, "figure": figure})
    drawn = partial(participants, values, [roi for roi in page.rois if roi in values], title, page.mark)
    return {
        "figure": page.save(drawn, "participants", _means(values, title)),
        "above": {name: rois for name, rois in above.items() if name in set(tested["subject"])},
        "panels": panels,
    }


def _means(values: dict[str, dict[str, float]], title: str) -> str:
    """Return mean and range over participants, by region."""
    said = []
    for roi, scores in values.items():
        points = [value for value in scores.values() if np.isfinite(value)]
        if points:
            said.append(f"{roi}: mean {number(np.mean(points))}, from {number(min(points))} to {number(max(points))}")
    return f"{title} of every participant's best model layer. {'; '.join(said)}."
