"""A sample of the sweep over settings that turns with the day; `benchmarks/sweep.py --part settings` makes all."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from brainbench.core.digests import digest
from brainbench.recipes.kinds import kinds
from brainbench.recipes.reader import parse_recipe
from tests.studies.recipes import SMALL
from tests.sweeps.settings import REDUCED, TINY, Setting, compare, places, setting

pytestmark = pytest.mark.long

N_CHANGES = 8


@pytest.fixture
def values():
    overrides = [*TINY, "dataset.n_subjects=1", "dataset.n_stimuli=48", "encoders[0].layers=[scale.0, scale.3]"]
    overrides += [*(f"dataset.rois[{k}].n_voxels=4" for k in range(3)), "encoders[0].image_size=32"]
    return parse_recipe(SMALL, "small.yaml", overrides).model_dump(mode="json")


def test_a_changed_setting_gives_what_a_fresh_run_gives(tmp_path, values):
    day = int(os.environ.get("BRAINBENCH_SWEEP_DAY", time.strftime("%Y%j")))
    found = places("small", values)
    some = [found[index] for index in np.random.default_rng(day).permutation(len(found))[: 2 * N_CHANGES]]
    chosen = [one for place in some if (one := setting(values, *place)) is not None][:N_CHANGES]
    verdicts = list(compare(values, chosen, tmp_path))
    assert len(verdicts) >= 3 and [one for one in verdicts if not one.right] == [], f"BRAINBENCH_SWEEP_DAY={day}"


def test_what_inner_folds_keep_together_is_part_of_every_fit(tmp_path):
    """The same outer folds, by a column, whatever is held out: penalties are chosen inside by stimulus or by run."""
    recipes = [
        parse_recipe(
            SMALL, "small.yaml",
            [f"hold_out=[{what}]", "dataset={name: simulated, images: drawings, n_subjects: 1, n_stimuli: 24, "
             "n_runs: 3, n_repeats: 2, rois: [{roi: stripes, prefers: stripes, n_voxels: 4}]}",
             "folds={scheme: grouped, column: category, n_splits: 3}", "responses.average_repeats=false", "unique=null",
             "encoders=[{name: pixels, family: pixels, image_size: 8}]", "similarity=[]", "ceiling.method=none",
             "significance.n_permutations=0", "bootstrap.n_draws=0"],
        ).model_dump(mode="json")
        for what in ("stimulus", "run")
    ]  # fmt: skip
    (verdict,) = compare(recipes[0], [Setting("hold_out", yaml.safe_dump(recipes[1]))], tmp_path)
    assert verdict.outcome == "changed"


def test_the_sweep_sees_a_key_that_forgets_a_setting(tmp_path, monkeypatch, values):
    change = setting(values, ("head", "n_alphas"), values["head"]["n_alphas"])
    assert change is not None
    monkeypatch.setattr(
        "brainbench.runs.units.Unit.digest", property(lambda unit: digest([unit.kind, unit.label])[:32])
    )
    (verdict,) = compare(values, [change], tmp_path)
    assert "cached and fresh differ" in verdict.outcome and "scores.csv" in verdict.outcome


def test_every_shipped_recipe_and_every_kind_is_swept():
    shipped = {path.stem: path.read_text() for path in Path(__file__).parents[2].joinpath("recipes").glob("*.yaml")}
    missing = {kind for kind in kinds() if not any(f"kind: {kind}\n" in text for text in shipped.values())}
    assert set(REDUCED) == {*shipped, *missing, "decode"}  # those shipped decode trials of EEG
