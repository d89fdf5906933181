"""Finds the recipes and cards that come with brainbench, in a checkout and in an installed wheel."""

from __future__ import annotations

import sys
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


def card_path(folder: Literal["datasets", "weights"], name: str, model: type | None) -> Path:
    """Return where the card of a noun lies, or would lie.

    Parameters
    ----------
    folder : {"datasets", "weights"}
    name : str
    model : type, optional
        Its settings model: a package keeps its cards in a folder beside the module of the model.
    """
    if model is not None and not model.__module__.startswith("brainbench."):
        file = sys.modules[model.__module__].__file__
        if file is not None:
            return Path(file).parent / folder / f"{name}.yaml"
    return share_folder(folder) / f"{name}.yaml"
