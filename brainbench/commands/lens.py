"""``brainbench lens``: a network looked into without a recipe and without a brain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from brainbench.commands.catalog import guess
from brainbench.core.errors import UserError
from brainbench.core.files import write_text
from brainbench.data.base import Stimuli
from brainbench.data.tables import read_text
from brainbench.recipes.lens import DIAGNOSTICS

if TYPE_CHECKING:
    import pandas as pd


def look(
    model: str, stimuli: Path, *, weights: str, diagnostics: list[str], n: int, out: Path | None, seed: int = 0
) -> str:
    """Return the table of a network as text, and write it where asked.

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
        CSV to write.
    seed : int
    """
    from brainbench.encoders import open_encoder
    from brainbench.encoders.network import NetworkEncoder
    from brainbench.lens.table import lens

    for name in diagnostics:
        DIAGNOSTICS[name]  # raises for a name that is not known, before any work
    shown = stimuli_at(stimuli, n, seed)
    encoder = open_encoder(guess(model, weights), seed=seed)
    if not isinstance(encoder, NetworkEncoder):
        raise UserError(f"'{model}' is no network: there is nothing to look into")
    labels = shown.labels.get("category")
    table = lens(encoder, shown, diagnostics=diagnostics or None, labels=labels, seed=seed)
    if out is not None:
        write_text(out, table.to_csv(index=False))
    untrained = ["untrained: weights are random"] if encoder.untrained else []
    return "\n".join([f"{model}: {len(shown)} stimuli of {stimuli}", *untrained, *_rendered(table)])


def stimuli_at(path: Path, n: int, seed: int) -> Stimuli:
    """Return the images of a folder, or the texts of a file.

    Raises
    ------
    UserError
        If there are none.
    """
    if path.is_dir():
        from brainbench.simulation.photos import folder_images

        return folder_images(str(path), n, seed)
    if not path.is_file():
        raise UserError(f"--stimuli: {path} is neither a folder of images nor a file of texts")
    texts = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not texts:
        raise UserError(f"--stimuli: {path} holds no text")
    rows = np.sort(np.random.default_rng([seed, 73]).permutation(len(texts))[:n])
    return Stimuli.of([texts[row] for row in rows])


def _rendered(table: pd.DataFrame) -> list[str]:
    """Return a table a diagnostic, rows blocks, and why columns are empty."""
    reasons = table.attrs["reasons"]
    lines = []
    for name in DIAGNOSTICS:
        columns = [one.name for one in DIAGNOSTICS[name].columns if one.name in table and table[one.name].notna().any()]
        if columns:
            shown = table[["block", *columns]].to_string(index=False, float_format=lambda value: f"{value:.3f}")
            lines += ["", name, shown]
    why: dict[str, list[str]] = {}
    for column, reason in reasons.items():
        why.setdefault(reason, []).append(column)
    return [*lines, "", *(f"left empty: {', '.join(columns)}: {reason}" for reason, columns in why.items())]
