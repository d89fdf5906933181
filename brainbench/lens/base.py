"""The contract of a diagnostic: numbers that say what every block of a network does to its stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from brainbench.encoders.sites import Site
from brainbench.lens.readout import Readout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Column:
    """One number a block.

    Parameters
    ----------
    name : str
        As facts and tables call it: ``r_attn``.
    title : str
        For people: ``attention``. Columns with the same axis are told apart by it.
    axis : str
        What is drawn against depth; columns of one axis share a panel.
    over : {"mean", "mode"}
        What is said of all stimuli together: the mean of their numbers or, where numbers are names (a unit, a token),
        the most frequent one.
    """

    name: str
    title: str
    axis: str
    over: Literal["mean", "mode"] = "mean"


@dataclass(frozen=True)
class Block:
    """What one block did to a batch of stimuli.

    Parameters
    ----------
    index, n_blocks : int
        Blocks are counted from 0.
    norm : {"", "pre", "post", "parallel"}
        Where the block normalises, as `brainbench.encoders.sites` knows it; empty where that is not known.
    values : mapping of str to Tensor
        Every site of the diagnostic, float32: tokens ``(n, T, d)``, ``pattern`` ``(n, heads, T, T)``, ``z``
        ``(n, T, heads, d / heads)``.
    keep : Tensor
        bool ``(n, T)``: the tokens that count. Padding, class, separator and register tokens do not, nor does the first
        token of a text, whose norm is out of all proportion in many networks. Of a word in a story, its own tokens.
    real : Tensor
        bool ``(n, T)``: all tokens but padding.
    inside : Tensor
        bool ``(n, T)``: tokens that stand for a part of the stimulus or of its context, but for the first of a text.
    places : mapping of str to Tensor
        Where tokens lie, ``(T, n_dimensions)`` by unit: ``patches``, ``tokens``, and of sensors ``cm`` and ``ms``.
    lines : sequence of (slice, Tensor)
        Where heads see one line of tokens alone: which heads, and the tokens of every line, ``(n_lines, length)``.
        Empty where every head sees all tokens, or all before.
    out_norm : Tensor, optional
        ``(f,)``: norm of what each hidden unit writes into the stream when it is 1.
    rectified : bool
        Whether hidden units are exactly 0 where they are off.
    state : callable, optional
        From tokens and those that are no padding to what the network's own readout reads, ``(n, d)``; None where the
        readout is not known (`brainbench.lens.readout`).
    carry : dict
        Empty at the first block of a batch; what a diagnostic leaves here it finds at the next block of the same batch.
    """

    index: int
    n_blocks: int
    norm: str
    values: Mapping[str, Tensor]
    keep: Tensor
    real: Tensor
    inside: Tensor
    places: Mapping[str, Tensor] = field(default_factory=dict)
    lines: Sequence[tuple[slice, Tensor]] = ()
    out_norm: Tensor | None = None
    rectified: bool = False
    state: Callable[[Tensor, Tensor], Tensor] | None = None
    carry: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, site: Site) -> Tensor:
        """Return the value of a site."""
        return self.values[site]

    def mean(self, tokens: Tensor) -> Tensor:
        """Return the mean over the tokens that count, ``(n,)``, from a number a token, ``(n, T)``.

        Tokens whose number is NaN are left out; a stimulus without any is NaN.
        """
        import torch

        known = self.keep & ~torch.isnan(tokens)
        total = torch.where(known, tokens, torch.zeros_like(tokens)).sum(1)
        return torch.where(known.any(1), total / known.sum(1).clamp(min=1), torch.nan)


@dataclass(frozen=True)
class Looked:
    """What is known once every stimulus has gone through the network.

    Parameters
    ----------
    labels : ndarray (n,), optional
        A class of every stimulus.
    runs : ndarray (n,), optional
        What must not be split between training and test; without it every stimulus stands alone.
    group : sequence of int
        Classes or words of the readout that are looked for together.
    readout : Readout, optional
        The network's own output layer.
    why_no_readout : str
        Why there is none.
    seed : int
        Of everything random.
    """

    labels: np.ndarray | None = None
    runs: np.ndarray | None = None
    group: Sequence[int] = ()
    readout: Readout | None = None
    why_no_readout: str = ""
    seed: int = 0


Function = Callable[[Block], Mapping[str, "Tensor | str"]]
"""From a block to the number of every stimulus ``(n,)`` by column, or to the reason why a column is not defined.

What it returns under other names, of whatever shape behind ``n``, is kept of all stimuli for `Diagnostic.across`.
"""
Across = Callable[[Mapping[str, "Sequence[Tensor]"], Looked], Mapping[str, "Tensor | str"]]
"""From what was kept, ``(n, ...)`` of every block by name, to further columns ``(n_blocks, n)``, or reasons."""


@dataclass(frozen=True)
class Diagnostic:
    """Columns of numbers beside depth.

    A diagnostic is one file: a module of `brainbench.lens.diagnostics`, which is found by its name, or of a package
    whose entry point of the group ``brainbench.diagnostics`` leads to the record. Batches stream through `function`;
    numbers a stimulus are all that is kept, and means over stimuli with their intervals are all that is shown.

    Parameters
    ----------
    name : str
        As recipes call it; that of its module.
    paper : str
        Who said what it measures.
    formula : str
        What is computed, in one line.
    sites : tuple of str
        Where it looks (`brainbench.encoders.sites`).
    columns : tuple of Column
    function : callable
    across : callable, optional
        Columns that take all blocks, or all stimuli, together.
    caution : str
        What its numbers cannot say, for the page.
    version : int
        Raised when numbers of earlier runs would come out otherwise: they are computed again.
    """

    name: str
    paper: str
    formula: str
    sites: tuple[Site, ...]
    columns: tuple[Column, ...]
    function: Function
    across: Across | None = None
    caution: str = ""
    version: int = 1
