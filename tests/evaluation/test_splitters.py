import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

from brainbench.evaluation.splitters import inner_groups, make_splitter


def design(n_stimuli=12, n_runs=4, repeats=2, seed=0):
    """Every stimulus in several runs, at random places."""
    rng = np.random.default_rng(seed)
    stimulus = np.concatenate([np.repeat(np.arange(n_stimuli), repeats) for _ in range(n_runs)])
    run = np.repeat([f"r{i}" for i in range(n_runs)], n_stimuli * repeats)
    order = rng.permutation(len(run))
    return stimulus[order], run[order]


def shared(values, train, test):
    return set(values[train]) & set(values[test])


@pytest.mark.parametrize("scheme", ["auto", "k-fold", "leave-one-out"])
@pytest.mark.parametrize("hold_out", [["stimulus"], ["run"], ["stimulus", "run"], ["run", "stimulus"]])
def test_what_is_held_out_is_never_trained_on_and_every_row_is_tested_once(hold_out, scheme):
    stimulus, run = design()
    splitter = make_splitter(hold_out, scheme=scheme, n_splits=3)
    folds = list(splitter.split(stimulus=stimulus, run=run))
    for train, test in folds:
        assert not set(train) & set(test)
        for what, values in (("stimulus", stimulus), ("run", run)):
            if what in hold_out:
                assert not shared(values, train, test)
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested) == list(range(len(run)))
    assert splitter.get_n_splits(stimulus=stimulus, run=run) == len(folds)


def test_number_of_folds_of_each_scheme():
    stimulus, run = design()

    def count(hold_out, **options):
        return make_splitter(hold_out, **options).get_n_splits(stimulus=stimulus, run=run)

    assert count(["stimulus"]) == 5
    assert count(["run"]) == 4
    assert count(["run"], scheme="k-fold", n_splits=2) == 2
    assert count(["stimulus"], scheme="leave-one-out") == 12
    assert count(["stimulus", "run"], n_splits=3) == 4 * 3


def test_a_cell_is_an_intersection_and_training_drops_every_row_that_shares_either():
    stimulus, run = design()
    folds = list(make_splitter(["stimulus", "run"], n_splits=3).split(stimulus=stimulus, run=run))
    for train, test in folds:
        held_run, held_stimuli = np.unique(run[test]), np.unique(stimulus[test])
        assert len(held_run) == 1
        both = (run == held_run[0]) & np.isin(stimulus, held_stimuli)
        neither = (run != held_run[0]) & ~np.isin(stimulus, held_stimuli)
        np.testing.assert_array_equal(test, np.flatnonzero(both))
        np.testing.assert_array_equal(train, np.flatnonzero(neither))
        assert len(train) + len(test) < len(run)


def test_without_held_out_runs_training_keeps_all_other_stimuli():
    stimulus, run = design()
    for train, test in make_splitter(["stimulus"]).split(stimulus=stimulus, run=run):
        assert len(train) + len(test) == len(run)
        assert shared(run, train, test)


def test_cells_that_no_row_falls_into_are_skipped():
    # Stimuli 0-3 were shown in run a only, 4-7 in run b only.
    stimulus, run = np.arange(8), np.repeat(["a", "b"], 4)
    folds = list(make_splitter(["stimulus", "run"], scheme="leave-one-out").split(stimulus=stimulus, run=run))
    assert len(folds) == 8
    for train, test in folds:
        assert len(train) == 4 and len(test) == 1


def test_the_seed_deals_stimuli_and_nothing_else_is_random():
    stimulus, run = design()

    def dealt(seed):
        return [tuple(test) for _, test in make_splitter(["stimulus"], seed=seed).split(stimulus=stimulus, run=run)]

    assert dealt(1) == dealt(1)
    assert dealt(1) != dealt(2)
    runs = [[tuple(t) for _, t in make_splitter(["run"], seed=s).split(stimulus=stimulus, run=run)] for s in (1, 2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("trim", [0, 3])
def test_contiguous_blocks_and_their_trimming(trim):
    n = 50
    stimulus, run = np.arange(n), np.full(n, "one")
    folds = list(
        make_splitter(["stimulus"], scheme="contiguous", n_splits=5, trim=trim).split(stimulus=stimulus, run=run)
    )
    assert [list(test) for _, test in folds] == [list(range(k, k + 10)) for k in range(0, n, 10)]
    for train, test in folds:
        expected = [i for i in range(n) if i < test[0] - trim or i > test[-1] + trim]
        assert list(train) == expected
        assert min(abs(int(a) - int(b)) for a in train for b in test) == trim + 1


def test_trimming_stops_at_the_border_of_a_run():
    # Blocks of 10 rows are whole runs: a row of the next run is no neighbour in time.
    run = np.repeat(["a", "b", "c"], 10)
    for train, test in make_splitter(["stimulus"], scheme="contiguous", n_splits=3, trim=4).split(
        stimulus=np.arange(30), run=run
    ):
        assert len(train) == 20 and not shared(run, train, test)


def test_contiguous_with_held_out_runs_drops_the_runs_that_a_block_touches():
    run = np.repeat(["a", "b", "c", "d"], 6)
    folds = list(make_splitter(["run"], scheme="contiguous", n_splits=3).split(stimulus=np.arange(24), run=run))
    for train, test in folds:
        assert not shared(run, train, test)
    assert [len(train) for train, _ in folds] == [12, 12, 12]


def test_predefined():
    label = np.array(["test", "train", "test", "val"])
    splitter = make_splitter(["stimulus"], scheme="predefined", predefined=label)
    folds = [(list(a), list(b)) for a, b in splitter.split(stimulus=np.arange(4), run=np.zeros(4))]
    assert folds == [([1, 3], [0, 2]), ([0, 1, 2], [3])]  # `train` is never tested


def test_scikit_learn_takes_it_as_cv():
    stimulus, run = design()
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((len(run), 3)), rng.standard_normal(len(run))
    by_hand = [
        Ridge().fit(X[train], y[train]).score(X[test], y[test])
        for train, test in make_splitter(["run"]).split(X, y, stimulus=stimulus, run=run)
    ]
    listed = list(make_splitter(["run"]).split(X, y, stimulus=stimulus, run=run))
    np.testing.assert_allclose(cross_val_score(Ridge(), X, y, cv=listed), by_hand)
    # The usual way: the splitter itself as `cv`, with what is held out as `groups`.
    np.testing.assert_allclose(cross_val_score(Ridge(), X, y, cv=make_splitter(["run"]), groups=run), by_hand)
    with pytest.raises(ValueError, match="stimulus and run"):
        next(make_splitter(["stimulus", "run"]).split(X, y, run))


@pytest.mark.parametrize(
    ("hold_out", "options", "message"),
    [
        ([], {}, "must name"),
        (["session"], {}, "session"),
        (["run", "subject"], {}, "subject"),
    ],
)
def test_unknown_hold_out(hold_out, options, message):
    with pytest.raises(ValueError, match=message):
        make_splitter(hold_out, **options)


@pytest.mark.parametrize(
    ("hold_out", "options", "message"),
    [
        (["run"], {}, "runs cannot be held out: there is only one"),
        (["stimulus", "run"], {}, "runs cannot be held out: there is only one"),
        (["stimulus"], {"n_splits": 9}, "9 folds are too many for 6 stimuli"),
        (["stimulus"], {"scheme": "contiguous", "n_splits": 4}, "4 contiguous blocks are too many for 6 rows"),
        (["stimulus"], {"scheme": "contiguous", "n_splits": 3, "trim": 5}, "trimming 5 rows"),
        (["stimulus"], {"scheme": "predefined"}, "one fold label per row"),
        (["stimulus"], {"scheme": "predefined", "predefined": np.array(["x"] * 6)}, "one fold only: 'x'"),
        (["stimulus"], {"scheme": "predefined", "predefined": np.array(["x"] * 5)}, "one fold label per row"),
    ],
)
def test_rows_that_cannot_be_dealt(hold_out, options, message):
    with pytest.raises(ValueError, match=message):
        list(make_splitter(hold_out, **options).split(stimulus=np.arange(6), run=np.zeros(6)))


def test_a_cell_without_training_rows_is_refused_with_counts():
    stimulus, run = np.array([0, 0, 1, 1]), np.array(["a", "b", "a", "b"])
    with pytest.raises(ValueError, match="run 'a' and 1 stimuli leaves 1 rows"):
        list(make_splitter(["stimulus", "run"], n_splits=2).split(stimulus=stimulus, run=run))


def test_one_stimulus_cannot_be_held_out():
    with pytest.raises(ValueError, match="stimuli cannot be held out"):
        list(make_splitter(["stimulus"]).split(stimulus=np.zeros(6), run=np.arange(6)))


def test_inner_groups_follow_what_is_held_out():
    stimulus, run = np.array([5, 7, 5, 7]), np.array(["x", "x", "y", "y"])
    np.testing.assert_array_equal(inner_groups(["stimulus"], stimulus=stimulus, run=run), [0, 1, 0, 1])
    np.testing.assert_array_equal(inner_groups(["run"], stimulus=stimulus, run=run), [0, 0, 1, 1])
    np.testing.assert_array_equal(inner_groups(["stimulus", "run"], stimulus=stimulus, run=run), [0, 0, 1, 1])
    one = np.full(4, "x")
    np.testing.assert_array_equal(inner_groups(["stimulus", "run"], stimulus=stimulus, run=one), [0, 1, 0, 1])


def test_folds_of_the_paper_are_scikit_learns_over_rows_in_their_order():
    from sklearn.model_selection import KFold

    stimulus = np.random.default_rng(0).integers(0, 9, 43)
    ours = list(make_splitter(["stimulus"], scheme="paper", n_splits=10).split(stimulus=stimulus))
    for (train, test), (a, b) in zip(ours, KFold(10).split(stimulus), strict=True):
        assert np.array_equal(train, a) and np.array_equal(test, b)
