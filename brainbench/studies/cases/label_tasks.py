"""What is asked of a label: rows of some of its classes, their folds, and how their labels are exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.evaluation.exchange import Exchange
from brainbench.evaluation.labels import LabelNull, exchange_labels, learned_from
from brainbench.recipes.kinds import Recipe
from brainbench.studies.cases.case import Case


@dataclass(frozen=True)
class LabelTask:
    """All classes of a label, or two of them.

    Attributes
    ----------
    recipe : Recipe
        Its permutations and its seed.
    case : Case
    labels : str ndarray (n_rows_of_the_case,)
    classes : tuple of str
        Sorted.
    """

    recipe: Recipe
    case: Case
    labels: np.ndarray
    classes: tuple[str, ...]

    @cached_property
    def rows(self) -> np.ndarray:
        """Rows of the case that have one of the classes."""
        return np.flatnonzero(np.isin(self.labels, self.classes))

    @cached_property
    def y(self) -> np.ndarray:
        """Class of each of these rows, from 0."""
        return np.searchsorted(self.classes, self.labels[self.rows])

    @cached_property
    def folds(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Number, training and test places among `rows` of every fold that tests any of them."""
        found = []
        for number, (train, test) in enumerate(self.case.split.folds):
            train, test = np.intersect1d(train, self.rows), np.intersect1d(test, self.rows)
            if len(test):
                found.append((number, np.searchsorted(self.rows, train), np.searchsorted(self.rows, test)))
        return found

    @cached_property
    def exchange(self) -> Exchange | None:
        """Orders of the labels that all folds are fitted to again; None where there are none, or none is needed."""
        significance = self.recipe.significance
        n = min(significance.n_permutations, significance.n_refits)
        if not n or not self.learned:
            return None
        try:
            return self._exchange(self.y, self.rows, None, n)
        except ValueError:
            return None

    @property
    def learned(self) -> bool:
        """Whether rows that are tested train models that test others."""
        return learned_from([(train, test) for _, train, test in self.folds])

    @property
    def orders(self) -> np.ndarray | None:
        """Classes of `rows` in every order of `exchange`, ``(n_orders, n_rows)``."""
        return None if self.exchange is None else self.y[self.exchange.orders]

    def key(self) -> dict[str, object]:
        """Return what names rows, classes, folds and orders."""
        return {
            "labels": digest_array(self.labels),
            "classes": [str(name) for name in self.classes],
            "folds": [[digest_array(part) for part in fold] for fold in self.case.split.folds],
            "exchanged": None if self.orders is None else digest_array(self.orders),
        }

    def null(self, held: Mapping[str, np.ndarray]) -> tuple[LabelNull | None, str]:
        """Return the null of held-out rows, or why there is none.

        Parameters
        ----------
        held : mapping of str to ndarray
            ``row`` and ``fold``, and where all was fitted again ``exchanged``, ``(n_held_out, n_orders)``.
        """
        n, place = self.recipe.significance.n_permutations, np.searchsorted(self.rows, held["row"])
        if not n:
            return None, ""
        if "exchanged" in held and self.exchange is not None and self.orders is not None:
            return LabelNull(self.exchange, self.orders[:, place], held["exchanged"].T, learned=True), ""
        try:
            exchange = self._exchange(self.y[place], held["row"], held["fold"], n)
        except ValueError as error:
            return None, str(error)
        return LabelNull(exchange, self.y[place][exchange.orders], None, self.learned), ""

    def _exchange(self, y: np.ndarray, rows: np.ndarray, within: np.ndarray | None, n: int) -> Exchange:
        of, split = self.case.rows, self.case.split
        return exchange_labels(
            y, kind=split.null, stimulus=of.stimulus[rows], run=of.run[rows], within=within,
            block_length=split.block_length, n_exchanges=n, seed=self.recipe.seed,
        )  # fmt: skip
