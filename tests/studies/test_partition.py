"""Parts of variance in a run: they agree with the scores and with unique variance, which other units compute."""

import copy

import numpy as np
import pytest

import brainbench as bb
from brainbench.core.errors import RecipeError, UserError
from brainbench.core.facts import read_facts
from brainbench.core.progress import Stages
from brainbench.evaluation.bootstrap import subject_mean
from brainbench.recipes.reader import parse_recipe, read_recipe
from brainbench.report.page import Page
from brainbench.report.sections.responses.partition import draw
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.studies.base import all_units, study_of
from brainbench.studies.opened import open_all
from tests.studies.recipes import SMALL

RECIPE = (
    SMALL.replace("n_stimuli: 90", "n_stimuli: 60").replace("folds: {n_splits: 3}", "folds: {n_splits: 2}")
    .replace("similarity: [rsa, cka]\n", "").replace("n_permutations: 99", "n_permutations: 19")
    .replace('layers: ["scale.*"]', "layers: [scale.0, scale.3]").replace("{over: controls}", "{over: [pixels]}")
    .replace("head:", "  - {name: coarse, family: pixels, image_size: 2}\nhead:")
)  # fmt: skip


def finished(desk, sets):
    """Return a run without its page, which has tests of its own."""
    (desk / "r.yaml").write_text(f"{RECIPE}partition: {{sets: {sets}, layers: {{gabor: scale.0}}}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("brainbench.report.write_report", lambda folder: folder / "report.html")
        return bb.run(desk / "r.yaml", out=desk / "run", cache=desk / "cache")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("two"), "[gabor, pixels]")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("three"), "[gabor, pixels, coarse]")


@pytest.mark.parametrize("which", ["two", "three"])
def test_parts_add_up_to_scores_and_to_unique_variance(which, request):
    run = request.getfixturevalue(which)
    found = read_facts(run.path)["findings"]["partition"]
    assert len(found) == 6  # two participants, three regions
    rows = run.scores.query("fold == 'all'").set_index(["subject", "roi", "metric", "encoder", "layer"])
    for one in found:
        assert one["sets"]["gabor"] == "scale.0" and len(one["parts"]) == 2 ** len(one["sets"]) - 1
        values = {frozenset(part["of"]): part["value"] for part in one["parts"]}
        assert sum(values.values()) == pytest.approx(one["together"]["value"])
        for encoder, layer in one["sets"].items():
            alone = rows.loc[(one["subject"], one["roi"], "r2", encoder, layer), "value"]
            assert sum(value for of, value in values.items() if encoder in of) == pytest.approx(alone, abs=1e-6)
        unique = rows.loc[(one["subject"], one["roi"], "unique_r2", "gabor", "scale.0")]
        beyond = sum(value for of, value in values.items() if "gabor" in of and "pixels" not in of)
        assert beyond == pytest.approx(unique["value"], abs=1e-6)
        assert all(part["low"] < part["value"] < part["high"] for part in one["parts"])


def test_two_sets_have_the_intervals_of_unique_shared_and_controls(two):
    facts = read_facts(two.path)
    found = facts["findings"]["partition"]
    rows = two.scores.query("fold == 'all' and metric == 'unique_r2'").set_index(["subject", "roi", "layer"])
    noted = {(one["subject"], one["roi"], one["layer"]): one for one in facts["findings"]["controls"]}
    for one in found:
        place = (one["subject"], one["roi"], "scale.0")
        gabor, pixels, both = ((part["low"], part["high"]) for part in one["parts"])
        assert gabor == pytest.approx(tuple(rows.loc[place, ["ci_low", "ci_high"]]), abs=1e-6)
        assert pixels == pytest.approx(noted[place]["controls"]) and both == pytest.approx(noted[place]["shared"])


def test_the_page_shows_means_over_participants_with_their_interval(three):
    page, rng = Page(three.path), np.random.default_rng(0)
    found = page.findings["partition"]
    for who in range(4):  # two participants are too few for an interval
        more = copy.deepcopy([one for one in found if one["subject"] == "sim-01"])
        for one in more:
            one["subject"] = f"more-{who}"
            for part in one["parts"]:
                part["value"] += rng.normal()
        found.extend(more)
    drawn = draw(page)
    for region in drawn["regions"]:
        mine = [one for one in found if one["roi"] == region["roi"]]
        for place, part in enumerate(region["parts"][:-1]):
            mean = subject_mean(np.array([one["parts"][place]["value"] for one in mine]))
            assert (part["value"], part["low"], part["high"]) == pytest.approx((mean.value, mean.ci_low, mean.ci_high))
            assert part["low"] < part["value"]
    assert drawn["names"][0] == "gabor alone" and drawn["names"][-1] == "all together"
    assert "Parts of held-out R2 that sets of features explain. fine: gabor alone" in drawn["figure"].alt


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{sets: [gabor, pixel]}", "did you mean 'pixels'"),
        ("{sets: [gabor]}", "at least 2"),
        ("{sets: [gabor, gabor]}", "gabor"),
        ("{sets: [gabor, pixels], layers: {coarse: pixels}}", "not in `partition.sets`"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused_by_the_recipe(given, said):
    with pytest.raises(RecipeError, match=said):
        parse_recipe(f"{RECIPE}partition: {given}\n", "r.yaml")


def test_a_layer_that_was_not_chosen_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE + "partition: {sets: [gabor, pixels], layers: {gabor: scale.1}}\n")
    with pytest.raises(UserError, match=r"partition.layers.gabor: no layer 'scale.1'"):
        bb.run(tmp_path / "r.yaml", out=tmp_path / "run", cache=tmp_path / "cache")
    assert not (tmp_path / "run" / "scores.csv").exists()


def test_the_order_of_sets_and_controls_decides_nothing(three):
    folder, found = three.path.parent, []
    for sets in ("[gabor, pixels, coarse]", "[coarse, pixels, gabor]"):
        over = "[pixels, coarse]" if sets.startswith("[gabor") else "[coarse, pixels]"
        changes = [f"partition.sets={sets}", f"unique.over={over}"]
        runner = Runner(three.folder, LocalEngine(), Stages(quiet=True))
        study = study_of(open_all(read_recipe(folder / "r.yaml", changes), folder / "cache"), runner)
        found.append({unit.digest for unit in all_units(study) if unit.kind in ("fit", "unique")})
    assert found[0] == found[1] and len(found[0]) > 12
