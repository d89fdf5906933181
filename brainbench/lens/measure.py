"""Streams stimuli through a network once, and lets every diagnostic look at every block as it is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.capture import Tap, rows_first
from brainbench.encoders.network import Inputs, NetworkEncoder
from brainbench.encoders.sites import Site, family_of
from brainbench.lens.base import Block, Diagnostic
from brainbench.networks.devices import in_batches

if TYPE_CHECKING:
    from torch import Tensor

NOTHING = "not defined for any stimulus"


@dataclass(frozen=True)
class Measured:
    """The columns of one diagnostic.

    Attributes
    ----------
    values : ndarray (n_columns, n_blocks, n_stimuli)
        NaN where a number is not defined; no block where the network has none of the sites.
    reasons : list of str, one a column
        Why a column is empty, of all blocks or of some; empty where it is not.
    """

    values: np.ndarray
    reasons: list[str]


def depths(encoder: NetworkEncoder) -> np.ndarray:
    """Return the relative depth of every block's middle, ``(n_blocks,)``."""
    n_blocks = len(encoder.taps) - 1
    return (np.arange(n_blocks) + 0.5) / max(n_blocks, 1)


def measured(
    encoder: NetworkEncoder, stimuli: Stimuli, rows: Sequence[int], diagnostics: Sequence[Diagnostic]
) -> dict[str, Measured]:
    """Return what every diagnostic finds, by its name.

    A block's values are dropped as soon as all of them have been looked at: nothing but numbers a stimulus is kept.

    Parameters
    ----------
    encoder : NetworkEncoder
    stimuli : Stimuli
    rows : sequence of int
        Which of the stimuli.
    diagnostics : sequence of Diagnostic
    """
    import torch

    n_blocks = len(encoder.taps) - 1
    family = family_of(encoder.network, [tap.module for tap in encoder.taps[1:]])
    norm = "" if family is None else family.norm
    missing = {one.name: _missing(encoder, one) for one in diagnostics}
    looking = [one for one in diagnostics if not missing[one.name]]
    sites: list[Site] = list(dict.fromkeys(site for one in looking for site in one.sites))
    taps = {encoder.site(block, site): (block, site) for block in range(n_blocks) for site in sites}
    reasons = {one.name: dict.fromkeys((column.name for column in one.columns), "") for one in diagnostics}

    def forward(batch: range) -> dict[tuple[str, str, int], np.ndarray]:
        blank = np.full(len(batch), np.nan)
        inputs = encoder.inputs(stimuli, [rows[index] for index in batch])
        held: dict[int, dict[str, Tensor]] = {}
        found: dict[tuple[str, str, int], np.ndarray] = {}

        def look(value: Tensor, tap: Tap) -> Tensor:
            index, site = taps[tap]
            if len(value) != inputs.n:
                raise UserError(
                    f"encoder '{encoder.name}': '{tap.name}' gives {len(value)} rows for {inputs.n} stimuli"
                )
            mine = held.setdefault(index, {})
            mine[site] = _tokens(value, tap).float().clone()  # a later module may change it in place
            if len(mine) == len(sites):
                keep = _kept(inputs, encoder.taps[index + 1], _length(held.pop(index)))
                block = Block(index, n_blocks, norm, mine, keep)
                for one in looking:
                    for column, number in one.function(block).items():
                        if isinstance(number, str):
                            reasons[one.name][column] = number
                        said = blank if isinstance(number, str) else number.double().cpu().numpy()
                        found[one.name, column, index] = said
            return value.new_empty(0)

        with torch.inference_mode():
            encoder.run(inputs, list(taps), reduce=look)
        return found

    batches = list(in_batches(len(rows), encoder.batch_size(), forward)) if looking else []
    return {one.name: _joined(one, batches, n_blocks, len(rows), missing, reasons[one.name]) for one in diagnostics}


def _missing(encoder: NetworkEncoder, diagnostic: Diagnostic) -> str:
    """Return why a network has not all the sites of a diagnostic, or nothing."""
    if len(encoder.taps) < 2:
        return "the network has no blocks"
    try:
        for site in diagnostic.sites:
            encoder.site(0, site)
    except UserError as error:
        return error.message
    return ""


def _joined(
    diagnostic: Diagnostic,
    batches: Sequence[Mapping[tuple[str, str, int], np.ndarray]],
    n_blocks: int,
    n: int,
    missing: Mapping[str, str],
    reasons: Mapping[str, str],
) -> Measured:
    """Return the batches of one diagnostic as one array, and why columns are empty."""
    names = [column.name for column in diagnostic.columns]
    if missing[diagnostic.name]:
        return Measured(np.empty((len(names), 0, n)), [missing[diagnostic.name]] * len(names))
    values, said = np.full((len(names), n_blocks, n), np.nan), []
    for number, name in enumerate(names):
        for block in range(n_blocks):
            values[number, block] = np.concatenate([batch[diagnostic.name, name, block] for batch in batches])
        empty = ~np.isfinite(values[number]).any(axis=1)
        said.append((reasons[name] or NOTHING) if empty.any() else "")
    return Measured(values, said)


def _length(values: Mapping[str, Tensor]) -> int:
    """Return the number of tokens; a pattern's are its last axis."""
    return max(value.shape[-1] if site == "pattern" else value.shape[1] for site, value in values.items())


def _tokens(value: Tensor, tap: Tap) -> Tensor:
    """Return places as tokens, whatever the layout: ``(n, T, d)``; patterns and heads stay as they are."""
    if tap.side == "pattern" or tap.n_heads:
        return value
    value = rows_first(value, tap.layout)
    if tap.layout == "map":
        return value.flatten(2).transpose(1, 2)
    if tap.layout == "map_last":
        return value.flatten(1, 2)
    return value.unsqueeze(1) if value.ndim == 2 else value


def _kept(inputs: Inputs, post: Tap, length: int) -> Tensor:
    """Return the tokens that count, bool ``(n, T)``."""
    import torch

    if inputs.mask is None:
        device = inputs.args[0].device if inputs.args else None
        keep = torch.ones(inputs.n, length, dtype=torch.bool, device=device)
        keep[:, : post.n_prefix] = False
        return keep
    keep = torch.zeros(inputs.n, length, dtype=torch.bool, device=inputs.mask.device)
    keep[:, : inputs.mask.shape[1]] = inputs.mask
    if inputs.special is not None:
        keep[:, : inputs.special.shape[1]] &= ~inputs.special
    keep[:, 0] = False
    return keep
