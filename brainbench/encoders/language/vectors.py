"""A file of word vectors (GloVe, fastText, word2vec as text): what words mean without any context."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest_file
from brainbench.core.errors import UserError
from brainbench.core.remembered import file_state
from brainbench.data.base import Stimuli
from brainbench.encoders.controls import OneLayer

SHOWN = 5
"""Words without a vector that a message names."""
PARTS = re.compile(r"n't$|'\w*$|[^\W_]+|[^\w\s]+", re.UNICODE)
MARKS = re.compile(r"^[^\w]+|[^\w]+$", re.UNICODE)


class WordVectors(OneLayer):
    """The vector of every word; of a text the mean over its words.

    A word is looked up as it is written, then in lower case, then without the marks around it, then by its parts
    (`don't`: `do` and `n't`; `rabbit-hole`), whose mean is taken. What is not found is zero, and counted.
    """

    modalities = ("word", "text")
    layer = "vector"

    def __init__(self, settings: Any, *, seed: int = 0, device: str = "auto", batch_size: int | None = None) -> None:
        super().__init__(settings, seed=seed)
        self.path = Path(settings.file).expanduser()
        if not self.path.is_file():
            raise UserError(
                f"encoder '{self.name}': file: {self.path} does not exist",
                hint="give a text file with a word and its numbers on every line (glove.6B.50d.txt, cc.en.300.vec)",
            )
        self._skip, self._width = self._shape()
        self._known: dict[str, np.ndarray | None] = {}
        self.note = f"word vectors of {self.path.name}: {self._width} dimensions; words without one are zero"

    def width(self) -> int:
        """As many as the file has."""
        return self._width

    def parameters(self) -> dict[str, Any]:
        """Return the digest of the file."""
        return {"file": _digest(self.path, tuple(file_state(self.path)))}

    def weight_files(self) -> list[Path]:
        """Return the file."""
        return [self.path]

    def remarks(self, stimuli: Stimuli) -> list[str]:
        """Say how many words have no vector, or that of their parts."""
        shown = [word for i in range(len(stimuli)) for word in self._words(stimuli, i)]
        self._look_up(set(shown))
        how = [self._found(word)[1] for word in shown]
        said = []
        if missing := [word for word, way in zip(shown, how, strict=True) if way == "none"]:
            names = list(dict.fromkeys(missing))
            named = ", ".join(repr(name) for name in names[:SHOWN]) + (", ..." if names[SHOWN:] else "")
            said.append(
                f"encoder '{self.name}': {len(missing)} of {len(shown)} words ({len(names)} different) have no vector "
                f"in {self.path.name} and are zero: {named}"
            )
        if parts := [word for word, way in zip(shown, how, strict=True) if way == "parts"]:
            said.append(
                f"encoder '{self.name}': {len(parts)} of {len(shown)} words have the mean of their parts' vectors "
                f"({', '.join(repr(name) for name in list(dict.fromkeys(parts))[:SHOWN])})"
            )
        return said

    def compute(self, stimuli: Stimuli, rows: range) -> np.ndarray:
        """Return a vector a stimulus."""
        texts = [self._words(stimuli, row) for row in rows]
        self._look_up({word for words in texts for word in words})
        out = np.zeros((len(rows), self._width), dtype=np.float32)
        for place, words in enumerate(texts):
            vectors = [vector for vector, way in map(self._found, words) if way != "none"]
            if vectors:
                out[place] = np.mean(vectors, axis=0)
        return out

    def _words(self, stimuli: Stimuli, row: int) -> list[str]:
        text = stimuli.load(row)
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"stimulus '{stimuli.ids[row]}': a text must not be empty, got {text!r}")
        if stimuli.modality == "word":
            return [text.strip().replace("’", "'")]
        return [word for word in text.replace("’", "'").split() if re.search(r"\w", word)] or [text.strip()]

    def _found(self, word: str) -> tuple[np.ndarray, str]:
        """Return a word's vector and how it was found: whole, parts or none."""
        for name in _spellings(word):
            vector = self._known.get(name)
            if vector is not None:
                return vector, "whole"
        parts = [vector for part in _parts(word) if (vector := self._known.get(part)) is not None]
        return (np.mean(parts, axis=0), "parts") if parts else (np.zeros(self._width, np.float32), "none")

    def _look_up(self, words: set[str]) -> None:
        """Read the vectors of words that were not asked for before, in one pass through the file."""
        names = {name for word in words for name in (*_spellings(word), *_parts(word))}
        wanted = {name.encode(): name for name in names - set(self._known)}
        if not wanted:
            return
        self._known.update(dict.fromkeys(wanted.values()))
        for number, line in self._lines():
            # GloVe 840B has entries of several words: a line with more numbers than a vector begins one.
            head, _, rest = line.partition(b" ")
            if head in wanted and self._known[wanted[head]] is None:
                self._known[wanted[head]] = self._numbers(rest, number, wanted[head])

    def _numbers(self, rest: bytes, line: int, word: str) -> np.ndarray | None:
        cells = rest.split()
        if len(cells) > self._width:
            return None  # an entry of several words that begins with this one
        try:
            values = np.array([float(cell) for cell in cells], dtype=np.float32)
        except ValueError:
            values = np.empty(0, np.float32)
        if len(values) != self._width or not np.isfinite(values).all():
            raise UserError(f"{self.path}:{line}: '{word}' has not {self._width} finite numbers after it")
        return values

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if number > self._skip:
                    yield number, line.rstrip(b"\n\r ")

    def _shape(self) -> tuple[int, int]:
        """Return how many lines are no vectors, and how many numbers a vector has."""
        with open(self.path, "rb") as file:
            first, second = file.readline(100_000).split(), file.readline(100_000).split()
        header = len(first) == 2 and all(cell.isdigit() for cell in first)  # fastText, word2vec: words and width
        cells = second if header else first
        width = int(first[1]) if header else len(cells) - 1
        try:
            right = width > 0 and len(cells) > width and bool(np.isfinite([float(c) for c in cells[-width:]]).all())
        except ValueError:
            right = False
        if not right:
            raise UserError(
                f"{self.path}:{2 if header else 1}: not a word and its numbers, separated by spaces",
                hint="GloVe's .txt, fastText's .vec and word2vec's text format are read; unpack archives and convert "
                "binary files",
            )
        return int(header), width


def _spellings(word: str) -> list[str]:
    """Return what is looked up for a word as a whole, the likeliest first."""
    bare = MARKS.sub("", word)
    return [name for name in dict.fromkeys([word, word.lower(), bare, bare.lower()]) if name]


def _parts(word: str) -> list[str]:
    """Return the parts of a word, as treebanks cut them."""
    bare = MARKS.sub("", word.lower())
    stem, clitic = (bare[:-3], ["n't"]) if bare.endswith("n't") else (bare, [])
    found = [part for part in PARTS.findall(stem) if re.search(r"\w", part)]
    return [*found, *clitic] if len(found) + len(clitic) > 1 else []


@cache
def _digest(path: Path, state: tuple[int, ...]) -> str:
    """Return the digest of a file's bytes; `state` says whether it is the file of before."""
    return digest_file(path)
