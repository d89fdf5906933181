"""The run folder: everything one recipe produced, readable without brainbench.

::

    recipe.yaml (resolved)   manifest.json   events.jsonl   facts.json     files.txt
    units/<digest>.npz       scores.csv      targets/*.npy  maps/*.nii.gz  figures/*.png  report.html

Finished units are content-addressed: a unit whose settings or inputs change has another digest, and each file carries
its own, so nothing stale or exchanged can be taken for it. `events.jsonl` holds one ``unit_done`` record per digest,
`files.txt` the files that a run makes anew: no other file is ever removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest_file
from brainbench.core.errors import UserError
from brainbench.core.facts import read_facts
from brainbench.core.files import READING, atomic_open, explain_os_errors, read_json, remove_stale, write_json
from brainbench.core.made import MadeFiles, refuse_foreign
from brainbench.core.remembered import file_state, remembered_digest

if TYPE_CHECKING:
    import pandas as pd

FINISHED = "finished"
TABLES = ("scores.csv", "facts.json", "report.html")
"""What every finished run has."""
_STATE = ("size", "mtime_ns", "ctime_ns", "inode")
"""What the file system says of an input, as `file_state` returns it."""
_UNIT = "brainbench_unit"
"""The array of a unit's file that holds its digest."""


class RunFolder:
    """One run folder on disk."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.made = MadeFiles(self.path)
        self.asked: dict[str, str] = {}
        """Kind of every unit that this process wanted here, by digest, whether or not it was there."""
        self._lock: IO[str] | None = None
        self._recorded: set[str] | None = None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @contextlib.contextmanager
    def writing(self) -> Iterator[RunFolder]:
        """Hold the folder for one writing process; left-overs of killed ones are removed first.

        Raises
        ------
        UserError
            If another process is writing here, the folder cannot be written, or it holds files of somebody else.
        """
        with explain_os_errors(self.path / "lock"):
            if self.path.exists() and not self.path.is_dir():
                raise UserError(f"--out {self.path} is a file; a run needs a folder")
            if self.path.exists() and not self.is_run():
                refuse_foreign(self.path, "--out", "a run")
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / ".lock", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise UserError(
                f"another process is writing {self.path}", hint="wait for it, or choose another folder with --out"
            ) from None
        self._lock = lock
        try:
            with explain_os_errors(self.path / "events.jsonl"):
                (self.path / "events.jsonl").touch()
            remove_stale(self.path)
            self._mend_events()
            yield self
        finally:
            self._lock = None
            lock.close()

    def is_run(self) -> bool:
        """Return whether a run was begun here: another program makes no such files."""
        begun = all((self.path / name).is_file() for name in (".lock", "events.jsonl"))
        return begun or "brainbench" in self.manifest

    # Units -----------------------------------------------------------------------------------------------------

    def unit_path(self, digest: str) -> Path:
        """Return the file of a unit."""
        return self.path / "units" / f"{digest}.npz"

    def read_unit(self, digest: str) -> dict[str, np.ndarray] | None:
        """Return the arrays of a finished unit, or None when it is absent, damaged or another one's.

        Whoever holds the folder for writing removes what cannot be used.
        """
        path = self.unit_path(digest)
        try:
            with READING, np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            if str(arrays.pop(_UNIT)) != digest:
                raise ValueError("the file of another unit")
            return arrays
        except FileNotFoundError:
            return None
        except Exception:  # a damaged file raises whatever zip, zlib or NumPy think of it
            if self._lock is not None:
                path.unlink(missing_ok=True)
                self.event("unit_damaged", unit=digest)
            return None

    def remove_damaged(self) -> None:
        """Remove the units that cannot be read: where one is damaged, others may be."""
        for path in sorted((self.path / "units").glob("*.npz")):
            if re.fullmatch("[0-9a-f]{32}", path.stem):
                self.read_unit(path.stem)

    def has_unit(self, digest: str) -> bool:
        """Return whether a unit's file is there."""
        return self.unit_path(digest).is_file()

    def write_unit(self, digest: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a unit's arrays, whole or not at all."""
        with atomic_open(self.unit_path(digest)) as handle:
            np.savez(handle, **{**arrays, _UNIT: np.array(digest)})  # type: ignore[arg-type]

    def record_done(self, digest: str, **facts: Any) -> None:
        """Record a unit's completion, once per digest."""
        if self._recorded is None:
            self._recorded = {str(event.get("unit")) for event in self.events() if event["event"] == "unit_done"}
        if digest not in self._recorded:
            self._recorded.add(digest)
            self.event("unit_done", unit=digest, **facts)

    # Events ----------------------------------------------------------------------------------------------------

    def event(self, name: str, **facts: Any) -> None:
        """Append one line to ``events.jsonl``."""
        line = json.dumps({"event": name, "time": round(time.time(), 3), **facts}, sort_keys=True) + "\n"
        path = self.path / "events.jsonl"
        with explain_os_errors(path), open(path, "ab", buffering=0) as handle:
            handle.write(line.encode())

    def events(self) -> list[dict[str, Any]]:
        """Return every whole event, oldest first; a line that was damaged is none."""
        path = self.path / "events.jsonl"
        if not path.exists():
            return []
        events = []
        for line in path.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError):  # no JSON, or no text
                event = json.loads(line)
                if isinstance(event, dict) and "event" in event:
                    events.append(event)
        return events

    def _mend_events(self) -> None:
        """Cut a line that a killed process left half written."""
        path = self.path / "events.jsonl"
        if path.exists():
            content = path.read_bytes()
            if content and not content.endswith(b"\n"):
                with open(path, "r+b") as handle:
                    handle.truncate(content.rfind(b"\n") + 1)
        self._recorded = None

    # Manifest --------------------------------------------------------------------------------------------------

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest; empty when there is none or it cannot be read."""
        try:
            value = read_json(self.path / "manifest.json")
        except (OSError, json.JSONDecodeError, UnicodeDecodeError):
            return {}
        return value if isinstance(value, dict) else {}

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest."""
        write_json(self.path / "manifest.json", manifest)

    def finished(self, recipe_digest: str, *, verify: bool = False) -> bool:
        """Return whether this recipe finished here and none of the files it read has changed since.

        With `verify` every file is hashed; without, only those of which the file system says something else.
        """
        manifest = self.manifest
        if manifest.get("status") != FINISHED or manifest.get("digest") != recipe_digest:
            return False
        if not all((self.path / name).is_file() for name in TABLES):
            return False
        return all(_unchanged(entry, verify) for entry in manifest.get("inputs", []))

    def clear_derived(self) -> None:
        """Remove what is made anew from the units: the tables, and the files that are listed."""
        self.made.clear()
        for name in TABLES:
            (self.path / name).unlink(missing_ok=True)


def describe_input(path: Path, cache: Path | None = None) -> dict[str, Any]:
    """Return what the manifest says of an input: a file's content and state, or the names in a folder."""
    if path.is_dir():
        return {"path": str(path.resolve()), "names": sorted(os.listdir(path))}
    state = file_state(path)
    sha = remembered_digest(path, cache)
    return {"path": str(path.resolve()), **dict(zip(_STATE, state, strict=True)), "sha256": sha}


def _unchanged(entry: Mapping[str, Any], verify: bool) -> bool:
    if "unsaid" in entry:  # nobody knows
        return False
    path = Path(entry["path"])
    try:
        if "names" in entry:
            return sorted(os.listdir(path)) == entry["names"]
        state = file_state(path)
        if state[0] != entry["size"]:
            return False
        same = not verify and state == [entry.get(name) for name in _STATE]
        return same or digest_file(path) == entry["sha256"]
    except OSError:
        return False


class Run:
    """A run to read: ``run.scores`` (pandas), ``run.report`` (path), ``run.warnings``, and more."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.folder = RunFolder(path)
        if not (self.folder / "manifest.json").is_file():
            raise UserError(
                f"{path} is not a run folder (no manifest.json)",
                hint="give the folder that `brainbench run` printed",
            )

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def report(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    @property
    def scores(self) -> pd.DataFrame:
        """Every score in long form; see `brainbench.runs.columns`."""
        return read_scores(self.folder / "scores.csv")

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, digests, seeds, hardware and timings."""
        return self.folder.manifest

    @property
    def warnings(self) -> list[str]:
        """What to know before a score is believed: first what puts claims in doubt, then everything else."""
        facts = self.facts
        return [*facts["doubts"], *facts["warnings"]]

    @property
    def facts(self) -> dict[str, Any]:
        """What the report says besides the scores."""
        return read_facts(self.path)


def read_scores(path: Path) -> pd.DataFrame:
    """Read a ``scores.csv``; names stay text."""
    from brainbench.core.tables import read_table
    from brainbench.runs.columns import KEY

    if not path.is_file():
        raise UserError(f"{path} does not exist: the run has not finished", hint="run the recipe again to finish it")
    return read_table(path, (*KEY, "role"))  # older runs have fewer columns
