"""Reads matrices of numbers (.npy, .csv, .tsv) and finds what no model can be fitted to: gaps and flat columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.tables import MAX_LINES, SEPARATORS, Problems, parse_row, read_records

_BLOCK = 1 << 24
"""Values looked at at once; a memory map is never read whole."""

FLAT = 1e-6
"""A column whose range is below this share of its largest absolute value never changes (float32 resolves 1e-7)."""


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


def read_matrix(path: Path) -> Matrix:
    """Read a matrix; one number per row makes one column, and every value is finite.

    Parameters
    ----------
    path : Path
        ``.npy`` (stays on disk as a memory map), or a ``.csv`` or ``.tsv`` with or without a header.

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
        check_finite(matrix.values, path)
        return matrix
    if path.suffix in SEPARATORS:
        return _read_text_matrix(path)
    raise UserError(f"{path}: numbers are read from .npy, .csv or .tsv, not from '{path.suffix or path.name}'")


def load_npy(path: Path, pickle_hint: str | None = None) -> np.ndarray:
    """Return a memory map of an array; pickled objects are refused, because opening them can run code."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        text = str(error)
        if "ickle" in text or "Object arrays" in text or "object" in text:
            raise UserError(
                f"{path}: holds pickled Python objects, not a plain array of numbers; they are not opened, "
                "because a pickle can run code",
                hint=pickle_hint or "save the numbers alone: np.save('responses.npy', array.astype('float32'))",
            ) from None
        raise UserError(f"{path}: not a readable .npy array ({text})") from None


def as_float(values: np.ndarray, path: Path) -> np.ndarray:
    """Return native float32 or float64 values; whole numbers and float16 become float32, all else is refused."""
    if values.dtype.kind in "iu" or values.dtype == np.float16:
        return np.asarray(values, dtype=np.float32)
    if values.dtype.kind != "f":
        raise UserError(f"{path}: values are {values.dtype}, real numbers are needed")
    if values.dtype.itemsize not in (4, 8):
        return np.asarray(values, dtype=np.float64)
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def check_finite(values: np.ndarray, path: Path, rows: str = "row", columns: str = "column") -> None:
    """Refuse values that are NaN or infinite, naming the first of them.

    Parameters
    ----------
    values : ndarray (n_rows, n_columns)
    path : Path
        Where they come from.
    rows, columns : str
        How the message calls an entry along each axis; both count from 0.
    """
    found = 0
    shown: list[str] = []
    for start, block in _blocks(values):
        bad = np.argwhere(~np.isfinite(block))
        found += len(bad)
        for row, column in bad[: MAX_LINES - len(shown)]:
            shown.append(f"{path}  {rows} {start + row}, {columns} {column}: {block[row, column]}")
    if found:
        if found > len(shown):
            shown.append(f"... and {found - len(shown)} more values that are not finite ({found} of {values.size})")
        raise UserError("\n".join(shown), hint="rows and columns are counted from 0")


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


def _read_text_matrix(path: Path) -> Matrix:
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
    if not records:
        raise UserError(f"{path}:{first_line}  no row below the header")
    width = len(first)
    rows = []
    for line, cells in records:
        if len(cells) != width:
            problems.add(f"{len(cells)} cells, line {first_line} has {width}", line)
            continue
        values, wrong = parse_row(cells)
        for at, message in wrong:
            problems.add(f"column {at + 1}{'' if names is None else f' ({names[at]!r})'}: {message}", line)
        rows.append(values)
    problems.finish()
    return Matrix(path, np.stack(rows), names)
