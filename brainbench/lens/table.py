"""The lens without a recipe: one table of a network and what goes through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.network import NetworkEncoder
from brainbench.lens.base import Looked
from brainbench.lens.measure import depths, measured
from brainbench.recipes.lens import DIAGNOSTICS

if TYPE_CHECKING:
    import pandas as pd


def lens(
    model: Any,
    inputs: Any,
    *,
    diagnostics: Sequence[str] | None = None,
    labels: Sequence[str] | np.ndarray | None = None,
    words: Sequence[int] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """Return what every block of a network does, a row a block and a column a number.

    Parameters
    ----------
    model : NetworkEncoder, mapping or torch.nn.Module
        An opened encoder; settings of one, as in a recipe; or a network of torch.
    inputs : Stimuli, sequence, Tensor or mapping of str to Tensor
        Pictures or texts for an encoder; for a network of torch what it takes, rows first.
    diagnostics : sequence of str, optional
        By default all that there are.
    labels : sequence of str, optional
        A class of every stimulus, for `content`.
    words : sequence of int
        Words or classes of the readout, for `content`.
    seed : int

    Returns
    -------
    DataFrame (n_blocks, n_columns)
        Means over stimuli (of numbers that are names, the most frequent), with ``block``, ``layer`` and ``depth``
        first. ``attrs["reasons"]`` says why columns are empty, and ``attrs["values"]`` holds the numbers of every
        stimulus by column, ``(n_blocks, n_stimuli)``.

    Raises
    ------
    UserError
        If the network cannot be read, or a diagnostic is not known.
    """
    import pandas as pd

    encoder, stimuli = _opened(model, inputs, seed)
    names = list(DIAGNOSTICS) if diagnostics is None else list(diagnostics)
    chosen = [DIAGNOSTICS[name] for name in names]
    if labels is not None and len(labels) != len(stimuli):
        raise UserError(f"labels: {len(labels)} for {len(stimuli)} stimuli")
    known = Looked(None if labels is None else np.asarray(labels, dtype=str), group=list(words), seed=seed)
    found = measured(encoder, [(stimuli, range(len(stimuli)))], chosen, known)
    blocks = [tap.name for tap in encoder.stream[1:]]
    table: dict[str, Any] = {"block": range(len(blocks)), "layer": blocks, "depth": depths(encoder)}
    reasons, values = {}, {}
    for one in chosen:
        for column, numbers, reason in zip(one.columns, found[one.name].values, found[one.name].reasons, strict=True):
            values[column.name] = numbers
            table[column.name] = [over_stimuli(row, column.over) for row in numbers] or [np.nan] * len(blocks)
            if reason:
                reasons[column.name] = reason
    frame = pd.DataFrame(table)
    frame.attrs = {"reasons": reasons, "values": values}
    return frame


def over_stimuli(numbers: np.ndarray, over: str) -> float:
    """Return the mean of the numbers of stimuli, or the most frequent one; NaN where none has a number."""
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return float("nan")
    if over == "mean":
        return float(known.mean())
    names, counts = np.unique(known, return_counts=True)
    return float(names[counts.argmax()])


def _opened(model: Any, inputs: Any, seed: int) -> tuple[NetworkEncoder, Stimuli]:
    """Return the encoder and its stimuli."""
    if isinstance(model, Mapping):
        from brainbench.encoders import open_encoder

        model = open_encoder(dict(model), seed=seed)
    if isinstance(model, NetworkEncoder):
        return model, inputs if isinstance(inputs, Stimuli) else Stimuli.of(list(inputs))
    import torch

    if not isinstance(model, torch.nn.Module):
        raise UserError(
            f"lens: {type(model).__name__} is no network", hint="give an encoder, its settings, or a torch.nn.Module"
        )
    from brainbench.lens.modules import ModuleEncoder

    encoder = ModuleEncoder(model, inputs)
    return encoder, encoder.stimuli
