"""Forecasts of how many decisions of a new recording are right: exact where they can be, and how often they hold."""

import numpy as np
import pytest
from scipy.stats import betabinom

from brainbench.evaluation.trials.calibration import calibrate, forecast

EDGES = np.array([0.5, 0.75, 1.0])


@pytest.mark.parametrize(("count", "right", "n"), [(40, 30, 20), (200, 110, 60), (12, 12, 10)])
def test_in_one_bin_the_interval_is_that_of_the_beta_binomial_law(count, right, n):
    value, low, high = forecast(np.full(n, 0.6), EDGES, np.array([count, 9]), np.array([right, 0]), n_draws=200_000)
    law = betabinom(n, right + 0.5, count - right + 0.5)
    assert value == right / count
    assert (low, high) == pytest.approx((law.ppf(0.025) / n, max(law.ppf(0.975) / n, value)), abs=1 / n)


def test_bins_without_a_trial_take_the_share_over_all():
    value, *_ = forecast(np.array([0.6, 0.9, 0.9, 0.9]), EDGES, np.array([20, 0]), np.array([15, 0]))
    assert value == 0.75


def test_more_trials_make_it_narrower_down_to_what_is_not_known_of_the_decoder():
    known = (EDGES, np.array([50, 0]), np.array([35, 0]))
    width = [np.subtract(*forecast(np.full(n, 0.6), *known)[:0:-1]) for n in (10, 100, 10_000)]
    assert width[0] > width[1] > width[2] > 0.2  # 50 trials say the share to about .25


@pytest.mark.parametrize("sureness", [1.0, 2.0])
def test_the_share_that_is_seen_lies_in_the_interval(sureness):
    """The rows of benchmarks/calibration_rows/forecasts.py in small; the chance of trials alone would cover less."""
    inside, sets = 0, 300
    for seed in range(sets):
        rng = np.random.default_rng([seed, 5])
        top = 0.5 + 0.5 * rng.beta(1.5, 1.5, size=140)
        right = (rng.random(140) < 0.5 + (top - 0.5) / sureness).astype(int)
        known, new = slice(0, 100), slice(100, 140)
        found = calibrate(1 - right[known], np.stack([top, 1 - top], axis=1)[known], n_draws=0)
        _, low, high = forecast(top[new], found.edges, found.count, found.right, n_draws=500, seed=seed)
        inside += low - 1e-9 <= right[new].mean() <= high + 1e-9
    assert 0.91 * sets < inside < sets
