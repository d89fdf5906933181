"""Reads the word tier of a Praat TextGrid (long or short text format)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from brainbench.core.errors import UserError

_TOKEN = re.compile(r'"(?:[^"]|"")*"|<exists>|<absent>|\[\d*\]|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?!\w)')
"""Texts, flags, numbers, and the index in ``intervals [1]:``, which is none."""


@dataclass(frozen=True)
class Interval:
    """A labelled stretch of time, in seconds."""

    start: float
    end: float
    text: str


def read_intervals(path: Path, tier: str | int = 0) -> list[Interval]:
    """Return the intervals of one tier.

    Parameters
    ----------
    path : Path
    tier : str or int
        Name of an interval tier, or its place among all tiers, from 0.

    Raises
    ------
    UserError
        If the file is no TextGrid, or has no such tier.
    """
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}:{line}  byte 0x{raw[error.start]:02x} is neither UTF-8 nor UTF-16",
            hint="Praat saves text as UTF-8",
        ) from None
    if "ooTextFile" not in text[:200]:
        raise UserError(f"{path}: not a Praat TextGrid in text format (its first line names no ooTextFile)")
    # Long format says `xmin = 1.5`, short format `1.5`: without the names and indices both are the same stream. Names
    # are skipped, not taken away: a word may be "name", "number" or "size".
    body = re.sub(r"^[^\n]*\n[^\n]*\n", "", text, count=1)
    tokens = [token for token in _TOKEN.findall(body) if not token.startswith("[")]
    position = 0

    def take() -> str:
        nonlocal position
        if position >= len(tokens):
            raise UserError(f"{path}: the TextGrid ends in the middle of a tier")
        position += 1
        return tokens[position - 1]

    try:
        take(), take()  # start and end of the file
        take()  # <exists>
        names: list[str] = []
        found: list[list[Interval]] = []
        for place in range(int(take())):
            kind, name = _unquote(take()), _unquote(take())
            take(), take()
            size = int(take())
            names.append(name)
            if kind == "IntervalTier":
                intervals = [Interval(float(take()), float(take()), _unquote(take())) for _ in range(size)]
                if tier in (name, place):
                    found.append(intervals)
            else:
                for _ in range(size):
                    take(), take()
    except ValueError as error:
        raise UserError(f"{path}: token {position} of the TextGrid is not what it should be: {error}") from None
    if len(found) > 1:
        raise UserError(f"{path}: {len(found)} interval tiers are called '{tier}'", hint="rename or remove one of them")
    if found:
        return found[0]
    raise UserError(f"{path}: no interval tier '{tier}'; it has {', '.join(names) or 'none'}")


def _unquote(token: str) -> str:
    if not token.startswith('"'):
        raise ValueError(f"{token} is not a text")
    return token[1:-1].replace('""', '"')
