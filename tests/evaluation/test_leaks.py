import numpy as np
import pytest

from brainbench.evaluation.trials.certificate import trial_certificate
from brainbench.evaluation.trials.leaks import blocks_of, coin_folds, cut_windows, flip, judge
from brainbench.evaluation.trials.splitters import TrialRows, TrialSplitter


def rows(onset, run, length=3.0):
    n = len(onset)
    return TrialRows(
        subject=np.full(n, "s1"), session=np.full(n, "0"), run=np.array(run), trial=np.arange(n),
        label=np.array(["left", "right"])[np.arange(n) % 2], onset=np.array(onset, float), length=length,
    )  # fmt: skip


TRIALS = rows([5.0 * k for k in range(20)] * 2, ["a"] * 20 + ["b"] * 20)


def test_windows_keep_where_they_came_from():
    windows = cut_windows(TRIALS, n_times=300, sfreq=100, window=1.0, step=0.25)
    assert len(windows.rows) == 40 * 9 and windows.starts == list(range(0, 201, 25)) and windows.n_times == 100
    assert (windows.rows.run == TRIALS.run[windows.trial]).all()
    assert windows.rows.onset[10] == pytest.approx(5.25) and windows.rows.length == 1.0
    with pytest.raises(ValueError, match="does not fit into a trial of 3 s"):
        cut_windows(TRIALS, n_times=300, sfreq=100, window=4.0, step=1.0)


def test_trials_that_overlap_are_one_block():
    assert blocks_of(rows([0, 2, 4, 9, 11, 0], ["a"] * 5 + ["b"])).tolist() == [0, 0, 0, 1, 1, 2]
    assert blocks_of(rows([0, 3, 6], ["a"] * 3)).tolist() == [0, 1, 2]  # they touch
    label = flip(np.array([0, 0, 1, 1, 2]), seed=3)
    assert label[0] == label[1] and label[2] == label[3]


def deal(unit, scheme="k-fold", seed=0):
    windows = cut_windows(TRIALS, n_times=300, sfreq=100, window=1.0, step=0.25)
    block = blocks_of(TRIALS)[windows.trial]
    units = {"block": block, "window": np.arange(len(block))}[unit]
    label, folds = coin_folds(TrialSplitter(scheme), windows.rows, block, units, seed)
    assert all(len(np.unique(label[block == one])) == 1 for one in range(40))
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(len(block)))
    return windows, block, folds


def test_windows_of_a_trial_stay_together_unless_they_are_shuffled():
    windows, block, folds = deal("block")
    assert not any(np.isin(block[test], block[train]).any() for train, test in folds)
    assert trial_certificate(folds, windows.rows).ok
    windows, block, folds = deal("window")
    assert all(np.isin(block[test], block[train]).mean() > 0.9 for train, test in folds)
    assert not trial_certificate(folds, windows.rows).ok  # the certificate sees the same leak
    with pytest.raises(ValueError, match="only one"):
        deal("block", scheme="leave-one-session-out")


def test_the_band_holds_honest_scores_and_no_leaking_ones():
    rng = np.random.default_rng(0)
    alarms = [judge((rng.binomial(45, 0.5, size=5) / 45).tolist(), 45, n_tests=4).leaks for _ in range(400)]
    assert np.mean(alarms) < 0.03
    assert judge([0.9, 0.92, 0.91], 45).leaks
    assert not judge([0.9, 0.5, 0.2], 45).leaks  # high on average is not yet high in every draw
    found = judge([0.5, 0.5], 100)
    assert found.low == pytest.approx(0.5 - 1.96 * 0.5 / np.sqrt(200), abs=1e-3)
