"""What sections on reconstructed images share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.report.tables import number

if TYPE_CHECKING:
    import pandas as pd

    from brainbench.report.page import Page
    from brainbench.report.section import Facts


def reconstructs(facts: Facts) -> bool:
    """Return whether a run reconstructed images."""
    return "reconstruction" in facts["findings"]


def over_images(page: Page) -> pd.DataFrame:
    """Return the scores over all images."""
    return page.scores[(page.scores["fold"] == "all") & (page.scores["stimulus"] == "")]


def metrics_of(page: Page) -> list[dict[str, Any]]:
    """Return the metrics that were scored, the leading one first, with what each is."""
    about = page.findings["reconstruction"]
    present = [name for name in dict.fromkeys(over_images(page)["metric"]) if name]
    present.sort(key=lambda name: name != about["lead"])
    return [
        {**about["metrics"][name.removesuffix("_within")], "name": name, "title": page.title_of(name)}
        for name in present
    ]


def rungs_in_words(title: str, table: list[dict[str, Any]], metric: dict[str, Any]) -> str:
    """Return what every rung reaches by the leading metric, for readers who do not see the figure."""
    said = [
        f"{rung['words']} {number(cell['value'])}"
        for rung in table
        if (cell := rung["cells"].get(metric["name"])) is not None
    ]
    chance = "" if metric["chance"] is None else f" (chance {number(metric['chance'])})"
    return f"{title}, {metric['title']}{chance}: {', '.join(said)}."
