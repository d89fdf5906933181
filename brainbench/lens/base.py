"""The contract of a diagnostic: numbers that say what every block of a network does to its stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brainbench.encoders.sites import Site

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
    """

    name: str
    title: str
    axis: str


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
        token of a text, whose norm is out of all proportion in many networks.
    """

    index: int
    n_blocks: int
    norm: str
    values: Mapping[str, Tensor]
    keep: Tensor

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


Function = Callable[[Block], Mapping[str, "Tensor | str"]]
"""From a block to the number of every stimulus ``(n,)`` by column, or to the reason why a column is not defined."""


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
    caution: str = ""
    version: int = 1
