"""Scores under every other way of holding out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.report.figures.layers import heat_map
from brainbench.report.tables import in_words

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 620


def applies(facts: Facts) -> bool:
    """Return whether encoders were scored under several schemes."""
    return bool(facts["encoders"]) and any(not scheme["main"] for scheme in facts["schemes"])


def draw(page: Page) -> dict[str, Any] | None:
    """Return a heat map of the leading metric per scheme."""
    shown, metric = [], page.facts["metric"]
    for scheme in page.facts["schemes"]:
        table = None if scheme["main"] else page.matrix(metric, page.lead, scheme["label"])
        if table is None:
            continue
        leaks = "" if scheme["certificate"]["ok"] else "leaking scheme"
        figure = partial(heat_map, table, page.title_of(metric), "; ".join(filter(None, [page.mark, leaks])))
        alt = f"{scheme['label']} held out. {in_words(table, page.title_of(metric), page.toward)}"
        name = f"layer_by_roi_{scheme['label'].replace('+', '_')}"
        shown.append({"scheme": scheme, "heat": page.save(figure, name, alt)})
    return {"schemes": shown} if shown else None
