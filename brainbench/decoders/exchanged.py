"""Classifiers fitted to many orders of the same labels: what depends on the rows alone is computed once.

A null that refits needs hundreds of fits of one training set. Scaling knows no labels. A ridge classifier's fit is a
product with the labels, for all orders at once. Models with an L2 penalty are the same in any rotation of the features,
so that thousands of them become as many as there are rows. A discriminant works on products of rows
(`brainbench.decoders.discriminant`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from brainbench.decoders.discriminant import ShrinkageLDA, decisions

MOST_STEPS = 1000
"""Of a logistic regression."""

FLAT = 1e-5
"""Slope of the mean loss at which a logistic regression has arrived; scikit-learn stops at ten times as much."""

Fit = Callable[[np.ndarray], np.ndarray]
"""From labels of the training rows to predicted labels of the test rows."""


def predict_exchanged(classifier: Any, X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> np.ndarray | None:
    """Return what a classifier predicts after it was fitted to other labels.

    Parameters
    ----------
    classifier : scikit-learn classifier
        Not fitted; its settings are read.
    X : ndarray (n_train, n_features)
    y : int ndarray (n_orders, n_train)
        Classes of the training rows in every order. A class that is missing in one is never predicted there.
    X_test : ndarray (n_test, n_features)

    Returns
    -------
    int ndarray (n_orders, n_test), or None
        None where nothing is known that makes hundreds of fits cheap.
    """
    from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    *before, head = [step for _, step in classifier.steps] if isinstance(classifier, Pipeline) else [classifier]
    if not all(isinstance(step, StandardScaler) for step in before):
        return None
    for step in before:
        X, X_test = step.fit_transform(X), step.transform(X_test)
    if isinstance(head, RidgeClassifierCV):
        return _ridge(X, y, X_test, np.asarray(head.alphas, dtype=float))
    if isinstance(head, ShrinkageLDA):
        return np.asarray(decisions(X, y, X_test, int(y.max()) + 1).argmax(axis=2))
    if isinstance(head, LogisticRegression):
        return np.asarray(logistic_exchanged(X, y, X_test, head.C).argmax(axis=2).T)
    if isinstance(head, LinearSVC):
        X, X_test = rotated(X, X_test)
        return _one_by_one(y, len(X_test), lambda labels: head.fit(X, labels).predict(X_test))
    return None


def probabilities_exchanged(model: Any, X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> np.ndarray:
    """Return probabilities of a classifier fitted to every order of labels, every class in each of them.

    A tangent space before it is fitted once.

    Parameters
    ----------
    model : scikit-learn classifier
    X : ndarray (n_train, ...)
    y : int ndarray (n_orders, n_train)
    X_test : ndarray (n_test, ...)

    Returns
    -------
    ndarray (n_test, n_orders, n_classes)
    """
    from pyriemann.tangentspace import TangentSpace
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    if isinstance(model, Pipeline) and isinstance(model[0], TangentSpace):
        X, X_test, model = model[0].fit_transform(X), model[0].transform(X_test), model[1]
    if isinstance(model, LogisticRegression):
        return logistic_exchanged(X, y, X_test, model.C)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `_one_by_one`
        return np.stack([model.fit(X, labels).predict_proba(X_test) for labels in y], axis=1)


def logistic_exchanged(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, C: float) -> np.ndarray:
    r"""Return probabilities of logistic regressions with an L2 penalty, ``(n_test, n_orders, n_classes)``.

    The curvature of the loss is nowhere more than :math:`b X'X`, b 1/4 for two classes and 1/2 for more (Boehning
    1992). With this bound in place of the curvature one factorisation serves all orders, and a step is a product; steps
    gain momentum, which starts anew where it leads uphill (O'Donoghue and Candes 2015).

    Parameters
    ----------
    X : ndarray (n_train, n_features)
    y : int ndarray (n_orders, n_train)
        Classes from 0.
    X_test : ndarray (n_test, n_features)
    C : float
        Inverse strength of the penalty, as in scikit-learn.
    """
    from scipy.linalg import cho_factor, cho_solve
    from scipy.special import expit, softmax

    X, X_test = rotated(X, X_test)
    classes = np.unique(y)
    rows = np.column_stack([X, np.ones(len(X))])
    columns = classes[1:] if len(classes) == 2 else classes
    truth = (y.T[:, :, None] == columns).astype(float)
    shape = (-1, len(y), len(columns))
    kept = np.append(np.ones(X.shape[1]), 0.0)[:, None]  # the intercept has no penalty
    bound = cho_factor(np.diag(kept[:, 0]) + C * (0.25 if len(classes) == 2 else 0.5) * rows.T @ rows)

    def probability(design: np.ndarray, weights: np.ndarray) -> np.ndarray:
        z = (design @ weights).reshape(shape)
        out: np.ndarray = expit(z) if len(columns) == 1 else softmax(z, axis=2)
        return out

    weights = np.zeros((rows.shape[1], len(y) * len(columns)))
    ahead, pace = weights, 1.0
    for _ in range(MOST_STEPS):
        slope = C * rows.T @ (probability(rows, ahead) - truth).reshape(len(rows), -1) + kept * ahead
        if np.abs(slope).max() < FLAT * C * len(X):
            break
        new = ahead - cho_solve(bound, slope)
        uphill = float(np.sum(slope * (new - weights))) > 0
        faster = 1.0 if uphill else (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead, weights, pace = new + (0 if uphill else (pace - 1) / faster) * (new - weights), new, faster
    found = probability(np.column_stack([X_test, np.ones(len(X_test))]), ahead)
    if len(columns) == 1:
        found = np.concatenate([1 - found, found], axis=2)
    out = np.zeros((len(X_test), len(y), int(classes.max()) + 1))
    out[:, :, classes] = found
    return out


def csp_lda_exchanged(rows: np.ndarray, y: np.ndarray, test: np.ndarray, n_filters: int) -> np.ndarray:
    """Return probabilities of common spatial patterns, log variances and a discriminant, two classes.

    Parameters
    ----------
    rows : ndarray (n_train, n_channels, n_channels)
        Covariances.
    y : int ndarray (n_orders, n_train)
        0 or 1.
    test : ndarray (n_test, n_channels, n_channels)
    n_filters : int

    Returns
    -------
    ndarray (n_test, n_orders, 2)
    """
    from scipy.special import expit

    weight = np.stack([1 - y, y]) / np.stack([1 - y, y]).sum(axis=2, keepdims=True)
    means = (weight @ rows.reshape(len(rows), -1)).reshape(2, len(y), *rows.shape[1:])
    whitener = np.linalg.inv(np.linalg.cholesky(means[0] + means[1]))
    share, vectors = np.linalg.eigh(whitener @ means[1] @ whitener.transpose(0, 2, 1))
    best = np.argsort(-np.abs(share - 0.5), axis=1)[:, None, :n_filters]
    filters = np.take_along_axis(whitener.transpose(0, 2, 1) @ vectors, best, axis=2).transpose(0, 2, 1)

    def features(covariances: np.ndarray) -> np.ndarray:
        flat = filters.reshape(-1, filters.shape[2])
        power = ((flat @ covariances) * flat).sum(axis=2)
        out: np.ndarray = np.log(power).reshape(len(covariances), len(y), -1).transpose(1, 0, 2)
        return out

    X, X_test = features(rows), features(test)
    centers = np.einsum("kon,onf->kof", weight, X)
    left = X - np.where(y[:, :, None] == 1, centers[1][:, None], centers[0][:, None])
    within = left.transpose(0, 2, 1) @ left / len(rows)
    direction = np.linalg.solve(within, (centers[1] - centers[0])[:, :, None])
    n_second = y.sum(axis=1)
    middle = centers.mean(axis=0)[:, None]
    z = ((X_test - middle) @ direction)[:, :, 0] + np.log(n_second / (len(rows) - n_second))[:, None]
    second = expit(z).T
    return np.stack([1 - second, second], axis=2)


def rotated(X: np.ndarray, X_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows in the coordinates that training rows span; products with any of these stay as they are."""
    if X.shape[1] <= len(X):
        return X, X_test
    axes = np.linalg.svd(X, full_matrices=False)[2]
    return X @ axes.T, X_test @ axes.T


def _one_by_one(y: np.ndarray, n_test: int, fit: Fit) -> np.ndarray:
    out = np.empty((len(y), n_test), dtype=np.int64)
    with warnings.catch_warnings():
        # What a fit has to say of itself, the fit to the labels as they were has said.
        warnings.simplefilter("ignore")
        for labels, one in zip(y, out, strict=True):
            one[:] = fit(labels) if (labels != labels[0]).any() else labels[0]
    return out


def _ridge(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Return ridge regression on class indicators, the penalty of every order by its leave-one-out error."""
    n_orders, n = y.shape
    classes = np.unique(y)
    columns = classes[1:] if len(classes) == 2 else classes
    targets = np.where(y.T[:, :, None] == columns, 1.0, -1.0).reshape(n, -1)
    mean = X.mean(axis=0)
    left, size, right = np.linalg.svd(X - mean, full_matrices=False)
    at_test = (X_test - mean) @ right.T
    turned = left.T @ targets
    best = np.full(n_orders, np.inf)
    found = np.empty((len(X_test), n_orders, len(columns)))
    for alpha in alphas:
        share = size**2 / (size**2 + alpha)
        leverage = 1 / n + (left**2 * share).sum(axis=1)
        missed = (targets - targets.mean(axis=0) - left @ (share[:, None] * turned)) / (1 - leverage)[:, None]
        error = (missed**2).reshape(n, n_orders, -1).mean(axis=(0, 2))
        predicted = targets.mean(axis=0) + at_test @ ((size / (size**2 + alpha))[:, None] * turned)
        better = error < best
        found[:, better] = predicted.reshape(found.shape)[:, better]
        best = np.minimum(best, error)
    if len(columns) == 1:
        return np.asarray(classes[(found[:, :, 0] > 0).astype(int)].T)
    return np.asarray(classes[found.argmax(axis=2)].T)
