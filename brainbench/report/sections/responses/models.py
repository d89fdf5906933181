"""The GLMs that responses were estimated by: the design, the mask, and how far every run can be believed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.models import design, mask_over_mean, motion
from brainbench.report.tables import number

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 105
MAX_PEOPLE = 6
"""Of whom figures are drawn; the table is of everybody."""


def applies(facts: Facts) -> bool:
    """Return whether responses were estimated by the run itself."""
    return "models" in facts["findings"]


def draw(page: Page) -> dict[str, Any]:
    """Return a row of the table per run, and figures of the first participants."""
    found = page.findings["models"]
    shown = []
    for entry in found[:MAX_PEOPLE]:
        first, about, mask = entry["runs"][0], entry["design"], None
        figure = partial(design, about["regressors"], np.array(about["values"]), first["n_events"], page.mark)
        if entry["mask"] is not None:
            title = f"{entry['subject']}: mean of {first['run']}, and the mask"
            mask = partial(mask_over_mean, page.root / entry["background"], page.root / entry["mask"], title, page.mark)
        where = f"{entry['subject']}, {first['run']}"
        known = [run for run in entry["runs"] if run.get("displacement")]
        moved = partial(motion, known, page.mark) if known else None
        shown.append(
            {
                **entry,
                "first": first["run"],
                "figure": page.save(
                    figure, f"design_{entry['subject']}", f"Design matrix of {_in_words(where, first)}"
                ),
                "motion": page.save(moved, f"motion_{entry['subject']}", _moved_in_words(entry["subject"], known)),
                "picture": page.save(mask, f"mask_{entry['subject']}", _mask_in_words(page, entry)),
            }
        )
    rows = [run | {"subject": entry["subject"]} for entry in found for run in entry["runs"]]
    return {
        "people": shown,
        "n_left_out": len(found) - len(shown),
        "repeats": found,
        "rows": rows,
        "has": {name: any(row[name] is not None for row in rows) for name in ("moved", "agreement", "shared", "tsnr")},
    }


def _in_words(where: str, run: dict[str, Any]) -> str:
    others = run["n_regressors"] - run["n_events"]
    alike = "" if run["shared"] is None else f"; events correlate by up to {number(run['shared'])}"
    shown = f"{run['n_events']} events and {others} other regressors in {run['n_kept']} volumes"
    return f"Design matrix of {where}: {shown}{alike}."


def _moved_in_words(subject: str, runs: list[dict[str, Any]]) -> str:
    """Return how far a participant moved, and when most."""
    if not runs:
        return ""
    most = max(runs, key=lambda run: run["moved"][1])
    at = int(np.nanargmax(np.array(most["displacement"], dtype=float)))
    n = sum(run["n_moved"] for run in runs)
    return (
        f"Framewise displacement of {subject} over time: {n} volumes of {len(runs)} runs above 0.5 mm, at most "
        f"{number(most['moved'][1])} mm, in {most['run']} at volume {at + 1}."
    )


def _mask_in_words(page: Page, entry: dict[str, Any]) -> str:
    n = next(one["n_targets"] for one in page.facts["subjects"] if one["subject"] == entry["subject"])
    return f"The edge of the {n} voxels of {entry['subject']} that have responses, on the mean image of a run."
