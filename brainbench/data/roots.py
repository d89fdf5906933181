"""Finds the folder of a data set."""

from __future__ import annotations

import os
from pathlib import Path

from brainbench.core.errors import UserError
from brainbench.recipes.datasets import DATASETS

VARIABLE = "BRAINBENCH_DATA"


def resolve_root(name: str, root: str | None) -> tuple[Path, str]:
    """Return the folder of a data set and a sentence that says which was taken.

    Parameters
    ----------
    name : str
        Data set.
    root : str or None
        Its own folder, or the folder that holds it; without it ``BRAINBENCH_DATA/<name>``.

    Raises
    ------
    UserError
        If there is no such folder, or it does not hold the data set.
    """
    dataset = DATASETS.builder(name)
    if root is None:
        parent = os.environ.get(VARIABLE)
        if not parent:
            raise UserError(
                f"dataset.root: where is '{name}'? It is not given and {VARIABLE} is not set",
                hint=f"`--set dataset.root=/path/to/{name}`, or `brainbench data show {name}` for where to get it",
            )
        if not Path(parent).is_dir():
            raise UserError(f"{VARIABLE}={parent} points nowhere", hint=f"set it to the folder that holds {name}/")
        root, origin = str(Path(parent) / name), f"{VARIABLE}/{name}"
    else:
        origin = "dataset.root"
    path = Path(root).expanduser()
    if not path.is_dir():
        near = sorted(p.name for p in path.parent.iterdir() if p.is_dir()) if path.parent.is_dir() else []
        raise UserError(
            f"{origin}: {path} is not a folder", hint=f"{path.parent} holds: {', '.join(near[:12])}" if near else None
        )
    if dataset.looks_like(path):
        return path, f"{path} ({origin})"
    inner = path / name
    if inner.is_dir() and dataset.looks_like(inner):
        return inner, f"{inner} (found inside {origin}, {path})"
    found = sorted(p.name for p in path.iterdir())
    raise UserError(
        f"{origin}: {path} does not hold '{name}': looked for {dataset.expected}",
        hint=f"it holds: {', '.join(found[:10]) or 'nothing'}{', ...' if len(found) > 10 else ''}",
    )
