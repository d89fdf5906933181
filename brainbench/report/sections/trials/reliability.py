"""Can the probabilities be believed? How often a decision was right against how sure it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures import trials as figures
from brainbench.report.sections.trials.shared import alike, decodes_trials

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 540
MAX_CURVES = 12
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return a reliability curve per pipeline and number of classes, and each participant's error."""
    shown = []
    entries = page.findings["trials"].get("calibration") or []
    rows = page.over_folds("ece", page.scheme)
    groups = alike(entries, "edges")  # bins begin at chance: with another number of classes they are others
    for group in groups[:MAX_CURVES]:
        mine = group.entries
        summed = {name: np.sum([entry[name] for entry in mine], axis=0) for name in ("count", "confidence", "right")}
        figure = figures.reliability({"edges": mine[0]["edges"], **summed}, page.mark)
        said, right = summed["confidence"].sum(), summed["right"].sum()
        expected = {entry["subject"]: entry["expected"] for entry in mine}
        errors = [
            {**row, "expected": expected.get(row["subject"])}
            for row in rows[(rows["pipeline"] == group.pipeline) & rows["subject"].isin(expected)].to_dict("records")
        ]
        n = summed["count"].sum()
        alt = f"Reliability of {group.title}: mean probability {said / n:.2f}, right {right / n:.2f}."
        shown.append(
            {
                "title": group.title,
                "figure": page.save(figure, f"reliability_{group.name}", alt),
                "errors": errors,
                "said": said / n,
                "right": right / n,
            }
        )
    return {"pipelines": shown, "n_left_out": len(groups) - len(shown)} if shown else None
