"""The null that refits: against brute force, and against the null that keeps predictions, which it must not become."""

import numpy as np
import pytest

from brainbench.evaluation.calibration import Rate
from brainbench.evaluation.exchange import make_exchange
from brainbench.evaluation.family import p_of_draws, p_over_layers
from brainbench.evaluation.metrics import pearson_r, r2
from brainbench.evaluation.refit import best_scores, column_scores, mean_power, refit_null, sample_targets
from brainbench.ridge.encoding import FoldDesign, FoldSettings
from brainbench.ridge.fixed import FixedFits
from brainbench.ridge.ridge import RidgeCV

ALPHAS = np.logspace(-1, 3, 5)


def folds_of(n_rows, n_folds=5):
    rows = np.arange(n_rows)
    return [(np.flatnonzero(rows % n_folds != k), np.flatnonzero(rows % n_folds == k)) for k in range(n_folds)]


def designs_of(X, folds):
    groups, run = np.arange(len(X)), np.zeros(len(X))
    settings = FoldSettings(alphas=ALPHAS)
    return [FoldDesign([X], *fold, settings, inner_groups=groups[fold[0]], run=run) for fold in folds]


def refitting(designs):
    def predict(Y):
        for design in designs:
            yield design.refit(Y)

    return predict


def null_of(X, Y, folds, exchange, regions, **settings):
    designs = designs_of(X, folds)
    return refit_null(
        Y, exchange, refitting(designs), column_scores("pearson_r", "folds"), regions,
        fixed=lambda alpha: FixedFits(designs, alpha, len(X)), **settings,
    )  # fmt: skip


def test_every_exchange_is_what_a_fit_of_its_own_gives():
    rng = np.random.default_rng(0)
    X, Y, folds = rng.normal(size=(50, 8)), rng.normal(size=(50, 3)), folds_of(50)
    exchange = make_exchange(50, kind="rows", n_exchanges=7)
    null = null_of(X, Y, folds, exchange, {"all": np.ones(3, bool), "last": np.array([False, False, True])})
    for draw, order in zip(null.regions, exchange.orders, strict=True):
        scores = []
        for train, test in folds:
            mean, size = X[train].mean(axis=0), X[train].std(axis=0) * np.sqrt(8)
            head = RidgeCV(alphas=ALPHAS, cv=4).fit((X[train] - mean) / size, Y[order][train], groups=train)
            scores.append(pearson_r(Y[order][test], head.predict((X[test] - mean) / size)))
        np.testing.assert_allclose(draw, [np.mean(scores), np.mean(scores, axis=0)[2]], atol=1e-4)
    assert null.explained == 1 and len(null.sampled) == 3


def test_a_smaller_model_is_added_back():
    rng = np.random.default_rng(1)
    Y, base = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    exchange = make_exchange(20, kind="rows", n_exchanges=4)
    seen = []

    def predict(stacked):
        seen.append(stacked.reshape(20, 4, 2))
        yield stacked, stacked

    refit_null(Y, exchange, predict, column_scores("pearson_r", "folds"), {"all": np.ones(2, bool)}, base=base)
    for index, order in enumerate(exchange.orders):
        np.testing.assert_allclose(seen[0][:, index], Y[order] + base, rtol=1e-5)


@pytest.mark.parametrize("correlated", [0.0, 1.5])
def test_a_sample_of_targets_stands_for_its_region(correlated):
    rng = np.random.default_rng(2)
    n_rows, n_targets = 60, 90
    X = rng.normal(size=(n_rows, 30)) * np.arange(1, 31) ** -0.5
    Y = rng.normal(size=(n_rows, n_targets)) + correlated * np.repeat(rng.normal(size=(n_rows, 3)), 30, axis=1)
    regions = {str(k): np.arange(n_targets) // 30 == k for k in range(3)}
    exchange = make_exchange(n_rows, kind="rows", n_exchanges=300)
    some = null_of(X, Y, folds_of(n_rows), exchange, regions)
    every = null_of(X, Y, folds_of(n_rows), exchange, regions, n_refitted=n_targets)
    assert 36 <= len(some.sampled) <= 40 and len(every.sampled) == n_targets and some.explained > 0.95
    np.testing.assert_allclose(some.regions.std(axis=0), every.regions.std(axis=0), rtol=0.06)
    np.testing.assert_allclose(some.targets.std(), every.targets.std(), rtol=0.03)
    assert abs(some.regions.mean() - every.regions.mean()) < 0.01
    for drawn, true in zip(some.regions.T, every.regions.T, strict=True):
        assert np.corrcoef(drawn, true)[0, 1] > 0.9
    # Far from the mean as well, where a line in the score's numerator alone would go on too far.
    ends = [np.quantile(null.regions, (0.01, 0.99), axis=0) for null in (some, every)]
    np.testing.assert_allclose(*ends, atol=0.25 * every.regions.std())
    # Without fits of one penalty, only how far the targets resemble each other is known.
    bare = refit_null(
        Y, exchange, refitting(designs_of(X, folds_of(n_rows))), column_scores("pearson_r", "folds"), regions,
        n_refitted=18,
    )  # fmt: skip
    ratio = bare.regions.std(axis=0) / every.regions.std(axis=0)
    assert (ratio > 0.85).all() and (ratio < 2).all()


def test_every_exchange_is_fitted_where_one_penalty_says_little():
    rng = np.random.default_rng(6)
    Y, exchange = rng.normal(size=(20, 100)), make_exchange(20, kind="rows", n_exchanges=30)
    asked = []

    def predict(stacked):
        asked.append(stacked.shape[1])
        return [(stacked, stacked)]

    class Noise:
        """Fits that know nothing of the responses."""

        def __call__(self, stacked):
            return [(rng.normal(size=stacked.shape), stacked)]

        def form(self):
            return np.eye(20, k=1, dtype=np.float32) + np.eye(20, k=-1, dtype=np.float32)

    def score(parts):
        return (parts[0][0][:5] ** 4).mean(axis=0)

    null = refit_null(Y, exchange, predict, score, {"all": np.ones(100, dtype=bool)}, fixed=lambda alpha: Noise())
    assert null.explained < 0.1 and sum(asked) == 30 * 32
    # No target under no exchange is fitted twice, and what was fitted is told as it is.
    exact = np.stack([(Y[order][:5] ** 4).mean(axis=0) for order in exchange.orders])
    np.testing.assert_allclose(
        np.sort(null.targets.std(axis=0))[-1], np.sort(exact[:, null.sampled].std(axis=0))[-1], rtol=1e-4
    )


@pytest.mark.parametrize("continuous", [False, True])
def test_fits_with_one_penalty_are_linear_maps(continuous):
    rng = np.random.default_rng(7)
    X, Y, run = rng.normal(size=(60, 8)), rng.normal(size=(60, 5)), np.repeat([0, 1], 30)
    settings = FoldSettings(alphas=np.array([30.0]), t_r=2.0 if continuous else None, high_pass_s=40.0)
    nuisance = rng.normal(size=(60, 2)) if continuous else None
    folds = [(np.arange(30), np.arange(30, 60)), (np.arange(30, 60), np.arange(30))]
    designs = [
        FoldDesign([X], *fold, settings, inner_groups=None, run=run, nuisance=nuisance) for fold in folds
    ]  # fmt: skip
    fixed = FixedFits(designs, 30.0, 60)
    found = fixed(Y.astype(np.float32))
    for design, (measured, predicted) in zip(designs, found, strict=True):
        exact = design.fit(Y)
        np.testing.assert_allclose(measured, exact.y_true, atol=1e-5)
        np.testing.assert_allclose(predicted, exact.y_pred, atol=1e-5)
    # The form is the sum of the folds' covariances, each over what white responses give.
    form = fixed.form()
    products = [(m - m.mean(axis=0)) * (p - p.mean(axis=0)) for m, p in found]
    np.testing.assert_allclose(form, form.T)
    sizes = [60 / np.sqrt(((p - p.mean(axis=0)) ** 2).sum() * 30) for p in fixed.predict]
    by_hand = sum(size * product.sum(axis=0) for size, product in zip(sizes, products, strict=True))
    np.testing.assert_allclose(((form @ Y) * Y).sum(axis=0), by_hand, rtol=1e-3)


def test_exchanged_responses_are_fitted_as_responses_are():
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(60, 30)), rng.normal(size=(60, 50))
    Y[:, :25] += X[:, :3] @ rng.normal(size=(3, 25))
    run, settings = np.zeros(60), FoldSettings(alphas=np.logspace(-1, 4, 11))
    for bands in ([X], [X[:, :10], X[:, 10:]]):
        for train, test in folds_of(60):
            design = FoldDesign(bands, train, test, settings, inner_groups=None, run=run)
            exact, (measured, predicted) = design.fit(Y), design.refit(Y)
            np.testing.assert_allclose(measured, exact.y_true, atol=1e-6)
            # Where two penalties are as good, float32 may take the other one.
            assert np.mean(np.abs(predicted - exact.y_pred).max(axis=0) < 1e-3) > 0.95


def test_exchanged_responses_in_time_are_fitted_as_responses_are_on_fewer_rows():
    rng = np.random.default_rng(6)
    run, nuisance = np.repeat([0, 1], 60), rng.normal(size=(120, 2))
    X, Y = rng.normal(size=(120, 90)), rng.normal(size=(120, 40)) + nuisance @ rng.normal(size=(2, 40)) + 50
    Y[:, :20] += X[:, :3] @ rng.normal(size=(3, 20))
    settings = FoldSettings(alphas=np.logspace(-1, 4, 11), inner_folds=3, t_r=2.0, high_pass_s=60.0)
    for bands in ([X], [X[:, :30], X[:, 30:]]):
        for train, test in ((np.arange(80), np.arange(80, 120)), (np.arange(40, 120), np.arange(40))):
            design = FoldDesign(bands, train, test, settings, inner_groups=None, run=run, nuisance=nuisance)
            exact, (measured, predicted) = design.fit(Y), design.refit(Y)
            np.testing.assert_allclose(measured, exact.y_true, atol=1e-6)
            assert np.mean(np.abs(predicted - exact.y_pred).max(axis=0) < 1e-3) > 0.95
            # Constants, cosines and nuisance took the freedom of ten of 80 rows and more.
            assert len(design.refits()._features.X) == 70


def test_the_sample_holds_every_region():
    masks = np.zeros((4, 100), dtype=bool)
    masks[0, :90], masks[1, 90:93], masks[2, 5], masks[3, 95:] = True, True, True, True
    chosen = sample_targets(masks, 16, 4, 64, 0)
    assert (masks[:, chosen].any(axis=1)).all() and len(chosen) <= 16
    five = np.arange(100) // 20 == np.arange(5)[:, None]
    few, more = (sample_targets(five, n, 4, 64, 0) for n in (12, 60))
    assert (five[:, few].sum(axis=1) == 4).all() and (five[:, more].sum(axis=1) == 12).all()
    assert set(few) < set(more)
    np.testing.assert_array_equal(sample_targets(masks, 99, 4, 64, 0), np.flatnonzero(masks.any(axis=0)))


def test_mean_power_of_correlations():
    rng = np.random.default_rng(3)
    Y = rng.normal(size=(40, 6)) + rng.normal(size=(40, 1))
    assert mean_power(Y, 4, 0) == pytest.approx((np.corrcoef(Y.T) ** 4).mean(), rel=1e-4)


def null_rates(keep_predictions, n_sets=600):
    """Return how often a true null is rejected at .05: one target a data set, 60 rows, 20 features, 5 folds."""
    rng = np.random.default_rng(4)
    n_rows, many, rejected = 60, 100, 0
    for _ in range(n_sets // many):
        X, Y, folds = rng.normal(size=(n_rows, 20)), rng.normal(size=(n_rows, many)), folds_of(n_rows)
        designs = designs_of(X, folds)
        exchange = make_exchange(n_rows, kind="rows", n_exchanges=199, seed=int(rng.integers(1 << 30)))
        score, refit = column_scores("pearson_r", "folds"), refitting(designs)
        kept = list(refit(Y))

        def keep(stacked, kept=kept, designs=designs):
            for design, (_, prediction) in zip(designs, kept, strict=True):
                yield stacked[design.test], np.tile(prediction, (1, stacked.shape[1] // prediction.shape[1]))

        regions = {str(k): np.arange(many) == k for k in range(many)}
        null = refit_null(Y, exchange, keep if keep_predictions else refit, score, regions)
        observed = score(kept)
        rejected += sum(p_of_draws(observed[k], null.regions[:, k], exchange) <= 0.05 for k in range(many))
    return Rate.of(rejected, n_sets)


def test_the_null_holds_its_level_and_keeping_predictions_does_not():
    """The second half shows that the first can fail: data, folds and counting are the same."""
    true = null_rates(keep_predictions=False)
    assert true.high > 0.035 and true.low < 0.065, true
    kept = null_rates(keep_predictions=True)
    assert kept.low > 0.065, kept


def test_p_is_a_count_and_its_tail_continues_it():
    rng = np.random.default_rng(5)
    exchange = make_exchange(60, kind="rows", n_exchanges=199)
    draws = rng.normal(size=199)
    assert p_of_draws(float(np.sort(draws)[-9]), draws, exchange) == pytest.approx(10 / 200)
    assert p_of_draws(0.0, np.zeros(199), exchange) == 1
    far = p_of_draws(6.0, draws, exchange)
    assert 1e-6 <= far < 1e-5
    # Draws that follow no Pearson III, and designs with few exchanges, are not continued.
    assert p_of_draws(9.0, np.where(np.arange(199) < 100, -1.0, 1.0), exchange) == 1 / 200
    turns = make_exchange(50, kind="shift", run=np.zeros(50))
    assert p_of_draws(50.0, rng.normal(size=49), turns) == 1 / 50


def test_the_tail_falls_with_the_score_and_keeps_its_level():
    rng, exchange = np.random.default_rng(8), make_exchange(60, kind="rows", n_exchanges=199)
    draws = rng.gamma(9, size=199)
    p = [p_of_draws(score, draws, exchange) for score in np.linspace(8, 30, 200)]
    assert (np.diff(p) <= 1e-15).all()
    # Sums of a few products have heavier tails than any law of this family: without their kurtosis .019 and .007.
    heavy = rng.normal(size=(200, 2000, 3, 2)).prod(axis=-1).sum(axis=-1)
    for law, most in ((rng.normal(size=(200, 2000)), (0.014, 0.003)), (heavy, (0.016, 0.004))):
        found = np.array([p_of_draws(one[0], one[1:], exchange) for one in law.T])
        for level, bound in zip((0.01, 0.001), most, strict=True):
            assert (found <= level).mean() < bound
        assert (found <= 0.01).mean() > 0.006


def test_draws_that_lean_to_the_left_end_no_sooner_than_a_normal_law():
    """R2 of noise has a longer left tail: a law that ended at its bound would give what lies there a p of 1e-6."""
    rng, exchange = np.random.default_rng(9), make_exchange(60, kind="rows", n_exchanges=199)
    left = -rng.gamma(4, size=(200, 2000))
    found = np.array([p_of_draws(one[0], one[1:], exchange) for one in left.T])
    assert (found <= 0.01).mean() < 0.014 and (found <= 0.001).mean() < 0.003
    draws = -rng.gamma(4, size=199)
    assert p_of_draws(0.0, draws, exchange) > 0.002  # the bound itself


def test_ties_are_counted():
    exchange, draws = make_exchange(60, kind="rows", n_exchanges=199), np.repeat(np.arange(20.0), 10)[:199]
    assert p_of_draws(19.0, draws, exchange) == 10 / 200


def test_one_test_of_all_layers():
    rng = np.random.default_rng(6)
    exchange = make_exchange(60, kind="rows", n_exchanges=199)
    base = rng.normal(size=199)
    same = [base, 3 * base + 1]
    assert p_over_layers([base[0], 3 * base[0] + 1], same, exchange)[0] == pytest.approx(
        p_of_draws(base[0], base, exchange)
    )
    many = list(rng.normal(size=(12, 199)))
    assert p_over_layers([1.7] + [0.0] * 11, many, exchange)[0] > 0.2  # one of twelve reaches that by chance
    assert p_over_layers([6.0] + [0.0] * 11, many, exchange)[0] <= 0.005


def test_what_smaller_models_score_is_taken_off():
    rng = np.random.default_rng(9)
    X, Y, folds = rng.normal(size=(40, 6)), rng.normal(size=(40, 2)), folds_of(40)
    exchange, regions = make_exchange(40, kind="rows", n_exchanges=5), {"all": np.ones(2, bool)}
    singles, full = [designs_of(X[:, [k]], folds) for k in (0, 1)], designs_of(X, folds)

    def together(stacked):
        for one, other in zip(*singles, strict=True):
            yield *one.refit(stacked), other.refit(stacked)[1]

    score = best_scores("folds")
    smaller = refit_null(Y, exchange, together, score, regions)
    gain = refit_null(Y, exchange, refitting(full), score, regions, less=smaller.targets)
    for index, order in enumerate(exchange.orders):
        each = [np.mean([r2(*design.refit(Y[order])) for design in model], axis=0) for model in (*singles, full)]
        np.testing.assert_allclose(gain.targets[index], each[2] - np.maximum(*each[:2]), atol=1e-4)
