"""The page of a comparison: runs side by side, paired differences, settings that differ, what does not match."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainbench.core.facts import read_facts
from brainbench.core.files import explain_os_errors, write_text
from brainbench.evaluation.metrics import title_of
from brainbench.report.figures.comparison import differences, side_by_side
from brainbench.report.figures.drawing import STYLE, WIDTH
from brainbench.report.frame import Picture, environment, written
from brainbench.report.tables import LEVEL, number

if TYPE_CHECKING:
    import pandas as pd

MAX_DRAWN = 40
"""Rows of a figure; all stand in the tables."""


def write_comparison(
    page: Path,
    runs: Sequence[tuple[str, Path]],
    table: pd.DataFrame,
    metric: str,
    paired: pd.DataFrame,
    unmatched: Sequence[str],
    settings: Sequence[dict[str, Any]],
) -> Path:
    """Write the page and its figures.

    Parameters
    ----------
    page : Path
    runs : sequence of (name, folder)
        In the order of the columns; the others are held against the first one.
    table : DataFrame
        A row per score, a column per run.
    metric : str
    paired : DataFrame
        Differences over participants; see `brainbench.commands.compare.paired`.
    unmatched : sequence of str
        What some run lacks, in sentences.
    settings : sequence of {name, values}
        Settings in which the recipes differ.
    """
    from matplotlib import rc_context

    facts = [read_facts(folder) for _, folder in runs]
    title = str(facts[0]["titles"].get(metric) or title_of(metric))
    names = [name for name, _ in runs]
    cells = table.columns[1:8]
    labels = [column for column in cells if (paired[column] != "").any()]
    varies = [column for column in labels if paired[column].nunique() > 1] or labels  # the rest says nothing here
    shown = paired.assign(
        label=[" · ".join(filter(None, map(str, row))) for row in paired[varies].itertuples(index=False)]
    )
    simulated = [name for name, one in zip(names, facts, strict=True) if one["simulated"]]
    mark = f"simulated: {', '.join(simulated)}" if simulated else ""
    drawn = shown.iloc[:MAX_DRAWN]
    pictures: list[Picture] = []
    with rc_context(STYLE), explain_os_errors(page):
        page.parent.mkdir(parents=True, exist_ok=True)
        if len(drawn):
            for draw, name, alt in (
                (partial(side_by_side, drawn, names, title, mark), "scores", _scores_in_words(drawn, names, title)),
                (partial(differences, drawn, title, mark), "differences", _differences_in_words(drawn, title)),
            ):
                files = [f"{page.stem}-{name}{ending}" for ending in (".svg", ".pdf")]
                pictures.append(written(draw(room=WIDTH), alt, page.parent, files, draw))
        found = environment()
        parts: Any = found.get_template("parts.html").module
        text = found.get_template("comparison.html").render(
            title=f"{' against '.join(names)}: {title}", answer=_answer(paired, names, title),
            runs=[_about(name, folder, one) for (name, folder), one in zip(runs, facts, strict=True)],
            names=names, columns=labels, paired=paired.to_dict("records"), rows=table.to_dict("records"),
            unmatched=unmatched, row_columns=[name for name in table.columns[:8] if (table[name] != "").any()],
            settings=settings, pictures=pictures, picture=parts.picture, simulated=simulated, level=LEVEL,
            n_left_out=len(shown) - len(drawn),
        )  # fmt: skip
    write_text(page, text)
    return page


def _about(name: str, folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    said = {key: facts[key] for key in ("question", "answer", "doubts")}
    return said | {
        "name": name, "folder": str(folder), "digest": manifest["digest"][:16], "version": manifest["brainbench"]
    }  # fmt: skip


def _answer(paired: pd.DataFrame, names: Sequence[str], title: str) -> list[str]:
    """Return how many differences can be told, and the largest of them."""
    if not len(paired):
        return ["No score stands in both runs: see what does not match."]
    tested = paired[paired["q"].notna()]
    if not len(tested):
        return [f"{len(paired)} scores stand in both; with one participant in common no difference was tested."]
    sure = tested[tested["q"] < LEVEL]
    said = [f"{len(sure)} of {len(tested)} differences of {title} have q < {LEVEL:g} (two-sided, by exchanging signs)."]
    n = int(tested["n"].max())
    if 2 / 2**n >= LEVEL:
        said.append(f"With {n} participants no p can be below {number(2 / 2**n)}: the design is too small for a test.")
    elif len(sure):
        row = sure.iloc[int(sure["difference"].abs().argmax())]
        where = " · ".join(str(row[name]) for name in ("encoder", "layer", "pipeline", "roi") if row[name])
        said.append(f"The largest is that of {row['run']} in {where}: {number(row['difference'])}.")
    return said


def _scores_in_words(rows: pd.DataFrame, names: Sequence[str], title: str) -> str:
    said = [f"{row.label}: {number(row.first)} and {number(row.other)}" for row in rows.itertuples()]
    return f"Mean {title} over participants, {names[0]} and {' or '.join(names[1:])}. {'; '.join(said)}."


def _differences_in_words(rows: pd.DataFrame, title: str) -> str:
    said = [f"{row.label}: {number(row.difference)}" for row in rows.itertuples()]
    sure = int((rows["q"] < LEVEL).sum())
    return f"Paired differences of {title}; {sure} of {len(rows)} have q < {LEVEL:g}. {'; '.join(said)}."
