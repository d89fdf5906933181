"""`brainbench calibrate`: null participants through a recipe's own pipeline, resumable, failing where p is broken."""

import json
import re

import numpy as np
import pytest

from brainbench.cli import main
from brainbench.commands import calibrate
from brainbench.commands.calibrate import calibrate_recipe, plan_calibration
from brainbench.core.files import read_json
from brainbench.evaluation import family
from brainbench.evaluation.calibration import Rate
from brainbench.features.store import default_cache
from brainbench.runs.calibrations import keep_calibration, last_calibration
from brainbench.studies.calibration import NAMES, NUMBERS, lines_of, verdict_of
from brainbench.studies.cases.across import T_TEST

TINY = """\
kind: encode
seed: 3
dataset:
  name: simulated
  n_subjects: 2
  n_stimuli: 36
  n_repeats: 2
  n_runs: 2
  rois:
    - {roi: fine, encoder: gabor, layer: scale.0, n_voxels: 3, ceiling: 0.9}
    - {roi: silent, n_voxels: 2}
folds: {n_splits: 2}
encoders:
  - {name: gabor, family: gabor, role: model, image_size: 16, layers: [scale.0, scale.1]}
head: {n_alphas: 3, inner_folds: 2}
ceiling: {n_splits: 2}
significance: {n_permutations: 19, n_refits: 19}
bootstrap: {n_draws: 20}
execution: {jobs: 1}
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A recipe that takes a tenth of a second a set, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """Four sets of the recipe, drawn without a break."""
    folder = tmp_path_factory.mktemp("honest")
    (folder / "tiny.yaml").write_text(TINY)
    return calibrate_recipe(folder / "tiny.yaml", sets=4, out=folder / "whole", cache=str(folder / "cache"))


def same(facts):
    return {name: value for name, value in facts.items() if name not in ("date", "cpu_seconds")}


def test_a_killed_calibration_goes_on_where_it_stopped(tiny, honest, monkeypatch, capsys):
    assert honest.facts["sets"] == 4 and honest.facts["participants"] == 8
    parts = {line["part"] for line in honest.facts["lines"]}
    assert parts == {"p", "claims", "ceilings"}  # four sets say nothing of an interval's coverage
    drawn, once = [], calibrate.null_set

    def killed(opened, number, folder):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(number)
        return once(opened, number, folder)

    monkeypatch.setattr(calibrate, "null_set", killed)
    with pytest.raises(SystemExit) as left:
        main(["calibrate", str(tiny), "--sets", "4"])
    assert left.value.code == 130 and "run the same command to continue" in capsys.readouterr().err
    folder = tiny.parent / "runs/tiny-calibration"
    assert len(list((folder / "units").iterdir())) == 2 and not (folder / "calibration.json").exists()
    drawn.clear()
    monkeypatch.setattr(calibrate, "null_set", lambda *given: drawn.append(given[1]) or once(*given))
    continued = calibrate_recipe(tiny, sets=4)
    assert drawn == [2, 3]
    assert same(continued.facts) == same(honest.facts)
    assert json.loads((folder / "calibration.json").read_text()) == continued.facts
    assert not any((folder / "sets").iterdir()), "units of a set are removed with it"
    assert last_calibration(default_cache(None), continued.facts["key"]) == continued.facts
    more = calibrate_recipe(tiny, sets=5)
    assert drawn == [2, 3, 4] and more.facts["key"] == continued.facts["key"]


def test_a_planted_effect_is_no_false_positive_and_a_broken_p_is_named(tiny, honest, monkeypatch):
    """The real responses have a ceiling of .9 that the model reaches: had a trace of it stayed, every p was small."""
    assert "FAILS" not in honest.facts["verdict"]
    exact = family.p_of_draws
    monkeypatch.setattr(family, "p_of_draws", lambda *given: exact(*given) / 20)
    broken = calibrate_recipe(tiny, sets=2, out="broken")
    assert broken.facts["verdict"].startswith("FAILS: participants: pearson_r (p)")
    assert broken.lines[-1] == f"tiny: {broken.facts['verdict']}."
    failed = [line for line in broken.facts["lines"] if line["name"] == "participants: pearson_r"]
    assert [line["verdict"] for line in failed] == ["FAILS"]


def test_an_effect_is_planted_in_further_sets_and_found(tiny, capsys):
    found = calibrate_recipe(tiny, sets=2, planted=0.97, out="planted")
    lines = {line["name"]: line for line in found.facts["lines"] if line["part"] == "planted"}
    best = lines["participants: best_pearson_r, one test a region over all layers, found"]
    assert best["n"] == 8 and best["found"].startswith("p 0.05: 1.000")
    alone = calibrate_recipe(tiny, sets=2, out="planted")
    assert alone.facts["lines"] == [line for line in found.facts["lines"] if line["part"] != "planted"]
    assert len(list((tiny.parent / "planted/units").iterdir())) == 4, "null sets are the same, and drawn once"
    assert "gabor, layer scale.1 explains wholly" in found.facts["notes"][0]
    main_exit(["calibrate", str(tiny), "--planted", "1.5"], 2)
    assert "--planted 1.5: a correlation between 0 and 1" in capsys.readouterr().err


def test_a_plan_draws_one_set_and_keeps_it(tiny, capsys):
    plan = plan_calibration(tiny)
    assert plan.facts == {} and "100, 1 drawn, 99 to draw" in plan.lines[1]
    each = float(re.search(r"about ([0-9.]+) s of CPU a set", plan.lines[2]).group(1))
    assert 0 < each < 20
    main_exit(["calibrate", str(tiny), "--plan", "--sets", "6"], 0)
    assert "6, 1 drawn, 5 to draw" in capsys.readouterr().out
    assert not (tiny.parent / "runs/tiny-calibration/calibration.json").exists()


def test_reports_cite_the_last_calibration_of_their_recipe(tiny, honest):
    main_exit(["run", str(tiny), "--set", "bootstrap.n_draws=20", "--out", "run", "-q"], 0)
    page = (tiny.parent / "run/report.html").read_text()
    assert "None was run for this recipe" in page
    assert f"brainbench calibrate {tiny} --set bootstrap.n_draws=20" in page
    keep_calibration(default_cache(None), honest.facts)
    main_exit(["report", "run"], 0)
    page = (tiny.parent / "run/report.html").read_text()
    assert "4 null data sets of this design (8 null participants)" in page
    assert "None was run for this recipe" not in page
    assert honest.facts["lines"][0]["found"] in page and honest.facts["date"][:10] in page
    assert read_json(tiny.parent / "run/calibration.json") == honest.facts


def main_exit(arguments, code):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert (left.value.code or 0) == code


def test_what_cannot_be_calibrated_is_refused(tiny, capsys):
    main_exit(["calibrate", str(tiny), "--sets", "1"], 2)
    assert "--sets 1: 2 or more are needed" in capsys.readouterr().err
    main_exit(["calibrate", "explore-simulated"], 2)
    said = capsys.readouterr().err
    assert "null participants cannot be drawn for kind: explore" in said
    assert "kind: decode with `decoding` and kind: encode" in said
    main_exit(["calibrate", "eeg-motor-imagery"], 2)
    assert "cannot be drawn for kind: decode with `pipelines`" in capsys.readouterr().err
    main_exit(["calibrate", "nowhere.yaml"], 2)
    foreign = tiny.parent / "mine"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    main_exit(["calibrate", str(tiny), "--sets", "2", "--out", str(foreign)], 2)
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]


def test_the_key_is_the_science_the_data_and_the_code(tiny, tmp_path):
    first = plan_calibration(tiny, sets=2, out="a")
    text = TINY.replace("jobs: 1", "jobs: 2").replace("kind: encode", "kind: encode\ntitle: Other words")
    other = tmp_path / "other.yaml"
    other.write_text(text)
    assert "2, 1 drawn" in plan_calibration(other, sets=2, out="a").lines[1]
    assert len(list((tmp_path / "a/units").iterdir())) == 1, "the title and the number of jobs change nothing"
    plan_calibration(tiny, sets=2, out="a", overrides=["seed=4"])
    assert len(list((tmp_path / "a/units").iterdir())) == 2
    assert first.lines != []


DECODE = """\
kind: decode
dataset:
  {name: simulated, n_subjects: 2, n_stimuli: 24, n_repeats: 2, n_runs: 4, images: drawings,
   rois: [{roi: sharp, prefers: CATEGORY, n_voxels: 4, ceiling: 0.95}]}
hold_out: [run]
decoding: {label: category, decoders: [{name: lda}], pairwise: false}
significance: {n_permutations: 99}
bootstrap: {n_draws: 20}
"""


def test_decoding_has_no_answers_to_stimuli(tiny):
    from brainbench.simulation.drawings import drawn_stimuli

    category = str(np.unique(drawn_stimuli(24, 32, 0).labels["category"])[0])
    recipe = tiny.parent / "decode.yaml"
    recipe.write_text(DECODE.replace("CATEGORY", category))
    found = calibrate_recipe(recipe, sets=6)
    accuracy = next(line for line in found.facts["lines"] if line["name"] == "participants: accuracy")
    assert accuracy["n"] == 12 and accuracy["verdict"] != "FAILS"
    planted = calibrate_recipe(recipe, sets=2, planted=0.9, overrides=["significance.n_permutations=19"], out="planted")
    found = next(line for line in planted.facts["lines"] if line["part"] == "planted")
    assert found["name"] == "participants: accuracy, found" and found["found"].startswith("p 0.05: 1.000")


# Rates ---------------------------------------------------------------------------------------------------------------


def test_tests_that_are_one_test_count_once():
    rng = np.random.default_rng(0)
    hits = rng.random(200) < 0.05
    alone = Rate.of(int(hits.sum()), 200)
    copies = Rate.of_clusters((10 * hits).tolist(), [10] * 200)
    assert copies.n == 2000 and copies.share == alone.share
    # The variance is estimated here, so that the ends are close and not equal.
    assert copies.low == pytest.approx(alone.low, abs=0.01) and copies.high == pytest.approx(alone.high, abs=0.01)
    assert Rate.of_clusters([0] * 20, [10] * 20).high == Rate.of(0, 20).high


def test_intervals_over_clusters_cover():
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(400):
        level = np.where(rng.random(60) < 0.5, 0.02, 0.08)  # tests of a set share its luck
        rate = Rate.of_clusters(rng.binomial(20, level).tolist(), [20] * 60, 0.95)
        missed += not rate.low <= 0.05 <= rate.high
    assert missed / 400 < 0.08


def table(p, n, **values):
    import pandas as pd

    row = dict.fromkeys(NAMES, "x") | dict.fromkeys(NUMBERS, np.nan) | {"metric": "pearson_r", "n_rows": 200}
    return pd.DataFrame([row | {"set": one, "p": p[one]} | {k: v[one] for k, v in values.items()} for one in range(n)])


def test_intervals_and_ceilings_are_held_against_the_truth():
    rng, n = np.random.default_rng(0), 300
    value = 0.1 * rng.standard_normal(n)
    half = 0.196 * np.ones(n)
    ceiling = 0.6 + 0.05 * rng.standard_normal(n)
    good = table(rng.random(n), n, value=value, ci_low=value - half, ci_high=value + half, ceiling=ceiling,
                 planted=np.full(n, 0.6))  # fmt: skip
    lines = {line.name: line for line in lines_of(good, 0.95)}
    assert {line.verdict for line in lines.values()} <= {"holds", ""}
    short = good.assign(ci_low=value - half / 2, ci_high=value + half / 2, planted=0.7)
    failed = [line.name for line in lines_of(short, 0.95) if line.verdict == "FAILS"]
    assert failed == [
        "participants: pearson_r, expected score covered", "participants: pearson_r, wholly above chance",
        "pearson_r, planted from 0.3 on",
    ]  # fmt: skip
    assert verdict_of(lines_of(short, 0.95)).startswith("FAILS: participants: pearson_r, expected score covered (inter")


def test_a_t_test_over_participants_is_judged_only_where_they_share_nothing():
    rng = np.random.default_rng(0)
    small = table(rng.random(200) / 5, 200, value=rng.random(200)).assign(subject="mean", test=T_TEST)
    (judged, claim), (stated, _) = (lines_of(small.assign(q=1.0), 0.95, alike=alike)[:2] for alike in (False, True))
    assert judged.verdict == "FAILS" and claim.verdict == "below"
    assert stated.verdict == "" and stated.found == judged.found and stated.name == "mean: pearson_r, t test"
