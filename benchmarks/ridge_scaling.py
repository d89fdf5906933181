"""Time of ridge against targets, rows, features and penalties, as a table and a plot.

    OMP_NUM_THREADS=1 python benchmarks/ridge_scaling.py --plot docs/images/ridge.png

Every fit is a process of its own (`benchmarks/ridge.py`) with one thread, and its CPU seconds are counted: a machine
that others use as well changes them little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ridge import Shape

BASE = Shape("base", n=1000, p=250, t=2000)
VARIED = {
    "t": ("targets", [500, 2000, 8000, 32000]),
    "n": ("rows", [500, 1000, 2000, 4000]),
    "p": ("features", [125, 250, 500, 1000, 2000]),
    "n_alphas": ("penalties", [5, 10, 20, 40, 80]),
}
CONTENDERS = ("brainbench", "himalaya RidgeCV", "scikit-learn")


def seconds_of(shape: Shape, name: str, folder: str) -> float:
    """Return the CPU seconds of one fit."""
    out = str(Path(folder) / "result.npz")
    command = [sys.executable, str(Path(__file__).with_name("ridge.py"))]
    command += ["--child", json.dumps([asdict(shape), name, out])]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env=os.environ | threads)
    with np.load(out) as found:
        return float(found["cpu"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, help="also write a figure")
    options = parser.parse_args()
    print(
        f"CPU seconds; where not varied {BASE.n} rows, {BASE.p} features, {BASE.t} targets, {BASE.n_alphas} penalties"
    )
    curves: dict[str, dict[str, list[float]]] = {}
    with TemporaryDirectory() as folder:
        for field, (label, values) in VARIED.items():
            curves[field] = {name: [] for name in CONTENDERS}
            print(f"\n{label:>10s}" + "".join(f"{name:>20s}" for name in CONTENDERS))
            for value in values:
                shape = replace(BASE, **{field: value})
                for name in CONTENDERS:
                    curves[field][name].append(seconds_of(shape, name, folder))
                row = "".join(f"{curves[field][name][-1]:20.2f}" for name in CONTENDERS)
                print(f"{value:10d}{row}", flush=True)
    if options.plot:
        draw(curves, options.plot)


def draw(curves: dict[str, dict[str, list[float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(VARIED), figsize=(10, 2.8), sharey=True, layout="constrained")
    for axis, (field, (label, values)) in zip(axes, VARIED.items(), strict=True):
        for name, color in zip(CONTENDERS, ("#0072B2", "#D55E00", "#009E73"), strict=True):
            axis.loglog(values, curves[field][name], "o-", label=name, color=color, markersize=3.5)
        axis.set_xlabel(label)
        axis.set_xticks(values, [f"{value:,}" for value in values], minor=False, fontsize=7)
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("CPU seconds, one thread")
    axes[0].legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
