import numpy as np
import pytest
from scipy import stats

from brainbench.evaluation.bootstrap import best_layer, row_weights, subject_mean


def test_rows_of_a_stimulus_are_drawn_together_and_folds_keep_their_size():
    fold = np.repeat([0, 1], [12, 20])
    stimulus = np.concatenate([np.arange(12) // 2, 6 + np.arange(20) // 2])
    weights = row_weights(stimulus, fold=fold, n_draws=200)
    assert weights.shape == (200, 32)
    for name in np.unique(stimulus):
        assert (np.ptp(weights[:, stimulus == name], axis=1) == 0).all()
    assert (weights[:, fold == 0].sum(axis=1) == 12).all()
    assert (weights[:, fold == 1].sum(axis=1) == 20).all()
    assert (weights == weights.round()).all() and weights.min() == 0 and weights.max() > 2


def test_a_stimulus_in_two_folds_is_drawn_for_each():
    stimulus, fold = np.tile(np.arange(10), 2), np.repeat([0, 1], 10)
    weights = row_weights(stimulus, fold=fold, n_draws=50)
    assert (weights[:, :10] != weights[:, 10:]).any()


def test_blocks_of_neighbours_are_drawn_together():
    weights = row_weights(np.arange(40), block_length=8, n_draws=50)
    blocks = weights.reshape(50, 5, 8)
    assert (np.ptp(blocks, axis=2) == 0).all()
    assert (weights.sum(axis=1) == 40).all()


def test_draws_have_the_moments_of_sampling_with_replacement():
    n = 20
    weights = row_weights(np.arange(n), n_draws=20_000)
    assert weights.mean() == 1
    np.testing.assert_allclose(weights.var(axis=0), 1 - 1 / n, rtol=0.06)
    np.testing.assert_allclose((weights == 0).mean(), (1 - 1 / n) ** n, rtol=0.02)


def test_draws_follow_the_seed():
    stimulus = np.arange(15)
    np.testing.assert_array_equal(row_weights(stimulus, seed=1), row_weights(stimulus, seed=1))
    assert (row_weights(stimulus, seed=1) != row_weights(stimulus, seed=2)).any()


def test_best_layer_repeats_the_choice_in_every_draw():
    # Two ROIs, three layers, four draws: winners 0, 1, 1, 2 in ROI 0 and always 2 in ROI 1.
    draws = np.zeros((3, 4, 2))
    draws[[0, 1, 1, 2], np.arange(4), 0] = 1
    draws[2, :, 1] = 1
    values = np.array([[0.1, 0.0], [0.5, 0.1], [0.2, 0.6]])
    first, second = best_layer(values, draws, np.array([0.0, 0.5, 1.0]))
    assert first.index == 1 and second.index == 2
    np.testing.assert_array_equal(first.share, [0.25, 0.5, 0.25])
    np.testing.assert_array_equal(second.share, [0, 0, 1])
    assert (first.depth_low, first.depth_high) == (0.0, 1.0)
    assert (second.depth_low, second.depth_high) == (1.0, 1.0)
    narrow, _ = best_layer(values, draws, np.array([0.0, 0.5, 1.0]), confidence=0.5)
    assert (narrow.depth_low, narrow.depth_high) == (0.5, 0.5)


def test_mean_over_participants_against_scipy():
    values = np.array([0.1, 0.3, 0.25, 0.4, 0.2])
    found = subject_mean(values, chance=0.05, confidence=0.9)
    test = stats.ttest_1samp(values, 0.05, alternative="greater")
    interval = stats.ttest_1samp(values, 0.05).confidence_interval(0.9)
    assert found.value == pytest.approx(values.mean())
    assert found.p == pytest.approx(test.pvalue)
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high))


def test_equal_participants_leave_nothing_to_estimate():
    found = subject_mean(np.full(6, 0.5))
    assert found.value == 0.5 and np.isnan([found.p, found.ci_low, found.ci_high]).all()


def test_few_participants_have_no_interval():
    """Two accuracies of .80 and .94 were a mean of "0.87 [0.02, 1.71]"."""
    two, three = subject_mean(np.array([0.8, 0.94]), chance=0.5), subject_mean(np.array([0.8, 0.94, 0.9]), chance=0.5)
    assert two.value == pytest.approx(0.87) and np.isnan([two.ci_low, two.ci_high, two.p]).all()
    assert np.isnan([three.ci_low, three.ci_high]).all() and three.p < 0.05


def test_an_interval_keeps_to_the_bounds_of_its_score():
    found = subject_mean(np.array([0.99, 1.0, 0.9, 1.0, 0.97, 1.0]), chance=0.5, bounds=(0.0, 1.0))
    assert found.ci_low < found.value < found.ci_high == 1.0


def test_one_participant_is_no_population():
    with pytest.raises(ValueError, match="two participants"):
        subject_mean(np.array([0.3]))


def test_intervals_cover_as_often_as_they_say():
    """Of a mean over stimuli that repeat, and of participants' means."""
    hits, wrong = 0, 0
    n_runs = 300
    for seed in range(n_runs):
        rng = np.random.default_rng([seed, 1])
        stimulus = np.repeat(np.arange(30), 4)
        y = rng.standard_normal(30)[stimulus] + 0.3 * rng.standard_normal(120)
        weights = row_weights(stimulus, n_draws=200, seed=seed)
        low, high = np.quantile(weights @ y / weights.sum(axis=1), [0.05, 0.95])
        hits += low <= 0 <= high
        # Drawing single rows forgets that repeats are alike: far too narrow.
        weights = row_weights(np.arange(120), n_draws=200, seed=seed)
        low, high = np.quantile(weights @ y / weights.sum(axis=1), [0.05, 0.95])
        wrong += low <= 0 <= high
    assert 0.83 < hits / n_runs < 0.94
    assert wrong / n_runs < 0.75
    population = np.random.default_rng(0).standard_normal((1000, 6))
    found = [subject_mean(values) for values in population]
    assert np.mean([one.ci_low <= 0 <= one.ci_high for one in found]) == pytest.approx(0.95, abs=0.025)
    assert stats.kstest([one.p for one in found], "uniform").pvalue > 0.01
