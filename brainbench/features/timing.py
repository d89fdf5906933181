"""From features of words or frames to one row per volume, delayed as blood flow delays them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.data.haemodynamics import response_at, response_table, response_until

LOBES = 3
"""Lobes of the Lanczos window."""

LONG_S = 2.0
"""Words of at most this length are impulses unless a recipe says otherwise: their number counts, not their length."""

_PIECES = 8
"""Pieces of a volume's time in which a stimulus that lasts is held against the Lanczos window."""

_AT_ONCE = 1 << 24
"""Weights of words for volumes held at once (128 MB); beyond, volumes are taken in stretches, with the words near."""

Durations = Literal["auto", "use", "ignore"]


def acting_durations(stimuli: Stimuli, durations: Durations) -> np.ndarray | None:
    """Return how long each stimulus acts, ``(n_stimuli,)`` seconds, or None where each is an impulse at its onset.

    Parameters
    ----------
    stimuli : Stimuli
    durations : {"auto", "use", "ignore"}
        ``auto`` uses durations, except those of words of at most `LONG_S`.

    Raises
    ------
    UserError
        If some stimuli last and others do not: an impulse has no length to be weighed against theirs.
    """
    if stimuli.duration is None or durations == "ignore" or not np.any(stimuli.duration):
        if durations == "use":
            raise UserError(f"timing.durations: use, but {stimuli.source} gives no durations")
        return None
    duration = np.asarray(stimuli.duration, dtype=float)
    if durations == "auto" and stimuli.modality == "word" and duration.max() <= LONG_S:
        return None
    if np.any(duration == 0):
        first = int(np.flatnonzero(duration == 0)[0])
        raise UserError(
            f"{stimuli.source}: '{stimuli.ids[first]}' has duration 0 s ({int(np.sum(duration == 0))} such stimuli), "
            f"others last up to {duration.max():g} s: a moment has no response beside that of a stay",
            hint="give every stimulus the time it was shown, or set `timing.durations: ignore` for impulses",
        )
    return duration


def timing_note(stimuli: Stimuli, durations: Durations) -> str:
    """Return what the report says of the stimuli's durations."""
    acting = acting_durations(stimuli, durations)
    if acting is not None:
        return f"stimuli act from onset to end ({acting.min():.3g} to {acting.max():.3g} s, `timing.durations`)"
    if stimuli.duration is None or not np.any(stimuli.duration):
        return "stimuli act as impulses at their onsets: no durations are given"
    longest = float(np.max(stimuli.duration))
    return f"stimuli act as impulses at their onsets; durations up to {longest:.3g} s are not used (`timing.durations`)"


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
        Seconds, on the clock of `row_time`. Without `duration` every stimulus is an impulse at its onset; with it, it
        acts all the time until its end, see `acting_durations`.
    row_time : ndarray (n_rows,)
        When each volume was measured, seconds; in any order, for not everybody hears the runs in that of the clock.
    t_r : float
        Seconds between volumes.
    resample : {"sum", "mean", "lanczos"}
        ``sum``: an impulse at every onset, so that the number of words is part of the features and the response is
        exact: ``X = H @ features`` with ``H[k, w] = hrf(row_time[k] - onset[w])``, or its integral over the stimulus.
        ``mean``: the mean over the words of each volume's window (0 where there is none), weighed by the time they last
        in it. ``lanczos``: band-limited to the volumes' Nyquist frequency (Huth et al. 2016).
    hrf : {"glover", "spm", "none"}
    delays_s : sequence of float
        FIR delays in seconds, with ``hrf="none"``: copies side by side, zeros before the start, nothing wraps.

    Returns
    -------
    float32 ndarray (n_rows, n_features * max(1, n_delays))
    """
    onset, row_time = np.asarray(onset, dtype=float), np.asarray(row_time, dtype=float)
    if np.any(np.diff(row_time) < 0):  # what follows looks back from one volume to the one before
        order = np.argsort(row_time, kind="stable")
        rising = to_rows(
            features, onset, duration, row_time[order], t_r, resample=resample, hrf=hrf, delays_s=delays_s
        )  # fmt: skip
        return rising[np.argsort(order)]
    if len(onset) * len(row_time) > _AT_ONCE:
        return _in_stretches(
            features, onset, duration, row_time, t_r, resample=resample, hrf=hrf, delays_s=delays_s
        )  # fmt: skip
    features = np.asarray(features, dtype=np.float64)
    end = None if duration is None else onset + np.asarray(duration, dtype=float)
    if delays_s:
        copies = [_sample(features, onset, end, row_time - delay, t_r, resample) for delay in delays_s]
        return np.concatenate(copies, axis=1).astype(np.float32)
    if hrf == "none":
        return _sample(features, onset, end, row_time, t_r, resample).astype(np.float32)
    if resample == "sum":
        since = row_time[:, None] - onset[None, :]
        if end is None:
            weights = response_at(since, hrf)
        else:
            weights = response_until(since, hrf) - response_until(row_time[:, None] - end[None, :], hrf)
        return np.asarray(weights @ features, dtype=np.float32)
    spread = LOBES * t_r if resample == "lanczos" else 0.0  # its lobes begin before the stimulus
    grid = _grid(row_time, onset - spread, t_r, response_table(hrf)[0][-1])
    sampled = _sample(features, onset, end, grid, t_r, resample)
    weights = response_at(row_time[:, None] - grid[None, :], hrf) * t_r
    return np.asarray(weights @ sampled, dtype=np.float32)


def _grid(row_time: np.ndarray, onset: np.ndarray, t_r: float, response_s: float) -> np.ndarray:
    """Return times of volumes that begin early enough for the first row of every run to remember what came before."""
    before = int(np.ceil(max(0.0, row_time[0] - onset.min()) / t_r)) if len(onset) else 0
    pieces, done = [row_time[0] - t_r * np.arange(before, 0, -1)], 0
    for start in np.flatnonzero(np.diff(row_time) > 1.5 * t_r) + 1:
        free = int((row_time[start] - row_time[start - 1]) / t_r - 0.5)
        steps = np.arange(min(free, int(np.ceil(response_s / t_r))), 0, -1)
        pieces += [row_time[done:start], row_time[start] - t_r * steps]
        done = int(start)
    return np.concatenate([*pieces, row_time[done:]])


def _in_stretches(
    features: np.ndarray, onset: np.ndarray, duration: np.ndarray | None, row_time: np.ndarray, t_r: float,
    *, resample: str, hrf: str, delays_s: Sequence[float],
) -> np.ndarray:  # fmt: skip
    """Return what `to_rows` does of a long recording, some volumes at a time: words far from them have no weight."""
    ends = onset if duration is None else onset + np.asarray(duration, dtype=float)
    # What reaches a volume: words that ended this long before it, or begin this long after (Lanczos' lobes).
    response = 0.0 if hrf == "none" else float(response_table(hrf)[0][-1])
    around = (LOBES + 1) * t_r
    before = response + max([0.0, *delays_s]) + around
    after = around - min([0.0, *delays_s])
    rows: list[np.ndarray] = []
    width = features.shape[1] * max(1, len(delays_s))
    last_end = np.maximum.accumulate(ends)
    start = 0
    while start < len(row_time):
        stop = start + 1
        first = int(np.searchsorted(last_end, row_time[start] - before))
        while stop < len(row_time):
            last = int(np.searchsorted(onset, row_time[stop] + after, side="right"))
            if (last - first) * (stop + 1 - start) > _AT_ONCE:
                break
            stop += 1
        last = int(np.searchsorted(onset, row_time[stop - 1] + after, side="right"))
        near = slice(first, last)
        if first < last:
            rows.append(
                to_rows(
                    features[near], onset[near], None if duration is None else duration[near], row_time[start:stop],
                    t_r, resample=resample, hrf=hrf, delays_s=delays_s,
                )
            )  # fmt: skip
        else:
            rows.append(np.zeros((stop - start, width), dtype=np.float32))
        start = stop
    return np.concatenate(rows)


def _sample(
    features: np.ndarray, onset: np.ndarray, end: np.ndarray | None, times: np.ndarray, t_r: float, resample: str
) -> np.ndarray:
    """Return features at `times` without a haemodynamic response, ``(n_times, n_features)``."""
    if resample == "lanczos":
        return np.asarray(_lanczos(onset, end, times, t_r) @ features)
    if resample not in ("sum", "mean"):
        raise ValueError(f"resample must be sum, mean or lanczos, got {resample!r}")
    # A volume's window ends when the volume is measured: nothing of the future is in it.
    if end is None:
        weights = ((onset[None, :] > times[:, None] - t_r) & (onset[None, :] <= times[:, None])).astype(float)
    else:
        first, last = np.maximum(times[:, None] - t_r, onset[None, :]), np.minimum(times[:, None], end[None, :])
        weights = np.maximum(last - first, 0)
    total = weights @ features
    if resample == "sum":
        return np.asarray(total)
    size = weights.sum(axis=1, keepdims=True)
    return np.asarray(total / np.where(size > 0, size, 1))


def _lanczos(onset: np.ndarray, end: np.ndarray | None, times: np.ndarray, t_r: float) -> np.ndarray:
    """Return the weight of every stimulus at every time, ``(n_times, n_stimuli)``."""

    def window(at: np.ndarray) -> np.ndarray:
        lag = (times[:, None] - at[None, :]) / t_r
        return np.asarray(np.sinc(lag) * np.sinc(lag / LOBES) * (np.abs(lag) < LOBES))

    if end is None:
        return window(onset)
    # A stimulus that lasts is a row of impulses, each at the middle of the piece it stands for.
    n_pieces = np.maximum(np.ceil((end - onset) / t_r * _PIECES).astype(int), 1)
    weights = np.zeros((len(times), len(onset)))
    for piece in range(int(n_pieces.max(initial=0))):
        still = np.flatnonzero(n_pieces > piece)
        length = (end[still] - onset[still]) / n_pieces[still]
        weights[:, still] += window(onset[still] + (piece + 0.5) * length) * length / t_r
    return weights
