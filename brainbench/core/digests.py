"""Digests: the same thing has the same name, a changed thing has another.

A cache key is the SHA-256 of canonical JSON of all resolved parameters together with the digests of the
inputs, weights and preprocessing, and `SCHEMA`, which is raised when the meaning of stored bytes changes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = 1
"""Raised whenever code changes what a stored feature or unit means."""

_CHUNK = 1 << 20


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys and no spaces; floats keep their shortest exact form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"array": digest_array(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return vars(value)
    raise TypeError(f"{type(value).__name__} cannot stand in a digest")


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_array(array: np.ndarray) -> str:
    """Return the SHA-256 (hex) of dtype, shape and bytes of `array`, read block by block."""
    array = np.asarray(array)
    if array.dtype.kind == "U":
        return digest([list(array.shape), array.ravel().tolist()])
    if array.dtype == object:
        raise TypeError("an object array has no digest; give it a plain dtype")
    sha = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    if array.ndim == 0:
        sha.update(array.tobytes())
        return sha.hexdigest()
    row_bytes = max(1, array[:1].nbytes)
    step = max(1, _CHUNK * 16 // row_bytes)
    for start in range(0, array.shape[0], step):
        sha.update(np.ascontiguousarray(array[start : start + step]).data)
    return sha.hexdigest()


def digest_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    sha = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def digest_files(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Return one digest for the contents of several files, in the order given."""
    return digest([digest_file(path) for path in paths])
