"""``kind: reconstruct`` from recipe to report, without a generator (those have tests of their own)."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import brainbench as bb
from brainbench.core.errors import RecipeError, UserError
from brainbench.recipes.reader import parse_recipe, read_recipe
from brainbench.recipes.reconstruction import ImageMetric
from brainbench.reconstruction.metrics import METRICS
from brainbench.runs.folder import RunFolder
from brainbench.studies.reconstruct.gallery import ranked
from tests import processes
from tests.figures import undrawn, unwritten
from tests.studies.recipes import write_recipe

pytestmark = pytest.mark.long

RECIPE = """\
kind: reconstruct
seed: 2
dataset:
  name: simulated
  n_subjects: 1
  n_stimuli: 96
  n_repeats: 2
  n_runs: 4
  rois:
    - {roi: layout, encoder: pixels, layer: pixels, n_voxels: 60, ceiling: 0.9}
    - {roi: silent, n_voxels: 20}
hold_out: [stimulus]
folds: {n_splits: 3}
also:
  - hold_out: [stimulus]
    folds: {scheme: held-out-clusters, n_splits: 3, cluster_by: {encoder: pixels, layer: pixels}}
encoders:
  - {name: pixels, family: pixels, image_size: 8}
low_level: {codec: pca, image_size: 16, n_components: 20}
head: {n_alphas: 7, inner_folds: 3}
metrics: [pixcorr, two_way_pixels, ssim_2d]
ablation: {rois: ["*"], modes: [only]}
significance: {n_permutations: 99}
bootstrap: {n_draws: 200}
n_gallery: 2
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reconstruct")
    recipe = write_recipe(folder, RECIPE)
    return bb.run(recipe, out=folder / "run", cache=folder / "cache")


def value(run, metric="pixcorr", stage="low_level", row="predicted", scheme="stimulus"):
    scores = run.scores
    mine = scores[
        (scores.metric == metric) & (scores.stage == stage) & (scores.row == row) & (scores.scheme == scheme)
        & (scores.stimulus == "")
    ]  # fmt: skip
    assert len(mine) == 1
    return mine.iloc[0]


@pytest.mark.parametrize("metric", ["pixcorr", "two_way_pixels"])
def test_the_ladder_is_ordered(run, metric):
    codec, predicted = value(run, metric, "codec", "codec"), value(run, metric)
    shuffled = value(run, metric, "baseline", "shuffled, low_level")
    assert codec.value > predicted.value > shuffled.value
    assert predicted.p <= 0.01 and predicted.value > predicted.null_95 > shuffled.value
    assert predicted.ci_low < predicted.value < predicted.ci_high
    if metric == "two_way_pixels":
        assert shuffled.value == pytest.approx(0.5, abs=0.05)
        assert value(run, metric, "baseline", "mean").value < predicted.value


def test_rows_that_are_means_over_runs_have_no_run_whose_images_could_be_averaged(run):
    assert not (run.scores.row == "run_mean").any()
    assert any(one.startswith("sim-01, stimulus: the rung run_mean is left out") for one in run.warnings)
    assert "with no brain at all" not in " ".join(run.facts["claims"])


def test_tables_have_a_row_per_rung_scheme_and_stimulus(run):
    scores = run.scores
    assert {"subject", "stage", "row", "metric", "folds", "stimulus", "value"} <= set(scores.columns)
    assert set(scores.folds) == {"stimulus", "held-out-clusters"}
    per_stimulus = scores[(scores.row == "predicted") & (scores.metric == "pixcorr") & (scores.stimulus != "")]
    assert len(per_stimulus) == 2 * 96
    mine = per_stimulus[per_stimulus.folds == "stimulus"]
    assert mine.value.mean() == pytest.approx(value(run).value, abs=1e-5)


def test_a_region_without_signal_carries_nothing(run):
    assert value(run, row="predicted, only layout", metric="two_way_pixels").value > 0.8
    assert value(run, row="predicted, only silent", metric="two_way_pixels").value == pytest.approx(0.5, abs=0.12)


def test_the_report_has_gallery_ladder_and_the_cost_of_clusters(run):
    text = run.report.read_text()
    for words in ("Images: sim-01", "The ladder, stimulus held out (main)", "codec: true latents", "simulated",
                  "What another way of holding out costs", "Which region carries which score"):  # fmt: skip
        assert words in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    gallery = next(entry for entry in run.facts["pictures"] if entry["what"] == "gallery")
    with np.load(run.path / gallery["file"], allow_pickle=False) as stored:
        assert stored["original"].shape == (6, 16, 16, 3) and stored["original"].dtype == np.uint8
        assert list(stored["place"]) == ["best", "best", "median", "median", "worst", "worst"]
        assert (np.diff(stored["score"]) <= 1e-6).all()
    images = next(entry for entry in run.facts["pictures"] if entry["what"] == "reconstructions")
    with np.load(run.path / images["file"], allow_pickle=False) as stored:
        assert stored["images"].shape == (96, 1, 16, 16, 3)


def test_a_second_run_computes_nothing_and_a_lost_unit_comes_back_the_same(run, tmp_path, monkeypatch):
    undrawn(monkeypatch)
    before = (run.path / "scores.csv").read_bytes()
    again = bb.run(write_recipe(tmp_path, RECIPE), out=run.path, cache=tmp_path / "cache")
    assert (again.path / "scores.csv").read_bytes() == before
    (run.path / "report.html").unlink()
    next((run.path / "units").glob("*.npz")).write_bytes(b"damaged")
    bb.run(write_recipe(tmp_path, RECIPE), out=run.path, cache=tmp_path / "cache")
    assert (run.path / "scores.csv").read_bytes() == before


def test_only_rungs_that_the_ladder_names_are_there(run, tmp_path, monkeypatch):
    unwritten(monkeypatch)
    shutil.copytree(run.path, tmp_path / "run")
    text = RECIPE.partition("also:")[0] + "encoders:" + RECIPE.partition("encoders:")[2] + "ladder: [predicted, mean]\n"
    found = bb.run(write_recipe(tmp_path, text), out=tmp_path / "run", cache=tmp_path / "cache")
    assert {name.partition(",")[0] for name in found.scores.row.dropna()} == {"predicted", "mean"}
    assert value(found).value == value(run).value


def test_letters_are_identified_with_image_and_run_held_out(real_data, tmp_path):
    run = bb.run(
        "miyawaki-reconstruct", out=tmp_path / "run",
        overrides=[f"dataset.root={real_data / 'miyawaki2008'}", "generator=null"],
    )  # fmt: skip
    for scheme in ("stimulus+run", "style"):
        score = value(run, "two_way_pixels_within", scheme=scheme)
        assert score.value > 0.65 and score.value > score.null_95
    # Every run has one style: without any brain, the other images of the run say more than half of it.
    assert value(run, "two_way_pixels", "baseline", "run_mean", "stimulus+run").value > 0.75
    assert any("no brain at all" in sentence for sentence in run.facts["claims"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("codec: pca", "codec: pac", "'pac' is not one of autoencoder, pca, vdvae; did you mean 'pca'?"),
        ("image_size: 16, n", "image_size: 2, n", "greater than or equal to 4"),
        ("n_components: 20", "n_component: 20", "unknown key; did you mean 'n_components'?"),
        ("n_components: 20", "patch: 5", "`patch: 5` does not divide `image_size: 16`"),
        ("metrics: [pixcorr", "metrics: [pixcor", "did you mean 'pixcorr'?"),
        ("encoder: pixels, layer: pixels}}", "encoder: pixel, layer: pixels}}", "did you mean 'pixels'?"),
        ("head: {", "head: {fixed: {low_level: -1}, ", "must be positive"),
        ("n_gallery: 2", "generator: {name: smal}", "did you mean 'small'?"),
        ("n_gallery: 2", "generator: {name: small}", "condition_on"),
        ("n_gallery: 2", "ladder: [codec]", "needs the rung 'predicted'"),
        ("n_gallery: 2", "calibration: test", "did you mean 'test-batch'?"),
        ("folds: {n_splits: 3}", "folds: {scheme: grouped}", "`column` is given with"),
    ],
)
def test_bad_recipes_are_one_message(old, new, message):
    assert old in RECIPE
    with pytest.raises(RecipeError) as caught:
        parse_recipe(RECIPE.replace(old, new, 1), "mine.yaml")
    assert message in str(caught.value) and "mine.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_gallery: 2", "identify_within: style", "the data has no label 'style'"),
        ("folds: {n_splits: 3}", "folds: {scheme: grouped, column: category}", "no row label 'category'"),
        ('["*"]', "[V1]", "matches none of layout, silent"),
    ],
)
def test_what_only_the_data_can_tell_is_one_message(tmp_path, old, new, message):
    assert old in RECIPE
    with pytest.raises(UserError, match=message):
        bb.run(write_recipe(tmp_path, RECIPE.replace(old, new, 1)), out=tmp_path / "run", cache=tmp_path / "cache")


def test_names_of_metrics_are_those_that_recipes_take():
    from typing import get_args

    assert set(get_args(ImageMetric)) == set(METRICS)


def test_galleries_take_nobody_twice():
    scores = np.array([0.1, 0.9, np.nan, 0.5, 0.7, 0.3, 0.2])
    found = ranked(scores, 2)
    assert [list(found[name]) for name in ("best", "median", "worst")] == [[1, 4], [3, 5], [6, 0]]
    assert list(ranked(scores, 1, lower_is_better=True)["best"]) == [0]
    for n in range(1, 12):
        taken = np.concatenate(list(ranked(np.linspace(0, 1, n), 4).values())).tolist()
        assert len(set(taken)) == len(taken) == (n if n < 3 else 3 * min(4, n // 3))
    assert {place: rows.tolist() for place, rows in ranked(scores[:2], 4).items()} == {"best": [1], "worst": [0]}


def test_shipped_recipes_say_what_they_hold_out():
    folder = Path(__file__).parents[2] / "recipes"
    assert [s.label for s in read_recipe(folder / "miyawaki-reconstruct.yaml").schemes] == ["stimulus+run", "style"]
    assert [s.label for s in read_recipe(folder / "simulated-photos-reconstruct.yaml").schemes] == ["category"]


GENERATED = (
    RECIPE.replace("n_stimuli: 96", "n_stimuli: 40")
    .replace("low_level: {codec: pca, image_size: 16, n_components: 20}", "low_level: {codec: pca, image_size: 8}")
    .replace("metrics: [pixcorr, two_way_pixels, ssim_2d]", "metrics: [pixcorr, two_way_pixels]")
    .replace("folds: {n_splits: 3}\nalso:", "folds: {n_splits: 2}\nalso_:")
)
GENERATED = "\n".join(
    line for line in GENERATED.splitlines()
    if not line.startswith(("also_", "  - hold_out", "    folds", "ablation"))
) + """
generator:
  name: small
  image_size: 8
  width: 8
  condition_on: [{encoder: pixels, layer: pixels}]
  train_on: training
  train_steps: 20
  batch_size: 8
  steps: 4
"""  # fmt: skip


def test_a_killed_run_trains_and_draws_on_to_the_same_bytes(tmp_path, monkeypatch):
    undrawn(monkeypatch)
    recipe = write_recipe(tmp_path, GENERATED)
    whole = bb.run(recipe, out=tmp_path / "whole", cache=tmp_path / "cache")
    rungs = whole.scores.query("metric == 'pixcorr' and stimulus == ''").set_index(["stage", "row"])["value"]
    assert rungs["final", "oracle"] > rungs["baseline", "shuffled, final"]
    assert ("final - low_level", "predicted") in rungs.index
    assert "small: 2 networks trained here, one for each set of training images, keys " in whole.report.read_text()
    folder = tmp_path / "killed"
    command = ("run", recipe, "--out", folder, "--cache", tmp_path / "cache", "--quiet")
    process = processes.start(*command)
    while process.poll() is None and len(events(folder, "unit_done")) < 3:  # two predictions, one training
        time.sleep(0.02)
    process.kill()
    process.wait()
    done = processes.command(*command)
    assert done.returncode == 0, done.stderr
    assert (folder / "scores.csv").read_bytes() == (whole.path / "scores.csv").read_bytes()
    finished = [event["unit"] for event in events(folder, "unit_done")]
    assert len(finished) == len(set(finished))
    assert not list(folder.rglob(".tmp-*"))


def events(folder: Path, name: str) -> list[dict]:
    return [event for event in RunFolder(folder).events() if event["event"] == name]
