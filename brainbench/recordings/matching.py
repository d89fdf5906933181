"""Makes a new recording fit what a decoder was trained on, or says why it cannot: channels, positions, rate, scale."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import mne

FARTHEST_METRE = 0.03
"""Caps sit differently from day to day, by less than this; a channel farther off is another place of the head."""
LARGEST_RATIO = 100.0
"""Amplitudes differ between people and days, by less than this; units differ by more."""


_OLD = {"t3": "t7", "t4": "t8", "t5": "p7", "t6": "p8"}
"""Names of the 10-20 system that the 10-10 system renamed."""


def plain_name(name: str) -> str:
    """Return a channel's name without what differs between exports of one cap: dots, case, spaces, age."""
    bare = re.sub(r"^(eeg|pol)[ _-]+", "", name.strip().lower())
    bare = re.sub(r"[.\s_]+", "", bare)
    bare = re.sub(r"-(ref|le|avg|ar)$", "", bare)
    return _OLD.get(bare, bare)


def rename_as(raw: mne.io.BaseRaw, wanted: Sequence[str], where: str) -> list[str]:
    """Give channels the names of `wanted` where they differ by dots, case, spaces or age only, in place.

    Returns
    -------
    list of str
        What was renamed.

    Raises
    ------
    UserError
        If two channels could bear the same name.
    """
    there = list(raw.ch_names)
    free: dict[str, list[str]] = {}
    for name in there:
        if name not in wanted:
            free.setdefault(plain_name(name), []).append(name)
    renamed = {}
    for name in wanted:
        if name in there:
            continue
        like = free.get(plain_name(name), [])
        if len(like) > 1:
            raise UserError(f"{where}: {' and '.join(like)} could both be channel {name}", hint="rename one of them")
        if like:
            renamed[like[0]] = name
    raw.rename_channels(renamed, verbose="ERROR")
    return [f"channels renamed: {_some([f'{old} is {new}' for old, new in renamed.items()])}"] if renamed else []


def positions_of(info: Any) -> np.ndarray | None:
    """Return ``(n_channels, 3)`` in metres, or None where any is unknown."""
    places = np.array([channel["loc"][:3] for channel in info["chs"]])
    known = np.isfinite(places).all() and bool(np.any(places != 0, axis=1).all())
    return places if known else None


def name_as_trained(raw: mne.io.BaseRaw, wanted: Sequence[str], where: str) -> list[str]:
    """Call channels as training did, in place; return what changes when they are kept in its order.

    Raises
    ------
    UserError
        If a channel is missing, with the nearest that is there.
    """
    wanted = list(wanted)
    notes = rename_as(raw, wanted, where)
    there = list(raw.ch_names)
    missing = [name for name in wanted if name not in there]
    extra = [name for name in there if name not in wanted]
    if missing:
        one = len(missing) == 1
        raise UserError(
            f"{where}: {len(missing)} of the {len(wanted)} channels that the decoder was trained on "
            f"{'is' if one else 'are'} missing: {_some(missing)}{did_you_mean(missing[0], extra)}",
            hint=f"the recording has {_some(extra)} besides"
            if extra
            else "run the recipe with `dataset.channels` naming those that all recordings have",
        )
    if extra:
        notes.append(f"{len(extra)} further channel{'s' * (len(extra) > 1)} left out: {_some(extra)}")
    if [name for name in there if name in wanted] != wanted:
        notes.append("channels brought into the order of training")
    return notes


def check_positions(new: mne.Info, trained: mne.Info, where: str) -> None:
    """Refuse channels that stand elsewhere than those of the same name in training, where both are known.

    Raises
    ------
    UserError
        With the channel that is farthest off.
    """
    here, there = positions_of(new), positions_of(trained)
    if here is None or there is None:
        return
    distance = np.linalg.norm(here - there, axis=1)
    far = int(distance.argmax())
    if distance[far] > FARTHEST_METRE:
        raise UserError(
            f"{where}: another montage: {trained['ch_names'][far]} stands {100 * distance[far]:.1f} cm from where it "
            f"stood in training ({int(np.sum(distance > FARTHEST_METRE))} channels are off by more than "
            f"{100 * FARTHEST_METRE:g} cm)",
            hint="are the channels named right?",
        )


def check_rate(sfreq: float, trained: float, bands: list[list[float] | None], where: str) -> list[str]:
    """Return what is said of another sampling rate.

    Raises
    ------
    UserError
        If the recording is too slow for what the decoder reads.
    """
    if sfreq == trained:
        return []
    if sfreq < trained:
        for band in bands:
            if band is None or band[1] >= sfreq / 2:
                top = f"up to {band[1]:g} Hz" if band else "unfiltered"
                raise UserError(
                    f"{where}: {sfreq:g} samples per second; the decoder was trained on signals {top} at {trained:g}, "
                    "which the recording does not hold"
                )
    return [f"resampled from {sfreq:g} to {trained:g} Hz, after filtering"]


def check_scale(X: np.ndarray, trained: float, where: str) -> None:
    """Refuse signals that are far larger or smaller than those of training: another unit, most likely.

    Parameters
    ----------
    X : ndarray (..., n_channels, n_times)
        Filtered.
    trained : float
        Spread of training trials, see `spread`.

    Raises
    ------
    UserError
        With the ratio.
    """
    ratio = spread(X) / trained
    if 1 / LARGEST_RATIO < ratio < LARGEST_RATIO:
        return
    larger = ratio > 1
    times = ratio if larger else 1 / ratio
    raise UserError(
        f"{where}: signals are {times:.3g} times {'larger' if larger else 'smaller'} than in training "
        f"({spread(X):.3g} against {trained:.3g} V): another unit?",
        hint="a recording in memory is in volts; microvolts are 1,000,000 times larger",
    )


def check_amplitudes(spreads: Mapping[str, float]) -> None:
    """Refuse recordings of which one is far larger than another: their units differ, most likely.

    Parameters
    ----------
    spreads : mapping of str to float
        By name of the file or person, see `spread`.

    Raises
    ------
    UserError
        With the two that differ most.
    """
    low, high = min(spreads, key=lambda name: spreads[name]), max(spreads, key=lambda name: spreads[name])
    if spreads[high] >= LARGEST_RATIO * spreads[low]:
        raise UserError(
            f"{high}: signals are {spreads[high] / spreads[low]:.3g} times larger than in {low} "
            f"({spreads[high]:.3g} against {spreads[low]:.3g} V): another unit?",
            hint="convert one of the files: microvolts are 1,000,000 times larger than volts",
        )


def spread(X: np.ndarray) -> float:
    """Return the median over channels of the standard deviation over samples, ``(..., n_channels, n_times)``."""
    deviation = X.std(axis=-1)
    return float(np.median(deviation))


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
