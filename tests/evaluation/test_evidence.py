import numpy as np
import pytest

from brainbench.evaluation.trials.evidence import accuracy_over_time, decide, gather


def test_log_probabilities_add_up_and_overlap_counts_once():
    probability = np.array([[0.6, 0.4], [0.7, 0.3], [0.2, 0.8], [0.9, 0.1]])
    trial = np.array([0, 0, -1, 1])
    whole = gather(probability, trial, new_share=1.0)
    assert whole[1, 0] == pytest.approx(0.6 * 0.7 / (0.6 * 0.7 + 0.4 * 0.3))
    assert np.isnan(whole[2]).all() and whole[3].tolist() == pytest.approx([0.9, 0.1])
    half = gather(probability, trial, new_share=0.5)
    odds = 0.6 / 0.4 * (0.7 / 0.3) ** 0.5
    assert half[1, 0] == pytest.approx(odds / (1 + odds))
    # The same samples seen again and again (no new share) say nothing further.
    again = gather(np.tile([[0.7, 0.3]], (20, 1)), np.zeros(20, int), new_share=1e-9)
    assert again[:, 0] == pytest.approx(0.7)


def test_a_trial_is_decided_when_its_evidence_suffices_else_with_its_last_window():
    gathered = np.array([[0.6, 0.4], [0.95, 0.05], [0.99, 0.01], [0.4, 0.6], [0.3, 0.7]])
    found = decide(gathered, np.array([4, 4, 4, 7, 7]), np.array([1.0, 1.5, 2.0, 1.0, 1.5]), threshold=0.9)
    assert found.trial.tolist() == [4, 7] and found.seconds.tolist() == [1.5, 1.5]
    assert found.predicted.tolist() == [0, 1] and found.reached.tolist() == [True, False]


def test_accuracy_over_time_counts_every_decision_once():
    right = np.array([True, False, True, True])
    rows = accuracy_over_time(right, np.array([0.5, 0.25, 1.0, 2.5]), 0.5)
    assert rows == [(0.0, 0.5, 0.5, 2), (0.5, 1.0, 1.0, 1), (2.0, 2.5, 1.0, 1)]
