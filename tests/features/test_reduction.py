import numpy as np
import pytest

from brainbench.features.reduction import make_reducer


def test_pca_is_fitted_on_training_rows_only():
    rng = np.random.default_rng(0)
    train = rng.standard_normal((30, 10)) * np.arange(1, 11)
    test = rng.standard_normal((20, 10)) + 50
    reducer = make_reducer("pca", 4)
    reduced = reducer.fit_transform(train)
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:4]
    np.testing.assert_allclose(np.abs(reduced), np.abs((train - mean) @ axes.T), atol=1e-8)
    np.testing.assert_allclose(np.abs(reducer.transform(test)), np.abs((test - mean) @ axes.T), atol=1e-8)
    np.testing.assert_allclose(reducer.transform(test[:1]), reducer.transform(test)[:1], atol=1e-8)


@pytest.mark.parametrize(("shape", "kept"), [((6, 40), 5), ((40, 7), 7), ((40, 40), 20)])
def test_pca_keeps_no_more_than_the_rows_span(shape, kept):
    X = np.random.default_rng(0).standard_normal(shape)
    reducer = make_reducer("pca", 20)
    assert reducer.fit_transform(X).shape == (shape[0], kept)
    if kept == min(shape[0] - 1, shape[1]):  # nothing is lost: distances stay
        reduced = reducer.transform(X)
        assert np.linalg.norm(reduced[0] - reduced[1]) == pytest.approx(np.linalg.norm(X[0] - X[1]))


def test_random_projection_keeps_distances_and_looks_at_no_row():
    rng = np.random.default_rng(0)
    X, other = rng.standard_normal((2, 20, 3000))
    reduced = make_reducer("random_projection", 1500, seed=1).fit_transform(X)
    assert reduced.shape == (20, 1500)
    reducer = make_reducer("random_projection", 1500, seed=1)
    reducer.fit_transform(other)
    np.testing.assert_allclose(reducer.transform(X), reduced)
    ratio = np.linalg.norm(reduced[0] - reduced[1:], axis=1) / np.linalg.norm(X[0] - X[1:], axis=1)
    np.testing.assert_allclose(ratio, 1, atol=0.15)
    assert not np.allclose(make_reducer("random_projection", 1500, seed=2).fit_transform(X), reduced)


def test_unknown_method():
    with pytest.raises(ValueError, match="pca or random_projection, got 'ica'"):
        make_reducer("ica", 3)
