"""What happens to every region when a block is changed: effects beside controls, frozen and refitted, over depth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.report.figures.lens import edits_over_depth
from brainbench.report.tables import number

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 361
MOST = 12
"""Heads that the table shows, those with the largest effects."""
DONE = {"skip": "blocks are skipped", "erase": "what blocks are given is erased", "heads": "heads are silenced"}
Row = dict[str, Any]


def applies(facts: Facts) -> bool:
    """Return whether networks were edited."""
    return "edits" in facts["findings"]


def draw(page: Page) -> dict[str, Any]:
    """Return a figure, sentences and a table for every kind of edit of every encoder, or why there is none."""
    about = page.findings["edits"]
    shown = []
    for item in about["shown"]:
        rows = item["rows"]
        figure = None
        if rows and item["edit"] != "heads":
            panels = {roi: {way: _of(rows, roi, way) for way in ("frozen", "refitted")} for roi in about["rois"]}
            figure = partial(edits_over_depth, panels, f"lost {page.title_of(about['metric'])}", page.mark)
        pairs = every = _pairs(rows)
        if item["edit"] == "heads":
            pairs = sorted(every, key=lambda pair: -pair["frozen"]["lost"])[:MOST]
        name, done = f"edits_{item['encoder']}_{item['edit']}", DONE[item["edit"]]
        sentences = [sentence(rows, roi, item["edit"]) for roi in about["rois"] if rows]
        told = " ".join([f"{item['encoder']}: what is lost when {done}.", *sentences])
        shown.append(
            {
                **item,
                "done": done,
                "sentences": sentences,
                "pairs": pairs,
                "n_pairs": len(every),
                "figure": page.save(figure, name, told),
            }
        )  # fmt: skip
    return {"shown": shown, "about": about}


def sentence(rows: list[Row], roi: str, kind: str) -> str:
    """Return what is most harmful to a region, beside its controls, and what is left of it after a refit."""
    frozen = max(_of(rows, roi, "frozen"), key=lambda row: row["lost"])
    again = next(
        row for row in _of(rows, roi, "refitted") if (row["block"], row["head"]) == (frozen["block"], frozen["head"])
    )
    what = f"block {frozen['block']}" if kind != "heads" else f"head {frozen['head']} of block {frozen['block']}"
    said = f"{roi}: of {number(frozen['intact'])}, most is lost with {what}: {number(frozen['lost'])}{_beside(frozen)}"
    return f"{said}; with the head fitted again {number(again['lost'])}{_beside(again)}."


def _beside(row: Row) -> str:
    if "p" not in row:
        return " (no controls)"
    stands = "beyond" if row["lost"] > row["high"] else "not beyond"
    band = f"controls, {number(row['low'])} to {number(row['high'])}"
    return f" ({stands} {row['n']} {band}; p {number(row['p'], 3)}, q {number(row['q'], 3)})"


def _of(rows: list[Row], roi: str, way: str) -> list[Row]:
    return [row for row in rows if (row["roi"], row["way"]) == (roi, way)]


def _pairs(rows: list[Row]) -> list[Row]:
    """Return frozen and refitted effects side by side."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = (row["block"], row["head"], row["roi"])
        found.setdefault(key, {name: row[name] for name in ("block", "head", "roi", "intact")})[row["way"]] = row
    return list(found.values())
