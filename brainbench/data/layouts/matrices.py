"""Reads matrices of numbers (.npy, .csv, .tsv) and finds what no model can be fitted to: gaps and flat columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.files import mapped
from brainbench.data.tables import MAX_LINES, SEPARATORS, Problems, parse_row, read_records

_BLOCK = 1 << 24
"""Values looked at at once; a memory map is never read whole."""

FLAT = 1e-6
"""A column whose range is below this share of its largest absolute value never changes (float32 resolves 1e-7)."""
_WHOLE = 1 << 24
"""Beyond, float32 leaves out whole numbers."""
LEAST, MOST = 1e-30, 1e30
"""What a target may range over at least, and reach at most: squares of the rest leave what numbers can hold."""

_MISSING = ("", "nan", "n/a", "na")
"""How tables write a value that is not there."""


@dataclass(frozen=True)
class Matrix:
    """Numbers with the names of their columns where the file gives them.

    Attributes
    ----------
    path : Path
    values : ndarray or memmap (n_rows, n_columns), float32 or float64
    names : list of str or None
        Header of a table.
    """

    path: Path
    values: np.ndarray
    names: list[str] | None = None

    def describe_column(self, column: int) -> str:
        """Return how a message calls a column."""
        return f"{column}" if self.names is None else f"{column} ('{self.names[column]}')"


def read_matrix(path: Path, *, responses: bool = False) -> Matrix:
    """Read a matrix; one number per row makes one column, and every value is finite.

    Parameters
    ----------
    path : Path
        ``.npy`` (stays on disk as a memory map), or a ``.csv`` or ``.tsv`` with or without a header.
    responses : bool
        Columns are targets: one may be NaN in every row, and a column that counts the rows is refused.

    Raises
    ------
    UserError
        If the file cannot be read, is no matrix of real numbers, or a value is missing or not finite.
    """
    if path.suffix == ".npy":
        values = load_npy(path)
        if values.ndim == 1:
            values = values[:, None]
        if values.ndim != 2:
            raise UserError(f"{path}: {values.ndim} axes {values.shape}; a matrix of rows x targets has two")
        matrix = Matrix(path, as_float(values, path))
        check_finite(matrix.values, path, absent=responses)
        if responses:
            _check_no_index(matrix)
        return matrix
    if path.suffix in SEPARATORS:
        matrix = _read_text_matrix(path, absent=responses)
        if responses:
            _check_no_index(matrix)
        return matrix
    raise UserError(f"{path}: numbers are read from .npy, .csv or .tsv, not from '{path.suffix or path.name}'")


def load_npy(path: Path, pickle_hint: str | None = None) -> np.ndarray:
    """Return a memory map of an array; pickled objects are refused, because opening them can run code."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        values = mapped(path)
    except MemoryError:
        raise
    except Exception as error:  # NumPy parses a header as Python, which fails in many ways
        text = str(error)
        if "ickle" in text or "Object arrays" in text or "object" in text:
            raise UserError(
                f"{path}: holds pickled Python objects, not a plain array of numbers; they are not opened, "
                "because a pickle can run code",
                hint=pickle_hint or "save the numbers alone: np.save('responses.npy', array.astype('float32'))",
            ) from None
        raise UserError(f"{path}: not a readable .npy array ({text})") from None
    if not isinstance(values, np.ndarray):
        raise UserError(
            f"{path}: an archive of arrays (.npz: {', '.join(values.files)}) under the name of an array",
            hint="save one of them: np.save('responses.npy', archive['name'])",
        )
    return values


def as_float(values: np.ndarray, path: Path) -> np.ndarray:
    """Return native float32 or float64 values; whole numbers and float16 become float32, all else is refused.

    Whole numbers that float32 cannot tell apart become float64.
    """
    large = values.dtype.kind in "iu" and values.size and (values.max() > _WHOLE or values.min() < -_WHOLE)
    if large:
        return np.asarray(values, dtype=np.float64)
    if values.dtype.kind in "iu" or values.dtype == np.float16:
        return np.asarray(values, dtype=np.float32)
    if values.dtype.kind != "f":
        raise UserError(f"{path}: values are {values.dtype}, real numbers are needed")
    if values.dtype.itemsize not in (4, 8):
        return np.asarray(values, dtype=np.float64)
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def check_finite(
    values: np.ndarray, path: Path, rows: str = "row", columns: str = "column", *, absent: bool = False
) -> None:
    """Refuse values that are NaN or infinite, naming the first of them, and columns that no sum of squares can hold.

    Parameters
    ----------
    values : ndarray (n_rows, n_columns)
    path : Path
        Where they come from.
    rows, columns : str
        How the message calls an entry along each axis; both count from 0.
    absent : bool
        Whether columns may be NaN from the first row to the last; see `absent_columns`.
    """
    found = 0
    shown: list[str] = []
    known = ~absent_columns(values) if absent else np.ones(values.shape[1], dtype=bool)
    low, high = np.full(values.shape[1], np.inf), np.full(values.shape[1], -np.inf)
    for start, block in _blocks(values):
        np.fmin(low, np.fmin.reduce(block, axis=0), out=low)
        np.fmax(high, np.fmax.reduce(block, axis=0), out=high)
        bad = np.argwhere(~np.isfinite(block) & known)
        found += len(bad)
        for row, column in bad[: MAX_LINES - len(shown)]:
            shown.append(f"{path}  {rows} {start + row}, {columns} {column}: {block[row, column]}")
    if found:
        if found > len(shown):
            shown.append(f"... and {found - len(shown)} more values that are not finite ({found} of {values.size})")
        raise UserError("\n".join(shown), hint="rows and columns are counted from 0")
    if not len(values):
        return
    largest, spread = np.maximum(np.abs(low), np.abs(high)), high - low
    odd = np.flatnonzero(known & ((largest > MOST) | ((spread > 0) & (largest < LEAST))))
    if len(odd):
        raise UserError(
            f"{path}: {columns} {odd[0]} reaches {largest[odd[0]]:.3g}; {len(odd)} of {values.shape[1]} lie outside of "
            f"{LEAST:g} to {MOST:g}, where scores would be those of rounding errors",
            hint="give the responses in another unit, or take out what is damaged",
        )


def absent_columns(values: np.ndarray) -> np.ndarray:
    """Return which columns are NaN in every row, ``(n_columns,)`` bool: a medial wall, voxels not estimated."""
    absent = np.ones(values.shape[1], dtype=bool)
    for _, block in _blocks(values):
        absent &= np.isnan(block).all(axis=0)
    return absent


def flat_columns(values: np.ndarray) -> np.ndarray:
    """Return which columns never change, ``(n_columns,)`` bool."""
    low = np.full(values.shape[1], np.inf)
    high = np.full(values.shape[1], -np.inf)
    for _, block in _blocks(values):
        np.minimum(low, block.min(axis=0), out=low)
        np.maximum(high, block.max(axis=0), out=high)
    flat: np.ndarray = high - low <= FLAT * np.maximum(np.abs(low), np.abs(high))
    return flat


def name_some(items: Sequence[object]) -> str:
    """Return the first of many items as text: ``1, 2, 3, ... (40 in all)``."""
    shown = ", ".join(str(item) for item in items[:10])
    return shown if len(items) <= 10 else f"{shown}, ... ({len(items)} in all)"


def _blocks(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    step = max(1, _BLOCK // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        yield start, np.asarray(values[start : start + step])


def _check_no_index(matrix: Matrix) -> None:
    """Refuse a target that counts the rows: the index of a table that was saved with it."""
    values = matrix.values
    if len(values) < 3:
        return
    steps = np.arange(len(values))[:, None]
    edge = values[:2].astype(np.float64)  # a memory map is not read whole for this
    for column in np.flatnonzero((edge[1] - edge[0] == 1) & ((edge[0] == 0) | (edge[0] == 1))):
        if np.array_equal(values[:, [column]] - edge[0, column], steps):
            raise UserError(
                f"{matrix.path}: column {matrix.describe_column(int(column))} counts the rows "
                f"({edge[0, column]:g}, {edge[1, column]:g}, ...): an index that was saved with the responses",
                hint="save the table without it: frame.to_csv(path, index=False)",
            )


def _read_text_matrix(path: Path, *, absent: bool) -> Matrix:
    records = read_records(path)
    problems = Problems(path)
    first_line, first = records[0]
    _, wrong = parse_row(first)
    names = None
    if len(wrong) == len(first) and all("is not a number" in message for _, message in wrong):
        names, records = first, records[1:]
        for at, name in enumerate(names):
            if name in names[:at]:
                problems.add(f"two columns are called '{name}'", first_line)
    elif _counts(first, [cells for _, cells in records[1:]]):
        raise UserError(
            f"{path}:{first_line}  the first row is {', '.join(first[:4])}{', ...' if len(first) > 4 else ''}: "
            "a header of numbers cannot be told from a row of data",
            hint="give the columns names that are no numbers, or take the header out: to_csv(path, header=False)",
        )
    if not records:
        raise UserError(f"{path}:{first_line}  no row below the header")
    width = len(first)
    rows, lines = [], []
    for line, cells in records:
        if len(cells) != width:
            problems.add(f"{len(cells)} cells, line {first_line} has {width}", line)
            continue
        rows.append(cells)
        lines.append(line)
    missing = {at for at in range(width) if absent and all(cells[at].lower() in _MISSING for cells in rows)}
    values = np.full((len(rows), width), np.nan)
    for row, (line, cells) in enumerate(zip(lines, rows, strict=True)):
        values[row], wrong = parse_row(cells)
        for at, message in wrong:
            if at not in missing:
                problems.add(f"column {at + 1}{'' if names is None else f' ({names[at]!r})'}: {message}", line)
    problems.finish()
    return Matrix(path, values, names)


def _counts(first: list[str], others: list[list[str]]) -> bool:
    """Return whether a first row of numbers is a header: it counts columns, or holds the only whole numbers."""
    if len(first) < 2 or not all(cell.isdigit() for cell in first):
        return False
    numbers = [int(cell) for cell in first]
    if numbers in (list(range(len(first))), list(range(1, len(first) + 1))):
        return True
    return (
        len(set(numbers)) == len(numbers)
        and len(others) > 1
        and not any(cell.lstrip("-").isdigit() for cells in others for cell in cells)
    )
