import numpy as np
import pytest

from brainbench.ridge.deletion import FoldWithout


def ridge(X, y, X_new, alpha):
    """The textbook's, with an intercept that is not penalised."""
    mean, center = y.mean(axis=0), X.mean(axis=0)
    left = (X - center).T @ (X - center) + alpha * np.eye(X.shape[1])
    return mean + (X_new - center) @ np.linalg.solve(left, (X - center).T @ (y - mean))


@pytest.mark.parametrize("n_features", [4, 60])
def test_predictions_without_groups_are_those_of_fits_without_them(n_features):
    rng = np.random.default_rng(0)
    X, X_new = rng.normal(size=(30, n_features)), rng.normal(size=(7, n_features))
    y, alphas = rng.normal(size=(30, 5)) + 3, np.array([0.1, 1.0, 10.0, 1.0, 1e4])
    group = rng.integers(0, 6, size=30)
    predicted, changes = FoldWithout(X, X_new, group, 8).predict(y, alphas)
    for target, alpha in enumerate(alphas):
        np.testing.assert_allclose(predicted[:, target], ridge(X, y[:, target], X_new, alpha), atol=1e-9)
        for left in range(6):
            kept = group != left
            want = ridge(X[kept], y[kept, target], X_new, alpha)
            np.testing.assert_allclose(predicted[:, target] + changes[left, :, target], want, atol=1e-8)
    assert not changes[6:].any()


def test_bands_have_weights_of_their_own():
    rng = np.random.default_rng(1)
    X, X_new = rng.normal(size=(25, 9)), rng.normal(size=(6, 9))
    y, group = rng.normal(size=(25, 2)), np.arange(25) % 5
    weights, alphas = np.array([[0.9, 0.2], [0.1, 0.8]]), np.array([2.0, 5.0])
    fold = FoldWithout(X, X_new, group, 5, [slice(0, 4), slice(4, 9)])
    predicted, changes = fold.predict(y, alphas, weights)
    for target in range(2):
        scale = np.sqrt(np.repeat(weights[:, target], [4, 5]))
        kept = group != 3
        want = ridge((X * scale)[kept], y[kept, target], X_new * scale, alphas[target])
        np.testing.assert_allclose(predicted[:, target] + changes[3, :, target], want, atol=1e-9)
