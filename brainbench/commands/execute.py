"""Computes what a recipe asks for into a run folder: opens it, runs its units, writes tables, maps and the report.

Kept apart from `brainbench.commands.run`, which knows a finished recipe before any of this is imported.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from brainbench import __version__
from brainbench.commands.memory import check_memory
from brainbench.commands.plan import make_record
from brainbench.commands.worker import engine_for
from brainbench.core.files import write_json, write_text
from brainbench.core.progress import Stages, peak_memory_mb
from brainbench.features.store import default_cache
from brainbench.recipes.kinds import Recipe
from brainbench.runs.calibrations import bring_calibration, calibration_key
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import FINISHED, RunFolder, describe_input
from brainbench.studies.base import study_of
from brainbench.studies.compute import compute
from brainbench.studies.facts import describe
from brainbench.studies.opened import Opened, open_all

PACKAGES = (
    "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "torch", "timm", "transformers", "nibabel", "nilearn",
    "mne", "pyriemann", "moabb", "braindecode", "diffusers",
)  # fmt: skip
MODULES = {"scikit-learn": "sklearn"}
"""Packages whose module has another name."""


def rebuild_report(path: str | os.PathLike[str]) -> Path:
    """Write the report of a run folder, with the last calibration of its recipe, and return its path."""
    from brainbench.report import write_report

    bring_calibration(RunFolder(path))
    return write_report(Path(path))


def execute(
    recipe: Recipe,
    folder: RunFolder,
    name: str,
    stages: Stages,
    *,
    cache: str | os.PathLike[str] | None = None,
    command: str = "",
    calibrate: Sequence[str] = (),
) -> None:
    """Compute everything a recipe asks for into a run folder that this process holds.

    `command` is what the user typed, `calibrate` what would calibrate the recipe.
    """
    cache_folder = default_cache(None if cache is None else str(cache))
    with stages.stage("open data and encoders") as advance:
        opened = open_all(recipe, cache_folder)
        advance(1)
    inputs = _inputs(opened, cache_folder)
    manifest: dict[str, Any] = {
        "status": "running",
        "digest": name,
        "brainbench": __version__,
        "python": platform.python_version(),
        "versions": _versions(),
        "seed": recipe.seed,
        "hardware": _hardware(recipe.execution.device),
        "execution": recipe.execution.model_dump(mode="json"),
        "command": command,
        "cache": str(cache_folder),
        "inputs": inputs,
    }
    if recipe.null_answers is not None:
        key = calibration_key(recipe, [one["sha256"] for one in inputs if "sha256" in one])
        manifest["calibration"] = {"key": key, "command": shlex.join(["brainbench", *calibrate])}
    runner = Runner(folder, LocalEngine(), stages)
    study = study_of(opened, runner)
    estimate = check_memory(study)
    manifest["estimated_peak_mb"] = round(estimate.peak_mb, 1)
    folder.write_manifest(manifest)
    folder.clear_derived()
    write_text(folder / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, width=100))

    runner.engine = engine_for(recipe.execution, folder, cache_folder)  # workers read the recipe that stands there now
    try:
        outcome = compute(study)
    finally:
        runner.engine.close()

    with stages.stage("tables and maps") as advance:
        outcome.write(folder)
        write_json(folder / "facts.json", describe(study, outcome))
        advance(1)
    manifest |= {"used": [name for name in manifest["versions"] if MODULES.get(name, name) in sys.modules]}
    manifest |= _timings(stages)
    folder.write_manifest(manifest)
    with stages.stage("report") as advance:
        rebuild_report(folder.path)
        advance(1)
    plan = make_record(study, folder.asked, estimate)
    folder.write_manifest(manifest | _timings(stages) | {"status": FINISHED, "plan": plan})


def _inputs(opened: Opened[Any], cache: Path) -> list[dict[str, Any]]:
    """Return what the manifest says of the files read, and of the folders in which further ones would be found."""
    files = opened.input_files
    folders = {file.parent for file in files}
    data = opened.dataset.files()
    if data:
        common = Path(os.path.commonpath([file.parent for file in data]))
        folders |= {folder for file in data for folder in file.parents if folder.is_relative_to(common)}
    unsaid = [] if opened.dataset.says_files else [{"unsaid": f"the files of {opened.dataset.name}"}]
    return [*unsaid, *(describe_input(path, cache) for path in (*sorted(folders), *files))]


def _timings(stages: Stages) -> dict[str, Any]:
    return {
        "stages": stages.records,
        "total_seconds": round(sum(record["seconds"] for record in stages.records), 3),
        "peak_memory_mb": round(peak_memory_mb(), 1),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hardware(device: str) -> dict[str, Any]:
    import psutil

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    if device == "auto":
        torch = sys.modules.get("torch")
        device = "cuda" if torch is not None and torch.cuda.is_available() else "cpu"
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "device": device,
        "platform": platform.platform(),
    }


def typed() -> str:
    """Return the command that this process was started with."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
