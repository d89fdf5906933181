"""Reads pickles of plain values: what a file wants to import must stand on a list, or nothing of it is read.

A pickle is a program. Published recordings come as pickles all the same, of arrays, numbers, texts, lists and
dictionaries; this is all that is let through.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError

_NUMPY = {
    (package, name)
    for package in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("ndarray", "dtype", "_reconstruct", "scalar")
}
_PLAIN = _NUMPY | {("_codecs", "encode"), ("collections", "OrderedDict")}
"""What values without behaviour are made of: arrays, their numbers and types, byte strings, ordered dictionaries."""


class Attributes(dict[str, Any]):
    """Stands for an author's dictionary whose keys are attributes too: its values are kept, its code is not run."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state)


class _Plain(pickle.Unpickler):
    def __init__(self, file: io.BufferedIOBase, where: Path, dictionaries: Collection[str], encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self.where = where
        self.dictionaries = dictionaries

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" in self.dictionaries:
            return Attributes
        if (module, name) not in _PLAIN:
            raise UserError(
                f"{self.where}: the pickle wants to import {module}.{name}, which is no plain value: nothing was read",
                hint="save its arrays again, as .npy or .mat, where you trust the file",
            )
        # The class itself, not a look-alike of the same name elsewhere.
        return super().find_class(module, name)


def read_pickle(path: Path, *, dictionaries: Collection[str] = (), encoding: str = "latin1") -> Any:
    """Return the values of a pickle.

    Parameters
    ----------
    path : Path
    dictionaries : collection of str
        ``module.Class`` of an author's own kind of dictionary; such objects come back as `Attributes`.
    encoding : str
        Of byte strings that Python 2 wrote.

    Raises
    ------
    UserError
        If the file is damaged, or wants to import anything else than plain values; nothing of it is run then.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            value = _Plain(file, path, dictionaries, encoding).load()
    except (UserError, MemoryError):
        raise
    except Exception as error:  # the machine of pickles raises errors of every kind where bytes are not what it expects
        raise UserError(f"{path}: not a readable pickle ({type(error).__name__}: {error})") from None
    return value


def checked_array(value: Any, what: str, n_dim: int) -> np.ndarray:
    """Return a value as an array of numbers, or say what it is.

    Raises
    ------
    UserError
        If it is none, or has other dimensions.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{what}: not an array of numbers but {type(value).__name__}") from None
    if array.ndim != n_dim:
        raise UserError(f"{what}: {n_dim} dimensions are needed, got shape {array.shape}")
    return array
