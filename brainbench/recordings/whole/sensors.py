"""Sensors as networks of any layout read them: place, direction and type, from what a recording says of itself.

Nothing is invented: a sensor without a position is refused, and an axial gradiometer (CTF, KIT) is a gradiometer though
MNE counts its channel among the magnetometers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.recordings.channels import names_of

if TYPE_CHECKING:
    import mne

EEG, MAG, GRAD = range(3)
"""Types of sensors, numbered as the published networks number them."""
ELECTRODES = ("eeg", "seeg", "ecog", "dbs")


@dataclass(frozen=True)
class Sensors:
    """Sensors of a recording.

    Parameters
    ----------
    names : tuple of str
    place : float32 ndarray (n_channels, 6)
        Position, centred and scaled so that its mean squared norm is 1/3 (EEG for itself, all MEG together), then the
        direction that a coil measures; zeros for electrodes.
    kind : int64 ndarray (n_channels,)
        `EEG`, `MAG` or `GRAD`.
    """

    names: tuple[str, ...]
    place: np.ndarray
    kind: np.ndarray

    def digest(self) -> str:
        """Return the digest of all of it."""
        return digest([list(self.names), digest_array(self.place), digest_array(self.kind)])

    def nearest(self, seen: np.ndarray) -> np.ndarray:
        """Return for every sensor the number of the nearest one of `seen` (bool) of its type, of any where none is."""
        apart = np.linalg.norm(self.place[:, None, :3] - self.place[None, :, :3], axis=-1)
        apart = apart + 1e3 * (self.kind[:, None] != self.kind[None]) + 1e6 * ~seen[None]
        return apart.argmin(axis=1)


@dataclass(frozen=True)
class Layout:
    """Where the channels of signals lie, known or not; who needs to know asks for `sensors`.

    Parameters
    ----------
    info : mne.Info
    where : str
        For messages.
    """

    info: mne.Info
    where: str

    def digest(self) -> str:
        """Return the digest of names, coils and positions."""
        chs = self.info["chs"]
        loc = np.nan_to_num(np.array([channel["loc"][:12] for channel in chs]), nan=-1.0)
        return digest([list(self.info["ch_names"]), [int(channel["coil_type"]) for channel in chs], digest_array(loc)])

    def sensors(self) -> Sensors:
        """Return the sensors; see `sensors_of`, which refuses unknown ones."""
        return sensors_of(self.info, self.where)


def sensors_of(info: mne.Info, where: str) -> Sensors:
    """Return place, direction and type of all channels of a recording.

    Parameters
    ----------
    info : mne.Info
        Electrodes, magnetometers and gradiometers alone.
    where : str
        File or data set, for messages.

    Raises
    ------
    UserError
        If positions are unknown, or a channel is none of the three.
    """
    types = info.get_channel_types()
    names = tuple(info["ch_names"])
    others = [name for name, one in zip(names, types, strict=True) if one not in (*ELECTRODES, "mag", "grad")]
    if others:
        raise UserError(f"{where}: {names_of(others)}: no electrode, magnetometer or gradiometer")
    loc = np.array([channel["loc"][:12] for channel in info["chs"]])
    unknown = ~np.isfinite(loc[:, :3]).all(axis=1) | (loc[:, :3] == 0).all(axis=1)
    if unknown.any():
        which = [name for name, gone in zip(names, unknown, strict=True) if gone]
        raise UserError(
            f"{where}: the position of {names_of(which)} is unknown ({len(which)} of {len(names)}), and nothing is "
            "invented",
            hint="`dataset.montage` names an MNE montage whose positions the names stand for (such as standard_1005); "
            "`exclude_channels` leaves channels out",
        )
    coils = [
        "" if one in ELECTRODES else _coil_name(int(channel["coil_type"]))
        for one, channel in zip(types, info["chs"], strict=True)
    ]
    kind = np.array([EEG if not coil else MAG if "MAG" in coil else GRAD for coil in coils])
    direction = np.where(np.array(["PLANAR" in coil for coil in coils])[:, None], loc[:, 3:6], loc[:, 9:12])
    direction[kind == EEG] = 0
    place = loc[:, :3].copy()
    for together in (kind == EEG, kind != EEG):
        if together.any():
            place[together] = _scaled(place[together])
    return Sensors(names, np.hstack([place, direction]).astype(np.float32), kind.astype(np.int64))


def _scaled(place: np.ndarray) -> np.ndarray:
    """Return positions around their mean, scaled so that their mean squared norm is 1/3."""
    centred = place - place.mean(axis=0)
    size = np.sqrt(3 * (centred**2).sum(axis=1).mean())
    return centred / size if size > 0 else centred


def _coil_name(number: int) -> str:
    """Return what MNE calls a coil: the names decide between magnetometers and gradiometers, not the units.

    CTF files keep the grade of compensation in the upper two bytes of the number.
    """
    number &= 0xFFFF
    if number not in _coils():
        raise UserError(f"coil type {number} is not known to this release of MNE")
    return _coils()[number]


@cache
def _coils() -> dict[int, str]:
    from mne.io.constants import FIFF

    return {int(value): name for name, value in FIFF.items() if name.startswith("FIFFV_COIL_")}


def normalised(X: np.ndarray, kind: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """Return segments as networks read them: type by type the mean over sensors taken out, and one scale.

    Parameters
    ----------
    X : ndarray (n_segments, n_channels, n_times)
        Volts or tesla.
    kind : ndarray (n_channels,)
        Type of each sensor.
    seen : bool ndarray (n_channels,), optional
        Sensors whose mean and standard deviation count; without it all. What is withheld must not be among them, since
        a mean over all sensors gives part of it away.

    Returns
    -------
    float32 ndarray
        A flat segment stays zero.
    """
    found = np.empty(X.shape, dtype=np.float32)
    counts = np.ones(len(kind), dtype=bool) if seen is None else seen
    for one in np.unique(kind):
        mine = kind == one
        among = mine & counts if (mine & counts).any() else mine
        centred = X[:, mine] - X[:, among].mean(axis=1, keepdims=True)
        scale = centred[:, among[mine]].std(axis=(1, 2), keepdims=True)
        found[:, mine] = np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 0)
    return found


def interpolated(X: np.ndarray, info: mne.Info, seen: np.ndarray) -> np.ndarray:
    """Return segments whose unseen channels MNE has interpolated from the others (electrodes: spherical splines).

    Parameters
    ----------
    X : ndarray (n_segments, n_channels, n_times)
    info : mne.Info
    seen : bool ndarray (n_channels,)
    """
    import mne

    bads = [name for name, known in zip(info["ch_names"], seen, strict=True) if not known]
    epochs = mne.EpochsArray(X, info.copy(), verbose="ERROR")
    epochs.info["bads"] = bads
    found: np.ndarray = epochs.interpolate_bads(reset_bads=True, verbose="ERROR").get_data(copy=False)
    return found


def withheld_parts(n_channels: int, n_parts: int, seed: int) -> Sequence[Any]:
    """Return masks of the sensors that are seen ``(n_channels,)`` bool: every sensor is withheld in one of them."""
    order = np.random.default_rng([seed, n_channels]).permutation(n_channels)
    masks = []
    for part in np.array_split(order, min(n_parts, n_channels)):
        seen = np.ones(n_channels, dtype=bool)
        seen[part] = False
        masks.append(seen)
    return masks
