import numpy as np
from scipy.signal import lfilter

from brainbench.ridge.encoding import FoldSettings, fit_fold


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
