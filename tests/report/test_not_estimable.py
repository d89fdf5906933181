"""Scores that cannot be estimated, and scores of which less is better, in sections that look for the best."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from brainbench.report.figures.layers import heat_map
from brainbench.report.page import Page
from brainbench.report.sections.lens import depth_words
from brainbench.report.sections.responses import participants, patterns
from brainbench.report.tables import matrix

FROZEN = Path(__file__).parent / "frozen" / "encode"


def test_a_layer_without_a_score_is_nobodys_best(tmp_path, monkeypatch):
    shutil.copytree(FROZEN, tmp_path / "run")
    page = Page(tmp_path / "run")
    drawn = {}
    monkeypatch.setattr(Page, "save", lambda self, figure, name, alt: drawn.setdefault(name, figure.args[0]))
    participants.draw(page)
    before = drawn.pop("participants")
    one = (
        (page.scores["fold"] == "all")
        & (page.scores["metric"] == page.facts["metric"])
        & (page.scores["subject"] == "sim-01")
    )
    one &= (page.scores["role"] == "model") & (page.scores["scheme"] == page.scheme) & (page.scores["roi"] == "fine")
    worst = page.scores[one]["value"].idxmin()
    page.scores.loc[worst, "value"] = np.nan
    participants.draw(page)
    assert drawn["participants"]["fine"]["sim-01"] == before["fine"]["sim-01"] and np.isfinite(before["fine"]["sim-01"])


def test_a_pattern_score_that_is_none_gives_way_to_one():
    place = {"subject": "s", "scheme": "x", "encoder": "e", "role": "model", "roi": "V1", "metric": "pattern_r"}
    rows = pd.DataFrame([{**place, "layer": "a", "value": np.nan}, {**place, "layer": "b", "value": 0.2}])

    class Told:
        def over_folds(self, name):
            return rows[rows["metric"] == name]

    assert patterns.draw(Told())["rows"][0]["pattern_r"] == {"value": 0.2, "layer": "b"}


def test_the_best_layer_by_an_error_is_the_one_with_the_least():
    rows = pd.DataFrame({"layer": ["a", "b"], "depth": [0.0, 1.0], "value": [0.9, 0.1]})
    assert depth_words(rows, 1).startswith("best at a") and "centre of mass" in depth_words(rows, 1)
    assert depth_words(rows, -1) == "best at b (depth 1.00, 0.10)"


def test_cells_of_heat_maps_keep_the_digits_of_large_scores():
    """The zero of 10.25 was taken for that of 0.25."""
    values = [0.123, -0.5, -0.001, 1.0, 10.25, -10.23, 120.5, np.nan]
    layers = [("enc", f"l{k}", "model") for k in range(len(values))]
    rows = pd.DataFrame({"encoder": "enc", "layer": [one[1] for one in layers], "roi": "V1", "value": values})
    rows = rows.assign(metric="r2", depth=0.5, q=np.nan, ceiling=np.nan, ci_low=np.nan, ci_high=np.nan)
    figure = heat_map(matrix(rows, layers, ["V1"]), "R2")
    said = [text.get_text() for text in figure.axes[0].texts]
    assert said == [".12", "-.50", ".00", "1.00", "10.25", "-10.23", "120.50", "–"]
