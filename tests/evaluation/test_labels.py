"""Nulls of decoded labels: what changes places, when predictions may stay, and that refitting is needed."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifierCV

from brainbench.decoders.exchanged import predict_exchanged
from brainbench.evaluation.calibration import Rate
from brainbench.evaluation.labels import (
    LabelNull,
    confusions,
    exchange_labels,
    kept_null,
    learned_from,
    of_confusion,
    resampled_interval,
    widened,
)


def test_labels_stay_within_runs_and_folds():
    run, fold = np.repeat(np.arange(3), 8), np.tile(np.arange(4), 6)
    y = np.random.default_rng(0).integers(0, 2, 24)
    exchange = exchange_labels(y, kind="within_run", run=run, within=fold, n_exchanges=30)
    for order in exchange.orders:
        assert (run[order] == run).all() and (fold[order] == fold).all()
    assert exchange.text.startswith("rows within runs and folds")
    # A fold that is a run divides nothing.
    assert exchange_labels(y, kind="within_run", run=run, within=run, n_exchanges=9).text == "rows within runs"
    assert len({tuple(exchange_labels(y, kind="rows", within=fold, n_exchanges=9).orders.ravel() % 4)}) == 1


def test_labels_of_whole_stimuli_change_places_together():
    stimulus = np.repeat(np.arange(12), 3)
    y = (stimulus > 5).astype(int)
    for order in exchange_labels(y, kind="stimulus", stimulus=stimulus, n_exchanges=20).orders:
        assert all(len(set(y[order][stimulus == one])) == 1 for one in range(12))


def test_orders_that_leave_all_labels_alone_do_not_count():
    y, run = np.array([0, 1, 0, 1, 0, 0]), np.array([0, 0, 1, 1, 2, 2])
    exchange = exchange_labels(y, kind="within_run", run=run, n_exchanges=199)
    assert exchange.n_distinct == 3  # two runs of two labels, without the order as it was
    with pytest.raises(ValueError, match=r"labels are the same in every order .*: every run has one label"):
        exchange_labels(np.array([0, 0, 1, 1]), kind="within_run", run=np.array([0, 0, 1, 1]))


def test_who_learned_from_whom():
    halves = [(np.array([0, 1]), np.array([2, 3])), (np.array([2, 3]), np.array([0, 1]))]
    assert learned_from(halves) and not learned_from(halves[:1])


def test_confusions_of_many_orders():
    rng = np.random.default_rng(1)
    y, predicted = rng.integers(0, 3, (5, 40)), rng.integers(0, 3, (1, 40))
    tables = confusions(y, predicted, 3)
    assert tables.shape == (5, 3, 3) and (tables.sum(axis=(1, 2)) == 40).all()
    np.testing.assert_allclose(of_confusion("accuracy", tables), (y == predicted).mean(axis=1))
    assert tables[2, 1, 0] == np.sum((y[2] == 1) & (predicted[0] == 0))


def test_a_score_that_no_order_has_counts_against_the_claim():
    null = kept_null(np.arange(40) % 2, learned=False, kind="rows", n_exchanges=99)
    draws = np.linspace(0, 1, 99)
    assert null.test(2.0, np.where(np.arange(99) < 5, np.nan, draws))[0] == pytest.approx(6 / 100)
    wide = LabelNull(null.exchange, null.labels, None, learned=True)
    assert wide.test(0.9, draws)[1] == pytest.approx(np.quantile(widened(draws), 0.95))
    assert "widened" in wide.text and "predictions fixed" in null.text and "widened" not in null.text


def rates(n_sets=400, n_exchanges=39):
    """Return how often a true null is rejected at .05, fitted again and with predictions kept; ties are broken."""
    rng = np.random.default_rng(2)
    run, many, rejected = np.repeat(np.arange(6), 10), 100, np.zeros(2, dtype=int)
    for _ in range(n_sets // many):
        X = rng.normal(size=(60, 20))
        orders = []
        for _ in range(many):
            y = np.concatenate([rng.permutation(np.arange(10) % 2) for _ in range(6)])
            seed = int(rng.integers(1 << 30))
            exchange = exchange_labels(y, kind="within_run", run=run, n_exchanges=n_exchanges, seed=seed)
            orders += [y, *y[exchange.orders]]
        labels = np.stack(orders)
        predicted = np.empty_like(labels)
        for one in range(6):
            new, train = RidgeClassifierCV(alphas=[10.0, 100.0]), run != one
            predicted[:, ~train] = predict_exchanged(new, X[train], labels[:, train], X[~train])
        labels, predicted = (part.reshape(many, n_exchanges + 1, 60) for part in (labels, predicted))
        for index, kept in enumerate((predicted, np.broadcast_to(predicted[:, :1], predicted.shape))):
            right = np.sum(labels == kept, axis=2)
            above, equal = (right[:, 1:] > right[:, :1]).sum(axis=1), (right[:, 1:] == right[:, :1]).sum(axis=1)
            p = (above + rng.random(many) * (equal + 1)) / (n_exchanges + 1)
            rejected[index] += np.sum(p <= 0.05)
    return [Rate.of(int(hits), n_sets) for hits in rejected]


def test_the_null_holds_its_level_and_keeping_predictions_does_not():
    """The second half shows that the first can fail: data, folds and counting are the same."""
    again, kept = rates()
    assert again.high > 0.035 and again.low < 0.065, again
    assert kept.low > 0.065, kept


def test_intervals_of_rows_that_trained_one_another_are_wider_and_stay_in_bounds():
    draws = np.random.default_rng(0).normal(0.7, 0.05, size=4000)
    low, high = resampled_interval(0.7, draws, learned=False, confidence=0.95)
    assert (low, high) == (pytest.approx(0.7 - 0.098, abs=5e-3), pytest.approx(0.7 + 0.098, abs=5e-3))
    wide = resampled_interval(0.7, draws, learned=True, confidence=0.95)
    assert wide == (pytest.approx(0.7 - 0.1386, abs=7e-3), pytest.approx(0.7 + 0.1386, abs=7e-3))
    assert resampled_interval(0.95, draws + 0.25, learned=True, confidence=0.95)[1] == 1.0
    assert np.isnan(resampled_interval(1.0, np.ones(50), learned=True, confidence=0.95)).all()
    assert np.isnan(resampled_interval(0.5, np.array([]), learned=True, confidence=0.95)).all()
