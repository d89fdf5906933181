"""The last calibration of a recipe: what names it, and where it is kept for the reports of its runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import brainbench
from brainbench.core.digests import SCHEMA, digest, digest_files
from brainbench.core.files import read_json, write_cached_json, write_json
from brainbench.recipes.kinds import Recipe
from brainbench.runs.folder import RunFolder

KEPT = "calibrations"
"""Folder of the cache that keeps the last calibration of every key."""

IN_RUN = "calibration.json"
"""The file of a run folder that holds the last calibration of its key."""

STATISTICS = ("decoders", "evaluation", "ridge", "simulation", "studies")
"""Packages whose code decides a rate: a calibration of other code says nothing of this one."""


def calibration_key(recipe: Recipe, contents: Iterable[str]) -> str:
    """Return what a calibration is about: the recipe's science, its data and weights, and the code of the statistics.

    Parameters
    ----------
    recipe : Recipe
    contents : iterable of str
        Digests of the files that are read: data and weights.
    """
    package = Path(brainbench.__file__).parent
    code = sorted(path for name in STATISTICS for path in (package / name).rglob("*.py"))
    science = recipe.science()
    science["dataset"] = {key: value for key, value in science["dataset"].items() if key != "root"}
    del science["title"]
    return digest(
        {"schema": SCHEMA, "science": science, "contents": sorted(contents), "statistics": digest_files(code)}
    )[:32]


def keep_calibration(cache: Path, found: dict[str, Any]) -> None:
    """Keep a finished calibration as the last one of its key."""
    write_cached_json(cache / KEPT / f"{found['key']}.json", found)


def bring_calibration(folder: RunFolder) -> None:
    """Put the last calibration of a run's recipe, data and code into its folder, where there is one."""
    manifest = folder.manifest
    key = manifest.get("calibration", {}).get("key")
    found = None if key is None else last_calibration(Path(manifest["cache"]), key)
    if found is not None:
        write_json(folder.made.add(IN_RUN), found)


def last_calibration(cache: Path, key: str) -> dict[str, Any] | None:
    """Return the last calibration of a key, or None where there was none."""
    try:
        found = read_json(cache / KEPT / f"{key}.json")
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) and found.get("key") == key else None
