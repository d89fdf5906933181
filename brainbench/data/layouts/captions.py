"""Texts of photographs: captions of a file, names of classes, names of scenes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainbench.core.errors import UserError
from brainbench.data.tables import read_text

SYNSETS = "imagenet_final_labels.txt"
"""Lines of an ImageNet class and its names: ``n01440764 tench, Tinca tinca``."""
SCENES = "scene_final_labels.txt"
"""Names of kinds of scenes, one a line, with which the names of their pictures begin."""


@dataclass(frozen=True)
class Captions:
    """Texts of pictures by file name, the files they came from, and a sentence for the report."""

    texts: Mapping[str, tuple[str, ...]]
    files: tuple[Path, ...]
    note: str


def read_captions(images: Mapping[str, Path], captions: Path | None, labels: Path) -> Captions:
    """Return what is known of BOLD5000's pictures.

    Parameters
    ----------
    images : mapping of name to path
        The pictures; their folder says where they come from.
    captions : Path, optional
        JSON of captions by name, or COCO's annotations.
    labels : Path
        Folder ``Image_Labels`` of the data set.

    Raises
    ------
    UserError
        If a file is not what was expected.
    """
    given = {} if captions is None else _from_json(captions)
    classes, kinds = labels / SYNSETS, labels / SCENES
    synsets = _synsets(classes) if classes.is_file() else {}
    scenes = [line.strip() for line in read_text(kinds).splitlines() if line.strip()] if kinds.is_file() else []
    texts: dict[str, tuple[str, ...]] = {}
    counts = {"captions": 0, "names of classes": 0, "names of scenes": 0}
    for name in images:
        found, source = given.get(name, ()), "captions"
        if not found:
            source, text = _label(name, synsets, scenes)
            found = (text,) if text else ()
        if found:
            texts[name] = found
            counts[source] += 1
    used = [path for path in (captions, classes, kinds) if path is not None and path.is_file()]
    said = ", ".join(f"{n} {source}" for source, n in counts.items() if n)
    missing = len(images) - len(texts)
    note = f"texts of {len(texts)} of {len(images)} pictures: {said}" if texts else "pictures have no captions"
    if texts and missing:
        note += f"; {missing} have none"
    return Captions(texts, tuple(used), f"{note} ({', '.join(path.name for path in used)})" if texts else note)


def _from_json(path: Path) -> dict[str, tuple[str, ...]]:
    """Return captions by name of a picture; COCO's annotations name pictures by number."""
    if not path.is_file():
        raise UserError(f"dataset.captions: {path} does not exist")
    try:
        found: Any = json.loads(read_text(path))
        if "annotations" in found and "images" in found:
            names = {one["id"]: str(one["file_name"]) for one in found["images"]}
            texts: dict[str, list[str]] = {}
            for one in found["annotations"]:
                texts.setdefault(names[one["image_id"]], []).append(str(one["caption"]))
        else:
            texts = {str(name): [str(text) for text in _list(lines)] for name, lines in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not readable ({type(error).__name__}: {error})",
            hint='{"picture.jpg": ["a text", ...], ...}, or COCO\'s annotations with `images` and `annotations`',
        ) from None
    kept = {name: tuple(text.strip() for text in lines if text.strip()) for name, lines in texts.items()}
    return {name: lines for name, lines in kept.items() if lines}


def _list(lines: Any) -> list[str]:
    if isinstance(lines, str) or not all(isinstance(text, str) for text in lines):
        raise TypeError("captions of a picture are a list of texts")
    return list(lines)


def _synsets(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        synset, _, names = line.strip().partition(" ")
        if not re.fullmatch(r"n\d{8}", synset) or not names:
            raise UserError(f"{path}:{number}  '{line.strip()}': a class (n01440764) and its names were expected")
        found.setdefault(synset, names.strip())
    return found


def _label(name: str, synsets: Mapping[str, str], scenes: list[str]) -> tuple[str, str]:
    """Return the source and the label of a picture: its class by the synset, its scene by the longest known name."""
    stem = Path(name).stem
    synset = stem.partition("_")[0]
    if synset in synsets:
        return "names of classes", synsets[synset]
    begins = [scene for scene in scenes if re.fullmatch(re.escape(scene) + r"\d*", stem, re.IGNORECASE)]
    if not begins:
        return "names of scenes", ""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", max(begins, key=len))
    return "names of scenes", words.lower()
