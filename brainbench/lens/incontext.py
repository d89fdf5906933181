"""A toy task that is solved from the context or from the weights, and measures of which of the two a network does.

Items of classes and their labels alternate, and the label of a last item is asked for (Reddy 2024, arXiv:2312.03002).
Where its class stands in the context, the answer can be copied from there; where labels of classes never change, it
can be learned instead. What pays depends on the data: how often a class comes back within a sequence, how many classes
there are, how much items of a class differ, and how unequally often classes come. It is no diagnostic of models of a
brain: a task whose ways of solving are known, to try diagnostics and edits on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from brainbench.core.errors import UserError

Asked = Literal["trained", "swapped", "absent"]


@dataclass(frozen=True)
class Sequences:
    """Sequences of items and labels, and what is asked.

    Attributes
    ----------
    tokens : ndarray (n, 2 n_pairs + 1, 2 n_pairs + 1 + width)
        float32: item, label, item, label, ..., item; a token is its place, one number a place, and its content.
    classes : int ndarray (n, n_pairs + 1)
        Of the items; the last one's label is asked for.
    labels : int ndarray (n, n_pairs + 1)
        Of the items, as the context has them; the last is the answer.
    """

    tokens: np.ndarray
    classes: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Task:
    """Which data a network learns from.

    Parameters
    ----------
    n_classes, n_labels : int
        Class k has label k modulo `n_labels`.
    n_pairs : int
        Items with their label before the last item.
    burstiness : int
        How often each class of a context stands in it; the last item is of one of them. 0: classes are drawn one by
        one, and the last one does not care.
    within : float
        How much items of a class differ, beside how much classes do.
    exponent : float
        Class k comes as often as (k + 1) to the minus this.
    width : int
        Numbers of an item.
    seed : int
        Of what classes and labels look like.
    """

    n_classes: int
    n_labels: int = 8
    n_pairs: int = 4
    burstiness: int = 2
    within: float = 0.1
    exponent: float = 0.0
    width: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.burstiness and self.n_pairs % self.burstiness:
            near = max(size for size in range(1, self.burstiness + 1) if self.n_pairs % size == 0)
            raise UserError(
                f"burstiness {self.burstiness} does not divide the {self.n_pairs} pairs of a context: take {near}"
            )
        if self.n_classes < self.n_labels or self.n_classes <= self.n_pairs:
            raise UserError(
                f"{self.n_classes} classes for {self.n_labels} labels and {self.n_pairs} pairs: take at least "
                f"{max(self.n_labels, self.n_pairs + 1)} classes"
            )

    @cached_property
    def looks(self) -> tuple[np.ndarray, np.ndarray]:
        """Means of classes ``(n_classes, width)``, and labels ``(n_labels, width)``."""
        rng = np.random.default_rng([self.seed, 83])
        size = self.width**-0.5
        return size * rng.standard_normal((self.n_classes, self.width)), size * rng.standard_normal(
            (self.n_labels, self.width)
        )

    def draw(self, n: int, seed: int, asked: Asked = "trained") -> Sequences:
        """Return sequences.

        Parameters
        ----------
        n : int
        seed : int
        asked : {"trained", "swapped", "absent"}
            As in training; with the labels of every context moved on by one, so that the context alone has the answer;
            or of a class that its context does not have, so that the weights alone have it.
        """
        rng = np.random.default_rng([self.seed, seed, 89])
        often = (np.arange(self.n_classes) + 1.0) ** -self.exponent
        often /= often.sum()
        bursts = self.burstiness or (1 if asked != "trained" else 0)
        each = bursts or 1
        drawn = np.stack([rng.choice(self.n_classes, self.n_pairs // each, bool(not bursts), often) for _ in range(n)])
        context = rng.permuted(np.repeat(drawn, each, axis=1), axis=1)
        if asked == "absent" or not bursts:
            open_to = np.ones((n, self.n_classes), bool)
            if asked == "absent":
                np.put_along_axis(open_to, context, False, axis=1)
            chance = (often * open_to).cumsum(axis=1)
            last = (chance < rng.random((n, 1)) * chance[:, -1:]).sum(axis=1)
        else:
            last = context[np.arange(n), rng.integers(self.n_pairs, size=n)]
        classes = np.concatenate([context, last[:, None]], axis=1)
        labels = (classes + (asked == "swapped")) % self.n_labels
        means, signs = self.looks
        items = means[classes] + self.within * self.width**-0.5 * rng.standard_normal((*classes.shape, self.width))
        length = 2 * self.n_pairs + 1
        content = np.empty((n, length, self.width))
        content[:, ::2] = items / (1 + self.within**2) ** 0.5
        content[:, 1::2] = signs[labels[:, :-1]]
        places = np.broadcast_to(np.eye(length), (n, length, length))
        return Sequences(np.concatenate([places, content], axis=2).astype(np.float32), classes, labels)


def progress(patterns: Sequence[np.ndarray], said: np.ndarray, shown: Sequences) -> dict[str, float]:
    """Return how far a network is on either way.

    Parameters
    ----------
    patterns : sequence of two ndarrays (n, T, T)
        Attention of both blocks, from token to token.
    said : ndarray (n, n_labels)
        Probability of every label.
    shown : Sequences

    Returns
    -------
    dict
        ``previous``: attention of the first block from labels to the item before each; ``matched``: of the second from
        the last item to labels of items of its class, NaN where no context has one; ``in_context``: probability of
        labels that the context has; ``answer``: that of the answer, known by heart where the context lacks its class.
    """
    n, length = len(said), patterns[0].shape[1]
    at = np.arange(1, length, 2)
    same = shown.classes[:, :-1] == shown.classes[:, -1:]
    to_labels = patterns[1][:, -1, at]
    has = same.any(axis=1)
    present = np.zeros(said.shape, bool)
    np.put_along_axis(present, shown.labels[:, :-1], True, axis=1)
    return {
        "previous": float(patterns[0][:, at, at - 1].mean()),
        "matched": float((to_labels * same).sum(axis=1)[has].mean()) if has.any() else float("nan"),
        "in_context": float((said * present).sum(axis=1).mean()),
        "answer": float(said[np.arange(n), shown.labels[:, -1]].mean()),
    }
