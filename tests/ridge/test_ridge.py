"""RidgeCV against the textbook in float64, scikit-learn and himalaya."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.linear_model import RidgeCV as SklearnRidgeCV
from sklearn.model_selection import KFold, LeaveOneOut, ShuffleSplit, TimeSeriesSplit
from sklearn.utils.estimator_checks import check_estimator

from brainbench.heads import RidgeCV
from brainbench.heads.check import check_head
from brainbench.ridge.ridge import fit_together
from brainbench.ridge.solver.filters import filter_basis
from tests.ridge.direct import cv_scores, predictions, regret

ALPHAS = np.logspace(-1, 5, 20)


def problem(n: int, p: int, t: int, seed: int = 0, spectrum: str = "flat"):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    if spectrum == "decaying":
        X = X * np.arange(1, p + 1) ** -1.0 @ np.linalg.qr(rng.normal(size=(p, p)))[0] * 10
    elif spectrum == "low rank":
        X = X[:, :5] @ rng.normal(size=(5, p))
    elif spectrum == "constant columns":
        X[:, ::3] = 7.0
    Y = X @ rng.normal(size=(p, t)) * rng.uniform(0, 2, t) / np.sqrt(p) + rng.normal(size=(n, t)) + 3.0
    return X, Y


def numpy_of(values):
    return values.numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


SHAPES = {
    "n>p": (120, 30, 17, "flat"),
    "n<p": (50, 90, 17, "flat"),
    "n=p": (40, 40, 5, "flat"),
    "one feature": (30, 1, 4, "flat"),
    "one target": (60, 10, 1, "flat"),
    "correlated": (200, 60, 9, "decaying"),
    "rank-deficient": (80, 30, 9, "low rank"),
    "rank-deficient dual": (40, 90, 9, "low rank"),
    "constant features": (80, 30, 9, "constant columns"),
    "p of a fold exceeds its rows": (45, 40, 6, "flat"),
}


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("scoring", ["r2", "pearsonr"])
@pytest.mark.parametrize("shape", SHAPES)
def test_as_the_textbook(shape, scoring, fit_intercept, dtype, kind):
    n, p, t, spectrum = SHAPES[shape]
    if (shape, scoring, fit_intercept, dtype) == ("constant features", "pearsonr", False, "float32"):
        pytest.skip("the spread of predictions is below float32's rounding of their mean")
    X, Y = (one.astype(dtype) for one in problem(n + 20, p, t, spectrum=spectrum))
    X, X_new, Y = X[:n], X[n:], Y[:n]
    as_kind = torch.from_numpy if kind == "torch" else np.asarray
    head = RidgeCV(ALPHAS, fit_intercept=fit_intercept, scoring=scoring)
    predicted = head.fit_then_predict(as_kind(X), as_kind(Y), as_kind(X_new))
    for value in (head.coef_, head.intercept_, head.best_alphas_, head.cv_scores_, head.alpha_at_edge_, predicted):
        assert isinstance(value, torch.Tensor) == (kind == "torch")
    assert str(predicted.dtype).endswith(dtype) and str(head.coef_.dtype).endswith(dtype)
    assert head.coef_.shape == (p, t) and head.intercept_.shape == (t,) and head.cv_scores_.shape == (20, t)
    expected = cv_scores(X, Y, ALPHAS, scoring=scoring, fit_intercept=fit_intercept)
    # Without an intercept predictions miss the mean by far: R2 is large and negative, and its error is relative.
    assert np.allclose(numpy_of(head.cv_scores_), expected, atol=1e-4, rtol=1e-4)
    chosen = numpy_of(head.best_alphas_)
    assert regret(expected, ALPHAS, chosen) <= 1e-4
    for target, alpha in enumerate(chosen):
        closed = predictions(X, Y[:, [target]], X_new, [alpha], fit_intercept)[0, :, 0]
        size = np.abs(closed).max()
        assert np.allclose(numpy_of(predicted)[:, target], closed, atol=size * (1e-4 if dtype == "float32" else 1e-9))
    assert np.allclose(
        numpy_of(head.predict(as_kind(X_new))), numpy_of(predicted), atol=1e-3 if dtype == "float32" else 1e-8
    )
    at_edge = (chosen == ALPHAS.min()) | (chosen == ALPHAS.max())
    assert np.array_equal(numpy_of(head.alpha_at_edge_), at_edge)


@pytest.mark.parametrize("shape", [(60, 12), (30, 50)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_coefficients_are_those_of_scikit_learn(shape, fit_intercept):
    X, Y = problem(*shape, 4)
    head = RidgeCV(ALPHAS, fit_intercept=fit_intercept).fit(X, Y)
    other = Ridge(alpha=head.best_alphas_, fit_intercept=fit_intercept).fit(X, Y)
    assert np.allclose(head.coef_, other.coef_.T, atol=1e-9)
    assert np.allclose(head.intercept_, other.intercept_, atol=1e-9)
    assert np.isclose(head.score(X, Y), other.score(X, Y))


@pytest.mark.parametrize("shape", [(60, 12), (30, 50)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_leave_one_out_is_that_of_scikit_learn(shape, fit_intercept):
    X, Y = problem(*shape, 6)
    other = SklearnRidgeCV(ALPHAS, alpha_per_target=True, fit_intercept=fit_intercept, store_cv_results=True).fit(X, Y)
    expected = 1 - other.cv_results_.mean(axis=0).T / Y.var(axis=0)
    for cv in (LeaveOneOut(), len(X)):
        head = RidgeCV(ALPHAS, cv=cv, fit_intercept=fit_intercept).fit(X, Y)
        assert np.allclose(head.cv_scores_, expected, atol=1e-4, rtol=1e-4)
        assert np.array_equal(head.best_alphas_, other.alpha_)
        assert np.allclose(head.coef_, other.coef_.T, atol=1e-9)


@pytest.mark.parametrize("scoring", ["r2", "pearsonr"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_leave_one_out_as_the_textbook(dtype, scoring):
    X, Y = (one.astype(dtype) for one in problem(25, 40, 6))
    head = RidgeCV(ALPHAS, cv=25, scoring=scoring).fit(X, Y)
    assert np.allclose(head.cv_scores_, cv_scores(X, Y, ALPHAS, 25, scoring=scoring), atol=1e-4)


@pytest.mark.parametrize("shape", [(150, 40), (60, 90)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_himalaya_chooses_the_same(shape, dtype):
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV as HimalayaRidgeCV
    from himalaya.scoring import r2_score

    set_backend("numpy")
    X, Y = (one.astype(dtype) for one in problem(*shape, 12))
    alphas = ALPHAS.astype(dtype)
    params = {"score_func": r2_score, "warn": False}
    other = HimalayaRidgeCV(alphas=alphas, fit_intercept=True, cv=KFold(5), solver_params=params).fit(X, Y)
    head = RidgeCV(alphas, cv=KFold(5)).fit(X, Y)
    assert regret(cv_scores(X, Y, ALPHAS), ALPHAS, head.best_alphas_) <= 1e-4
    same = np.isclose(head.best_alphas_, other.best_alphas_, rtol=1e-3)
    assert same.mean() > 0.8
    assert np.allclose(head.coef_[:, same], other.coef_[:, same], atol=1e-3)
    assert np.allclose(head.cv_scores_.max(axis=0), other.cv_scores_, atol=1e-4)


SPLITTERS = {
    "shuffled": KFold(4, shuffle=True, random_state=1),
    "training is not the complement": ShuffleSplit(3, test_size=0.2, train_size=0.5, random_state=0),
    "small training sets": ShuffleSplit(3, test_size=0.5, train_size=0.2, random_state=0),
    "time": TimeSeriesSplit(3),
    "repeated rows": [(np.r_[0:40, 0:40], np.arange(40, 60)), (np.r_[20:60, 30:40], np.arange(20))],
    "masks": [(np.arange(60) >= 20, np.arange(60) < 20)],
    "one fold of one row": [(np.arange(59), np.array([59])), (np.arange(40), np.arange(40, 60))],
}


@pytest.mark.parametrize("splitter", SPLITTERS)
@pytest.mark.parametrize("p", [10, 80])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_any_splitter(splitter, p, fit_intercept):
    X, Y = problem(60, p, 5)
    head = RidgeCV(ALPHAS, cv=SPLITTERS[splitter], fit_intercept=fit_intercept).fit(X, Y)
    expected = cv_scores(X, Y, ALPHAS, SPLITTERS[splitter], fit_intercept=fit_intercept)
    assert np.allclose(head.cv_scores_, expected, atol=1e-4, rtol=1e-4)


def test_groups_stay_together():
    X, Y = problem(60, 10, 3)
    groups = np.random.default_rng(0).integers(0, 7, 60)
    head = RidgeCV(ALPHAS, cv=5).fit(X, Y, groups=groups)
    assert np.allclose(head.cv_scores_, cv_scores(X, Y, ALPHAS, 5, groups), atol=1e-4)
    assert not np.allclose(head.cv_scores_, cv_scores(X, Y, ALPHAS, 5), atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale_x", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("scale_y", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("p", [12, 60])
def test_scale_changes_nothing(scale_x, scale_y, p, dtype):
    X, Y = (one.astype(dtype) for one in problem(50, p, 4))
    reference = RidgeCV(ALPHAS).fit(X, Y)
    head = RidgeCV(ALPHAS * scale_x**2).fit((X * scale_x).astype(dtype), (Y * scale_y).astype(dtype))
    assert np.allclose(head.cv_scores_, reference.cv_scores_, atol=1e-5)
    assert np.allclose(head.best_alphas_ / scale_x**2, reference.best_alphas_)
    assert np.allclose(head.coef_ * (scale_x / scale_y), reference.coef_, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scoring", ["r2", "pearsonr"])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_constant_targets_score_nothing_and_disturb_nobody(constant, scoring, dtype):
    X, Y = (one.astype(dtype) for one in problem(60, 10, 4))
    alone = RidgeCV(ALPHAS, scoring=scoring).fit(X, Y[:, 1:])
    Y[:, 0] = constant
    head = RidgeCV(ALPHAS, scoring=scoring).fit(X, Y)
    assert (head.cv_scores_[:, 0] == 0).all() and head.best_alphas_[0] == ALPHAS.max()
    assert np.allclose(head.predict(X)[:, 0], constant) and np.isfinite(head.coef_).all()
    assert np.allclose(head.cv_scores_[:, 1:], alone.cv_scores_, atol=1e-5)


def test_target_that_is_constant_in_one_fold():
    X, Y = problem(50, 8, 3)
    Y[:10, 0] = 0.3
    head = RidgeCV(ALPHAS).fit(X, Y)
    assert np.allclose(head.cv_scores_, cv_scores(X, Y, ALPHAS), atol=1e-4)


def test_alphas_in_any_order_and_repeated():
    X, Y = problem(60, 10, 20)
    order = np.random.default_rng(0).permutation(20)
    head = RidgeCV(ALPHAS).fit(X, Y)
    mixed = RidgeCV(np.concatenate([ALPHAS[order], ALPHAS[:7]])).fit(X, Y)
    assert np.allclose(mixed.cv_scores_[:20], head.cv_scores_[order], atol=2e-5)
    assert np.allclose(mixed.cv_scores_[20:], mixed.cv_scores_[:20][np.argsort(order)[:7]], atol=1e-9)
    assert regret(cv_scores(X, Y, ALPHAS), ALPHAS, mixed.best_alphas_) <= 1e-4


@pytest.mark.parametrize("alphas", [[1.0], [1.0, 1.0], [1e-3, 1e3], 10.0])
def test_few_alphas(alphas):
    X, Y = problem(60, 10, 4)
    head = RidgeCV(alphas).fit(X, Y)
    assert np.allclose(head.cv_scores_, cv_scores(X, Y, np.atleast_1d(alphas)), atol=1e-9)


def test_ill_conditioned_features_in_float32():
    """Condition 1e10 of the Gram matrix, and a penalty below rounding of its largest value."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(300, 60)) * np.logspace(0, -5, 60)) @ np.linalg.qr(rng.normal(size=(60, 60)))[0]
    Y = X @ rng.normal(size=(60, 10)) * 10 + 0.1 * rng.normal(size=(300, 10))
    X, Y = X.astype("float32"), Y.astype("float32")
    alphas = np.logspace(-10, 3, 20)
    head = RidgeCV(alphas).fit(X, Y)
    expected = cv_scores(X, Y, alphas)
    assert np.allclose(head.cv_scores_, expected, atol=1e-4)
    assert regret(expected, alphas, head.best_alphas_) <= 1e-4


def test_a_huge_row_leaves_no_rounding_behind():
    """Where the fold without the row is the total less the row, float32 would keep the row's rounding."""
    X, Y = problem(100, 20, 5)
    X[3] *= 100
    Y[3] *= 100
    X, Y = X.astype("float32"), Y.astype("float32")
    head = RidgeCV(ALPHAS).fit(X, Y)
    expected = cv_scores(X, Y, ALPHAS)
    assert np.allclose(head.cv_scores_, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_bad_values_are_refused_with_their_position(kind):
    as_kind = torch.from_numpy if kind == "torch" else np.asarray
    X, Y = problem(60, 10, 4)
    X[17, 3] = np.nan
    with pytest.raises(ValueError, match="X contains NaN: the first is at row 17, column 3"):
        RidgeCV(ALPHAS).fit(as_kind(X), as_kind(Y))
    X[17, 3], Y[5, 2] = 0.0, np.inf
    with pytest.raises(ValueError, match="y contains infinity: the first is at row 5, column 2"):
        RidgeCV(ALPHAS).fit(as_kind(X), as_kind(Y))
    with pytest.raises(ValueError, match="y contains infinity: the first is at row 5"):
        RidgeCV(ALPHAS).fit(as_kind(X), as_kind(Y[:, 2].copy()))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alphas": [1.0, -1.0]}, "alphas must be positive"),
        ({"alphas": []}, "alphas must be positive"),
        ({"scoring": "mse"}, "scoring must be"),
        ({"cv": [(np.arange(10), np.arange(0))]}, "rows to score"),
    ],
)
def test_parameters_are_checked(parameters, message):
    X, Y = problem(60, 10, 4)
    with pytest.raises(ValueError, match=message):
        RidgeCV(**parameters).fit(X, Y)


def test_mixed_kinds_are_refused():
    X, Y = problem(20, 3, 2)
    with pytest.raises(TypeError, match="mixed"):
        RidgeCV().fit(torch.from_numpy(X), Y)


def test_without_weights_only_joint_prediction():
    X, Y = problem(60, 10, 4)
    head = RidgeCV(ALPHAS, store_coef=False)
    predicted = head.fit_then_predict(X, Y, X)
    assert not hasattr(head, "coef_")
    assert np.allclose(predicted, RidgeCV(ALPHAS).fit(X, Y).predict(X))
    with pytest.raises(ValueError, match="store_coef"):
        head.predict(X)


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_blocks_of_targets_change_nothing(batch):
    X, Y = problem(60, 10, 8)
    one, other = RidgeCV(ALPHAS).fit(X, Y), RidgeCV(ALPHAS, targets_batch=batch).fit(X, Y)
    assert np.allclose(one.cv_scores_, other.cv_scores_, atol=1e-12) and np.allclose(one.coef_, other.coef_)


def test_inner_loop_makes_no_host_copies():
    """Reading numbers back from the device happens per fold, never per block of targets."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.reads = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.reads += func.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero)
            return func(*args, **(kwargs or {}))

    X, Y = (torch.from_numpy(one) for one in problem(60, 10, 64))
    reads, copies, tensor_numpy = [], [], torch.Tensor.numpy
    for batch in (64, 4):
        seen = []
        torch.Tensor.numpy = lambda self, *a, seen=seen, **k: (seen.append(1), tensor_numpy(self, *a, **k))[1]
        try:
            with Count() as count:
                RidgeCV(ALPHAS, targets_batch=batch).fit(X, Y)
        finally:
            torch.Tensor.numpy = tensor_numpy
        reads.append(count.reads)
        copies.append(len(seen))
    assert reads[0] == reads[1] and copies[0] == copies[1]


@pytest.mark.parametrize("alphas", [np.logspace(-1, 5, 20), np.logspace(-8, 8, 50)])
@pytest.mark.parametrize("relative", [True, False])
def test_filter_basis_keeps_its_tolerance(alphas, relative):
    values = np.sort(np.random.default_rng(0).lognormal(3, 3, 400))
    for tolerance in (1e-2, 1e-4):
        sizes = np.ones(400)
        basis = filter_basis(values, alphas, sizes, tolerance=tolerance, n_targets=1000, relative=relative)
        assert np.abs(basis.approximation() - basis.filters).max() <= tolerance
        products = sum(functions.size for functions in basis.functions)
        assert products < 0.6 * basis.filters.size


def test_contracts():
    check_head(RidgeCV())
    check_head(RidgeCV(scoring="pearsonr"))
    check_estimator(RidgeCV())


@pytest.mark.parametrize("scoring", ["r2", "pearsonr"])
def test_features_that_never_change_predict_the_mean(scoring):
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(30, 4))
    head = RidgeCV(scoring=scoring).fit(np.full((30, 5), 2.0), Y)
    np.testing.assert_allclose(head.predict(np.full((3, 5), 2.0)), np.tile(Y.mean(axis=0), (3, 1)), atol=1e-6)


def test_what_is_known_of_the_features_serves_other_responses():
    """Solvers of an earlier call give the same as a call of their own, to the bit; there is one a number of targets."""
    rng = np.random.default_rng(3)
    for n_features in (8, 80):
        X, new, groups = rng.normal(size=(60, n_features)), rng.normal(size=(7, n_features)), np.arange(60) // 3
        known: dict = {}
        for n_targets in (5, 5, 300, 5):
            Y = rng.normal(size=(60, n_targets))
            heads = [RidgeCV(alphas=np.logspace(-2, 4, 9), cv=4, store_coef=False) for _ in range(2)]
            shared = fit_together(heads[:1], [X], Y, [new], groups, [known])[0]
            np.testing.assert_array_equal(shared, heads[1].fit_then_predict(X, Y, new, groups=groups))
            np.testing.assert_array_equal(heads[0].cv_scores_, heads[1].cv_scores_)
            np.testing.assert_array_equal(heads[0].best_alphas_, heads[1].best_alphas_)
        assert sorted(known) == [5, 300]
