"""Calibration: a closed example, and the error that few trials alone give."""

import numpy as np

from brainbench.evaluation.trials.calibration import calibrate


def test_by_hand():
    # Two trials at .9 (one right), two at .6 (both right): (|1.8 - 1| + |1.2 - 2|) / 4.
    probability = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]])
    found = calibrate(np.array([0, 0, 0, 1]), probability, n_draws=0)
    assert np.isclose(found.ece, 0.4) and np.isnan(found.p)
    assert found.count.sum() == 4 and found.right.sum() == 3 and np.isclose(found.confidence.sum(), 3.0)


def test_perfect_calibration_is_not_rejected_and_overconfidence_is():
    rng = np.random.default_rng(0)
    p_values, ratio = [], []
    for seed in range(60):
        top = rng.uniform(0.5, 1, 40)
        y = (rng.random(40) >= top).astype(int)
        found = calibrate(y, np.column_stack([top, 1 - top]), n_draws=200, seed=seed)
        p_values.append(found.p)
        ratio.append(found.ece / found.expected)
    assert 0.3 < np.mean(p_values) < 0.7 and np.mean(np.array(p_values) < 0.1) < 0.25
    assert 0.85 < np.mean(ratio) < 1.15
    sure = np.column_stack([np.full(40, 0.99), np.full(40, 0.01)])
    assert calibrate(rng.integers(0, 2, 40), sure, n_draws=200).p < 0.01


def test_more_than_two_classes_start_at_their_chance():
    found = calibrate(np.array([0, 1, 2, 3]), np.full((4, 4), 0.25))
    assert found.edges[0] == 0.25 and found.count[0] == 4 and np.isclose(found.ece, 0)
