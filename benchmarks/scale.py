"""How time and memory of what recipes do grow with voxels, rows, features, layers, participants, exchanges and units.

    python benchmarks/scale.py [--part fit|score|ceiling|interval|null|resume ...] [--most 100000] [--gib 4]

Each size runs in a process of its own, on responses in a memory map, with one BLAS thread. Every size is a line of CPU
seconds and the peak of anonymous memory; then come the targets. The slope of log time against log size between the
three largest sizes is at most 1.07 (in rows and features a fit grows with their squares and cubes, and is not held to
it; below .93 a part of the time is fixed or shared). Some sizes have a bound in seconds, and none may take more memory
than `--gib`. ``resume`` asks for units that are all there. What a null costs of a fit is in ``significance.py``. Exit
code 1 if a bound is missed.
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
from common import Targets, peak_anonymous_mib

BASE = {
    "voxels": 10_000, "rows": 1000, "features": 256, "layers": 1, "participants": 1, "exchanges": 199, "units": 10_000,
}  # fmt: skip
"""Where a size does not vary."""

MANY = {"layers", "participants"}
"""Sizes that are varied with a tenth of the voxels."""

SLOPE = 0.07
AXES = {
    "voxels": [1000, 3000, 10_000, 30_000, 100_000],
    "rows": [250, 500, 1000, 2000],
    "features": [64, 128, 256, 512],
    "layers": [3, 6, 12],
    "participants": [2, 4, 8],
    "exchanges": [199, 398, 796],
    "units": [1000, 3000, 10_000],
}
PARTS = {
    "fit": ("voxels", "rows", "features", "layers", "participants"),
    "score": ("voxels", "rows"),
    "ceiling": ("voxels", "rows"),
    "interval": ("voxels", "rows"),
    "null": ("voxels", "exchanges"),
    "resume": ("units",),
}
FREE = {("fit", "rows"), ("fit", "features"), ("interval", "rows")}
"""What grows faster than its size by its nature."""

SECONDS = {("interval", "voxels", 10_000): 1.5, ("ceiling", "voxels", 10_000): 2.0, ("resume", "units", 10_000): 10.0}
"""CPU seconds that a size may take."""

REGIONS = 20


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


def regions_of(Y: np.ndarray) -> dict[str, np.ndarray]:
    """Return regions that hold all voxels."""
    return {f"roi-{number}": np.arange(Y.shape[1]) % REGIONS == number for number in range(REGIONS)}


def features_of(Y: np.ndarray, size: dict[str, int], layer: int = 0) -> np.ndarray:
    """Return the features of a layer."""
    return np.random.default_rng([1, layer]).standard_normal((len(Y), size["features"])).astype(np.float32)


def fit(Y: np.ndarray, size: dict[str, int], folder: Path) -> None:
    """Fit five folds of layers to participants who met the same, as recipes do: a fold is factorised once for all."""
    from brainbench.ridge.encoding import FoldDesign, FoldSettings

    settings = FoldSettings(alphas=np.logspace(-3, 5, 17))
    stimulus, run = np.arange(len(Y)) // 3, np.zeros(len(Y))
    for layer in range(size["layers"]):
        X = features_of(Y, size, layer)
        for fold in range(5):
            train, test = np.flatnonzero(stimulus % 5 != fold), np.flatnonzero(stimulus % 5 == fold)
            several = size["participants"] > 1
            design = FoldDesign([X], train, test, settings, inner_groups=stimulus[train], run=run, keep=several)
            for _ in range(size["participants"]):
                design.fit(Y)


def score(Y: np.ndarray, size: dict[str, int], folder: Path) -> None:
    """Score predictions of a layer with draws."""
    from brainbench.evaluation.scoring import Scoring, score_predictions

    stimulus = np.arange(len(Y)) // 3
    how = Scoring(metrics=("pearson_r", "r2"))
    score_predictions(Y, Y[::-1], stimulus % 5, how, rois=regions_of(Y), run=np.zeros(len(Y)), stimulus=stimulus)


def ceiling(Y: np.ndarray, size: dict[str, int], folder: Path) -> None:
    """Find split-half ceilings."""
    from brainbench.evaluation.ceilings import split_half

    split_half(Y, np.arange(len(Y)) // 3)


def interval(Y: np.ndarray, size: dict[str, int], folder: Path) -> None:
    """Find the intervals of a layer's scores; penalties are those of its fits, a few of the grid."""
    from significance import ALPHAS, designs_of, intervals_of

    designs = designs_of(features_of(Y, size), 0)
    chosen = np.random.default_rng(3).choice(ALPHAS[8:14], Y.shape[1])
    intervals_of(Y, designs, [chosen] * len(designs), regions_of(Y))


def null(Y: np.ndarray, size: dict[str, int], folder: Path) -> None:
    """Fit exchanged responses of a layer again."""
    from significance import designs_of, null_of

    from brainbench.evaluation.exchange import make_exchange

    exchange = make_exchange(len(Y), kind="rows", n_exchanges=size["exchanges"])
    null_of(np.asarray(Y), exchange, designs_of(features_of(Y, size), 0), regions_of(Y))


def resume(Y: np.ndarray, size: dict[str, int], folder: Path) -> None:
    """Ask for units that are all there, and read them."""
    from brainbench.runs.engines import LocalEngine
    from brainbench.runs.folder import RunFolder
    from brainbench.runs.units import Unit, read_units

    units = [
        Unit("fit", f"unit {number}", {"number": number}, lambda: {"score": np.zeros(1)})
        for number in range(size["units"])
    ]
    with RunFolder(folder / "run").writing() as run:
        LocalEngine(jobs=1).run(units, run)
        read_units(units, run)


def child(part: str, axis: str, n: int) -> None:
    """Run one size and print CPU seconds and the peak of anonymous memory."""
    size = {**BASE, axis: n}
    if axis in MANY:
        size["voxels"] //= 10
    work = {"fit": fit, "score": score, "ceiling": ceiling, "interval": interval, "null": null, "resume": resume}[part]
    with TemporaryDirectory() as name:
        folder = Path(name)
        Y = responses(folder, size["rows"], size["voxels"])
        # What is imported and set up once is no part of it; units are made by the first call.
        first = size if part == "resume" else {**size, "layers": 1, "participants": 1, "exchanges": 20}
        work(np.array(Y[:200, :40]), first, folder)
        with peak_anonymous_mib() as peak:
            start = time.process_time()
            work(Y, size, folder)
            seconds = time.process_time() - start
    print(seconds, peak[0])


def main() -> None:
    """Print a line a size, and the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--axis", nargs="*", choices=list(AXES), default=list(AXES))
    parser.add_argument("--most", type=int, default=100_000, help="largest number of voxels")
    parser.add_argument("--gib", type=float, default=4.0, help="bound of anonymous memory")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], options.child[1], int(options.child[2]))
        return
    found: dict[tuple[str, str], dict[int, float]] = {}
    most = 0.0
    for part in options.part:
        for axis in (axis for axis in PARTS[part] if axis in options.axis):
            for size in [size for size in AXES[axis] if axis != "voxels" or size <= options.most]:
                command = [sys.executable, __file__, "--child", part, axis, str(size)]
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
                seconds, mib = map(float, done.stdout.split())
                found.setdefault((part, axis), {})[size] = seconds
                most = max(most, mib)
                print(f"{part:8} {axis:12} {size:7d} {seconds:8.2f} s {mib:7.0f} MiB", flush=True)
    print()
    targets = Targets()
    for (part, axis), seconds_of in found.items():
        for size, seconds in seconds_of.items():
            if (part, axis, size) in SECONDS:
                targets.at_most(f"{part}, {size:,} {axis}, CPU s", seconds, SECONDS[part, axis, size])
        sizes = list(seconds_of)[-3:]
        slope = float(np.polyfit(np.log(sizes), np.log([seconds_of[size] for size in sizes]), 1)[0])
        if (part, axis) in FREE:
            targets.left_out(f"{part}, slope in {axis}", f"{slope:.2f}, grows faster by its nature")
        else:
            remark = "a part is fixed or shared" if slope < 1 - SLOPE else ""
            targets.at_most(f"{part}, slope in {axis}", slope, 1 + SLOPE, remark)
    targets.at_most("anonymous memory of all, GiB", most / 1024, options.gib)
    targets.leave()


if __name__ == "__main__":
    main()
