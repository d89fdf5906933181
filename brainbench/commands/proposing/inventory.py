"""What lies in a folder: every file with its sort, and the tables that were read."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from brainbench.core.errors import UserError
from brainbench.core.order import natural
from brainbench.data.tables import Table, read_table
from brainbench.data.vision.picture import PICTURES
from brainbench.recordings.reading import READERS

SORTS = {
    "table": (".csv", ".tsv"),
    "image": PICTURES,
    "text": (".txt",),
    "sound": (".wav",),
    "array": (".npy",),
    "volume": (".nii", ".nii.gz"),
    "surface": (".gii",),
    "recording": tuple(ending for ending, reader in READERS.items() if reader),
}
"""Sort of a file by its ending; tables may be recordings too, by what they hold."""
_MOST_FILES = 200_000
_MOST_TABLES = 2_000


@dataclass
class Proposal:
    """A recipe for a folder, and why it is so.

    Attributes
    ----------
    dataset : dict
        The section.
    sections : dict
        What the recipe says outside of it, where its kind has such sections.
    tables : dict of str to list of dict
        Tables that the recipe needs and the folder lacks, by file name; they are written beside the recipe.
    took : list of (what, as what)
    missing : list of str
        What only the user knows.
    labels : dict of str to int
        Labels that could be decoded, with the number of their values.
    """

    dataset: dict[str, Any]
    sections: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    took: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


class Inventory:
    """The files below a folder, hidden ones left out.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[Path] = []
        for folder, inside, names in os.walk(root):
            inside[:] = sorted(name for name in inside if not name.startswith("."))
            self.files += [Path(folder) / name for name in names if not name.startswith(".")]
            if len(self.files) > _MOST_FILES:
                raise UserError(f"{root}: more than {_MOST_FILES} files: name the folder of one data set")
        self.files.sort(key=lambda path: natural(self.short(path)))

    def short(self, path: Path) -> str:
        """Return a path as messages show it, from the root."""
        return path.relative_to(self.root).as_posix()

    def of(self, sort: str) -> list[Path]:
        """Return the files of a sort."""
        return [path for path in self.files if path.name.lower().endswith(SORTS[sort])]

    @cached_property
    def tables(self) -> dict[Path, Table]:
        """Tables that can be read."""
        return self._read[0]

    @cached_property
    def unread(self) -> list[str]:
        """Why other tables cannot be read, a message each."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[dict[Path, Table], list[str]]:
        found: dict[Path, Table] = {}
        unread = []
        for path in self.of("table")[:_MOST_TABLES]:
            try:
                found[path] = read_table(path)
            except UserError as error:
                unread.append(str(error).splitlines()[0].replace(str(path), self.short(path)))
        return found, unread

    def summary(self) -> str:
        """Return how many files of each sort there are."""
        counts = {sort: len(self.of(sort)) for sort in SORTS}
        told = [f"{count} {sort}{'s' * (count > 1)}" for sort, count in counts.items() if count]
        others = Counter(path.suffix.lower() or path.name for path in self.files)
        return ", ".join(told) or ", ".join(f"{n} {ending}" for ending, n in others.most_common(6)) or "nothing"


class Lookup:
    """Finds files by path, name or stem, as tables write them.

    Parameters
    ----------
    files : list of Path
    """

    def __init__(self, files: list[Path]) -> None:
        self.files = set(files)
        self._by_name: dict[str, set[Path]] = {}
        for path in files:
            for name in (path.name, path.stem):
                self._by_name.setdefault(name, set()).add(path)

    def find(self, cell: str, *folders: Path) -> Path | None:
        """Return the file that a cell names from some folder, or by a name that one file has."""
        plain = PurePosixPath(cell.strip().replace("\\", "/"))
        for folder in folders:
            if folder / plain in self.files:
                return folder / plain
        for name in (plain.name, plain.stem):
            found = self._by_name.get(name, set())
            if len(found) == 1:
                return next(iter(found))
        return None


def distinct(cells: list[str]) -> int:
    """Return how many values a column has."""
    return len(set(cells))


def first_of(names: list[str], *wanted: str) -> str | None:
    """Return the first column that is called so, whatever its case."""
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[one] for one in wanted if one in lower), None)
