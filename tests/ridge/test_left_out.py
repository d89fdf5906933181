"""Few targets: scores of all penalties from one fit to all rows, beside the textbook."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from brainbench.core.arrays import NUMPY
from brainbench.heads import BandedRidgeCV, RidgeCV
from brainbench.ridge.solver import left_out, solver
from brainbench.ridge.solver.folds import inner_splits
from brainbench.ridge.solver.left_out import LeftOutScores, few_enough
from brainbench.ridge.solver.solver import Solver
from brainbench.ridge.solver.spectra import Features
from tests.ridge.direct import cv_scores, predictions

ALPHAS = np.logspace(-3, 5, 9)


def problem(n: int, p: int, t: int = 4):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)) * np.arange(1, p + 1) ** -0.3 + 2.0
    return X, X @ rng.normal(size=(p, t)) / np.sqrt(p) + rng.normal(size=(n, t)) + 3.0


def solvers(X, folds, n_targets=4, **settings):
    return Solver(Features(NUMPY, X, True), folds, ALPHAS, "r2", n_targets=n_targets, **settings)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("scoring", ["r2", "pearsonr"])
@pytest.mark.parametrize(("n", "p"), [(60, 25), (50, 120)])
def test_as_the_textbook(n, p, scoring, fit_intercept, kind, monkeypatch):
    monkeypatch.setattr(left_out, "PIECE_BYTES", 100_000)  # several pieces of penalties
    X, Y = problem(n, p)
    groups = np.arange(n) % 13
    as_kind = torch.from_numpy if kind == "torch" else np.asarray
    head = RidgeCV(ALPHAS, cv=4, fit_intercept=fit_intercept, scoring=scoring)
    predicted = head.fit_then_predict(as_kind(X), as_kind(Y), as_kind(X[:9] + 1), groups=groups)
    one = Solver(Features(NUMPY, X, fit_intercept), inner_splits(4, n, groups), ALPHAS, scoring, n_targets=4)
    assert [type(scorer) for scorer in one.scorers] == [LeftOutScores]
    expected = cv_scores(X, Y, ALPHAS, cv=4, groups=groups, scoring=scoring, fit_intercept=fit_intercept)
    assert np.allclose(np.asarray(head.cv_scores_), expected, rtol=0, atol=1e-9 * max(1.0, np.abs(expected).max()))
    for target, alpha in enumerate(np.asarray(head.best_alphas_)):
        closed = predictions(X, Y[:, [target]], X[:9] + 1, [alpha], fit_intercept)[0, :, 0]
        assert np.allclose(np.asarray(predicted)[:, target], closed, atol=1e-8)


def test_bands_as_with_decomposed_folds(monkeypatch):
    X, Y = problem(60, 90)
    bands = [slice(0, 2), slice(2, 40), slice(40, 90)]
    here = BandedRidgeCV(bands, ALPHAS, cv=4, n_draws=2).fit(X, Y)
    monkeypatch.setattr(solver, "few_enough", lambda *_: False)
    there = BandedRidgeCV(bands, ALPHAS, cv=4, n_draws=2).fit(X, Y)
    assert np.allclose(here.cv_scores_, there.cv_scores_, rtol=0, atol=1e-9)
    assert np.allclose(here.coef_, there.coef_, atol=1e-9)


def test_rows_that_are_left_out_but_not_scored():
    X, Y = problem(60, 20)
    folds = [(np.arange(20, 60), np.arange(3, 12)), (np.arange(0, 40), np.arange(59, 44, -1))]
    head = RidgeCV(ALPHAS, cv=folds).fit(X, Y)
    scores = []
    for train, test in folds:
        held = predictions(X[train], Y[train], X[test], ALPHAS)
        y = Y[test]
        scores.append([1 - ((y - p) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0) for p in held])
    assert np.allclose(head.cv_scores_, np.mean(scores, axis=0), rtol=0, atol=1e-9)


def test_who_is_few():
    X, _ = problem(280, 400)
    features, folds = Features(NUMPY, X, True), inner_splits(4, 280)
    assert few_enough(folds, features, 17, 6)
    assert not few_enough(folds, features, 17, 5000)
    assert not few_enough(inner_splits(2, 280), features, 100, 6)  # halves left out, for a hundred penalties
    assert not few_enough(folds, features.cast("float32"), 17, 6)
    repeated = [type(folds[0]).make(np.r_[np.arange(200), 0], np.arange(200, 280), 280)]
    assert not few_enough(repeated, features, 17, 6)


def test_a_fit_that_leaves_no_residual_is_decomposed_by_folds():
    X, _ = problem(60, 90)
    assert [type(one) for one in solvers(X, inner_splits(4, 60)).scorers] == [LeftOutScores]
    assert len(solvers(1e5 * X, inner_splits(4, 60)).scorers) == 4
