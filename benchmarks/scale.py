"""How time and memory of a layer's fit, scores and ceilings grow with voxels, rows and features.

    python benchmarks/scale.py [--part fit|score|ceiling] [--most 100000] [--gib 4]

Each size runs in a process of its own, on responses in a memory map, with one BLAS thread. For every part and axis the
table gives CPU seconds, the peak of anonymous memory, and the slope of log time against log size between the three
largest sizes: above 1.07 is a miss (in rows and features a fit grows with their squares and cubes, and is not held to
it), below .93 a part of the time is fixed. Exit code 1 if a bound is missed. The null is in ``significance.py``; layers
and participants are units of their own, and what units share is measured by ``recipes.py``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import peak_anonymous_mib

ROWS, VOXELS, FEATURES = 1000, 10_000, 256
SLOPE = 0.07
AXES = {
    "voxels": [1000, 3000, 10_000, 30_000, 100_000],
    "rows": [250, 500, 1000, 2000],
    "features": [64, 128, 256, 512],
}
PARTS = {
    "fit": ("voxels", "rows", "features"),
    "score": ("voxels", "rows"),
    "ceiling": ("voxels", "rows"),
}


def responses(folder: Path, n: int, t: int) -> np.ndarray:
    """Return responses of three showings a stimulus, in a memory map."""
    rng = np.random.default_rng(0)
    Y = np.lib.format.open_memmap(folder / "Y.npy", mode="w+", dtype=np.float32, shape=(n, t))
    for start in range(0, t, 1000):
        some = slice(start, min(start + 1000, t))
        stimulus = rng.standard_normal((-(-n // 3), some.stop - start), dtype=np.float32)
        Y[:, some] = np.repeat(stimulus, 3, axis=0)[:n] + rng.standard_normal((n, some.stop - start), dtype=np.float32)
    del Y
    mapped: np.ndarray = np.load(folder / "Y.npy", mmap_mode="r")
    return mapped


def fit(Y: np.ndarray, n_features: int = FEATURES) -> None:
    """Fit five folds of a layer as a recipe does."""
    from brainbench.ridge.encoding import FoldSettings, fit_fold

    settings = FoldSettings(alphas=np.logspace(-3, 5, 17))
    X = np.random.default_rng(1).standard_normal((len(Y), n_features)).astype(np.float32)
    stimulus, run = np.arange(len(Y)) // 3, np.zeros(len(Y))
    for fold in range(5):
        train, test = np.flatnonzero(stimulus % 5 != fold), np.flatnonzero(stimulus % 5 == fold)
        fit_fold([X], Y, train, test, settings, inner_groups=stimulus[train], run=run)


def score(Y: np.ndarray) -> None:
    """Score predictions of a layer with draws."""
    from brainbench.evaluation.scoring import Scoring, score_predictions

    stimulus = np.arange(len(Y)) // 3
    rois = {f"roi-{i}": np.arange(Y.shape[1]) % 20 == i for i in range(20)}
    how = Scoring(metrics=("pearson_r", "r2"))
    score_predictions(Y, Y[::-1], stimulus % 5, how, rois=rois, run=np.zeros(len(Y)), stimulus=stimulus)


def ceiling(Y: np.ndarray) -> None:
    """Find split-half ceilings."""
    from brainbench.evaluation.ceilings import split_half

    split_half(Y, np.arange(len(Y)) // 3)


def child(part: str, axis: str, size: int) -> None:
    """Run one size and print CPU seconds and the peak of anonymous memory."""
    n, t = (size if axis == "rows" else ROWS), (size if axis == "voxels" else VOXELS)
    with TemporaryDirectory() as folder:
        Y = responses(Path(folder), n, t)
        work = {"fit": fit, "score": score, "ceiling": ceiling}[part]
        work(np.array(Y[:200, :20]))  # what is imported and set up once is no part of it
        with peak_anonymous_mib() as peak:
            start = time.process_time()
            work(Y, **({"n_features": size} if axis == "features" else {}))
            seconds = time.process_time() - start
    print(seconds, peak[0])


def main() -> None:
    """Print one line a size, and one a slope."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=list(PARTS))
    parser.add_argument("--most", type=int, default=100_000, help="largest number of voxels")
    parser.add_argument("--gib", type=float, default=4.0, help="bound of anonymous memory")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], options.child[1], int(options.child[2]))
        return
    held = True
    for part in options.part or PARTS:
        for axis in PARTS[part]:
            sizes = [size for size in AXES[axis] if axis != "voxels" or size <= options.most]
            found = []
            for size in sizes:
                command = [sys.executable, __file__, "--child", part, axis, str(size)]
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                seconds, mib = map(float, done.stdout.split())
                fits = mib <= options.gib * 1024
                held &= fits
                found.append(seconds)
                print(
                    f"{part:8} {axis:12} {size:7d} {seconds:8.2f} s {mib:7.0f} MiB {'' if fits else 'FAIL'}", flush=True
                )
            last = slice(-3, None)
            slope = float(np.polyfit(np.log(sizes[last]), np.log(found[last]), 1)[0])
            bound = slope <= 1 + SLOPE or (part == "fit" and axis != "voxels")
            held &= bound
            verdict = "FAIL" if not bound else "pass" if abs(slope - 1) <= SLOPE else "not held to 1"
            verdict = "pass, a part is fixed" if slope < 1 - SLOPE else verdict
            print(f"{part:8} {axis:9} slope {slope:.2f}: {verdict}", flush=True)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
