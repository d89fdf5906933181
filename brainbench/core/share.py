"""Finds the recipes and cards that come with brainbench, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def share_folder(name: Literal["recipes", "datasets", "weights"]) -> Path:
    """Return the folder of installed recipes, data-set cards or cards of weights.

    Raises
    ------
    FileNotFoundError
        If this copy of brainbench came without them.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "share" / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"this copy of brainbench has no '{name}' folder")
