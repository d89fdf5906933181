"""Features that are being computed: a killed process's successor goes on where it stopped."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib.format import write_array_header_1_0

from brainbench.core.digests import digest
from brainbench.core.files import explain_os_errors, read_json, write_json

FOLDER = "growing"
EVERY_S = 5.0
"""Seconds between two notes of how far it is."""


class Growing:
    """Files of several layers that grow together, one row a stimulus.

    What is noted are the rows so far and the digest of their bytes: after a kill, files are cut back to the last note,
    and begun again where their bytes are not those noted.

    Parameters
    ----------
    root : Path
        The feature store.
    keys : mapping of str to str
        Key of every layer's entry.
    n : int
        Rows in the end.
    """

    def __init__(self, root: Path, keys: Mapping[str, str], n: int) -> None:
        self.folder = root / FOLDER / digest(sorted(keys.values()))[:40]
        self.keys = dict(keys)
        self.n = n
        self.rows = 0
        self._files: dict[str, IO[bytes]] = {}
        self._sums: dict[str, Any] = {}
        self.widths: dict[str, int] = {}
        self._noted = time.monotonic()
        with explain_os_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held = open(self.folder / "lock", "w")
        fcntl.flock(self._held, fcntl.LOCK_EX)
        try:
            self._recover()
        except (OSError, ValueError, KeyError, TypeError):
            for file in self._files.values():
                file.close()
            self.rows, self.widths, self._files, self._sums = 0, {}, {}, {}

    def path(self, layer: str) -> Path:
        """Return the file of a layer."""
        return self.folder / f"{self.keys[layer]}.npy"

    def _recover(self) -> None:
        """Open what a killed process left; raises where that is not what it noted."""
        known = read_json(self.folder / "progress.json")
        rows = int(known["rows"])
        for layer, key in self.keys.items():
            size, width = int(known["bytes"][key]), int(known["widths"][key])
            file = open(self.path(layer), "r+b")
            self._files[layer] = file
            total = hashlib.sha256()
            for start in range(0, size, 1 << 20):
                total.update(file.read(min(1 << 20, size - start)))
            if total.hexdigest() != known["sha256"][key]:
                raise ValueError("its bytes are not those that were written")
            file.truncate(size)
            self._sums[layer], self.widths[layer] = total, width
        self.rows = rows

    def append(self, batch: Mapping[str, np.ndarray]) -> None:
        """Write the next rows of every layer."""
        for layer, values in batch.items():
            if layer not in self._files:
                # Plain writes and no memory map: a full disk is an error to explain, not a bus error that kills.
                self._files[layer] = open(self.path(layer), "wb")
                self._sums[layer], self.widths[layer] = hashlib.sha256(), int(values.shape[1])
                shape = (self.n, self.widths[layer])
                write_array_header_1_0(
                    _Both(self._files[layer], self._sums[layer]),
                    {"descr": "<f4", "fortran_order": False, "shape": shape},
                )
            data = np.ascontiguousarray(values, dtype="<f4").data
            self._files[layer].write(data)
            self._sums[layer].update(data)
        self.rows += len(next(iter(batch.values())))
        if time.monotonic() - self._noted >= EVERY_S:
            self.note()

    def note(self) -> None:
        """Write down how far it is."""
        for file in self._files.values():
            file.flush()
        write_json(
            self.folder / "progress.json",
            {
                "rows": self.rows,
                "bytes": {self.keys[layer]: file.tell() for layer, file in self._files.items()},
                "widths": {self.keys[layer]: width for layer, width in self.widths.items()},
                "sha256": {self.keys[layer]: total.hexdigest() for layer, total in self._sums.items()},
            },
        )
        self._noted = time.monotonic()

    def take(self, layer: str, path: Path) -> str:
        """Move a layer's finished file to `path`; return the digest of its bytes."""
        self._files.pop(layer).close()
        os.replace(self.path(layer), path)
        return str(self._sums[layer].hexdigest())

    def close(self) -> None:
        """Close the files, and leave them to whoever goes on."""
        for file in self._files.values():
            file.close()
        self._files = {}
        self._held.close()

    def remove(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()


class _Both:
    """A file whose bytes are hashed as they are written."""

    def __init__(self, file: IO[bytes], total: Any) -> None:
        self.file, self.total = file, total

    def write(self, data: bytes) -> int:
        self.total.update(data)
        return self.file.write(data)


def left_over(root: Path) -> list[Path]:
    """Return what killed processes left and no one goes on with at the moment."""
    found = []
    for lock in sorted((root / FOLDER).glob("*/lock")):
        with open(lock) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            found.append(lock.parent)
    return found
