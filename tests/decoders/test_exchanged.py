"""Fits to many orders of labels at once, against scikit-learn's fit to each."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.estimator_checks import check_estimator

from brainbench.decoders.classifiers import make_classifier
from brainbench.decoders.covariance import CspLda, FbcspLda, Fgmdm, TangentLr
from brainbench.decoders.discriminant import decisions, ledoit_wolf
from brainbench.decoders.exchanged import logistic_exchanged, predict_exchanged


def rows(n_features, n_classes=3, n=48, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features)) @ (np.eye(n_features) + 0.3 * rng.normal(size=(n_features, n_features)))
    orders = np.stack([rng.permutation(np.arange(n) % n_classes) for _ in range(5)])
    return X[:36], orders[:, :36], X[36:]


@pytest.mark.parametrize("n_features", [10, 90])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", ["shrinkage_lda", "ridge_classifier", "logistic", "linear_svm"])
def test_every_order_is_fitted_as_if_alone(name, n_classes, n_features):
    X, orders, X_test = rows(n_features, n_classes)
    found = predict_exchanged(make_classifier(name), X, orders, X_test)
    for labels, one in zip(orders, found, strict=True):
        expected = make_classifier(name).fit(X, labels).predict(X_test)
        # Iterative fits stop at a tolerance: a decision on the fence may fall to the other side.
        assert np.mean(one == expected) >= (1 if name in ("shrinkage_lda", "ridge_classifier") else 0.9)


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (20, 1)])
def test_shrinkage_of_few_rows(shape):
    Z = np.random.default_rng(1).normal(size=shape) * np.linspace(0.5, 2, shape[1])
    Z -= Z.mean(axis=0)
    assert ledoit_wolf(Z[None])[0] == pytest.approx(ledoit_wolf_shrinkage(Z))


def test_decisions_are_those_of_a_discriminant():
    X, orders, X_test = rows(60)
    for labels, one in zip(orders, decisions(X, orders, X_test, 3), strict=True):
        known = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(X, labels)
        np.testing.assert_allclose(one, known.decision_function(X_test), rtol=1e-6)


@pytest.mark.parametrize("n_features", [1, 6, 80])
def test_a_discriminant_is_the_one_of_scikit_learn(n_features):
    X, orders, X_test = rows(n_features)
    X[:, -1] = np.where(n_features > 1, 0.1, X[:, -1])  # a voxel that does not vary
    names = np.array(["face", "house", "shoe"])[orders[1]]
    known = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(X, names)
    found = make_classifier("shrinkage_lda").fit(X, names)
    np.testing.assert_array_equal(found.predict(X_test), known.predict(X_test))
    np.testing.assert_allclose(found.intercept_, known.intercept_, rtol=1e-6)


def test_the_discriminant_is_a_classifier():
    check_estimator(make_classifier("shrinkage_lda"))


def test_a_class_that_is_missing_is_never_predicted():
    X, orders, X_test = rows(10)
    for name in ("shrinkage_lda", "logistic", "ridge_classifier"):
        few = np.stack([np.where(orders[0] == 2, 0, orders[0]), np.zeros_like(orders[0])])
        found = predict_exchanged(make_classifier(name), X, few, X_test)
        assert not (found == 2).any() and (found[1] == 0).all()


def test_what_is_not_known_to_be_cheap_is_not_fitted():
    assert predict_exchanged(GaussianNB(), *rows(4)) is None


@pytest.mark.parametrize(("n_features", "n_classes", "C"), [(8, 2, 1.0), (90, 2, 0.01), (90, 3, 1.0), (8, 4, 100.0)])
def test_logistic_regressions_of_all_orders(n_features, n_classes, C):
    X, orders, X_test = rows(n_features, n_classes)
    found = logistic_exchanged(X, orders, X_test, C)
    for index, labels in enumerate(orders):
        known = LogisticRegression(C=C, tol=1e-8, max_iter=20_000).fit(X, labels).predict_proba(X_test)
        np.testing.assert_allclose(found[:, index], known, atol=2e-3)


@pytest.mark.parametrize("align", ["none", "euclidean"])
@pytest.mark.parametrize(
    "make",
    [CspLda, TangentLr, Fgmdm, lambda align: CspLda(n_filters=2, align=align)],
    ids=["csp", "lr", "fgmdm", "two"],
)
def test_pipelines_of_trials_are_fitted_as_if_alone(make, align):
    rng = np.random.default_rng(3)
    X = 1e-5 * np.einsum("ij,njt->nit", rng.normal(size=(5, 5)), rng.normal(size=(30, 5, 60)))
    orders = np.stack([rng.permutation(np.arange(20) % 2) for _ in range(3)])
    orders[2, :3] = 1  # unequal classes
    domains = np.array(["a", "b"])[np.arange(30) // 15]
    prepared = make(align=align).prepare(X)
    settings = {"domains": domains[:20], "test_domains": domains[20:]}
    found = make(align=align).exchanged(prepared[:20], orders, prepared[20:], **settings)
    for index, labels in enumerate(orders):
        alone = make(align=align).fit_prepared(prepared[:20], labels, domains=domains[:20])
        expected = alone.probability_of(prepared[20:], domains=domains[20:])
        np.testing.assert_allclose(found[:, index], expected, atol=2e-3)


def test_pipelines_that_are_too_dear_say_so():
    rng = np.random.default_rng(4)
    X = 1e-5 * rng.normal(size=(24, 4, 50))
    four = np.stack([rng.permutation(np.arange(18) % 3)])
    prepared = Fgmdm().prepare(X)
    assert Fgmdm().exchanged(prepared[:18], four, prepared[18:]) is None
    assert CspLda().exchanged(prepared[:18], four, prepared[18:]).shape == (6, 1, 3)
    bank = FbcspLda(sfreq=100.0)
    assert bank.exchanged(prepared[:18], four % 2, prepared[18:]) is None
