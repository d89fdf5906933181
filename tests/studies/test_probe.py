"""`plan` on the first try: units are timed on noise, nothing of it is kept, and what was timed is remembered."""

import time

import pytest
import yaml

from brainbench.commands.plan import plan
from brainbench.commands.run import run
from brainbench.core.progress import Stages
from brainbench.recipes.reader import read_recipe
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import RunFolder
from brainbench.studies import probe
from brainbench.studies.base import study_of
from brainbench.studies.opened import open_all
from tests.data.folders import write_trials


@pytest.fixture
def recipe(tmp_path):
    write_trials(tmp_path / "data")
    values = {
        "kind": "encode",
        "dataset": {"name": "folder", "root": str(tmp_path / "data"), "modality": "image"},
        "encoders": [{"name": "pixels", "family": "pixels", "role": "model"}, {"name": "random", "family": "random"}],
        "significance": {"n_permutations": 20, "n_refits": 19}, "bootstrap": {"n_draws": 20},
        "folds": {"n_splits": 3},
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "mine.yaml"


def test_a_plan_forecasts_before_anything_has_run_and_counts_what_runs(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = plan(recipe, cache=tmp_path / "cache")
    assert first.seconds is not None and 0 < first.seconds < 60
    assert not (tmp_path / "runs").exists() and not (tmp_path / "cache" / "features").exists()

    def again(*_):
        raise AssertionError("it was timed a second time")

    monkeypatch.setattr(probe, "_timed", again)
    assert plan(recipe, cache=tmp_path / "cache").seconds == first.seconds
    done = run(recipe, cache=tmp_path / "cache", quiet=True)
    assert {kind: total for kind, (total, _) in first.units.items()} == done.manifest["plan"]["units"]
    assert plan(recipe, cache=tmp_path / "cache").seconds == 0


def test_time_that_units_take_is_in_the_forecast(recipe, tmp_path, monkeypatch):
    opened = open_all(read_recipe(recipe), tmp_path / "cache")
    study = study_of(opened, Runner(RunFolder(tmp_path / "run"), LocalEngine(), Stages(quiet=True)))
    computed = probe.compute_unit

    def slowly(unit):
        time.sleep(0.05 if unit.kind == "fit" else 0)
        return computed(unit)

    monkeypatch.setattr(probe, "compute_unit", slowly)
    found = probe.timings(study, {"fit": 12})
    assert 0.05 <= found["fit"] < 0.5
    missing = probe.NoiseStore(tmp_path / "cache").missing
    entry = opened.encoders[0]
    assert missing(entry.encoder, opened.dataset.stimuli("sub-01"), ["pixels"], "mean") == ["pixels"]


def test_what_takes_longer_than_a_plan_may_is_not_guessed(recipe, tmp_path, monkeypatch):
    opened = open_all(read_recipe(recipe), tmp_path / "cache")
    study = study_of(opened, Runner(RunFolder(tmp_path / "run"), LocalEngine(), Stages(quiet=True)))
    monkeypatch.setattr(probe, "_LIMIT_S", 0.2)
    monkeypatch.setattr(probe, "compute_unit", lambda unit: time.sleep(5))
    start = time.monotonic()
    with pytest.raises(probe.TooLong) as error:
        probe.timings(study, {"fit": 12})
    assert error.value.kind == "fit"
    assert time.monotonic() - start < 4 and not (tmp_path / "cache" / probe.FOLDER).exists()
    monkeypatch.setattr(probe, "_LIMIT_S", 0.1)
    found = plan(recipe, cache=tmp_path / "cache", out=tmp_path / "run")
    n = found.units["fit"][1]
    assert found.seconds is None and f"a unit of fit takes more than a minute, and {n} are to be" in found.render()
