"""Content digests of files, remembered beside what the file system says of them, so that large files are hashed once.

A file whose content changed has another time of change (``ctime``) even where size and modification time were kept.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

from brainbench.core.digests import digest, digest_file
from brainbench.core.files import explain_os_errors, read_json, write_cached_json

_FOLDER = "digests"
_SETTLED_NS = 2_000_000_000
"""A file that changed less than this ago may change again without another time of change: it is not remembered."""


def file_state(path: Path) -> list[int]:
    """Return size, modification time, time of change (both in ns) and inode of a file."""
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def remembered_digest(path: Path, cache: Path | None) -> str:
    """Return the SHA-256 (hex) of a file's bytes, from the cache where the file's state is the one remembered.

    Parameters
    ----------
    path : Path
    cache : Path or None
        The cache; None remembers nothing.
    """
    if cache is None:
        return digest_file(path)
    state = file_state(path)
    entry = cache / _FOLDER / f"{digest(str(path.resolve()))[:40]}.json"
    try:
        known = read_json(entry)
        if known["state"] == state and isinstance(known["sha256"], str):
            return str(known["sha256"])
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        pass  # never seen, or damaged: hashed again
    sha = digest_file(path)
    if time.time_ns() - max(state[1:3]) > _SETTLED_NS and file_state(path) == state:
        write_cached_json(entry, {"path": str(path.resolve()), "state": state, "sha256": sha})
    return sha


def forget_digests(cache: Path) -> None:
    """Forget every digest, so that all files are hashed again."""
    with explain_os_errors(cache / _FOLDER):
        shutil.rmtree(cache / _FOLDER, ignore_errors=True)
