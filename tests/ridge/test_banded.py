"""Banded ridge against the textbook and himalaya; several layers against one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.model_selection import KFold
from sklearn.utils.estimator_checks import check_estimator

from brainbench.heads import BandedRidgeCV, MultiLayer, RidgeCV
from brainbench.heads.check import check_head
from brainbench.ridge.banded import unique_variance
from tests.ridge.direct import cv_scores, predictions, regret

ALPHAS = np.logspace(-2, 4, 13)


def two_spaces(n: int, a: int, b: int, t: int = 6, seed: int = 0):
    """Return features whose first band drives the first half of the targets, the second band the others."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, a + b))
    W = np.zeros((a + b, t))
    W[:a, : t // 2] = rng.normal(size=(a, t // 2))
    W[a:, t // 2 :] = rng.normal(size=(b, t - t // 2))
    Y = X @ W / np.sqrt(a) + 0.5 * rng.normal(size=(n, t)) + 2.0
    return X, Y, (slice(0, a), slice(a, a + b))


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("a", "b"), [(8, 12), (60, 70)])
def test_as_the_textbook(a, b, dtype, kind):
    """A mixture is plain ridge on columns that are multiplied by the root of their band's weight."""
    X, Y, bands = two_spaces(100, a, b)
    X, Y = X.astype(dtype), Y.astype(dtype)
    as_kind = torch.from_numpy if kind == "torch" else np.asarray
    head = BandedRidgeCV(bands, ALPHAS).fit(as_kind(X[:80]), as_kind(Y[:80]))
    predicted = np.asarray(head.predict(as_kind(X[80:])))
    mixtures, tolerance = head.mixtures(), 1e-3 if dtype == "float32" else 1e-8
    for index, weights in enumerate(mixtures):
        stretched = X * np.repeat(np.sqrt(weights), (a, b))
        expected = cv_scores(stretched[:80], Y[:80], ALPHAS)
        assert np.allclose(np.asarray(head.cv_scores_[index]), expected, atol=1e-4)
        for target in np.flatnonzero((head.best_weights_ == weights[:, None]).all(axis=0)):
            alpha = float(head.best_alphas_[target])
            closed = predictions(stretched[:80], Y[:80, [target]], stretched[80:], [alpha])[0, :, 0]
            assert np.allclose(predicted[:, target], closed, atol=tolerance)


def test_the_right_band_is_weighted():
    X, Y, bands = two_spaces(200, 8, 40)
    head = BandedRidgeCV(bands, ALPHAS, n_draws=10).fit(X, Y)
    assert (head.best_weights_[0, :3] > 0.5).all() and (head.best_weights_[1, 3:] > 0.5).all()


def test_one_band_is_plain_ridge():
    X, Y, _ = two_spaces(80, 8, 12)
    plain, banded = RidgeCV(ALPHAS).fit(X, Y), BandedRidgeCV(alphas=ALPHAS).fit(X, Y)
    assert np.allclose(plain.coef_, banded.coef_) and np.allclose(plain.cv_scores_, banded.cv_scores_[0])


def test_himalayas_group_ridge_scores_the_same_mixtures():
    from himalaya.backend import set_backend
    from himalaya.ridge import GroupRidgeCV
    from himalaya.scoring import r2_score

    set_backend("numpy")
    X, Y, bands = two_spaces(150, 8, 12)
    head = BandedRidgeCV(bands, ALPHAS, cv=KFold(5)).fit(X, Y)
    params = {"n_iter": head.mixtures(), "alphas": ALPHAS, "score_func": r2_score, "progress_bar": False, "warn": False}
    other = GroupRidgeCV(groups=[0] * 8 + [1] * 12, solver_params=params, cv=KFold(5), fit_intercept=True).fit(X, Y)
    assert np.allclose(head.cv_scores_.max(axis=1), other.cv_scores_, atol=1e-4)


def test_product_measure_adds_up_and_is_himalayas():
    from himalaya.backend import set_backend
    from himalaya.scoring import r2_score_split

    set_backend("numpy")
    X, Y, bands = two_spaces(200, 8, 12)
    head = BandedRidgeCV(bands, ALPHAS).fit(X[:150], Y[:150])
    shares = head.product_measure(X[150:], Y[150:])
    y, x = Y[150:] - Y[150:].mean(axis=0), X[150:] - X[150:].mean(axis=0)
    assert np.allclose(shares, r2_score_split(y, np.stack([x[:, band] @ head.coef_[band] for band in bands])))
    left = Y[150:] - head.predict(X[150:])
    assert np.allclose(shares.sum(axis=0), 1 - left.var(axis=0) / Y[150:].var(axis=0))
    assert (shares[0, :3] > 0.3).all() and (abs(shares[1, :3]) < 0.1).all()


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_unique_variance_finds_what_only_a_band_knows(kind):
    as_kind = torch.from_numpy if kind == "torch" else np.asarray
    X, Y, bands = two_spaces(300, 8, 12)
    X = np.concatenate([X, X[:, :8]], axis=1)  # a third band that repeats the first
    head = BandedRidgeCV((*bands, slice(20, 28)), ALPHAS)
    unique = np.asarray(unique_variance(head, *map(as_kind, (X[:200], Y[:200], X[200:], Y[200:]))))
    assert unique.shape == (3, 6)
    assert (unique[1, 3:] > 0.3).all() and (abs(unique[[0, 2]][:, :3]) < 0.05).all()
    with pytest.raises(ValueError, match="needs another band"):
        unique_variance(BandedRidgeCV(), X[:200], Y[:200], X[200:], Y[200:])


def test_bands_must_not_overlap():
    X, Y, _ = two_spaces(50, 4, 4)
    with pytest.raises(ValueError, match="column 3 is in more than one"):
        BandedRidgeCV((slice(0, 4), slice(3, 8))).fit(X, Y)


def test_contracts():
    check_head(BandedRidgeCV((slice(0, 4), slice(4, None))))
    check_estimator(BandedRidgeCV())


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("one_target", [True, False])
def test_layers_together_are_layers_one_by_one(one_target, kind):
    as_kind = torch.from_numpy if kind == "torch" else np.asarray
    X, Y, _ = two_spaces(80, 10, 120)
    y = as_kind(Y[:60, 0].copy() if one_target else Y[:60])
    layers = {"narrow": as_kind(X[:60, :10].copy()), "wide": as_kind(X[:60])}
    new = {"wide": as_kind(X[60:]), "narrow": as_kind(X[60:, :10].copy())}
    together = MultiLayer(RidgeCV(ALPHAS))
    predicted = together.fit_then_predict(layers, y, new)
    for index, name in enumerate(layers):
        alone = RidgeCV(ALPHAS)
        assert np.allclose(predicted[name], alone.fit_then_predict(layers[name], y, new[name]))
        assert np.allclose(together.heads_[name].coef_, alone.coef_)
        assert np.allclose(together.scores_[index], np.asarray(alone.cv_scores_).max(axis=0))
    again = MultiLayer(RidgeCV(ALPHAS)).fit(layers, y).predict(new)
    assert np.allclose(again["wide"], predicted["wide"])
    assert regret(cv_scores(X[:60], Y[:60, :1], ALPHAS), ALPHAS, np.asarray(alone.best_alphas_)[:1]) <= 1e-4
