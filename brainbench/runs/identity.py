"""What a run is: the digest of its recipe, and the folder it is written to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from brainbench import __version__
from brainbench.core.digests import SCHEMA, digest
from brainbench.recipes.kinds import Recipe
from brainbench.recipes.reader import Given, find_recipe


def recipe_digest(recipe: Recipe) -> str:
    """Return the digest of everything in a recipe that can change a result.

    The device is part of it, since features computed elsewhere may differ in their last digits, and so is the
    folder the data is read from; whether its files changed is `RunFolder.finished`'s to see.
    """
    root = recipe.dataset.root or os.environ.get("BRAINBENCH_DATA", "")
    return digest(
        {
            "schema": SCHEMA,
            "brainbench": __version__,
            "science": recipe.science(),
            "root": os.path.abspath(root) if root else None,
            "device": recipe.execution.device,
            "threads_per_unit": recipe.execution.threads_per_unit,
        }
    )


def default_folder(recipe: Given, settings: Recipe) -> Path:
    """Return ``runs/<name of the recipe>``; of one that has no file ``runs/<kind>-<begin of its digest>``."""
    if isinstance(recipe, Mapping):
        return Path("runs") / f"{settings.kind}-{recipe_digest(settings)[:8]}"
    return Path("runs") / find_recipe(recipe).stem
