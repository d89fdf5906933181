import json

import numpy as np
import pytest

from brainbench.evaluation.certificate import leak_certificate
from brainbench.evaluation.splitters import make_splitter


def clean(n_stimuli=6, n_runs=3):
    """Every stimulus once in every run, no content twice."""
    stimulus = np.tile(np.arange(n_stimuli), n_runs)
    run = np.repeat([f"r{i}" for i in range(n_runs)], n_stimuli)
    content = np.array([f"digest {s}" for s in stimulus])
    return stimulus, run, content


def folds(hold_out, stimulus, run, **options):
    return list(make_splitter(hold_out, n_splits=3, **options).split(stimulus=stimulus, run=run))


def text(certificate):
    return " ".join(certificate.findings)


def test_a_clean_split_is_said_to_be_clean():
    stimulus, run, content = clean()
    found = leak_certificate(
        folds(["stimulus", "run"], stimulus, run), stimulus=stimulus, run=run, content_digest=content
    )
    assert found.ok
    assert found.counts == {"rows": 0, "stimuli": 0, "runs": 0, "content": 0, "neighbours": 0}
    assert "no stimulus stands in training and test" in text(found)
    assert "no run stands in training and test" in text(found)
    assert "LEAK" not in text(found)
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_shared_rows():
    rows = np.arange(6)
    found = leak_certificate([(rows, rows[:1]), (rows[:3], rows[3:])], stimulus=rows, run=np.zeros(6))
    assert not found.ok and found.counts["rows"] == 1
    assert "same rows stand in training and test in 1 of 2 folds" in text(found)


def test_shared_stimuli_are_counted():
    stimulus, run, _ = clean()
    found = leak_certificate(folds(["run"], stimulus, run), stimulus=stimulus, run=run)
    assert found.counts["stimuli"] == 3 and found.counts["runs"] == 0
    assert "stimuli are shared by training and test in 3 of 3 folds" in text(found)


def test_one_shared_stimulus_in_one_fold_is_enough():
    stimulus = np.array([0, 1, 2, 3, 0])
    splits = [(np.array([1, 2]), np.array([3])), (np.array([0, 1]), np.array([2, 4]))]
    found = leak_certificate(splits, stimulus=stimulus, run=np.zeros(5))
    assert found.counts["stimuli"] == 1


def test_shared_runs_are_counted():
    stimulus, run, _ = clean()
    found = leak_certificate(folds(["stimulus"], stimulus, run), stimulus=stimulus, run=run)
    assert found.counts["runs"] == 3 and found.counts["stimuli"] == 0
    assert "runs are shared by training and test in 3 of 3 folds" in text(found)


def test_equal_content_under_two_ids():
    stimulus, run, content = clean()
    splits = folds(["stimulus"], stimulus, run)
    first = splits[0][1]
    a, b = stimulus[first[0]], np.setdiff1d(stimulus, stimulus[first])[0]
    content[stimulus == b] = f"digest {a}"
    found = leak_certificate(splits, stimulus=stimulus, run=run, content_digest=content)
    assert not found.ok
    assert found.counts["content"] == 2  # the fold that tests a, and the fold that tests b
    assert "equal content under different stimulus ids is shared in 2 of 3 folds" in text(found)


def test_equal_content_within_one_side_is_no_leak():
    stimulus, run, content = clean()
    splits = folds(["stimulus"], stimulus, run)
    together = np.unique(stimulus[splits[0][1]])
    content[np.isin(stimulus, together)] = "one photograph"
    assert leak_certificate(splits, stimulus=stimulus, run=run, content_digest=content).ok


def time_splits(trim):
    n = 60
    splits = folds(["stimulus"], np.arange(n), np.zeros(n), scheme="contiguous", trim=trim)
    return splits, np.arange(n) * 2.0


@pytest.mark.parametrize(("trim", "leaks"), [(0, True), (3, True), (4, False), (9, False)])
def test_neighbours_in_time(trim, leaks):
    # With t_r = 2 s, trimming k rows leaves (k + 1) * 2 s between training and test: 10 s need k = 4.
    splits, time = time_splits(trim)
    found = leak_certificate(splits, stimulus=np.arange(60), run=np.zeros(60), row_time=time, min_gap=10.0)
    assert found.ok is not leaks
    assert found.counts["neighbours"] == (3 if leaks else 0)
    assert ("LEAK: training rows lie within 10 s" in text(found)) is leaks
    assert (f"at least {2 * (trim + 1)} s lie between" in text(found)) is not leaks  # what lies there, not what must


def test_rows_of_another_run_are_no_neighbours():
    time = np.tile(np.arange(5) * 2.0, 2)
    run = np.repeat(["a", "b"], 5)
    splits = [(np.arange(5), np.arange(5, 10))]
    assert leak_certificate(splits, stimulus=np.arange(10), run=run, row_time=time).ok
    assert not leak_certificate(splits, stimulus=np.arange(10), run=np.zeros(10), row_time=time).ok


def test_neighbours_are_found_on_either_side_and_in_any_order():
    time = np.array([100.0, 0.0, 50.0, 108.0])
    for test, close in (([0], True), ([1], False), ([2], False), ([3], True)):
        train = np.setdiff1d(np.arange(4), test)
        found = leak_certificate([(train, np.array(test))], stimulus=np.arange(4), run=np.zeros(4), row_time=time)
        assert found.counts["neighbours"] == close


@pytest.mark.parametrize("near", [96.0, 104.0])
def test_a_neighbour_on_one_side_with_other_rows_on_both(near):
    time = np.array([100.0, 0.0, near, 200.0, 10.0, 190.0])
    splits = [(np.array([1, 2, 3, 4, 5]), np.array([0]))]
    found = leak_certificate(splits, stimulus=np.arange(6), run=np.zeros(6), row_time=time, min_gap=5.0)
    assert found.counts["neighbours"] == 1
    assert leak_certificate(splits, stimulus=np.arange(6), run=np.zeros(6), row_time=time, min_gap=4.0).ok


def test_a_label_that_is_constant_within_runs_leaks_when_runs_are_shared():
    stimulus, run, _ = clean()
    style = np.where(run == "r0", "thin", "bold")
    shared = leak_certificate(folds(["stimulus"], stimulus, run), stimulus=stimulus, run=run, labels={"style": style})
    assert not shared.ok
    assert "'style' is constant within every run and runs are shared" in text(shared)
    held = leak_certificate(folds(["run"], stimulus, run), stimulus=stimulus, run=run, labels={"style": style})
    assert held.ok
    assert "'style' is constant within every run; runs are held out" in text(held)


@pytest.mark.parametrize("labels", [np.array(list("abcdef") * 3), np.array(["same"] * 18)])
def test_labels_that_vary_within_runs_or_never_are_not_named(labels):
    stimulus, run, _ = clean()
    found = leak_certificate(folds(["stimulus"], stimulus, run), stimulus=stimulus, run=run, labels={"kind": labels})
    assert found.ok and "kind" not in text(found)


def test_what_the_split_promised_to_keep_apart_is_a_leak_when_shared():
    stimulus, run = np.array([0, 1, 0, 1]), np.array(["a", "a", "b", "b"])
    by_run = [(np.array([2, 3]), np.array([0, 1])), (np.array([0, 1]), np.array([2, 3]))]
    assert leak_certificate(by_run, stimulus=stimulus, run=run, hold_out=["run"]).ok
    broken = leak_certificate(by_run, stimulus=stimulus, run=run, hold_out=["stimulus", "run"])
    assert not broken.ok and any(finding.startswith("LEAK: stimuli") for finding in broken.findings)
