"""One change for every part of a file, by its format: a column, an array, a key, a voxel."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
from PIL import Image, ImageSequence
from scipy.io import loadmat, savemat

from brainbench.core.pickles import read_pickle
from brainbench.recordings.intracranial.duin import DICTIONARIES
from tests.sweeps.signals import signal_parts


def parts(path: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield the name of every part of a file and what changes it in place."""
    name = path.name
    if name.endswith("_label.csv"):  # patches, without a header
        yield "patch", _set_patch
    elif name.endswith((".csv", ".tsv")):
        yield from _of_table(path, "," if name.endswith(".csv") else "\t")
    elif name.endswith(".json"):
        yield from ((key, _set_json(key)) for key in json.loads(path.read_text()))
    elif name.endswith((".txt", ".ctab")):
        yield from _of_lines(path)
    elif name.endswith((".pkl", ".dat")) or (name.endswith(".npy") and not _plain(path)):
        held = _unpickled(path)
        yield from ((str(key), _set_pickled(key)) for key in (held if isinstance(held, dict) else range(len(held))))
    elif not path.suffix:
        yield from ((key, _set_in_trial(key)) for key in _trials(path)[0])
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
    elif name.endswith((".hdf5", ".h5", ".hf5")):
        with h5py.File(path) as file:
            inside = {f"{key}/{name}": one for key, group in file.items() if isinstance(group, h5py.Group)
                      for name, one in group.items()}  # fmt: skip
            names = [*inside, *(key for key, one in file.items() if isinstance(one, h5py.Dataset))]
            yield from ((key, _set_hdf5(key)) for key in names)
    elif name.endswith(".mat"):
        for key, value in loadmat(path).items():
            if not key.startswith("__"):
                yield from (("/".join((key, *inside)), _set_mat(key, inside)) for inside in _fields(value))
    elif name.endswith(".TextGrid"):
        yield "word", lambda path: _in_last(path, r'"([A-Za-z]{4,})"', lambda word: f"{word}s")
        yield "time", lambda path: _in_last(path, r"xmin = ([\d.]+)", lambda time: f"{float(time) + 0.01:.3f}")
    elif name.lower().endswith((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif")):
        yield "pixel", _change_picture
    else:
        yield from signal_parts(path)


def _in_last(path: Path, pattern: str, change: Callable[[str], str]) -> None:
    """Change what the last match of a pattern holds."""
    text = path.read_text()
    found = list(re.finditer(pattern, text))[-1]
    path.write_text(text[: found.start(1)] + change(found[1]) + text[found.end(1) :])


def _of_table(path: Path, separator: str) -> Iterator[tuple[str, Callable[[Path], None]]]:
    header = path.read_text().split("\n")[0]
    for at, column in enumerate(header.split(separator)):
        yield column, _set_cells(at, separator, 0.03125)
        yield f"{column} +3", _set_cells(at, separator, 3.0)
    if len(path.read_text().rstrip("\n").split("\n")) > 2:
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


def _waved(values: np.ndarray) -> np.ndarray:
    """Return signals with a wave on all of them: of films only some channels and seconds are read."""
    return values + 0.1 * np.abs(values).max() * np.sin(np.arange(values.size)).reshape(values.shape)


def _change_of(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return _waved if values.dtype.kind == "f" and values.size >= 5000 else _changed


def _fields(values: np.ndarray) -> Iterator[tuple[str, ...]]:
    """Yield the way to everything that is no structure of MATLAB; of cells the first stands for all."""
    if values.dtype.names:
        for name in values.dtype.names:
            yield from ((name, *inside) for inside in _fields(values[name].flat[0]))
    elif values.dtype.kind == "O" and values.size and values.flat[0].dtype.names:
        yield from _fields(values.flat[0])
    else:
        yield ()


def _changed_inside(values: np.ndarray, inside: tuple[str, ...]) -> np.ndarray:
    """Return a structure or cells of MATLAB of which one value is another."""
    if values.dtype.names:
        inner = values[inside[0]]
        inner[(0,) * inner.ndim] = _changed_inside(inner.flat[0], inside[1:])
    elif values.dtype.kind == "O":
        flat = values.reshape(-1)
        if flat[0].dtype.kind == "U":  # names: two of them change places
            flat[0], flat[-1] = flat[-1], flat[0]
        else:
            flat[0] = _changed_inside(flat[0], inside)
    elif values.dtype.kind in "US":
        values = np.char.add(values, "x")
    else:
        values = values + 1
    return values


def _change_npy(path: Path) -> None:
    np.save(path, _changed(np.load(path)))


def _unpickled(path: Path) -> Any:
    """Return what a pickle of our own holds."""
    if path.suffix in (".pkl", ".dat"):
        return pickle.loads(path.read_bytes())
    held = np.load(path, allow_pickle=True)
    return held if isinstance(held, dict) else held.item()


def _plain(path: Path) -> bool:
    """Return whether a .npy file is an array of numbers."""
    begin = path.read_bytes()[:128]
    return begin[:6] == b"\x93NUMPY" and b"'|O'" not in begin


def _set_pickled(key: Any) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        held = _unpickled(path)
        parts = dict(held) if isinstance(held, dict) else dict(enumerate(held))
        array = isinstance(parts[key], np.ndarray)
        parts[key] = _change_of(parts[key])(parts[key]) if array else [*reversed(parts[key])]
        held = parts if isinstance(held, dict) else tuple(parts.values())
        if path.suffix == ".npy":
            np.save(path, held)
        else:
            # With the names of NumPy 1, as DEAP's were made with.
            path.write_bytes(pickle.dumps(held, protocol=2).replace(b"numpy._core", b"numpy.core"))

    return apply


def _trials(path: Path) -> list[dict[str, Any]]:
    """Return what a pickle of Du-IN holds: trials, or one dictionary."""
    held = read_pickle(path, "trials", dictionaries=DICTIONARIES)
    return held if isinstance(held, list) else [held]


def _set_in_trial(key: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        trials = [dict(one) for one in _trials(path)]
        value = trials[0][key]
        if isinstance(value, str):
            value = trials[-1][key]
        else:
            value = [*reversed(value)] if isinstance(value, list) else np.asarray(value) + 5.0
        trials[0][key] = value
        path.write_bytes(pickle.dumps(trials if path.name == "data" else trials[0], protocol=2))

    return apply


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


def _set_mat(key: str, inside: tuple[str, ...]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        stored = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
        plain = stored[key].dtype.kind in "fiuUS"
        stored[key] = _change_of(stored[key])(stored[key]) if plain else _changed_inside(stored[key], inside)
        savemat(path, stored)

    return apply


def _change_picture(path: Path) -> None:
    if path.suffix == ".gif":
        with Image.open(path) as image:
            frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
        frames[0].save(path, save_all=True, append_images=frames[:-1], duration=100)
        return
    with Image.open(path) as image:
        values = np.array(image)
    values[0, 0] = 255 - values[0, 0]
    Image.fromarray(values).save(path)
