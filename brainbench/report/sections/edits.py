"""What happens to every region when a block is changed: effects beside controls, frozen and refitted, over depth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.report.figures.lens import edits_along
from brainbench.report.sections.lens import depth_words, layers_of
from brainbench.report.tables import LEVEL, number

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 361
MOST = 12
"""Heads that the table shows, those with the largest effects."""
MOST_SAID = 3
"""Other effects beyond controls that a sentence names."""
DONE = {"skip": "blocks are skipped", "erase": "what blocks are given is erased", "heads": "heads are silenced",
        "sparsify": "the smallest hidden units are switched off",
        "brain-lens": "what a block gives is read in the place of what the last one gives"}  # fmt: skip
Row = dict[str, Any]


def applies(facts: Facts) -> bool:
    """Return whether networks were edited."""
    return "edits" in facts["findings"]


def draw(page: Page) -> dict[str, Any]:
    """Return a figure, sentences and a table for every kind of edit of every encoder, or why there is none."""
    about = page.findings["edits"]
    shown = []
    for item in about["shown"]:
        rows = [_by_todays_rule(row) | {"kept": row["intact"] - row["lost"]} for row in item["rows"]]
        figure = None
        if rows and item["edit"] != "heads":
            panels = {roi: {way: _of(rows, roi, way) for way in ("frozen", "refitted")} for roi in about["rois"]}
            along = "dose" if item["edit"] == "sparsify" else "block"
            metric, value = page.title_of(about["metric"]), "kept" if item["edit"] == "brain-lens" else "lost"
            axis = metric if value == "kept" else f"lost {metric}"
            figure = partial(edits_along, panels, axis, along, page.mark, value=value)
        pairs = every = _pairs(rows)
        if item["edit"] == "heads":
            pairs = sorted(every, key=lambda pair: -pair["frozen"]["lost"])[:MOST]
        name, done = f"edits_{item['encoder']}_{item['edit']}", DONE[item["edit"]]
        layers = layers_of(page, item["encoder"])
        where = {roi: depth_words(layers[roi], page.toward) for roi in layers}
        sentences = [sentence(rows, roi, item["edit"], where.get(roi, "")) for roi in about["rois"] if rows]
        told = " ".join([f"{item['encoder']}: what is lost when {done}.", *sentences])
        shown.append(
            {
                **item,
                "controls_beyond": item.get("controls_beyond", {}),  # not known of older runs
                "shared": item.get("shared"),
                "done": done,
                "sentences": sentences,
                "pairs": pairs,
                "n_pairs": len(every),
                "figure": page.save(figure, name, told),
            }
        )  # fmt: skip
    return {"shown": shown, "about": about}


def sentence(rows: list[Row], roi: str, kind: str, where: str = "") -> str:
    """Return what is most harmful to a region, beside its controls, and what is left of it after a refit.

    "Beyond" is said of an effect with q below the level, and never with fewer controls than can reach it.

    Parameters
    ----------
    rows : list of Row
    roi, kind : str
    where : str
        At which layer the region is best explained.
    """
    frozen = max(_of(rows, roi, "frozen"), key=lambda row: row["lost"])
    again = next(row for row in _of(rows, roi, "refitted") if _place(row) == _place(frozen))
    said = f"{roi}: {where}; " if where else f"{roi}: "
    if frozen.get("p_intact") is not None and frozen["p_intact"] >= LEVEL:
        intact = f"{number(frozen['intact'])} at the last layer is not above 0 (p {number(frozen['p_intact'], 3)})"
        return f"{said}{intact}, so that nothing can be lost."
    if kind == "brain-lens":
        here, anew = (_from(_of(rows, roi, way)) for way in ("frozen", "refitted"))
        return (
            f"{said}of {number(frozen['intact'])} at the last layer its head finds at least half in what every block"
            f" from {here} on gives, and a head fitted to each from block {anew} on."
        )
    if frozen["lost"] <= 0:
        return f"{said}of {number(frozen['intact'])} at the last layer no edit takes anything."
    if kind == "sparsify":
        said += f"{half(_of(rows, roi, 'frozen'), 'frozen')}, {half(_of(rows, roi, 'refitted'), 'fitted again')}; "
    said += f"of {number(frozen['intact'])} at the last layer most is lost {_what(frozen)}, {number(frozen['lost'], 3)}"
    said += f" ({_beside(frozen)}); with the head fitted again {number(again['lost'], 3)} ({_beside(again)})"
    if frozen.get("beyond") and again.get("beyond"):
        said += ": a new head does not find it either"
    elif frozen.get("beyond"):
        back = 1 - again["lost"] / frozen["lost"]
        said += f": of what was lost {100 * back:.0f} % comes back, and no more loss can be told from chance"
    return f"{said}.{_also_beyond(rows, roi, frozen)}"


def _from(rows: list[Row]) -> int:
    """Return the first block from which on at least half of the intact score is kept; the last one keeps it all."""
    short = [row["block"] for row in rows if row["intact"] - row["lost"] < row["intact"] / 2]
    return max(short, default=-1) + 1


def _what(row: Row) -> str:
    """Return what an effect is of."""
    if "dose" in row:
        return f"without {100 * row['dose']:g} % of the units"
    return f"with block {row['block']}" if row["head"] is None else f"with head {row['head']} of block {row['block']}"


def _also_beyond(rows: list[Row], roi: str, named: Row) -> str:
    """Return which other effects on a region are beyond their controls, the least q first, or nothing."""
    found = [
        row for way in ("frozen", "refitted") for row in _of(rows, roi, way)
        if row.get("beyond") and _place(row) != _place(named)
    ]  # fmt: skip
    if not found:
        return ""
    found.sort(key=lambda row: row["q"])
    each = [f"{_what(row)} {number(row['lost'], 3)}, {row['way']} ({_beside(row)})" for row in found[:MOST_SAID]]
    more = f", and {len(found) - MOST_SAID} more" if len(found) > MOST_SAID else ""
    return f" Also beyond controls of its own: {'; '.join(each)}{more}."


def half(rows: list[Row], how: str) -> str:
    """Return at which share of units switched off half of a score is lost, on lines between doses that were tried."""
    shares = [0.0, *(row["dose"] for row in rows)]
    lost = [-rows[0]["intact"] / 2, *(row["lost"] - row["intact"] / 2 for row in rows)]  # beyond half
    for at in range(1, len(shares)):
        if lost[at] >= 0:
            where = shares[at - 1] + (shares[at] - shares[at - 1]) * -lost[at - 1] / (lost[at] - lost[at - 1])
            return f"{how} half is lost without {100 * where:.0f} % of the hidden units"
    return f"{how} less than half is lost without {100 * shares[-1]:g} % of the hidden units"


def _place(row: Row) -> tuple[Any, ...]:
    return row.get("dose"), row.get("block"), row["head"]


def _by_todays_rule(row: Row) -> Row:
    """Return an effect without what an older rule said of it: a rank among controls that called noise an effect."""
    if "n" not in row or "fewest" in row:
        return row
    return {name: value for name, value in row.items() if name not in ("p", "q", "beyond")}


def _beside(row: Row) -> str:
    if "n" not in row:
        return "no controls"
    band = f"{row['n']} controls, {number(row['low'], 3)} to {number(row['high'], 3)}"
    if "fewest" not in row:
        return f"{band}: not tested by today's rule, run it again"
    if row["n"] < row["fewest"]:
        return f"{band}: too few to call it beyond them, which takes {row['fewest']}"
    if row["q"] is None:
        return f"{band}: untested, one fold is no sample"
    text = f"{band}; q {number(row['q'], 3)}"
    if row["beyond"]:
        return f"beyond {text}"
    parts = {
        "controls take as much": row["p_controls"],
        "it may be noise": row["p_noise"],
        "the intact score may be 0": row["p_intact"],
    }
    return f"not beyond {text}: {max(parts, key=lambda name: parts[name])}"


def _of(rows: list[Row], roi: str, way: str) -> list[Row]:
    return [row for row in rows if (row["roi"], row["way"]) == (roi, way)]


def _pairs(rows: list[Row]) -> list[Row]:
    """Return frozen and refitted effects side by side."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        kept: Row = {name: row[name] for name in ("dose", "block", "head", "roi", "intact") if name in row}
        found.setdefault((_place(row), row["roi"]), kept)[row["way"]] = row
    return list(found.values())
