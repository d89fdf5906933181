"""The contract every decoder of trials keeps; a new decoder's test is one call of `check_trial_decoder`."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from brainbench.decoders.base import TrialDecoder

SFREQ = 80.0


def planted_trials(
    n_trials: int = 48, n_channels: int = 6, n_times: int = 160, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return trials in volts whose classes differ in the power of one 10 Hz source, their labels, and their runs."""
    rng = np.random.default_rng(seed)
    y = np.array(["left", "right"])[np.arange(n_trials) % 2]
    time = np.arange(n_times) / SFREQ
    mixing = rng.normal(size=(n_channels, n_channels))
    sources = rng.normal(size=(n_trials, n_channels, n_times))
    rhythm = np.sin(2 * np.pi * (10 * time + rng.random((n_trials, 1))))
    for index, label in enumerate(y):
        sources[index, 0 if label == "left" else 1] += 3 * rhythm[index]
    return 1e-5 * np.einsum("ij,njt->nit", mixing, sources), y, np.repeat(["a", "b", "c"], n_trials // 3)


def check_trial_decoder(decoder: TrialDecoder, *, n_channels: int = 6, n_times: int = 160, seed: int = 0) -> None:
    """Hold an unfitted decoder of two classes against the contract.

    Raises
    ------
    AssertionError
        Naming what does not hold.
    """
    X, y, groups = planted_trials(n_channels=n_channels, n_times=n_times, seed=seed)
    train, test = np.flatnonzero(groups != "c"), np.flatnonzero(groups == "c")
    before, parameters = X.copy(), repr(decoder.get_params())
    fitted = clone(decoder).fit(X[train], y[train], groups=groups[train])
    probability = fitted.predict_proba(X[test])
    assert np.array_equal(X, before), "fit or predict changes its input"
    assert repr(fitted.get_params()) == parameters, "fit changes parameters"
    assert probability.shape == (len(test), 2), f"predict_proba gives shape {probability.shape}"
    assert np.all(probability >= 0) and np.allclose(probability.sum(axis=1), 1, atol=1e-5), "not probabilities"
    assert list(fitted.classes_) == ["left", "right"], f"classes_ is {fitted.classes_}"
    accuracy = float(np.mean(fitted.predict(X[test]) == y[test]))
    assert accuracy > 0.8, f"a planted rhythm is not found (accuracy {accuracy:.2f})"
    again = clone(decoder).fit(X[train], y[train], groups=groups[train]).predict_proba(X[test])
    assert np.array_equal(probability, again), "two fits of the same data differ"
    refitted = fitted.fit(X[test], y[test], groups=groups[test]).predict_proba(X[train])
    fresh = clone(decoder).fit(X[test], y[test], groups=groups[test]).predict_proba(X[train])
    assert np.array_equal(refitted, fresh), "a second fit remembers the first"
    apart = clone(decoder)
    joined = apart.fit_prepared(apart.prepare(X)[train], y[train], groups=groups[train])
    assert np.allclose(joined.probability_of(apart.prepare(X)[test]), probability, atol=1e-6), (
        "what is prepared for all trials at once differs from what is prepared for some: `prepare` fits something"
    )
    if "transductive" not in str(decoder.get_params().get("align")):
        fitted = clone(decoder).fit(X[train], y[train], groups=groups[train])
        alone = np.concatenate([fitted.predict_proba(X[[row]]) for row in test[:4]])
        assert np.allclose(alone, probability[:4], atol=1e-5), "a prediction depends on the other test trials"
