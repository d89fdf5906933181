"""The contract every regression head keeps; a new head's test is one call of `check_head`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone


def check_head(head: Any, *, n_rows: int = 60, n_features: int = 12, n_targets: int = 3, seed: int = 0) -> None:
    """Hold a head against the contract, beside scikit-learn's ``check_estimator``.

    Parameters
    ----------
    head : estimator
        Unfitted.
    n_rows, n_features, n_targets : int
        Size of the planted problem.
    seed : int

    Raises
    ------
    AssertionError
        Naming what does not hold.
    """
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features))
    W = rng.normal(size=(n_features, n_targets))
    Y = X @ W + 0.1 * rng.normal(size=(n_rows, n_targets))
    X_new, groups = rng.normal(size=(20, n_features)), np.arange(n_rows) // 5
    before = X.copy(), Y.copy()
    parameters = head.get_params()
    fitted = clone(head).fit(X, Y, groups=groups)
    assert np.array_equal(X, before[0]) and np.array_equal(Y, before[1]), "fit changes its input"
    assert repr(fitted.get_params()) == repr(parameters), "fit changes parameters"
    predicted = fitted.predict(X_new)
    assert predicted.shape == (20, n_targets), f"predict gives shape {predicted.shape}"
    truth = X_new @ W
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T, truth.T, strict=True)]
    assert min(r) > 0.95, f"a planted linear map is not recovered (r {min(r):.2f})"
    again = clone(head).fit(X, Y, groups=groups).predict(X_new)
    assert np.array_equal(predicted, again), "two fits of the same data differ"
    refitted = fitted.fit(X[:30], Y[:30], groups=groups[:30]).predict(X_new)
    assert np.array_equal(refitted, clone(head).fit(X[:30], Y[:30], groups=groups[:30]).predict(X_new)), (
        "a second fit remembers the first"
    )
    joined = clone(head).fit_then_predict(X, Y, X_new, groups=groups)
    assert np.allclose(joined, predicted, atol=1e-6), "fit_then_predict differs from fit and predict"
    assert np.isfinite(clone(head).fit(X, Y).score(X, Y)), "score is not finite"
    single = clone(head).fit(X, Y[:, 0], groups=groups).predict(X_new)
    assert single.shape == (20,), f"one target as a vector gives predictions of shape {single.shape}"
    chosen = np.asarray(clone(head).fit(X, Y, groups=groups).best_alphas_)
    assert chosen.shape == (n_targets,), "best_alphas_ is not one penalty per target"
    _permuting_targets(head, X, Y, X_new, groups, predicted)


def _permuting_targets(
    head: Any, X: np.ndarray, Y: np.ndarray, X_new: np.ndarray, groups: np.ndarray, predicted: np.ndarray
) -> None:
    """Targets must not know of each other."""
    order = np.arange(Y.shape[1])[::-1]
    turned = clone(head).fit(X, Y[:, order], groups=groups).predict(X_new)
    assert np.allclose(turned[:, order], predicted, atol=1e-8), "a target's prediction depends on other targets"
