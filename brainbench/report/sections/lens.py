"""What the networks do, block by block: the columns of every diagnostic beside depth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.lens import against_depth, heat_map
from brainbench.report.tables import MEAN, number

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
            axis = f"{page.title_of(page.facts['metric'])} of {page.called(whose(page))}"
            figure = partial(against_depth, panels, _scores(page, entry["encoder"]), axis, page.mark)
        name, words = f"lens_{entry['encoder']}", _in_words(entry["encoder"], drawn)
        groups = _groups(page, entry, drawn)
        shown.append(
            {
                **entry,
                "columns": drawn,
                "missing": _missing(columns),
                "map": page.save(partial(heat_map, groups, page.mark) if drawn else None, f"{name}_map", words),
                "figure": page.save(figure, name, words),
                "sentences": [
                    *([] if "edits" in page.findings else depth_sentences(page, entry["encoder"])),
                    *label_sentences(entry.get("label")),
                ],
            }
        )
    return {"encoders": shown, "about": about}


def _groups(page: Page, entry: dict[str, Any], columns: list[dict[str, Any]]) -> dict[str, list[tuple[str, Any]]]:
    """Return the rows of the heat map: scores of regions, every diagnostic's numbers, what edits take."""
    groups: dict[str, list[tuple[str, Any]]] = {}
    scores = {
        roi: rows.set_index("layer")["value"].reindex(entry["blocks"]).to_numpy(dtype=float)
        for roi, rows in layers_of(page, entry["encoder"]).items()
    }
    if any(np.isfinite(values).any() for values in scores.values()):
        title = f"{page.title_of(page.facts['metric'])} of {page.called(whose(page))}"
        groups[f"{title}, of what a block gives, by region"] = list(scores.items())
    for one in columns:
        if one["over"] != "mode":  # names of units have no height
            values = np.array([np.nan if cell is None else cell["value"] for cell in one["blocks"]], dtype=float)
            groups.setdefault(one["diagnostic"], []).append((one["name"], values))
    for item in page.findings.get("edits", {}).get("shown", []):
        if item["encoder"] == entry["encoder"] and item["rows"] and item["edit"] != "heads":
            lens = item["edit"] == "brain-lens"
            for way in ("frozen", "refitted"):
                found: dict[str, list[float]] = {}
                for row in item["rows"]:
                    if row["way"] == way:
                        found.setdefault(row["roi"], []).append(row["intact"] - row["lost"] if lens else row["lost"])
                title = f"brain lens, head of the last layer {way}" if lens else f"lost with {item['edit']}, {way}"
                groups[f"{title}, by region"] = [(roi, np.array(values)) for roi, values in found.items()]
    return groups


def depth_sentences(page: Page, encoder: str) -> list[str]:
    """Return a sentence a region: the layer that scores best, and the depth that scores lie at."""
    found = {roi: depth_words(rows, page.toward) for roi, rows in layers_of(page, encoder).items()}
    return [f"{roi}: {words}." for roi, words in found.items() if words]


def label_sentences(label: dict[str, Any] | None) -> list[str]:
    """Return where in depth a label of the stimuli is read off, beside the same with labels exchanged."""
    if label is None:
        return []
    beside = f"{number(label['exchanged'])} with labels exchanged, {number(label['chance'])} by chance"
    said = (
        f"{label['name']}: read off best at block {label['best']}, balanced accuracy {number(label['peak'])} ({beside})"
    )
    if label["low"] is None or label["low"] <= 0 or label["peak"] <= label["chance"]:
        return [f"{said}: no block is known to tell it."]
    jump = "nowhere" if label["jump"] is None else f"first at block {label['jump']}"
    return [
        f"{said}; nine tenths of the way there from chance by depth {number(label['depth90'])}; a tenth more than the"
        f" block before has it {jump}."
    ]


def depth_words(rows: Any, toward: int) -> str:
    """Return where in depth a region is best explained, from the scores of layers; nothing where there are none.

    Where less is better (`toward` -1), scores have no centre of mass.
    """
    rows = rows[np.isfinite(rows["value"].to_numpy(dtype=float))]
    if rows.empty:
        return ""
    best = rows.loc[(toward * rows["value"]).idxmax()]
    said = f"best at {best['layer']} (depth {number(best['depth'], 2)}, {number(best['value'])})"
    above = np.clip(rows["value"].to_numpy(dtype=float), 0, None)
    if toward > 0 and len(rows) > 1 and above.sum() > 0:
        centre = float(above @ rows["depth"].to_numpy(dtype=float) / above.sum())
        said += f", centre of mass of its scores at depth {number(centre, 2)} over {len(rows)} taps"
    return said


def _in_words(encoder: str, columns: list[dict[str, Any]]) -> str:
    """Return first and last value of every column."""
    said = []
    for one in columns:
        values = [cell["value"] for cell in one["blocks"] if cell is not None]
        said.append(f"{one['title']} from {values[0]:.3g} to {values[-1]:.3g}")
    return f"Diagnostics of {encoder} from its first to its last block: {'; '.join(said)}."


def _scores(page: Page, encoder: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return depth and leading score of every region, of the layers that were scored."""
    return {
        roi: (one["depth"].to_numpy(dtype=float), one["value"].to_numpy(dtype=float))
        for roi, one in layers_of(page, encoder).items()
    }


def whose(page: Page) -> str:
    """Return whose scores stand beside depth: what edits take is a mean over participants, and so are these, then."""
    means = "edits" in page.findings and (page.scores["subject"] == MEAN).any()
    return MEAN if means else page.lead


def layers_of(page: Page, encoder: str) -> dict[str, Any]:
    """Return the leading scores of an encoder's layers by region, in order of depth; none without a brain."""
    rows = page.over_folds(page.facts["metric"], page.scheme, whose(page))
    rows = rows[(rows["encoder"] == encoder) & (rows["layer"] != "")].sort_values("depth", kind="stable")
    return {roi: rows[rows["roi"] == roi] for roi in page.rois if roi in set(rows["roi"])}


def _missing(columns: list[dict[str, Any]]) -> dict[str, str]:
    """Return why columns are empty, of all blocks or of some: reason by the names of the columns."""
    found: dict[str, list[str]] = {}
    for one in columns:
        if one["reason"]:
            found.setdefault(one["reason"], []).append(one["name"])
    return {", ".join(names): reason for reason, names in found.items()}
