"""Checks of what comes into a head; NumPy arrays pass through scikit-learn's own, tensors stay on their device."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from brainbench.core.arrays import Array, arrays_of, is_tensor
from brainbench.ridge.solver.folds import SCORINGS

FLOATS = ("float64", "float32")
CHECK_BYTES = 16 << 20
"""Values are searched for NaN in pieces of so many bytes."""


def check_training(head: Any, X: Any, y: Any) -> tuple[Array, Array]:
    """Return features (n_rows, n_features) and responses of one floating type.

    Raises
    ------
    ValueError
        For NaN or infinity, with the first one's position, other shapes, and fewer than two rows.
    """
    if is_tensor(X):
        xp = arrays_of(X, y)
        X = _floats(X)
        y = xp.asarray(y, xp.dtype_of(X))
        if X.ndim != 2 or y.ndim not in (1, 2) or len(X) != len(y):
            raise ValueError(f"X must be (n_rows, n_features) and y (n_rows, ...), got {X.shape} and {y.shape}")
        head.n_features_in_ = X.shape[1]
        check_finite(y, "y")
    else:
        if isinstance(y, np.ndarray) and y.dtype.kind == "f":  # scikit-learn would refuse y without saying where
            check_finite(y, "y")
        X, y = validate_data(
            head, X, y, multi_output=True, y_numeric=True, dtype=(np.float64, np.float32), ensure_all_finite=False
        )
        y = y.astype(X.dtype, copy=False)
    if len(X) < 2:
        raise ValueError(f"ridge needs two rows or more, got n_samples = {len(X)}")
    check_finite(X, "X")
    return X, y


def check_features(head: Any, X: Any, like: Array | None = None) -> Array:
    """Return new rows of features, in the type of `like` if given."""
    if is_tensor(X):
        X = _floats(X)
        if X.ndim != 2 or X.shape[1] != head.n_features_in_:
            raise ValueError(
                f"X has shape {tuple(X.shape)}, but {type(head).__name__} needs (n, {head.n_features_in_})"
            )
    else:
        X = validate_data(head, X, reset=False, dtype=(np.float64, np.float32), ensure_all_finite=False)
    check_finite(X, "X")
    if like is None:
        return X
    xp = arrays_of(like, X)
    return xp.asarray(X, xp.dtype_of(like))


def _floats(X: Array) -> Array:
    xp = arrays_of(X)
    return X if xp.dtype_of(X) in FLOATS else xp.asarray(X, "float64")


def check_finite(values: Array, name: str) -> None:
    """Refuse NaN and infinity with the position of the first one."""
    xp = arrays_of(values)
    step = max(1, CHECK_BYTES // max(1, 8 * int(np.prod(values.shape[1:]))))
    for start in range(0, len(values), step):
        piece = values[start : start + step]
        if bool(abs(xp.sum64(piece, 0)).sum() < np.inf):
            continue
        bad = np.argwhere(~np.isfinite(xp.to_numpy(piece)))
        if not len(bad):
            continue
        row, *column = (int(index) for index in bad[0])
        value = float(piece[(row, *column)])
        where = f"row {start + row}" + (f", column {column[0]}" if column else "")
        what = "NaN" if value != value else "infinity"
        raise ValueError(f"Input {name} contains {what}: the first is at {where} (counted from 0)")


def check_alphas(alphas: Any) -> np.ndarray:
    """Return penalties as a vector of positive numbers.

    Raises
    ------
    ValueError
    """
    values = np.atleast_1d(np.asarray(alphas, dtype=float))
    if values.ndim != 1 or not len(values) or not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(f"alphas must be positive and finite, got {alphas!r}")
    return values


def check_scoring(scoring: str) -> None:
    """Refuse a scoring that no penalty is chosen by."""
    if scoring not in SCORINGS:
        raise ValueError(f"scoring must be 'r2' or 'pearsonr', got {scoring!r}")
