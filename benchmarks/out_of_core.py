"""Ridge of responses larger than memory: peak anonymous memory and time against the number of targets.

The full run (10,000 rows x 1,000 features -> 75,000 and 300,000 targets) needs about 15 GB of disk:

    python benchmarks/out_of_core.py --targets 75000 300000

Each size runs in a process of its own, optionally under a limit (`--limit-gib 4`, by RLIMIT_DATA, which counts private
memory and not files that are mapped). Exit code 1 where the peak is more than 4 GiB.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import Targets, peak_anonymous_mib

MOST_GIB = 4.0


def make(folder: Path, n: int, p: int, t: int) -> None:
    """Write X.npy and Y.npy, in blocks of rows."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p), dtype=np.float32)
    np.save(folder / "X.npy", X)
    Y = np.lib.format.open_memmap(folder / "Y.npy", mode="w+", dtype=np.float32, shape=(n, t))
    weights = rng.standard_normal((20, t), dtype=np.float32) / 5
    for start in range(0, n, 250):
        rows = slice(start, min(start + 250, n))
        Y[rows] = X[rows, :20] @ weights
        Y[rows] += rng.standard_normal((rows.stop - rows.start, t), dtype=np.float32)


def child(folder: Path, limit_gib: float) -> None:
    """Fit, and print time and peak."""
    from brainbench.heads import RidgeCV
    from brainbench.ridge.streaming import fit_to_disk

    if limit_gib:
        limit = int(limit_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    X, Y = (np.load(folder / name, mmap_mode="r") for name in ("X.npy", "Y.npy"))
    with peak_anonymous_mib() as peak:
        start, cpu = time.perf_counter(), time.process_time()
        found = fit_to_disk(RidgeCV(alphas=np.logspace(-1, 5, 20)), X, Y, folder / "fit", X_new=X[:10])
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    score = float(found["cv_scores"][:, :100].max(axis=0).mean())
    print(
        f"{Y.shape[1]} targets: {seconds:.1f} s ({cpu:.1f} s of CPU), "
        f"peak RssAnon {peak[0]:.0f} MiB, mean R2 {score:.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=1_000)
    parser.add_argument("--targets", type=int, nargs="+", default=[75_000, 300_000])
    parser.add_argument("--folder", help="where the files go; the system's temporary folder by default")
    parser.add_argument("--limit-gib", type=float, default=0.0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(Path(options.child), options.limit_gib)
        return
    peaks = {}
    for t in options.targets:
        with TemporaryDirectory(dir=options.folder) as name:
            needed = 4 * t * (options.rows + options.features + 60)
            if shutil.disk_usage(name).free < needed:
                sys.exit(f"{t} targets need {needed / 1e9:.0f} GB of disk in {name}; choose another with --folder")
            make(Path(name), options.rows, options.features, t)
            command = [sys.executable, __file__, "--child", name, "--limit-gib", str(options.limit_gib)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        print(said, end="", flush=True)
        peaks[t] = float(said.split("peak RssAnon")[1].split()[0]) / 1024
    targets = Targets()
    for t, peak in peaks.items():
        what = f"{options.rows:,} x {options.features:,} -> {t:,} from memory maps, anonymous GiB"
        targets.at_most(what, peak, MOST_GIB)
    targets.leave()


if __name__ == "__main__":
    main()
