import numpy as np
import pytest

from brainbench.evaluation.intervals import Held, Jackknife, jackknife, jackknife_groups
from brainbench.evaluation.metrics import METRICS, Metric, Moments
from brainbench.ridge.deletion import FoldWithout

SLOPES = ("pearson_r", "r2", "explained_variance")


def ridge(X, y, X_new, alpha=3.0):
    mean, center = y.mean(axis=0), X.mean(axis=0)
    left = (X - center).T @ (X - center) + alpha * np.eye(X.shape[1])
    return mean + (X_new - center) @ np.linalg.solve(left, (X - center).T @ (y - mean))


def score(metric, X, Y, folds, kept, pooled):
    """The region's score, fitted again on the kept rows."""
    rows = np.arange(len(X))
    truth, guess = [], []
    for test in folds:
        train = np.setdiff1d(rows, test)
        train, test = train[kept[train]], test[kept[test]]
        truth.append(Y[test])
        guess.append(ridge(X[train], Y[train], X[test]))
    if pooled:
        return metric.function(np.concatenate(truth), np.concatenate(guess)).mean()
    return np.mean([metric.function(t, g) for t, g in zip(truth, guess, strict=True)])


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("name", SLOPES)
def test_every_group_is_left_out_of_training_and_test(name, pooled):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6))
    Y = X @ rng.normal(size=(6, 5)) + 3 * rng.normal(size=(40, 5))
    folds = [np.sort(part) for part in np.array_split(rng.permutation(40), 4)]
    fold = np.empty(40, dtype=int)
    for number, test in enumerate(folds):
        fold[test] = number
    group = jackknife_groups(np.arange(40), fold, 12)
    train = [np.setdiff1d(np.arange(40), test) for test in folds]
    without = [FoldWithout(X[a], X[b], group[a], 12) for a, b in zip(train, folds, strict=True)]

    def predict(targets):
        order = rng.permutation(len(targets))  # a fold may give targets in an order of its own
        return [
            Held(Y[b][:, targets[order]], *one.predict(Y[a][:, targets[order]], np.full(len(order), 3.0)), order)
            for one, a, b in zip(without, train, folds, strict=True)
        ]

    regions = {"all": np.ones(5, bool), "two": np.arange(5) < 2}
    plain = Metric("plain", "by its function alone", METRICS[name].function, per_target=True)
    groups = [group[b] for b in folds]
    found, by_function = jackknife([METRICS[name], plain], predict, groups, regions, pooled=pooled, block=2)
    np.testing.assert_allclose(found.left_out, by_function.left_out, atol=1e-12)
    np.testing.assert_allclose(found.values, by_function.values, atol=1e-12)
    assert not by_function.pairs.any()
    assert found.values[0] == pytest.approx(score(METRICS[name], X, Y, folds, np.ones(40, bool), pooled))
    for left in range(12):
        want = score(METRICS[name], X, Y, folds, group != left, pooled)
        assert found.left_out[left, 0] == pytest.approx(want, abs=1e-9)
        assert found.left_out[left, 1] == pytest.approx(
            score(METRICS[name], X, Y[:, :2], folds, group != left, pooled), abs=1e-9
        )


def moments(y, p, origins):
    a, b = y - origins[0], p - origins[1]
    sums = [one.sum(axis=0) for one in (a, b, a * a, a * b, b * b)]
    return Moments(np.array(float(len(y))), *sums, np.full(y.shape[1], origins[1] - origins[0]))


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("origins", [(0.0, 0.0), (1.2, 0.3)])
def test_scores_and_slopes_from_moments(name, origins):
    rng = np.random.default_rng(1)
    metric = METRICS[name]
    y, p = rng.normal(size=(9, 4)) + 1, rng.normal(size=(9, 4))
    y[:, 3] = origins[0]  # a constant target scores 0
    np.testing.assert_allclose(metric.of_moments(moments(y, p, origins)), metric.function(y, p), atol=1e-12)
    a, b, c = metric.slope(moments(y, p, origins))
    slope = a * (y - origins[0]) + b * (p - origins[1]) + c
    for row in range(9):
        step = np.zeros((9, 4))
        step[row] = 1e-6
        want = (metric.function(y, p + step) - metric.function(y, p - step)) / 2e-6
        np.testing.assert_allclose(slope[row], want, atol=1e-6)


def test_interactions_of_pairs_against_the_changes_row_by_row():
    """What leaving a group out moves through each tested group: the slope by the change about its mean."""
    rng = np.random.default_rng(5)
    y, p, change = rng.normal(size=(12, 3)) + 2, rng.normal(size=(12, 3)), rng.normal(size=(4, 12, 3))
    group = rng.permutation(np.arange(12) % 4)
    for name in SLOPES:
        (found,) = jackknife([METRICS[name]], lambda _: [Held(y, p, change)], [group], {"all": np.ones(3, bool)})
        a, b, c = METRICS[name].slope(moments(y, p, (0.0, 0.0)))
        slope = a * y + b * p + c
        for tested in range(4):
            for left in range(4):
                about = change[left] - change[left].mean(axis=0)
                want = (slope * about)[group == tested].sum(axis=0).mean() if tested != left else 0.0
                assert found.pairs[tested, left, 0] == pytest.approx(want, abs=1e-12)


def test_groups_stay_in_a_fold_and_keep_units_together():
    rng = np.random.default_rng(2)
    unit = np.repeat(np.arange(24), 3)
    fold = (unit % 4)[rng.permutation(72)] * 0 + unit % 4
    group = jackknife_groups(unit, fold, 12)
    assert len(np.unique(group)) == 12
    for value in np.unique(group):
        assert len(np.unique(fold[group == value])) == 1
    for value in np.unique(unit):
        assert len(np.unique(group[unit == value])) == 1
    # Single rows a fold: every row is a group; a fold of one run: one group.
    assert len(np.unique(jackknife_groups(np.arange(11), np.arange(11), 30))) == 11
    assert len(np.unique(jackknife_groups(np.arange(9) // 3, np.arange(9) // 3, 30))) == 3


def test_pure_interactions_are_half_of_the_jackknife():
    """A score of products of pairs alone: the jackknife's variance is twice the true one, and the rest is taken out."""
    rng = np.random.default_rng(3)
    n, ratios, first = 30, [], []
    truth = n * (n - 1) / 2 * 4  # variance of the sum over pairs of 2 a_i a_j
    for _ in range(300):
        a = rng.normal(size=n)
        pairs = np.outer(a, a)
        np.fill_diagonal(pairs, 0)
        total = pairs.sum()
        left = total - 2 * pairs.sum(axis=1)
        found = Jackknife(np.array([total]), left[:, None], pairs[..., None])
        ratios.append(found.variance()[0] / truth)
        first.append((n - 1) / n * ((left - left.mean()) ** 2).sum() / truth)
    assert np.mean(first) == pytest.approx(2.0, rel=0.2)
    assert 0.9 < np.mean(ratios) < 1.35  # above 1 by the floor under single estimates


def test_a_plain_mean_has_its_textbook_variance_and_correlations_stay_in_bounds():
    x = np.random.default_rng(4).normal(size=25)
    left = (x.sum() - x) / 24
    found = Jackknife(np.array([x.mean()]), left[:, None], np.zeros((25, 25, 1)))
    assert found.variance()[0] == pytest.approx(x.var(ddof=1) / 25)
    wild = Jackknife(np.array([0.97]), np.linspace(0.5, 1.2, 25)[:, None], np.zeros((25, 25, 1)))
    low, high = wild.interval(correlation=True)
    assert -1 <= low[0] < 0.97 < high[0] <= 1
