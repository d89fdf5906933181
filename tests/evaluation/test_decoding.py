import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from brainbench.evaluation.decoding import classes_of, pair_metric, score_labels


def predictions(seed=0, right=0.5, n=96):
    rng = np.random.default_rng(seed)
    run = np.repeat(np.arange(4), n // 4)
    y = rng.choice(["cat", "face", "house"], n)
    p = np.where(rng.random(n) < right, y, rng.choice(["cat", "face", "house"], n))
    return y, p, run


def test_scores_against_sklearn():
    y, p, run = predictions()
    found = score_labels(y, p, run, run=run, n_permutations=0, n_draws=0)
    assert found.accuracy == pytest.approx(sk.accuracy_score(y, p))
    assert found.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(y, p))
    np.testing.assert_array_equal(found.confusion, sk.confusion_matrix(y, p))
    assert found.labels == ["cat", "face", "house"]
    assert found.per_fold == [(k + 1, pytest.approx(np.mean((y == p)[run == k])), 24) for k in range(4)]
    assert np.isnan([found.p, found.null_95, found.ci_low, found.ci_high]).all()


def test_labels_are_permuted_within_runs():
    # Labels that are constant within every run cannot be told from their permutations.
    run = np.repeat(np.arange(4), 6)
    y = np.where(run < 2, "a", "b")
    found = score_labels(y, y, run, run=run, n_permutations=50, n_draws=0)
    assert found.accuracy == 1 and found.p == 1 and found.null_95 == 1
    y, _, run = predictions()
    assert score_labels(y, y, run, run=run, n_permutations=99, n_draws=0).p == 0.01


def test_p_is_uniform_when_predictions_know_nothing():
    p = [score_labels(*(d := predictions(seed, right=0))[:2], d[2], run=d[2], n_permutations=99, n_draws=0, seed=seed).p
         for seed in range(250)]  # fmt: skip
    assert np.mean(np.array(p) <= 0.05) < 0.09
    assert np.mean(p) == pytest.approx(0.53, abs=0.05)  # ties of a discrete accuracy lie above .5


def test_p_is_fair_when_folds_divide_a_run():
    """A decoder that answers with the rarest label of its training rows is right too often or too seldom.

    Labels must change places within test folds alone: across folds, what training saw would be exchanged too.
    """
    p = []
    for seed in range(250):
        rng = np.random.default_rng([seed, 3])
        y, run = rng.permutation(np.repeat(["a", "b"], 20)), np.zeros(40)
        fold = np.arange(40) // 10
        predicted = np.empty_like(y)
        for k in range(4):
            names, counts = np.unique(y[fold != k], return_counts=True)
            predicted[fold == k] = names[counts.argmin()]
        p.append(score_labels(y, predicted, fold, run=run, n_permutations=99, n_draws=0, seed=seed).p)
    assert np.mean(np.array(p) <= 0.05) < 0.09


def test_interval_covers_the_true_accuracy():
    hits = 0
    for seed in range(200):
        y, p, run = predictions(seed, right=0.4)
        found = score_labels(y, p, run, run=run, n_permutations=0, n_draws=200, confidence=0.9, seed=seed)
        assert found.ci_low <= found.accuracy <= found.ci_high
        hits += found.ci_low <= 0.6 <= found.ci_high  # .4 + .6 / 3
    assert 0.82 < hits / 200 < 0.97


def test_seed():
    y, p, run = predictions()
    one, same, other = (score_labels(y, p, run, run=run, n_permutations=99, n_draws=50, seed=s) for s in (1, 1, 2))
    assert (one.p, one.ci_low, one.ci_high) == (same.p, same.ci_low, same.ci_high)
    assert (one.ci_low, one.ci_high, one.p) != (other.ci_low, other.ci_high, other.p)
    assert stats.binomtest(int(one.accuracy * one.n_rows), one.n_rows, 1 / 3).pvalue < 0.01 and one.p == 0.01


@given(*[st.text("ab_%25F", max_size=5)] * 4)
def test_no_two_pairs_of_classes_share_a_metric(a, b, c, d):
    assert (pair_metric(a, b) == pair_metric(c, d)) == ((a, b) == (c, d))
    assert classes_of(pair_metric(a, b)) == (a, b)


def test_metrics_that_are_no_pairs_have_no_classes():
    assert pair_metric("face", "house") == "accuracy_face_house"
    assert [classes_of(name) for name in ("accuracy", "balanced_accuracy", "kappa", "accuracy_a_b_c")] == [None] * 4
