"""Forecasts of `apply`: how often the share of a new recording's decisions that is right lies in their interval."""

from __future__ import annotations

from functools import partial

import numpy as np

from brainbench.evaluation.calibration import Row
from brainbench.evaluation.trials.calibration import calibrate, forecast

N_FEATURES, N_FOLDS = 6, 5


def covers(n_known: int, n_new: int, sureness: float, seed: int) -> float:
    """Return whether the interval holds what is seen, where a decision's true chance follows its bin.

    `sureness` bends the chance of being right: 1 is a calibrated decoder, 2 one that is far too sure of itself.
    """
    rng = np.random.default_rng(seed)

    def recording(n: int) -> tuple[np.ndarray, np.ndarray]:
        top = 0.5 + 0.5 * rng.beta(1.5, 1.5, size=n)
        return top, (rng.random(n) < 0.5 + (top - 0.5) / sureness).astype(int)

    (top, right), (new, hits) = recording(n_known), recording(n_new)
    found = calibrate(1 - right, np.stack([top, 1 - top], axis=1), n_draws=0)
    _, low, high = forecast(new, found.edges, found.count, found.right, n_draws=1000, seed=seed % 2**32)
    return float(low - 1e-9 <= hits.mean() <= high + 1e-9)


def decoder_covers(n_known: int, n_new: int, effect: float, seed: int) -> float:
    """Return the same for a decoder: linear discriminants, cross-validated, fitted again to all, and new trials."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rng = np.random.default_rng(seed)

    def recording(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = rng.permutation(np.arange(n) % 2)
        return rng.normal(size=(n, N_FEATURES)) + effect * y[:, None] * (np.arange(N_FEATURES) < 2), y

    (X, y), (new, truth) = recording(n_known), recording(n_new)
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    model = LinearDiscriminantAnalysis()
    found = calibrate(y, cross_val_predict(model, X, y, cv=folds, method="predict_proba"), n_draws=0)
    probability = model.fit(X, y).predict_proba(new)
    _, low, high = forecast(
        probability.max(axis=1), found.edges, found.count, found.right, n_draws=1000, seed=seed % 2**32
    )
    share = float(np.mean(probability.argmax(axis=1) == truth))
    return float(low - 1e-9 <= share <= high + 1e-9)


# Shares of few trials are few numbers, so that an interval that holds 95 % of them may hold all.
WIDE = (0.93, 1.0)
ROWS = [
    *(
        Row(f"forecast covers, {known} known trials, {new} new, {words}", "cover",
            partial(covers, known, new, sureness), between=WIDE)
        for known, new in ((40, 20), (100, 40), (300, 40), (300, 200))
        for sureness, words in ((1.0, "calibrated"), (2.0, "too sure"))
    ),
    *(
        Row(f"forecast of a decoder covers, {known} known trials, {new} new, effect {effect}", "cover",
            partial(decoder_covers, known, new, effect), between=WIDE, n_sets=1000)
        for known, new in ((60, 20), (200, 60))
        for effect in (0.0, 1.0)
    ),
]  # fmt: skip
