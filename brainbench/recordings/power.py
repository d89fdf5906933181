"""Log band power of pieces of signal, and groups of electrodes by their 10-10 names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from brainbench.core.errors import UserError, did_you_mean, one_of

TINY = 1e-40
"""Volts or tesla squared; far below what any amplifier resolves, and any SQUID."""

_ROWS = {
    "frontal": ("Fp", "AF", "F"),
    "central": ("FC", "C", "CP"),
    "temporal": ("FT", "T", "TP"),
    "parietal": ("P",),
    "occipital": ("PO", "O", "I"),
}


LONGEST_S = 60.0
"""Of a run's middle: so much says what a spectrum looks like."""
HIGHEST_HZ = 120.0


def densities(pieces: Sequence[np.ndarray], sfreq: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the power density of every channel by Welch's method in windows of 2 s, mean over pieces.

    Parameters
    ----------
    pieces : sequence of ndarray (n_channels, n_times)
        Volts.
    sfreq : float
        Hz.

    Returns
    -------
    frequencies : ndarray (n_frequencies,)
        Hz, from the second one on and up to `HIGHEST_HZ`: the first one holds the mean.
    density : ndarray (n_channels, n_frequencies)
        Volts squared per Hz.
    """
    from scipy.signal import welch

    window = min(round(2 * sfreq), min(piece.shape[1] for piece in pieces))
    longest = max(window, round(LONGEST_S * sfreq))
    found = []
    for piece in pieces:
        start = max(0, (piece.shape[1] - longest) // 2)
        frequencies, density = welch(piece[:, start : start + longest], sfreq, nperseg=window)
        found.append(density)
    kept = (frequencies > 0) & (frequencies <= HIGHEST_HZ)
    return frequencies[kept], np.mean(found, axis=0)[:, kept]


def log_band_power(X: np.ndarray, sfreq: float, bands: Sequence[Sequence[float]]) -> np.ndarray:
    """Return log10 of the power in bands, by multitaper spectra of each piece alone: no filter reaches beyond it.

    Parameters
    ----------
    X : ndarray (n_trials, n_channels, n_times)
        Volts; the mean of each piece is taken out.
    sfreq : float
        Hz.
    bands : sequence of (low, high)
        Hz.

    Returns
    -------
    ndarray (n_trials, n_channels, n_bands)
        log10 of volts squared.

    Raises
    ------
    UserError
        If a band does not fit the rate, or is narrower than the piece resolves.
    """
    from mne.time_frequency import psd_array_multitaper

    seconds = X.shape[-1] / sfreq
    for low, high in bands:
        if high >= sfreq / 2:
            raise UserError(f"power in {low:g}-{high:g} Hz needs more than {2 * high:g} samples per second")
        if high - low < 1 / seconds or low < 1 / seconds:
            raise UserError(
                f"power in {low:g}-{high:g} Hz cannot be told from {seconds:g} s, which resolve {1 / seconds:.2g} Hz"
            )
    centred = np.asarray(X, dtype=np.float64)
    centred = centred - centred.mean(axis=-1, keepdims=True)
    density, frequencies = psd_array_multitaper(centred, sfreq, bandwidth=4 / seconds, verbose="ERROR")
    width = frequencies[1] - frequencies[0]
    power = [
        density[..., (frequencies >= low - width / 2) & (frequencies < high + width / 2)].sum(axis=-1) * width
        for low, high in bands
    ]
    return np.log10(np.stack(power, axis=-1) + TINY)


def electrode_groups(
    ch_names: Sequence[str], groups: Mapping[str, Sequence[str]] | None, where: str
) -> dict[str, np.ndarray]:
    """Return which channels are in each group, ``{name: bool (n_channels,)}``.

    Without `groups` the 10-10 names say it: frontal, central (left, middle, right), temporal, parietal, occipital.

    Raises
    ------
    UserError
        If a group names a channel that is not there, or no name is one of the 10-10 system.
    """
    if groups is not None:
        for group, members in groups.items():
            missing = [name for name in members if name not in ch_names]
            if missing:
                raise UserError(
                    f"{where}: band_power.groups.{group}: no channel '{missing[0]}'"
                    f"{did_you_mean(missing[0], ch_names)}",
                    hint=f"it has: {one_of(ch_names)}",
                )
        return {group: np.isin(ch_names, list(members)) for group, members in groups.items()}
    found: dict[str, np.ndarray] = {}
    for index, name in enumerate(ch_names):
        parts = re.fullmatch(r"([A-Za-z]+?)(\d{1,2}|z)", name)
        row = next((row for row, starts in _ROWS.items() if parts and parts[1] in starts), None)
        if row is None or parts is None:
            continue
        if row == "central":
            row = "central_middle" if parts[2] == "z" else f"central_{('right', 'left')[int(parts[2]) % 2]}"
        found.setdefault(row, np.zeros(len(ch_names), dtype=bool))[index] = True
    if not found:
        raise UserError(
            f"{where}: no channel name is one of the 10-10 system, so electrodes cannot be grouped by name",
            hint="name them with `dataset.band_power.groups`",
        )
    order = [*_ROWS, "central_left", "central_middle", "central_right"]
    return {name: found[name] for name in sorted(found, key=order.index)}
