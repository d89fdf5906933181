"""Runs side by side: paired differences over participants, and the page that names what does not match."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from brainbench.commands.compare import (
    ROW,
    compare_runs,
    other_data,
    paired,
    settings_that_differ,
    unmatched,
    write_page,
)
from brainbench.core.errors import UserError
from tests.report.browser import Browser
from tests.report.test_browser import LOOK

FROZEN = Path(__file__).parents[1] / "report" / "frozen"


def table(first, other):
    """Return scores of one cell, a row per participant, NaN where a run lacks one."""
    rows = [dict.fromkeys(ROW, "") | {"subject": f"s{n}", "roi": "V1"} for n in range(len(first))]
    return pd.DataFrame(rows).assign(metric="pearson_r", one=first, two=other)


def test_differences_are_paired_over_the_participants_whom_both_runs_have():
    rng = np.random.default_rng(0)
    first = rng.normal(0.3, 0.2, 8)
    other = first + rng.normal(0.1, 0.05, 8)
    first[0], other[1] = np.nan, np.nan
    (row,) = paired(table(first, other)).to_dict("records")
    a, b = first[2:], other[2:]
    known = stats.ttest_rel(b, a).confidence_interval()
    np.testing.assert_allclose([row["low"], row["high"]], [known.low, known.high], atol=1e-12)
    signs = np.array(list(itertools.product((-1, 1), repeat=6)))
    assert row["p"] == np.mean(np.abs(signs @ (b - a)) >= abs((b - a).sum()) - 1e-12) and row["q"] == row["p"]
    assert row["n"] == 6 and row["difference"] == pytest.approx(row["other"] - row["first"]) == np.mean(b - a)


def test_the_mean_over_participants_is_no_further_participant():
    wide = table([0.1, 0.2, 0.3], [0.2, 0.4, 0.3])
    with_mean = pd.concat([wide, wide.iloc[:1].assign(subject="mean", one=9.0, two=-9.0)], ignore_index=True)
    pd.testing.assert_frame_equal(paired(with_mean), paired(wide))
    assert paired(wide)["low"].isna().all()  # three participants have no interval


def test_intervals_of_differences_cover():
    """What participants have in common falls out: it is ten times larger than the difference here."""
    rng = np.random.default_rng(1)
    first = rng.normal(0, 1, (300, 9))
    cells = [table(one, one + rng.normal(0.2, 0.1, 9)).assign(layer=f"{n}") for n, one in enumerate(first)]
    found = paired(pd.concat(cells, ignore_index=True))
    covered = (found["low"] <= 0.2) & (0.2 <= found["high"])
    assert len(covered) == 300 and 0.91 < covered.mean() < 0.98


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Return a run, and one of the same people in which a region is called otherwise and a setting is another one."""
    root = tmp_path_factory.mktemp("compare")
    for name in ("one", "two"):
        shutil.copytree(FROZEN / "encode", root / name)
    for file in ("scores.csv", "facts.json"):
        text = (root / "two" / file).read_text()
        (root / "two" / file).write_text(text.replace("silent", "Silent <b>"))
    recipe = root / "two" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("n_splits: 2", "n_splits: 4", 1))
    return [root / "one", root / "two"]


def test_what_does_not_match_is_named_and_so_are_settings_that_differ(two):
    said = unmatched(compare_runs(two))
    assert any(one.startswith("region silent is not in two") for one in said)
    assert any(one.startswith("region Silent <b> is not in one") for one in said)
    (changed,) = settings_that_differ(two)
    assert changed == {"name": "folds.n_splits", "values": [2, 4]}


def test_one_name_for_other_data_is_said(two, tmp_path):
    """Participants, regions and ways of holding out are matched by name, which does not say that they are the same."""
    assert other_data(two, compare_runs(two)) == []
    other = tmp_path / "other"
    shutil.copytree(two[0], other)
    scores = pd.read_csv(other / "scores.csv", dtype=str)
    fine = (scores["roi"] == "fine") & (scores["subject"] == "sim-01")
    scores.loc[fine, "n_targets"] = "7"
    scores.to_csv(other / "scores.csv", index=False)
    said = other_data([two[0], other], compare_runs([two[0], other]))
    same = "region fine is not the same: sim-01 has 21 targets in one and 7 targets in other"
    assert said == [f"{same} (differs in 1 of 2 participants)"]
    scores.loc[scores["subject"] != "mean", "n_rows"] = "12"
    scores.to_csv(other / "scores.csv", index=False)
    facts = (other / "facts.json").read_text()
    (other / "facts.json").write_text(facts.replace('"name": "simulated"', '"name": "folder"'))
    said = other_data([two[0], other], compare_runs([two[0], other]))
    assert said[0].startswith("one of simulated and other of folder: participants are taken for the same")
    assert any(one.startswith("way of holding out stimulus is not the same: sim-01 has 40 rows") for one in said)
    page = write_page([two[0], other], tmp_path / "page.html").read_text()
    assert "4 things do not match" in page and said[1] in page
    scores[scores["subject"] != "sim-02"].to_csv(other / "scores.csv", index=False)
    said = other_data([two[0], other], compare_runs([two[0], other]))
    assert said[1] == "means are over other participants: 2 in one and 1 in other, 1 of them in all runs"


def test_the_page_says_it_and_opens_in_a_browser(two, tmp_path):
    page = write_page(two, tmp_path / "both" / "page.html")
    text = page.read_text()
    assert "region Silent &lt;b&gt; is not in one" in text and "folds.n_splits" in text
    assert "the design is too small for a test" in text and "Simulated, no brain was measured: one, two." in text
    assert (page.parent / "page-differences.pdf").is_file() and 'href="page-scores.svg"' in text
    with Browser() as browser:
        for width, scheme in ((1300, "light"), (400, "dark")):
            browser.open(page, width, scheme)
            found = browser.run(LOOK)
            assert found["images"] == 2 and not found["broken"] and found["silent"] == found["faint"] == []
            assert found["wide"] <= 0 and found["lost"] == [] and not browser.happened("Runtime.exceptionThrown")
    with pytest.raises(UserError, match="a page ends in"):
        write_page(two, tmp_path / "page.pdf")
