"""Trials as stimuli, and the band power of their electrodes as responses.

Responses are of the part that encoders read (what do their layers keep?), or of a later one (what do they foretell?).
What encoders read was filtered on the continuous run, and a zero-phase filter carries later signal into it: a later
part starts only after the filter's reach. Its spectra are taken of that part alone, unfiltered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError
from brainbench.data.base import Responses, Stimuli
from brainbench.recipes.datasets import RecordingSettings
from brainbench.recordings.power import electrode_groups, log_band_power
from brainbench.recordings.whole.sensors import Layout

if TYPE_CHECKING:
    from brainbench.recordings.base import RecordingDataset


def filter_reach(sfreq: float, band: list[float] | None, method: str) -> float | None:
    """Return how far a zero-phase filter carries a signal into the past, in seconds; None where it has no end."""
    if band is None:
        return 0.0
    if method != "fir":
        return None
    from mne.filter import create_filter

    taps = create_filter(None, sfreq, band[0] or None, band[1], verbose="ERROR")
    return float((len(taps) - 1) / 2 / sfreq)


def pair_signals(dataset: RecordingDataset, subject: str) -> tuple[Stimuli, Responses]:
    """Return stimuli and responses of one subject; only trials that have all of both parts are kept.

    Raises
    ------
    UserError
        If the filter reaches from the later part into the earlier one, or a group or band does not fit.
    """
    settings = dataset.settings
    power = settings.band_power
    assert power is not None
    low, high = settings.tmin, settings.tmax
    if power.tmin is not None and power.tmax is not None:
        low, high = power.tmin, power.tmax
    span = (settings.tmin, high)
    read = dataset.trials(subject, span=span)
    if power.tmin is not None:
        _check_gap(settings, read.sfreq, low)
    untouched = dataset.trials(subject, span=span, unfiltered=True)
    n_read = round((settings.tmax - settings.tmin) * read.sfreq)
    start = round((low - settings.tmin) * read.sfreq)
    later = untouched.X[:, :, start : start + round((high - low) * read.sfreq)]
    values = log_band_power(later, read.sfreq, list(power.bands.values()))
    several = len(set(read.session)) > 1
    run = np.char.add(np.char.add(read.session, "/"), read.run) if several else read.run
    if power.detrend:
        values = _without_trend(values, run, read.onset)
    signals = np.ascontiguousarray(read.X[:, :, :n_read], dtype=np.float32)
    groups = electrode_groups(read.ch_names, power.groups, subject)
    n, n_channels, n_bands = values.shape
    band_of = np.tile(np.arange(n_bands), n_channels)
    stimuli = Stimuli(
        ids=[f"{subject}/{r}/{trial}" for r, trial in zip(run, read.trial, strict=True)],
        modality="array",
        load=signals.__getitem__,
        content_digests=[digest_array(one) for one in signals],
        labels={"label": read.label},
        source=f"trials, {settings.tmin:g} to {settings.tmax:g} s after the event",
        sfreq=read.sfreq,
        layout=Layout(read.info, f"{dataset.name}, {subject}"),
    )
    responses = Responses(
        subject=subject,
        data=values.reshape(n, -1),
        stimulus=np.arange(n),
        run=run,
        rois={
            f"{group} {name}": np.repeat(mask, n_bands) & (band_of == index)
            for group, mask in groups.items()
            for index, name in enumerate(power.bands)
        },
        labels={"label": read.label, "session": read.session},
        notes=[
            f"encoders read {n_channels} channels, {settings.tmin:g} to {settings.tmax:g} s after the event",
            f"targets: log10 power of each channel and band, {low:g} to {high:g} s after the event"
            + (", linear trend of each run removed" if power.detrend else ""),
        ],
        account=dataset.account(subject, span),
    )
    return stimuli, responses


def _check_gap(settings: RecordingSettings, sfreq: float, start: float) -> None:
    """Refuse a later part that the filter has carried into what encoders read."""
    reach = filter_reach(sfreq, settings.band, settings.filter)
    if reach is None:
        raise UserError(
            "dataset.filter: an IIR filter with zero phase has no end: what is predicted would stand in what is read",
            hint="take `filter: fir` with a later `band_power.tmin`",
        )
    if start - settings.tmax < reach:
        raise UserError(
            f"dataset.band_power.tmin: the filter of {settings.band} Hz carries signals {reach:.2f} s into the past, "
            f"so what is predicted must start {reach:.2f} s after `tmax` ({settings.tmax:g} s) or later",
            hint=f"`band_power.tmin` of {settings.tmax + reach:.2f} or more, or a shorter `tmax`",
        )


def _without_trend(values: np.ndarray, run: np.ndarray, onset: np.ndarray) -> np.ndarray:
    """Take the linear trend over time out of every run, and its mean: a run's level is its electrodes' as well."""
    out = np.empty_like(values)
    for name in np.unique(run):
        rows = np.flatnonzero(run == name)
        design = np.column_stack([np.ones(len(rows)), onset[rows] - onset[rows].mean()])
        flat = values[rows].reshape(len(rows), -1)
        out[rows] = (flat - design @ np.linalg.lstsq(design, flat, rcond=None)[0]).reshape(len(rows), *values.shape[1:])
    return out
