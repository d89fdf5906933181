"""Errors a user can act on.

A :class:`UserError` is shown as one message without a traceback and ends the program with exit code 2.
Anything else that escapes is a defect of brainbench and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

EXIT_USER_ERROR = 2
MAX_LINES = 30
MAX_PROBLEMS = 20
_LINE, _END = 600, 150


def one_screen(text: str) -> str:
    """Return a message that fits a screen and shows what it holds, however long and odd the input was.

    Long lines lose their middle, many lines all but the first and the last; characters that a terminal would obey are
    written as escapes.
    """
    lines = ["".join(ch if ch.isprintable() else _visible(ch) for ch in _cut(line)) for line in text.split("\n")]
    if len(lines) > MAX_LINES:
        left_out = len(lines) - MAX_LINES + 1
        lines = [*lines[: MAX_LINES - 5], f"... {left_out} more lines ...", *lines[-4:]]
    return "\n".join(lines)


def _cut(line: str) -> str:
    if len(line) <= _LINE:
        return line
    return f"{line[: _LINE - _END]} ... {len(line) - _LINE} more characters ... {line[-_END:]}"


def _visible(ch: str) -> str:
    return ch.encode("unicode_escape").decode("ascii")


class UserError(Exception):
    """Something the user can put right.

    Parameters
    ----------
    message : str
        What is wrong and where: the file and row or the parameter, what came and what is allowed.
    hint : str, optional
        What to do about it.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = one_screen(message)
        self.hint = None if hint is None else one_screen(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with a recipe, with the place it stands at (1-based line and column)."""

    line: int
    column: int
    path: str
    message: str

    def render(self, source: str) -> str:
        """Return ``file:line:column  key path  message``."""
        return f"{source}:{self.line}:{self.column}  {self.path}  {self.message}"


class RecipeError(UserError):
    """Every problem of one recipe, reported together."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = sorted(set(problems))
        n = len(self.problems)
        lines = [problem.render(source) for problem in self.problems[:MAX_PROBLEMS]]
        if n > MAX_PROBLEMS:
            lines.append(f"... and {n - MAX_PROBLEMS} more")
        lines.append(f"{n} problem{'' if n == 1 else 's'}. Nothing was run.")
        super().__init__("\n".join(lines))


class Interrupted(Exception):
    """The user stopped the run; everything finished so far is kept."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of `choices`, or an empty string where none is near.

    Near is what few slips of the pen part from the word (a third of its letters), or what begins or ends alike.
    """
    word = str(word)[:200]
    for near in get_close_matches(word, [str(choice) for choice in choices], n=3, cutoff=0.5):
        one, other = word.lower(), near[:200].lower()
        short, long = sorted((one, other), key=len)
        inside = len(short) > 2 and (long.startswith(short) or long.endswith(short))
        if inside or slips(one, other) <= max(1, len(long) // 3):
            return f"; did you mean '{near}'?"
    return ""


def slips(one: str, other: str) -> int:
    """Return how many letters are to be added, left out, exchanged or swapped with their neighbour between two words.

    The optimal string alignment distance (Damerau 1964).
    """
    before, last = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            least = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                least = min(least, before[j - 2] + 1)
            row.append(least)
        before, last = last, row
    return last[-1]


def one_of(choices: Iterable[str]) -> str:
    """Return the choices as a readable list."""
    return ", ".join(sorted(str(choice) for choice in choices))
