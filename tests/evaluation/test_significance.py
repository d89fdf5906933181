import numpy as np
import pytest
from scipy import stats

from brainbench.evaluation.significance import NULLS, fdr, permutation_indices


def rows(n_folds=3, n_runs=2, n_stimuli=4, repeats=2):
    """Folds x runs x stimuli x repeats, shuffled."""
    shape = (n_folds, n_runs, n_stimuli, repeats)
    fold, run, stimulus, _ = (part.ravel() for part in np.indices(shape))
    order = np.random.default_rng(0).permutation(fold.size)
    return fold[order], run[order], (fold * n_stimuli + stimulus)[order]


def orders_of(null, **options):
    fold, run, stimulus = rows()
    return permutation_indices(
        len(fold), null=null, fold=fold, run=run, stimulus=stimulus, block_length=3, n_permutations=50, **options
    )


@pytest.mark.parametrize("null", NULLS)
def test_every_order_is_a_permutation_that_stays_within_folds(null):
    fold, run, _ = rows()
    orders = orders_of(null)
    assert orders.shape == (50, len(fold))
    for order in orders:
        assert sorted(order) == list(range(len(fold)))
        np.testing.assert_array_equal(fold[order], fold)
    if null == "within_run":
        assert (run[orders] == run).all()
    else:
        assert (run[orders] != run).any()
    assert len({tuple(order) for order in orders}) == 50


@pytest.mark.parametrize("null", NULLS)
def test_orders_follow_the_seed(null):
    np.testing.assert_array_equal(orders_of(null, seed=3), orders_of(null, seed=3))
    assert (orders_of(null, seed=3) != orders_of(null, seed=4)).any()


def test_rows_of_a_stimulus_travel_together():
    _, _, stimulus = rows()
    moved = 0
    for order in orders_of("stimulus"):
        for name in np.unique(stimulus):
            came = np.unique(stimulus[order[stimulus == name]])
            assert len(came) == 1
            moved += came[0] != name
    assert moved > 100


def test_stimuli_are_exchanged_with_those_of_as_many_rows():
    stimulus = np.array([0, 1, 1, 2, 2, 3, 3, 3, 4])
    orders = permutation_indices(9, null="stimulus", stimulus=stimulus, n_permutations=40)
    counts = np.bincount(stimulus)[stimulus]
    assert (counts[orders] == counts).all()
    assert (orders[:, 5:8] == [5, 6, 7]).all()  # no other stimulus has three rows
    assert (stimulus[orders] != stimulus).any()


def test_blocks_keep_neighbours_together():
    n, length = 60, 10
    orders = permutation_indices(n, null="block", block_length=length, n_permutations=20)
    # Turned and cut into six blocks: neighbours part at the five joints of blocks and nowhere else.
    joints = np.sum(np.diff(orders) % n != 1, axis=1)
    assert joints.max() == n // length - 1
    assert joints.mean() > 3
    first = permutation_indices(n, null="block", block_length=length, n_permutations=200)[:, 0]
    assert len(np.unique(first % length)) == length  # a random offset, not the same borders each time


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"null": "block"}, "block_length"),
        ({"null": "block", "block_length": 0}, "block_length"),
        ({"null": "within_run"}, "run of each row"),
        ({"null": "stimulus"}, "stimulus of each row"),
        ({"null": "sign_flip"}, "must be one of block, within_run, stimulus, rows"),
    ],
)
def test_what_a_null_needs(options, message):
    with pytest.raises(ValueError, match=message):
        permutation_indices(10, **options)


def test_fdr_against_scipy_with_unknown_values_left_out():
    p = np.random.default_rng(0).random((4, 5)) ** 3
    np.testing.assert_allclose(fdr(p.ravel()), stats.false_discovery_control(p.ravel()))
    with_nan = np.insert(p.ravel(), [2, 9], np.nan)
    q = fdr(with_nan)
    assert np.isnan(q[np.isnan(with_nan)]).all()
    np.testing.assert_allclose(q[~np.isnan(with_nan)], stats.false_discovery_control(p.ravel()))
    np.testing.assert_allclose(fdr([0.01, 0.04, 0.03]), [0.03, 0.04, 0.04])
    assert np.isnan(fdr([np.nan])).all()
    np.testing.assert_allclose(fdr(p).ravel(), stats.false_discovery_control(p.ravel()))
