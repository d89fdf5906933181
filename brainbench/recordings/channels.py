"""Which channels of a file are decoded: by their kind, by their name, by their values, and by what the file calls bad.

Exports hold eye, heart, breath and trigger channels beside the scalp's, and readers call all of them EEG where the file
does not say. A trigger channel tells the class without any brain.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.recipes.datasets import RecordingSettings
from brainbench.recordings.recording import LeftOut, counted

if TYPE_CHECKING:
    import mne

_SURE = {
    "eyes": r"[A-Z]{0,3}EOG[A-Z]{0,2}\d*|[HV]EO[A-Z]?|LOC|ROC|PUPIL.*|GAZE.*|EYE.*",
    "heart": r"[A-Z]{0,2}E[CK]G[A-Z]{0,2}\d*|PULSE|PLETH.*|PPG|SPO2|SAO2|OSAT|HEART.*",
    "muscle": r"[A-Z]{0,4}EMG[A-Z]{0,2}\d*|CHIN\d*",
    "breath": r"RESP.*|AIRFLOW|THORAX|THORACIC|ABDOMEN|ABDOMINAL|NASAL|SNORE",
    "skin": r"GSR\d*|EDA\d*|SCR\d*|SCL\d*",
    "a trigger": r"TRIG.*|TRG\d*|STI|STI\d{2,3}|STIM.*|MARK|MARKERS?\d*|STATUS|EVENTS?|TTL\d*|PHOTO.*|DIODE\d*"
    r"|DIGITAL\d*|SYNC\d*|COUNTER|SAMPLECOUNTER|TIMESTAMP.*",
}
_SCALP = _SURE | {
    "an auxiliary input": r"DC|DC\d+|AUX\d*|EXG\d+|BIP\d+|MISC\d*|ACC[XYZ]?\d*|ACCEL.*|GYR.*|TEMP|TEMPERATURE|AUDIO\d*"
    r"|SOUND|MIC|BATTERY.*",
}
"""What a channel is -> pattern of one word of its name. Electrodes in the head are named freely: there only sure words
count."""
MAX_LEVELS = 16
"""Distinct values up to which a channel is a code, not a potential."""
HELD_SHARE = 0.9
"""Share of samples equal to the one before from which on a channel moves in steps."""
_BRAIN = ("eeg", "seeg", "ecog", "dbs")


LEAST_SHARE = 0.5
"""Share of a projector's channels that must be there: of fewer it takes out something else."""


def apply_projectors(raw: mne.io.BaseRaw, choice: str, where: str) -> list[str]:
    """Apply what a file says is to be projected out, in place, while all of its channels are there.

    A projector is made for all channels: applied to some of them it takes out something else. None is left on the
    recording, so that nothing applies it later.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    choice : {"apply", "leave"}
    where : str
        File, for messages.

    Raises
    ------
    UserError
        If a projector was made for channels most of which the file does not have.
    """
    waiting = [proj for proj in raw.info["projs"] if not proj["active"]]
    names = ", ".join(dict.fromkeys(str(proj["desc"]) for proj in waiting))
    if waiting and choice == "apply":
        _check_projectors(raw, waiting, where)
        raw.apply_proj(verbose="ERROR")
    with raw.info._unlock():
        raw.info["projs"] = []
    if not waiting:
        return []
    done = "applied" if choice == "apply" else "not applied"
    return [f"{counted(len(waiting), 'projector')} {done}: {names}"]


def projected_out(raw: mne.io.BaseRaw, kind: str, choice: str) -> str:
    """Return the names of what is, or by `choice` will be, projected out of channels of a kind."""
    mine = {name.strip() for name, one in zip(raw.ch_names, raw.get_channel_types(), strict=True) if one == kind}
    return ", ".join(
        sorted(
            str(proj["desc"])
            for proj in raw.info["projs"]
            if (proj["active"] or choice == "apply") and mine & {name.strip() for name in proj["data"]["col_names"]}
        )
    )


def _check_projectors(raw: mne.io.BaseRaw, projectors: Sequence[Any], where: str) -> None:
    """Let projectors find their channels, whose names FIF files keep without the blanks around them."""
    by_name = {name.strip(): name for name in raw.ch_names}
    for proj in projectors:
        made_for = [by_name.get(name.strip(), name) for name in proj["data"]["col_names"]]
        proj["data"]["col_names"] = made_for
        there = sum(name in raw.ch_names for name in made_for)
        if there < LEAST_SHARE * len(made_for):
            raise UserError(
                f"{where}: projector '{proj['desc']}' was made for {len(made_for)} channels, of which the file has "
                f"{there}",
                hint="`projectors: leave` does not apply it; take the file from before channels were dropped",
            )


def set_types(raw: mne.io.BaseRaw, types: Mapping[str, str], where: str) -> None:
    """Give channels the kinds that a recipe says they are, in place.

    Raises
    ------
    UserError
        If there is no such channel or kind.
    """
    for name, kind in types.items():
        if name not in raw.ch_names:
            raise UserError(f"{where}: dataset.channel_types: no channel '{name}'{did_you_mean(name, raw.ch_names)}")
        try:
            raw.set_channel_types({name: kind}, verbose="ERROR")
        except ValueError as error:
            raise UserError(f"{where}: dataset.channel_types.{name}: {str(error).splitlines()[0]}") from None


def of_kind(raw: mne.io.BaseRaw, kind: str, where: str) -> tuple[list[str], list[LeftOut]]:
    """Return the channels of a kind, bad ones too, and what is left out.

    Raises
    ------
    UserError
        If there is none.
    """
    types = raw.get_channel_types()
    names = [name for name, one in zip(raw.ch_names, types, strict=True) if one == kind]
    others = Counter(one for one in types if one != kind)
    if not names:
        raise UserError(
            f"{where}: no channel of kind '{kind}'",
            hint=f"`dataset.kind`: it has {', '.join(sorted(others)) or 'none'}",
        )
    left = []
    if others:
        listed = ", ".join(f"{n} {one}" for one, n in sorted(others.items()))
        left = [LeftOut(counted(len(types) - len(names), "channel"), f"of another kind than {kind}: {listed}")]
    return names, left


def role_by_name(name: str, kind: str = "eeg") -> str | None:
    """Return what a channel's name says that it measures; None for the brain, or where it says nothing."""
    bare = re.sub(r"^(EEG|POL)\b[ :_-]*|[-_ ](REF|LE|AVG|AR)$", "", name.strip().upper())
    words = [word for word in re.split(r"[^A-Z0-9]+", bare) if word]
    for role, pattern in (_SCALP if kind == "eeg" else _SURE).items():
        if any(re.fullmatch(pattern, word) for word in words):
            return role
    return None


def role_by_values(samples: np.ndarray) -> str | None:
    """Return what the values of a channel ``(n_times,)`` say that it is; None for a potential, or a flat channel."""
    moves = np.diff(samples)
    if not np.isfinite(samples).all() or not moves.any():
        return None
    held = float(np.mean(moves == 0))
    n_levels = len(np.unique(samples[:: max(1, len(samples) // 100_000)]))
    if n_levels <= MAX_LEVELS or held > HELD_SHARE:
        return f"a trigger or counter: {n_levels} levels, {100 * held:.0f} % of samples as the one before"
    steps = np.median(np.abs(moves))
    if float(np.mean(np.abs(np.abs(moves) - steps) <= 1e-6 * steps)) > HELD_SHARE:
        return "a counter: every sample is one step from the one before"
    return None


def choose_channels(
    raw: mne.io.BaseRaw, kind: str, settings: RecordingSettings, where: str
) -> tuple[list[str], list[LeftOut], list[str], dict[str, str]]:
    """Return the channels that are decoded, in the recipe's order or the recording's, before bad ones are judged.

    Returns
    -------
    names : list of str
    left_out : list of LeftOut
    said : list of str
    aside : {name: why}
        Of the names, those that are something else than what is decoded.

    Raises
    ------
    UserError
        If a channel that the recipe names is not there, with the nearest that is, or none is left.
    """
    there, left = of_kind(raw, kind, where)
    wanted = settings.channels
    named = [] if isinstance(wanted, str) else list(wanted)
    for key, names, known in (
        ("channels", named, there),
        ("exclude_channels", settings.exclude_channels, raw.ch_names),
    ):
        missing = [name for name in names if name not in known]
        if missing:
            raise UserError(
                f"{where}: dataset.{key} names {names_of(missing)}, which the recording does not have"
                f"{did_you_mean(missing[0], known)}",
                hint=f"it has: {one_of(known)}",
            )
    if settings.exclude_channels:
        gone = [name for name in there if name in settings.exclude_channels]
        left += [LeftOut(listed(gone), "`exclude_channels`")] if gone else []
    chosen = [name for name in named or there if name not in settings.exclude_channels]
    if named and len(there) > len(named):
        left.append(LeftOut(counted(len(there) - len(named), "channel"), "not named in `channels`"))
    said: list[str] = []
    aside: dict[str, str] = {}
    if kind in _BRAIN:
        roles = {name: role for name in chosen if (role := _role(raw, name, kind, settings))}
        if named or settings.other_channels == "keep":
            said = [f"{name} is decoded, and is {role}" for name, role in roles.items()]
        else:
            aside = {
                name: f"{role} (`other_channels: keep` or `channel_types` takes them)" for name, role in roles.items()
            }
    if not chosen:
        raise UserError(f"{where}: no channel is left to decode from", hint=f"it has: {one_of(there)}")
    return chosen, left, said, aside


def neighbours(
    raw: mne.io.BaseRaw, kind: str, wanted: Sequence[str], settings: RecordingSettings, where: str
) -> list[str]:
    """Return the further channels that bad ones among `wanted` are interpolated from; none where nothing is."""
    if settings.bad_channels != "interpolate" or not set(raw.info["bads"]) & set(wanted):
        return []
    there, _ = of_kind(raw, kind, where)
    others = [name for name in there if name not in wanted and name not in settings.exclude_channels]
    return [name for name in others if kind not in _BRAIN or _role(raw, name, kind, settings) is None]


def judge_bad(
    raw: mne.io.BaseRaw, wanted: Sequence[str], settings: RecordingSettings, where: str
) -> tuple[list[str], list[str]]:
    """Return the `wanted` channels that the file calls bad and that are not used, and what is said of others.

    Interpolates in place where the recipe says so, from all other channels that have a position; afterwards no channel
    of the recording is called bad.

    Raises
    ------
    UserError
        If channels cannot be interpolated.
    """
    bads = [name for name in raw.info["bads"] if name in wanted]
    said: list[str] = []
    leave = []
    if bads and settings.bad_channels == "interpolate":
        unplaced = [name for name, one in zip(raw.ch_names, raw.info["chs"], strict=True) if not _has_place(one)]
        raw.drop_channels([name for name in unplaced if name not in wanted])
        others = [name for name in raw.info["bads"] if name not in wanted]
        try:
            raw.interpolate_bads(reset_bads=True, exclude=others, verbose="ERROR")
        except Exception as error:  # whatever a missing position or too few neighbours lead to
            raise UserError(
                f"{where}: {names_of(bads)} cannot be interpolated: {str(error).strip().splitlines()[0]}",
                hint="interpolation needs positions: name a `dataset.montage`, or take `bad_channels: leave_out`",
            ) from error
        said = [f"{names_of(bads)} marked bad in the file, interpolated"]
    elif bads and (settings.bad_channels == "keep" or not isinstance(settings.channels, str)):
        said = [f"{names_of(bads)} marked bad in the file, and used as the recipe says"]
    else:
        leave = bads
    raw.info["bads"] = []
    return leave, said


def _has_place(channel: Any) -> bool:
    place = np.asarray(channel["loc"][:3])
    return bool(np.isfinite(place).all() and place.any())


def _role(raw: mne.io.BaseRaw, name: str, kind: str, settings: RecordingSettings) -> str | None:
    if name in settings.channel_types:
        return None
    return role_by_name(name, kind) or role_by_values(raw.get_data(picks=[name])[0])


def names_of(names: Sequence[str]) -> str:
    """Return ``"channel Cz"`` or ``"channels Cz, Pz"``; of many, the first."""
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"channel{'' if len(names) == 1 else 's'} {shown}"


def listed(names: Sequence[str]) -> str:
    """Return ``"2 channels: Cz, Pz"``."""
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"{counted(len(names), 'channel')}: {shown}"
