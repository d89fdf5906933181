import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from brainbench.evaluation.decoding import classes_of, pair_metric, score_labels
from brainbench.evaluation.labels import kept_null


def predictions(seed=0, right=0.5, n=96):
    rng = np.random.default_rng(seed)
    run = np.repeat(np.arange(4), n // 4)
    y = rng.integers(0, 3, n)
    return y, np.where(rng.random(n) < right, y, rng.integers(0, 3, n)), run


def test_scores_against_sklearn():
    y, p, run = predictions()
    found = score_labels(y, p, run, n_classes=3, n_draws=0)
    assert found.accuracy == pytest.approx(sk.accuracy_score(y, p))
    assert found.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(y, p))
    np.testing.assert_array_equal(found.confusion, sk.confusion_matrix(y, p))
    assert found.per_fold == [(k + 1, pytest.approx(np.mean((y == p)[run == k])), 24) for k in range(4)]
    assert not found.tested and np.isnan([found.ci_low, found.ci_high]).all()


def test_both_accuracies_are_tested_by_their_own_draws():
    y, p, run = predictions(right=0.0, seed=3)
    null = kept_null(y, learned=False, kind="within_run", run=run, n_exchanges=99)
    found = score_labels(y, p, run, n_classes=3, null=null, n_draws=0)
    draws = {"accuracy": [], "balanced_accuracy": []}
    for order in null.exchange.orders:
        draws["accuracy"].append(sk.accuracy_score(y[order], p))
        draws["balanced_accuracy"].append(sk.balanced_accuracy_score(y[order], p))
    for metric, (value, null_95) in found.tested.items():
        better = np.sum(np.array(draws[metric]) >= getattr(found, metric) - 1e-12)
        assert better > 2 and value == (better + 1) / 100
        assert null_95 == pytest.approx(np.quantile(draws[metric], 0.95))


def test_interval_covers_the_true_accuracy():
    hits = 0
    for seed in range(200):
        y, p, run = predictions(seed, right=0.4)
        found = score_labels(y, p, run, n_classes=3, learned=False, n_draws=200, confidence=0.9, seed=seed)
        assert found.ci_low <= found.accuracy <= found.ci_high
        hits += found.ci_low <= 0.6 <= found.ci_high  # .4 + .6 / 3
    assert 0.82 < hits / 200 < 0.97


def test_seed():
    y, p, run = predictions()
    one, same, other = (score_labels(y, p, run, n_classes=3, n_draws=50, seed=s) for s in (1, 1, 2))
    assert (one.ci_low, one.ci_high) == (same.ci_low, same.ci_high) != (other.ci_low, other.ci_high)


@given(*[st.text("ab_%25F", max_size=5)] * 4)
def test_no_two_pairs_of_classes_share_a_metric(a, b, c, d):
    assert (pair_metric(a, b) == pair_metric(c, d)) == ((a, b) == (c, d))
    assert classes_of(pair_metric(a, b)) == (a, b)


def test_metrics_that_are_no_pairs_have_no_classes():
    assert pair_metric("face", "house") == "accuracy_face_house"
    assert [classes_of(name) for name in ("accuracy", "balanced_accuracy", "kappa", "accuracy_a_b_c")] == [None] * 4
