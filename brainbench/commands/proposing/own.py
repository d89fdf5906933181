"""A recipe for a folder that a user laid out: stimuli, responses, and the table of their rows."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.commands.proposing.images import images_in
from brainbench.commands.proposing.inventory import Inventory, Lookup, Proposal, distinct, first_of
from brainbench.core.files import mapped
from brainbench.data.cifti import is_cifti
from brainbench.data.tables import Table

_RUNS = ("run", "block", "session", "scan", "chunk", "group")
_SHOWN = ("stimulus", "stim", "stim_file", "stim_id", "image", "picture", "item", "file", "path", "text", "sound")
"""What a column is called that says which stimulus a row shows."""
_KNOWN = ("id", "path", "text", "onset", "duration", "run", "repeat", "stimulus")
"""Columns with a meaning of their own in the tables that are written."""


def propose_own(found: Inventory) -> Proposal | None:
    """Return a recipe for stimuli with responses, or for stimuli alone; None where there are neither."""
    modality, stimuli = stimuli_in(found)
    responses = _responses(found)
    if stimuli is None:
        return None
    rows, source = stimuli
    if not responses:
        return _simulated(found, found.of("image"), source) if modality == "image" else None
    pattern, files, n_rows, beside = responses
    proposal = Proposal(
        {"name": "folder", "root": str(found.root), "modality": modality, "responses": pattern} | beside
    )
    proposal.took.append((f"{len(files)} files {pattern}", f"responses of {len(files)} subjects"))
    proposal.took += [(name, {"mask": "the mask", "rois": "the regions"}[setting]) for setting, name in beside.items()]
    if pattern.endswith((".nii", ".nii.gz")) and not is_cifti(Path(pattern)) and "mask" not in beside:
        proposal.dataset["mask"] = "mask.nii.gz"
        proposal.missing.append("the mask of the volumes (`dataset.mask`): no image of their grid is called so")
    proposal.took.append((source, f"{len(rows)} stimuli ({modality}s)"))
    if modality == "image" and "text" in rows[0]:
        proposal.took.append(("captions", "texts of the stimuli: `--set dataset.modality=text` reads them"))
    if not (
        source == "stimuli.csv"
        and {"id", "path" if modality != "text" else "text"} <= set(found.tables[found.root / source].columns)
    ):
        proposal.tables["stimuli.csv"] = rows
    _design(found, rows, n_rows, proposal)
    taken = {*files.values(), *beside.values()}
    others = [name for name in map(found.short, found.of("array")) if name not in taken]
    if others:
        proposal.missing.append(f"what {_some(others)} {'is' if len(others) == 1 else 'are'}: not taken")
    proposal.missing += found.unread
    rois = [path for path, table in found.tables.items() if set(table.columns) == {"target", "roi"}]
    if rois and "rois" not in beside:
        proposal.dataset["rois"] = found.short(rois[0])
        proposal.took.append((found.short(rois[0]), "the regions"))
    return proposal


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more arrays" if len(names) > 4 else "")


def stimuli_in(found: Inventory) -> tuple[str, tuple[list[dict[str, Any]], str] | None]:
    """Return what stimuli are, and their table with where it comes from; no table where nothing can be stimuli."""
    shown = {sort: found.of(sort) for sort in ("image", "sound", "text")}
    modality = next((sort for sort, files in shown.items() if files), "text")
    return modality, _stimuli(found, shown[modality], modality)


def _simulated(found: Inventory, images: list[Path], source: str) -> Proposal:
    """Return a recipe for images that nobody's brain has seen."""
    folder = Path(os.path.commonpath([path.parent for path in images]))
    proposal = Proposal({"name": "simulated", "root": str(folder), "n_stimuli": max(8, min(len(images), 240))})
    proposal.dataset["rois"] = [{"roi": "early", "encoder": "efficientnet", "layer": "blocks.1"},
                                {"roi": "late", "encoder": "efficientnet", "layer": "blocks.5"}]  # fmt: skip
    proposal.took.append((f"{len(images)} images", "stimuli of simulated participants"))
    proposal.missing.append(
        "responses: no array, volume or pair of surfaces lies here, so that participants are simulated"
    )
    return proposal


def pattern_of(names: list[str]) -> tuple[str, dict[str, str]] | None:
    """Return paths as one pattern with ``{subject}``, and the path of every subject; None where they have none.

    One path is a pattern without a subject.
    """
    if len(names) == 1:
        return names[0], {"subject": names[0]}
    before = _beginning(names)
    before = before[: max((before.rfind(mark) for mark in "/_."), default=-1) + 1]
    after = _beginning([name[len(before) :][::-1] for name in names])[::-1]
    starts = [after.find(mark) for mark in "/_." if mark in after]
    after = after[min(starts) :] if starts else ""
    middles = [name[len(before) : len(name) - len(after)] for name in names]
    twice = [re.fullmatch(r"([^/]+)(/[^/]*?)?\1", middle) if "/" in middle else None for middle in middles]
    if all(twice):
        between = {one[2] or "" for one in twice if one is not None}
        if len(between) == 1:
            subjects = [one[1] for one in twice if one is not None]
            return f"{before}{{subject}}{between.pop()}{{subject}}{after}", dict(zip(subjects, names, strict=True))
    if any("/" in middle or not middle for middle in middles) or len(set(middles)) < len(names):
        return None
    return f"{before}{{subject}}{after}", dict(zip(middles, names, strict=True))


def _beginning(names: list[str]) -> str:
    """Return the letters with which all names begin."""
    letters = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False))
    return "".join(column[0] for column in letters)


Files = tuple[str, dict[str, str], dict[str, tuple[str, int]], dict[str, str]]
"""A pattern, the file of every subject, the same with its number of rows, and settings of files beside them."""


def _responses(found: Inventory) -> Files | None:
    """Return the files that have rows and targets: arrays, or else images."""
    groups: dict[str, dict[str, int]] = {}
    for path in found.of("array"):
        try:
            shape = mapped(path).shape
        except (OSError, ValueError):
            continue
        if len(shape) == 2 and min(shape) > 1:
            alike = re.sub(r"\d+", "#", path.name)  # people have numbers, or names that stand first
            for name in {alike, re.sub(r"^[^_.-]+(?=[_-])", "*", alike)}:
                groups.setdefault(name, {})[found.short(path)] = shape[0]
    likely = sorted(
        groups,
        key=lambda name: (not re.search(r"resp|beta|bold|voxel|roi|brain|sub", name.lower()), -len(groups[name])),
    )
    images = images_in(found)
    offered: list[tuple[dict[str, int], dict[str, str]]] = [(groups[name], {}) for name in likely] + (
        [] if images is None else [images]
    )
    for rows, beside in offered:
        pattern = pattern_of(list(rows))
        if pattern is not None:
            return (*pattern, {one: (file, rows[file]) for one, file in pattern[1].items()}, beside)
    return None


def _stimuli(found: Inventory, files: list[Path], modality: str) -> tuple[list[dict[str, Any]], str] | None:
    """Return the rows of a table of stimuli, and where they come from."""
    lookup = Lookup(files)
    best: tuple[int, list[dict[str, Any]], str] | None = None
    for path, table in found.tables.items():
        rows = _listed(path, table, lookup, found, modality)
        if rows and (best is None or len(rows) > best[0]):
            best = (len(rows), rows, found.short(path))
    if best is not None:
        return best[1], best[2]
    if not files:
        return None
    return [{"id": path.stem, "path": str(path)} for path in files], f"{len(files)} {modality} files"


def _listed(path: Path, table: Table, lookup: Lookup, found: Inventory, modality: str) -> list[dict[str, Any]]:
    """Return the stimuli that a table lists, one a row; none where it lists something else."""
    columns = {name: table.texts(name, required=False) for name in table.columns}
    caption = next((name for name, cells in columns.items() if _is_prose(cells)), None)
    if not lookup.files:
        if caption is None or len(set(columns[caption])) < len(table):
            return []
        ids = first_of(table.columns, "id", "stimulus", "name")
        names = columns[ids] if ids is not None else [f"text-{index:04d}" for index in range(len(table))]
        rows = [{"id": one, "text": text} for one, text in zip(names, columns[caption], strict=True)]
        used = {ids, caption}
    else:
        where = {
            name: [lookup.find(cell, path.parent, found.root) if cell else None for cell in cells]
            for name, cells in columns.items()
        }
        column = next((n for n, files in where.items() if all(files) and len(set(files)) == len(files)), None)
        if column is None:
            return []
        own = columns.get("id")
        named = own if own is not None and len(set(own)) == len(own) else None
        stems = [file.stem for file in where[column] if file is not None]
        names = named or (stems if len(set(stems)) == len(stems) else columns[column])
        rows = [{"id": one, "path": str(file)} for one, file in zip(names, where[column], strict=True)]
        if caption is not None:
            for row, text in zip(rows, columns[caption], strict=True):
                row["text"] = text
        used = {column, caption, "id" if named is not None else None}
    for name in table.columns:
        if name not in used and name not in _KNOWN:
            for row, cell in zip(rows, columns[name], strict=True):
                row[name] = cell
    return rows


def _is_prose(cells: list[str]) -> bool:
    return bool(cells) and all(cells) and float(np.mean([len(cell.split()) for cell in cells])) >= 2.5


def _design(
    found: Inventory, stimuli: list[dict[str, Any]], subjects: dict[str, tuple[str, int]], proposal: Proposal
) -> None:
    """Take the tables that say which stimulus every row of the responses shows."""
    names: dict[str, str] = {}
    for row in stimuli:
        spellings = {row["id"]} | (
            {row["path"], Path(row["path"]).name, Path(row["path"]).stem} if "path" in row else set()
        )
        if "path" in row and Path(row["path"]).is_relative_to(found.root):
            spellings.add(found.short(Path(row["path"])))
        names |= dict.fromkeys(spellings, row["id"])
    designs: dict[str, tuple[Path, str]] = {}
    for subject, (_, n_rows) in subjects.items():
        for path, table in found.tables.items():
            called = [one for one in subjects if _is_called(one, found.short(path))]
            near = subject in called or len(subjects) == 1 or not called
            columns = _stimulus_columns(table, names)
            if near and columns and len(table) == n_rows and subject not in designs:
                designs[subject] = (path, columns[0])
                if columns[1:]:
                    others = ", ".join(columns[1:])
                    said = f"which column names the stimulus: '{columns[0]}' was taken, not {others}"
                    proposal.missing += [said] if said not in proposal.missing else []
    without = [subject for subject in subjects if subject not in designs]
    if without:
        files = ", ".join(subjects[one][0] for one in without[:3])
        proposal.missing.append(
            f"which stimulus each row of {files} shows: a table with a row for each, and the columns stimulus and run "
            "(`design`)"
        )
        return
    tables = {subject: found.tables[path] for subject, (path, _) in designs.items()}
    ready = all(table.columns.count("stimulus") and "run" in table and designs[one][1] == "stimulus"
                and all(cell in {row["id"] for row in stimuli} for cell in table.texts("stimulus"))
                for one, table in tables.items())  # fmt: skip
    pattern = pattern_of([found.short(path) for path, _ in designs.values()]) if ready else None
    if pattern is not None and set(pattern[1]) == set(subjects):
        proposal.dataset["design"] = pattern[0]
    elif ready and len({path for path, _ in designs.values()}) == 1:
        proposal.dataset["design"] = found.short(next(iter(designs.values()))[0])
    else:
        proposal.dataset["design"] = "{subject}_design.csv" if len(subjects) > 1 else "design.csv"
        for subject, (_, column) in designs.items():
            name = proposal.dataset["design"].replace("{subject}", subject)
            proposal.tables[name] = _rows_of(tables[subject], column, names)
    run = first_of(next(iter(tables.values())).columns, *_RUNS)
    shown = next(iter(designs.values()))
    proposal.took.append((found.short(shown[0]), f"rows of the responses: stimulus '{shown[1]}', run '{run}'"))
    if run is None:
        proposal.missing.append("which rows were measured together: no column is a run, and all rows are taken as one")
    _labels(tables, {run or "", *(column for _, column in designs.values())}, proposal)
    _holding_out(tables, {one: column for one, (_, column) in designs.items()}, run, proposal)


def _is_called(subject: str, path: str) -> bool:
    """Return whether a path names a subject, whose number is no part of another one: 1 is in `sub-01`, not in 11."""
    number = re.fullmatch(r"(\D*)0*(\d+)(.*)", subject)
    if number is None:
        return subject in path
    before, digits, after = (re.escape(part) for part in number.groups())
    return re.search(rf"{before}(?<!\d)0*{digits}(?!\d){after}", path) is not None


def _stimulus_columns(table: Table, names: dict[str, str]) -> list[str]:
    """Return the columns of which every cell names a stimulus, the likeliest first: numbers of runs do so by chance."""
    fitting = [one for one in table.columns if all(cell in names for cell in table.texts(one, required=False))]
    return sorted(
        fitting,
        key=lambda one: (one.lower() not in _SHOWN, one.lower() in _RUNS, -distinct(table.texts(one, required=False))),
    )


def _rows_of(table: Table, column: str, names: dict[str, str]) -> list[dict[str, Any]]:
    run = first_of(table.columns, *_RUNS)
    rows = [{"stimulus": names[cell]} for cell in table.texts(column, required=False)]
    runs = table.texts(run, required=False) if run is not None else ["1"] * len(rows)
    for row, cell in zip(rows, runs, strict=True):
        row["run"] = cell
    for name in table.columns:
        if name not in (column, run) and name not in _KNOWN:
            for row, cell in zip(rows, table.texts(name, required=False), strict=True):
                row[name] = cell
    return rows


def _labels(tables: dict[str, Table], used: set[str], proposal: Proposal) -> None:
    shared = set.intersection(*(set(table.columns) for table in tables.values()))
    for name in sorted(shared - used - set(_KNOWN)):
        counts = Counter(cell for table in tables.values() for cell in table.texts(name, required=False))
        if 2 <= len(counts) <= 50 and min(counts.values()) > 1:
            proposal.labels[name] = len(counts)


def _holding_out(tables: dict[str, Table], columns: dict[str, str], run: str | None, proposal: Proposal) -> None:
    """Hold out runs as well where stimuli come in several of them."""
    if run is None:
        return
    for subject, table in tables.items():
        pairs = set(zip(table.texts(columns[subject], required=False), table.texts(run, required=False), strict=True))
        several = Counter(stimulus for stimulus, _ in pairs)
        if len({one for _, one in pairs}) > 2 and max(several.values()) > 1:
            proposal.sections["hold_out"] = ["stimulus", "run"]
