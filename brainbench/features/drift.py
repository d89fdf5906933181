"""Slow drifts and nuisance: projected out without looking across the border between training and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.core.errors import UserError

ROWS_PER_REGRESSOR = 3
"""Rows that each regressor of no interest needs: with fewer, taking it out takes most of a response."""

Bases = Sequence[tuple[np.ndarray, np.ndarray]]
"""Rows, and an orthonormal basis ``(n_rows of them, k)`` of what is taken out of them."""


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
    return _cosines(n, order + 1)


def _cosines(n: int, n_cosines: int) -> np.ndarray:
    """Return the first cosines of n rows, a constant among them, orthonormal."""
    times = (np.arange(n) + 0.5) / n
    basis = np.cos(np.pi * np.outer(times, np.arange(n_cosines)))
    return np.asarray(basis / np.sqrt((basis**2).sum(axis=0)))


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
    return without(array, drift_bases(segments, t_r, high_pass_s))


def drift_bases(segments: Sequence[np.ndarray], t_r: float, high_pass_s: float | None) -> Bases:
    """Return every segment and what `remove_drift` takes out of it."""
    return [(rows, drift_basis(len(rows), t_r, high_pass_s)) for rows in segments]


def without(array: np.ndarray, bases: Bases) -> np.ndarray:
    """Project orthonormal bases out of rows, one after the other, ``(n_rows, n_columns)``, float64."""
    out = np.array(array, dtype=np.float64)
    for rows, basis in bases:
        out[rows] -= basis @ (basis.T @ out[rows])
    return out


def turns(bases: Bases, blocks: Sequence[np.ndarray]) -> Bases:
    """Return every block and a map of its rows to as few as it has freedom without the bases, and one more.

    What is taken out of rows leaves them fewer degrees of freedom than rows. Mapped, they keep their inner products and
    a mean of zero, and what the bases span is gone: fits to fewer rows are the same.

    Parameters
    ----------
    bases : sequence of (int ndarray, ndarray)
        A constant of every row's segment among them; rows of one lie in one block, and bases are orthonormal together.
    blocks : sequence of int ndarray

    Returns
    -------
    sequence of (int ndarray (n,), ndarray (n_left + 1, n))
    """
    found = []
    for block in blocks:
        taken = []
        for rows, basis in bases:
            if rows[0] in block:
                taken.append(np.zeros((len(block), basis.shape[1])))
                taken[-1][np.searchsorted(block, rows)] = basis
        lost = np.concatenate(taken, axis=1)
        left = np.linalg.qr(lost, mode="complete")[0][:, lost.shape[1] :]
        # Cosines beside the constant: as many directions as are left, of which each has a mean of zero.
        n_left = left.shape[1]
        found.append((block, _cosines(n_left + 1, n_left + 1)[:, 1:] @ left.T))
    return found


def restore_drift(
    array: np.ndarray, segments: Sequence[np.ndarray], t_r: float, high_pass_s: float | None
) -> np.ndarray:
    """Put back as much as `remove_drift` took of noise: the next cosines stand in for those that are gone.

    Exchanged residuals go through the projection once more. If they had lost what it takes already, they would be less
    slow than the noise that they stand for.

    Parameters
    ----------
    array, segments, t_r, high_pass_s
        As in `remove_drift`; without drift.
    """
    out = np.array(array, dtype=np.float64)
    for rows in segments:
        n_lost = drift_basis(len(rows), t_r, high_pass_s).shape[1]
        basis = _cosines(len(rows), min(2 * n_lost, len(rows)))
        lost, beside = basis[:, :n_lost], basis[:, n_lost:]
        out[rows] += lost[:, : beside.shape[1]] @ (beside.T @ out[rows])
    return out


def restore_nuisance(array: np.ndarray, nuisance: np.ndarray, run: np.ndarray) -> np.ndarray:
    """Put back as much as regressing out nuisance took of noise: regressors turned by half a run stand in for them.

    Turned regressors are as slow as the regressors themselves.

    Parameters
    ----------
    array : ndarray (n_rows, n_columns)
        Without nuisance.
    nuisance : ndarray (n_rows, n_nuisance)
    run : ndarray (n_rows,)
    """
    turned = np.array(nuisance, dtype=np.float64)
    for name in np.unique(run):
        rows = np.flatnonzero(run == name)
        turned[rows] = np.roll(turned[rows], len(rows) // 2, axis=0)
    lost = _directions(nuisance)
    beside = _directions(turned - lost @ (lost.T @ turned))
    shared = min(lost.shape[1], beside.shape[1])
    return np.asarray(array + lost[:, :shared] @ (beside[:, :shared].T @ array))


def _directions(columns: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of columns, the largest direction first."""
    left, size, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(left[:, size > 1e-8 * max(float(size.max(initial=0.0)), 1e-300)])


def nuisance_bases(nuisance: np.ndarray, blocks: Sequence[np.ndarray]) -> Bases:
    """Return every block of rows and what nuisance explains in it, with weights of the block's rows alone.

    Weights that blocks shared would say in one what the other measured. A penalty that is chosen on rows beside others
    would be chosen by that: features with as many columns as rows know the difference by heart.

    Parameters
    ----------
    nuisance : ndarray (n_rows, n_nuisance)
    blocks : sequence of int ndarray
        Rows that share weights.

    Raises
    ------
    UserError
        If a block has fewer than `ROWS_PER_REGRESSOR` rows for each regressor.
    """
    found = []
    for rows in blocks:
        if len(rows) < ROWS_PER_REGRESSOR * nuisance.shape[1]:
            raise UserError(
                f"timing.regress_nuisance: {nuisance.shape[1]} regressors would be taken out of {len(rows)} rows that "
                "are held out together (a test fold, or an inner fold of the training rows), and most of the "
                "responses with them",
                hint="name fewer regressors in `dataset.nuisance`, deal larger folds (`folds.n_splits`, "
                "`head.inner_folds`), or set `timing.regress_nuisance: false`",
            )
        found.append((rows, _directions(nuisance[rows])))
    return found
