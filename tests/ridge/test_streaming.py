"""Results on disk are those in memory, and memory does not grow with targets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.heads import RidgeCV
from brainbench.ridge.streaming import fit_to_disk
from tests.ridge.test_ridge import ALPHAS, problem

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "out_of_core.py"


@pytest.mark.parametrize("p", [12, 90])
@pytest.mark.parametrize("store_coef", [True, False])
def test_results_are_those_in_memory(tmp_path, p, store_coef):
    X, Y = (one.astype(np.float32) for one in problem(60, p, 50))
    np.save(tmp_path / "Y.npy", Y)
    head = RidgeCV(ALPHAS, targets_batch=16, store_coef=store_coef)
    found = fit_to_disk(head, X, np.load(tmp_path / "Y.npy", mmap_mode="r"), tmp_path / "fit", X_new=X[:7])
    predicted = head.fit_then_predict(X, Y, X[:7])
    assert np.array_equal(found["cv_scores"], head.cv_scores_)
    assert np.array_equal(found["best_alphas"], head.best_alphas_)
    assert np.array_equal(found["predicted"], predicted)
    assert ("coef" in found) == store_coef
    if store_coef:
        assert np.array_equal(found["coef"], head.coef_) and np.array_equal(found["intercept"], head.intercept_)


def test_refusals(tmp_path):
    X, Y = problem(30, 5, 40)
    Y[3, 33] = np.nan
    with pytest.raises(ValueError, match=r"Y\[:, 32:40\] contains NaN: the first is at row 3, column 1"):
        fit_to_disk(RidgeCV(ALPHAS, targets_batch=16), X, Y, tmp_path / "fit")
    assert not (tmp_path / "fit").exists()
    with pytest.raises(ValueError, match="float32 or float64"):
        fit_to_disk(RidgeCV(), X.astype(np.float32), Y, tmp_path / "fit")
    with pytest.raises(UserError, match="there already"):
        fit_to_disk(RidgeCV(), X, Y, tmp_path)
    with pytest.raises(UserError, match="results need"):
        fit_to_disk(RidgeCV(), X, np.broadcast_to(np.zeros((30, 1)), (30, 10**12)), tmp_path / "fit")


def test_anonymous_memory_stays_bounded(tmp_path):
    """The full benchmark in small: responses grow by 60 MB, weights and scores by 15."""
    small, large = (peak(tmp_path, targets) for targets in (5_000, 20_000))
    assert large < small + 20, "peak anonymous memory grows with targets"
    assert large < 400


def peak(folder: Path, n_targets: int) -> float:
    """Return the peak of anonymous memory, MiB, that the benchmark prints."""
    sizes = ["--rows", "1000", "--features", "200", "--targets", str(n_targets), "--folder", str(folder)]
    done = subprocess.run([sys.executable, str(BENCHMARK), *sizes], check=True, capture_output=True, text=True)
    return float(done.stdout.split("peak RssAnon")[1].split()[0])
