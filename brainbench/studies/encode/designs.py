"""The folds of feature sets, made once for all participants whose rows met the same stimuli in the same folds."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.last_used import LastUsed
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.ridge.deletion import FoldWithout
from brainbench.ridge.encoding import FoldDesign, FoldSettings
from brainbench.ridge.fixed import FixedFits
from brainbench.studies.cases.case import Case

MOST_BYTES = 128_000_000
"""Of all feature sets that are kept; one that is larger, or has several bands, is made again for every participant."""

Source = tuple[str, str]
"""An encoder and one of its layers."""


def designs_bytes(n_rows: int, n_features: int, n_folds: int) -> int:
    """Return about how large the designs of a feature set become: features of every fold, a dozen matrices of rows."""
    return n_folds * n_rows * (12 * n_features + 100 * n_rows)


class Folds:
    """The folds of one feature set, and what is fitted to them whatever the responses are.

    Parameters
    ----------
    folds : list of FoldDesign
    n_rows : int
        Rows of the responses.
    nbytes : int
        About how large it becomes.
    """

    def __init__(self, folds: list[FoldDesign], n_rows: int, nbytes: int) -> None:
        self.folds, self.n_rows, self.nbytes = folds, n_rows, nbytes
        self._fixed: dict[float, FixedFits] = {}
        self._without: dict[bytes, list[FoldWithout]] = {}
        self._lock = threading.Lock()

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

    def refit(self, Y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield measured and predicted test rows of every fold, penalties chosen anew."""
        return self.shared.refit(Y[self.order])

    def fixed(self, alpha: float) -> FixedFits:
        """Return fits with one penalty for all targets."""
        return self.shared.fixed(alpha).of_rows(self.order)


class KeptDesigns:
    """The designs that were used last."""

    def __init__(self) -> None:
        self._kept: LastUsed[Folds] = LastUsed(MOST_BYTES)

    def of(self, recipe: EncodeRecipe, case: Case, settings: FoldSettings, sources: Sequence[Source]) -> Designs:
        """Return the folds of layers' features, each a band, in a case."""
        rows = case.rows
        run = np.unique(rows.run, return_inverse=True)[1]
        # Rows of a story stand in time, each with a stimulus of its own.
        order = np.lexsort((run, rows.stimulus)) if rows.continuous is None else np.arange(len(rows))
        place = np.argsort(order)
        bands = [case.features.rows(*source)[rows.first[order]] for source in sources]
        nuisance = rows.nuisance if recipe.timing.regress_nuisance and rows.continuous is not None else None
        run = run if rows.continuous is not None else np.zeros_like(run)
        folds = [(np.sort(place[train]), np.sort(place[test])) for train, test in case.split.folds]
        inner = [case.split.inner_groups(order[train]) for train, _ in folds]
        nbytes = designs_bytes(len(run), sum(band.shape[1] for band in bands), len(folds))
        keep = len(bands) == 1 and nbytes <= MOST_BYTES

        def make() -> Folds:
            found = [
                FoldDesign(bands, *fold, settings, inner_groups=groups, run=run, nuisance=nuisance, keep=keep)
                for fold, groups in zip(folds, inner, strict=True)
            ]
            return Folds(found, len(run), nbytes)

        if not keep:
            return Designs(make(), order)
        codes = [None if one is None else np.unique(one, return_inverse=True)[1] for one in inner]
        parts = [*bands, *(part for fold in folds for part in fold), run, nuisance, *codes]
        key = {
            "parts": [None if one is None else digest_array(one) for one in parts],
            "settings": {**vars(settings), "alphas": settings.alphas.tolist()},
        }
        return Designs(self._kept.get(digest(key), make), order)
