"""Runs of an earlier brainbench are read as they are: their page is drawn again with the same numbers."""

import csv
import html
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import brainbench as bb
from brainbench.commands.compare import compare_runs
from brainbench.report import write_report
from tests.figures import undrawn

FROZEN = Path(__file__).parent / "frozen"
RUNS = ["encode", "reconstruct"]


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frozen") / request.param
    shutil.copytree(FROZEN / request.param, folder)
    return bb.open_run(folder)


def cells(page: str) -> list[str]:
    found = [
        html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in re.findall(r'<td class="n">(.*?)</td>', page)
    ]
    return [cell for cell in found if re.search(r"\d", cell)]


def test_its_page_is_drawn_again_with_every_number_it_had(run, monkeypatch):
    undrawn(monkeypatch)
    page = write_report(run.path).read_text()
    had = json.loads((run.path / "cells.json").read_text())
    assert len(had) > 10 and Counter(had) - Counter(cells(page)) == Counter()
    assert "Simulated: no brain was measured." in page and "A frozen run of simulated participants" in page
    for claim in run.facts["claims"]:
        assert html.escape(claim, quote=False) in page.replace("&#39;", "'").replace("&#34;", '"')
    assert all(item["file"] in page for item in run.facts["maps"][:1])
    assert {"encode": "Best layer of each region", "reconstruct": "The ladder"}[run.facts["kind"]] in page


def test_its_scores_are_those_that_were_written(run):
    with open(FROZEN / run.path.name / "scores.csv", newline="") as handle:
        written = list(csv.DictReader(handle))
    scores = run.scores
    assert len(scores) == len(written) > 100
    values = [float(row["value"] or "nan") for row in written]
    np.testing.assert_array_equal(scores["value"], values)
    assert scores["roi"].tolist() == [row["roi"] for row in written]
    assert run.manifest["status"] == "finished" and run.facts["simulated"]


def test_it_is_compared_with_another_run(run):
    table = compare_runs([run.path, FROZEN / run.path.name])
    assert len(table) > 2 and (table["difference"].dropna() == 0).all() and table["difference"].notna().any()
