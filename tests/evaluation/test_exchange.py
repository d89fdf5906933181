"""Exchanges keep what the design keeps."""

import numpy as np
import pytest
from scipy.signal import lfilter

from brainbench.evaluation.exchange import autocorrelation, make_exchange, time_exchange


def orders_of(n_rows, **settings):
    exchange = make_exchange(n_rows, n_exchanges=50, **settings)
    for order in exchange.orders:
        assert sorted(order) == list(range(n_rows))
    return exchange.orders


def test_the_showings_of_a_stimulus_move_together():
    stimulus = np.array([3, 1, 3, 0, 2, 1, 0, 2, 4, 4, 4])
    for order in orders_of(11, kind="stimulus", stimulus=stimulus):
        moved = stimulus[order]
        for name in range(5):
            assert len(set(moved[stimulus == name])) == 1  # a place holds one stimulus
        assert set(moved[stimulus == 4]) == {4}  # nothing else was shown three times


def test_stimuli_keep_their_runs_where_enough_orders_are_left():
    stimulus, run = np.arange(24), np.arange(24) // 8
    for order in orders_of(24, kind="stimulus", stimulus=stimulus, run=run):
        assert (run[order] == run).all()
    few = orders_of(6, kind="stimulus", stimulus=np.arange(6), run=np.arange(6) // 2)
    assert any((np.arange(6)[order] // 2 != np.arange(6) // 2).any() for order in few)


def test_a_stimulus_of_several_runs_is_exchanged_once_for_all():
    stimulus, run = np.tile(np.arange(8), 3), np.repeat(np.arange(3), 8)
    for order in orders_of(24, kind="stimulus", stimulus=stimulus, run=run):
        moved = stimulus[order].reshape(3, 8)
        assert (moved == moved[0]).all() and (run[order] == run).all()


def test_rows_stay_within_runs():
    run = np.repeat(["b", "a", "c"], [4, 7, 5])
    for order in orders_of(16, kind="within_run", run=run):
        assert (run[order] == run).all()


def test_participants_with_the_same_stimuli_are_exchanged_together():
    rng = np.random.default_rng(0)
    stimulus = np.repeat(np.arange(12), 2)
    shown = rng.permutation(24)
    one = make_exchange(24, kind="stimulus", stimulus=stimulus, seed=4)
    other = make_exchange(24, kind="stimulus", stimulus=stimulus[shown], seed=4)
    assert one.key == other.key
    place = np.zeros(12, dtype=int)
    for a, b in zip(one.orders, other.orders, strict=True):
        place[stimulus] = stimulus[a]
        np.testing.assert_array_equal(stimulus[shown][b], place[stimulus[shown]])
    assert make_exchange(24, kind="stimulus", stimulus=stimulus + 1, seed=4).key == one.key
    assert make_exchange(24, kind="stimulus", stimulus=np.arange(24), seed=4).key != one.key


def test_every_turn_of_a_short_run_is_taken_once():
    exchange = make_exchange(40, kind="shift", run=np.zeros(40), n_exchanges=199)
    assert len(exchange) == exchange.n_distinct == 39
    assert len({tuple(order) for order in exchange.orders}) == 39
    assert "39 distinct" in exchange.text


def test_neighbours_stay_neighbours_in_turns_and_blocks():
    run = np.repeat([0, 1], [30, 50])
    for order in orders_of(80, kind="shift", run=run):
        for name in (0, 1):
            rows = np.flatnonzero(run == name)
            steps = np.diff(order[rows])
            assert (run[order[rows]] == name).all() and np.sum(steps != 1) <= 1
    for order in orders_of(80, kind="block", run=run, block_length=10):
        assert np.sum(np.diff(order) != 1) <= 3 + 5 + 2  # ends of blocks, and of each turned run


def test_the_length_of_blocks_follows_the_autocorrelation():
    rng = np.random.default_rng(1)

    def ar(share, n=4000):
        return lfilter([1], [1, -share], rng.normal(size=(n, 5)), axis=0)

    run = np.zeros(4000)
    np.testing.assert_allclose(autocorrelation(ar(0.8), [np.arange(4000)], 5), 0.8 ** np.arange(5), atol=0.05)
    assert time_exchange(rng.normal(size=(4000, 5)), run) == ("block", 1)  # white responses: rows
    slow, fast = time_exchange(ar(0.8), run), time_exchange(ar(0.3), run)
    assert slow[0] == fast[0] == "block" and slow[1] > 4 * fast[1]
    assert time_exchange(ar(0.8)[:300], run[:300])[0] == "shift"
    assert time_exchange(ar(0.8)[:300], run[:300], block_length=10) == ("block", 10)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "blocks"}, "null must be one of"),
        ({"kind": "block"}, "block_length"),
        ({"kind": "stimulus"}, "needs the stimulus"),
        ({"kind": "within_run", "run": np.arange(6)}, "nothing can be exchanged"),
    ],
)
def test_what_cannot_be_exchanged_is_said(settings, words):
    with pytest.raises(ValueError, match=words):
        make_exchange(6, **settings)


def test_orders_are_drawn_once_for_all_who_ask():
    first, again = (make_exchange(30, kind="rows", seed=3) for _ in range(2))
    assert first is again and make_exchange(30, kind="rows", seed=4) is not first
    with pytest.raises(ValueError, match="read-only"):
        first.orders[0, 0] = 1
