"""Power of the test of a region, against an oracle that knows the null's true quantile."""

from functools import cache, partial

import numpy as np
from calibration_rows.nulls import encode, responses

from brainbench.evaluation.calibration import Row
from brainbench.evaluation.exchange import make_exchange
from brainbench.evaluation.family import p_of_draws
from brainbench.evaluation.splitters import make_splitter

N_ROWS, N_FEATURES, N_EXCHANGES = 120, 40, 199
SHARE = {1: 0.145, 20: 0.145}
"""Share of a target's variance that the features explain: the expected held-out r is about .2."""


def draw(rng: np.random.Generator, n_targets: int, share: float, many: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features, and responses of `many` regions; targets of a region share half of signal and noise."""
    X = rng.normal(size=(N_ROWS, N_FEATURES))
    own = rng.normal(size=(N_FEATURES, many, n_targets))
    weights = own if n_targets == 1 else np.sqrt(0.5) * (own + rng.normal(size=(N_FEATURES, many, 1)))
    signal = X @ weights.reshape(N_FEATURES, -1) / np.sqrt(N_FEATURES)
    noise = responses(rng, N_ROWS, n_targets, n_regions=many)
    return X, np.sqrt(share) * signal + np.sqrt(1 - share) * noise


def found(rng: np.random.Generator, n_targets: int, share: float, many: int, n_exchanges: int) -> tuple:
    """Return scores, null and exchange of `many` regions."""
    X, Y = draw(rng, n_targets, share, many)
    stimulus, seed = np.arange(N_ROWS), int(rng.integers(1 << 30))
    folds = list(make_splitter(["stimulus"], n_splits=5, seed=seed).split(Y, stimulus=stimulus))
    exchange = make_exchange(N_ROWS, kind="stimulus", stimulus=stimulus, n_exchanges=n_exchanges, seed=seed)
    return *encode(X, Y, folds, exchange, n_regions=many, groups=stimulus, n_refitted=10_000), exchange


@cache
def oracle(n_targets: int) -> float:
    """Return the true 95th percentile of the score without an effect."""
    rng = np.random.default_rng(n_targets)
    scores = [found(rng, n_targets, 0.0, 2000 // n_targets, 1)[0] for _ in range(2 * n_targets + 8)]
    return float(np.quantile(np.concatenate(scores), 0.95))


def detected(seed: int, *, n_targets: int, many: int) -> list[float]:
    """Return by how much the test finds a region more often than the oracle: 1, 0 or -1."""
    scores, null, exchange = found(np.random.default_rng(seed), n_targets, SHARE[n_targets], many, N_EXCHANGES)
    p = [p_of_draws(float(value), draws, exchange) for value, draws in zip(scores, null.regions.T, strict=True)]
    return [float(one <= 0.05) - float(value >= oracle(n_targets)) for one, value in zip(p, scores, strict=True)]


ROWS = [
    Row(f"share found less an oracle's, expected r about .2, 120 stimuli, region of {n}", "value",
        partial(detected, n_targets=n, many=many), between=(-0.05, 1.0), n_sets=n_sets, many=many)
    for n, many, n_sets in ((1, 20, 2000), (20, 5, 500))
]  # fmt: skip
