"""What the networks do, block by block: the columns of every diagnostic beside depth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.lens import against_depth

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 360


def applies(facts: Facts) -> bool:
    """Return whether networks were looked into."""
    return "lens" in facts["findings"]


def draw(page: Page) -> dict[str, Any]:
    """Return an entry per encoder: its figure and its table, or why there is none."""
    about = page.findings["lens"]
    known = {(one["name"], column["name"]): column for one in about["diagnostics"] for column in one["columns"]}
    shown = []
    for entry in about["encoders"]:
        columns = [{**one, **known[one["diagnostic"], one["column"]]} for one in entry["columns"]]
        drawn = [one for one in columns if any(cell is not None for cell in one["blocks"])]
        panels: dict[str, list[dict[str, Any]]] = {}
        for one in drawn:
            if one["over"] == "mode":
                continue  # names of units have no height
            panels.setdefault(one["axis"], []).append(
                {"title": one["title"], "depth": entry["depth"]}
                | {name: np.array([None if cell is None else cell[name] for cell in one["blocks"]], dtype=float)
                   for name in ("value", "low", "high")}
            )  # fmt: skip
        figure = None
        if panels:
            axis = page.title_of(page.facts["metric"])
            figure = partial(against_depth, panels, _scores(page, entry["encoder"]), axis, page.mark)
        name = f"lens_{entry['encoder']}"
        shown.append(
            {
                **entry,
                "columns": drawn,
                "missing": _missing(columns),
                "figure": page.save(figure, name, _in_words(entry["encoder"], drawn)),
            }
        )
    return {"encoders": shown, "about": about}


def _in_words(encoder: str, columns: list[dict[str, Any]]) -> str:
    """Return first and last value of every column."""
    said = []
    for one in columns:
        values = [cell["value"] for cell in one["blocks"] if cell is not None]
        said.append(f"{one['title']} from {values[0]:.3g} to {values[-1]:.3g}")
    return f"Diagnostics of {encoder} from its first to its last block: {'; '.join(said)}."


def _scores(page: Page, encoder: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return depth and leading score of every region, of the layers that were scored."""
    rows = page.over_folds(page.facts["metric"], page.scheme, page.lead)
    rows = rows[rows["encoder"] == encoder].sort_values("depth", kind="stable")
    rois = [roi for roi in page.rois if roi in set(rows["roi"])]
    mine = {roi: rows[rows["roi"] == roi] for roi in rois}
    return {roi: (one["depth"].to_numpy(dtype=float), one["value"].to_numpy(dtype=float)) for roi, one in mine.items()}


def _missing(columns: list[dict[str, Any]]) -> dict[str, str]:
    """Return why columns are empty, of all blocks or of some: reason by the names of the columns."""
    found: dict[str, list[str]] = {}
    for one in columns:
        if one["reason"]:
            found.setdefault(one["reason"], []).append(one["name"])
    return {", ".join(names): reason for reason, names in found.items()}
