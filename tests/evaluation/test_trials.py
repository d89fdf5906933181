"""Splitters, certificate and scores of trials, against scikit-learn and hand-made cases."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from brainbench.evaluation.labels import kept_null
from brainbench.evaluation.trials.certificate import trial_certificate
from brainbench.evaluation.trials.modes import MODES, ModeName
from brainbench.evaluation.trials.scores import (
    METRICS,
    Predictions,
    compare_subjects,
    compare_trials,
    score_trials,
)
from brainbench.evaluation.trials.splitters import TrialRows, TrialSplitter


def make_rows(subjects=2, sessions=2, runs=3, trials=8, length=2.0):
    parts = []
    for s in range(subjects):
        for session in range(sessions):
            for run in range(runs):
                parts.append(
                    TrialRows(
                        subject=np.full(trials, f"s{s}"),
                        session=np.full(trials, str(session)),
                        run=np.full(trials, f"r{run}"),
                        trial=np.arange(trials),
                        label=np.array(["left", "right"])[np.arange(trials) % 2],
                        onset=np.arange(trials) * 4.0,
                        length=length,
                    )
                )
    return TrialRows.joined(parts)


ROWS = make_rows()


@pytest.mark.parametrize(
    ("splitter", "n_folds"),
    [
        (TrialSplitter("k-fold", n_splits=4), 16),
        (TrialSplitter("leave-one-run-out"), 12),
        (TrialSplitter("leave-one-session-out"), 4),
        (TrialSplitter("leave-one-subject-out"), 2),
        (TrialSplitter("chronological", test_share=0.25), 4),
        (TrialSplitter("few-shot", shots=2, all_shots=(0, 2, 4)), 2),
    ],
)
def test_folds_share_no_trial_and_hold_out_what_they_say(splitter, n_folds):
    folds = list(splitter.split(groups=ROWS))
    assert len(folds) == n_folds == splitter.get_n_splits(groups=ROWS)
    certificate = trial_certificate(folds, ROWS)
    assert certificate.ok and certificate.counts["rows"] == 0
    for train, test in folds:
        assert not np.intersect1d(train, test).size
        if splitter.scheme not in ("leave-one-subject-out", "few-shot"):
            assert set(ROWS.subject[train]) == set(ROWS.subject[test])
        if splitter.scheme == "leave-one-run-out":
            assert not set(ROWS.runs[train]) & set(ROWS.runs[test])
        if splitter.scheme == "leave-one-session-out":
            assert not set(ROWS.sessions[train]) & set(ROWS.sessions[test])
        if splitter.scheme == "leave-one-subject-out":
            assert not set(ROWS.subject[train]) & set(ROWS.subject[test])
    if splitter.scheme not in ("chronological", "few-shot"):
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(ROWS)))


def test_chronological_tests_what_came_last():
    shuffled = ROWS.take(np.random.default_rng(0).permutation(len(ROWS)))
    for rows in (ROWS, make_rows(subjects=1, sessions=1, runs=1)):
        for train, test in TrialSplitter("chronological").split(groups=rows):
            place = {name: i for i, name in enumerate(dict.fromkeys(rows.runs.tolist()))}
            when = np.array([place[run] * 1000 for run in rows.runs]) + rows.onset
            assert when[train].max() < when[test].min()
    assert len(list(TrialSplitter("chronological").split(groups=shuffled))) == 4


def test_every_number_of_shots_is_tested_on_the_same_trials():
    by_shots = {}
    for shots in (0, 2, 4):
        folds = list(TrialSplitter("few-shot", shots=shots, all_shots=(0, 2, 4)).split(groups=ROWS))
        by_shots[shots] = folds
        for train, test in folds:
            mine = train[ROWS.subject[train] == ROWS.subject[test[0]]]
            assert len(mine) == 2 * shots
            assert not shots or mine.max() < test.min()
    for a, b in zip(by_shots[0], by_shots[4], strict=True):
        assert np.array_equal(a[1], b[1])


@pytest.mark.parametrize("mode", list(MODES))
def test_what_is_known_of_a_new_subject_is_as_its_mode_says(mode):
    splitter = TrialSplitter("leave-one-subject-out", mode=mode)
    for train, test in splitter.split(groups=ROWS):
        person = ROWS.subject == ROWS.subject[test[0]]
        known, labelled = splitter.unlabelled(ROWS, test), train[person[train]]
        assert np.array_equal(np.flatnonzero(~person), train[~person[train]])
        share = int(mode[-3:-1]) / 100 if mode.endswith("p") else 0
        slice_ = labelled if "_labeled" in mode else known
        if mode.endswith("full"):
            assert np.array_equal(known, test) and len(test) == person.sum()
            continue
        assert len(slice_) == int(share * 24) * 2 and not len(known if "_labeled" in mode else labelled)
        assert sorted([*slice_, *test]) == np.flatnonzero(person).tolist()
        for session in np.unique(ROWS.sessions[test]):
            first, then = (rows[ROWS.sessions[rows] == session] for rows in (slice_, test))
            assert not len(first) or first.max() < then.min()
    assert list(MODES) == list(ModeName.__args__)


@pytest.mark.parametrize(
    ("splitter", "rows", "message"),
    [
        (TrialSplitter("k-fold", n_splits=30), ROWS, "30 folds are too many for the 12 trials of 'left'"),
        (TrialSplitter("leave-one-run-out"), make_rows(sessions=1, runs=1), "s0 has only one"),
        (TrialSplitter("leave-one-session-out"), make_rows(sessions=1), "sessions cannot be held out"),
        (TrialSplitter("leave-one-subject-out"), make_rows(subjects=1), "only one"),
        (
            TrialSplitter("leave-one-subject-out", mode="train_and_target_labeled_20p"),
            ROWS.take(np.flatnonzero(ROWS.subject == "s0")),
            "only one",
        ),
        (TrialSplitter("few-shot", shots=24), ROWS, "leave no trial of s0 to test"),
        (TrialSplitter("few-shot", shots=99), ROWS, "99 shots are too many"),
        (TrialSplitter("chronological", test_share=0.001), ROWS, "leaves nothing"),
        (TrialSplitter("leave-one-out"), ROWS, "scheme must be one of"),
    ],
)
def test_impossible_splits_name_the_counts(splitter, rows, message):
    with pytest.raises(ValueError, match=message):
        list(splitter.split(groups=rows))


def test_overlapping_windows_of_shared_runs_are_a_leak():
    overlapping = make_rows(subjects=1, sessions=1, length=5.0)
    shuffled = list(TrialSplitter("k-fold", n_splits=4).split(groups=overlapping))
    certificate = trial_certificate(shuffled, overlapping)
    assert not certificate.ok and any("samples of test trials" in finding for finding in certificate.findings)
    assert trial_certificate(list(TrialSplitter("leave-one-run-out").split(groups=overlapping)), overlapping).ok


def test_a_label_that_is_constant_within_runs_is_a_leak_where_runs_are_shared():
    rows = make_rows(subjects=1, sessions=1, runs=4)
    object.__setattr__(rows, "label", np.where(np.isin(rows.run, ["r0", "r2"]), "left", "right"))
    folds = list(TrialSplitter("k-fold", n_splits=4).split(groups=rows))
    assert not trial_certificate(folds, rows).ok
    assert trial_certificate(list(TrialSplitter("leave-one-run-out").split(groups=rows)), rows).ok


def test_a_label_that_is_constant_within_sessions_is_a_leak_where_sessions_are_shared():
    rows = make_rows(subjects=1, sessions=4, runs=2)
    object.__setattr__(rows, "label", np.where(np.isin(rows.session, ["0", "2"]), "left", "right"))
    certificate = trial_certificate(list(TrialSplitter("leave-one-run-out").split(groups=rows)), rows)
    assert not certificate.ok
    assert any("constant within every session and sessions are shared" in finding for finding in certificate.findings)
    assert trial_certificate(list(TrialSplitter("leave-one-session-out").split(groups=rows)), rows).ok


def guess(n=60, n_classes=2, folds=3, seed=0, skill=1.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    score = rng.random((n, n_classes)) + skill * np.eye(n_classes)[y] * rng.random((n, 1))
    return y, Predictions(np.arange(n), np.arange(n) % folds, score / score.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_metrics_are_those_of_scikit_learn(n_classes):
    y, predictions = guess(n_classes=n_classes)
    found = score_trials(y, predictions, n_draws=0)
    assert found.over == "folds"
    by_fold = {metric: [] for metric in METRICS}
    for fold in range(3):
        rows = predictions.fold == fold
        probability, predicted = predictions.probability[rows], predictions.probability[rows].argmax(axis=1)
        by_fold["accuracy"].append(metrics.accuracy_score(y[rows], predicted))
        by_fold["balanced_accuracy"].append(metrics.balanced_accuracy_score(y[rows], predicted))
        by_fold["kappa"].append(metrics.cohen_kappa_score(y[rows], predicted))
        by_fold["roc_auc"].append(
            metrics.roc_auc_score(y[rows], probability[:, 1])
            if n_classes == 2
            else metrics.roc_auc_score(y[rows], probability, multi_class="ovr")
        )
    for metric in METRICS:
        assert found.metrics[metric].value == pytest.approx(np.mean(by_fold[metric]))
        assert [value for _, value, _ in found.metrics[metric].per_fold] == pytest.approx(by_fold[metric])
    assert found.confusion.sum() == len(y)


def test_small_folds_are_pooled():
    y, predictions = guess(n=24, folds=4)
    assert score_trials(y, predictions, n_draws=0).over == "pooled"


def test_every_metric_is_tested_by_its_own_draws():
    y, predictions = guess(skill=4.0)
    null = kept_null(y, learned=False, kind="rows", within=predictions.fold, n_exchanges=39)
    skilled = score_trials(y, predictions, null=null, n_draws=200)
    for metric in METRICS:
        score = skilled.metrics[metric]
        assert score.p == 1 / 40 and score.ci_low <= score.value <= score.ci_high
        assert score.null_95 < score.ci_low
    rng = np.random.default_rng(0)
    again = rng.random((39, 60, 2))
    fitted = score_trials(y, predictions, null=replace(null, predicted=again, learned=True), n_draws=0)
    for metric, of in (("roc_auc", metrics.roc_auc_score), ("kappa", metrics.cohen_kappa_score)):
        draws = [
            np.mean([of(y[o][f], (p[f, 1] if metric == "roc_auc" else p[f].argmax(1))) for f in folds_of(predictions)])
            for o, p in zip(null.exchange.orders, again, strict=True)
        ]
        assert fitted.metrics[metric].null_95 == pytest.approx(np.quantile(draws, 0.95))


def folds_of(predictions):
    return [np.flatnonzero(predictions.fold == value) for value in np.unique(predictions.fold)]


def test_bootstrap_of_the_auc_weights_pairs():
    y, predictions = guess(n=12, folds=1)
    from brainbench.evaluation.trials.scores import _auc

    weights = np.random.default_rng(0).integers(0, 4, (5, 12)).astype(float)
    expected = [
        metrics.roc_auc_score(np.repeat(y, w.astype(int)), np.repeat(predictions.probability[:, 1], w.astype(int)))
        for w in weights
    ]
    assert _auc(y[None], weights, predictions.probability[None]) == pytest.approx(expected)


def test_comparisons():
    rng = np.random.default_rng(0)
    a = rng.random(200) < 0.8
    same = compare_trials(a, a, np.zeros(200), n_permutations=99, n_draws=50)
    assert same.value == 0 and same.p == 1
    better = compare_trials(a, rng.random(200) < 0.5, np.zeros(200), n_permutations=999, n_draws=500)
    assert better.value > 0.2 and better.p < 0.01 and better.ci_low > 0
    three = compare_subjects(np.array([0.8, 0.9, 0.7]), np.array([0.6, 0.6, 0.6]))
    assert three.value == pytest.approx(0.2) and three.p == pytest.approx(0.25)
    twenty = compare_subjects(rng.random(20) + 1, rng.random(20))
    assert twenty.p == pytest.approx(1 / 10_001)
    with pytest.raises(ValueError, match="two subjects"):
        compare_subjects(np.ones(1), np.ones(1))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_of_trials_are_the_metrics_of_that_name(n_classes):
    from brainbench.evaluation import metrics as by_name

    rng = np.random.default_rng(n_classes)
    y = np.arange(60) % n_classes
    probability = rng.dirichlet(np.ones(n_classes), size=60)
    # One fold, so that nothing is averaged over folds.
    scores = score_trials(y, Predictions(np.arange(60), np.zeros(60, int), probability))
    for name in METRICS:
        predicted = probability if name == "roc_auc" else probability.argmax(axis=1)
        assert scores.metrics[name].value == pytest.approx(by_name.METRICS[name].function(y, predicted))
