"""Stimuli of a table (images by path, texts and words), and of what a user hands over; each is checked first."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError, did_you_mean
from brainbench.data.base import Modality, Stimuli
from brainbench.data.layouts.matrices import name_some
from brainbench.data.sound.recording import Heard, Recording, open_wav
from brainbench.data.tables import Table, read_table, read_text
from brainbench.data.vision.clip import Clip, open_clip
from brainbench.data.vision.picture import decode_image, image_of, pixels_of, unfit

_COLUMNS = ("id", "path", "text", "onset", "duration", "run", "caption", "fps")
_OF_SOUNDS = ("sound", "start")
_THREADS = 4


@dataclass(frozen=True)
class StimulusTable:
    """The stimuli of a table and what was found on the way.

    Attributes
    ----------
    stimuli : Stimuli
    path : Path
        The table.
    lines : list of int
        Line of each stimulus in the table.
    run : list of str or None
        Run that each onset is counted in, where the table has a column ``run``.
    files : list of Path
        Every file read.
    notes : list of str
        Sentences for the report.
    """

    stimuli: Stimuli
    path: Path
    lines: list[int]
    run: list[str] | None = None
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_stimuli(path: Path, modality: Modality, *, continuous: bool = False) -> StimulusTable:
    """Read a table of stimuli.

    Parameters
    ----------
    path : Path
        Columns ``id`` and ``path`` (relative to the table's folder) or ``text``; with `continuous` also ``onset`` (s),
        and ``duration`` (s) and ``run`` if there are such; images may have a ``caption``; all other columns are labels.
    modality : {"image", "text", "word", "sound", "clip"}
        Sounds have a column ``path`` of .wav files, words may have one, ``sound``; ``start`` (s; words: the onset) and
        ``duration`` (s; sounds: all of it) say which piece of the file is heard. Clips are films, animated pictures, or
        with ``fps`` arrays and folders of frames.
    continuous : bool

    Raises
    ------
    UserError
        With every problem of the table: ids given twice, empty texts, files that are missing or no images, onsets
        out of order.
    """
    return stimuli_of(read_table(path), modality, continuous=continuous)


def stimuli_of(table: Table, modality: Modality, *, continuous: bool = False) -> StimulusTable:
    """Return the stimuli of a table that was read; see `read_stimuli`."""
    path = table.path
    table.require("id", *(["onset"] if continuous else []))
    ids = table.texts("id")
    table.unique("id")
    load: Callable[[int], Any]
    files: list[Path] = []
    if modality == "image":
        table.require("path")
        files = _find_files(table)
        digests = _check_images(table, files)
        load = _ImageLoader(files, path, table.lines)
    elif modality == "clip":
        table.require("path")
        files, clips = _clips(table)
        digests, load = [clip.digest for clip in clips], clips.__getitem__
    elif modality == "sound":
        table.require("path")
        files = _find_files(table)
        digests, load = [""] * len(ids), str  # known when the sounds are open
    else:
        texts, files = _texts(table)
        digests = [digest(text) for text in texts]
        load = texts.__getitem__
    onset = duration = run = None
    if continuous:
        onset, duration, run = _timing(table)
    heard = None
    if modality == "sound" or (modality == "word" and "sound" in table):
        heard, sounds = _heard(table, "path" if modality == "sound" else "sound", onset)
        files += sounds
    table.finish()
    if modality == "sound" and heard is not None:
        load = heard.piece
        digests = [heard.take([i]).digest() for i in range(len(ids))]
        if continuous and duration is None:
            duration = heard.end - heard.start
    notes = [] if modality == "word" else _equal_content(ids, digests)
    used = {"id", "path" if files else "text", *(("onset", "duration", "run") if continuous else ())}
    captions: list[tuple[str, ...]] | None = None
    if modality in ("image", "clip") and "caption" in table:
        captions = [(text,) if text else () for text in table.texts("caption", required=False)]
        used.add("caption")
    used |= {"fps"} if modality == "clip" else set()
    used |= {"duration", "text" if modality == "word" else "path"} if heard is not None else set()
    unused = [name for name in _COLUMNS if name in table and name not in used]
    if unused:
        rows = "time points" if continuous else "trials"
        notes.append(f"{path.name}: not used for stimuli of modality {modality} and {rows}: {', '.join(unused)}")
    stimuli = Stimuli(
        ids=ids,
        modality=modality,
        load=load,
        content_digests=digests,
        onset=onset,
        duration=duration,
        labels=table.others(*_COLUMNS, *(_OF_SOUNDS if heard is not None else ())),
        source=path.name,
        captions=captions,
        heard=heard,
    )
    return StimulusTable(stimuli, path, table.lines, run, [path, *files], notes)


class _ImageLoader:
    """Loads image ``i`` as ``(height, width, 3)`` uint8; transparent parts lie on mid gray."""

    def __init__(self, files: list[Path], table: Path, lines: list[int]) -> None:
        self.files = files
        self.table = table
        self.lines = lines

    def __call__(self, index: int) -> np.ndarray:
        return image_of(self.files[index], f"{self.table}:{self.lines[index]}  ")


def _find_files(table: Table) -> list[Path]:
    """Return the file of every row; missing ones are problems with the nearest name in their folder."""
    folder = table.path.parent
    files = [folder / cell for cell in table.texts("path")]
    names: dict[Path, list[str]] = {}
    for line, cell, file in zip(table.lines, table.texts("path", required=False), files, strict=True):
        if cell and not file.is_file():
            parent = file.parent
            if parent not in names:
                names[parent] = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
            near = did_you_mean(file.name, names[parent])
            what = "is a folder" if file.is_dir() else f"no such file{near}"
            table.problems.add(f"column 'path': {cell}: {what}", line)
    return files


def _clips(table: Table) -> tuple[list[Path], list[Clip]]:
    """Return the files and the clip of every row; those that cannot be read are problems."""
    folder, clips, files = table.path.parent, [], []
    rates = table.numbers("fps", minimum=0.1) if "fps" in table else [None] * len(table)
    for line, cell, fps in zip(table.lines, table.texts("path"), rates, strict=True):
        path = folder / cell
        if fps is not None and not fps > 0:
            continue  # its cell is a problem already
        try:
            clips.append(open_clip(path, None if fps is None else float(fps)))
        except UserError as error:
            table.problems.add(error.message if path.exists() else f"column 'path': {cell}: no such file", line)
        files += [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    return files, clips


def _check_images(table: Table, files: list[Path]) -> list[str]:
    """Return the digest of every image file; files that do not decode to the end are problems."""

    def look(file: Path) -> tuple[str, str]:
        if not file.is_file():
            return "", ""
        raw = file.read_bytes()
        return hashlib.sha256(raw).hexdigest(), _wrong_with(raw)

    with ThreadPoolExecutor(_THREADS) as pool:
        looked = list(pool.map(look, files))
    for line, file, (_, wrong) in zip(table.lines, files, looked, strict=True):
        if wrong:
            table.problems.add(f"{file.name}: {wrong}", line)
    return [sha for sha, _ in looked]


def _wrong_with(raw: bytes) -> str:
    """Return what is wrong with the bytes of an image; a JPEG is decoded at an eighth of its size."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(raw)) as image:
            if why := unfit(image):
                return why
            image.draft("L", (1, 1))
            image.load()
    except UnidentifiedImageError:
        return "not an image that can be read"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"the image cannot be read to its end ({error})"
    return ""


def _texts(table: Table) -> tuple[list[str], list[Path]]:
    """Return the text of every row, from column ``text`` or from the files of column ``path``."""
    if "text" in table:
        return table.texts("text"), []
    if "path" not in table:
        table.require("text")
    files = _find_files(table)
    texts = []
    for line, file in zip(table.lines, files, strict=True):
        text = ""
        if file.is_file():
            try:
                text = read_text(file).strip()
            except UserError as error:
                table.problems.add(error.message, line)
            else:
                if not text:
                    table.problems.add(f"{file.name}: the file is empty", line)
        texts.append(text)
    return texts, files


def _heard(table: Table, column: str, onset: np.ndarray | None) -> tuple[Heard | None, list[Path]]:
    """Return which piece of which sound each row is, and the sounds' files; what is wrong is a problem of its row."""
    files = [table.path.parent / cell for cell in table.texts(column)]
    opened: dict[Path, Recording] = {}
    for line, file in zip(table.lines, files, strict=True):
        if file not in opened:
            try:
                opened[file] = open_wav(file)
            except UserError as error:
                table.problems.add(f"column '{column}': {error.message}", line)
    if table.problems:
        return None, []
    start = table.numbers("start", minimum=0.0) if "start" in table else onset if column == "sound" else None
    start = np.zeros(len(table)) if start is None else np.asarray(start, dtype=float)
    if "duration" in table:
        end = start + table.numbers("duration", minimum=0.0)
    elif column == "sound":
        table.require("duration")
        return None, []
    else:
        end = np.array([opened[file].duration for file in files])
    places = {file: place for place, file in enumerate(opened)}
    heard = Heard(list(opened.values()), np.array([places[file] for file in files], dtype=int), start, end)
    for row, problem in heard.problems(table.texts("id")):
        table.problems.add(problem, table.lines[row])
    return heard, list(opened)


def _timing(table: Table) -> tuple[np.ndarray, np.ndarray | None, list[str] | None]:
    """Return onset, duration and run; onsets must rise within each run, and the rows of a run stand together."""
    onset = table.numbers("onset", minimum=0.0)
    duration = table.numbers("duration", minimum=0.0) if "duration" in table else None
    run = table.texts("run") if "run" in table else None
    runs = run if run is not None else [""] * len(table)
    for row in range(1, len(table)):
        if runs[row] == runs[row - 1]:
            if onset[row] < onset[row - 1]:
                table.problems.add(
                    f"column 'onset': {onset[row]:g} s is before the row above ({onset[row - 1]:g} s)",
                    table.lines[row],
                )
        elif runs[row] in runs[:row]:
            table.problems.add(f"run '{runs[row]}' begins a second time; keep its rows together", table.lines[row])
    return onset, duration, run


def _equal_content(ids: list[str], digests: list[str]) -> list[str]:
    """Say which stimuli have equal content under different ids."""
    groups: dict[str, list[str]] = {}
    for name, sha in zip(ids, digests, strict=True):
        groups.setdefault(sha, []).append(name)
    equal = [" = ".join(names[:4]) for names in _several(groups)]
    if not equal:
        return []
    return [f"equal content under different ids: {name_some(equal)}; folds by stimulus cannot keep these apart"]


def _several(groups: dict[str, list[str]]) -> Iterator[list[str]]:
    return (names for names in groups.values() if len(names) > 1)


# Stimuli that a user hands over -------------------------------------------------------------------------------------

READS = {
    "image": "a PIL image, an array (height, width[, 1 or 3]) of 0 to 255, or a path of an image",
    "text": "a text, or a path of a .txt file",
    "word": "a word",
    "sound": "a path of a .wav file",
    "array": "an array of numbers",
}
"""What may be given for a modality, in words."""


def given_stimuli(values: Any, modalities: Sequence[str], who: str) -> Stimuli:
    """Return stimuli of what a user gives to an encoder: one value or several.

    Parameters
    ----------
    values : a stimulus, or a sequence of stimuli
        PIL images, arrays, texts, or paths. An array with one axis more than a stimulus is a sequence.
    modalities : sequence of str
        What the encoder reads.
    who : str
        The encoder, for messages.

    Raises
    ------
    UserError
        If a value is none of what the encoder reads, with its place and what came.
    """
    if isinstance(values, Stimuli):
        return values
    several = list(values) if _is_sequence(values, modalities) else [values]
    if not several:
        raise UserError(f"{who} was given no stimulus")
    found = [_one(value, modalities, who, place) for place, value in enumerate(several, start=1)]
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    if len(kinds) > 1:
        raise UserError(f"{who} was given {' and '.join(kinds)} stimuli together", hint="give them one after the other")
    if kinds == ["sound"]:
        return Stimuli.of_sounds([value for _, value in found])
    return Stimuli.of([value for _, value in found])


def _is_sequence(values: Any, modalities: Sequence[str]) -> bool:
    if isinstance(values, list | tuple):
        return True
    if isinstance(values, np.ndarray):
        channels = (1, 3, 4) if "image" in modalities else (3, 4)
        return values.ndim == 4 or values.dtype.kind in "UO" or (values.ndim == 3 and values.shape[-1] not in channels)
    one = isinstance(values, str | bytes | os.PathLike | Mapping) or _is_picture(values)
    return hasattr(values, "__iter__") and not one


def _is_picture(value: Any) -> bool:
    return hasattr(value, "convert") and hasattr(value, "getbands")


def _one(value: Any, modalities: Sequence[str], who: str, place: int) -> tuple[str, Any]:
    """Return the modality of one value and what `Stimuli` hold of it."""
    if "image" in modalities and _is_picture(value):
        try:
            return "image", pixels_of(value)
        except ValueError as error:
            raise UserError(f"{who}, stimulus {place}: {error}") from None
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        picture = "image" in modalities and value.ndim in (2, 3)
        if "array" in modalities and not (picture and value.ndim == 3 and value.dtype == np.uint8):
            return "array", value
        if picture:
            return "image", _pixels(value, who, place)
    if isinstance(value, str) and "text" in modalities:
        return "text", str(value)
    if isinstance(value, os.PathLike | str):
        path = Path(value)
        if path.is_file() and "image" in modalities:
            try:
                return "image", decode_image(path.read_bytes())
            except (OSError, ValueError) as error:
                raise UserError(f"{who}, stimulus {place}: {path} is no image that can be read ({error})") from None
        if path.is_file() and "sound" in modalities:
            return "sound", open_wav(path)
        if path.is_file() and "text" in modalities and path.suffix == ".txt":
            return "text", path.read_text(encoding="utf-8").strip()
        if not path.is_file():
            raise UserError(f"{who}, stimulus {place}: {path}: no such file", hint=_allowed(modalities))
    raise UserError(f"{who}, stimulus {place}: {_came(value)}", hint=_allowed(modalities))


def _pixels(value: np.ndarray, who: str, place: int) -> np.ndarray:
    """Return an image as uint8 RGB."""
    if value.ndim == 3 and value.shape[-1] not in (1, 3):
        raise UserError(f"{who}, stimulus {place}: {_came(value)}", hint=_allowed(["image"]))
    if value.dtype != np.uint8:
        whole = value.dtype.kind in "iu" and value.size and value.min() >= 0 and value.max() <= 255
        if not whole:
            raise UserError(
                f"{who}, stimulus {place}: {_came(value)}, from {np.min(value):g} to {np.max(value):g}",
                hint="images are whole numbers from 0 to 255: of 0 to 1 make `(255 * image).round().astype('uint8')`",
            )
    value = value.astype(np.uint8)
    flat = value if value.ndim == 2 else value[..., 0]
    return value if value.ndim == 3 and value.shape[-1] == 3 else np.repeat(flat[..., None], 3, axis=-1)


def _came(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    return f"a {type(value).__name__} ({value!r:.60})"


def _allowed(modalities: Sequence[str]) -> str:
    return "it reads " + "; or ".join(READS[name] for name in modalities if name in READS)
