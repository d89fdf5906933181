"""Planted layers are recovered, scores respect their ceilings, and where nothing was planted p is uniform."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from brainbench.core.progress import Stages
from brainbench.recipes.reader import parse_recipe
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import RunFolder
from brainbench.studies.base import study_of
from brainbench.studies.compute import compute
from brainbench.studies.opened import open_all

pytestmark = pytest.mark.long

SEEDS = 20

GABOR = """\
kind: encode
seed: {seed}
dataset:
  name: simulated
  n_subjects: 1
  n_stimuli: 120
  n_repeats: 2
  n_runs: 3
  rois:
    - {{roi: scale.0, encoder: gabor, layer: scale.0, n_voxels: 20, ceiling: 0.8}}
    - {{roi: scale.1, encoder: gabor, layer: scale.1, n_voxels: 20, ceiling: 0.8}}
    - {{roi: scale.3, encoder: gabor, layer: scale.3, n_voxels: 20, ceiling: 0.8}}
    - {{roi: silent, n_voxels: 20}}
responses: {{center: run}}  # the stated ceiling is that of responses without the offsets of runs
folds: {{n_splits: 3}}
encoders:
  - {{name: gabor, family: gabor, role: model, image_size: 48, layers: ["scale.*"]}}
head: {{n_alphas: 9, inner_folds: 3}}
metrics: [pearson_r]
significance: {{n_permutations: 99}}
bootstrap: {{n_draws: 0}}
"""

NETWORK = """\
kind: encode
seed: {seed}
dataset:
  name: simulated
  n_subjects: 1
  n_stimuli: 160
  n_repeats: 3
  n_runs: 3
  rois:
    - {{roi: blocks.1, encoder: network, layer: blocks.1, n_voxels: 30, ceiling: 0.8}}
    - {{roi: blocks.3, encoder: network, layer: blocks.3, n_voxels: 30, ceiling: 0.8}}
    - {{roi: blocks.6, encoder: network, layer: blocks.6, n_voxels: 30, ceiling: 0.8}}
folds: {{n_splits: 3}}
encoders:
  - {{name: network, family: image, model: tf_efficientnet_lite0, weights: installed, image_size: 64,
     layers: ["blocks.*"]}}
head: {{n_alphas: 9, inner_folds: 3}}
metrics: [pearson_r]
significance: {{n_permutations: 0}}
bootstrap: {{n_draws: 0}}
"""


def scores_of(text: str, folder: Path, cache: Path, seed: int) -> pd.DataFrame:
    recipe = parse_recipe(text.format(seed=seed), "test.yaml")
    run = RunFolder(folder / str(seed))
    with run.writing():
        outcome = compute(study_of(open_all(recipe, cache), Runner(run, LocalEngine(), Stages(quiet=True))))
    return pd.DataFrame(outcome.rows).assign(seed=seed)


@pytest.fixture(scope="module")
def gabor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recovery")
    rows = pd.concat([scores_of(GABOR, folder, folder / "cache", seed) for seed in range(SEEDS)])
    return rows[(rows["fold"] == "all") & (rows["metric"] == "pearson_r")]


def recovered(rows: pd.DataFrame) -> float:
    best = rows.loc[rows.groupby(["seed", "roi"])["value"].idxmax()]
    return float((best["layer"] == best["roi"]).mean())


def test_planted_filters_are_recovered_over_seeds(gabor):
    planted = gabor[gabor["roi"] != "silent"]
    assert planted.groupby(["seed", "roi"]).ngroups == 3 * SEEDS
    assert recovered(planted) >= 0.95


@pytest.mark.slow
def test_planted_layers_of_a_network_are_recovered_over_seeds(tmp_path):
    rows = pd.concat([scores_of(NETWORK, tmp_path, tmp_path / "cache", seed) for seed in range(SEEDS)])
    rows = rows[(rows["fold"] == "all") & (rows["metric"] == "pearson_r")]
    assert rows.groupby(["seed", "roi"]).ngroups == 3 * SEEDS
    assert recovered(rows) >= 0.95


def test_scores_stay_below_their_ceilings(gabor):
    planted = gabor[gabor["roi"] != "silent"]
    assert planted["ceiling"].between(0.65, 0.95).all()
    excess = planted["value"] - planted["ceiling"]
    # A single score may pass its estimated ceiling by sampling error, their mean may not.
    assert excess.max() < 0.05
    own = planted[planted["layer"] == planted["roi"]]
    assert (own["value"] - own["ceiling"]).mean() < 0
    assert own["value"].mean() > 0.5


def test_the_estimated_ceiling_is_the_planted_one(gabor):
    ceilings = gabor[gabor["roi"] != "silent"].groupby("seed")["ceiling"].mean()
    assert abs(ceilings.mean() - 0.8) < 0.03
    # Where nothing was planted the ceiling's interval reaches 0: it is not found, and nothing is divided by it.
    silent = gabor[gabor["roi"] == "silent"].groupby("seed")["ceiling"].mean()
    assert silent.isna().mean() >= 0.8


def test_p_is_uniform_where_nothing_was_planted(gabor):
    silent = gabor[(gabor["roi"] == "silent") & (gabor["layer"] == "scale.1")]["p"].to_numpy()
    assert len(silent) == SEEDS
    assert stats.kstest(silent, "uniform").pvalue > 0.01
    assert np.mean(silent <= 0.05) <= 0.2
    found = gabor[(gabor["roi"] == gabor["layer"])]["p"]
    assert (found <= 0.01).mean() > 0.95
