"""Penalties of many targets are compared in float32 where rounding is bounded; the fit keeps the features' type."""

from __future__ import annotations

import numpy as np
import pytest

from brainbench.core.arrays import NUMPY
from brainbench.heads import BandedRidgeCV, RidgeCV
from brainbench.ridge.solver import solver
from brainbench.ridge.solver.blocks import make_block
from brainbench.ridge.solver.folds import inner_splits
from brainbench.ridge.solver.solver import MANY_TARGETS, WORST_SCORE_ROUNDING, Solver, rounding_of_scores
from brainbench.ridge.solver.spectra import Features
from tests.ridge.direct import predictions, regret

ALPHAS = np.logspace(-3, 5, 9)


def problem(n: int, p: int, t: int = MANY_TARGETS, first: float = 1.0):
    """Standardised features as recipes fit them; `first` makes one direction larger than all others."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)) * np.arange(1, p + 1) ** -0.5
    X[:, 0] *= first
    X = X @ np.linalg.qr(rng.normal(size=(p, p)))[0]
    X = X / X.std(axis=0) / np.sqrt(p)
    Y = X @ rng.normal(size=(p, t)) + rng.uniform(0.05, 2, t) * rng.normal(size=(n, t)) + 5.0
    return X, Y


@pytest.mark.parametrize(
    ("n", "p", "scoring"), [(150, 40, "r2"), (150, 40, "pearsonr"), (100, 160, "r2"), (404, 404, "r2")]
)
def test_float32_chooses_as_float64(n, p, scoring, monkeypatch):
    X, Y = problem(n, p)
    fast = RidgeCV(ALPHAS, scoring=scoring, cv=4)
    predicted = fast.fit_then_predict(X, Y, X[:10] + 0.1)
    monkeypatch.setattr(solver, "MANY_TARGETS", 10 * MANY_TARGETS)
    exact = RidgeCV(ALPHAS, scoring=scoring, cv=4)
    expected = exact.fit_then_predict(X, Y, X[:10] + 0.1)
    assert (fast.compared_in_, exact.compared_in_) == ("float32", "float64")
    assert np.abs(fast.cv_scores_ - exact.cv_scores_).max() < 1e-5
    assert regret(exact.cv_scores_, ALPHAS, fast.best_alphas_) < 1e-5
    same = fast.best_alphas_ == exact.best_alphas_
    assert same.mean() > 0.99
    assert np.allclose(predicted[:, same], expected[:, same], rtol=0, atol=1e-12)  # the fit itself is in float64
    closed = predictions(X, Y[:, :1], X[:10] + 0.1, [fast.best_alphas_[0]])[0, :, 0]
    assert np.allclose(predicted[:, 0], closed, atol=1e-9)


def test_bands_choose_alike(monkeypatch):
    X, Y = problem(120, 50)
    fast = BandedRidgeCV([slice(0, 20), slice(20, 50)], ALPHAS, cv=3, n_draws=1).fit(X, Y)
    monkeypatch.setattr(solver, "MANY_TARGETS", 10 * MANY_TARGETS)
    exact = BandedRidgeCV([slice(0, 20), slice(20, 50)], ALPHAS, cv=3, n_draws=1).fit(X, Y)
    assert 0 < np.abs(fast.cv_scores_ - exact.cv_scores_).max() < 1e-5


def test_few_targets_and_much_rounding_stay_in_float64():
    X, Y = problem(60, 20)
    assert RidgeCV(ALPHAS).fit(X, Y[:, :20]).compared_in_ == "float64"
    assert RidgeCV(ALPHAS).fit(1e3 * X, Y).compared_in_ == "float64"  # penalties are a million times smaller
    assert RidgeCV(1e6 * ALPHAS).fit(1e3 * X, Y).compared_in_ == "float32"
    assert RidgeCV(ALPHAS).fit(X.astype(np.float32), Y.astype(np.float32)).compared_in_ == "float32"


@pytest.mark.parametrize("first", [1.0, 30.0])
def test_bound_holds_for_the_worst_target(first):
    """A target that is the largest direction, and hardly anything else, has the largest rounding."""
    X, _ = problem(150, 40, 1, first)
    left, size, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    rng = np.random.default_rng(1)
    for direction in (0, 20, 39):
        alpha = np.array([size[direction] ** 2])
        Y = left[:, :1] + 1e-3 * left[:, [direction]] * rng.normal(size=MANY_TARGETS)
        predicted = []
        for dtype in ("float64", "float32"):
            features = Features(NUMPY, X, True)
            one = Solver(
                features.cast(dtype), inner_splits(3, len(X)), alpha, "r2", n_targets=MANY_TARGETS, X_new=X
            )  # fmt: skip
            block = one.with_cross(make_block(NUMPY, Y.astype(dtype), slice(None), True))
            predicted.append(one.predict(block, np.full(MANY_TARGETS, alpha[0])))
        rounding = np.linalg.norm(predicted[0] - predicted[1], axis=0) / np.linalg.norm(Y, axis=0)
        bound = rounding_of_scores(size[::-1] ** 2, alpha[0])
        assert rounding.max() < 2 * (bound + np.finfo(np.float32).eps)
        assert bound < WORST_SCORE_ROUNDING
