"""Arrays that take long to compute from files, such as betas: kept under the cache, whole or not at all.

An entry is a folder named by its key (the digest of everything that made it) with one ``.npy`` per array and a
``manifest.json``. Its bytes are hashed; a damaged entry is thrown away and computed again, never served.
"""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from brainbench import __version__
from brainbench.core.digests import SCHEMA, digest, digest_file
from brainbench.core.files import (
    atomic_folder,
    explain_os_errors,
    mapped,
    read_json,
    remove_stale,
    write_array,
    write_json,
)


def cached_arrays(
    cache: Path | None,
    kind: str,
    made_of: Mapping[str, Any],
    compute: Callable[[], Mapping[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Return arrays from the cache, or compute and keep them.

    Parameters
    ----------
    cache : Path or None
        The cache; None keeps nothing.
    kind : str
        Folder of the cache: ``"betas"``.
    made_of : mapping
        Resolved settings, digests of inputs and versions: everything that decides the result.
    compute : callable
        Returns the arrays by name.

    Returns
    -------
    mapping of str to ndarray or read-only memmap

    Raises
    ------
    UserError
        If the cache cannot be written.
    """
    if cache is None:
        return dict(compute())
    facts = {"schema": SCHEMA, "kind": kind, **made_of}
    folder = cache / kind / digest(facts)[:40]
    found = _open(folder)
    if found is None:
        arrays = dict(compute())
        with explain_os_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            remove_stale(folder.parent)
        with atomic_folder(folder) as temporary:
            for name, array in arrays.items():
                write_array(temporary / f"{name}.npy", array)
            write_json(
                temporary / "manifest.json",
                {
                    "key": folder.name,
                    "made_of": facts,
                    "sha256": {name: digest_file(temporary / f"{name}.npy") for name in arrays},
                    "brainbench": __version__,
                    "created": time.strftime("%Y-%m-%dT%H:%M:%S"),
                },
            )
        found = _open(folder)
        return arrays if found is None else found
    return found


def _open(folder: Path) -> dict[str, np.ndarray] | None:
    """Return an entry, or None when it is absent or damaged (then it is removed)."""
    if not folder.exists():
        return None
    try:
        manifest = read_json(folder / "manifest.json")
        if digest(manifest["made_of"])[:40] != folder.name:
            raise ValueError("it is the entry of another key")
        written: dict[str, str] = manifest["sha256"]
        for name, sha in written.items():
            if digest_file(folder / f"{name}.npy") != sha:
                raise ValueError(f"{name}.npy does not hold the bytes that were written")
        return {name: mapped(folder / f"{name}.npy") for name in written}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        warnings.warn(f"cache entry {folder} is damaged ({error}); it is computed again", stacklevel=3)
        with explain_os_errors(folder):
            shutil.rmtree(folder)
        return None
