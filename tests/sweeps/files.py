"""The sweep over files: every file that a loader reads and every column in it is changed, one at a time.

After each change either the data set is refused, or what was read changed and every key over it with it; a data set
opened with the cache of the unchanged one equals one opened without. Files are read only if `Dataset.files` names them.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml

import brainbench as bb
from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.data.base import Dataset, subjects_asked
from brainbench.data.vision.clip import Clip
from brainbench.recordings.base import RecordingDataset
from brainbench.recordings.recording import METADATA
from tests.sweeps.formats import parts
from tests.sweeps.loaders import Loader


@dataclass(frozen=True)
class Change:
    """One change of one file.

    Attributes
    ----------
    name : str
        File, relative to the root, and the part: ``sub-01/design.csv[run]``.
    apply : callable
        Changes the file in a copy of the data set.
    """

    name: str
    path: Path
    apply: Callable[[Path], None]

    def __call__(self, root: Path) -> None:
        """Change the file and put its modification time back."""
        path = root / self.path
        before = path.stat()
        self.apply(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def changes(root: Path, dataset: Dataset) -> list[Change]:
    """Return every change to every file that a data set says it reads; to all where it does not say."""
    found = []
    for file in dataset.files() if dataset.says_files else sorted(path for path in root.rglob("*") if path.is_file()):
        path = file.relative_to(root)
        found += [Change(f"{path}[{part}]", path, apply) for part, apply in parts(file)]
    return found


def ignored(loader: Loader, change: Change) -> bool:
    """Return whether a change may be without effect."""
    return any(part in change.name for part in loader.ignored)


# What is read ---------------------------------------------------------------------------------------------------


def content(dataset: Dataset) -> dict[str, str]:
    """Return digests of everything that a data set gives, by name, taken from the values and not from its own keys."""
    found: dict[str, Any] = {}
    for subject in _asked(dataset):
        stimuli = dataset.stimuli(subject)
        values = [stimuli.load(index) for index in range(len(stimuli))]
        found |= {
            f"{subject} ids": list(stimuli.ids),
            f"{subject} values": [_value(v) for v in values],
            f"{subject} onset": _sha(stimuli.onset),
            f"{subject} duration": _sha(stimuli.duration),
            f"{subject} captions": None if stimuli.captions is None else [list(one) for one in stimuli.captions],
            f"{subject} stimulus labels": {k: _sha(np.asarray(v, dtype=str)) for k, v in stimuli.labels.items()},
        }
        if not dataset.measured:
            continue
        responses = dataset.responses(subject)
        found |= {
            f"{subject} data": _sha(responses.data),
            f"{subject} stimulus": _sha(responses.stimulus),
            f"{subject} run": _sha(np.asarray(responses.run, dtype=str)),
            f"{subject} rois": {name: _sha(mask) for name, mask in responses.rois.items()},
            f"{subject} time": None if responses.continuous is None else _sha(responses.continuous.row_time),
            f"{subject} nuisance": _sha(responses.nuisance),
            f"{subject} labels": {k: _sha(np.asarray(v, dtype=str)) for k, v in responses.labels.items()},
            f"{subject} extra": {k: _sha(v) for k, v in responses.extra_features.items()},
            f"{subject} ceiling": _sha(responses.ceiling),
            f"{subject} ncsnr": _sha(responses.ncsnr),
        }
        if isinstance(dataset, RecordingDataset):
            trials = dataset.trials(subject)
            found |= {
                f"{subject} samples": [_sha(trials.X), trials.ch_names, trials.sfreq],
                f"{subject} rows": [_sha(getattr(trials, name)) for name in METADATA[1:]],
                f"{subject} places": _sha([channel["loc"][:3] for channel in trials.info["chs"]]),
                f"{subject} contacts": _regions(dataset, subject),
                f"{subject} account": [str(row) for row in dataset.account(subject)],
            }
    return {name: digest(value) for name, value in found.items()}


def _asked(dataset: Dataset) -> list[str]:
    """Return who is asked for: of a data set of MOABB others would be fetched."""
    settings = getattr(dataset, "settings", None)
    return subjects_asked(dataset.subjects, getattr(settings, "subjects", None))


def _regions(dataset: RecordingDataset, subject: str) -> dict[str, str]:
    """Return the region of every contact, where a table says it."""
    try:
        return dataset.labels_of_contacts(subject, "region")
    except UserError:
        return {}


def _value(value: Any) -> str:
    """Return a digest of one stimulus."""
    if isinstance(value, Clip):
        value = value.sampled(4)
    return value if isinstance(value, str) else digest_array(np.asarray(value))


def keys(dataset: Dataset) -> dict[str, str]:
    """Return the data set's own digests, of which the keys of features and fits are made."""
    return {
        name: value
        for subject in _asked(dataset)
        for name, value in (
            (f"{subject} stimuli", dataset.stimuli(subject).digest()),
            *([(f"{subject} responses", dataset.responses(subject).digest())] if dataset.measured else []),
            *(
                [(f"{subject} trials", dataset.trials(subject).digest())]
                if isinstance(dataset, RecordingDataset)
                else []
            ),
        )
    }


KEYED = {
    "stimuli": ("values", "onset", "duration", "captions"),
    "responses": (
        "data", "stimulus", "run", "rois", "time", "nuisance", "labels", "extra", "ceiling", "ncsnr",
    ),
    "trials": ("samples", "rows"),
}  # fmt: skip
"""What each digest must cover. Ids and labels of stimuli are no numbers: they enter a fit through rows and folds.
Positions of channels enter the preparation of those decoders that look at them."""


def _sha(values: Any) -> str | None:
    return None if values is None else digest_array(np.asarray(values))


# The sweep ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What became of a change.

    Attributes
    ----------
    change : str
    outcome : str
        ``refused``, ``changed``, ``no effect``, or what is wrong.
    right : bool
    """

    change: str
    outcome: str
    right: bool


def sweep(loader: Loader, original: Path, work: Path, chosen: Callable[[list[Change]], list[Change]]) -> list[Verdict]:
    """Change files of a data set one at a time.

    Parameters
    ----------
    loader : Loader
    original : Path
        The data set, already written; it is not changed.
    work : Path
        A folder for copies and caches.
    chosen : callable
        Returns the changes to make of all that there are.
    """
    root, cache = work / "data", work / "cache"
    _copy(original, root)
    dataset = loader.open(root, cache)
    with opened_below(root) as read:
        fresh = loader.open(root, cache)
        before, old_keys = content(fresh), keys(fresh)
    named = {path.resolve() for path in fresh.files()} if fresh.says_files else read
    unnamed = sorted(str(path.relative_to(root)) for path in read - named)
    verdicts = [Verdict(name, "is read, and files() does not name it", False) for name in unnamed]
    for change in chosen(changes(root, dataset)):
        _copy(original, root)
        change(root)
        try:
            verdicts.append(_verdict(loader, change, root, cache, before, old_keys))
        except Exception as error:  # anything but a message is a finding
            verdicts.append(Verdict(change.name, f"{type(error).__name__}: {error}", False))
    return verdicts


def _verdict(
    loader: Loader, change: Change, root: Path, cache: Path, before: dict[str, str], old_keys: dict[str, str]
) -> Verdict:
    try:
        without = content(loader.open(root, None))
    except UserError:
        try:
            content(loader.open(root, cache))
        except UserError:
            return Verdict(change.name, "refused", True)
        return Verdict(change.name, "refused without a cache, read with one", False)
    dataset = loader.open(root, cache)
    after, new_keys = content(dataset), keys(dataset)
    if after != without:
        stale = sorted(name for name in without if after.get(name) != without[name])
        return Verdict(change.name, f"stale from the cache: {', '.join(stale)}", False)
    changed = {name for name in after.keys() | before.keys() if after.get(name) != before.get(name)}
    if not changed:
        return Verdict(change.name, "no effect", ignored(loader, change))
    for name in changed:
        subject, _, part = name.partition(" ")
        for key, covered in KEYED.items():
            if part in covered and old_keys.get(f"{subject} {key}") == new_keys.get(f"{subject} {key}"):
                return Verdict(change.name, f"{name} changed, the digest of {key} did not", False)
    return Verdict(change.name, "changed", True)


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=shutil.copy2)


_watched: list[tuple[Path, set[Path]]] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _watched and isinstance(args[0], (str, os.PathLike)):
        path = Path(os.fspath(args[0]))
        for root, seen in _watched:
            if path.is_relative_to(root) and path.is_file():
                seen.add(path.resolve())


class opened_below:
    """The files below a folder that Python opens inside the block; HDF5's library opens its own."""

    _hooked = False

    def __init__(self, root: Path) -> None:
        self.entry: tuple[Path, set[Path]] = (root, set())

    def __enter__(self) -> set[Path]:
        if not opened_below._hooked:  # a hook cannot be taken out again
            sys.addaudithook(_audit)
            opened_below._hooked = True
        _watched.append(self.entry)
        return self.entry[1]

    def __exit__(self, *error: Any) -> None:
        _watched.remove(self.entry)


# From recipe to scores ------------------------------------------------------------------------------------------


def rerun(recipe: dict[str, Any], original: Path, work: Path, chosen: Sequence[Change]) -> list[Verdict]:
    """Run a recipe; for each change, run it again into the same folder, and hold it against a run from nothing.

    Parameters
    ----------
    recipe : dict
        Without ``dataset.root``.
    original : Path
    work : Path
        A folder for copies, runs and caches.
    chosen : sequence of Change
    """
    root = work / "data"
    work.mkdir(exist_ok=True)
    _copy(original, root)
    text = yaml.safe_dump({**recipe, "dataset": {**recipe["dataset"], "root": str(root)}})
    (work / "recipe.yaml").write_text(text)

    def scores(name: str) -> str:
        try:
            with patch("brainbench.report.write_report", lambda folder: (folder / "report.html").write_text("")):
                done = bb.run(work / "recipe.yaml", out=work / name / "run", cache=work / name / "cache")
        except UserError as error:
            return f"refused: {error.message}"
        except Exception as error:  # anything but a message is a finding
            return f"{type(error).__name__}: {error}"
        return (done.path / "scores.csv").read_text()

    before = scores("before")
    if before.startswith("refused"):
        return [Verdict("nothing", before, False)]
    return [_again(change, original, work, scores, before) for change in chosen]


def _again(change: Change, original: Path, work: Path, scores: Callable[[str], str], before: str) -> Verdict:
    _copy(original, work / "data")
    _copy(work / "before", work / "again")
    shutil.rmtree(work / "fresh", ignore_errors=True)
    change(work / "data")
    again, fresh = scores("again"), scores("fresh")
    if not fresh.startswith(("refused", "subject")):
        return Verdict(change.name, fresh, False)
    if again != fresh:
        return Verdict(change.name, "scores of the changed data differ from those of a fresh run", False)
    outcome = "refused" if fresh.startswith("refused") else "same scores" if fresh == before else "changed"
    return Verdict(change.name, outcome, True)
