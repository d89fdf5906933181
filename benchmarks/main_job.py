"""The shipped recipes as a user runs them: time cold and warm, and the memory preflight against the measured peak.

    python benchmarks/main_job.py [--data FOLDER] [--only quickstart] [--only "10000 voxels"]

Recipes whose recordings are not in the data folder are left out, and the table says so. Simulated participants with
1,000 to 100,000 voxels follow. Exit code 1 where the preflight is not within 1.3 times of the peak.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

WITHIN = 1.3
VOXELS = 1000, 10_000, 100_000
SIMULATED = """\
kind: encode
dataset:
  name: simulated
  images: drawings
  n_subjects: 1
  n_stimuli: 200
  n_repeats: 2
  n_runs: 4
  rois:
    - {roi: seen, encoder: pixels, layer: pixels, n_voxels: 100, ceiling: 0.5}
    - {roi: silent, n_voxels: %d}
hold_out: [stimulus]
encoders: [{name: pixels, family: pixels, role: model}]
"""

RECIPES: dict[str, str | None] = {
    "quickstart": None,
    "miyawaki-encoding": "miyawaki2008",
    "haxby-categories": "haxby2001",
    "alice-language": "alice",
}


def run(arguments: list[str]) -> tuple[float, float, int]:
    """Run brainbench in a process of its own; return seconds, peak memory in MB and the exit code."""
    start = time.perf_counter()
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-m", "brainbench", *arguments])
    _, status, usage = os.wait4(pid, 0)
    return time.perf_counter() - start, usage.ru_maxrss / 1e3, os.waitstatus_to_exitcode(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the recordings")
    parser.add_argument("--only", action="append", help="name of a recipe")
    options = parser.parse_args()
    missed = False
    print(f"{'recipe':20} {'cold':>8} {'warm':>8} {'peak':>9} {'preflight':>10} {'ratio':>6}")
    simulated = {f"{n} voxels": SIMULATED % (n - 100) for n in VOXELS}
    for recipe, dataset in {**RECIPES, **dict.fromkeys(simulated)}.items():
        if options.only and recipe not in options.only:
            continue
        if dataset is not None and not (options.data / dataset).is_dir():
            print(f"{recipe:20} left out: {options.data / dataset} is not there")
            continue
        with tempfile.TemporaryDirectory() as folder:
            name = recipe
            if recipe in simulated:
                name = f"{folder}/simulated.yaml"
                Path(name).write_text(simulated[recipe])
            arguments = ["run", name, "--out", f"{folder}/run", "--cache", f"{folder}/cache", "--quiet"]
            if dataset is not None:
                arguments += ["--set", f"dataset.root={options.data / dataset}"]
            sys.stdout.flush()
            stdout = os.dup(1)
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            cold, peak, code = run(arguments)
            warm, _, _ = run(arguments)
            os.dup2(stdout, 1)
            os.close(stdout)
            if code:
                print(f"{recipe:20} failed with exit code {code}")
                missed = True
                continue
            estimate = json.loads(Path(folder, "run", "manifest.json").read_text())["estimated_peak_mb"]
        held = 1 / WITHIN <= estimate / peak <= WITHIN
        missed |= not held
        print(
            f"{recipe:20} {cold:6.1f} s {warm:6.2f} s {peak:6.0f} MB {estimate:7.0f} MB {estimate / peak:6.2f}  "
            f"{'pass' if held else 'FAIL'}",
            flush=True,
        )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
