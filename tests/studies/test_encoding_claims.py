from types import SimpleNamespace

import pytest

from brainbench.commands.run import run
from brainbench.evaluation.metrics import METRICS
from brainbench.studies.compute import UNTESTED
from brainbench.studies.encode.claims import _against_controls, encoding_answer, encoding_claims


def row(role, value, **more):
    names = {"encoder": role, "layer": "one", "roi": "V1", "role": role, "value": value, "metric": "pearson_r"}
    return {**names, "q": 0.001, **more}


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ({"ci_low": 0.5, "ci_high": 0.7}, "its confidence interval lies above the best control, control at 0.24"),
        ({"ci_low": 0.1, "ci_high": 0.9}, "its confidence interval includes the best control, control at 0.24"),
        ({}, "its best control is control at 0.24, and there is no interval"),
        ({"ci_low": None, "ci_high": None}, "its best control is control at 0.24, and there is no interval"),
    ],
)
def test_nothing_is_said_of_an_interval_that_is_not_there(interval, said):
    """The mean of three participants has none; it was said to include every control."""
    sentence = _against_controls([row("model", 0.6, **interval), row("control", 0.24)], METRICS["pearson_r"], {})
    assert said in sentence


def test_there_is_one_sentence_a_region_all_targets_come_last_and_the_answer_counts_regions():
    recipe = SimpleNamespace(metrics=["pearson_r"], schemes=[SimpleNamespace(label="stimulus")])
    common = {"fold": "all", "subject": "one", "scheme": "stimulus"}
    rows = [
        {**row("model", value, q=q, roi=roi, ceiling=0.8), **common}
        for roi, value, q in (("all", 0.3, 0.01), ("V1", 0.5, 0.01), ("V2", 0.1, 0.4))
    ]
    rows += [{**row("model", 0.04, metric="unique_r2", q=0.2, roi=roi), **common} for roi in ("all", "V1", "V2")]
    outcome = SimpleNamespace(rows=rows)
    claims = encoding_claims(recipe, outcome)
    assert [claim.split(" ")[0] for claim in claims] == ["V1", "V2", "all"]
    assert "reaches 0.50 of a ceiling of 0.80" in claims[0] and "no model layer explains variance beyond" in claims[0]
    outcome.rows.append({**common, "metric": "accuracy", "roi": "V1", "value": 0.7})  # what is decoded has no encoder
    assert encoding_answer(recipe, outcome) == [
        "A layer of model is above chance in 1 of 2 regions (V1).",
        "No layer of model explains variance beyond the controls in any of 2 regions.",
        "The best score is that of model one in V1: Pearson r 0.50, of a ceiling of 0.80.",
    ]
    rivals = [{**row("control", value, roi=roi), **common} for roi, value in (("V1", 0.2), ("V2", 0.1))]
    plain = [one for one in rows if one["metric"] != "unique_r2"]
    assert encoding_answer(recipe, SimpleNamespace(rows=[*plain, *rivals]))[1] == (
        "A control scores as well or better in V2."
    )
    alone = SimpleNamespace(rows=[row for row in rows if row["roi"] == "all"])
    assert encoding_answer(recipe, alone)[0] == "A layer of model is above chance in all targets together."


@pytest.mark.parametrize(
    ("over_layers", "layers", "said"),
    [
        (
            {"q": 0.2},
            [0.01, 0.3],
            "no model layer explains variance beyond the controls (best one: unique R2 0.040, q 0.2",
        ),
        ({"q": 0.01}, [0.06, 0.3], "a model layer explains variance that the controls do not, by the test over all"),
        ({"q": 0.01}, [0.02, 0.3], "1 of 2 model layers explain variance that the controls do not (best one"),
        ({"q": 0.01, "value": -0.01}, [0.06, 0.3], "no model layer explains variance beyond the controls"),
    ],
)
def test_what_a_region_has_beyond_the_controls_is_one_test_over_layers(over_layers, layers, said):
    recipe = SimpleNamespace(metrics=["pearson_r"], schemes=[SimpleNamespace(label="stimulus")])
    common = {"fold": "all", "subject": "one", "scheme": "stimulus"}
    rows = [{**row("model", 0.5), **common}]
    for value, q, layer in zip((0.04, 0.02), layers, ("one", "two"), strict=True):
        rows.append({**row("model", value, metric="unique_r2", q=q), **common, "layer": layer})
    rows.append({**row("model", 0.04, metric="best_unique_r2"), **common, "layer": "", **over_layers})
    claim = encoding_claims(recipe, SimpleNamespace(rows=rows))[0]
    assert said in claim and "over its layers" in claim
    beyond = encoding_answer(recipe, SimpleNamespace(rows=rows))[1]
    assert beyond.startswith("No layer" if "no model" in said else "A layer")


SILENT = """\
kind: encode
dataset:
  {name: simulated, n_subjects: 2, n_stimuli: 30, n_runs: 2, n_repeats: 2, rois: [{roi: silent, n_voxels: 2}],
   images: drawings}
encoders: [{name: small, family: pixels, role: model, image_size: 4}, {name: pixels, family: pixels, image_size: 3}]
folds: {n_splits: 2}
head: {n_alphas: 3, inner_folds: 2}
unique: {over: controls}
significance: {n_permutations: 0}
bootstrap: {n_draws: 0}
"""


def test_what_was_not_tested_is_said_first_and_is_not_called_chance(tmp_path):
    """Scores without a test were "not above chance", with no warning."""
    (tmp_path / "untested.yaml").write_text(SILENT)
    found = run(tmp_path / "untested.yaml", out=tmp_path / "run")
    assert found.warnings[0] == UNTESTED
    claims = " ".join(found.facts["claims"])
    assert "which was not tested" in claims and "above chance" not in claims
    assert "whether small explains variance beyond the controls was not tested" in claims
    page = found.report.read_text()
    assert page.count(UNTESTED.split(" (")[0]) == 1 and "not above chance in any region" not in page
