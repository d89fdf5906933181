"""A sample of the sweep over settings that turns with the day; `benchmarks/sweep.py --part settings` makes all."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from brainbench.core.digests import digest
from brainbench.recipes.reader import parse_recipe
from tests.studies.recipes import SMALL
from tests.sweeps.settings import REDUCED, TINY, compare, places, setting

N_CHANGES = 8


@pytest.fixture
def values():
    overrides = [*TINY, "dataset.n_subjects=1", "dataset.n_stimuli=48"]
    return parse_recipe(SMALL, "small.yaml", overrides).model_dump(mode="json")


def test_a_changed_setting_gives_what_a_fresh_run_gives(tmp_path, values):
    day = int(os.environ.get("BRAINBENCH_SWEEP_DAY", time.strftime("%Y%j")))
    found = places(values)
    some = [found[index] for index in np.random.default_rng(day).permutation(len(found))[: 2 * N_CHANGES]]
    chosen = [one for place in some if (one := setting(values, *place)) is not None][:N_CHANGES]
    verdicts = list(compare(values, chosen, tmp_path))
    assert len(verdicts) >= 3 and [one for one in verdicts if not one.right] == [], f"BRAINBENCH_SWEEP_DAY={day}"


def test_the_sweep_sees_a_key_that_forgets_a_setting(tmp_path, monkeypatch, values):
    change = setting(values, ("head", "n_alphas"), values["head"]["n_alphas"])
    assert change is not None
    monkeypatch.setattr(
        "brainbench.runs.units.Unit.digest", property(lambda unit: digest([unit.kind, unit.label])[:32])
    )
    (verdict,) = compare(values, [change], tmp_path)
    assert "cached and fresh differ" in verdict.outcome and "scores.csv" in verdict.outcome


def test_every_shipped_recipe_is_swept():
    assert set(REDUCED) == {path.stem for path in Path(__file__).parents[2].joinpath("recipes").glob("*.yaml")}
