"""Ridge for responses and results that are larger than memory.

Responses are read from a memory map in blocks of columns; chosen penalties, scores, predictions and weights are
written to ``.npy`` files block by block. In memory are the features (twice), the inner products and one block of
targets: nothing grows with the number of targets.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.arrays import NUMPY
from brainbench.core.errors import UserError
from brainbench.core.files import atomic_folder, mapped
from brainbench.ridge.inputs import check_alphas, check_finite, check_scoring
from brainbench.ridge.ridge import RidgeCV
from brainbench.ridge.solver.blocks import make_block
from brainbench.ridge.solver.folds import inner_splits, target_blocks
from brainbench.ridge.solver.solver import Outputs, Solver
from brainbench.ridge.solver.spectra import Features


def fit_to_disk(
    head: RidgeCV, X: Any, Y: Any, folder: str | Path, *, X_new: Any = None, groups: Any = None
) -> dict[str, np.ndarray]:
    """Fit `head`'s ridge and write its results to a folder, which appears when all is done.

    Parameters
    ----------
    head : RidgeCV
        Its parameters are used; it is not changed. With ``store_coef=False`` no weights are written.
    X : array or memory map (n_rows, n_features)
        float32 or float64; a centred copy is held in memory.
    Y : array or memory map (n_rows, n_targets)
        Of the same type. Rows stored one after another are read in pieces as wide as a block of targets.
    folder : path
        Gets ``cv_scores.npy``, ``best_alphas.npy``, ``predicted.npy``, ``coef.npy`` and ``intercept.npy``, with the
        shapes of `RidgeCV`. ``coef.npy`` and ``predicted.npy`` are stored column by column.
    X_new : array (n_new, n_features), optional
        Rows to predict.
    groups : array-like (n_rows,), optional

    Returns
    -------
    dict of str to memory map
        The files, opened for reading.

    Raises
    ------
    ValueError
        For NaN or infinite values, other shapes or mixed types.
    UserError
        When the folder exists or the disk has no room for the results.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder} is there already", hint="name a folder that does not exist, or remove this one")
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or len(X) < 2:
        raise ValueError(f"X and Y must be matrices with the same two rows or more, got {X.shape} and {Y.shape}")
    if X.dtype != Y.dtype or X.dtype not in (np.float32, np.float64):
        raise ValueError(f"X and Y must both be float32 or float64, got {X.dtype} and {Y.dtype}")
    check_scoring(head.scoring)
    alphas = check_alphas(head.alphas)
    check_finite(X, "X")
    new = X[:0] if X_new is None else np.asarray(X_new, dtype=X.dtype)
    check_finite(new, "X_new")
    features = Features(NUMPY, np.asarray(X), head.fit_intercept)
    solver = Solver(
        features, inner_splits(head.cv, len(X), groups), alphas, head.scoring, n_targets=Y.shape[1], X_new=new
    )
    step = solver.block_size() if head.targets_batch == "auto" else int(head.targets_batch)
    needed = Y.shape[1] * (8 * (len(alphas) + 1) + X.itemsize * (len(new) + head.store_coef * (X.shape[1] + 1)))
    _check_disk(folder, needed)
    with atomic_folder(folder) as temporary:
        out = Outputs.make(
            _files_in(temporary), features, len(alphas), len(new), Y.shape[1], store_coef=head.store_coef
        )
        for columns in target_blocks(Y.shape[1], step):
            part = np.ascontiguousarray(Y[:, columns])  # read once; everything else works on the copy
            check_finite(part, f"Y[:, {columns.start}:{columns.stop}]")
            block = make_block(NUMPY, part, slice(None), head.fit_intercept)
            solver.solve(replace(block, columns=columns), out)
        del out  # closes the files
    return {path.stem: mapped(path) for path in sorted(folder.glob("*.npy"))}


def _files_in(folder: Path) -> Callable[[str, tuple[int, ...], str], np.ndarray]:
    """Return what makes a file for an output; matrices are stored by columns, as blocks of targets are written."""

    def empty(name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if 0 in shape:
            return np.empty(shape, dtype=dtype)
        return np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.dtype(dtype), shape=shape, fortran_order=len(shape) == 2
        )

    return empty


def _check_disk(folder: Path, needed: int) -> None:
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"{folder}: results need {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free",
            hint="store_coef=False leaves the weights out",
        )
