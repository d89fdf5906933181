import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from brainbench.evaluation import bootstrap, metrics
from brainbench.evaluation.similarity import linear_cka, rdm, rsa


def measured(dtype=np.float64, n=40, v=6, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((n, v)) * np.arange(1, v + 1) + 3
    return y.astype(dtype), (0.5 * y + rng.standard_normal((n, v)) + 1).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_column_metrics_against_scipy_and_sklearn(dtype):
    y, p = measured(dtype)
    wide = y.astype(np.float64), p.astype(np.float64)
    expected_r = [stats.pearsonr(a, b).statistic for a, b in zip(*(x.T for x in wide), strict=True)]
    np.testing.assert_allclose(metrics.pearson_r(y, p), expected_r, rtol=1e-12)
    np.testing.assert_allclose(metrics.r2(y, p), sk.r2_score(*wide, multioutput="raw_values"), rtol=1e-12)
    expected = sk.explained_variance_score(*wide, multioutput="raw_values")
    np.testing.assert_allclose(metrics.explained_variance(y, p), expected, rtol=1e-12)


def test_column_metrics_keep_their_definitions_apart():
    y, _ = measured()
    shifted = y + 5.0
    np.testing.assert_allclose(metrics.explained_variance(y, shifted), 1)
    assert (metrics.r2(y, shifted) < 0.5).all()
    np.testing.assert_allclose(metrics.pearson_r(y, 0.1 * y - 3), 1)
    np.testing.assert_allclose(metrics.pearson_r(y, -y), -1)
    np.testing.assert_allclose(metrics.r2(y, -y + 2 * y.mean(axis=0)), -3)


def test_r2_of_the_mean_is_zero_and_is_never_clipped():
    y = np.array([[0.0], [2.0]])
    assert metrics.r2(y, np.full((2, 1), 1.0))[0] == 0
    assert metrics.r2(y, np.full((2, 1), 4.0))[0] == 1 - (16 + 4) / 2


@pytest.mark.parametrize("value", [0.0, 0.1, 7.7, 1e6, 1e-9])
@pytest.mark.parametrize("name", list(metrics.target_metrics()))
def test_a_constant_target_scores_zero(name, value):
    # The mean of seven times 0.1 is not 0.1, so that a naive total sum of squares is 1e-33 and not 0.
    y = np.full((7, 1), value)
    p = np.random.default_rng(0).standard_normal((7, 1))
    assert metrics.METRICS[name].function(y, p)[0] == 0


def test_a_constant_prediction_correlates_zero():
    y, _ = measured()
    assert (metrics.pearson_r(y, np.full_like(y, 0.1)) == 0).all()


def test_small_spread_on_a_large_mean_is_no_constant():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((50, 2))
    y = 1e6 + noise
    np.testing.assert_allclose(metrics.pearson_r(y, noise), 1, atol=1e-9)
    np.testing.assert_allclose(metrics.r2(y, y), 1)
    np.testing.assert_allclose(metrics.explained_variance(y.astype(np.float32), y.astype(np.float32) + 3), 1, atol=1e-6)


def test_unit_columns_have_mean_zero_and_length_one():
    y, _ = measured()
    unit = metrics.unit_columns(np.column_stack([y, np.full(len(y), 2.0)]))
    np.testing.assert_allclose(unit.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose((unit[:, :-1] ** 2).sum(axis=0), 1)
    assert (unit[:, -1] == 0).all()


def test_two_vs_two_toy_by_hand():
    # r(pred0, true0) = 1, r(pred1, true1) = 1, r(pred0, true1) = -1: right. With rows 0 and 2 exchanged: wrong.
    y = np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
    assert metrics.two_vs_two(y, y) == 1
    assert metrics.two_vs_two(y, y[::-1]) == 0
    # Three rows: rows 0 and 1 are swapped, row 2 is right. Pair (0, 1): wrong. With a = (0, 1, 2), b = (2, 1, 0) and
    # c = (1, 0, 2): r(a,b) = -1, r(a,c) = .5, r(b,c) = -.5. Predictions b, a, c of truths a, b, c.
    # Pair (0, 2): matched r(b,a) + r(c,c) = 0, swapped r(b,c) + r(c,a) = 0: a tie.
    # Pair (1, 2): matched r(a,b) + r(c,c) = 0, swapped r(a,c) + r(c,b) = 0: a tie.
    a, b, c = np.array([0.0, 1, 2]), np.array([2.0, 1, 0]), np.array([1.0, 0, 2])
    assert metrics.two_vs_two(np.stack([a, b, c]), np.stack([b, a, c])) == pytest.approx((0 + 0.5 + 0.5) / 3)
    # Two wrong, one right: rotate three orthogonal patterns.
    eye = np.eye(3)
    assert metrics.two_vs_two(eye, np.roll(eye, 1, axis=0)) == pytest.approx(0.0)


def test_two_vs_two_against_a_loop():
    y, p = measured(n=9, v=5, seed=3)
    right = []
    for i in range(9):
        for j in range(i):

            def r(a, b):
                return stats.pearsonr(p[a], y[b]).statistic

            right.append(r(i, i) + r(j, j) > r(i, j) + r(j, i))
    assert metrics.two_vs_two(y, p) == pytest.approx(np.mean(right))
    assert 0 < np.mean(right) < 1


def test_two_vs_two_of_one_target_or_constant_predictions_is_chance():
    y, p = measured(n=8)
    assert metrics.two_vs_two(y[:, :1], p[:, :1]) == 0.5
    assert metrics.two_vs_two(y, np.ones_like(y)) == 0.5


def test_label_metrics_against_sklearn():
    rng = np.random.default_rng(0)
    y = rng.choice(["a", "b", "c"], size=60, p=[0.6, 0.3, 0.1])
    p = np.where(rng.random(60) < 0.6, y, rng.choice(["a", "b", "c"], size=60))
    assert metrics.accuracy(y, p) == pytest.approx(sk.accuracy_score(y, p))
    assert metrics.balanced_accuracy(y, p) == pytest.approx(sk.balanced_accuracy_score(y, p))
    assert metrics.accuracy(y, p) != pytest.approx(metrics.balanced_accuracy(y, p))


def test_metrics_by_name():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 4)), rng.standard_normal((10, 7))
    assert metrics.METRICS["rsa"].function(x, y) == rsa(rdm(x), rdm(y))
    assert metrics.METRICS["cka"].function(x, y) == linear_cka(x, y, debiased=True)
    assert {"pearson_r", "r2", "explained_variance", "two_vs_two", "rsa", "cka", "accuracy"} <= set(metrics.METRICS)


def test_draws_of_a_correlation_are_those_of_rows_that_are_repeated():
    """In float32 where parts are large: also where a draw leaves a column without variance."""
    rng = np.random.default_rng(4)
    y_true, y_pred = rng.normal(size=(2, 300, 6))
    y_pred[:, :3] += y_true[:, :3]
    y_pred[:, 5] = 1.0
    y_true[:70, 4] = y_pred[:70, 4] = np.arange(70) < 35  # one of two values in the whole draw of a part
    parts = [np.arange(70), np.arange(70, 290), np.arange(290, 300)]
    weights = bootstrap.row_weights(np.arange(300) // 35, fold=np.repeat([0, 1, 2], [70, 220, 10]), n_draws=40)
    found = metrics.METRICS["pearson_r"].resampled(y_true, y_pred, parts, weights)
    for draw, times in zip(found, weights.astype(int), strict=True):
        repeated = [np.repeat(rows, times[rows]) for rows in parts]
        expected = np.mean([metrics.pearson_r(y_true[rows], y_pred[rows]) for rows in repeated], axis=0)
        np.testing.assert_allclose(draw, expected, atol=2e-6)


def test_patterns_and_pairs_are_the_loops_over_rows_and_pairs(monkeypatch):
    rng = np.random.default_rng(3)
    true, predicted = rng.standard_normal((2, 23, 6)) + np.array([[[0.5]], [[1.0]]])
    predicted += 0.4 * true
    monkeypatch.setattr(metrics, "PAIRS_AT_ONCE", 7)

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    def share(alike):
        right = [
            alike(true[i], predicted[i]) + alike(true[j], predicted[j])
            > alike(true[i], predicted[j]) + alike(true[j], predicted[i])
            for i in range(23)
            for j in range(i)
        ]
        return np.mean(right)

    def r(a, b):
        return np.corrcoef(a, b)[0, 1]

    assert metrics.two_vs_two(true, predicted) == pytest.approx(share(r))
    assert metrics.two_vs_two_cosine(true, predicted) == pytest.approx(share(cosine))
    assert metrics.pattern_r(true, predicted) == pytest.approx(
        np.mean([r(a, b) for a, b in zip(true, predicted, strict=True)])
    )
    assert metrics.two_vs_two_cosine(true, np.ones_like(true)) == 0.5  # the same for every row: ties
