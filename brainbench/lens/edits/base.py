"""What an edit is: steps at sites of blocks, and what a step is given.

Values of a site come as `brainbench.encoders.sites` lays them out, and a step returns one of the same shape. Steps of
one pass share a memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.encoders.sites import Site

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Pass:
    """One forward pass under a change.

    Parameters
    ----------
    rows : ndarray (n,)
        Which stimuli run.
    inside : callable
        From a number of tokens to those that stand for something, bool ``(n, T)``.
    memory : dict
        What steps of this pass leave for later steps of it.
    """

    rows: np.ndarray
    inside: Callable[[int], Tensor]
    memory: dict[Any, Tensor] = field(default_factory=dict)


StepFunction = Callable[["Tensor", Pass], "Tensor"]


@dataclass(frozen=True)
class Step:
    """What happens at one site of one block."""

    block: int
    site: Site
    function: StepFunction


@dataclass(frozen=True)
class Change:
    """An edit: a name for people, and its steps.

    Parameters
    ----------
    name : str
        ``skip block 3``.
    steps : tuple of Step
    output : callable, optional
        From what one block was given and gives to what it gives instead, where that is all of the change: runs begin
        behind the block.
    leaves : bool
        The last block gives what the first one of the steps gives, and that is all of the change: no block runs again.
    """

    name: str
    steps: tuple[Step, ...]
    output: Callable[[Tensor, Tensor], Tensor] | None = None
    leaves: bool = False

    @property
    def first(self) -> int:
        """The first block that it touches: those before it need not be computed again."""
        return min(step.block for step in self.steps)


def together(name: str, changes: Sequence[Change]) -> Change:
    """Return several changes as one."""
    return Change(name, tuple(step for change in changes for step in change.steps))


@dataclass(frozen=True)
class EditKind:
    """A published edit.

    Parameters
    ----------
    name : str
    paper : str
    formula : str
    site : str
    build : callable
        The function below that makes it.
    """

    name: str
    paper: str
    formula: str
    site: Site
    build: Callable[..., Change]
