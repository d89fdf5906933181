"""Whole recipes with two builds of brainbench, side by side: CPU seconds, their ratio, and whether the scores agree.

    python benchmarks/recipes.py --against /path/to/other/venv/bin/python [--only quickstart] [--only start]

Every recipe runs once with each build, each with a cache of its own; then what a user waits for without computing
anything is timed (`start`). CPU seconds are those of the process and its children, user and system, on one thread.
Scores of the same subject, layer, region, fold and metric are compared, to 1e-5 of their size or of one; rows that only
one build has, such as scores of single folds, are counted. The size of every page is printed beside it. Exit code 1 if
a target is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from common import Targets
from golden import VALUES, Golden, run

CLASSICAL = "[{name: csp_lda, decoder: csp_lda, n_filters: 6}, {name: fbcsp_lda, decoder: fbcsp_lda}, "
CLASSICAL += "{name: tangent_lr, decoder: tangent_lr}, {name: tangent_lr_scm, decoder: tangent_lr, covariance: scm}, "
CLASSICAL += "{name: fgmdm, decoder: fgmdm}]"


@dataclass(frozen=True)
class Whole:
    """A recipe as it ships, and the most CPU time it may take of what the other build took."""

    golden: Golden
    at_most: float


RECIPES = {
    "quickstart": Whole(Golden("quickstart"), 0.45),
    "haxby-categories": Whole(Golden("haxby-categories", "haxby2001"), 0.3),
    "miyawaki-encoding": Whole(Golden("miyawaki-encoding", "miyawaki2008"), 0.45),
    "eeg-motor-imagery": Whole(Golden("eeg-motor-imagery", "MNE-eegbci-data", [f"pipelines={CLASSICAL}"]), 0.5),
    "miyawaki-reconstruct": Whole(Golden("miyawaki-reconstruct", "miyawaki2008"), 0.6),
    "alice-language": Whole(Golden("alice-language", "alice"), 0.1),
}
START = {
    "--help": (["--help"], 0.2),
    "check --fast quickstart": (["check", "--fast", "quickstart"], 0.7),
    "check quickstart": (["check", "quickstart"], 0.7),
    "run of a finished quickstart": (["run", "quickstart"], 0.7),
    "plan of a finished quickstart": (["plan", "quickstart"], 1.5),
}
"""Commands that compute nothing, and the CPU seconds that each may take."""

LARGEST_PAGE = 5.0
"""MB of `report.html`."""


def command_seconds(python: str, arguments: Sequence[str], folder: Path, repeats: int) -> float:
    """Return the median CPU seconds of a command, after one run that warms the file cache."""
    taken = []
    for _ in range(repeats + 1):
        before = os.times()
        subprocess.run(
            [python, "-m", "brainbench", *arguments],
            check=True,
            capture_output=True,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        after = os.times()
        taken.append(after.children_user - before.children_user + after.children_system - before.children_system)
    return statistics.median(taken[1:] or taken)


def start(targets: Targets, pythons: Sequence[str], folder: Path, repeats: int = 5) -> None:
    """Print how long each build takes to begin."""
    seconds: dict[str, list[float]] = {name: [] for name in START}
    for index, python in enumerate(pythons):
        place = ["--out", str(folder / f"{index}" / "run"), "--cache", str(folder / f"{index}" / "cache")]
        command_seconds(python, ["run", "quickstart", *place], folder, 0)
        for name, (arguments, _) in START.items():
            where = place if arguments[0] in ("run", "plan") else []
            times = repeats if index == len(pythons) - 1 else 2
            try:
                seconds[name].append(command_seconds(python, [*arguments, *where], folder, times))
            except subprocess.CalledProcessError:
                if index == len(pythons) - 1:
                    raise
                seconds[name].append(float("nan"))  # an earlier release may not have the command
    for name, (_, bound) in START.items():
        there, here = seconds[name]
        targets.at_most(f"{name}, CPU s", here, bound, f"there {there:.2f} s")


def agreement(there: Path, here: Path, within: float = 1e-5) -> str:
    """Return in words how the scores of two tables agree."""
    tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in (there, here)]
    key = [name for name in VALUES if name not in ("value", "n_rows") and all(name in table for table in tables)]
    both = tables[0].merge(tables[1], on=key, suffixes=("_there", "_here"))
    a, b = (pd.to_numeric(both[f"value_{side}"], errors="coerce") for side in ("there", "here"))
    differ = ~((a - b).abs() <= within * a.abs().clip(lower=1.0)) & ~(a.isna() & b.isna())
    apart = ", ".join(f"{metric} {n}" for metric, n in both["metric"][differ].value_counts().items())
    text = f"{int(differ.sum())} of {len(both)} differ ({apart})" if differ.any() else f"equal ({len(both)})"
    alone = [len(table) - len(both) for table in tables]
    return f"{text}; only there {alone[0]}, only here {alone[1]}"


def main() -> None:
    """Print one line a recipe and a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, help="the python of an environment with the other build")
    parser.add_argument("--only", action="append", choices=[*RECIPES, "start"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the recordings")
    options = parser.parse_args()
    targets = Targets()
    for name, whole in RECIPES.items():
        if options.only and name not in options.only:
            continue
        golden, target = whole.golden, f"{name}, CPU here over there"
        if golden.data and not (options.data / golden.data).is_dir():
            targets.left_out(target, f"{options.data / golden.data} is not there")
            continue
        with tempfile.TemporaryDirectory() as place:
            there, cpu_there = run(options.against, name, golden, Path(place) / "there", options.data.resolve())
            here, cpu_here = run(sys.executable, name, golden, Path(place) / "here", options.data.resolve())
            found, page = agreement(there, here), here.with_name("report.html").stat().st_size / 1e6
        remark = f"{cpu_here:.1f} s, there {cpu_there:.1f} s; scores {found}"
        targets.at_most(target, cpu_here / cpu_there, whole.at_most, remark)
        targets.at_most(f"{name}, page in MB", page, LARGEST_PAGE)
    if not options.only or "start" in options.only:
        with tempfile.TemporaryDirectory() as place:
            start(targets, [options.against, sys.executable], Path(place))
    targets.leave()


if __name__ == "__main__":
    main()
