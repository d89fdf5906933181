"""Pieces that were recorded one after another: a run of films, or of trials that were cut before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.errors import UserError

if TYPE_CHECKING:
    import mne


def joined_pieces(
    pieces: Sequence[tuple[np.ndarray, str]], ch_types: Mapping[str, str], sfreq: float
) -> tuple[mne.io.BaseRaw, np.ndarray]:
    """Join pieces; what lies between them was not recorded, which filters and trials heed.

    Parameters
    ----------
    pieces : sequence of (samples, where)
        ``(n_channels, n_times)`` in volts, and what messages call it.
    ch_types : mapping of str to str
        Name of every channel, in order, and its kind.
    sfreq : float
        Hz.

    Returns
    -------
    raw : mne.io.BaseRaw
    starts : ndarray (n_pieces,)
        Seconds at which each begins.

    Raises
    ------
    UserError
        If a piece has another number of channels.
    """
    import mne

    info = mne.create_info(list(ch_types), sfreq, "misc", verbose="ERROR")
    raws, lengths = [], []
    for samples, where in pieces:
        if len(samples) != len(ch_types):
            raise UserError(f"{where}: {len(samples)} channels, where the data set has {len(ch_types)}")
        raws.append(mne.io.RawArray(samples, info.copy(), verbose="ERROR"))
        lengths.append(samples.shape[1])
    raw = mne.concatenate_raws(raws, verbose="ERROR") if len(raws) > 1 else raws[0]
    raw.set_channel_types(dict(ch_types), on_unit_change="ignore", verbose="ERROR")
    return raw, np.concatenate([[0.0], np.cumsum(lengths[:-1])]) / sfreq
