"""Many responses at once through one fold's model, penalty and mixture chosen anew: what a null by refitting needs.

The same model as `brainbench.ridge.ridge.RidgeCV` and `brainbench.ridge.banded.BandedRidgeCV`, in float32, without
weights, and with inner scores that are good to about a hundredth of `TOLERANCE`: where two penalties are closer than
that, either predicts as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.core.arrays import arrays_of
from brainbench.ridge.banded import BandedRidgeCV
from brainbench.ridge.solver.blocks import make_block
from brainbench.ridge.solver.folds import choose, descending, inner_splits, target_blocks
from brainbench.ridge.solver.solver import Solver
from brainbench.ridge.solver.spectra import Features

TOLERANCE = 5e-3
"""Largest error of a filter that inner scores rest on."""

N_COLUMNS = 1000
"""Columns that filters are chosen for: always so many, so that results do not depend on which columns came first."""

AT_ONCE = 2048
"""Targets predicted at once."""


class Refits:
    """One fold's model, for any number of responses.

    Where there is one band, what does not depend on the responses is kept from call to call.

    Parameters
    ----------
    X_train, X_test : ndarray (n_train, n_features), (n_test, n_features)
    bands : sequence of slice
    alphas : ndarray (n_alphas,)
    inner_folds : int
    groups : ndarray (n_train,) or None
        Rows that inner folds keep together.
    seed : int
        Of the mixtures.
    tolerance : float
    """

    def __init__(
        self,
        X_train: np.ndarray,
        X_test: np.ndarray,
        *,
        bands: Sequence[slice],
        alphas: np.ndarray,
        inner_folds: int,
        groups: np.ndarray | None,
        seed: int = 0,
        tolerance: float = TOLERANCE,
    ) -> None:
        X, self._new = np.asarray(X_train, dtype=np.float32), np.asarray(X_test, dtype=np.float32)
        self._alphas, self._tolerance, self._n_bands = alphas, tolerance, len(bands)
        self._mixtures = BandedRidgeCV(bands=bands, random_state=seed).mixtures()
        self._xp = arrays_of(X)
        self._features = Features(self._xp, X, fit_intercept=True, bands=bands)
        self._folds = inner_splits(inner_folds, len(X), groups)
        self._only = self._solver(self._mixtures[0]) if len(self._mixtures) == 1 else None

    def _solver(self, weights: np.ndarray) -> Solver:
        return Solver(
            self._features, self._folds, self._alphas, "r2", n_targets=N_COLUMNS,
            weights=weights if self._n_bands > 1 else None, X_new=self._new, tolerance=self._tolerance,
        )  # fmt: skip

    def __call__(self, Y: np.ndarray) -> np.ndarray:
        """Choose a mixture of bands and a penalty for every column, fit, and predict.

        Parameters
        ----------
        Y : ndarray (n_train, n_columns)

        Returns
        -------
        ndarray (n_test, n_columns), float32
        """
        Y, n_columns = np.asarray(Y, dtype=np.float32), Y.shape[1]
        order = descending(self._alphas)
        scores, solvers = np.empty((len(self._mixtures), len(self._alphas), n_columns)), []
        for index, weights in enumerate(self._mixtures):
            solver = self._only or self._solver(weights)
            for columns in target_blocks(n_columns, solver.block_size()):
                block = make_block(self._xp, Y, columns, fit_intercept=True)
                scores[index][:, columns] = solver.scores(solver.with_cross(block))
            if solver is not self._only:
                solver.scorers = []
            solvers.append(solver)
        mixture = scores.max(axis=1).argmax(axis=0)
        predicted = np.empty((len(self._new), n_columns), dtype=np.float32)
        for index in np.unique(mixture):
            mine = np.flatnonzero(mixture == index)
            chosen = self._alphas[choose(scores[index][:, mine], order)]
            for columns in target_blocks(len(mine), AT_ONCE):
                block = make_block(self._xp, Y[:, mine[columns]], slice(None), fit_intercept=True)
                predicted[:, mine[columns]] = solvers[index].predict(block, chosen[columns])
        return predicted
