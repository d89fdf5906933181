"""Slow drifts and nuisance: projected out without looking across the border between training and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def segments_of(rows: np.ndarray, run: np.ndarray) -> list[np.ndarray]:
    """Return positions of contiguous pieces of rows.

    Parameters
    ----------
    rows : int ndarray (n,)
        Row numbers, increasing.
    run : ndarray (n,)
        Run of each of them; pieces never cross a run.

    Returns
    -------
    list of int ndarray
        Positions into `rows`.
    """
    rows, run = np.asarray(rows), np.asarray(run)
    breaks = np.flatnonzero((np.diff(rows) != 1) | (run[1:] != run[:-1])) + 1
    return np.split(np.arange(len(rows)), breaks)


def drift_basis(n: int, t_r: float, high_pass_s: float | None) -> np.ndarray:
    """Return an orthonormal basis of a constant and the cosines slower than the high-pass period.

    As in SPM and nilearn: cosines of order up to ``floor(2 * n * t_r / high_pass_s)``.

    Returns
    -------
    ndarray (n, 1 + n_cosines)
    """
    order = 0 if high_pass_s is None else min(int(np.floor(2 * n * t_r / high_pass_s)), n - 1)
    times = (np.arange(n) + 0.5) / n
    basis = np.cos(np.pi * np.outer(times, np.arange(order + 1)))
    return basis / np.sqrt((basis**2).sum(axis=0))


def remove_drift(
    array: np.ndarray, segments: Sequence[np.ndarray], t_r: float, high_pass_s: float | None
) -> np.ndarray:
    """Project the constant and slow cosines out of every segment by itself.

    Parameters
    ----------
    array : ndarray (n_rows, n_columns)
    segments : sequence of int ndarray
        Contiguous rows.
    t_r : float
        Seconds between rows.
    high_pass_s : float or None
        Longest period kept; None removes the mean alone.
    """
    out = np.array(array, dtype=np.float64)
    for rows in segments:
        basis = drift_basis(len(rows), t_r, high_pass_s)
        out[rows] -= basis @ (basis.T @ out[rows])
    return out


def regress_out(
    train: np.ndarray, test: np.ndarray, nuisance_train: np.ndarray, nuisance_test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Subtract what nuisance explains, with weights from the training rows alone.

    Parameters
    ----------
    train, test : ndarray (n_rows, n_columns)
    nuisance_train, nuisance_test : ndarray (n_rows, n_nuisance)
    """
    weights, *_ = np.linalg.lstsq(nuisance_train, train, rcond=1e-8)
    return train - nuisance_train @ weights, test - nuisance_test @ weights
