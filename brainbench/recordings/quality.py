"""What makes a recording unfit, found before any long work: NaN, units, flat and clipped channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.core.errors import UserError
from brainbench.recordings.channels import names_of

LARGEST_VOLT = 0.05
"""Electrodes on or in a head vary by far less; a larger spread means microvolts that were taken for volts."""
SMALLEST_VOLT = 1e-9
"""No amplifier resolves less; a smaller spread means volts that were scaled twice."""
CLIPPED_SHARE = 0.01
"""Share of samples on a plateau at a channel's own extreme from which on the amplifier counts as saturated."""
PLATEAU = 3
"""Equal neighbouring samples that make a plateau."""


def check_signal(data: np.ndarray, ch_names: Sequence[str], where: str, *, volts: bool = True) -> None:
    """Refuse a recording that no decoder should see.

    Parameters
    ----------
    data : ndarray (n_channels, n_times)
        In volts for electrodes, tesla for magnetometers.
    ch_names : sequence of str
    where : str
        File, for messages.
    volts : bool
        Whether the plausible range of electrodes applies.

    Raises
    ------
    UserError
        With the channels by name.
    """
    finite = np.isfinite(data).all(axis=1)
    if not finite.all():
        bad = [name for name, ok in zip(ch_names, finite, strict=True) if not ok]
        share = float(np.mean(~np.isfinite(data)))
        raise UserError(
            f"{where}: NaN or infinite samples in {names_of(bad)} ({100 * share:.2g} % of all samples)",
            hint="cut them out, or leave the channels out with `dataset.exclude_channels`",
        )
    spread = np.ptp(data, axis=1)
    _refuse(spread == 0, ch_names, where, "flat: every sample is the same")
    scale = float(np.median(np.std(data, axis=1)))
    if volts and scale > LARGEST_VOLT:
        raise UserError(
            f"{where}: channels vary by {scale:.3g} V (median), which no head does: microvolts were taken for volts",
            hint="`--set dataset.unit=microvolt` (eeg-folder), or convert the file",
        )
    if volts and scale < SMALLEST_VOLT:
        raise UserError(
            f"{where}: channels vary by {scale:.3g} V (median), less than any amplifier resolves",
            hint="`--set dataset.unit=volt` (eeg-folder), or convert the file",
        )
    clipped = np.array([_plateau_share(channel) > CLIPPED_SHARE for channel in data])
    _refuse(clipped, ch_names, where, "clipped: the amplifier saturated")


def _plateau_share(channel: np.ndarray) -> float:
    """Return the share of samples that stay at the channel's highest or lowest value for several samples."""
    at_end = (channel == channel.max()) | (channel == channel.min())
    if at_end.mean() <= CLIPPED_SHARE:
        return 0.0
    padded = np.diff(np.concatenate([[0], at_end.astype(np.int8), [0]]))
    lengths = np.flatnonzero(padded == -1) - np.flatnonzero(padded == 1)
    return float(lengths[lengths >= PLATEAU].sum() / len(channel))


def _refuse(bad: np.ndarray, ch_names: Sequence[str], where: str, reason: str) -> None:
    names = [name for name, one in zip(ch_names, bad, strict=True) if one]
    if names:
        listed = ", ".join(names)
        raise UserError(
            f"{where}: {names_of(names)} {'is' if len(names) == 1 else 'are'} {reason}",
            hint=f"leave {'it' if len(names) == 1 else 'them'} out: `--set dataset.exclude_channels=[{listed}]`",
        )
