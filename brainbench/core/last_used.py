"""A few arrays, or what is made of them, that many units ask for, kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import numpy as np

MOST_BYTES = 64_000_000


class Sized(Protocol):
    """What knows its size in memory."""

    @property
    def nbytes(self) -> int:
        """Bytes."""


T = TypeVar("T", bound=Sized)


class LastUsed(Generic[T]):
    """What was used last, by name, up to a size in all; arrays cannot be written to.

    Parameters
    ----------
    most : int
        Bytes. What is larger than that is not kept.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self._kept: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, make: Callable[[], T]) -> T:
        """Return what has a name, made where it is not kept; units beside each other may make it twice."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        made = make()
        if isinstance(made, np.ndarray):
            made.setflags(write=False)
        if made.nbytes > self.most:  # it would push out all others, and then itself
            return made
        with self._lock:
            self._kept[name] = made
            while sum(one.nbytes for one in self._kept.values()) > self.most:
                self._kept.popitem(last=False)
        return made
