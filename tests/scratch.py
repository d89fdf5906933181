"""Scratch packages and scratch copies of brainbench, in which a test does what CONTRIBUTING says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[1]


def write_package(folder: Path, name: str, files: dict[str, str], points: dict[str, list[str]]) -> Path:
    """Write an installed package: its modules and cards, and the entry points that its wheel would declare."""
    for file, text in files.items():
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = [f"[{group}]\n" + "\n".join(lines) for group, lines in points.items()]
    (about / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
    return folder


def copy_brainbench(folder: Path) -> Path:
    """Copy the package and what it comes with, to be added to."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("brainbench", "recipes", "datasets", "weights"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


def python(folder: Path, code: str, *, cwd: Path, package: Path = ROOT, cache: Path | None = None) -> str:
    """Run Python where `folder` is installed beside brainbench, and return what it prints; its errors fail the test."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(folder), str(package)]))
    environment["BRAINBENCH_CACHE"] = str(cache or cwd / "cache")
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout
