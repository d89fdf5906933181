"""MATLAB files whose parts are not what the format allows are refused before SciPy reads them.

SciPy looks the type of a number up in a table without asking whether it has it, so that one damaged byte can end the
process (segmentation fault). The parts of a file are walked as SciPy walks them: no number is read, so that it takes no
time. Compressed variables carry a checksum.
"""

from __future__ import annotations

import struct
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO

from brainbench.core.errors import UserError

_BYTES, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13})
_TEXTS = frozenset({1, 2, 3, 4, 16, 17, 18})
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17
_COMPLEX = 1 << 11
_HEADER, _CHUNK = 128, 1 << 20
_DEEPEST = 100
"""Structures in structures."""


def check_mat(path: Path) -> None:
    """Refuse a MATLAB file (versions 5 to 7) that is damaged; others are left to their readers.

    Raises
    ------
    UserError
        Naming the byte at which a part is none that the format has.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
        if order is None or 0 in header[:4] or struct.unpack(f"{order}H", header[124:126])[0] >> 8 != 1:
            return  # another program's, version 4, or 7.3: that is HDF5 behind a header of this kind
        try:
            _Walk(file, order).variables()
        except (ValueError, zlib.error, struct.error) as error:
            raise UserError(
                f"{path}: a damaged .mat file ({error})", hint="compare its size with the source's, and copy it again"
            ) from None


class _Walk:
    def __init__(self, file: BinaryIO, order: str) -> None:
        self.file, self.order = file, order

    def variables(self) -> None:
        """Walk every variable of the file."""
        at, end = _HEADER, self.file.seek(0, 2)
        while at < end:
            self.file.seek(at)
            kind, n = self._tag({_MATRIX, _COMPRESSED})
            if kind == _COMPRESSED:
                self._decompressed(n)
            else:
                self._matrix(n)
            at += 8 + n

    def _tag(self, allowed: set[int] | frozenset[int]) -> tuple[int, int]:
        """Read the type of a part and how many bytes follow; -1 where they lie in the tag itself."""
        at = self.file.tell()
        kind, n = struct.unpack(f"{self.order}II", self.file.read(8))
        if kind >> 16:
            kind, n = kind & 0xFFFF, -1
        if kind not in allowed:
            raise ValueError(f"byte {at}: a part of type {kind}, which cannot stand there")
        return kind, n

    def _part(self, *allowed: int) -> bytes:
        """Read a short part."""
        at = self.file.tell()
        _, n = self._tag({*allowed})
        if n < 0:
            self.file.seek(at)
            return self.file.read(8)[4:]
        found = self.file.read(n)
        if len(found) < n:
            raise ValueError(f"byte {at}: the file ends inside of a part of {n} bytes")
        self.file.seek(-n % 8, 1)
        return found

    def _skip(self, allowed: set[int] | frozenset[int]) -> None:
        _, n = self._tag(allowed)
        if n > 0:
            self.file.seek(n + -n % 8, 1)

    def _integers(self, *allowed: int) -> tuple[int, ...]:
        at, found = self.file.tell(), self._part(*allowed)
        if len(found) < 4:
            raise ValueError(f"byte {at}: a part without a number, which needs one")
        return struct.unpack(f"{self.order}{len(found) // 4}i", found[: len(found) // 4 * 4])

    def _matrix(self, n: int, depth: int = 0) -> None:
        """Walk a matrix whose tag was read; of an empty one nothing follows."""
        if n == 0:
            return
        if depth > _DEEPEST:
            raise ValueError(f"byte {self.file.tell()}: structures in more than {_DEEPEST} structures")
        flags = self._integers(_UINT32)[0]
        kind = flags & 0xFF
        if kind == _OPAQUE:
            for _ in range(3):
                self._part(_BYTES)
            return self._inner(1, depth)
        dims = self._integers(_INT32, _UINT32)
        self._skip({_BYTES, 16})
        if kind in (_CELL, _STRUCT, _OBJECT):
            fields = 1
            if kind == _OBJECT:
                self._skip({_BYTES})
            if kind != _CELL:
                length = self._integers(_INT32)[0]
                names = self._part(_BYTES)
                if length < 1:
                    raise ValueError(f"byte {self.file.tell()}: names of {length} bytes")
                fields = len(names) // length
            return self._inner(prod(dims) * fields, depth)
        if kind == _FUNCTION:
            return self._inner(1, depth)
        for _ in range(2 * (kind == _SPARSE)):  # rows, and where columns begin
            self._skip(_NUMBERS)
        if not 4 <= kind <= 15:
            raise ValueError(f"byte {self.file.tell()}: an array of class {kind}, which does not exist")
        for _ in range(1 + bool(flags & _COMPLEX)):
            self._skip(_TEXTS if kind == _CHAR else _NUMBERS)

    def _inner(self, count: int, depth: int) -> None:
        for _ in range(count):
            _, n = self._tag({_MATRIX})
            self._matrix(n, depth + 1)

    def _decompressed(self, n: int) -> None:
        """Decompress `n` bytes, which checks their sum."""
        stream = zlib.decompressobj()
        while n > 0 and not stream.eof:
            part = self.file.read(min(n, _CHUNK))
            if not part:
                break
            n -= len(part)
            stream.decompress(part)
        if not stream.eof:
            raise ValueError(f"byte {self.file.tell()}: a compressed variable is cut short")
