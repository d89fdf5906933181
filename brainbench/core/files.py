"""Files that are either whole or absent.

Everything brainbench writes goes to a temporary name in the same folder, is flushed to disk, and is renamed.
The temporary name carries machine and process id, so that a later run can tell a file being written from one left by
a process that was killed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from brainbench.core.errors import UserError

K = TypeVar("K")

HOST = re.sub(r"[^A-Za-z0-9]", "", platform.node()) or "host"
_UNWRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM, errno.EIO, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE)
READING = threading.Lock()
"""Held while NumPy reads the header of an array: it parses it as Python, which CPython 3.11 does not survive in two
threads whenever garbage is collected meanwhile (SystemError: AST constructor recursion depth mismatch)."""
_TEMPORARY = re.compile(r"^\.tmp-([A-Za-z0-9]+)-(\d+)-")


def temporary_for(path: Path) -> Path:
    """Return the temporary name under which this process writes `path`."""
    return path.with_name(f".tmp-{HOST}-{os.getpid()}-{path.name}")


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into a message that names it."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"no space left on the disk that holds {path.parent}; nothing half-written was kept",
                hint="free some space (`brainbench cache prune` shows what the cache holds) and run again: "
                "the run continues where it stopped",
            ) from error
        if error.errno in _UNWRITABLE or (error.errno == errno.ENOENT and error.filename in map(str, path.parents)):
            raise UserError(
                f"{path.parent} cannot be written ({os.strerror(error.errno).lower()})",
                hint="choose another folder with --out or --cache (or BRAINBENCH_CACHE)",
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise UserError(
                f"{path.parent} cannot be a folder: a file is in its way",
                hint="choose another folder with --out or --cache (or BRAINBENCH_CACHE)",
            ) from error
        raise


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; rename it to `path` when the block ends well, remove it when not."""
    path = Path(path)
    temporary = temporary_for(path)
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


@contextlib.contextmanager
def atomic_open(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open `path` for writing so that it appears whole or not at all."""
    encoding = None if "b" in mode else "utf-8"
    with atomic_path(path) as temporary, open(temporary, mode, encoding=encoding) as handle:
        yield handle
        handle.flush()


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well.

    If another process finished the same folder first, its copy is kept: equal names hold equal content.
    """
    path = Path(path)
    temporary = temporary_for(path)
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            try:
                os.replace(temporary, path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically; keys keep their order."""
    with atomic_open(path, "w") as handle:
        json.dump(value, handle, indent=2, allow_nan=False)
        handle.write("\n")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_open(path, "w") as handle:
        handle.write(text)


def write_array(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write `array` as ``.npy``, atomically and without pickle."""
    with atomic_open(path) as handle:
        np.save(handle, np.asarray(array), allow_pickle=False)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def remove_stale(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove temporary files below `folder` whose process is gone, and return them.

    Those of other machines, on a disk that several share, are left to them.
    """
    removed = []
    for path in sorted(Path(folder).rglob(".tmp-*")):
        match = _TEMPORARY.match(path.name)
        if match is None or match.group(1) != HOST or _alive(int(match.group(2))):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        removed.append(path)
    return removed


def mapped(path: str | os.PathLike[str]) -> np.ndarray:
    """Return a memory map of an array's file; pickled objects raise ValueError, because opening them can run code."""
    with READING:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array


def write_cached_json(path: Path, values: Any) -> None:
    """Write a JSON file into a folder of the cache, and clear the folder of what killed processes left."""
    _clear_once(path.parent)
    write_json(path, values)


@cache
def _clear_once(folder: Path) -> None:
    if folder.exists():
        remove_stale(folder)


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def by_name(paths: Iterable[Path], name: Callable[[Path], K], what: str) -> dict[K, Path]:
    """Return files by what their names say, in order.

    Raises
    ------
    UserError
        If two say the same: which of them is meant, nobody knows.
    """
    found: dict[K, Path] = {}
    for path in paths:
        other = found.setdefault(name(path), path)
        if other != path:
            raise UserError(f"{other} and {path} are both {what} '{name(path)}'", hint="remove or rename one of them")
    return found
