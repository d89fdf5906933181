"""``kind: rsa``: made RDMs of three participants give the numbers of rsatoolbox, on a page that says them."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata, spearmanr

import brainbench as bb
from benchmarks.rsatoolbox_numbers import PEOPLE, REGIONS, made
from brainbench.commands.export import export_run
from brainbench.core.errors import RecipeError
from brainbench.core.facts import read_facts
from brainbench.data.layouts.rdm_files import read_rdms
from brainbench.evaluation.family import p_of_draws
from brainbench.evaluation.similarity import geometry_exchange, geometry_test, rdm
from brainbench.recipes.reader import parse_recipe
from brainbench.studies.cases.geometry import GeometryScores, rsa_claims
from brainbench.studies.check import check_study
from brainbench.studies.outcome import Outcome
from brainbench.studies.rsa.drawn import places_of, ranks_of

REFERENCE = json.loads((Path(__file__).parent / "rsatoolbox.json").read_text())
RECIPE = """\
kind: rsa
title: Made RDMs of 92 made images
dataset: {{name: rdm, root: {root}, rdms: "{{subject}}.npy", rois: [V1, LO]}}
encoders:
  - {{name: images, family: pixels, role: model, image_size: 16}}
  - {{name: coarse, family: pixels, image_size: 2}}
similarity: [rsa, rsa_pearson]
significance: {{n_permutations: 99}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rdms")
    images, patterns = made()
    names = [f"image{index:02d}" for index in range(92)]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(folder / f"{name}.png")
    pd.DataFrame({"id": names, "path": [f"{name}.png" for name in names]}).to_csv(folder / "stimuli.csv", index=False)
    for person in PEOPLE:
        np.save(folder / f"{person}.npy", np.stack([rdm(patterns[person, region]) for region in REGIONS]))
    return folder


@pytest.fixture(scope="module")
def checked(root, tmp_path_factory):
    return check_study(parse_recipe(RECIPE.format(root=root), "rsa.yaml"), tmp_path_factory.mktemp("study"))


def test_its_numbers_are_those_of_rsatoolbox(checked):
    outcome, _ = checked
    rows = pd.DataFrame([row for row in outcome.rows if row["encoder"] == "images"])
    for metric in ("rsa", "rsa_pearson"):
        for region in REGIONS:
            mine = rows[(rows["metric"] == metric) & (rows["roi"] == region)].set_index("subject")
            np.testing.assert_allclose(mine.loc[list(PEOPLE), "value"], REFERENCE[metric][region], atol=1e-6)
            assert mine.loc["mean", "value"] == pytest.approx(np.mean(REFERENCE[metric][region]), abs=1e-6)
            found = [
                one for one in outcome.findings["rsa_ceilings"] if one["roi"] == region and one["metric"] == metric
            ]
            bounds = [np.mean([one[end] for one in found]) for end in ("lower", "upper")]
            np.testing.assert_allclose(bounds, REFERENCE["ceilings"][f"{metric} {region}"], atol=1e-6)


def test_what_was_found_says_where_rsa_lies_between_the_bounds(checked):
    _, facts = checked
    assert [claim.split(":")[0] for claim in facts["claims"]] == ["V1 (mean)", "LO (mean)"]
    assert "RSA (Spearman) of images pixels is 0.37" in facts["claims"][0]
    assert "below the noise ceiling of 0.50 to 0.78" in facts["claims"][0]
    assert "its best control is coarse at" in facts["claims"][0]


def test_a_region_is_tested_once_over_the_layers_of_an_encoder(checked):
    outcome, _ = checked
    rows = pd.DataFrame(outcome.rows)
    for encoder in ("images", "coarse"):  # of one layer each, which is then the best
        mine = rows[(rows["encoder"] == encoder) & (rows["roi"] == "V1") & rows["subject"].isin(PEOPLE)]
        best, layer = (mine[mine["metric"] == name].set_index("subject") for name in ("best_rsa", "rsa"))
        for column in ("value", "p", "null_95", "ceiling", "n_rows"):
            np.testing.assert_allclose(best[column].astype(float), layer[column].astype(float), rtol=1e-6)
    means = rows[(rows["subject"] == "mean") & (rows["encoder"] == "images")].set_index(["roi", "metric"])
    assert means["test"].str.contains("the same in all participants: about new stimuli").all()
    assert means.loc[("LO", "best_rsa"), "p"] == pytest.approx(means.loc[("LO", "rsa"), "p"])


@pytest.fixture
def geometries():
    """Three layers that resemble each other; the last one knows a little of the region."""
    rng = np.random.default_rng(4)
    y, x = rng.normal(size=(20, 15)), rng.normal(size=(20, 15))
    layers = [x, x + 0.5 * rng.normal(size=x.shape), x + 0.6 * y]
    return [geometry_test(one, y, metric="rsa", n_permutations=199, seed=3) for one in layers]


def test_the_best_layer_has_the_p_of_the_largest_in_units_of_each_null(geometries):
    outcome = Outcome()
    _add(outcome, geometries)
    (best,) = (row for row in outcome.rows if row["metric"] == "best_rsa")
    values, draws = np.array([one.value for one in geometries]), np.stack([one.draws for one in geometries])
    every = np.column_stack([values, draws])
    unit = ((every - every.mean(axis=1, keepdims=True)) / every.std(axis=1, keepdims=True)).max(axis=0)
    counted = np.mean(unit >= unit[0])  # the observed one among them
    assert (best["value"] == values.max() and "null_95" not in best) or best["null_95"] is None
    assert best["p"] == pytest.approx(counted, abs=0.006)  # but for the tail that stands for few exchanges
    assert best["p"] > min(row["p"] for row in outcome.rows if row["metric"] == "rsa")
    claim = rsa_claims(outcome, "one")
    assert "over its layers" in claim[0] or "not tested" in claim[0]


def test_layers_of_different_stimuli_have_no_test_in_common(geometries):
    """Other stimuli left out are other exchanges; the layers keep their own tests."""
    without = dataclasses.replace(geometries[1], left_out=np.arange(20) == 2)
    outcome = Outcome()
    _add(outcome, [geometries[0], without])
    assert [row["metric"] for row in outcome.rows] == ["rsa", "rsa"]


@pytest.mark.parametrize("same", [True, False])
def test_the_mean_of_participants_who_met_the_same_stimuli_is_tested_under_one_exchange_for_all(geometries, same):
    outcome = Outcome()
    members = {"one": geometries[:2], "two": geometries[1:]}
    people = _add(outcome, members["one"]), _add(outcome, members["two"], "two", "these" if same else "others")
    people[0]._found |= people[1]._found
    people[0]._stimuli |= people[1]._stimuli
    for layer in range(2):
        value = np.mean([found[layer].value for found in members.values()])
        outcome.add(
            subject="mean", scheme="all stimuli", encoder="net", role="model", layer=f"layer{layer}", roi="V1",
            fold="all", metric="rsa", value=value, n_targets=15, n_rows=2, ceiling=None, p=0.3, test="t",
        )  # fmt: skip
    people[0].test_means()
    means = [row for row in outcome.rows if row["subject"] == "mean"]
    if not same:
        assert [row["p"] for row in means] == [0.3, 0.3]
        return
    for layer, row in enumerate(means[:2]):
        draws = np.mean([found[layer].draws for found in members.values()], axis=0)
        assert row["p"] == p_of_draws(row["value"], draws, geometry_exchange(20, 199, 3))
    assert means[2]["metric"] == "best_rsa" and means[2]["value"] == max(row["value"] for row in means[:2])


def _add(outcome, found, subject="one", stimuli="these"):
    scores = GeometryScores(outcome, 199, 3)
    entry = SimpleNamespace(name="net", settings=SimpleNamespace(role="model"))
    for depth, one in enumerate(found):
        layer = SimpleNamespace(name=f"layer{depth}", depth=depth / 2)
        scores.add(subject, "V1", entry, layer, "rsa", one, ceiling=None, n_targets=15, stimuli=stimuli)
    scores.add_best()
    outcome.correct()
    return scores


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    desk = tmp_path_factory.mktemp("desk")
    (desk / "rsa.yaml").write_text(RECIPE.format(root=root).replace("99", "19"))
    return bb.run(desk / "rsa.yaml", out=desk / "run", cache=desk / "cache")


def test_the_page_shows_it(run):
    page = run.report.read_text()
    assert "Geometry: RSA (Spearman)" in page and "Geometry: RSA (Pearson)" in page and "(mean): RSA" in page
    assert "4186 distances of 92 stimuli" in page
    tested = run.scores.query("metric == 'rsa' and encoder == 'images' and roi == 'V1' and subject != 'mean'")
    assert (tested["p"] == 0.05).all() and tested["test"].str.contains("stimuli exchanged").all()


def test_the_page_draws_the_ranks_of_measured_distances_and_of_the_best_layer(root, run):
    findings = read_facts(run.path)["findings"]
    assert [one["roi"] for one in findings["rdms"]] == list(REGIONS) and (run.path / "figures" / "mds.svg").is_file()
    assert "RDMs of regions and of their best layers, as ranks. V1: most alike image" in run.report.read_text()
    given = [np.load(root / f"{person}.npy") for person in PEOPLE]
    means = run.scores.query("metric == 'rsa' and fold == 'all' and subject == 'mean' and role == 'model'")
    for place, one in enumerate(findings["rdms"]):
        mean = np.mean([rankdata(person[place]) for person in given], axis=0)
        shown = np.array(one["measured"], dtype=float)
        np.testing.assert_allclose(shown, 100 * (rankdata(mean) - 1) / (len(mean) - 1), atol=1.0)
        best = means[means["roi"] == one["roi"]].sort_values("value").iloc[-1]
        assert (one["encoder"], one["layer"]) == (best["encoder"], best["layer"])
        again = np.mean([spearmanr(one["of_layer"], person[place]).statistic for person in given])
        assert again == pytest.approx(best["value"], abs=5e-3)


def test_stimuli_that_lie_in_a_plane_are_placed_at_their_distances():
    points = np.random.default_rng(0).normal(size=(20, 2)) * (3, 1)
    found, share = places_of(pdist(points))
    np.testing.assert_allclose(pdist(found), pdist(points))
    assert share == pytest.approx(1) and np.ptp(found[:, 0]) > np.ptp(found[:, 1])
    ranks = ranks_of(np.array([3.0, np.nan, 1.0, 2.0, 2.0]))
    np.testing.assert_array_equal(ranks, [100, np.nan, 0, 50, 50])


def test_export_writes_the_rdms_that_the_scores_are_of(root, run):
    export_run(run.path, cache=str(run.path.parent / "cache"))
    folder = run.path / "export"
    rows = pd.read_csv(folder / "scores.csv").query("metric == 'rsa' and fold == 'all' and subject in @PEOPLE")
    assert len(rows) == 2 * len(PEOPLE) * len(REGIONS)
    given = {person: np.load(root / f"{person}.npy") for person in PEOPLE}
    for row in rows.itertuples():
        measured = np.load(folder / "measured" / f"sub-{row.subject}_roi-{row.roi}.npy")
        np.testing.assert_array_equal(measured, squareform(given[row.subject][REGIONS.index(row.roi)]))
        layer = np.load(folder / "layers" / f"encoder-{row.encoder}_layer-{row.layer}.npy")
        upper = np.triu_indices(92, 1)
        assert spearmanr(layer[upper], measured[upper]).statistic == pytest.approx(row.value, abs=1e-7)
    assert pd.read_csv(folder / "stimuli.csv")["id"].tolist() == pd.read_csv(root / "stimuli.csv")["id"].tolist()
    found = read_rdms(folder / "rdms.hdf5")  # layers are there as well
    assert [(one.subject, one.roi) for one in found[:6]] == [(who, roi) for roi in REGIONS for who in PEOPLE]
    assert len(found) == 8 and found[0].names["stimulus"] == pd.read_csv(root / "stimuli.csv")["id"].tolist()
    with h5py.File(folder / "rdms.hdf5") as ours, h5py.File(Path(__file__).parent / "rsatoolbox.hdf5") as theirs:
        assert set(ours) == set(theirs) and "dissimilarity_measure" in ours.attrs
        for name in ("rdm_descriptors/roi", "rdm_descriptors/index", "pattern_descriptors/stimulus", "dissimilarities"):
            assert ours[name].dtype.kind == theirs[name].dtype.kind and ours[name].ndim == theirs[name].ndim


def test_distances_are_not_fitted_and_responses_are_no_distances(root):
    text = RECIPE.format(root=root)
    with pytest.raises(RecipeError, match="holds distances between stimuli, and no responses: `kind: rsa`"):
        parse_recipe(text.replace("kind: rsa", "kind: encode").replace("rsa_pearson", "cka"), "r.yaml")
    with pytest.raises(RecipeError, match="`kind: encode` with `similarity"):
        parse_recipe(
            "kind: rsa\ndataset: {name: folder, root: x}\nencoders: [{name: pixels, family: pixels}]\n", "r.yaml"
        )
