import time
import tracemalloc
from itertools import combinations

import numpy as np
import pytest

from brainbench.evaluation.exchange import make_exchange
from brainbench.evaluation.zero_shot import bytes_of, leave_two_out_2v2

ALPHAS = np.array([0.01, 1.0, 100.0])


def planted(seed=0, n=8, runs=3, noise=1.0, width=3, targets=60):
    """Responses that are linear in features of the stimuli."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, width))
    stimulus, run = np.tile(np.arange(n), runs), np.repeat([f"r{i}" for i in range(runs)], n)
    weights = rng.standard_normal((width, targets))
    responses = features[stimulus] @ weights + noise * rng.standard_normal((n * runs, targets)) + 4.0
    return features, responses, stimulus, run


def ridge(X, Y, alpha, x):
    """Ridge with intercept, in the primal."""
    mx, my = X.mean(axis=0), Y.mean(axis=0)
    weights = np.linalg.solve((X - mx).T @ (X - mx) + alpha * np.eye(X.shape[1]), (X - mx).T @ (Y - my))
    return (x - mx) @ weights + my


def slow(features, responses, stimulus, run, alphas):
    n = len(features)
    X = (features - features.mean(axis=0)) / features.std(axis=0)
    X = X / np.sqrt(X.shape[1])  # the mean diagonal of X X' is 1
    right = []
    runs = np.unique(run)

    def mean(held, s, inside):
        keep = (stimulus == s) & ((run == held) == inside)
        return responses[keep].mean(axis=0)

    for pair in combinations(range(n), 2):
        rest = [s for s in range(n) if s not in pair]
        errors = []
        for alpha in alphas:
            error = 0.0
            for held in runs:
                Y = {s: mean(held, s, False) for s in rest}
                for left in rest:
                    inner = [s for s in rest if s != left]
                    predicted = ridge(X[inner], np.array([Y[s] for s in inner]), alpha, X[left])
                    error += ((predicted - Y[left]) ** 2).sum()
            errors.append(error)
        alpha = alphas[int(np.argmin(errors))]
        difference = 0.0
        for held in runs:
            Y = np.array([mean(held, s, False) for s in rest])
            p = [ridge(X[rest], Y, alpha, X[s]) for s in pair]
            y = [mean(held, s, True) for s in pair]
            r = [[np.corrcoef(a, b)[0, 1] for b in y] for a in p]
            difference += r[0][0] + r[1][1] - r[0][1] - r[1][0]
        right.append(float(difference > 0))
    return right


@pytest.mark.parametrize("noise", [1.0, 6.0])
def test_equal_to_a_slow_reference(noise):
    data = planted(n=7, noise=noise, targets=20, seed=2)
    found = leave_two_out_2v2(*data, alphas=ALPHAS, n_shuffles=2)
    np.testing.assert_array_equal(found.pairs, list(combinations(range(7), 2)))
    np.testing.assert_array_equal(found.right, slow(*data, ALPHAS))
    assert found.accuracy == found.right.mean()


@pytest.mark.parametrize(("n", "width"), [(6, 2), (6, 40)])
def test_every_shuffle_equals_a_slow_reference(n, width):
    features, *rest = planted(n=n, noise=5.0, width=width, targets=9, seed=5)
    found = leave_two_out_2v2(features, *rest, alphas=ALPHAS, n_shuffles=4, seed=8)
    orders = make_exchange(n, kind="rows", n_exchanges=4, seed=8).orders
    null = [np.mean(slow(features[order], *rest, ALPHAS)) for order in orders]
    assert found.null_95 == pytest.approx(np.quantile(null, 0.95))
    assert found.p == (np.sum(np.array(null) >= found.accuracy - 1e-12) + 1) / 5
    assert len({*null, found.accuracy}) > 2


def test_equal_features_and_the_smallest_penalties():
    """Rows that are alike leave a kernel of low rank, where an inverse would say anything."""
    features, *rest = planted(n=7, noise=5.0, targets=20, seed=2)
    features = features[[0, 0, 1, 1, 2, 3, 4]]
    alphas = np.logspace(-7, 3, 6)
    found = leave_two_out_2v2(features, *rest, alphas=alphas, n_shuffles=1)
    expected = np.array(slow(features, *rest, alphas))
    expected[[0, 11]] = 0.5  # the two pairs of equal features
    np.testing.assert_array_equal(found.right, expected)


def test_forty_stimuli_take_seconds():
    data = planted(n=40, width=80, noise=3.0, targets=8)
    start = time.process_time()
    found = leave_two_out_2v2(*data, alphas=np.logspace(-3, 5, 17), n_shuffles=50)
    assert time.process_time() - start < 10  # it was minutes when every shuffle was solved by itself
    assert len(found.pairs) == 780 and found.p == 1 / 51


def test_shuffles_refit_everything():
    """The null is the accuracy of the same test with features dealt to other stimuli."""
    features, *rest = planted(n=6, noise=2.0, targets=20)
    found = leave_two_out_2v2(features, *rest, alphas=ALPHAS, n_shuffles=15, seed=4)
    orders = make_exchange(6, kind="rows", n_exchanges=15, seed=4).orders
    null = [leave_two_out_2v2(features[order], *rest, alphas=ALPHAS, n_shuffles=1).accuracy for order in orders]
    assert found.null_95 == pytest.approx(np.quantile(null, 0.95))
    assert found.p == (np.sum(np.array(null) >= found.accuracy - 1e-12) + 1) / 16


def test_planted_semantics_are_found():
    found = leave_two_out_2v2(*planted(), alphas=ALPHAS, n_shuffles=99)
    assert found.accuracy > 0.9 and found.p <= 0.02 and found.null_95 < found.accuracy


def test_features_that_know_nothing_are_at_chance():
    accuracy = []
    for seed in range(25):
        features, responses, stimulus, run = planted(seed)
        wrong = np.random.default_rng([seed, 1]).standard_normal(features.shape)
        accuracy.append(leave_two_out_2v2(wrong, responses, stimulus, run, alphas=ALPHAS, n_shuffles=1).accuracy)
    assert abs(np.mean(accuracy) - 0.5) < 4 * np.std(accuracy) / 5


def test_one_hot_features_are_at_chance_exactly():
    _, *rest = planted()
    found = leave_two_out_2v2(np.eye(8), *rest, alphas=ALPHAS, n_shuffles=20)
    assert found.accuracy == 0.5 and (found.right == 0.5).all()
    assert found.p == 1 and found.null_95 == 0.5


def test_constant_features_are_at_chance():
    _, *rest = planted()
    assert leave_two_out_2v2(np.ones((8, 2)), *rest, alphas=ALPHAS, n_shuffles=2).accuracy == 0.5


def test_one_run_and_runs_that_miss_stimuli():
    features, responses, stimulus, run = planted(noise=0.1)
    one = run == "r0"
    assert (
        leave_two_out_2v2(features, responses[one], stimulus[one], run[one], alphas=ALPHAS, n_shuffles=1).accuracy > 0.9
    )
    missing = ~((run == "r0") & (stimulus == 3))
    found = leave_two_out_2v2(
        features, responses[missing], stimulus[missing], run[missing], alphas=ALPHAS, n_shuffles=1
    )
    assert found.accuracy > 0.9
    lonely = ~((run != "r0") & (stimulus == 3))
    with pytest.raises(ValueError, match="stimulus 3 is shown in run 'r0' only"):
        leave_two_out_2v2(features, responses[lonely], stimulus[lonely], run[lonely], alphas=ALPHAS)
    with pytest.raises(ValueError, match="5 or more, got 4"):
        leave_two_out_2v2(features[:4], responses, stimulus, run, alphas=ALPHAS)


@pytest.mark.parametrize(("n", "runs", "targets", "shuffles"), [(24, 4, 50, 500), (24, 6, 2000, 200)])
def test_what_it_holds_at_its_peak_is_foretold(n, runs, targets, shuffles):
    rng = np.random.default_rng(0)
    stimulus, run = np.tile(np.arange(n), runs), np.repeat(np.arange(runs), n)
    features, responses = rng.normal(size=(n, 8)), rng.normal(size=(n * runs, targets))
    tracemalloc.start()
    leave_two_out_2v2(features, responses, stimulus, run, alphas=np.logspace(-3, 3, 7), n_shuffles=shuffles)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.8 * peak < bytes_of(n, runs, targets, shuffles) < 3 * peak
