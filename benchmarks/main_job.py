"""The shipped recipes as a user runs them: time cold and warm, and the memory preflight against the measured peak.

    python benchmarks/main_job.py [--data FOLDER] [--only quickstart] [--only "10000 voxels"]

Recipes whose recordings are not in the data folder are left out, and the table says so. Simulated participants with
1,000 to 100,000 voxels follow. Exit code 1 where the preflight is not within 1.3 times of the peak, or a page is larger
than 5 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from common import Targets

WITHIN = 1.3
LARGEST_PAGE = 5.0
"""MB of `report.html`."""

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
    targets = Targets()
    simulated = {f"{n} voxels": SIMULATED % (n - 100) for n in VOXELS}
    for recipe, dataset in {**RECIPES, **dict.fromkeys(simulated)}.items():
        if options.only and recipe not in options.only:
            continue
        target = f"{recipe}, preflight and peak, one over the other"
        if dataset is not None and not (options.data / dataset).is_dir():
            targets.left_out(target, f"{options.data / dataset} is not there")
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
                sys.exit(f"{recipe} failed with exit code {code}")
            estimate = json.loads(Path(folder, "run", "manifest.json").read_text())["estimated_peak_mb"]
            page = Path(folder, "run", "report.html").stat().st_size / 1e6
        remark = f"said {estimate:.0f} MB, was {peak:.0f} MB; cold {cold:.1f} s, warm {warm:.2f} s"
        targets.at_most(target, max(estimate / peak, peak / estimate), WITHIN, remark)
        targets.at_most(f"{recipe}, page in MB", page, LARGEST_PAGE)
    targets.leave()


if __name__ == "__main__":
    main()
