"""Units of work: the smallest piece that is computed once, written atomically, and never computed again."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from brainbench.core.digests import SCHEMA, digest
from brainbench.core.errors import UserError
from brainbench.runs.folder import RunFolder


class DamagedUnit(UserError):
    """The file of a finished unit was damaged or removed; running again computes it.

    Parameters
    ----------
    digests : sequence of str
        The units.
    message : str
    """

    def __init__(self, digests: Sequence[str], message: str) -> None:
        super().__init__(message, hint="run the recipe again: only what is missing is computed")
        self.digests = frozenset(digests)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what another process needs to raise it again."""
        return type(self), (sorted(self.digests), self.message)


Compute = Callable[[], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Parameters
    ----------
    kind : str
        What is computed: ``fit``, ``score``, ``decode``, ...
    label : str
        What progress shows.
    key : mapping
        Every setting and input digest that can change the result.
    compute : callable
        Returns the arrays to store; called at most once.
    """

    kind: str
    label: str
    key: Mapping[str, Any]
    compute: Compute

    @cached_property
    def digest(self) -> str:
        """The unit's name: kind, settings, inputs and code schema."""
        return digest({"schema": SCHEMA, "kind": self.kind, "key": dict(self.key)})[:32]


def jobs_to_use(jobs: int, threads_per_unit: int) -> int:
    """Return how many units run at once: `jobs`, or as many as the cores allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return jobs or max(1, cores // threads_per_unit)


@contextlib.contextmanager
def one_thread_pool(threads: int) -> Iterator[None]:
    """Limit BLAS, OpenMP and PyTorch to `threads`, so that jobs never multiply with their threads."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")  # its own count is what its worker threads go by
    before = None if torch is None else torch.get_num_threads()
    with threadpool_limits(limits=threads):
        try:
            if torch is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)


def read_units(units: Sequence[Unit], folder: RunFolder) -> list[dict[str, np.ndarray]]:
    """Return the arrays of finished units, in order.

    Raises
    ------
    DamagedUnit
        If one is absent or was damaged since it was written; running again computes it.
    """
    values = [folder.read_unit(unit.digest) for unit in units]
    lost = [unit for unit, arrays in zip(units, values, strict=True) if arrays is None]
    if lost:
        raise DamagedUnit(
            [unit.digest for unit in lost],
            f"{lost[0].label}: its file {folder.unit_path(lost[0].digest)} was damaged or removed",
        )
    return [arrays for arrays in values if arrays is not None]
