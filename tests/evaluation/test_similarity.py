import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import squareform

from brainbench.evaluation.exchange import make_exchange
from brainbench.evaluation.similarity import geometry_test, linear_cka, rdm, rsa, rsa_noise_ceiling


def patterns(seed=0, n=20, widths=(8, 5)):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, width)) for width in widths]


def test_rdm_against_numpy():
    x, _ = patterns()
    np.testing.assert_allclose(squareform(rdm(x)), 1 - np.corrcoef(x), atol=1e-12)
    upper = np.triu_indices(20, 1)
    by_hand = np.linalg.norm(x[upper[0]] - x[upper[1]], axis=1)
    np.testing.assert_allclose(rdm(x, "euclidean"), by_hand)


def test_rdm_of_one_feature_and_of_constant_patterns():
    x, _ = patterns(widths=(1, 3))
    np.testing.assert_allclose(rdm(x), rdm(x, "euclidean"))
    flat = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    np.testing.assert_allclose(rdm(flat), [np.nan, np.nan, 2])


def test_patterns_without_variance_are_left_out_on_both_sides_and_counted():
    x, y = patterns()
    y += x[:, :5]
    whole = geometry_test(x[3:-1], y[3:-1], metric="rsa", n_permutations=50)
    x[:3], y[-1] = 0.1 * np.arange(1, 4)[:, None], 7.0
    x[2] *= 1 + 1e-8 * np.arange(8)  # float noise is no variance
    found = geometry_test(x, y, metric="rsa", n_permutations=50)
    assert found.n_left_out == 4
    assert (found.value, found.p, found.null_95) == (whole.value, whole.p, whole.null_95)
    assert rsa(rdm(x), rdm(y)) == pytest.approx(whole.value)
    nothing = geometry_test(x[:5], y[:5], metric="rsa", n_permutations=9)
    assert np.isnan(nothing.value) and nothing.n_left_out == 3 and nothing.p == 1
    lower, upper = rsa_noise_ceiling(np.stack([rdm(x), rdm(x) + rdm(y)]))
    few, bound = rsa_noise_ceiling(np.stack([rdm(x[3:-1]), rdm(x[3:-1]) + rdm(y[3:-1])]))
    np.testing.assert_allclose([lower, upper], [few, bound])


def test_rsa_against_scipy():
    x, y = patterns()
    assert rsa(rdm(x), rdm(y)) == pytest.approx(stats.spearmanr(rdm(x), rdm(y)).statistic)
    tied = rdm(np.repeat(x[:5], 4, axis=0)).round(1)
    assert rsa(tied, rdm(y)) == pytest.approx(stats.spearmanr(tied, rdm(y)).statistic)
    assert rsa(rdm(x), rdm(x) ** 3) == pytest.approx(1)  # ranks only
    assert rsa(np.ones(10), np.arange(10.0)) == 0


def test_cka_closed_form():
    """Kornblith et al. (2019): |Y'X|^2 / (|X'X| |Y'Y|) with centered columns and Frobenius norms."""
    x, y = patterns()
    xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
    norm = np.linalg.norm
    expected = norm(yc.T @ xc) ** 2 / (norm(xc.T @ xc) * norm(yc.T @ yc))
    assert linear_cka(x, y, debiased=False) == pytest.approx(expected)


def test_debiased_cka_against_the_unbiased_hsic():
    """Song et al. (2012), eq. 5, written with sums as in the paper."""

    def hsic(K, L):
        n = len(K)
        K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
        one = np.ones(n)
        return (
            np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * one @ K @ L @ one
        ) / (n * (n - 3))

    x, y = patterns()
    K, L = x @ x.T, y @ y.T
    assert linear_cka(x, y) == pytest.approx(hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L)))


@pytest.mark.parametrize("debiased", [True, False])
def test_cka_invariances(debiased):
    x, y = patterns()
    value = linear_cka(x, y, debiased=debiased)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    assert linear_cka(3 * x @ rotation - 5, y, debiased=debiased) == pytest.approx(value)
    assert linear_cka(y, x, debiased=debiased) == pytest.approx(value)
    assert linear_cka(x, x, debiased=debiased) == pytest.approx(1)
    order = np.random.default_rng(2).permutation(20)
    assert linear_cka(x[order], y[order], debiased=debiased) == pytest.approx(value)
    assert linear_cka(x[order], y, debiased=debiased) != pytest.approx(value, abs=1e-3)
    stretched = x * np.arange(1, 9)  # not an orthogonal change
    assert linear_cka(stretched, y, debiased=debiased) != pytest.approx(value, abs=1e-4)


def test_debiased_cka_does_not_grow_with_the_number_of_features():
    biased, debiased = [], []
    for seed in range(30):
        x, y = patterns(seed, widths=(300, 300))
        biased.append(linear_cka(x, y, debiased=False))
        debiased.append(linear_cka(x, y))
    assert min(biased) > 0.8
    assert abs(np.mean(debiased)) < 3 * np.std(debiased) / np.sqrt(30) + 0.01
    with pytest.raises(ValueError, match="four stimuli or more, got 3"):
        linear_cka(x[:3], y[:3])


def test_features_without_spread_score_zero():
    x, _ = patterns()
    assert linear_cka(np.ones((20, 2)), x) == 0
    assert linear_cka(np.ones((20, 2)), x, debiased=False) == 0


def test_rsa_noise_ceiling_by_a_loop():
    rng = np.random.default_rng(0)
    shared = rng.random(45)
    rdms = np.stack([shared + 0.3 * rng.random(45) for _ in range(5)])
    lower, upper = rsa_noise_ceiling(rdms)
    ranks = np.array([stats.rankdata(one) for one in rdms])
    for s in range(5):
        others = np.delete(ranks, s, axis=0).mean(axis=0)
        assert lower[s] == pytest.approx(stats.spearmanr(rdms[s], others).statistic)
        assert upper[s] == pytest.approx(stats.spearmanr(rdms[s], ranks.mean(axis=0)).statistic)
    assert (lower < upper).all()
    # The shared geometry lies between the bounds on average.
    truth = np.mean([stats.spearmanr(one, shared).statistic for one in rdms])
    assert lower.mean() < truth < upper.mean() + 0.01


def test_equal_participants_have_ceiling_one():
    lower, upper = rsa_noise_ceiling(np.tile(np.random.default_rng(0).random(10), (3, 1)))
    np.testing.assert_allclose([lower, upper], 1)


@pytest.mark.parametrize("metric", ["rsa", "cka"])
def test_geometry_test_equals_a_slow_reference(metric):
    x, y = patterns(3)
    y = y + x[:, :5] * 0.5
    found = geometry_test(x, y, metric=metric, n_permutations=40, seed=5)

    def score(rows):
        return rsa(rdm(x), rdm(y[rows])) if metric == "rsa" else linear_cka(x, y[rows])

    orders = make_exchange(20, kind="rows", n_exchanges=40, seed=5).orders
    null = np.array([score(order) for order in orders])
    assert found.value == pytest.approx(score(np.arange(20)))
    assert found.p == (np.sum(null >= found.value - 1e-12) + 1) / 41
    assert found.null_95 == pytest.approx(np.quantile(null, 0.95))


@pytest.mark.parametrize("metric", ["rsa", "cka"])
def test_geometry_p_is_uniform_for_unrelated_patterns(metric):
    p = []
    for seed in range(200):
        x, y = patterns([seed, 1], n=12)
        p.append(geometry_test(x, y, metric=metric, n_permutations=99, seed=seed).p)
    spread = np.array(p) - np.random.default_rng(0).random(len(p)) / 100
    assert stats.kstest(spread, "uniform").pvalue > 0.01
    x, _ = patterns()
    assert geometry_test(x, x, metric=metric, n_permutations=99).p <= 0.01
    assert geometry_test(x, np.ones((20, 3)), metric=metric, n_permutations=9).p == 1
