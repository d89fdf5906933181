"""``kind: explore`` from recipe to report; with an untrained generator in CI, in full where slow tests run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import brainbench as bb
from brainbench.core.errors import RecipeError
from brainbench.recipes.reader import parse_recipe
from brainbench.runs.folder import Run
from brainbench.studies.explore.exploration import Target
from brainbench.studies.explore.results import control_regions
from tests.studies.recipes import write_recipe

RECIPE = """\
kind: explore
dataset:
  name: simulated
  images: drawings
  n_subjects: 1
  n_stimuli: 48
  n_repeats: 2
  n_runs: 4
  rois:
    - {roi: stripes-area, prefers: stripes, n_voxels: 10, ceiling: 0.8}
    - {roi: disc-area, prefers: disc, n_voxels: 10, ceiling: 0.8}
    - {roi: silent, n_voxels: 5}
folds: {n_splits: 4}
encoders:
  - {name: efficientnet, family: image, weights: installed, image_size: 64, layers: [blocks.4]}
  - {name: pixels, family: pixels, image_size: 8}
generator: {name: small, train_on: drawings, n_images: 24, train_steps: 4, width: 8, batch_size: 4, steps: 4}
guide: {encoder: efficientnet, layer: blocks.4}
rois: [stripes-area]
contrasts: [{roi: disc-area, minus: silent}]
scales: [5, 30]
n_images: 6
facets: {n_facets: 2, n_top: 10, n_mean: 4}
n_gallery: 3
bootstrap: {n_draws: 200}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("explore")
    return bb.run(write_recipe(folder, RECIPE), out=folder / "run", cache=folder / "cache")


def value(run: Run, **wanted: str) -> float:
    scores = run.scores
    mine = scores[(scores.encoder == wanted.pop("encoder", "efficientnet")) & scores.stimulus.fillna("").eq("")]
    for name, one in wanted.items():
        mine = mine[mine[name].fillna("") == one]
    assert len(mine) == 1, wanted
    return float(mine.value.iloc[0])


def test_regions_that_share_voxels_with_the_target_are_no_controls() -> None:
    names = {"all": "1111", "V1": "1100", "V1v": "1000", "FFA": "0010", "PPA": "0001"}
    rois = {name: np.array(list(inside)) == "1" for name, inside in names.items()}
    assert control_regions(rois, Target("V1", "V1")) == [3, 4]
    assert control_regions(rois, Target("V1 - PPA", "V1", "PPA")) == [3]
    assert control_regions(rois, Target("all", "all")) == []


def test_guided_images_are_predicted_to_drive_the_region(run: Run) -> None:
    place = {"roi": "stripes-area", "pipeline": "stripes-area", "metric": "predicted_response"}
    plain = value(run, stage="unguided", row="", **place)
    weak = value(run, stage="guided", row="scale 5", **place)
    strong = value(run, stage="guided", row="scale 30", **place)
    assert strong > weak > plain
    assert value(run, stage="encoding", roi="stripes-area") > 0.7
    assert value(run, stage="training", row="top images", **place) > value(
        run, stage="training", row="95th percentile", **place
    )
    # Judges read the same images, controls are read too, and every image has a row of its own.
    value(run, stage="guided", row="scale 30", **place | {"encoder": "pixels"})
    value(run, stage="guided", row="scale 30", **place | {"roi": "silent"})
    value(run, stage="guided", row="scale 30", **place | {"metric": "selectivity"})
    scores = run.scores
    assert len(scores[(scores.row == "scale 30") & (scores.stage == "guided") & (scores.stimulus != "")]) == 2 * 6


def test_pictures_report_and_warnings(run: Run) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "What drives it: sim-01: stripes-area" in page
    assert "simulated: no brain was measured" in page
    assert "not a measurement" in page
    assert "does not predict held-out stimuli" in page  # the silent region
    (network,) = (run.path / "generators").glob("*/*.json")
    assert f"small: 1 network trained here, key {network.stem}" in page
    assert sorted(path.name for path in (run.path / "figures").glob("explore_*"))[0].startswith("explore_sim-01_disc")
    with np.load(next((run.path / "images").glob("*stripes-area*.npz"))) as stored:
        assert stored["unguided"].shape == (6, 32, 32, 3)
        assert stored["facets: mean"].shape == (2, 32, 32, 3)
        assert np.abs(stored["unguided"].astype(int) - stored["guided: scale 5"]).max() > 0


def test_nothing_is_drawn_or_trained_twice(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, before = run.path.parent / "small.yaml", (run.path / "scores.csv").read_bytes()
    (run.path / "manifest.json").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed twice")

    monkeypatch.setattr("brainbench.reconstruction.guidance.guide", refuse)
    monkeypatch.setattr("brainbench.reconstruction.generators.small.train", refuse)
    again = bb.run(recipe, out=run.path, cache=run.path.parent / "cache")
    assert (again.path / "scores.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("scales: [5, 30]", "scales: [30, 5]"), "must be positive and rise"),
        (("guide: {encoder: efficientnet", "guide: {encoder: efficientnett"), "did you mean 'efficientnet'"),
        (("guide: {encoder: efficientnet", "guide: {encoder: pixels"), "gradients pass through"),
        (("{name: small, train_on: drawings, n_images: 24, train_steps: 4, width: 8, batch_size: 4, steps: 4}",
          "{name: ip-adapter}"), "cannot be guided by a region"),
        (("prefers: disc,", "prefers: disc, encoder: pixels,"), "not both"),
    ],
)  # fmt: skip
def test_what_cannot_be_explored_is_refused_at_once(change: tuple[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(RECIPE.replace(*change), "recipe.yaml")


@pytest.mark.slow
def test_a_network_that_never_guided_sees_the_preferred_class(tmp_path: Path) -> None:
    """The recipe that is installed: beyond the stimuli's 95th percentile, and the class more often than unguided."""
    run = bb.run("explore-simulated", out=tmp_path / "run", cache=tmp_path / "cache")
    place = {"roi": "stripes-area", "pipeline": "stripes-area", "metric": "predicted_response"}
    high = value(run, stage="training", row="95th percentile", **place)
    scores = run.scores
    guided = scores[
        (scores.stage == "guided") & (scores.roi == "stripes-area") & (scores.pipeline == "stripes-area")
        & (scores.metric == "predicted_response") & (scores.encoder == "efficientnet") & (scores.stimulus == "")
    ]  # fmt: skip
    assert guided.ci_low.max() > high
    best = guided.loc[guided.value.idxmax(), "row"]
    with np.load(next((run.path / "images").glob("*explore-stripes-area.npz"))) as stored:
        named = {name.removesuffix(" (highest)"): stored[name] for name in stored.files}
    told = classify(np.concatenate([named[f"guided: {best}"], named["unguided"]]))
    n = len(told) // 2
    gain = (told[:n] == "stripes").astype(float) - (told[n:] == "stripes")
    draws = np.random.default_rng(0).choice(gain, (2000, n)).mean(axis=1)
    assert np.quantile(draws, 0.025) > 0


def classify(images: np.ndarray) -> np.ndarray:
    """Return the class of each image, told by a small network trained on drawings that nobody else has seen."""
    import torch
    from torch import nn

    from brainbench.simulation.drawings import CLASSES, drawings

    torch.manual_seed(0)
    shown, labels = drawings(1200, 32, seed=77)
    x = torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 255
    y = torch.tensor([CLASSES.index(label) for label in labels])
    network = nn.Sequential(
        nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1),
        nn.ReLU(), nn.Flatten(), nn.Linear(512, len(CLASSES)),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    rng = np.random.default_rng(0)
    for _ in range(300):
        rows = rng.choice(1000, 64)
        loss = nn.functional.cross_entropy(network(x[rows] + 0.05 * torch.randn_like(x[rows])), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        assert (network(x[1000:]).argmax(1) == y[1000:]).float().mean() > 0.8
        told = network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).argmax(1)
    return np.array(CLASSES)[told.numpy()]
