"""A run of decoders of trials that is killed in the middle goes on where it was, to the same bytes."""

import os
import signal

import numpy as np
import pytest

import brainbench as bb
from brainbench.networks import training as loop
from tests.data.test_trials import write_folder
from tests.figures import undrawn
from tests.processes import SERVER

pytest.importorskip("braindecode")

RECIPE = """\
kind: decode
dataset:
  name: eeg-folder
  root: {root}
  band: [8.0, 30.0]
  tmax: 2.0
pipelines:
  - {{name: csp_lda, decoder: csp_lda, n_filters: 2}}
  - {{name: tangent_lr, decoder: tangent_lr}}
  - {{name: network, decoder: braindecode, model: EEGNet, max_epochs: 12, patience: 12}}
evaluate:
  - {{scheme: leave-one-run-out}}
significance: {{n_permutations: 99}}
bootstrap: {{n_draws: 50}}
execution: {{jobs: 1}}
"""


def run_and_die(folder):
    """Run the recipe, and die in the middle of the second fold's training, when its fifth checkpoint is written."""
    loop.CHECKPOINT_S, loop.CHECKPOINT_SHARE = 0.0, np.inf
    save, written = loop._State.save, []

    def save_and_die(state, file, key):
        save(state, file, key)
        written.append(key)
        if len(set(written)) == 2 and written.count(key) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    loop._State.save = save_and_die
    bb.run(folder / "recipe.yaml", out=folder / "killed", cache=folder / "cache")


def networks(cache):
    return {path.name: path.read_bytes() for path in (cache / "networks").iterdir() if path.is_file()}


def test_a_run_killed_in_the_middle_ends_in_the_same_bytes(tmp_path, monkeypatch):
    undrawn(monkeypatch)
    (tmp_path / "data").mkdir()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(root=write_folder(tmp_path / "data", runs=3)))
    whole = bb.run(recipe, out=tmp_path / "whole", cache=tmp_path / "other")

    process = SERVER.Process(target=run_and_die, args=(tmp_path,))
    process.start()
    process.join(timeout=400)
    assert process.exitcode == -signal.SIGKILL
    killed = tmp_path / "killed"
    assert not (killed / "scores.csv").exists()
    before = {path: path.stat().st_mtime_ns for path in (killed / "units").glob("[!.]*.npz")}
    assert len(before) == 7  # six of the classical pipelines, and the network of the first fold

    epochs, one_epoch = [], loop._one_epoch

    def count(state, *arguments):
        epochs.append(len(state.trained.history) + 1)
        return one_epoch(state, *arguments)

    monkeypatch.setattr(loop, "_one_epoch", count)
    resumed = bb.run(recipe, out=killed, cache=tmp_path / "cache")
    assert epochs == [*range(6, 13), *range(1, 13)]  # the second fold goes on where it was
    assert resumed.path.joinpath("scores.csv").read_bytes() == whole.path.joinpath("scores.csv").read_bytes()
    assert networks(tmp_path / "cache") == networks(tmp_path / "other")
    assert all(path.stat().st_mtime_ns == seen for path, seen in before.items())  # none was computed twice
    keys = resumed.facts["findings"]["trials"]["networks"]["network"]
    assert sorted(keys) == sorted(path.stem for path in (tmp_path / "cache" / "networks").glob("*.json"))
    assert f"trained here 3, each on the training trials of its fold, keys {keys[0]}" in resumed.report.read_text()
    # Another run folder trains nothing: every network is known by its key.
    epochs.clear()
    bb.run(recipe, out=tmp_path / "again", cache=tmp_path / "cache")
    assert not epochs
