"""Trained networks by key: trained once, whatever is killed and however many processes want the same one.

A network lies in ``<key>.safetensors`` (weights, and its facts in the header) with ``<key>.json`` beside it for people:
everything that made it. While it is trained, ``<key>.checkpoint.safetensors`` is where the training stands. One process
trains, under a lock; others wait, and take over from the checkpoint if it dies. Whoever was interrupted, the files end
as the same bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainbench.core.digests import SCHEMA, canonical_json, digest
from brainbench.core.files import explain_os_errors, read_json, remove_stale, write_json

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1
"""Raised when the same description leads to other weights."""
LIBRARIES = ("torch", "braindecode", "diffusers")
"""Their versions decide weights."""

Train = Callable[[Path, str], "tuple[Mapping[str, Tensor], Mapping[str, Any]]"]
"""From the checkpoint's file and the key to tensors and facts (JSON)."""


@dataclass(frozen=True)
class Listed:
    """A finished network as `NetworkStore.entries` lists it; `used` is in seconds since 1970."""

    key: str
    network: str
    n_bytes: int
    used: float


@dataclass(frozen=True)
class TrainedNetwork:
    """A network in the store.

    Attributes
    ----------
    key : str
    file : Path
    tensors : mapping of str to Tensor
    facts : mapping
        What its training left behind, such as its history.
    """

    key: str
    file: Path
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


class NetworkStore:
    """Trained networks in a folder.

    Parameters
    ----------
    root : path
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    @staticmethod
    def key(description: Mapping[str, Any]) -> str:
        """Return the name of a network: what it is, how it is trained, on what, and by which versions."""
        return digest(_complete(description))[:24]

    def file(self, description: Mapping[str, Any]) -> Path:
        """Return where a network lies, or will."""
        return self.root / f"{self.key(description)}.safetensors"

    def has(self, description: Mapping[str, Any]) -> bool:
        """Return whether a network was trained already; its bytes are not looked at."""
        return self.file(description).is_file()

    def get(self, description: Mapping[str, Any]) -> TrainedNetwork | None:
        """Return a network that was trained before; None where there is none or its file is damaged."""
        from brainbench.networks.tensors import load_tensors

        key, file = self.key(description), self.file(description)
        found = load_tensors(file, key)
        with contextlib.suppress(OSError):
            os.utime(file.with_suffix(".json"))  # `prune` goes by the last use
        return None if found is None else TrainedNetwork(key, file, found[0], found[1]["training"])

    def trained(self, description: Mapping[str, Any], train: Train) -> TrainedNetwork:
        """Return a network, trained here unless it was before.

        Parameters
        ----------
        description : mapping
            Everything that decides the weights, readable, with digests of the data.
        train : callable
            Called at most once, while no other process trains the same network.

        Raises
        ------
        UserError
            If the folder cannot be written, or training cannot go on.
        """
        from brainbench.networks.tensors import save_tensors

        key, file = self.key(description), self.file(description)
        about, checkpoint = file.with_suffix(".json"), self.root / f"{key}.checkpoint.safetensors"
        found = self.get(description)
        if found is not None and about.is_file() and not checkpoint.exists():
            return found
        with self._lock(key):
            found = self.get(description)  # another process may have finished it while this one waited
            if found is None:
                tensors, facts = train(checkpoint, key)
                save_tensors(file, tensors, {"key": key, "training": dict(facts)})
                found = TrainedNetwork(key, file, dict(tensors), dict(facts))
            about_it = {"key": key, **_complete(description), "training": dict(found.facts)}
            write_json(about, json.loads(canonical_json(about_it)))
            checkpoint.unlink(missing_ok=True)
        return found

    @contextlib.contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Let one process (and one thread of it) at a time train a network; the system frees a dead one's lock."""
        path = self.root / "locks" / key
        with explain_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = open(path, "w")
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            remove_stale(self.root)
            yield

    # Housekeeping ----------------------------------------------------------------------------------------------

    def entries(self) -> list[Listed]:
        """Return the finished networks, newest use first."""
        found = []
        for about in self.root.glob("*.json"):
            try:
                size, facts = about.with_suffix(".safetensors").stat().st_size, read_json(about)
                found.append(Listed(about.stem, str(facts["network"]), size, about.stat().st_mtime))
            except (OSError, KeyError, TypeError, ValueError):  # damaged: `prune` removes it
                continue
        return sorted(found, key=lambda entry: -entry.used)

    def prune(self, keep_days: float | None = None, everything: bool = False) -> list[Path]:
        """Remove left-overs of killed processes, damaged entries, those unused for `keep_days`, or all of them."""
        removed = remove_stale(self.root) if self.root.exists() else []
        used = {entry.key: entry.used for entry in self.entries()}
        for path in sorted([*self.root.glob("*.json"), *self.root.glob("*.safetensors")]):
            key = path.name.split(".")[0]
            unfinished = key not in used and path.name.endswith(".checkpoint.safetensors")
            last = path.stat().st_mtime if unfinished else used.get(key, 0.0)
            old = keep_days is not None and time.time() - last > keep_days * 86400
            if everything or old or (key not in used and not unfinished):
                with explain_os_errors(path):
                    path.unlink(missing_ok=True)
                removed.append(path)
        return removed


def _complete(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description with what decides every network."""
    return {"schema": SCHEMA, "store": VERSION, "libraries": _libraries(), **description}


@cache
def _libraries() -> dict[str, str]:
    """Return the versions of libraries that decide weights, read from their metadata once a process."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
