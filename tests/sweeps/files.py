"""The sweep over files: every file that a loader reads and every column in it is changed, one at a time.

After each change either the data set is refused, or what was read changed and every key over it with it; a data set
opened with the cache of the unchanged one equals one opened without. Files are read only if `Dataset.files` names them.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import yaml
from PIL import Image
from scipy.io import loadmat, savemat

import brainbench as bb
from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.data.base import Dataset
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
    """Return every change to every file that a data set says it reads."""
    found = []
    for file in dataset.files():
        path = file.relative_to(root)
        found += [Change(f"{path}[{part}]", path, apply) for part, apply in _parts(file)]
    return found


def ignored(loader: Loader, change: Change) -> bool:
    """Return whether a change may be without effect."""
    return any(part in change.name for part in loader.ignored)


# What is read ---------------------------------------------------------------------------------------------------


def content(dataset: Dataset) -> dict[str, str]:
    """Return digests of everything that a data set gives, by name, taken from the values and not from its own keys."""
    parts: dict[str, Any] = {}
    for subject in dataset.subjects:
        stimuli, responses = dataset.stimuli(subject), dataset.responses(subject)
        values = [stimuli.load(index) for index in range(len(stimuli))]
        parts |= {
            f"{subject} ids": list(stimuli.ids),
            f"{subject} values": [v if isinstance(v, str) else digest_array(np.asarray(v)) for v in values],
            f"{subject} onset": _sha(stimuli.onset),
            f"{subject} duration": _sha(stimuli.duration),
            f"{subject} captions": None if stimuli.captions is None else [list(one) for one in stimuli.captions],
            f"{subject} stimulus labels": {k: _sha(np.asarray(v, dtype=str)) for k, v in stimuli.labels.items()},
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
    return {name: digest(value) for name, value in parts.items()}


def keys(dataset: Dataset) -> dict[str, str]:
    """Return the data set's own digests, of which the keys of features and fits are made."""
    return {
        name: value
        for subject in dataset.subjects
        for name, value in (
            (f"{subject} stimuli", dataset.stimuli(subject).digest()),
            (f"{subject} responses", dataset.responses(subject).digest()),
        )
    }


KEYED = {
    "stimuli": ("values", "onset", "duration", "captions"),
    "responses": (
        "data", "stimulus", "run", "rois", "time", "nuisance", "labels", "extra", "ceiling", "ncsnr",
    ),
}  # fmt: skip
"""What each digest must cover. Ids and labels of stimuli are no numbers: they enter a fit through rows and folds."""


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
    unnamed = sorted(str(path.relative_to(root)) for path in read - {path.resolve() for path in fresh.files()})
    verdicts = [Verdict(name, "is read, and files() does not name it", False) for name in unnamed]
    for change in chosen(changes(root, dataset)):
        _copy(original, root)
        change(root)
        verdicts.append(_verdict(loader, change, root, cache, before, old_keys))
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
        for key, parts in KEYED.items():
            if part in parts and old_keys.get(f"{subject} {key}") == new_keys.get(f"{subject} {key}"):
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


def rerun(recipe: dict[str, Any], original: Path, work: Path, change: Change) -> Verdict:
    """Run a recipe, change a file, run it again into the same folder, and hold it against a run from nothing.

    Parameters
    ----------
    recipe : dict
        Without ``dataset.root``.
    original : Path
    work : Path
        An empty folder.
    change : Change
    """
    root = work / "data"
    _copy(original, root)
    text = yaml.safe_dump({**recipe, "dataset": {**recipe["dataset"], "root": str(root)}})
    (work / "recipe.yaml").write_text(text)

    def scores(out: str, cache: str) -> str:
        try:
            done = bb.run(work / "recipe.yaml", out=work / out, cache=work / cache)
        except UserError as error:
            return f"refused: {error.message}"
        return (done.path / "scores.csv").read_text()

    before = scores("run", "cache")
    if before.startswith("refused"):
        return Verdict(change.name, before, False)
    change(root)
    again, fresh = scores("run", "cache"), scores("fresh", "fresh-cache")
    if again != fresh:
        return Verdict(change.name, "scores of the changed data differ from those of a fresh run", False)
    outcome = "refused" if fresh.startswith("refused") else "same scores" if fresh == before else "changed"
    return Verdict(change.name, outcome, True)


# Changes by format ----------------------------------------------------------------------------------------------


def _parts(path: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    name = path.name
    if name.endswith("_label.csv"):  # patches, without a header
        yield "patch", _set_patch
    elif name.endswith((".csv", ".tsv")):
        yield from _of_table(path, "," if name.endswith(".csv") else "\t")
    elif name.endswith(".json"):
        yield from ((key, _set_json(key)) for key in json.loads(path.read_text()))
    elif name.endswith((".txt", ".ctab")):
        yield from _of_lines(path)
    elif name.endswith(".npy"):
        yield "value", _change_npy
    elif name.endswith(".npz"):
        with np.load(path) as stored:
            yield from ((key, _set_npz(key)) for key in stored.files)
    elif name.endswith((".nii", ".nii.gz")):
        yield "value", _change_image
        if not name.endswith((".dscalar.nii", ".dlabel.nii", ".dtseries.nii")):
            yield "affine", _move_image
    elif name.endswith(".gii"):
        yield "value", _change_gifti
    elif name.endswith((".hdf5", ".h5")):
        with h5py.File(path) as file:
            yield from ((key, _set_hdf5(key)) for key in file)
    elif name.endswith(".mat"):
        yield from ((key, _set_mat(key)) for key in loadmat(path) if not key.startswith("__"))
    elif name.endswith(".TextGrid"):
        yield "word", lambda path: path.write_text(path.read_text().replace('"beginning"', '"commencing"')) and None
        yield "time", lambda path: path.write_text(path.read_text().replace("xmin = 24", "xmin = 24.5")) and None
    elif name.lower().endswith((".png", ".jpg", ".jpeg", ".tif", ".tiff")):
        yield "pixel", _change_picture
    else:
        raise AssertionError(f"the sweep knows no change for {name}")


def _of_table(path: Path, separator: str) -> Iterator[tuple[str, Callable[[Path], None]]]:
    header = path.read_text().split("\n")[0]
    for at, column in enumerate(header.split(separator)):
        yield column, _set_cells(at, separator, 0.03125)
        yield f"{column} +3", _set_cells(at, separator, 3.0)
    yield "order of rows", _swap_rows


def _swap_rows(path: Path) -> None:
    header, first, second, *others = path.read_text().rstrip("\n").split("\n")
    path.write_text("\n".join([header, second, first, *others]) + "\n")


def _set_cells(at: int, separator: str, step: float) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        header, *lines = path.read_text().rstrip("\n").split("\n")
        rows = [line.split(separator) for line in lines]
        cells = [row[at] for row in rows]
        if all(re.fullmatch(r"-?\d+(\.\d*)?([eE][-+]?\d+)?", cell) for cell in cells):
            row = len(rows) // 2
            rows[row][at] = repr(float(cells[row]) + step) if "." in "".join(cells) else str(int(cells[row]) + 1)
        else:  # names: one takes the place of another
            first = next(row for row, cell in enumerate(cells) if cell not in ("", "n/a"))
            others = [row for row, cell in enumerate(cells) if cell not in ("", "n/a", cells[first])]
            if others:
                rows[first][at], rows[others[-1]][at] = cells[others[-1]], cells[first]
            else:
                rows[first][at] = cells[first] + "x"
        path.write_text("\n".join([header, *(separator.join(row) for row in rows)]) + "\n")

    return apply


def _set_patch(path: Path) -> None:
    values = np.loadtxt(path, dtype=int, delimiter=",")
    values[4] = 1 - values[4]
    np.savetxt(path, values, fmt="%d", delimiter=",")


def _of_lines(path: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Numbers in columns of text, or one name a line."""
    lines = path.read_text().splitlines()
    try:
        width = len(np.atleast_1d(np.loadtxt(io.StringIO("\n".join(lines[:1])))))
    except ValueError:
        yield "order of lines", _swap_lines
        yield "last line", _drop_last_line
        return
    for column in range(width):
        yield f"column {column + 1}", _set_number(column)


def _drop_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def _swap_lines(path: Path) -> None:
    lines = path.read_text().splitlines()
    other = max((row for row, line in enumerate(lines) if line != lines[-1]), default=0)
    lines[-1], lines[other] = lines[other], lines[-1]
    path.write_text("\n".join(lines) + "\n")


def _set_number(column: int) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        values = np.loadtxt(path, ndmin=2)
        values[-2, column] += 0.5
        np.savetxt(path, values)

    return apply


def _set_json(key: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        facts = json.loads(path.read_text())
        facts[key] = _larger(facts[key])
        path.write_text(json.dumps(facts))

    return apply


def _larger(value: Any) -> Any:
    """Return a value of JSON of which every number is one more."""
    if isinstance(value, dict):
        return {name: _larger(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_larger(one) for one in value]
    return value + 1 if isinstance(value, (int, float)) else f"{value}x"


def _changed(values: np.ndarray) -> np.ndarray:
    """Return an array of which one value, in the middle, is another."""
    values = np.array(values, order="C")
    flat = values.reshape(-1)
    at = flat.size // 2
    if values.dtype.kind in "US":
        other = next((one for one in flat if one != flat[at]), flat[at])
        flat[at] = other if other != flat[at] else str(flat[at]) + "x"
    elif values.dtype.kind == "f":
        # A value of the largest is surely inside of every mask.
        at = int(np.nanargmax(np.abs(flat)))
        flat[at] = flat[at] * 1.25 + 0.25
    elif values.dtype.kind in "iu":
        at = int(np.argmax(flat != 0))
        flat[at] += 1
    return values


def _change_npy(path: Path) -> None:
    np.save(path, _changed(np.load(path)))


def _set_npz(key: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        np.savez(path, **(arrays | {key: _changed(arrays[key])}))

    return apply


def _save(image: Any, path: Path) -> None:
    other = path.with_name(f"new-{path.name}")
    nibabel.save(image, other)
    os.replace(other, path)


def _change_image(path: Path) -> None:
    image: Any = nibabel.load(path)
    values = np.asarray(image.dataobj)
    if (values.dtype.kind in "iu" and values.ndim == 3) or path.name.endswith(".dlabel.nii"):  # labels, masks
        values = np.array(values, order="C")
        at = np.argwhere(values == values.max())[0]
        values[tuple(at)] = 0
    else:
        values = _changed(values) if values.dtype.kind == "f" else _middle(values)
    _save(type(image)(values, *_space(image)), path)


def _middle(values: np.ndarray) -> np.ndarray:
    """Change a value away from the borders, where no mask ends."""
    values = np.array(values, order="C")
    at = tuple(n // 2 for n in values.shape)
    values[at] = values[at] + (np.asarray(3, values.dtype) if values.dtype.kind in "iu" else 0.75)
    return values


def _space(image: Any) -> tuple[Any, ...]:
    if isinstance(image, nibabel.Cifti2Image):
        return (image.header,)
    return image.affine, image.header


def _move_image(path: Path) -> None:
    image: Any = nibabel.load(path)
    affine = np.array(image.affine)
    affine[0, 3] += 1.0
    _save(type(image)(np.asarray(image.dataobj), affine, image.header), path)


def _change_gifti(path: Path) -> None:
    image: Any = nibabel.load(path)
    array = image.darrays[len(image.darrays) // 2]
    array.data = _changed(array.data) if array.data.dtype.kind == "f" else np.roll(array.data, 1)
    _save(image, path)


def _set_hdf5(key: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            values = file[key][...]
            file[key][...] = values + 1 if values.dtype == np.uint8 else _changed(values)  # pictures: all of them

    return apply


def _set_mat(key: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        stored = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
        savemat(path, stored | {key: _changed(stored[key])})

    return apply


def _change_picture(path: Path) -> None:
    with Image.open(path) as image:
        values = np.array(image)
    values[0, 0] = 255 - values[0, 0]
    Image.fromarray(values).save(path)
