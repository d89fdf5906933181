"""Reads pickles that hold plain values and arrays, without running anything: what else they ask for is refused.

A pickle is a small program. The names that it may call here are those that NumPy writes for arrays and numbers, and not
even these are called: what they are given is taken down, and arrays are made of it by `numpy.frombuffer`.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError

_KINDS = "fiubSU"
"""Kinds of numbers and texts that arrays may hold, besides lists of plain values."""


@dataclass
class _Type:
    """What was said of the type of an array."""

    text: str
    order: str = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = str(state[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type; only numbers and texts have one."""
        found = np.dtype(self.text)
        if found.kind not in _KINDS:
            raise ValueError(f"an array of type '{self.text}'")
        return found.newbyteorder("<" if self.order == "<" else ">") if self.order in ("<", ">") else found


@dataclass
class _Array:
    """What was said of an array: its shape, type, and bytes, or a list of values."""

    shape: tuple[int, ...] = ()
    type: _Type = field(default_factory=lambda: _Type("f8"))
    raw: Any = b""
    fortran: bool = False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.type, self.fortran, self.raw = state

    def value(self) -> Any:
        """Return the array; one of plain values as a list, or as the one value it holds."""
        if isinstance(self.raw, list):
            values = [_resolved(one) for one in self.raw]
            return values[0] if self.shape == () else values
        raw = self.raw.encode("latin1") if isinstance(self.raw, str) else self.raw  # of Python 2
        found = np.frombuffer(raw, dtype=self.type.dtype)
        return found.reshape(self.shape, order="F" if self.fortran else "C")


class _Taken:
    """What stands for a name that a pickle may call; nothing can be set on it."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __setattr__(self, name: str, value: Any) -> None:
        raise ValueError(f"a change of {name}")

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a change of what it may call")

    def __call__(self, *given: Any) -> Any:
        return self._make(*given)


def _text_bytes(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes as {encoding}")
    return text.encode("latin1")


def _no_bytes(*given: Any) -> bytes:
    """Return what early pickles write for empty bytes."""
    if given:
        raise ValueError("bytes of something")
    return b""


def _no_array(*_: Any) -> Any:
    raise ValueError("an array without values")


def _number(kind: _Type, raw: bytes | str) -> Any:
    return np.frombuffer(raw.encode("latin1") if isinstance(raw, str) else raw, dtype=kind.dtype)[0]


_MEANS: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _text_bytes,
    ("numpy", "dtype"): lambda text, *_: _Type(text),
    ("collections", "OrderedDict"): dict,
}
for _core in ("numpy.core", "numpy._core"):
    _MEANS |= {
        (f"{_core}.multiarray", "_reconstruct"): lambda *_: _Array(),
        (f"{_core}.multiarray", "scalar"): _number,
        (f"{_core}.numeric", "_frombuffer"): lambda raw, kind, shape, order: _Array(shape, kind, raw, order == "F"),
    }
_MEANS |= {(module, "bytes"): _no_bytes for module in ("__builtin__", "builtins")}
_MEANS["numpy", "ndarray"] = _no_array


class Attributes(dict[str, Any]):
    """Stands for an author's dictionary whose keys are attributes too: its values are kept, its code is not run."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state)


class _Plain(pickle.Unpickler):
    """Finds nothing but what arrays and numbers are made of, and an author's dictionaries."""

    def __init__(self, file: io.BufferedReader, dictionaries: Collection[str]) -> None:
        super().__init__(file, encoding="latin1")  # as NumPy reads arrays of Python 2
        self.dictionaries = dictionaries

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" in self.dictionaries:
            return Attributes
        if (module, name) not in _MEANS:
            raise UserError(f"asks for {module}.{name}")
        return _Taken(_MEANS[module, name])

    def persistent_load(self, pid: Any) -> Any:
        raise UserError("asks for objects outside of itself")


def read_pickle(path: Path, holds: str = "plain values", *, dictionaries: Collection[str] = ()) -> Any:
    """Return what a pickle holds, or the one object of a ``.npy`` file that is one.

    Parameters
    ----------
    path : Path
    holds : str
        What is expected of it, for messages.
    dictionaries : collection of str
        ``module.Class`` of an author's own kind of dictionary; such objects come back as plain ones.

    Raises
    ------
    UserError
        If it is damaged, or holds anything but numbers, texts, lists, tuples, dictionaries and arrays of them.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            begin = file.read(6)
            file.seek(0)
            if begin == b"\x93NUMPY":
                _skip_header(file)
            return _resolved(_Plain(file, dictionaries).load())
    except UserError as error:
        raise UserError(
            f"{path}: {error.message}, which opening it would run; {holds} and nothing else was expected",
            hint="a pickle can hold a program; save its arrays with np.save",
        ) from None
    except MemoryError:
        raise UserError(f"{path}: damaged, or too large for the memory; {holds} were expected") from None
    except Exception as error:  # damaged pickles fail in every way
        raise UserError(f"{path}: damaged, or no pickle of {holds} ({type(error).__name__}: {error})") from None


def _skip_header(file: io.BufferedReader) -> None:
    """Go to the end of the header of a ``.npy`` file."""
    version = file.read(8)[6]
    size = 2 if version == 1 else 4
    file.seek(int.from_bytes(file.read(size), "little"), io.SEEK_CUR)


def _resolved(value: Any) -> Any:
    """Return plain values with arrays in the place of what was said of them."""
    if isinstance(value, _Array):
        return value.value()
    if isinstance(value, dict):
        return {_resolved(key): _resolved(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_resolved(one) for one in value)
    if value is None or isinstance(value, (str, bytes, bytearray, bool, int, float, complex, set, np.generic)):
        return value
    raise ValueError(f"a {type(value).__name__}")
