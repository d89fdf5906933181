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

AT_ONCE = 2048
"""Targets predicted at once."""


def refit(
    X_train: np.ndarray,
    X_test: np.ndarray,
    Y: np.ndarray,
    *,
    bands: Sequence[slice],
    alphas: np.ndarray,
    inner_folds: int,
    groups: np.ndarray | None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> np.ndarray:
    """Choose a mixture of bands and a penalty for every column, fit, and predict.

    Parameters
    ----------
    X_train, X_test : ndarray (n_train, n_features), (n_test, n_features)
    Y : ndarray (n_train, n_columns)
    bands : sequence of slice
    alphas : ndarray (n_alphas,)
    inner_folds : int
    groups : ndarray (n_train,) or None
        Rows that inner folds keep together.
    seed : int
        Of the mixtures.
    tolerance : float

    Returns
    -------
    ndarray (n_test, n_columns), float32
    """
    X, new, Y = (np.asarray(one, dtype=np.float32) for one in (X_train, X_test, Y))
    xp, n_columns = arrays_of(X, Y), Y.shape[1]
    mixtures = BandedRidgeCV(bands=bands, random_state=seed).mixtures()
    features = Features(xp, X, fit_intercept=True, bands=bands)
    folds, order = inner_splits(inner_folds, len(X), groups), descending(alphas)
    scores, solvers = np.empty((len(mixtures), len(alphas), n_columns)), []
    for index, weights in enumerate(mixtures):
        solver = Solver(
            features, folds, alphas, "r2", n_targets=n_columns, weights=weights if len(bands) > 1 else None,
            X_new=new, tolerance=tolerance,
        )  # fmt: skip
        for columns in target_blocks(n_columns, solver.block_size()):
            block = make_block(xp, Y, columns, fit_intercept=True)
            scores[index][:, columns] = solver.scores(solver.with_cross(block))
        solver.scorers = []
        solvers.append(solver)
    mixture = scores.max(axis=1).argmax(axis=0)
    predicted = np.empty((len(new), n_columns), dtype=np.float32)
    for index in np.unique(mixture):
        mine = np.flatnonzero(mixture == index)
        chosen = alphas[choose(scores[index][:, mine], order)]
        for columns in target_blocks(len(mine), AT_ONCE):
            block = make_block(xp, Y[:, mine[columns]], slice(None), fit_intercept=True)
            predicted[:, mine[columns]] = solvers[index].predict(block, chosen[columns])
    return predicted
