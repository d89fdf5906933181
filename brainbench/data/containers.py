"""MATLAB and HDF5 files: what goes wrong on reading is a message that names the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.matlab import check_mat


def read_mat(path: Path, names: Sequence[str], *, whole: bool = False) -> Mapping[str, Any]:
    """Return variables of a ``.mat`` file (up to version 7).

    Parameters
    ----------
    path : Path
    names : sequence of str
        Variables that it must have.
    whole : bool
        Return all of the file, structures as dictionaries and cell arrays as arrays of objects.

    Raises
    ------
    UserError
        If the file is missing, cannot be read, or lacks a variable.
    """
    from scipy.io import loadmat

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    check_mat(path)
    try:
        stored = loadmat(path, simplify_cells=True) if whole else loadmat(path, variable_names=names)
    except MemoryError:
        raise
    except NotImplementedError:
        raise UserError(f"{path}: a .mat file of version 7.3", hint="save it with `save(..., '-v7')`") from None
    except Exception as error:  # SciPy's parser raises errors of every kind where bytes are not what it expects
        raise UserError(f"{path}: not a readable .mat file ({error})") from None
    missing = [name for name in names if name not in stored]
    if missing:
        raise UserError(f"{path}: no variable {', '.join(missing)}")
    return stored if whole else {name: np.asarray(stored[name]) for name in names}


class opened_hdf5:
    """One data set of an HDF5 file; what goes wrong on reading is a message that names the file."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    def __enter__(self) -> Any:
        import h5py

        if not self.path.is_file():
            raise UserError(f"{self.path}: no such file")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise UserError(f"{self.path}: not a readable HDF5 file, or cut short ({error})") from None
        if self.name not in self._file:
            names = ", ".join(self._file) or "nothing"
            self._file.close()
            raise UserError(f"{self.path}: no data set '{self.name}'; it has {names}")
        return self._file[self.name]

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._file.close()
        if isinstance(error, OSError):
            raise UserError(f"{self.path}: damaged, or cut short ({error})") from None
