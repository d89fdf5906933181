"""A recipe for a folder of recordings of sensors: which files, whose, and which marks are trials."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.commands.proposing.inventory import Inventory, Proposal, first_of
from brainbench.core.errors import UserError
from brainbench.core.order import natural
from brainbench.data.layouts.bids.files import entities_of
from brainbench.data.tables import Table, number_in
from brainbench.recordings.events import own_events
from brainbench.recordings.formats.eeglab import read_eeglab
from brainbench.recordings.formats.stamped import TIME, read_stamped
from brainbench.recordings.reading import OWN, READERS, kinds_of

_ONSETS = ("onset", "onset_s", "time", "time_s", "seconds", "start")
_LABELS = ("label", "trial_type", "condition", "class", "event", "type", "description", "value")
_LONGEST_S = 3.5
_FEWEST_SAMPLES = 200
"""Rows below which a table with time stamps is no recording."""
_ELECTRODES, _COILS = ("eeg", "seeg", "ecog"), ("mag", "grad")
"""Kinds of channels that can be decoded; coils where there is no electrode."""
_FEWEST = 5
"""Events of a class below which it is asked whether it is one."""


def propose_recordings(found: Inventory) -> Proposal | None:
    """Return a recipe for recordings of sensors; None where there are none."""
    every = found.of("recording")
    files = [path for path in every if not _is_part(path, set(every))]
    stamped = [path for path in found.tables if _is_stamped(path, found.tables[path])]
    files += stamped
    if not files:
        return None
    proposal = Proposal({"name": "eeg-folder", "root": str(found.root)})
    own = next(
        (p for p, t in found.tables.items() if p.name == "recordings.csv" and {"path", "subject"} <= {*t.columns}), None
    )
    rows = _own_rows(found, own, proposal) if own is not None else _rows(found, files, proposal)
    if stamped and len(stamped) == len(files):
        proposal.missing.append("what the numbers of the tables are (`unit`): microvolts were taken")
        proposal.dataset["unit"] = "microvolt"
    elif stamped:
        proposal.missing.append(
            "what the numbers of tables are: volts were taken, as of the other files (`unit` is of all)"
        )
    headers = {path: _header(found.root / path) for path in [row["path"] for row in rows]}
    _channels(headers, found.root, proposal)
    counts, spacing = _events(found, rows, headers, proposal)
    if not spacing.size:
        inside = "the files have neither marks nor codes in a stim channel"
        proposal.missing.append(f"events: no table has onset and label, and {inside}: write events.csv")
        return proposal
    length = float(min(_LONGEST_S, np.floor(10 * np.median(spacing)) / 10))
    proposal.dataset |= {"tmin": 0.0, "tmax": max(length, 0.2)}
    proposal.missing.append(f"when a trial begins and ends: 0 to {max(length, 0.2):g} s after its event was taken")
    rare = [name for name, count in counts.items() if count < _FEWEST]
    kept = {name: name for name in sorted(counts, key=natural) if name not in rare}
    if rare and len(kept) > 1:
        proposal.dataset["labels"] = kept
        proposal.missing.append(
            f"which marks are classes: {', '.join(sorted(rare, key=natural))} come under {_FEWEST} times, left out"
        )
    classes = kept if len(kept) > 1 else counts
    proposal.took.append(("classes", ", ".join(f"{name} ({counts[name]})" for name in sorted(classes, key=natural))))
    proposal.sections["evaluate"] = [{"scheme": _scheme(rows)}]
    several = sorted({row["subject"] for row in rows})
    proposal.sections["held_out"] = several[-1:]
    return proposal


def _is_part(path: Path, files: set[Path]) -> bool:
    """Return whether a file is a further part of a split FIF file, which is read with the first: as MNE, or BIDS."""
    first = re.sub(r"-\d+(?=\.fif$)", "", path.name)
    first = re.sub(r"(?<=_split-)0*([2-9]|[1-9]\d+)(?=_)", lambda part: "1".zfill(len(part[0])), first)
    return first != path.name and path.with_name(first) in files


def _is_stamped(path: Path, table: Table) -> bool:
    """Return whether a table is a recording: many rows of time stamps and channels, at the rate of one."""
    if path.suffix != ".csv" or len(table) < _FEWEST_SAMPLES or first_of(table.columns, *TIME) is None:
        return False
    try:
        read_stamped(path)
    except UserError:
        return False
    return True


def _own_rows(found: Inventory, table: Path, proposal: Proposal) -> list[dict[str, str]]:
    read = found.tables[table]
    proposal.took.append((found.short(table), "the recordings"))
    proposal.dataset["recordings"] = found.short(table)
    columns = [name for name in ("path", "subject", "session", "run") if name in read]
    return [
        dict(zip(columns, cells, strict=True)) for cells in zip(*(read.texts(name) for name in columns), strict=True)
    ]


def _rows(found: Inventory, files: list[Path], proposal: Proposal) -> list[dict[str, str]]:
    """Return path, subject, session and run of every file, by BIDS' names, else by folders and names."""
    rows, how = [], set()
    above = Path(os.path.commonpath([path.parent for path in files]))
    for path in files:
        said = entities_of(path.name)
        if "sub" in said:
            how.add("BIDS names")
            row = {"subject": said["sub"], "session": said.get("ses", ""), "run": said.get("run", "")}
        elif path.parent != above:
            how.add("their folders")
            row = {"subject": path.relative_to(above).parts[0], "session": "", "run": path.stem}
        else:
            first, *others = re.split(r"[_\-. ]+", path.stem.removesuffix("_raw"))
            how.add("the beginning of their names")
            row = {"subject": first, "session": "", "run": "_".join(others)}
        rows.append({"path": found.short(path), **row})
    for subject in {row["subject"] for row in rows}:
        own = [row for row in rows if row["subject"] == subject]
        if len({(row["session"], row["run"]) for row in own}) < len(own) or any(not row["run"] for row in own):
            for index, row in enumerate(own):
                row["run"] = str(index + 1)
    kinds = Counter(path.suffix.lower() for path in files)
    told = ", ".join(f"{count} {ending}" for ending, count in sorted(kinds.items()))
    proposal.took.append((f"{len(files)} recordings ({told})", f"subjects by {' and '.join(sorted(how))}"))
    proposal.tables["recordings.csv"] = list(rows)
    return rows


def _header(path: Path) -> Any:
    """Return a recording that was opened but not read; None where its loader will say what is wrong."""
    import mne

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if path.suffix.lower() == ".set":
                return read_eeglab(path, preload=False)[0]
            if path.suffix.lower() in OWN:
                return OWN[path.suffix.lower()](path)[0]
            return getattr(mne.io, READERS[path.suffix.lower()])(path, preload=False, verbose="ERROR")
        except Exception:  # `check` says it
            return None


def _channels(headers: dict[str, Any], root: Path, proposal: Proposal) -> None:
    """Take the kind that most channels are of, the channels that all files have, and the lowest rate."""
    opened = {path: raw for path, raw in headers.items() if raw is not None}
    if not opened:
        return
    kinds = {path: kinds_of(raw, root / path) for path, raw in opened.items()}
    count = Counter(kind for one in kinds.values() for kind in one.values())
    there = next((some for some in (_ELECTRODES, _COILS) if any(count[one] for one in some)), _ELECTRODES)
    kind = max(there, key=lambda one: count[one])
    others = [f"{one} ({count[one]})" for one in (*_ELECTRODES, *_COILS) if count[one] and one != kind]
    if kind != "eeg":
        proposal.dataset["kind"] = kind
    if kind != "eeg" or others:
        beside = f"; there are {' and '.join(others)} too" if others else ""
        proposal.took.append(("kind of channels", f"{kind}, {count[kind]} in all files{beside}"))
    of_kind = {path: [name for name, one in named.items() if one == kind] for path, named in kinds.items()}
    first = next(iter(of_kind.values()))
    shared = [name for name in first if all(name in names for names in of_kind.values())]
    if any(names != first for names in of_kind.values()) and shared:
        proposal.dataset["channels"] = shared
        proposal.took.append(("channels", f"the {len(shared)} that all files have"))
    rates = sorted({float(raw.info["sfreq"]) for raw in opened.values()})
    if len(rates) > 1:
        proposal.dataset["sfreq"] = rates[0]
        proposal.took.append(
            ("rates of " + ", ".join(f"{rate:g}" for rate in rates) + " Hz", f"brought to {rates[0]:g} Hz")
        )
    if rates[0] <= 60:
        proposal.dataset["band"] = [1.0, round(rates[0] * 0.4, 1)]


def _events(
    found: Inventory, rows: list[dict[str, str]], headers: dict[str, Any], proposal: Proposal
) -> tuple[Counter[str], np.ndarray]:
    """Return how often every label comes, and the seconds between events of a file."""
    paths = [row["path"] for row in rows]
    events: list[dict[str, Any]] = []
    for path, table in found.tables.items():
        onset, label = first_of(table.columns, *_ONSETS), first_of(table.columns, *_LABELS)
        if onset is None or label is None:
            continue
        column = first_of(table.columns, "path", "file", "filename", "recording")
        if column is not None and all(cell in paths for cell in table.texts(column, required=False)):
            if {"path", "onset", "label"} <= set(table.columns):
                proposal.took.append((found.short(path), "the events"))
                proposal.dataset["events"] = found.short(path)
                return _counted(_of_table(table, column, onset, label, proposal))
            events += _of_table(table, column, onset, label, proposal)
            proposal.took.append((found.short(path), f"events: onset '{onset}', label '{label}'"))
            continue
        of = _recording_of(path, found, paths)
        if of is not None:
            events += [{"path": of, **row} for row in _of_table(table, None, onset, label, proposal)]
            proposal.took.append((found.short(path), f"events of {of}: onset '{onset}', label '{label}'"))
    late = [
        row for row in events if headers.get(row["path"]) is not None and row["onset"] > headers[row["path"]].times[-1]
    ]
    if late:
        proposal.missing.append(
            f"the unit of onsets: {len(late)} of {len(events)} lie beyond the end of their recording, such as "
            f"{late[0]['onset']:g} in {late[0]['path']}; they are taken for seconds"
        )
    if events:
        without = [path for path in paths if path not in {row["path"] for row in events}]
        if without:
            proposal.missing.append(f"events of {', '.join(without[:4])}: no table is theirs")
        proposal.tables["events.csv"] = events
        return _counted(events)
    proposal.dataset["events"] = "annotations"
    inside = {path: own_events(raw, path) for path, raw in headers.items() if raw is not None}
    marks = [
        {"path": path, "onset": float(onset), "label": str(label)}
        for path, one in inside.items()
        for onset, label in zip(one.onsets, one.labels, strict=True)
    ]
    if marks:
        said = "; ".join(list(dict.fromkeys(text for one in inside.values() for text in one.said))[:3])
        proposal.took.append(("marks inside the files", f"the events{': ' if said else ''}{said}"))
    return _counted(marks)


def _of_table(
    table: Table, column: str | None, onset: str, label: str, proposal: Proposal
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the events of a table whose onset is a number and whose label is none of nothing; others are counted."""
    rows, lost = [], []
    names = table.texts(column, required=False) if column is not None else [""] * len(table)
    for path, time, name in zip(
        names, table.texts(onset, required=False), table.texts(label, required=False), strict=True
    ):
        if name in ("", "n/a"):
            continue
        seconds, wrong = number_in(time)
        if wrong:
            lost.append(wrong)
        else:
            rows.append(
                {"path": path, "onset": seconds, "label": name} if column else {"onset": seconds, "label": name}
            )
    if lost:
        proposal.missing.append(
            f"the onsets of {len(lost)} of {len(table)} events in {table.path.name}, which are not taken: {lost[0]}"
        )
    return rows


def _recording_of(table: Path, found: Inventory, paths: list[str]) -> str | None:
    """Return the recording that a table beside it belongs to, by the beginning of its name."""
    stem = re.sub(r"[_-](events|markers|trials|log)$", "", table.stem)
    own = [path for path in paths if (found.root / path).parent == table.parent]
    for tail in (r"", r"_raw", r"_(eeg|meg|ieeg)"):
        fitting = [path for path in own if re.sub(tail + "$", "", Path(path).stem) == stem]
        if len(fitting) == 1:
            return fitting[0]
    return None


def _counted(events: list[dict[str, Any]]) -> tuple[Counter[str], np.ndarray]:
    gaps = []
    for path in {row["path"] for row in events}:
        times = np.sort([row["onset"] for row in events if row["path"] == path])
        gaps.append(np.diff(times))
    spacing = np.concatenate(gaps) if gaps else np.array([])
    return Counter(row["label"] for row in events), spacing[spacing > 0]


def _scheme(rows: list[dict[str, str]]) -> str:
    """Return the strictest way to hold out within a person that all persons have recordings for."""
    subjects = {row["subject"] for row in rows}
    sessions = {one: {row.get("session", "") for row in rows if row["subject"] == one} for one in subjects}
    runs = {one: sum(row["subject"] == one for row in rows) for one in subjects}
    if all(len(names) > 1 for names in sessions.values()):
        return "leave-one-session-out"
    return "leave-one-run-out" if all(count > 1 for count in runs.values()) else "k-fold"
