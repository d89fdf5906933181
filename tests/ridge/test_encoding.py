import numpy as np
from scipy.signal import lfilter

from brainbench.ridge import encoding
from brainbench.ridge.encoding import FoldDesign, FoldSettings, fit_fold


def test_nuisance_that_is_taken_out_does_not_choose_the_penalty():
    """Taken out of all training rows at once it tied rows of inner folds to one another, which features wider than rows
    know: a penalty a hundred times smaller was chosen for noise, and held-out R2 was -.36."""
    rng, n = np.random.default_rng(0), 360
    nuisance = rng.standard_normal((n, 20))
    X = lfilter([1], [1, -0.8], rng.standard_normal((n, 700)), axis=0)
    Y = lfilter([1], [1, -0.4], rng.standard_normal((n, 20)), axis=0)
    settings = FoldSettings(np.logspace(-3, 5, 17), high_pass_s=128.0, t_r=2.0)
    found = fit_fold(
        [X], Y, np.arange(80, n), np.arange(70), settings, inner_groups=None, run=np.zeros(n), nuisance=nuisance
    )
    r2 = 1 - ((found.y_true - found.y_pred) ** 2).sum(axis=0) / (found.y_true**2).sum(axis=0)
    assert r2.mean() > -0.05
    assert np.median(found.best_alphas) > 10


def test_many_more_features_than_rows_are_turned_and_nothing_changes(monkeypatch):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((60, 400)) * np.linspace(2, 0.05, 400)
    Y = X[:, :5] @ rng.standard_normal((5, 30)) + 3 * rng.standard_normal((60, 30))
    rows, settings = np.arange(60), FoldSettings(np.logspace(-3, 5, 17))

    def made():
        return FoldDesign([X], rows[12:], rows[:12], settings, inner_groups=rows[12:], run=np.zeros(60))

    turned = made()
    assert turned.X_train.shape == (48, 48)
    monkeypatch.setattr(encoding, "WIDE", np.inf)
    plain = made()
    assert plain.X_train.shape == (48, 400)
    for other in (plain.X_train, plain.X_test):
        mine = turned.X_train if len(other) == 48 else turned.X_test
        np.testing.assert_allclose(mine @ turned.X_train.T, other @ plain.X_train.T, atol=1e-12)
    ours, theirs = turned.fit(Y), plain.fit(Y)
    np.testing.assert_array_equal(ours.best_alphas, theirs.best_alphas)
    np.testing.assert_allclose(ours.y_pred, theirs.y_pred, atol=1e-6)
    np.testing.assert_allclose(turned.refit(Y.astype(np.float32))[1], plain.refit(Y.astype(np.float32))[1], atol=1e-4)
