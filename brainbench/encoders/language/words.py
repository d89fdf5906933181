"""Words in a text: which tokens are whose, which words are read with which, and the windows of a long text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli

if TYPE_CHECKING:
    from torch import Tensor

ENDS = re.compile(r"""[.!?…]["'”’»)\]]*$""")
"""How the last word of a sentence ends."""
SENTENCE = "sentence"
"""The label of words that says which sentence they belong to."""


def owners(words: Sequence[str], offsets: np.ndarray) -> np.ndarray:
    """Return the word that every token of ``" ".join(words)`` belongs to, int ``(n_tokens,)``; -1 for none.

    Tokenizers differ in whether a token holds the space before it, in what they do with accents, and in how many
    tokens one character may become: only the characters of words count, and a token belongs to the word whose
    characters it holds.

    Parameters
    ----------
    words : sequence of str
    offsets : int ndarray (n_tokens, 2)
        First character of each token, and the one after its last.

    Raises
    ------
    UserError
        If one token holds characters of several words: the vector of the first would know the one that follows.
    """
    text = " ".join(words)
    word_of = np.repeat(np.arange(len(words)), [len(word) + 1 for word in words])[: len(text)]
    solid = np.array([not character.isspace() for character in text], dtype=bool)
    places = np.flatnonzero(solid)
    first, end = np.asarray(offsets, dtype=int).reshape(-1, 2).T
    # The first solid character of every token and its last: none where the one comes after the other.
    begin, last = np.searchsorted(places, first), np.searchsorted(places, end) - 1
    held = begin <= last
    found = np.full(len(first), -1)
    found[held] = word_of[places[last[held]]]
    several = np.flatnonzero(held)[word_of[places[begin[held]]] != found[held]]
    if len(several):
        token = int(several[0])
        before = int(word_of[places[begin[token]]])
        raise UserError(
            f"the token '{text[first[token] : end[token]]}' belongs to several words "
            f"({before + 1}: '{words[before]}', {found[token] + 1}: '{words[found[token]]}')",
            hint="its tokenizer merges across spaces: no vector would be one word's",
        )
    return found


def standing_apart(tokenizer: Any, ids: Tensor) -> Tensor:
    """Return which tokens stand for no part of a text, bool as `ids`; a word that the vocabulary lacks is a part."""
    import torch

    roles = [getattr(tokenizer, f"{role}_token_id", None) for role in ("bos", "eos", "pad", "cls", "sep")]
    special = set(tokenizer.all_special_ids) - ({tokenizer.unk_token_id} - set(roles))
    return torch.isin(ids, torch.tensor(sorted(special), device=ids.device))


def extents(own: np.ndarray, words: Sequence[str], who: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the first token of every word and the one after its last, each int ``(n_words,)``; see `owners`.

    Raises
    ------
    UserError
        Naming the words without a token.
    """
    held = np.flatnonzero(own >= 0)
    count = np.bincount(own[held], minlength=len(words))
    without = np.flatnonzero(count == 0)
    if len(without):
        named = ", ".join(f"{i + 1} ({words[i]!r})" for i in without[:3])
        raise UserError(
            f"{who}: {len(without)} of {len(words)} words have no token of their own: word {named}"
            f"{', ...' if without[3:].size else ''}",
            hint="its tokenizer drops their characters; correct these words, or take them out of the data",
        )
    last = np.cumsum(count) - 1
    return held[last - count + 1], held[last] + 1


def begin_of_context(stimuli: Stimuli, words: Sequence[str], context: int | str) -> np.ndarray:
    """Return the first word that each word is read with, int ``(n_words,)``.

    Parameters
    ----------
    stimuli : Stimuli
    words : sequence of str
    context : int or "sentence"
        So many words before it, or the words of its sentence.

    Raises
    ------
    UserError
        If sentences are asked for, and neither a label nor punctuation says where they end.
    """
    n = len(words)
    if context != SENTENCE:
        return np.maximum(np.arange(n) - int(context), 0)
    if SENTENCE in stimuli.labels:
        of = np.asarray(stimuli.labels[SENTENCE])
        starts = np.concatenate([[True], of[1:] != of[:-1]])
    else:
        ends = np.array([ENDS.search(word.strip()) is not None for word in words])
        if n > 1 and not ends.any():
            raise UserError(
                f"`context: sentence`: {stimuli.source or 'the words'}: no word ends with . ! or ?, and there is no "
                f"column '{SENTENCE}'",
                hint="give the table of words a column 'sentence', or take `context: N` or `context: stream`",
            )
        starts = np.concatenate([[True], ends[:-1]])
    return np.maximum.accumulate(np.where(starts, np.arange(n), 0))


@dataclass(frozen=True)
class Window:
    """A stretch of a text that a network reads at once: tokens that it is given, and words whose vectors it gives."""

    tokens: slice
    words: slice


def windows(first: np.ndarray, end: np.ndarray, size: int) -> list[Window]:
    """Return windows of at most `size` tokens in which every word sees all before it or half a window.

    Which window a word is read in depends on what comes before it and on its own tokens alone.

    Parameters
    ----------
    first, end : int ndarray (n_words,)
        First token of each word, and the one after its last; rising.
    size : int

    Raises
    ------
    UserError
        If a word alone has more tokens than what half a window leaves it.
    """
    found: list[Window] = []
    word = 0
    while word < len(first):
        must_see = first[word] - size // 2
        start = 0 if must_see <= 0 else int(first[np.searchsorted(first, must_see, side="right") - 1])
        stop = int(np.searchsorted(end, start + size, side="right"))
        if stop <= word:
            raise UserError(
                f"word {word + 1} has {end[word] - first[word]} tokens, too many for windows of {size}",
                hint="take a longer `window`",
            )
        found.append(Window(slice(start, int(end[stop - 1])), slice(word, stop)))
        word = stop
    return found
