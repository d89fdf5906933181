"""Reads tables (.csv, .tsv) and remembers the line of every cell; all problems of one file come in one message."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError, did_you_mean

MAX_LINES = 20
"""Problems shown of one file; the rest are counted."""

SEPARATORS = {".csv": ",", ".tsv": "\t"}
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


class Problems:
    """What is wrong with one file, gathered so that one message says it all.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[tuple[int, str], None] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, message: str, line: int = 0) -> None:
        """Add a problem; `line` counts from 1, and 0 stands for the whole file."""
        self._found[line, message] = None

    def finish(self, hint: str | None = None) -> None:
        """Raise one `UserError` with everything that was added; return when nothing was."""
        if not self._found:
            return
        lines = [
            f"{self.path}:{line}  {message}" if line else f"{self.path}  {message}"
            for line, message in sorted(self._found)
        ]
        shown = lines[:MAX_LINES]
        if len(lines) > MAX_LINES:
            shown.append(f"... and {len(lines) - MAX_LINES} more problems in {self.path.name}")
        raise UserError("\n".join(shown), hint=hint)


class Table:
    """A table of text cells that knows its lines.

    Questions that a cell answers wrongly are added to `problems`; ask everything first and then call `finish`.

    Attributes
    ----------
    path : Path
    columns : list of str
    lines : list of int
        Line of the file at which each row begins; the header is usually line 1.
    problems : Problems
    """

    def __init__(
        self, path: Path, columns: list[str], lines: list[int], rows: list[list[str]], problems: Problems
    ) -> None:
        self.path = path
        self.columns = columns
        self.lines = lines
        self.problems = problems
        self._cells = {name: [row[at] for row in rows] for at, name in enumerate(columns)}

    def __len__(self) -> int:
        return len(self.lines)

    def __contains__(self, column: str) -> bool:
        return column in self._cells

    def finish(self, hint: str | None = None) -> None:
        """Raise one message with all problems found so far."""
        self.problems.finish(hint)

    def require(self, *columns: str) -> None:
        """Refuse a table that lacks a column, with the nearest that it has."""
        lower = {name.lower(): name for name in self.columns}
        for name in columns:
            if name not in self:
                near = lower.get(name.lower())
                guess = f"; did you mean '{near}'?" if near else did_you_mean(name, self.columns)
                header = "" if any(one in self for one in columns) or guess else "; is the first line the header?"
                self.problems.add(f"no column '{name}'{guess} (columns: {', '.join(self.columns)}){header}", 1)
        if any(name not in self for name in columns):
            self.finish()

    def texts(self, column: str, *, required: bool = True) -> list[str]:
        """Return a column as text; empty cells are problems unless `required` is False."""
        cells = self._cells[column]
        if required:
            for line, cell in zip(self.lines, cells, strict=True):
                if not cell:
                    self.problems.add(f"column '{column}' is empty", line)
        return cells

    def numbers(self, column: str, *, minimum: float | None = None) -> np.ndarray:
        """Return a column as finite numbers, ``(n_rows,)`` float64; a cell that is none becomes NaN and a problem."""
        values = np.full(len(self), np.nan)
        for row, (line, cell) in enumerate(zip(self.lines, self._cells[column], strict=True)):
            value, wrong = number_in(cell)
            if not wrong and minimum is not None and value < minimum:
                wrong = f"{cell} is below {minimum:g}"
            if wrong:
                self.problems.add(f"column '{column}': {wrong}", line)
            else:
                values[row] = value
        return values

    def unique(self, *columns: str) -> None:
        """Refuse rows whose cells in `columns` were met before."""
        first: dict[tuple[str, ...], int] = {}
        for line, cells in zip(self.lines, zip(*(self._cells[name] for name in columns), strict=True), strict=True):
            if cells in first:
                what = ", ".join(f"{name} '{cell}'" for name, cell in zip(columns, cells, strict=True))
                self.problems.add(f"{what} stands already in line {first[cells]}", line)
            first.setdefault(cells, line)

    def indices(
        self, column: str, choices: Sequence[str], where: str, *, spelled: Mapping[str, str] | None = None
    ) -> np.ndarray:
        """Return the position of every cell in `choices`, ``(n_rows,)`` int; an unknown one is a problem and -1.

        Parameters
        ----------
        column : str
        choices : sequence of str
        where : str
            Where the choices stand, for the message: ``"stimuli.csv"``.
        spelled : mapping of str to str, optional
            Other ways to write a choice.
        """
        position = {name: at for at, name in enumerate(choices)}
        position |= {cell: position[name] for cell, name in (spelled or {}).items()}
        cells = self.texts(column)
        guesses: dict[str, str] = {}
        for line, cell in zip(self.lines, cells, strict=True):
            if cell and cell not in position:
                if cell not in guesses:  # looking for the nearest of many is slow
                    guesses[cell] = did_you_mean(cell, choices) if len(guesses) < MAX_LINES else ""
                self.problems.add(f"column '{column}': '{cell}' is not in {where}{guesses[cell]}", line)
        return np.array([position.get(cell, -1) for cell in cells], dtype=int)

    def rows(self, keep: Sequence[bool]) -> Table:
        """Return the rows to keep as a table; what is found wrong with it is found wrong with this one too."""
        chosen = [row for row, wanted in enumerate(keep) if wanted]
        cells = [[self._cells[name][row] for name in self.columns] for row in chosen]
        return Table(self.path, self.columns, [self.lines[row] for row in chosen], cells, self.problems)

    def others(self, *known: str) -> dict[str, np.ndarray]:
        """Return the columns that are not in `known`, as text arrays."""
        return {name: np.array(self._cells[name]) for name in self.columns if name not in known}


def read_table(path: Path) -> Table:
    """Read a table with a header.

    Parameters
    ----------
    path : Path
        ``.csv`` (commas) or ``.tsv`` (tabs), UTF-8.

    Raises
    ------
    UserError
        If the file is missing, is no text, has no header, or columns are set apart by something else.
    """
    records = read_records(path)
    problems = Problems(path)
    line, header = records[0]
    columns = [name.strip() for name in header]
    for at, name in enumerate(columns):
        if not name:
            problems.add(f"column {at + 1} has no name", line)
        elif name in columns[:at]:
            problems.add(f"two columns are called '{name}'", line)
    separator = SEPARATORS[path.suffix]
    lines, rows = [], []
    for line, cells in records[1:]:
        if len(cells) != len(columns):
            quote = (
                " (a cell that holds a comma must be quoted)" if separator == "," and len(cells) > len(columns) else ""
            )
            problems.add(f"{len(cells)} cells, the header has {len(columns)}{quote}", line)
            continue
        lines.append(line)
        rows.append(cells)
    if not rows and not problems:
        problems.add("no row below the header", records[0][0])
    if not rows or len(set(columns)) < len(columns) or "" in columns:
        problems.finish()
    return Table(path, columns, lines, rows, problems)


def read_records(path: Path) -> list[tuple[int, list[str]]]:
    """Return line and stripped cells of every record that is not empty; there is at least one.

    Raises
    ------
    UserError
        If the file is missing or empty, its encoding is not UTF-8, a quote never ends, or another separator is used.
    """
    if path.suffix not in SEPARATORS:
        raise UserError(f"{path}: tables are .csv (commas) or .tsv (tabs), this is '{path.suffix or path.name}'")
    text = read_text(path)
    separator = SEPARATORS[path.suffix]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records, before = [], 0
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                records.append((before + 1, cells))
            before = reader.line_num
    except csv.Error as error:
        raise UserError(f"{path}:{before + 1}  not a table: {error} (does a quote end?)") from None
    if not records:
        raise UserError(f"{path}: the file is empty")
    line, header = records[0]
    if len(header) == 1:
        other = [mark for mark in _NAMES if mark != separator and mark in header[0]]
        if other:
            raise UserError(
                f"{path}:{line}  columns seem to be set apart by {_NAMES[other[0]]}; a {path.suffix} file takes "
                f"{_NAMES[separator]}",
                hint="save the table again with the right separator",
            )
    return records


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises
    ------
    UserError
        If there is no such file, or it is not UTF-8; the message names the line.
    """
    if not path.is_file():
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"{path}: no such file{did_you_mean(path.name, near)}")
    raw = path.read_bytes()
    advice = "save it as UTF-8 (spreadsheets: 'CSV UTF-8')"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{path}: the text is UTF-16, not UTF-8", hint=advice)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}  byte 0x{raw[error.start]:02x} is not UTF-8 text", hint=advice) from None
    if "\x00" in text:
        raise UserError(f"{path}:{text[: text.index(chr(0))].count(chr(10)) + 1}  a zero byte: this is not a text file")
    return text


def parse_row(cells: Iterable[str]) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Return the numbers of one record and what is wrong with which cell (position, message)."""
    values, wrong = [], []
    for at, cell in enumerate(cells):
        value, problem = number_in(cell)
        values.append(value)
        if problem:
            wrong.append((at, problem))
    return np.array(values), wrong


def number_in(cell: str) -> tuple[float, str]:
    """Return the number in a cell and what is wrong with it (empty when nothing is)."""
    if not cell:
        return float("nan"), "the cell is empty"
    try:
        if "_" in cell:  # which Python reads over: 1_5 would be 15
            raise ValueError(cell)
        value = float(cell)
    except ValueError:
        comma = "; write a decimal point" if cell.count(",") == 1 and cell.replace(",", "").strip("-").isdigit() else ""
        return float("nan"), f"'{cell[:40]}' is not a number{comma}"
    if not np.isfinite(value):
        return value, f"'{cell}' is not finite"
    return value, ""
