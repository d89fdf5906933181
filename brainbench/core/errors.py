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
    """Return ``"; did you mean 'x'?"`` for the nearest of `choices`, or an empty string."""
    near = get_close_matches(str(word)[:200], [str(choice) for choice in choices], n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def one_of(choices: Iterable[str]) -> str:
    """Return the choices as a readable list."""
    return ", ".join(sorted(str(choice) for choice in choices))
