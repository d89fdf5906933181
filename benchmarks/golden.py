"""Small runs of every kind with two builds of brainbench, side by side: equal tables, or what differs.

    python benchmarks/golden.py --against /path/to/other/venv/bin/python [--only quickstart] [--values] [--within 1e-5]

Every run has a cache of its own. ``scores.csv`` is compared byte for byte; with ``--values`` only the columns that name
a score and its value are (for a build whose statistics were mended), with ``--within 1e-5`` to so much (for one whose
networks round otherwise). No digest is stored: another machine may differ in its last digits, two builds on one machine
may not. Exit code 1 if a table differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

RECONSTRUCT = """\
kind: reconstruct
seed: 2
dataset:
  name: simulated
  n_subjects: 1
  n_stimuli: 96
  n_repeats: 2
  n_runs: 4
  rois:
    - {roi: layout, encoder: pixels, layer: pixels, n_voxels: 60, ceiling: 0.9}
    - {roi: silent, n_voxels: 20}
hold_out: [stimulus]
folds: {n_splits: 3}
encoders:
  - {name: pixels, family: pixels, image_size: 8}
low_level: {codec: pca, image_size: 16, n_components: 20}
head: {n_alphas: 7, inner_folds: 3}
metrics: [pixcorr, two_way_pixels, ssim_2d]
ablation: {rois: ["*"], modes: [only]}
significance: {n_permutations: 99}
bootstrap: {n_draws: 200}
n_gallery: 2
"""
EXPLORE = """\
kind: explore
dataset:
  name: simulated
  images: drawings
  n_subjects: 1
  n_stimuli: 48
  n_repeats: 2
  n_runs: 4
  rois:
    - {roi: stripes-area, prefers: stripes, n_voxels: 10, ceiling: 0.8}
    - {roi: silent, n_voxels: 5}
folds: {n_splits: 4}
encoders:
  - {name: efficientnet, family: image, weights: installed, image_size: 64, layers: [blocks.4]}
  - {name: pixels, family: pixels, image_size: 8}
generator: {name: small, train_on: drawings, n_images: 24, train_steps: 4, width: 8, batch_size: 4, steps: 4}
guide: {encoder: efficientnet, layer: blocks.4}
rois: [stripes-area]
scales: [5, 30]
n_images: 6
facets: {n_facets: 2, n_top: 10, n_mean: 4}
n_gallery: 3
bootstrap: {n_draws: 200}
"""
EEG_LAYERS = """\
kind: encode
seed: 0
dataset:
  name: physionet-mi
  subjects: [S001]
  paradigm: imagery_left_right
  band: [4.0, 38.0]
  tmin: 0.5
  tmax: 3.5
  band_power:
    bands: {alpha: [8.0, 13.0]}
    groups: {motor_left: [C5, C3, C1], occipital: [O1, Oz, O2]}
hold_out: [run]
encoders:
  - name: eegnet
    family: eeg
    decoder: {decoder: braindecode, model: EEGNet, max_epochs: 3}
    trained_on: {paradigm: executed_left_right}
    layers: [conv_temporal, pool_1, final_layer]
metrics: [pearson_r, r2]
ceiling: {method: none}
significance: {n_permutations: 99}
bootstrap: {n_draws: 200}
"""
EEG = """\
kind: decode
seed: 0
dataset:
  name: physionet-mi
  subjects: [S001, S002]
  paradigm: imagery_left_right
  band: [8.0, 30.0]
  tmin: 0.5
  tmax: 3.5
pipelines:
  - {name: csp_lda, decoder: csp_lda, n_filters: 6}
  - {name: eegnet, decoder: braindecode, model: EEGNet, band: [4.0, 38.0], max_epochs: 3}
evaluate:
  - {scheme: leave-one-run-out}
"""


@dataclass(frozen=True)
class Golden:
    """One run: a shipped recipe's name or a text, its data folder, and settings that make it small."""

    recipe: str
    data: str | None = None
    settings: Sequence[str] = ()


RUNS = {
    "quickstart": Golden("quickstart"),
    "haxby-categories": Golden("haxby-categories", "haxby2001", ["zero_shot.n_shuffles=20"]),
    "eeg-layers": Golden(EEG_LAYERS, "MNE-eegbci-data"),
    "eeg-motor-imagery": Golden(EEG, "MNE-eegbci-data"),
    "reconstruct": Golden(RECONSTRUCT),
    "explore": Golden(EXPLORE),
}
VALUES = [
    "subject", "scheme", "encoder", "layer", "pipeline", "stage", "row", "roi", "stimulus", "fold", "metric", "value",
    "n_targets", "n_rows",
]  # fmt: skip


def run(python: str, name: str, golden: Golden, folder: Path, data: Path) -> tuple[Path, float]:
    """Run one recipe with one build; return its table and the CPU seconds it took."""
    folder.mkdir(parents=True)
    recipe = golden.recipe
    if "\n" in recipe:
        (folder / f"{name}.yaml").write_text(recipe, encoding="utf-8")
        recipe = str(folder / f"{name}.yaml")
    arguments = [python, "-m", "brainbench", "run", recipe, "--out", str(folder / "run"), "--quiet"]
    arguments += ["--cache", str(folder / "cache")]
    settings = [*golden.settings, *([f"dataset.root={data / golden.data}"] if golden.data else [])]
    for setting in settings:
        arguments += ["--set", setting]
    before = os.times()
    done = subprocess.run(
        arguments, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=folder
    )
    after = os.times()
    if done.returncode:
        sys.exit(f"{name} with {python} ended with exit code {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return folder / "run" / "scores.csv", cpu


def difference(one: Path, other: Path, values: bool, within: float = 0.0) -> str | None:
    """Return in a line how two tables differ, or None; numbers may differ by `within` of their size or of one."""
    if not values:
        if one.read_bytes() == other.read_bytes():
            return None
    a, b = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (one, other))
    if values:
        columns = [name for name in VALUES if name in a and name in b]
        # A metric that is new here, such as the one test over all layers, is no change of a score; one that is lost is.
        b = b[b["metric"].isin(a["metric"])].reset_index(drop=True)
        a, b = a[columns], b[columns]
        if a.equals(b):
            return None
    if list(a.columns) != list(b.columns):
        return f"columns {sorted(set(a.columns) ^ set(b.columns)) or 'in another order'}"
    if len(a) != len(b):
        return f"{len(b)} rows here, {len(a)} there"
    unequal = {name: int(_apart(a[name], b[name], within).sum()) for name in a.columns}
    return "; ".join(f"{name}: {count} of {len(a)} rows" for name, count in unequal.items() if count) or None


def _apart(a: pd.Series, b: pd.Series, within: float) -> pd.Series:
    """Return which cells of a column differ."""
    one, other = (pd.to_numeric(column, errors="coerce") for column in (a, b))
    return (a != b) & ~((one - other).abs() <= within * one.abs().clip(lower=1.0))


def main() -> None:
    """Print one line per run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, help="the python of an environment with the other build")
    parser.add_argument("--only", action="append", choices=list(RUNS))
    parser.add_argument("--values", action="store_true", help="compare the scores alone, not their statistics")
    parser.add_argument(
        "--within", type=float, default=0.0, help="let numbers differ by so much, relative to 1 or more"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the recordings")
    options = parser.parse_args()
    differs = 0
    for name in options.only or RUNS:
        golden = RUNS[name]
        if golden.data and not (options.data / golden.data).is_dir():
            print(f"{name:20} left out: {options.data / golden.data} is not there")
            continue
        with tempfile.TemporaryDirectory() as place:
            start = time.perf_counter()
            there, cpu_there = run(options.against, name, golden, Path(place) / "there", options.data.resolve())
            here, cpu_here = run(sys.executable, name, golden, Path(place) / "here", options.data.resolve())
            found = difference(there, here, options.values, options.within)
            rows = len(pd.read_csv(here))
        differs += found is not None
        print(
            f"{name:20} {'equal' if found is None else 'DIFFERS: ' + found}   {rows} rows, "
            f"CPU {cpu_here:.0f} s here, {cpu_there:.0f} s there, {time.perf_counter() - start:.0f} s in all",
            flush=True,
        )
    sys.exit(1 if differs else 0)


if __name__ == "__main__":
    main()
