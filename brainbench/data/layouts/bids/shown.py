"""Which stimulus an event shows: by id, by path, by file name or its stem; from a table, or from the events alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from brainbench.core.order import natural
from brainbench.data.base import Modality
from brainbench.data.stimulus_files import StimulusTable, stimuli_of
from brainbench.data.tables import Problems, Table

FOLDER = "stimuli"
"""Where BIDS keeps the files that `stim_file` names."""


class Names:
    """What stimuli are called in tables of events.

    A cell is looked up as an id, as a path (from the table's folder, the root, or ``stimuli/``), as the name of a file,
    and as a name without its ending, in this order; a name that stands for two stimuli is refused, and so are two paths
    that would stand for one: ``faces/01.png`` and ``houses/01.png``.

    Parameters
    ----------
    ids : sequence of str
        Known stimuli.
    where : str
        Where they stand, for messages: ``"stimuli.csv"``.
    files : sequence of Path
        The file of every stimulus, or none where they have no files.
    folders : sequence of Path
        From where paths may be written.
    """

    def __init__(
        self, ids: Sequence[str], where: str, files: Sequence[Path] = (), folders: Sequence[Path] = ()
    ) -> None:
        self.ids = list(ids)
        self.where = where
        self._ways: list[dict[str, list[str]]] = [{name: [name] for name in self.ids}]
        for spellings in (lambda file: _paths(file, folders), lambda file: [file.name], lambda file: [file.stem]):
            found: dict[str, list[str]] = {}
            for one, file in zip(self.ids, files, strict=False):
                for spelling in spellings(file):
                    found.setdefault(spelling, []).append(one)
            self._ways.append(found)
        self._paths: dict[str, PurePosixPath] = {}

    def of(self, cell: str) -> list[str]:
        """Return the ids that a cell may stand for: one, several, or none."""
        plain = PurePosixPath(cell.replace("\\", "/"))
        for spelling in dict.fromkeys((cell, str(plain), plain.name, plain.stem)):
            for way in self._ways:
                if spelling in way:
                    return list(dict.fromkeys(way[spelling]))
        return []

    def indices(self, shown: Table, column: str) -> np.ndarray:
        """Return the stimulus of every row of a table, ``(n_rows,)`` int; what is none is a problem of its row."""
        cells = shown.texts(column)
        found = {cell: self.of(cell) for cell in set(cells)}
        for line, cell in zip(shown.lines, cells, strict=True):
            if len(found[cell]) > 1:
                either = " or ".join(f"'{one}'" for one in found[cell][:3])
                shown.problems.add(f"column '{column}': '{cell}' may be {either} of {self.where}", line)
        spelled = {cell: ids[0] for cell, ids in found.items() if ids}
        for line, cell in zip(shown.lines, cells, strict=True):
            if cell in spelled and (other := self._other_path(cell, spelled[cell])):
                shown.problems.add(
                    f"column '{column}': '{cell}' and '{other}' would both be '{spelled[cell]}' of {self.where}, by "
                    "their names without the folder",
                    line,
                )
        return shown.indices(column, self.ids, self.where, spelled=spelled)

    def _other_path(self, cell: str, stimulus: str) -> PurePosixPath | None:
        """Return another path by which a stimulus was called before, in this table or another one."""
        path = PurePosixPath(cell.replace("\\", "/"))
        if len(path.parts) < 2:
            return None
        known = self._paths.setdefault(stimulus, path)
        n = min(len(known.parts), len(path.parts))  # one may be written from a folder further in
        return None if known.parts[-n:] == path.parts[-n:] else known


def _paths(file: Path, folders: Sequence[Path]) -> list[str]:
    return [file.relative_to(folder).as_posix() for folder in folders if file.is_relative_to(folder)]


def stimuli_of_events(cells: Iterable[str], root: Path, modality: Modality, column: str) -> StimulusTable:
    """Return the stimuli that tables of events name, where no table lists them: files in ``stimuli/`` or below root.

    Parameters
    ----------
    cells : iterable of str
        What stands in `column` of all events that show something.
    root : Path
        The raw data set.
    modality : {"image", "text"}
    column : str

    Raises
    ------
    UserError
        With the names that are no file, or several files.
    """
    folder = root / FOLDER
    inside = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    by_name: dict[str, list[Path]] = {}
    for path in sorted(inside):
        for name in {path.name, path.stem}:
            by_name.setdefault(name, []).append(path)
    problems, found = Problems(folder), {}
    for cell in sorted(set(cells), key=natural):
        plain = PurePosixPath(cell.replace("\\", "/"))
        files = [path for path in (folder / plain, root / plain) if path.is_file()][:1]
        files = files or by_name.get(plain.name) or by_name.get(plain.stem) or []
        if len(files) == 1:
            found[files[0].resolve()] = files[0]
        else:
            several = f" is {' or '.join(path.relative_to(root).as_posix() for path in files[:3])}"
            problems.add(f"column '{column}': '{cell}'{several if files else ' names no file here'}")
    problems.finish(
        f"the events name stimuli, and there is no stimuli.csv: put the files into {FOLDER}/, or write stimuli.csv "
        f"with the columns id and {'path' if modality == 'image' else 'text'}"
    )
    files = sorted(found.values(), key=lambda path: natural(path.as_posix()))
    base = folder if all(path.is_relative_to(folder) for path in files) else root
    names = [path.relative_to(base).as_posix() for path in files]
    table = Table(base / column, ["id", "path"], [0] * len(names), [[one, one] for one in names], problems)
    stimuli = stimuli_of(table, modality)
    note = f"there is no stimuli.csv: the {len(names)} stimuli are the files that column '{column}' of the events names"
    return replace(stimuli, files=stimuli.files[1:], notes=[note, *stimuli.notes])
