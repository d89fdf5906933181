"""The feature store: every layer of every stimulus set, computed once.

An entry is a folder named by its key, with ``features.npy`` and ``manifest.json`` (everything that made it). The key
is the digest of encoder, stimuli, layer, pooling, kind of device and code schema. An entry appears by one rename,
its bytes are hashed, and a damaged or exchanged one is thrown away and computed again, never served.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainbench import __version__
from brainbench.core.digests import SCHEMA, digest, digest_file
from brainbench.core.errors import UserError
from brainbench.core.files import atomic_folder, explain_os_errors, mapped, read_json, remove_stale, write_json
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Pool
from brainbench.features.growing import Growing, left_over

VARIABLE = "BRAINBENCH_CACHE"
NETWORKS = "networks"
"""Folder of the cache that holds trained networks (`brainbench.networks.store`)."""


def default_cache(folder: str | None) -> Path:
    """Return the folder of the feature store: the one given, else BRAINBENCH_CACHE, else the user's cache."""
    chosen = folder or os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("brainbench"))


@dataclass(frozen=True)
class Entry:
    """One stored layer."""

    key: str
    path: Path
    encoder: str
    layer: str
    n_bytes: int
    used: float


class FeatureStore:
    """Features on disk.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.folder = self.root / "features"
        self._verified: dict[str, tuple[int, ...]] = {}

    # Keys ------------------------------------------------------------------------------------------------------

    def describe(self, encoder: Encoder, stimuli: Stimuli, layer: str, pool: Pool) -> dict[str, Any]:
        """Return everything that decides an entry's content."""
        return {
            "schema": SCHEMA,
            "encoder": encoder.digest(),
            "parameters": encoder.parameters(),
            "stimuli": encoder.view(stimuli).digest(),
            "n_stimuli": len(stimuli),
            "layer": layer,
            "pool": pool,
            "device": encoder.device.split(":")[0],
        }

    def key(self, encoder: Encoder, stimuli: Stimuli, layer: str, pool: Pool) -> str:
        """Return the name of an entry, without computing anything."""
        return digest(self.describe(encoder, stimuli, layer, pool))[:40]

    def missing(self, encoder: Encoder, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> list[str]:
        """Return the layers that are not stored."""
        return [layer for layer in layers if not self._has(self.key(encoder, stimuli, layer, pool))]

    def _has(self, key: str) -> bool:
        return (self.folder / key / "manifest.json").is_file()

    # Reading and computing -------------------------------------------------------------------------------------

    def features(
        self,
        encoder: Encoder,
        stimuli: Stimuli,
        layers: Sequence[str],
        pool: Pool,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return features of every stimulus, computing the layers that are missing in one pass.

        Parameters
        ----------
        encoder : Encoder
        stimuli : Stimuli
        layers : sequence of str
        pool : {"cls", "mean", "flatten"}
        progress : callable, optional
            Called with (stimuli done, stimuli in all).

        Returns
        -------
        mapping of layer to read-only memmap (n_stimuli, n_features), float32

        Raises
        ------
        UserError
            If something is missing and the store cannot be written.
        """
        keys = {layer: self.key(encoder, stimuli, layer, pool) for layer in layers}
        found = {layer: self._open(key) for layer, key in keys.items()}
        if any(value is None for value in found.values()):
            stimuli = encoder.view(stimuli)
            with self._lock(digest([encoder.digest(), stimuli.digest(), pool])[:16]):
                # Another process may have finished them while this one waited.
                found = {
                    layer: value if value is not None else self._open(keys[layer]) for layer, value in found.items()
                }
                todo = [layer for layer, value in found.items() if value is None]
                if todo:
                    self._compute(encoder, stimuli, todo, pool, keys, progress)
                    found |= {layer: self._open(keys[layer]) for layer in todo}
        if progress is not None:
            progress(len(stimuli), len(stimuli))
        return {layer: value for layer, value in found.items() if value is not None}

    def _open(self, key: str) -> np.ndarray | None:
        """Return an entry, or None when it is absent or damaged (then it is removed)."""
        folder = self.folder / key
        try:
            manifest = read_json(folder / "manifest.json")
            path = folder / "features.npy"
            if manifest["key"] != key or digest(manifest["made_of"])[:40] != key:
                raise ValueError("it is the entry of another key")
            status = path.stat()
            state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if self._verified.get(key) != state:
                if digest_file(path) != manifest["sha256"]:
                    raise ValueError("its bytes are not those that were written")
                self._verified[key] = state
                with contextlib.suppress(OSError):
                    os.utime(folder / "manifest.json")
            return mapped(path)
        except (FileNotFoundError, NotADirectoryError):
            if folder.exists():
                self._discard(folder, "a file of it is missing")
            return None
        except (ValueError, KeyError, TypeError, EOFError, json.JSONDecodeError) as error:
            self._discard(folder, str(error))
            return None

    def _discard(self, folder: Path, why: str) -> None:
        warnings.warn(f"cache entry {folder} is damaged ({why}); it is computed again", stacklevel=4)
        with explain_os_errors(folder):
            shutil.rmtree(folder)

    def _compute(
        self,
        encoder: Encoder,
        stimuli: Stimuli,
        layers: Sequence[str],
        pool: Pool,
        keys: dict[str, str],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """Stream batches to disk, one file a layer, and make each an entry when the pass is complete.

        A killed process's rows are kept and not computed again (`Growing`); those of a pass that failed are not.
        """
        n = len(stimuli)
        growing = Growing(self.root, {layer: keys[layer] for layer in layers}, n)
        try:
            for batch in encoder.encode_rest(stimuli, layers, pool, growing.rows):
                for layer, values in batch.items():
                    if not np.isfinite(values).all():
                        row = growing.rows + int(np.argwhere(~np.isfinite(values))[0][0])
                        raise UserError(
                            f"encoder '{encoder.name}', layer '{layer}': features of stimulus "
                            f"'{stimuli.ids[row]}' are not finite"
                        )
                    width = growing.widths.get(layer, values.shape[1])
                    if values.shape[1] != width:
                        raise UserError(
                            f"encoder '{encoder.name}', layer '{layer}': stimulus '{stimuli.ids[growing.rows]}' gives "
                            f"{values.shape[1]} features, those before it {width}"
                        )
                with explain_os_errors(growing.folder):
                    growing.append(batch)
                if progress is not None:
                    progress(growing.rows, n)
            if growing.rows != n:
                raise RuntimeError(f"encoder '{encoder.name}' gave {growing.rows} rows for {n} stimuli")
            for layer in layers:
                with atomic_folder(self.folder / keys[layer]) as folder:
                    sha = growing.take(layer, folder / "features.npy")
                    write_json(
                        folder / "manifest.json",
                        {
                            "key": keys[layer],
                            "made_of": self.describe(encoder, stimuli, layer, pool),
                            "encoder": encoder.name,
                            "stimuli": stimuli.source,
                            "sha256": sha,
                            "shape": [n, growing.widths[layer]],
                            "brainbench": __version__,
                            "created": time.strftime("%Y-%m-%dT%H:%M:%S"),
                        },
                    )
        except Exception:
            growing.remove()
            raise
        except BaseException:  # stopped from outside: the next one goes on
            growing.close()
            raise
        growing.remove()

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Let one process at a time compute the same features."""
        path = self.root / "locks" / name
        with explain_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = open(path, "w")
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            remove_stale(self.folder)
            yield

    # Housekeeping ----------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Return what is stored, newest use first."""
        found = []
        for manifest in self.folder.glob("*/manifest.json"):
            try:
                facts = read_json(manifest)
                size = (manifest.parent / "features.npy").stat().st_size
                found.append(
                    Entry(
                        manifest.parent.name, manifest.parent, facts["encoder"], facts["made_of"]["layer"], size,
                        manifest.stat().st_mtime,
                    )
                )  # fmt: skip
            except (OSError, KeyError, TypeError, ValueError):  # damaged: `prune` removes it
                continue
        return sorted(found, key=lambda entry: -entry.used)

    def explain(self, key: str) -> str:
        """Return everything that made an entry, as indented JSON.

        Raises
        ------
        UserError
            If no entry, or more than one, begins so.
        """
        found = [entry for entry in self.entries() if entry.key.startswith(key)]
        if len(found) != 1:
            what = "no entry begins" if not found else f"{len(found)} entries begin"
            raise UserError(f"{self.root}: {what} with '{key}'", hint="`brainbench cache show` lists keys")
        return json.dumps(read_json(found[0].path / "manifest.json"), indent=2)

    def prune(self, keep_days: float | None = None, everything: bool = False) -> list[Path]:
        """Remove left-overs of killed processes, damaged entries, those unused for `keep_days`, or all of them.

        Folders that are no entries stay: somebody else's files may lie in a folder of that name.
        """
        removed = remove_stale(self.root) if self.root.exists() else []
        for folder in left_over(self.root):
            with explain_os_errors(folder):
                shutil.rmtree(folder)
            removed.append(folder)
        folders = sorted(path for path in self.folder.glob("[!.]*") if _is_entry(path))
        used = {entry.path: entry.used for entry in self.entries()}
        for folder in folders:
            old = keep_days is not None and time.time() - used.get(folder, 0) > keep_days * 86400
            if everything or old or folder not in used:
                with explain_os_errors(folder):
                    shutil.rmtree(folder)
                removed.append(folder)
        return removed


def _is_entry(path: Path) -> bool:
    """Return whether a folder is an entry, whole or damaged: its name is a key, and it holds nothing else."""
    known = {"features.npy", "manifest.json"}
    return (
        re.fullmatch("[0-9a-f]{40}", path.name) is not None
        and path.is_dir()
        and not path.is_symlink()
        and {file.name for file in path.iterdir()} <= known
    )
