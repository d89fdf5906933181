"""A run of decoders of trials that is killed in the middle goes on where it was, to the same bytes."""

import os
import signal
import subprocess
import sys
import time

import pytest

import brainbench as bb
from tests.data.test_trials import write_folder

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


def test_a_run_killed_in_the_middle_ends_in_the_same_bytes(tmp_path):
    (tmp_path / "data").mkdir()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(root=write_folder(tmp_path / "data", runs=3)))
    whole = bb.run(recipe, out=tmp_path / "whole", cache=tmp_path / "cache")

    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "brainbench", "run", recipe, "--out", killed, "--cache", tmp_path / "cache"]
    process = subprocess.Popen(
        [str(part) for part in command], env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 400
        while (
            len(list((killed / "units").glob("[!.]*.npz"))) < 7
        ):  # all six classical units, and the first of the network's
            assert process.poll() is None and time.monotonic() < end, "it ended before it could be killed"
            time.sleep(0.005)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (killed / "scores.csv").exists()
    before = {path: path.stat().st_mtime_ns for path in (killed / "units").glob("[!.]*.npz")}

    resumed = bb.run(recipe, out=killed, cache=tmp_path / "cache")
    assert resumed.path.joinpath("scores.csv").read_bytes() == whole.path.joinpath("scores.csv").read_bytes()
    assert 7 <= len(before) < len(list((killed / "units").glob("[!.]*.npz")))
    assert all(path.stat().st_mtime_ns == seen for path, seen in before.items())  # none was computed twice
