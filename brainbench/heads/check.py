"""The contracts heads keep: a new head's test is one call of `check_head`, a decoder's one of `check_decoder`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from brainbench.core.errors import UserError


def check_head(head: Any, *, n_rows: int = 60, n_features: int = 12, n_targets: int = 3, seed: int = 0) -> None:
    """Hold a head against the contract, beside scikit-learn's ``check_estimator``.

    Parameters
    ----------
    head : estimator
        Unfitted.
    n_rows, n_features, n_targets : int
        Size of the planted problem.
    seed : int

    Raises
    ------
    AssertionError
        Naming what does not hold.
    """
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features))
    W = rng.normal(size=(n_features, n_targets))
    Y = X @ W + 0.1 * rng.normal(size=(n_rows, n_targets))
    X_new, groups = rng.normal(size=(20, n_features)), np.arange(n_rows) // 5
    before = X.copy(), Y.copy()
    parameters = head.get_params()
    fitted = clone(head).fit(X, Y, groups=groups)
    assert np.array_equal(X, before[0]) and np.array_equal(Y, before[1]), "fit changes its input"
    assert repr(fitted.get_params()) == repr(parameters), "fit changes parameters"
    predicted = fitted.predict(X_new)
    assert predicted.shape == (20, n_targets), f"predict gives shape {predicted.shape}"
    truth = X_new @ W
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T, truth.T, strict=True)]
    assert min(r) > 0.95, f"a planted linear map is not recovered (r {min(r):.2f})"
    again = clone(head).fit(X, Y, groups=groups).predict(X_new)
    assert np.array_equal(predicted, again), "two fits of the same data differ"
    refitted = fitted.fit(X[:30], Y[:30], groups=groups[:30]).predict(X_new)
    assert np.array_equal(refitted, clone(head).fit(X[:30], Y[:30], groups=groups[:30]).predict(X_new)), (
        "a second fit remembers the first"
    )
    joined = clone(head).fit_then_predict(X, Y, X_new, groups=groups)
    assert np.allclose(joined, predicted, atol=1e-6), "fit_then_predict differs from fit and predict"
    assert np.isfinite(clone(head).fit(X, Y).score(X, Y)), "score is not finite"
    single = clone(head).fit(X, Y[:, 0], groups=groups).predict(X_new)
    assert single.shape == (20,), f"one target as a vector gives predictions of shape {single.shape}"
    chosen = np.asarray(clone(head).fit(X, Y, groups=groups).best_alphas_)
    assert chosen.shape == (n_targets,), "best_alphas_ is not one penalty per target"
    _permuting_targets(head, X, Y, X_new, groups, predicted)


def _permuting_targets(
    head: Any, X: np.ndarray, Y: np.ndarray, X_new: np.ndarray, groups: np.ndarray, predicted: np.ndarray
) -> None:
    """Targets must not know of each other."""
    order = np.arange(Y.shape[1])[::-1]
    turned = clone(head).fit(X, Y[:, order], groups=groups).predict(X_new)
    assert np.allclose(turned[:, order], predicted, atol=1e-8), "a target's prediction depends on other targets"


def check_decoder(
    decoder: Any,
    *,
    n_trials: int = 48,
    n_channels: int = 6,
    n_times: int = 160,
    sfreq: float = 80.0,
    least_accuracy: float = 0.8,
    folder: Path | None = None,
    load: Callable[[Path], Any] | None = None,
    seed: int = 0,
) -> None:
    """Hold a classifier of trials ``(n_trials, n_channels, n_times)`` against the contract.

    The planted classes, ``"left"`` and ``"right"``, differ in the power of a 10-Hz rhythm at channels 0 and 1.

    Parameters
    ----------
    decoder : estimator
        Unfitted, with settings that fit the planted trials.
    n_trials, n_channels, n_times : int
    sfreq : float
        Hz.
    least_accuracy : float
        On new trials.
    folder : Path, optional
        Where ``decoder.save`` writes; needs `load`.
    load : callable, optional
        Reads what was saved.
    seed : int

    Raises
    ------
    AssertionError
        Naming what does not hold.
    """
    X, y, groups = _planted_trials(n_trials, n_channels, n_times, sfreq, seed)
    X_new, y_new, _ = _planted_trials(40, n_channels, n_times, sfreq, seed + 1)
    before, parameters, randomness = (X.copy(), y.copy(), X_new.copy()), repr(decoder.get_params()), _randomness()
    fitted = clone(decoder).fit(X, y, groups=groups)
    probabilities = fitted.predict_proba(X_new)
    predicted = fitted.predict(X_new)
    assert _randomness() == randomness, "fit or predict moves a global random generator"
    for now, then in zip((X, y, X_new), before, strict=True):
        assert np.array_equal(now, then), "fit or predict changes its input"
    assert repr(fitted.get_params()) == parameters, "fit changes parameters"
    assert list(fitted.classes_) == ["left", "right"], f"classes_ is {fitted.classes_}"
    assert probabilities.shape == (40, 2), f"predict_proba gives shape {probabilities.shape}"
    assert np.allclose(probabilities.sum(axis=1), 1), "probabilities do not sum to one"
    assert np.array_equal(fitted.classes_[probabilities.argmax(axis=1)], predicted), (
        "predict is not the likeliest class"
    )
    accuracy = float((predicted == y_new).mean())
    assert accuracy >= least_accuracy, f"a planted difference in power is not learned (accuracy {accuracy:.2f})"
    assert fitted.score(X_new, y_new) == accuracy, "score is not accuracy"
    alone = np.concatenate([fitted.predict_proba(X_new[k : k + 1]) for k in range(3)])
    assert np.allclose(alone, probabilities[:3], atol=1e-5), "a trial's probability depends on its neighbours"
    again = clone(decoder).fit(X, y, groups=groups).predict_proba(X_new)
    assert np.array_equal(probabilities, again), "two fits of the same data differ"
    _refused(fitted, X_new, n_channels)
    if folder is not None and load is not None:
        fitted.save(folder / "decoder")
        loaded = load(folder / "decoder")
        assert np.array_equal(loaded.predict_proba(X_new), probabilities), "a loaded decoder decides otherwise"
        assert list(loaded.classes_) == list(fitted.classes_), "a loaded decoder has other classes"
    half = slice(0, n_trials // 2)
    refitted = fitted.fit(X[half], y[half], groups=groups[half]).predict_proba(X_new)
    fresh = clone(decoder).fit(X[half], y[half], groups=groups[half]).predict_proba(X_new)
    assert np.array_equal(refitted, fresh), "a second fit remembers the first"


def _planted_trials(
    n_trials: int, n_channels: int, n_times: int, sfreq: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trials in volts, labels, and groups of six trials."""
    rng = np.random.default_rng(seed)
    y = np.array(["left", "right"])[np.arange(n_trials) % 2]
    X = rng.normal(size=(n_trials, n_channels, n_times))
    phase = rng.uniform(0, 2 * np.pi, size=(n_trials, 1))
    rhythm = 1.5 * np.sin(2 * np.pi * 10 * np.arange(n_times) / sfreq + phase)
    X[np.arange(n_trials), (y == "right").astype(int)] += rhythm
    return X * 1e-5, y, np.arange(n_trials) // 6


def _randomness() -> str:
    torch = sys.modules.get("torch")
    state: Any = np.random.get_state()  # noqa: NPY002
    return repr((state[1].tolist(), state[2], torch.get_rng_state().tolist() if torch else None))


def _refused(fitted: Any, X: np.ndarray, n_channels: int) -> None:
    broken = X.copy()
    broken[1, 0, 3] = np.nan
    bad: list[tuple[str, Callable[[], Any]]] = [
        ("another number of channels", lambda: fitted.predict(X[:, : n_channels - 1])),
        ("NaN", lambda: fitted.predict(broken)),
        ("NaN in training", lambda: clone(fitted).fit(broken, np.array(["left", "right"] * (len(X) // 2)))),
        ("one class", lambda: clone(fitted).fit(X, np.array(["left"] * len(X)))),
        ("labels of another length", lambda: clone(fitted).fit(X, np.array(["left", "right"]))),
        ("a matrix instead of trials", lambda: fitted.predict(X[0])),
        ("a misspelt parameter", lambda: clone(fitted).set_params(no_such_setting=1)),
    ]
    for what, call in bad:
        try:
            call()
        except (UserError, ValueError):
            continue
        raise AssertionError(f"{what} is not refused")
