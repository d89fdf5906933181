"""One fold of an encoding model: everything that is fitted is fitted on the training rows.

Order inside a fold: drifts are projected out of every contiguous piece of rows by itself, and nuisance out of the test
rows and out of every inner fold of the training rows by itself; reduction, scaling and the ridge penalty come from the
training rows, and the test rows are predicted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from brainbench.features.drift import (
    Bases,
    drift_bases,
    nuisance_bases,
    remove_drift,
    restore_drift,
    restore_nuisance,
    segments_of,
    turns,
    without,
)
from brainbench.features.reduction import make_reducer

if TYPE_CHECKING:  # estimators bring scikit-learn and half of SciPy along: what only describes fits needs neither
    from brainbench.ridge.banded import BandedRidgeCV
    from brainbench.ridge.refits import Refits
    from brainbench.ridge.ridge import RidgeCV
    from brainbench.ridge.solver.solver import Solver

PREDICTED = 0.01
"""Inner R2 from which a target counts as predicted."""

WIDE = 2
"""Times as many features as training rows from which features are turned into as many as there are training rows."""


@dataclass(frozen=True)
class FoldSettings:
    """Settings of the fit that are the same in every fold.

    Parameters
    ----------
    alphas : ndarray (n_alphas,)
        Penalties. Features are standardised and divided by the square root of their number, so that a penalty
        means the same for a layer of 40 features as for one of 4,000.
    reduction : {"none", "pca", "random_projection"}
    n_components : int
    inner_folds : int
    high_pass_s : float or None
        Longest period kept; continuous designs only.
    t_r : float or None
        Seconds between rows; None for trial designs.
    seed : int
    """

    alphas: np.ndarray
    reduction: str = "none"
    n_components: int = 100
    inner_folds: int = 4
    high_pass_s: float | None = None
    t_r: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class FoldResult:
    """Held-out responses as they were predicted.

    Attributes
    ----------
    y_true, y_pred : ndarray (n_test, n_targets)
        float32, as deviations from the mean of the training rows: where folds are small enough to be pooled, that
        mean moves against the row left out and would be scored as if the features had said it. `y_true` has drift
        and nuisance removed as in training.
    best_alphas : ndarray (n_targets,)
    best_weights : ndarray (n_bands, n_targets) or None
        Weights of the bands, where there is more than one.
    at_edge : bool ndarray (n_targets,)
        Whether a better penalty may lie outside the grid: the smallest one was chosen, or the largest one by a
        target that it predicts (a target that nothing predicts always takes the largest).
    """

    y_true: np.ndarray
    y_pred: np.ndarray
    best_alphas: np.ndarray
    best_weights: np.ndarray | None
    at_edge: np.ndarray


def fit_fold(
    bands: Sequence[np.ndarray],
    Y: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    settings: FoldSettings,
    *,
    inner_groups: np.ndarray | None,
    run: np.ndarray,
    nuisance: np.ndarray | None = None,
) -> FoldResult:
    """Fit on the training rows and predict the test rows.

    Parameters
    ----------
    bands : sequence of ndarray (n_rows, n_features)
        Feature spaces; more than one gives every space its own penalty (banded ridge).
    Y : ndarray (n_rows, n_targets)
    train, test : int ndarray
    settings : FoldSettings
    inner_groups : ndarray (n_train,) or None
        Groups that inner folds keep together; None gives contiguous inner folds.
    run : ndarray (n_rows,)
        Contiguous pieces never cross a run.
    nuisance : ndarray (n_rows, n_nuisance), optional
    """
    return FoldDesign(bands, train, test, settings, inner_groups=inner_groups, run=run, nuisance=nuisance).fit(Y)


class FoldDesign:
    """The features of one fold, cleaned, reduced and scaled by the training rows, for any number of responses.

    Parameters
    ----------
    bands, train, test, settings, inner_groups, run, nuisance
        As in `fit_fold`.
    keep : bool
        Whether what `fit` and `refits` factorise is kept for the next responses.
    also : sequence of sequence of ndarray (n_rows, n_features)
        Other features, as many bands and as wide, whose test rows stand below those of `bands` and are predicted with
        them: what an edited network gives, asked of the fit to the whole one.
    """

    def __init__(
        self,
        bands: Sequence[np.ndarray],
        train: np.ndarray,
        test: np.ndarray,
        settings: FoldSettings,
        *,
        inner_groups: np.ndarray | None,
        run: np.ndarray,
        nuisance: np.ndarray | None = None,
        keep: bool = False,
        also: Sequence[Sequence[np.ndarray]] = (),
    ) -> None:
        self.train, self.test, self.settings, self.inner_groups = train, test, settings, inner_groups
        self.keep = keep
        self._refits: Refits | None = None
        self._solvers: dict[int, Solver] = {}
        self.clean = None
        self._turns: Bases = ()
        if settings.t_r is not None:
            from brainbench.ridge.solver.folds import inner_splits

            inner = [np.sort(one.test) for one in inner_splits(settings.inner_folds, len(train), inner_groups)]
            self.clean = (
                _Cleaner(train, inner, run, settings, nuisance),
                _Cleaner(test, [np.arange(len(test))], run, settings, nuisance),
            )
            self._turns = turns(self.clean[0].bases, inner)
        self._take(bands, also)

    def _take(
        self, bands: Sequence[np.ndarray], also: Sequence[Sequence[np.ndarray]] = (), *, once: bool = False
    ) -> None:
        train = self.train
        pieces = [
            (self._rows(X, 0), np.concatenate([self._rows(one, 1) for one in (X, *others)]))
            for X, *others in zip(bands, *also, strict=True)
        ]
        scaled = [_scale(*_reduce(*piece, self.settings)) for piece in pieces]
        del pieces
        wide = len(scaled) == 1 and scaled[0][0].shape[1] >= WIDE * len(train)
        if wide and not once and np.isfinite(scaled[0][0]).all():
            scaled = [_turned(*scaled[0])]  # what is not finite is named by the fit
        self.X_train = np.concatenate([piece[0] for piece in scaled], axis=1)
        self.X_test = np.concatenate([piece[1] for piece in scaled], axis=1)
        edges = np.cumsum([0, *[piece[0].shape[1] for piece in scaled]])
        self.slices = [slice(int(a), int(b)) for a, b in pairwise(edges)]

    def _rows(self, X: np.ndarray, part: int) -> np.ndarray:
        rows = np.asarray(X[(self.train, self.test)[part]], dtype=np.float64)
        return rows if self.clean is None else self.clean[part](rows)

    def of(self, bands: Sequence[np.ndarray]) -> FoldDesign:
        """Return the same fold of other features, to fit once: what is taken out of rows is not prepared again."""
        other = copy(self)
        other._refits, other._solvers = None, {}
        other._take(bands, once=True)
        return other

    def responses(self, Y: np.ndarray, order: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return training and test rows of the responses, float64, without drift and nuisance.

        Parameters
        ----------
        Y : ndarray (n_rows, n_targets)
        order : int ndarray (n_rows,), optional
            Rows of `Y` in the order of the features.
        """
        train, test = (self.train, self.test) if order is None else (order[self.train], order[self.test])
        y_train, y_test = np.asarray(Y[train], dtype=np.float64), np.asarray(Y[test], dtype=np.float64)
        return (y_train, y_test) if self.clean is None else (self.clean[0](y_train), self.clean[1](y_test))

    def refit(self, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return measured and predicted test rows of exchanged responses as `fit` would, with less precision.

        See `brainbench.ridge.refits`; both ``(n_test, n_columns)``, float32.
        """
        if self.clean is None:
            y_train, y_test = Y[self.train], Y[self.test]
        else:
            y_train, y_test = self._turned_rows(Y[self.train]), self.clean[1](Y[self.test])
        center = y_train.mean(axis=0, dtype=np.float64)
        y_pred = self.refits()(y_train)
        return np.asarray(y_test - center, dtype=np.float32), np.asarray(y_pred - center, dtype=np.float32)

    def refits(self) -> Refits:
        """Return what fits exchanged responses."""
        from brainbench.ridge.refits import Refits

        if self._refits:
            return self._refits
        X_train, groups, inner_folds = self.X_train, self.inner_groups, self.settings.inner_folds
        if self._turns:
            X_train, inner_folds = self._turned_rows(X_train), len(self._turns)
            groups = np.repeat(np.arange(inner_folds), [len(turn) for _, turn in self._turns])
        found = Refits(
            X_train, self.X_test, bands=self.slices, alphas=self.settings.alphas,
            inner_folds=inner_folds, groups=groups, seed=self.settings.seed,
        )  # fmt: skip
        self._refits = found if self.keep else None
        return found

    def _turned_rows(self, array: np.ndarray) -> np.ndarray:
        """Return training rows turned to fewer, cleaned by that; see `brainbench.features.drift.turns`."""
        return np.concatenate([turn @ np.asarray(array[rows], dtype=np.float64) for rows, turn in self._turns])

    def fit(self, Y: np.ndarray, order: np.ndarray | None = None) -> FoldResult:
        """Choose penalties, fit the training rows and predict the test rows of responses; see `responses`."""
        from brainbench.ridge.banded import BandedRidgeCV
        from brainbench.ridge.ridge import RidgeCV, fit_together

        settings = self.settings
        y_train, y_test = self.responses(Y, order)
        head: RidgeCV | BandedRidgeCV
        if len(self.slices) == 1:
            head = RidgeCV(alphas=settings.alphas, cv=settings.inner_folds, store_coef=False)
            known = [self._solvers] if self.keep else []
            y_pred = fit_together([head], [self.X_train], y_train, [self.X_test], self.inner_groups, known)[0]
        else:
            head = BandedRidgeCV(
                bands=self.slices, alphas=settings.alphas, cv=settings.inner_folds, random_state=settings.seed
            )
            y_pred = head.fit_then_predict(self.X_train, y_train, self.X_test, groups=self.inner_groups)
        center = y_train.mean(axis=0)
        best_score = head.cv_scores_.reshape(-1, y_train.shape[1]).max(axis=0)
        smallest = head.best_alphas_ == settings.alphas.min()
        return FoldResult(
            np.asarray(y_test - center, dtype=np.float32),
            np.asarray(y_pred - center, dtype=np.float32),
            np.asarray(head.best_alphas_),
            np.asarray(head.best_weights_) if isinstance(head, BandedRidgeCV) else None,
            np.asarray(head.alpha_at_edge_ & (smallest | (best_score > PREDICTED))),
        )


def fit_all(
    X: np.ndarray,
    Y: np.ndarray,
    settings: FoldSettings,
    *,
    inner_groups: np.ndarray | None,
    run: np.ndarray,
    nuisance: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Fit on all rows and return weights; nothing here is a score.

    Returns
    -------
    dict
        ``coef`` (n_features, n_targets) and ``intercept`` (n_targets,) for raw features (after drift removal, in
        continuous designs), and ``alpha`` (n_targets,). Weights of reduced features are brought back to features.
    """
    from brainbench.ridge.ridge import RidgeCV
    from brainbench.ridge.solver.folds import inner_splits

    rows = np.arange(len(Y))
    y, x = np.asarray(Y, dtype=np.float64), np.asarray(X, dtype=np.float64)
    if settings.t_r is not None:
        inner = [one.test for one in inner_splits(settings.inner_folds, len(rows), inner_groups)]
        clean = _Cleaner(rows, inner, run, settings, nuisance)
        y, x = clean(y), clean(x)
    # Reduction and scaling are affine: what they do to unit vectors and to the origin gives the weights back.
    probes = np.concatenate([np.zeros((1, x.shape[1])), np.eye(x.shape[1])])
    reduced, seen = _reduce(x, probes, settings)
    scaled, seen = _scale(reduced, seen)
    head = RidgeCV(alphas=settings.alphas, cv=settings.inner_folds).fit(scaled, y, groups=inner_groups)
    predicted = seen @ head.coef_ + head.intercept_
    return {
        "coef": (predicted[1:] - predicted[0]).astype(np.float32),
        "intercept": predicted[0].astype(np.float32),
        "alpha": head.best_alphas_,
    }


def noise_and_drift(
    Y: np.ndarray, run: np.ndarray, settings: FoldSettings, nuisance: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a null may exchange of responses ``(n_rows, n_targets)`` of a continuous design, and what stays.

    What stays is drift and nuisance of every run. Noise is what they leave over; what of it was taken with them is put
    back (`brainbench.features.drift.restore_drift`), since every fold takes it from the exchanged responses again.
    """
    rows, Y = np.arange(len(Y)), np.asarray(Y, dtype=np.float64)
    clean = _Cleaner(rows, [rows], run, settings, nuisance)
    left = clean(Y)
    return restored(left, rows, run, settings, nuisance), Y - left


def restored(
    left: np.ndarray, rows: np.ndarray, run: np.ndarray, settings: FoldSettings, nuisance: np.ndarray | None
) -> np.ndarray:
    """Put back as much noise as went with drift and nuisance of rows that were one block.

    Parameters
    ----------
    left : ndarray (n, n_targets)
    rows : int ndarray (n,)
    run : ndarray (n,)
    settings : FoldSettings
    nuisance : ndarray (n, n_nuisance) or None
    """
    assert settings.t_r is not None
    segments = segments_of(rows, run)
    if nuisance is not None:
        clean = remove_drift(np.asarray(nuisance, float), segments, settings.t_r, settings.high_pass_s)
        left = restore_nuisance(left, clean, run)
    return restore_drift(left, segments, settings.t_r, settings.high_pass_s)


class _Cleaner:
    """Removes drift piece by piece, and nuisance block by block.

    Blocks are what is ever held out together: what is taken out of a block knows no row of another.

    Parameters
    ----------
    rows : int ndarray (n,)
    blocks : sequence of int ndarray
        Positions into `rows`; pieces never cross a block.
    run : ndarray (n_all,)
    settings : FoldSettings
    nuisance : ndarray (n_all, n_nuisance) or None
    """

    def __init__(
        self,
        rows: np.ndarray,
        blocks: Sequence[np.ndarray],
        run: np.ndarray,
        settings: FoldSettings,
        nuisance: np.ndarray | None,
    ) -> None:
        assert settings.t_r is not None
        block = np.zeros(len(rows), dtype=int)
        for number, one in enumerate(blocks):
            block[one] = number
        runs = np.unique(np.asarray(run)[rows], return_inverse=True)[1]
        segments = segments_of(rows, runs * len(blocks) + block)
        self.bases = list(drift_bases(segments, settings.t_r, settings.high_pass_s))
        if nuisance is not None:
            self.bases += nuisance_bases(without(nuisance[rows], self.bases), blocks)

    def __call__(self, array: np.ndarray) -> np.ndarray:
        return without(array, self.bases)


def _reduce(train: np.ndarray, test: np.ndarray, settings: FoldSettings) -> tuple[np.ndarray, np.ndarray]:
    if settings.reduction == "none" or train.shape[1] <= settings.n_components:
        return train, test
    reducer = make_reducer(settings.reduction, settings.n_components, settings.seed)
    return reducer.fit_transform(train), reducer.transform(test)


def _turned(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return as many features as training rows whose products of training rows with all rows are the same.

    Ridge knows features by these products alone; fits, exchanges and intervals form them again and again. Directions
    that rounding made are left empty.
    """
    values, vectors = np.linalg.eigh(train @ train.T)
    size = np.sqrt(np.where(values > len(values) * np.finfo(float).eps * values[-1], values, 0.0))
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    return vectors * size, (test @ train.T) @ (vectors * inverse)


def _scale(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardise by the training rows and divide by the square root of the number of features."""
    center, spread = train.mean(axis=0), train.std(axis=0)
    factor = np.where(spread > 1e-10 * max(float(spread.max(initial=0.0)), 1e-300), spread, np.inf)
    factor = factor * np.sqrt(train.shape[1])
    return (train - center) / factor, (test - center) / factor
