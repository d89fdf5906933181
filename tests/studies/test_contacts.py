"""Groups of contacts, what single ones contribute, and how many are enough: on planted contacts, and refused."""

import numpy as np
import pytest

import brainbench as bb
from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.recipes.datasets import dataset_settings
from brainbench.recipes.reader import parse_recipe
from brainbench.simulation.words import PLANTED, SimulatedSeeg, pink_noise
from brainbench.studies.opened import open_all
from brainbench.studies.trials.contacts import _ranked, counts_of
from brainbench.studies.trials.trials import open_trials

pytest.importorskip("mne")

SMALL = {"n_subjects": 1, "n_words": 3, "n_repeats": 8, "n_runs": 2, "n_shafts": 2, "strength": 0.7}
POWER = "{name: power, decoder: power_lr, ranges: {all: [10.0, 45.0]}, window: 0.2, C: 0.1}"
RECIPE = f"""
kind: decode
dataset: {{name: simulated-seeg, {", ".join(f"{name}: {value}" for name, value in SMALL.items())}}}
pipelines: [{POWER}]
evaluate: [{{scheme: leave-one-run-out}}]
significance: {{n_permutations: 19}}
bootstrap: {{n_draws: 19}}
"""


def made(**settings):
    values = {"name": "simulated-seeg", **SMALL, **settings}
    return SimulatedSeeg.open(dataset_settings(values), None, Context())


def test_planted_contacts_answer_words_and_no_others():
    dataset = made()
    planted = dataset.planted("sim-01")
    assert len(planted) == 5 and {dataset.labels_of_contacts("sim-01", "region")[name] for name in planted} == {PLANTED}
    trials, silent = dataset.trials("sim-01"), made(planted=False).trials("sim-01")
    assert trials.ch_names == silent.ch_names and made(planted=False).planted("sim-01") == []
    differs = [name for n, name in enumerate(trials.ch_names) if not np.allclose(trials.X[:, n], silent.X[:, n])]
    assert differs == planted
    assert np.isfinite([channel["loc"][:3] for channel in trials.info["chs"]]).all()
    assert trials.label[0] != made(n_words=4).trials("sim-01").label[0] or len(set(trials.label)) == 3
    assert dataset.trials("sim-01").digest() == made().trials("sim-01").digest()


def test_noise_falls_as_one_over_f():
    power = np.square(np.abs(np.fft.rfft(pink_noise(200, 4096, np.random.default_rng(0))))).mean(axis=0)[1:]
    slope = np.polyfit(np.log(np.arange(1, len(power) + 1)), np.log(power), 1)[0]
    assert slope == pytest.approx(-1, abs=0.02)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contacts")
    (folder / "recipe.yaml").write_text(f"{RECIPE}regions: {{by: region}}\ncontacts: {{counts: [1, 3], n_splits: 2}}\n")
    return bb.run(folder / "recipe.yaml", out=folder / "run", cache=folder / "cache")


def accuracy(done, scheme, roi):
    rows = done.scores.query("fold == 'all' and metric == 'accuracy' and scheme == @scheme and roi == @roi")
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_region_alone_and_left_out(done):
    alone, without = "leave-one-run-out, by region", "leave-one-run-out, one region left out"
    assert accuracy(done, alone, PLANTED)["value"] > 0.7 > accuracy(done, alone, "temporal")["value"] + 0.1
    # Of two regions, one left out is the other alone, and all is what the pipeline has by itself.
    for one, other in ((PLANTED, "temporal"), ("temporal", PLANTED)):
        assert accuracy(done, without, one)["value"] == accuracy(done, alone, other)["value"]
    whole = done.scores.query("scheme == 'leave-one-run-out' and fold == 'all' and metric == 'accuracy'").iloc[0]
    every = accuracy(done, alone, "all channels")
    assert (every["value"], every["p"], every["n_targets"]) == (whole["value"], whole["p"], 10)


def test_contacts_are_ranked_and_the_best_are_decoded_from(done):
    found = done.facts["findings"]["trials"]["contacts"]
    (drawn,) = found["maps"]
    planted = done.facts["dataset"]["truth"]["contacts"]["sim-01"]
    first = sorted(zip(drawn["rank"], drawn["names"], strict=True))[:5]
    assert len({name for _, name in first} & set(planted)) >= 4
    three = accuracy(done, "leave-one-run-out, best contacts", "3 contacts")
    assert three["value"] > 0.5 and three["n_targets"] == 3 and np.isnan(three["p"])
    page = (done.path / "report.html").read_text()
    for text in ("Which groups of channels", "Which contacts, and how many", "contacts in which an answer was planted"):
        assert text in page
    assert "No maps: positions of the channels are unknown" not in page  # they are known, and not on the scalp
    assert "by region, power: sim-01 in" in " ".join(done.facts["claims"])


def test_the_rank_of_contacts_knows_nothing_of_held_out_trials(tmp_path):
    recipe = parse_recipe(f"{RECIPE}contacts: {{n_splits: 2}}\n", "recipe.yaml")
    found = open_all(recipe, tmp_path)
    case = open_trials(found)[1][0]
    train, test = case.folds[0]
    X = found.dataset.trials("sim-01").X
    changed = X.copy()
    changed[test] = np.random.default_rng(0).normal(size=changed[test].shape)
    section, settings = recipe.contacts, recipe.pipelines[0]
    first, second = (_ranked(recipe, section, settings, case, one, train) for one in (X, changed))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert counts_of(section, 10) == [1, 2, 4, 8, 10]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("regions: {by: regoin}", "no table of contacts, so that `regions.by: regoin` groups nothing"),
        ("regions: {groups: {left: [A1, A9]}}", "regions.groups.left: no channel 'A9'"),
        ("regions: {groups: {left: []}}", "regions.groups.left names no channel"),
        ("regions: {by: region, groups: {left: [A1]}}", "`by` has no say then"),
        ("regions: {groups: {all channels: [A1]}}", "a group is called 'all channels'"),
        ("regions: {pipeline: powr}", "'powr' is not a pipeline; did you mean 'power'"),
        ("contacts: {counts: [1, 40]}", "40 contacts, and sim-01 has 10 channels"),
        ("contacts: {counts: [0]}", "distinct and 1 or more"),
        ("contacts: {n_splits: 9}", "training rows of fold 1 of sim-01 have 4 trials of a class"),
        ("contacts: {pipeline: net}", "'net' is not a pipeline that ranks contacts"),
    ],
)
def test_what_cannot_be_asked_of_contacts_is_said_before_any_unit(tmp_path, extra, message):
    recipe = RECIPE.replace(POWER, f"{POWER}, {{name: net, decoder: rbtransformer}}")
    (tmp_path / "recipe.yaml").write_text(f"{recipe}{extra}\n")
    with pytest.raises(UserError, match=message):
        bb.run(tmp_path / "recipe.yaml", out=tmp_path / "run", cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npz"))


def test_people_with_other_groups_are_not_pooled(tmp_path):
    recipe = RECIPE.replace("n_subjects: 1", "n_subjects: 3").replace("leave-one-run-out", "leave-one-subject-out")
    (tmp_path / "recipe.yaml").write_text(f"{recipe}regions: {{by: region}}\n")
    with pytest.raises(UserError, match="their channels are grouped differently by region"):
        bb.run(tmp_path / "recipe.yaml", out=tmp_path / "run", cache=tmp_path / "cache")


def test_du_in_decodes_and_ranks_by_its_own_weights(tmp_path):
    duin = (
        "{name: duin, decoder: duin, depth: 1, n_filters: 8, n_neural: 4, n_heads: 2, head_width: 8, max_epochs: 2, "
        "patch: 0.25}"
    )
    recipe = RECIPE.replace(POWER, duin).replace("n_repeats: 8", "n_repeats: 4")
    (tmp_path / "recipe.yaml").write_text(f"{recipe}regions: {{by: shaft}}\ncontacts: {{counts: [2]}}\n")
    done = bb.run(tmp_path / "recipe.yaml", out=tmp_path / "run", cache=tmp_path / "cache")
    (drawn,) = done.facts["findings"]["trials"]["contacts"]["maps"]
    assert max(drawn["high"]) == 1 and len(drawn["names"]) == 10
    assert accuracy(done, "leave-one-run-out, by region", "A")["n_targets"] == 5
    assert "mean absolute weight" in (done.path / "report.html").read_text()
