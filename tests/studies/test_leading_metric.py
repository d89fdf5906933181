"""A recipe may be led by any metric with a value per target; everything that is tested or said is about that one."""

import json

import numpy as np
import pytest

import brainbench as bb
from brainbench.cli import main
from brainbench.commands.compare import compare_runs
from brainbench.evaluation import metrics
from brainbench.evaluation.metrics import Metric, title_of
from brainbench.report.page import Page
from brainbench.report.sections.responses import participants
from brainbench.studies.cases.across import mean_over_subjects
from brainbench.studies.outcome import Outcome
from tests.figures import undrawn
from tests.studies.recipes import SMALL, write_recipe

SMALLER = (
    SMALL.replace("n_stimuli: 90", "n_stimuli: 45")
    .replace('["scale.*"]', "[scale.0, scale.3]")
    .replace("similarity: [rsa, cka]\n", "")
)


def absolute_error(y_true, y_pred):
    """Mean absolute error of every target."""
    return np.abs(np.asarray(y_true) - np.asarray(y_pred)).mean(axis=0)


@pytest.fixture(scope="module")
def added():
    """A metric of which less is better, and which is nothing but a function."""
    record = Metric("absolute_error", "absolute error", absolute_error, True, chance=None, direction=-1)
    metrics.METRICS.register(record.name)(record)
    yield record
    metrics.METRICS._entries.pop(record.name)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=["[r2, pearson_r]", "[absolute_error]"])
def led(request, tmp_path_factory, cache, added):
    """The same recipe, led by one metric after the other."""
    folder = tmp_path_factory.mktemp("led")
    recipe = write_recipe(folder, SMALLER + f"metrics: {request.param}\n")
    with pytest.MonkeyPatch.context() as patch:
        undrawn(patch)
        return bb.run(recipe, out=folder / "run", cache=cache)


def test_only_the_leading_metric_is_tested_and_its_interval_is_its_own(led):
    lead, *others = led.facts["metrics"][0], *[m for m in led.facts["metrics"][1:] if m in metrics.target_metrics()]
    assert led.facts["metric"] == lead
    over = led.scores.query("fold == 'all' and subject == 'sim-01'")
    mine = over[over["metric"] == lead]
    assert mine[["p", "q", "null_95", "ci_low", "ci_high"]].notna().all().all()
    inside = (mine["ci_low"] <= mine["value"]) & (mine["value"] <= mine["ci_high"])
    assert inside.all()
    assert over.loc[over["metric"] == f"median_{lead}", "p"].isna().all()
    for other in others:
        rows = over[over["metric"] == other]
        assert rows[["p", "null_95"]].isna().all().all()
        assert ((rows["ci_low"] <= rows["value"]) & (rows["value"] <= rows["ci_high"])).all()  # each its own
    planted = mine[(mine["roi"] == "fine") & (mine["encoder"] == "gabor")].set_index("layer")
    silent = mine[(mine["roi"] == "silent") & (mine["encoder"] == "gabor")].set_index("layer")
    assert planted.loc["scale.0", "p"] <= 0.01 and silent["p"].min() > 0.01


def test_ceilings_are_in_the_unit_of_the_metric(led):
    over = led.scores.query("fold == 'all' and subject == 'sim-01' and roi == 'fine'")
    for name, rows in over.groupby("metric"):
        record = metrics.metric_of(name)
        if record.power is None:
            assert rows["ceiling"].isna().all()
        else:
            np.testing.assert_allclose(rows["ceiling"], 0.8**record.power, atol=0.1)


def test_the_best_layer_and_the_claims_are_about_the_leading_metric(led):
    lead = metrics.METRICS[led.facts["metric"]]
    over = led.scores.query("fold == 'all' and encoder == 'gabor'")
    over = over[over["metric"] == lead.name]
    for entry in led.facts["findings"]["best_layer"]:
        here = over[(over["subject"] == entry["subject"]) & (over["roi"] == entry["roi"])].set_index("layer")["value"]
        assert entry["layer"] == (lead.direction * here).idxmax()
    here = over[(over["subject"] == "mean") & (over["roi"] == "coarse")].set_index("layer")["value"]
    best = (lead.direction * here).idxmax()
    said = f"coarse (mean): gabor {best} reaches {here[best]:.2f}"
    assert sum(one.startswith(said) for one in led.facts["claims"]) == 1, led.facts["claims"]


def test_what_is_significant_is_better_than_chance_wherever_it_is_said(led, monkeypatch):
    """An error has no chance to be below of: nothing of it was ever better, on the page and in its first box."""
    over = led.scores.query("fold == 'all' and role == 'model'")
    over = over[(over["value"] > 0) | (led.facts["metric"] == "absolute_error")]
    tests = over[(over["metric"] == f"best_{led.facts['metric']}") & (over["q"] < 0.05)]
    sure = set(tests.loc[tests["subject"] == "mean", "roi"]) - {"all"}
    (answer,) = [one for one in led.facts["answer"] if "of 3 regions" in one and "beyond" not in one]
    assert sure and f"in {len(sure)} of 3 regions" in answer
    page = Page(led.path)
    monkeypatch.setattr(Page, "save", lambda self, figure, name, alt: None)
    above = participants.draw(page)["above"]
    assert {name: set(rois) for name, rois in above.items()} == {
        name: set(tests.loc[tests["subject"] == name, "roi"]) for name in ("sim-01", "sim-02")
    }
    table = page.matrix(led.facts["metric"], "mean", page.scheme)
    own = over[(over["metric"] == led.facts["metric"]) & (over["subject"] == "mean") & (over["q"] < 0.05)]
    assert (table.q[: table.n_models] < 0.05).sum() == len(own) > 0


@pytest.mark.parametrize("name", ["r2", "absolute_error"])
def test_means_over_participants_are_tested_against_the_metrics_own_chance(name, added):
    from types import SimpleNamespace

    from scipy import stats

    outcome, recipe = Outcome(), SimpleNamespace(bootstrap=SimpleNamespace(confidence=0.9))
    values = [0.1, 0.3, 0.2, 0.45, 0.15, 0.32, 0.28, 0.05, 0.22, 0.4]
    for subject, value in enumerate(values):
        outcome.add(subject=f"s{subject}", fold="all", metric=name, value=value, roi="all")
    mean_over_subjects(recipe, outcome, [f"s{subject}" for subject in range(10)])
    row = outcome.rows[-1]
    low, high = stats.t.interval(0.9, 9, np.mean(values), stats.sem(values))
    assert row["subject"] == "mean" and row["value"] == pytest.approx(np.mean(values))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
    expected = stats.ttest_1samp(values, 0.0, alternative="greater").pvalue if name == "r2" else None
    assert row["p"] == (None if expected is None else pytest.approx(expected))


def test_the_ceiling_beside_a_mean_is_of_the_same_participants(added):
    from types import SimpleNamespace

    recipe = SimpleNamespace(bootstrap=SimpleNamespace(confidence=0.95))
    for found, right in (
        ([(0.8, 0.5), (0.2, 0.0)], 0.5),  # not .8, which is of the first alone
        ([(0.1, 0.0), (0.2, 0.0)], None),
        ([(0.8, 0.5), (None, None)], None),
    ):
        outcome = Outcome()
        for subject, (ceiling, low) in enumerate(found):
            more = {"subject": f"s{subject}", "ceiling": ceiling, "ceiling_low": low, "n_targets": 9 + (low != 0)}
            outcome.add(fold="all", metric="r2", value=0.1 + 0.1 * subject, roi="all", **more)
        mean_over_subjects(recipe, outcome, ["s0", "s1"])
        assert outcome.rows[-1]["subject"] == "mean" and outcome.rows[-1]["ceiling"] == right
        numbers = {row["n_targets"] for row in outcome.rows[:-1]}
        assert outcome.rows[-1]["n_targets"] == (numbers.pop() if len(numbers) == 1 else None)


def test_a_region_is_tested_once_over_all_layers(led):
    lead = metrics.METRICS[led.facts["metric"]]
    over = led.scores.query("fold == 'all'")
    tested = over[over["metric"] == metrics.BEST + lead.name]
    layers = over[over["metric"] == lead.name]
    assert not tested.duplicated(["subject", "encoder", "roi"]).any()
    for row in tested.itertuples():
        mine = layers[(layers["subject"] == row.subject) & (layers["encoder"] == row.encoder)]
        mine = mine[mine["roi"] == row.roi]
        assert row.value == pytest.approx((lead.direction * mine["value"]).max() * lead.direction, rel=1e-6)
        if len(mine) == 1:
            assert row.p == pytest.approx(mine["p"].iloc[0])
    fine = tested[(tested["roi"] == "fine") & (tested["encoder"] == "gabor")]
    silent = tested[(tested["roi"] == "silent") & (tested["encoder"] == "gabor")]
    assert (fine["p"] <= 0.01).all() and silent["p"].min() > 0.01
    people = tested[~tested["subject"].isin(["mean", "group"])]
    families = {(entry["subject"], entry["tests"]) for entry in led.facts["findings"]["families"]}
    assert ("every participant", len(people)) in families


def test_maps_figures_and_page_show_it(led):
    lead = led.facts["metric"]
    assert {entry["metric"] for entry in led.facts["maps"]} == {lead, "p"}
    page = (led.path / "report.html").read_text()
    assert f"{title_of(lead)} on held-out data" in page
    assert {"layer_by_roi.svg", "depth_curves.svg", "participants.svg"} <= {
        path.name for path in (led.path / "figures").iterdir()
    }


def test_compare_and_export_take_it(led, tmp_path, cache):
    table = compare_runs([led.path, led.path])
    assert set(table["metric"]) == {led.facts["metric"]} and (table["difference"] == 0).all()
    arguments = ["export", str(led.path), "--out", str(tmp_path / "out"), "--cache", str(cache), "--no-weights"]
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    lead = metrics.METRICS[led.facts["metric"]]
    files = {entry["layer"]: entry["file"] for entry in led.facts["target_summaries"] if entry["subject"] == "sim-01"
             and entry["metric"] == lead.name and entry["encoder"] == "gabor"}  # fmt: skip
    layers = [np.load(led.path / files[layer]) for layer in ("scale.0", "scale.3")]
    found = tmp_path / "out" / "preference" / "sub-sim-01_scheme-stimulus_encoder-gabor_stat-preferredlayer.npy"
    score = lead.direction * np.stack(layers)
    expected = score.argmax(axis=0)
    if lead.chance is not None:
        expected[score.max(axis=0) <= lead.chance] = -1
    np.testing.assert_array_equal(np.load(found), expected)
    assert json.loads(found.with_suffix(".json").read_text()) == {"0": "scale.0", "1": "scale.3"}


@pytest.mark.parametrize(
    ("given", "said"),
    [("[r3]", "'r3' is not one of "),
     ("[r2, r2]", "metric 'r2' is given twice"),
     ("[accuracy]", "'accuracy' is not one of ")],
)  # fmt: skip
def test_other_metrics_are_refused(given, said, tmp_path, capsys):
    recipe = write_recipe(tmp_path, SMALLER + f"metrics: {given}\n")
    with pytest.raises(SystemExit, match="2"):
        main(["check", str(recipe)])
    assert said in capsys.readouterr().err
