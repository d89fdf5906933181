"""The folds of feature sets, made once for all participants whose rows met the same stimuli in the same folds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.last_used import LastUsed
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.ridge.deletion import FoldWithout
from brainbench.ridge.encoding import WIDE, FoldDesign, FoldResult, FoldSettings
from brainbench.ridge.fixed import FixedFits
from brainbench.studies.cases.case import Case

Source = tuple[str, str]
"""An encoder and one of its layers."""


def designs_bytes(n_rows: int, n_features: int, n_folds: int) -> int:
    """Return about how large the designs of a feature set become: features of every fold, and matrices of rows.

    Where features are fewer than rows, what is factorised is as wide as they are; where they are many more, they are
    turned (`brainbench.ridge.encoding`).
    """
    n_features = n_rows if n_features >= WIDE * n_rows else n_features
    return n_folds * n_rows * (20 * n_features + 100 * n_rows + 100 * min(n_rows, n_features))


class Folds:
    """The folds of one feature set, and what is fitted to them whatever the responses are.

    Parameters
    ----------
    make : sequence of callable
        Makes the design of each fold when it is first needed.
    n_rows : int
        Rows of the responses.
    nbytes : int
        About how large it becomes.
    """

    def __init__(self, make: Sequence[Callable[[], FoldDesign]], n_rows: int, nbytes: int) -> None:
        self.n_rows, self.nbytes = n_rows, nbytes
        self._make, self._folds = make, list[FoldDesign | None]([None] * len(make))
        self._fixed: dict[float, FixedFits] = {}
        self._without: dict[bytes, list[FoldWithout]] = {}
        self._lock = threading.Lock()

    def fold(self, number: int) -> FoldDesign:
        """Return one of the folds."""
        found = self._folds[number] or self._make[number]()  # units beside each other may make it twice
        self._folds[number] = found
        return found

    @property
    def folds(self) -> list[FoldDesign]:
        """All of them."""
        return [self.fold(number) for number in range(len(self._make))]

    def refit(self, Y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield measured and predicted test rows of every fold, penalties chosen anew."""
        for fold in self.folds:
            with self._lock:
                fold.refits()
            yield fold.refit(Y)

    def fixed(self, alpha: float) -> FixedFits:
        """Return fits with one penalty for all targets."""
        with self._lock:
            if alpha not in self._fixed:
                self._fixed[alpha] = FixedFits(self.folds, alpha, self.n_rows)
            return self._fixed[alpha]

    def without(self, group: np.ndarray) -> list[FoldWithout]:
        """Return every fold with and without groups of rows, ``group (n_rows,)``."""
        with self._lock:
            key = group.tobytes()
            if key not in self._without:
                n_groups = int(group.max()) + 1
                self._without[key] = [
                    FoldWithout(
                        one.X_train, one.X_test, group[one.train], n_groups, one.slices if len(one.slices) > 1 else ()
                    )
                    for one in self.folds
                ]
            return self._without[key]


@dataclass(frozen=True)
class Designs:
    """Folds for the responses of one case.

    Attributes
    ----------
    shared : Folds
        Participants saw stimuli in orders of their own; its rows are in the order of the stimuli.
    order : int ndarray (n_rows,)
        The rows of the case in that order.
    """

    shared: Folds
    order: np.ndarray

    def fit(self, number: int, Y: np.ndarray) -> tuple[np.ndarray, FoldResult]:
        """Return the test rows of a fold, rows of the case, and what the fit to the others says of them."""
        fold = self.shared.fold(number)
        return self.order[fold.test], fold.fit(Y, self.order)

    def refit(self, Y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield measured and predicted test rows of every fold, penalties chosen anew."""
        return self.shared.refit(Y[self.order])

    def fixed(self, alpha: float) -> FixedFits:
        """Return fits with one penalty for all targets."""
        return self.shared.fixed(alpha).of_rows(self.order)


class KeptDesigns:
    """The designs that were used last.

    Parameters
    ----------
    kept : LastUsed of Folds
        `Opened.folds`: null participants of a calibration share theirs with all sets before them.
    """

    def __init__(self, kept: LastUsed[Folds]) -> None:
        self._kept = kept

    def of(self, recipe: EncodeRecipe, case: Case, settings: FoldSettings, sources: Sequence[Source]) -> Designs:
        """Return the folds of layers' features, each a band, in a case."""
        rows = case.rows
        run = np.unique(rows.run, return_inverse=True)[1]
        # Rows of a story stand in time, each with a stimulus of its own.
        order = np.lexsort((run, rows.stimulus)) if rows.continuous is None else np.arange(len(rows))
        place = np.argsort(order)
        bands = [case.features.rows(*source)[rows.first[order]] for source in sources]
        nuisance = rows.nuisance if recipe.timing.regress_nuisance else None
        run = run if rows.continuous is not None else np.zeros_like(run)
        folds = [(np.sort(place[train]), np.sort(place[test])) for train, test in case.split.folds]
        inner = [case.split.inner_groups(order[train]) for train, _ in folds]
        nbytes = designs_bytes(len(run), sum(band.shape[1] for band in bands), len(folds))
        keep = len(bands) == 1 and nbytes <= self._kept.most

        def make() -> Folds:
            of_folds = [
                partial(FoldDesign, bands, *fold, settings, inner_groups=groups, run=run, nuisance=nuisance, keep=keep)
                for fold, groups in zip(folds, inner, strict=True)
            ]
            return Folds(of_folds, len(run), nbytes)

        if not keep:
            return Designs(make(), order)
        codes = [None if one is None else np.unique(one, return_inverse=True)[1] for one in inner]
        parts = [*bands, *(part for fold in folds for part in fold), run, nuisance, *codes]
        key = {
            "parts": [None if one is None else digest_array(one) for one in parts],
            "settings": {**vars(settings), "alphas": settings.alphas.tolist()},
        }
        return Designs(self._kept.get(digest(key), make), order)
