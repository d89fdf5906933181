import numpy as np
import pytest
from scipy import stats

from brainbench.evaluation.scoring import Scoring, score_predictions
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


def null_p(null, seed, n_permutations=99):
    """p of predictions that know nothing of responses which share what the null keeps together."""
    rng = np.random.default_rng([seed, 5])
    fold, run, stimulus = rows(n_folds=2, n_runs=3, n_stimuli=5, repeats=2)
    n, block = len(fold), None
    y, p = rng.standard_normal((2, n, 1))
    if null == "within_run":  # a run's level is in responses and, by chance, in predictions
        y, p = y + 2 * rng.standard_normal(3)[run][:, None], p + 2 * rng.standard_normal(3)[run][:, None]
    elif null == "stimulus":  # repeats are alike
        y, p = (one + 2 * rng.standard_normal(10)[stimulus][:, None] for one in (y, p))
    elif null == "block":  # slow noise; time runs within folds
        fold, n, block = np.repeat([0, 1], 150), 300, 25
        run, stimulus = fold, np.arange(n)
        y, p = (np.stack([_smooth(rng, 300)], axis=1) for _ in range(2))
    how = Scoring(null=null, block_length=block, n_permutations=n_permutations, n_draws=0, seed=seed)
    scored = score_predictions(y, p, fold, how, rois={"all": np.ones(1, bool)}, run=run, stimulus=stimulus)
    return scored.roi_p["pearson_r"][0]


def _smooth(rng, n):
    return np.convolve(rng.standard_normal(n + 7), np.ones(8) / 8, mode="valid")


@pytest.mark.parametrize("null", NULLS)
def test_p_is_uniform_when_predictions_know_nothing(null):
    p = np.array([null_p(null, seed) for seed in range(300)])
    # Spread the steps of 1/100 so that a continuous test applies.
    spread = p - np.random.default_rng(0).random(len(p)) / 100
    assert stats.kstest(spread, "uniform").pvalue > 0.005
    assert np.mean(p <= 0.05) < 0.09


@pytest.mark.parametrize("data", ["within_run", "stimulus"])
def test_exchanging_single_rows_would_be_too_sure(data, monkeypatch):
    """The nulls above are needed: with plain rows the same data give far too many small p."""
    from brainbench.evaluation import scoring

    real = scoring.permutation_indices

    def plain(n, **options):
        return real(n, **{**options, "null": "rows"})

    scoring._shared_indices.cache_clear()
    monkeypatch.setattr(scoring, "permutation_indices", plain)
    try:
        p = np.array([null_p(data, seed) for seed in range(100)])
    finally:
        scoring._shared_indices.cache_clear()
    assert np.mean(p <= 0.05) > 0.1


def test_smallest_p_is_one_over_n_plus_one():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((80, 1))
    design = {"rois": {"all": np.ones(1, bool)}, "run": np.zeros(80), "stimulus": np.arange(80)}
    for n in (9, 99):
        how = Scoring(null="rows", n_permutations=n, n_draws=0)
        assert score_predictions(y, y, np.zeros(80), how, **design).roi_p["pearson_r"][0] == 1 / (n + 1)
        assert score_predictions(y, -y, np.zeros(80), how, **design).roi_p["pearson_r"][0] == 1


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
