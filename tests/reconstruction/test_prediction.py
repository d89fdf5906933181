import numpy as np
import pytest
from sklearn.linear_model import Ridge

from brainbench.reconstruction import prediction
from brainbench.reconstruction.prediction import DecodingSettings, Target, predict_targets

N_TRAIN, N_TEST = 70, 20


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = 3 + rng.standard_normal((N_TRAIN + N_TEST, 150)) * rng.uniform(0.5, 2, 150)
    T = X @ rng.standard_normal((150, 12)) / 12 + rng.standard_normal((N_TRAIN + N_TEST, 12)) + 5
    return X, T.astype(np.float32)


def predict(rows, targets, **settings):
    X, _ = rows
    how = DecodingSettings(np.logspace(-3, 3, 7), **settings)
    return predict_targets(X[:N_TRAIN], X[N_TRAIN:], targets, np.arange(N_TRAIN), how)


@pytest.mark.parametrize("alpha", [3.0, 300.0])
def test_a_fixed_penalty_is_ridge_on_z_scored_responses(rows, alpha):
    X, T = rows
    Z = (X - X[:N_TRAIN].mean(0)) / X[:N_TRAIN].std(0)
    expected = Ridge(alpha=alpha).fit(Z[:N_TRAIN], T[:N_TRAIN]).predict(Z[N_TRAIN:])
    found = predict(rows, [Target("a", T)], fixed={"a": alpha}, calibration="none")
    assert found["a"].dtype == np.float32
    np.testing.assert_allclose(found["a"], expected, atol=1e-4)


def test_targets_share_a_factorisation_and_keep_their_names(rows):
    _, T = rows
    together = predict(rows, [Target("a", T[:, :5]), Target("b", T[:, 5:]), Target("c", T)], fixed={"c": 9.0})
    alone = predict(rows, [Target("b", T[:, 5:])])
    assert list(together) == ["a", "b", "c"]
    np.testing.assert_allclose(together["b"], alone["b"], atol=1e-5)


def test_train_cv_restores_the_spread_that_new_rows_have(rows):
    _, T = rows
    shrunk = predict(rows, [Target("a", T)], calibration="none")["a"]
    restored = predict(rows, [Target("a", T)], calibration="train-cv")["a"]
    assert shrunk.std(axis=0).mean() < 0.6 * T[:N_TRAIN].std(axis=0).mean()
    assert restored.std(axis=0).mean() == pytest.approx(T[:N_TRAIN].std(axis=0).mean(), rel=0.25)
    # An affine map of every dimension: correlations stay what they are.
    for j in range(T.shape[1]):
        assert abs(np.corrcoef(shrunk[:, j], restored[:, j])[0, 1]) > 0.999


def test_test_batch_gives_exactly_the_moments_of_training_and_needs_two_rows(rows):
    X, T = rows
    found = predict(rows, [Target("a", T)], calibration="test-batch")["a"]
    np.testing.assert_allclose(found.mean(axis=0), T[:N_TRAIN].mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.std(axis=0), T[:N_TRAIN].std(axis=0), rtol=1e-3)
    how = DecodingSettings(np.ones(1), calibration="test-batch")
    with pytest.raises(ValueError, match="two test rows"):
        predict_targets(X[:N_TRAIN], X[N_TRAIN : N_TRAIN + 1], [Target("a", T)], np.arange(N_TRAIN), how)


@pytest.mark.parametrize("calibration", ["none", "train-cv", "train-fit"])
def test_only_test_batch_lets_test_rows_see_each_other(rows, calibration):
    X, T = rows
    how = DecodingSettings(np.logspace(-3, 3, 7), calibration=calibration)
    together = predict_targets(X[:N_TRAIN], X[N_TRAIN:], [Target("a", T)], np.arange(N_TRAIN), how)["a"]
    alone = predict_targets(X[:N_TRAIN], X[N_TRAIN : N_TRAIN + 1], [Target("a", T)], np.arange(N_TRAIN), how)["a"]
    np.testing.assert_allclose(alone[0], together[0], atol=1e-5)


def test_a_dimension_that_never_varies_stays_where_it_is(rows):
    _, T = rows
    flat = np.concatenate([T, np.full((len(T), 1), 2.5, dtype=np.float32)], axis=1)
    for calibration in ("none", "train-cv", "train-fit", "test-batch"):
        found = predict(rows, [Target("a", flat)], calibration=calibration)["a"]
        np.testing.assert_allclose(found[:, -1], 2.5, atol=1e-5)


def test_large_targets_are_streamed_with_the_same_result(rows, monkeypatch, tmp_path):
    X, T = rows
    targets = [Target("a", T[:, :5]), Target("b", T[:, 5:])]
    in_memory = predict(rows, targets)
    monkeypatch.setattr(prediction, "MAX_TARGET_BYTES", 100)
    how = DecodingSettings(np.logspace(-3, 3, 7))
    streamed = predict_targets(X[:N_TRAIN], X[N_TRAIN:], targets, np.arange(N_TRAIN), how, folder=tmp_path)
    for name in in_memory:
        np.testing.assert_allclose(streamed[name], in_memory[name], atol=2e-3)
    assert not list(tmp_path.iterdir())


def test_rows_find_their_target_by_source(rows):
    X, T = rows
    order = np.random.default_rng(1).permutation(N_TRAIN)
    how = DecodingSettings(np.logspace(-3, 3, 7), calibration="none")
    moved = T[:N_TRAIN][np.argsort(order)]
    found = predict_targets(X[:N_TRAIN], X[N_TRAIN:], [Target("a", moved)], order, how)["a"]
    np.testing.assert_allclose(found, predict(rows, [Target("a", T)], calibration="none")["a"], atol=1e-5)
