"""``brainbench lens``: the recipe of `kind: lens` of one network, written and run in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.commands.catalog import guess
from brainbench.commands.run import run
from brainbench.core.errors import UserError
from brainbench.data.layouts.shown import images_in
from brainbench.recipes.lens import DIAGNOSTICS
from brainbench.recordings.reading import READERS

if TYPE_CHECKING:
    import pandas as pd


def look(
    model: str, stimuli: Path, *, weights: str, diagnostics: list[str], n: int, out: Path | None, seed: int = 0
) -> str:
    """Run the recipe of a network, and return its table as text.

    Parameters
    ----------
    model : str
        As `brainbench layers` takes it.
    stimuli : Path
        A folder of images (subfolders are their classes), or a file with a text a line.
    weights : str
    diagnostics : list of str
        Empty for all.
    n : int
        Stimuli at most, drawn by `seed`.
    out : Path, optional
        Run folder; without it ``runs/lens-<digest>``.
    seed : int
    """
    names = diagnostics or list(DIAGNOSTICS)
    for name in names:
        DIAGNOSTICS[name]  # raises for a name that is not known, before any work
    recipe = {
        "kind": "lens",
        "title": f"What does {Path(model).name} do, block by block?",
        "seed": seed,
        "dataset": dataset_of(stimuli),
        "encoders": [guess(model, weights).model_dump(mode="json", exclude_unset=True)],
        "lens": {"diagnostics": names, "stimuli": n, "labels": _label(stimuli)},
    }
    done = run(recipe, out=out, quiet=False)
    about = done.facts["findings"]["lens"]
    (shown,) = about["encoders"]
    untrained = ["untrained: weights are random"] if shown["untrained"] else []
    head = f"{model}: {about['stimuli']} stimuli of {stimuli}"
    return "\n".join([head, *untrained, *_rendered(shown, names), "", f"report: {done.report}"])


def dataset_of(path: Path) -> dict[str, Any]:
    """Return the section of the images of a folder, or of the texts of a file.

    Raises
    ------
    UserError
        If it is neither, or a folder of recordings: how these become stimuli only a recipe says.
    """
    if path.is_dir():
        recording = next((file for file in path.rglob("*") if READERS.get(file.suffix.lower())), None)
        if recording is not None and not images_in(path):
            raise UserError(
                f"--stimuli: {path} holds recordings ({recording.name}), whose rate, montage and trials a recipe says",
                hint="`kind: lens` with a `dataset` of recordings that has `band_power`, and encoders of "
                "`family: sensor` or `eeg`; docs/sensors.md has one",
            )
        return {"name": "stimuli", "root": str(path)}
    if not path.is_file():
        raise UserError(f"--stimuli: {path} is neither a folder of images nor a file of texts")
    return {"name": "stimuli", "root": str(path.parent), "texts": path.name}


def _label(path: Path) -> str | None:
    """Return the label that subfolders are, where there are several."""
    return "category" if path.is_dir() and len({image.parent for image in images_in(path)}) > 1 else None


def _rendered(shown: dict[str, Any], diagnostics: list[str]) -> list[str]:
    """Return a table a diagnostic, rows blocks, and why columns are empty."""
    import pandas as pd

    lines = [f"nothing: {shown['reason']}"] if shown["reason"] else []
    why: dict[str, list[str]] = {}
    for name in diagnostics:
        table: pd.DataFrame = pd.DataFrame({"block": range(len(shown["blocks"]))})
        for one in shown["columns"]:
            if one["diagnostic"] == name:
                if one["reason"]:
                    why.setdefault(one["reason"], []).append(one["column"])
                if any(cell is not None for cell in one["blocks"]):
                    table[one["column"]] = [np.nan if cell is None else cell["value"] for cell in one["blocks"]]
        if table.shape[1] > 1:
            lines += ["", name, table.to_string(index=False, float_format=lambda value: f"{value:.3f}")]
    return [*lines, "", *(f"left empty: {', '.join(columns)}: {reason}" for reason, columns in why.items())]
