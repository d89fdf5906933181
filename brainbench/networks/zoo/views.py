"""Views of a trial that keep its meaning: sign, a small shift in frequency, and reflection across the midline.

Reflection exchanges the hemispheres, so a left-hand trial becomes a right-hand one: labels swap where a swap is
declared. Reflect before Euclidean alignment: alignment mixes channels, and the two do not commute.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from brainbench.core.errors import UserError, did_you_mean, one_of

# Only areas of the 10-10 and 10-5 systems: E1, E2 of a geodesic net or A3, B7 of a Biosemi cap are no mirror pairs.
_NUMBERED = re.compile(
    r"(?P<area>NZ?|FP|AFP|AFF?|FF[CT]|F[CT]?|FTT|FCC|T|TTP|TPP?|C|CCP|CPP?|P|PPO|POO?|O|OI|I|CB|[AM](?=[12]$))"
    r"(?P<number>\d+|Z)(?P<rest>H?)"
)


class View(Protocol):
    """A function of trials ``(n_trials, n_channels, n_times)`` and labels that changes neither in place."""

    def __call__(self, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the view of the trials, and the labels it has."""
        ...


@dataclass(frozen=True)
class SignFlip:
    """The time view of MVCNet: ``x -> -x``. An involution that keeps every norm."""

    def __call__(self, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the view."""
        return -X, y


@dataclass(frozen=True)
class FrequencyShift:
    """The frequency view: every component moves up by `shift_hz`.

    ``Re( (x + i H x) exp(2 pi i shift t) )`` with H the Hilbert transform. Power is kept up to what leaks at the ends
    of the window; the opposite shift undoes it as far as the signal stays away from 0 Hz and Nyquist.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz. (The released code uses 250 for every recording, so that 0.1 Hz is 0.205 Hz at 512 Hz.)
    shift_hz : float
    """

    sfreq: float
    shift_hz: float = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sfreq) and self.sfreq > 0):
            raise UserError(f"a shift in frequency needs the sampling rate in Hz, not {self.sfreq!r}")

    def __call__(self, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the view."""
        n = X.shape[-1]
        # The analytic signal: negative frequencies out, positive ones doubled, 0 and Nyquist once.
        weight = torch.zeros(n, dtype=X.dtype, device=X.device)
        weight[0] = 1
        weight[1 : (n + 1) // 2] = 2
        if n % 2 == 0:
            weight[n // 2] = 1
        analytic = torch.fft.ifft(torch.fft.fft(X) * weight)
        angle = 2 * math.pi * self.shift_hz / self.sfreq * torch.arange(n, dtype=torch.float64, device="cpu")
        cosine, sine = (part.to(device=X.device, dtype=X.dtype) for part in (angle.cos(), angle.sin()))
        return analytic.real * cosine - analytic.imag * sine, y


class Reflection:
    """The space view: left and right electrodes change places, and so do the labels that `label_swap` names.

    Parameters
    ----------
    order : sequence of int (n_channels,)
        Channel that takes each place; its own inverse. `mirror_order` finds it.
    label_swap : sequence of int (n_classes,), optional
        Class index after reflection of each class index, from `label_order`. None keeps labels.
    """

    def __init__(self, order: Sequence[int], label_swap: Sequence[int] | None = None) -> None:
        self.order = _involution(order, "channel order")
        self.label_swap = None if label_swap is None else _involution(label_swap, "label swap")

    def __repr__(self) -> str:
        return f"Reflection({list(self.order)}, {self.label_swap and list(self.label_swap)})"

    def __call__(self, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the view."""
        if X.shape[1] != len(self.order):
            raise UserError(f"the reflection knows {len(self.order)} channels, the trials have {X.shape[1]}")
        turned = X[:, torch.as_tensor(self.order, device=X.device)]
        if self.label_swap is None:
            return turned, y
        return turned, torch.as_tensor(self.label_swap, device=y.device)[y]


def _involution(order: Sequence[int], what: str) -> tuple[int, ...]:
    values = tuple(int(value) for value in order)
    if sorted(values) != list(range(len(values))) or any(values[values[i]] != i for i in range(len(values))):
        raise UserError(f"a {what} must undo itself when applied twice; {list(values)} does not")
    return values


def plain_name(name: str) -> str:
    """Return an electrode's name without what recorders add: ``'EEG Fc5.-REF'`` is ``'FC5'``."""
    text = name.strip().upper().replace(".", "")
    text = re.sub(r"^EEG[\s_-]*", "", text)
    return re.sub(r"[\s_-]*(REF|LE|AVG?|AR)$", "", text) if re.search(r"[\s_-]", text) else text


def _mirror_name(name: str) -> str | None:
    """Return the name across the midline by the 10-10 rule, or None where the rule does not speak."""
    match = _NUMBERED.fullmatch(plain_name(name))
    if match is None:
        return None
    area, number, rest = match["area"], match["number"], match["rest"]
    if number == "Z":
        return area + number + rest
    across = int(number) + 1 if int(number) % 2 else int(number) - 1
    return f"{area}{across}{rest}" if across > 0 else None


def mirror_order(
    ch_names: Sequence[str], positions: np.ndarray | None = None, *, tolerance_m: float = 0.02
) -> np.ndarray:
    """Find the mirror image of every electrode across the midline.

    Names of the 10-10 system decide where all channels have one (odd n with n + 1, z with itself), checked against
    the positions where these are known. Otherwise the positions decide: the electrode nearest to the mirrored
    position, which must be mutual.

    Parameters
    ----------
    ch_names : sequence of str (n_channels,)
    positions : ndarray (n_channels, 3), optional
        Metres, x from left to right, the midline at x = 0 (MNE's head frame); NaN is unknown.
    tolerance_m : float
        How far an electrode may lie from the mirrored position of its partner.

    Returns
    -------
    ndarray (n_channels,) of int
        Its own inverse.

    Raises
    ------
    UserError
        If a channel has no mirror, or names and positions contradict each other.
    """
    known = _known_positions(positions, len(ch_names))
    plain = [plain_name(name) for name in ch_names]
    if len(set(plain)) < len(plain):
        raise UserError(f"two channels have one name: {sorted({n for n in plain if plain.count(n) > 1})}")
    across = [_mirror_name(name) for name in ch_names]
    if all(name is not None for name in across):
        place = {name: k for k, name in enumerate(plain)}
        lonely = [
            f"{name} (needs {mirror})" for name, mirror in zip(ch_names, across, strict=True) if mirror not in place
        ]
        if lonely:
            raise UserError(
                f"the montage has no mirror for {', '.join(lonely)}",
                hint="leave these channels out, or leave the reflection out",
            )
        order = np.array([place[str(name)] for name in across], dtype=np.intp)
        if known is not None:
            _check_sides(ch_names, known, order, tolerance_m)
        return order
    if known is None:
        strange = [name for name, mirror in zip(ch_names, across, strict=True) if mirror is None]
        raise UserError(
            f"no mirror is known for {', '.join(strange[:8])}: not names of the 10-10 system, and without positions",
            hint="give the positions of the electrodes (set a montage), or leave the reflection out",
        )
    return _mirror_by_position(ch_names, known, tolerance_m)


def _known_positions(positions: np.ndarray | None, n_channels: int) -> np.ndarray | None:
    if positions is None:
        return None
    values = np.asarray(positions, dtype=np.float64)
    if values.shape != (n_channels, 3):
        raise UserError(f"positions must be ({n_channels}, 3), not {values.shape}")
    # MNE writes unknown positions as NaN, older files as zeros.
    unknown = ~np.isfinite(values).all(axis=1) | (values == 0).all(axis=1)
    return None if unknown.any() else values


def _check_sides(names: Sequence[str], positions: np.ndarray, order: np.ndarray, tolerance: float) -> None:
    x = positions[:, 0]
    paired = order != np.arange(len(order))
    wrong = np.where(paired, np.sign(x) == np.sign(x[order]), np.abs(x) > tolerance)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"names and positions contradict each other: {names[first]} lies at x = {x[first]:.3f} m and its mirror "
            f"{names[order[first]]} at x = {x[order[first]]:.3f} m",
            hint="check the montage; positions are metres in the head frame, left is negative x",
        )


def _mirror_by_position(names: Sequence[str], positions: np.ndarray, tolerance: float) -> np.ndarray:
    distance = np.linalg.norm(positions[:, None] - positions * np.array([-1.0, 1.0, 1.0]), axis=2)
    order: np.ndarray = distance.argmin(axis=1)
    rows = np.arange(len(order))
    lonely = (distance[rows, order] > tolerance) | (order[order] != rows)
    if lonely.any():
        raise UserError(
            f"the montage has no mirror within {tolerance * 1000:.0f} mm for "
            f"{', '.join(names[k] for k in np.flatnonzero(lonely)[:8])}",
            hint="leave these channels out, or leave the reflection out",
        )
    return order


def symmetrised(covariance: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Return the mean of a covariance and its mirror image.

    Alignment by the inverse square root of this matrix commutes with the reflection; by the covariance itself it does
    not.

    Parameters
    ----------
    covariance : ndarray (..., n_channels, n_channels)
    order : sequence of int (n_channels,)
        From `mirror_order`.
    """
    mirrored = covariance[..., list(order), :][..., list(order)]
    mean: np.ndarray = (covariance + mirrored) / 2
    return mean


VIEW_NAMES = ("time", "frequency", "reflection")
"""Names of the three views, in MVCNet's order."""


def make_views(
    names: Sequence[str],
    *,
    classes: Sequence[Any],
    sfreq: float | None = None,
    shift_hz: float = 0.1,
    ch_names: Sequence[str] | None = None,
    positions: np.ndarray | None = None,
    label_swap: Mapping[Any, Any] | None = None,
) -> tuple[View, ...]:
    """Return views by name.

    Parameters
    ----------
    names : sequence of {"time", "frequency", "reflection"}
    classes : sequence (n_classes,)
        Labels in the order of their class index.
    sfreq, shift_hz : float
        Hz; the frequency view needs the sampling rate.
    ch_names, positions, label_swap
        Of the reflection; see `mirror_order` and `label_order`.

    Raises
    ------
    UserError
        If a name is unknown, or a view lacks what it needs.
    """
    found: list[View] = []
    for name in names:
        if name == "time":
            found.append(SignFlip())
        elif name == "frequency":
            if sfreq is None:
                raise UserError("the frequency view needs sfreq, the sampling rate in Hz")
            found.append(FrequencyShift(sfreq, shift_hz))
        elif name == "reflection":
            if ch_names is None:
                raise UserError(
                    "the reflection needs ch_names, the names of the channels",
                    hint="give ch_names (and positions), or leave 'reflection' out of the views",
                )
            found.append(Reflection(mirror_order(ch_names, positions).tolist(), label_order(classes, label_swap)))
        else:
            raise UserError(
                f"unknown view {name!r}{did_you_mean(name, VIEW_NAMES)}", hint=f"known: {one_of(VIEW_NAMES)}"
            )
    return tuple(found)


def label_order(classes: Sequence[Any], label_swap: Mapping[Any, Any] | None = None) -> tuple[int, ...]:
    """Return the class index of every class after reflection.

    Parameters
    ----------
    classes : sequence (n_classes,)
    label_swap : mapping, optional
        Label -> label after reflection; labels it does not name stay. By default the words left and right change
        places in labels that are text and where the other side is a class too, so that right hand against feet stays.

    Raises
    ------
    UserError
        If the swap names an unknown class or does not undo itself.
    """
    labels = [label.item() if isinstance(label, np.generic) else label for label in classes]
    swap: dict[Any, Any] = {}
    if label_swap is None:
        for label in labels:
            other = _other_side(label)
            if other != label and other in labels:
                swap[label] = other
    else:
        for label, other in label_swap.items():
            for value in (label, other):
                if value not in labels:
                    raise UserError(f"label_swap names {value!r}, which is no class; classes are {labels}")
            swap[label] = other
    return _involution([labels.index(swap.get(label, label)) for label in labels], "label swap")


def _other_side(label: Any) -> Any:
    if not isinstance(label, str):
        return label
    sides = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}
    return re.sub("|".join(sides), lambda match: sides[match.group()], label)
