"""A few arrays that many units ask for, kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

MOST_BYTES = 64_000_000


class LastUsed:
    """The arrays that were used last, by name, up to a size in all; they cannot be written to.

    Parameters
    ----------
    most : int
        Bytes. An array that is larger than that is not kept.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return an array, made where it is not kept; units beside each other may make it twice."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        array = make()
        array.setflags(write=False)
        if array.nbytes > self.most:  # it would push out all others, and then itself
            return array
        with self._lock:
            self._kept[name] = array
            while sum(one.nbytes for one in self._kept.values()) > self.most:
                self._kept.popitem(last=False)
        return array
