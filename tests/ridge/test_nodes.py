"""Held-out predictions from the fits of a few penalties to all rows, beside the textbook."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.model_selection import KFold, TimeSeriesSplit

from brainbench.core.arrays import NUMPY
from brainbench.heads import BandedRidgeCV, RidgeCV
from brainbench.ridge.solver.folds import Fold, inner_splits
from brainbench.ridge.solver.nodes import find_nodes, most_worth
from brainbench.ridge.solver.scorers import FoldScores, NodeScores
from brainbench.ridge.solver.solver import Solver
from brainbench.ridge.solver.spectra import Features
from tests.ridge.direct import cv_scores, predictions, regret

pytestmark = pytest.mark.long

ALPHAS = np.logspace(-1, 5, 20)


def problem(n: int = 520, p: int = 1600, t: int = 30, signal: str = "features"):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    if signal == "features":
        Y = X @ rng.normal(size=(p, t)) / np.sqrt(p)
    else:  # confined to a few directions, where errors of a filter do not average out
        columns = {"first": slice(0, 10), "middle": slice(n // 5, n // 5 + 20), "last": slice(n - 40, n - 2)}[signal]
        left = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[0][:, columns]
        Y = left @ rng.normal(size=(left.shape[1], t)) * np.sqrt(n / left.shape[1])
    return X, rng.uniform(0.3, 1, t) * Y + 0.5 * rng.normal(size=(n, t)) + 3.0


def scorers(X, cv, alphas=ALPHAS, fit_intercept=True, scoring="r2"):
    return Solver(Features(NUMPY, X, fit_intercept), inner_splits(cv, len(X)), alphas, scoring, n_targets=1000).scorers


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("scoring", ["r2", "pearsonr"])
def test_as_the_textbook(scoring, fit_intercept, dtype, kind):
    X, Y = (one.astype(dtype) for one in problem())
    assert all(isinstance(one, NodeScores) for one in scorers(X, 5, fit_intercept=fit_intercept, scoring=scoring))
    as_kind = torch.from_numpy if kind == "torch" else np.asarray
    head = RidgeCV(ALPHAS, fit_intercept=fit_intercept, scoring=scoring)
    predicted = np.asarray(head.fit_then_predict(as_kind(X), as_kind(Y), as_kind(X[:40] + 1)))
    expected = cv_scores(X, Y, ALPHAS, scoring=scoring, fit_intercept=fit_intercept)
    assert np.allclose(np.asarray(head.cv_scores_), expected, atol=1e-4, rtol=1e-4)
    chosen = np.asarray(head.best_alphas_)
    assert regret(expected, ALPHAS, chosen) <= 1e-4
    for target in range(5):
        closed = predictions(X, Y[:, [target]], X[:40] + 1, [chosen[target]], fit_intercept)[0, :, 0]
        tolerance = 1e-4 if dtype == "float32" else 1e-9
        assert np.allclose(predicted[:, target], closed, atol=tolerance * np.abs(closed).max())


@pytest.mark.parametrize("signal", ["first", "middle", "last"])
def test_signal_in_a_few_directions(signal):
    X, Y = problem(signal=signal)
    head = RidgeCV(ALPHAS).fit(X.astype("float32"), Y.astype("float32"))
    expected = cv_scores(X, Y, ALPHAS)
    assert np.allclose(head.cv_scores_, expected, atol=1e-4, rtol=1e-4)
    assert regret(expected, ALPHAS, head.best_alphas_) <= 1e-4


@pytest.mark.parametrize(
    "cv",
    [
        KFold(5, shuffle=True, random_state=1),
        TimeSeriesSplit(2, max_train_size=None, test_size=50),
        [(np.arange(450), np.array([500, 460, 510, 455])), (np.arange(60, 520), np.arange(30))],
        [(np.arange(60, 520), np.random.default_rng(0).permutation(60))],
    ],
    ids=["shuffled", "time", "not all rows left out are scored", "in any order"],
)
def test_any_splitter_that_scores_rows_left_out(cv):
    X, Y = problem()
    assert isinstance(scorers(X, cv)[0], NodeScores)
    assert np.allclose(RidgeCV(ALPHAS, cv=cv).fit(X, Y).cv_scores_, cv_scores(X, Y, ALPHAS, cv), atol=1e-4, rtol=1e-4)


def test_banded_mixtures_take_the_same_way():
    X, Y = problem(t=5)
    alphas = np.logspace(1, 5, 12)
    head = BandedRidgeCV([slice(0, 800), slice(800, 1600)], alphas, n_draws=1).fit(X, Y)
    for weights, found in zip(head.mixtures(), head.cv_scores_, strict=True):
        stretched = X * np.sqrt(np.repeat(weights, 800))
        assert np.allclose(found, cv_scores(stretched, Y, alphas), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda X: X * np.arange(1, X.shape[1] + 1) ** -1.5, "a wide spectrum needs too many nodes"),
        (lambda X: np.vstack([X[:-5], X[:5]]), "rows that repeat leave directions without variance"),
        (lambda X: X[:200], "few rows are decomposed faster"),
    ],
    ids=["wide", "repeated", "few"],
)
def test_folds_are_decomposed_where_that_is_better(change, why):
    X = change(problem()[0]).astype("float32")
    assert all(isinstance(one, FoldScores) for one in scorers(X, 5)), why


def test_rows_that_are_both_fitted_and_scored_have_no_left_out_residual():
    X, Y = problem()
    cv = [(np.arange(500), np.arange(400, 520))]
    assert isinstance(scorers(X, cv)[0], FoldScores)
    assert np.allclose(RidgeCV(ALPHAS, cv=cv).fit(X, Y).cv_scores_, cv_scores(X, Y, ALPHAS, cv), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
def test_nodes_keep_their_tolerance_between_the_values_they_were_found_at(tolerance, relative):
    nodes = find_nodes(200, 9000, ALPHAS, tolerance=tolerance, size=1.0, relative=relative, most=20)
    values = np.geomspace(200, 9000, 997)
    filters = values / (values + ALPHAS[:, None])
    scale = filters.max(axis=1, keepdims=True) if relative else 1.0
    found = nodes.weights @ (values / (values + nodes.alphas[:, None]))
    assert (np.abs(filters - found) / scale).max() <= 1.05 * tolerance
    assert len(nodes.alphas) < 12
    assert find_nodes(200, 9000, ALPHAS, tolerance=tolerance, size=1.0, relative=relative, most=2) is None


def test_more_targets_are_worth_fewer_nodes_per_decomposition():
    folds: list[Fold] = inner_splits(5, 1500)
    assert most_worth(folds, 10) >= most_worth(folds, 100_000) >= 4
