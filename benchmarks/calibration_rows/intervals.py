"""Intervals of cross-validated scores and of group means, and ceilings, against what was planted."""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from brainbench.evaluation import ceilings
from brainbench.evaluation.bootstrap import subject_mean
from brainbench.evaluation.calibration import Row
from brainbench.evaluation.intervals import Jackknife, jackknife, jackknife_groups
from brainbench.evaluation.metrics import METRICS
from brainbench.ridge.deletion import FoldWithout
from brainbench.ridge.ridge import RidgeCV

N_ROWS, N_FEATURES, N_FOLDS = 120, 40, 5
ALPHAS = np.logspace(-1, 4, 11)
WEIGHTS = np.random.default_rng(99).normal(size=(2 * N_FEATURES, 201))
N_TRUTH = 2000
"""Fresh data sets whose mean score is the truth."""


def draw(rng: np.random.Generator, n_targets: int, share: float, n_features: int = N_FEATURES) -> tuple:
    """Return features and responses; `share` of each target's variance is linear in them, targets are correlated."""
    scale = np.linspace(1.5, 0.5, n_features)
    X = rng.normal(size=(N_ROWS, n_features)) * scale
    W = np.sqrt(0.5) * (WEIGHTS[:n_features, :1] + WEIGHTS[:n_features, 1 : n_targets + 1])
    signal = X @ W / np.sqrt((W**2 * scale[:, None] ** 2).sum(axis=0))
    noise = np.sqrt(0.5) * (rng.normal(size=(N_ROWS, 1)) + rng.normal(size=(N_ROWS, n_targets)))
    return X, np.sqrt(share) * signal + np.sqrt(1 - share) * noise


def folds_of(rng: np.random.Generator) -> list[np.ndarray]:
    """Return test rows of every fold."""
    return [np.sort(part) for part in np.array_split(rng.permutation(N_ROWS), N_FOLDS)]


def fitted(X: np.ndarray, Y: np.ndarray, folds: list[np.ndarray]) -> tuple[list, list[np.ndarray]]:
    """Fit every fold; return (train, test) with the penalties, and held-out predictions."""
    designs, predicted = [], []
    for test in folds:
        train = np.setdiff1d(np.arange(len(X)), test)
        head = RidgeCV(alphas=ALPHAS, cv=4, store_coef=False)
        predicted.append(head.fit_then_predict(X[train], Y[train], X[test]))
        designs.append((train, test, head.best_alphas_))
    return designs, predicted


def region_score(X: np.ndarray, Y: np.ndarray, folds: list[np.ndarray]) -> float:
    """Return the region's score as reports print it: mean over folds and targets of Pearson's r."""
    _, predicted = fitted(X, Y, folds)
    r = METRICS["pearson_r"].function
    return float(np.mean([r(Y[test], p) for test, p in zip(folds, predicted, strict=True)]))


def left_out(X: np.ndarray, Y: np.ndarray, folds: list[np.ndarray]) -> Jackknife:
    """Return the jackknife of the region of all targets."""
    fold = np.empty(len(X), dtype=int)
    for number, test in enumerate(folds):
        fold[test] = number
    group = jackknife_groups(np.arange(len(X)), fold)
    designs, _ = fitted(X, Y, folds)
    without = [FoldWithout(X[train], X[test], group[train], int(group.max()) + 1) for train, test, _ in designs]

    def predict(targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        found = []
        for one, (train, test, alphas) in zip(without, designs, strict=True):
            found.append((Y[test][:, targets], *one.predict(Y[train][:, targets], alphas[targets])))
        return found

    region = {"all": np.ones(Y.shape[1], dtype=bool)}
    return jackknife([METRICS["pearson_r"]], predict, [group[test] for test in folds], None, region)[0]


@cache
def truth(n_targets: int, share: float, n_features: int = N_FEATURES) -> np.ndarray:
    """Return scores of fresh data sets; their mean is what intervals are about."""
    rng = np.random.default_rng([n_targets, int(1000 * share), n_features])
    return np.array(
        [
            region_score(*draw(rng, n_targets, share, n_features), folds_of(rng))
            for _ in range(N_TRUTH if n_targets < 50 else 500)
        ]
    )


def covers(n_targets: int, share: float, seed: int) -> float:
    """Return 1 where the 95 % interval of a region covers its expected score."""
    rng = np.random.default_rng(seed)
    low, high = left_out(*draw(rng, n_targets, share), folds_of(rng)).interval(correlation=True)
    return float(low[0] <= truth(n_targets, share).mean() <= high[0])


def width(n_targets: int, share: float, seed: int) -> float:
    """Return the interval's width as a multiple of the central 95 % range of the score."""
    rng = np.random.default_rng(seed)
    low, high = left_out(*draw(rng, n_targets, share), folds_of(rng)).interval(correlation=True)
    return float((high[0] - low[0]) / np.diff(np.quantile(truth(n_targets, share), [0.025, 0.975]))[0])


def covers_difference(seed: int) -> float:
    """Two layers, one a noisy copy of the other: the interval of the difference of their scores."""
    rng = np.random.default_rng(seed)
    X, Y = draw(rng, 10, 0.3)
    other, folds = X + rng.normal(size=X.shape), folds_of(rng)
    low, high = (left_out(X, Y, folds) - left_out(other, Y, folds)).interval()
    return float(low[0] <= difference() <= high[0])


@cache
def difference() -> float:
    """Return the expected difference of the two layers."""
    rng, found = np.random.default_rng(7), []
    for _ in range(N_TRUTH):
        X, Y = draw(rng, 10, 0.3)
        other, folds = X + rng.normal(size=X.shape), folds_of(rng)
        found.append(region_score(X, Y, folds) - region_score(other, Y, folds))
    return float(np.mean(found))


def covers_mean(n_subjects: int, seed: int) -> float:
    """Participants drawn from a population of scores."""
    values = np.random.default_rng(seed).normal(0.3, 0.1, size=n_subjects)
    found = subject_mean(values)
    return float(found.ci_low <= 0.3 <= found.ci_high)


def planted_ceiling(planted: float, n_stimuli: int, repeats: tuple[int, ...], seed: int) -> float:
    """Return the ceiling of a region of 20 targets minus the planted one (single showings)."""
    rng = np.random.default_rng(seed)
    stimulus = np.repeat(np.arange(n_stimuli), np.resize(repeats, n_stimuli))
    signal = planted * rng.normal(size=(n_stimuli, 20))
    data = signal[stimulus] + np.sqrt(1 - planted**2) * rng.normal(size=(len(stimulus), 20))
    found = ceilings.split_half(data, stimulus, n_splits=4, seed=seed % 1000).ceiling(1).region(np.ones(20, dtype=bool))
    assert found is not None
    return found.value - planted


SHARES = {0: 0.0, 13: 0.1, 39: 0.3, 65: 0.6}
"""Expected r in hundredths -> share of variance that gives about it here."""

REGIONS = [(n, r, share) for n in (1, 10, 200) for r, share in SHARES.items()]
CEILINGS = [
    (planted, n, repeats)
    for planted in (0.3, 0.5, 0.7, 0.9)
    for n, repeats in ((100, (2,)), (100, (2, 10)), (100, (2, 40)), (300, (3,)))
]


def _cover(n: int, r: int, share: float) -> Row:
    return Row(
        f"interval covers, region of {n}, expected r about .{r:02}", "cover", partial(covers, n, share), n_sets=1000
    )


def _width(n: int, r: int, share: float) -> Row:
    name = f"interval's width over the score's range, region of {n}, expected r about .{r:02}"
    return Row(name, "value", partial(width, n, share), between=(0.0, 1.3), n_sets=200)


def _ceiling(planted: float, n: int, repeats: tuple[int, ...]) -> Row:
    name = f"ceiling minus planted {planted}, {n} stimuli, shown {' or '.join(map(str, repeats))} times"
    return Row(name, "value", partial(planted_ceiling, planted, n, repeats), between=(-0.02, 0.02), n_sets=200)


ROWS = [
    *(_cover(*one) for one in REGIONS),
    *(_width(*one) for one in REGIONS),
    Row("interval of a difference between two layers", "cover", covers_difference, n_sets=1000),
    *(Row(f"interval of the mean of {n} participants", "cover", partial(covers_mean, n)) for n in (6, 12, 20)),
    *(_ceiling(*one) for one in CEILINGS),
]
