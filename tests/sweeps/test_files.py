"""A sample of the sweep over files that turns with the day; `benchmarks/sweep.py --part files` makes all changes."""

import contextlib
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainbench.core.errors import UserError
from brainbench.recipes.datasets import DATASETS
from tests.sweeps.files import Change, changes, content, rerun, sweep
from tests.sweeps.loaders import LOADERS, RECIPES

N_CHANGES = 3
"""Changes of each loader."""


@pytest.fixture(scope="module")
def day():
    return int(os.environ.get("BRAINBENCH_SWEEP_DAY", time.strftime("%Y%j")))


@pytest.mark.parametrize("name", LOADERS)
def test_every_change_of_a_file_is_seen(name, day, tmp_path):
    loader = LOADERS[name]
    loader.write(tmp_path / "original")
    rng = np.random.default_rng([day, list(LOADERS).index(name)])

    def some(found):
        assert len(found) >= 2
        return [found[index] for index in sorted(rng.permutation(len(found))[:N_CHANGES])]

    verdicts = sweep(loader, tmp_path / "original", tmp_path, some)
    assert [one for one in verdicts if not one.right] == [], f"BRAINBENCH_SWEEP_DAY={day}"


@pytest.mark.parametrize("name", LOADERS)
def test_damaged_files_are_refused_with_a_message(name, day, tmp_path):
    loader, rng = LOADERS[name], np.random.default_rng([day, 3, list(LOADERS).index(name)])
    loader.write(tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size)
    for _ in range(3):
        path = files[rng.integers(len(files))]
        whole = path.read_bytes()
        damaged = bytearray(whole[: rng.integers(len(whole))] if rng.integers(2) else whole)
        for at in rng.integers(max(1, len(damaged)), size=rng.integers(1, 20)) if damaged else ():
            damaged[at] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(UserError):  # anything else is a crash; what is still whole may be read
            content(loader.open(tmp_path, None))
        path.write_bytes(whole)


def test_rows_that_were_measured_six_seconds_later_are_fitted_again(tmp_path):
    loader = LOADERS["folder story"]
    loader.write(tmp_path / "original")

    def later(path):
        design = pd.read_csv(path)
        design.assign(time=design["time"] + 6.0).to_csv(path, index=False)

    change = Change("sub-01/design.csv[time]", Path("sub-01/design.csv"), later)
    (verdict,) = rerun(RECIPES["folder story"], tmp_path / "original", tmp_path, [change])
    assert verdict.right and verdict.outcome == "changed"


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "folder story"])
def test_a_changed_file_is_seen_in_the_scores(name, day, tmp_path):
    loader = LOADERS[name.partition(",")[0]]
    loader.write(tmp_path / "original")
    found = changes(tmp_path / "original", loader.open(tmp_path / "original", None))
    chosen = found[int(np.random.default_rng([day, 7]).integers(len(found)))]
    (verdict,) = rerun(RECIPES[name], tmp_path / "original", tmp_path, [chosen])
    assert verdict.right, f"BRAINBENCH_SWEEP_DAY={day}: {verdict}"


def test_the_sweep_sees_a_loader_that_forgets_a_column(tmp_path):
    loader = LOADERS["folder"]
    loader.write(tmp_path / "original")
    forgetful = type(loader)(loader.write, {**loader.settings, "ceiling": None})
    dataset = loader.open(tmp_path / "original", None)
    wanted = {change.name for change in changes(tmp_path / "original", dataset)}
    assert {"sub-01/design.csv[stimulus]", "sub-01/ceiling.npy[value]", "stimuli.csv[kind]"} <= wanted
    # `repeat` is read to be checked and has no effect, which only this loader's list of exceptions forgives.
    bare = type(loader)(loader.write, loader.settings, {})
    found = sweep(bare, tmp_path / "original", tmp_path, lambda all: [c for c in all if "[repeat]" in c.name])
    assert any(not one.right and one.outcome == "no effect" for one in found) or all(
        one.outcome == "refused" for one in found
    )
    assert not any(
        "ceiling" in change.name
        for change in changes(tmp_path / "original", forgetful.open(tmp_path / "original", None))
    )


def test_every_data_set_is_swept():
    made_up = {"simulated-seeg"}  # reads no file
    assert {loader.settings["name"] for loader in LOADERS.values()} == set(DATASETS) - made_up
