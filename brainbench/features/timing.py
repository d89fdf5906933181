"""From features of words or frames to one row per volume, delayed as blood flow delays them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.data.haemodynamics import response_at

LOBES = 3
"""Lobes of the Lanczos window."""


def to_rows(
    features: np.ndarray,
    onset: np.ndarray,
    duration: np.ndarray | None,
    row_time: np.ndarray,
    t_r: float,
    *,
    resample: str = "sum",
    hrf: str = "glover",
    delays_s: Sequence[float] = (),
) -> np.ndarray:
    """Bring features to the times of the volumes.

    Parameters
    ----------
    features : ndarray (n_stimuli, n_features)
    onset, duration : ndarray (n_stimuli,)
        Seconds, on the clock of `row_time`; `duration` may be None.
    row_time : ndarray (n_rows,)
        When each volume was measured, seconds.
    t_r : float
        Seconds between volumes.
    resample : {"sum", "mean", "lanczos"}
        ``sum``: an impulse at every onset, so that the number of words is part of the features and the response is
        exact: ``X = H @ features`` with ``H[k, w] = hrf(row_time[k] - onset[w])``. ``mean``: the mean over the words
        of each volume's window (0 where there is none). ``lanczos``: band-limited to the volumes' Nyquist frequency
        (Huth et al. 2016).
    hrf : {"glover", "spm", "none"}
    delays_s : sequence of float
        FIR delays in seconds, with ``hrf="none"``: copies side by side, zeros before the start, nothing wraps.

    Returns
    -------
    float32 ndarray (n_rows, n_features * max(1, n_delays))
    """
    features = np.asarray(features, dtype=np.float64)
    onset, row_time = np.asarray(onset, dtype=float), np.asarray(row_time, dtype=float)
    if delays_s:
        copies = [_sample(features, onset, row_time - delay, t_r, resample) for delay in delays_s]
        return np.concatenate(copies, axis=1).astype(np.float32)
    if hrf == "none":
        return _sample(features, onset, row_time, t_r, resample).astype(np.float32)
    if resample == "sum":
        weights = response_at(row_time[:, None] - onset[None, :], hrf)
        return np.asarray(weights @ features, dtype=np.float32)
    # On a grid of volumes that begins early enough for the first row to remember what came before it.
    before = int(np.ceil(max(0.0, row_time[0] - onset.min()) / t_r)) if len(onset) else 0
    grid = np.concatenate([row_time[0] - t_r * np.arange(before, 0, -1), row_time])
    sampled = _sample(features, onset, grid, t_r, resample)
    weights = response_at(row_time[:, None] - grid[None, :], hrf) * t_r
    return np.asarray(weights @ sampled, dtype=np.float32)


def _sample(features: np.ndarray, onset: np.ndarray, times: np.ndarray, t_r: float, resample: str) -> np.ndarray:
    """Return features at `times` without a haemodynamic response, ``(n_times, n_features)``."""
    if resample == "lanczos":
        lag = (times[:, None] - onset[None, :]) / t_r
        return np.asarray((np.sinc(lag) * np.sinc(lag / LOBES) * (np.abs(lag) < LOBES)) @ features)
    if resample not in ("sum", "mean"):
        raise ValueError(f"resample must be sum, mean or lanczos, got {resample!r}")
    # A volume's window ends when the volume is measured: nothing of the future is in it.
    inside = (onset[None, :] > times[:, None] - t_r) & (onset[None, :] <= times[:, None])
    total = inside @ features
    if resample == "sum":
        return np.asarray(total)
    return np.asarray(total / np.maximum(inside.sum(axis=1, keepdims=True), 1))
