"""Intervals of cross-validated scores and of group means, and ceilings, against what was planted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import numpy as np

from brainbench.evaluation import ceilings
from brainbench.evaluation.bootstrap import subject_mean
from brainbench.evaluation.calibration import Promise, Row
from brainbench.evaluation.intervals import Held, Jackknife, jackknife, jackknife_groups
from brainbench.evaluation.metrics import METRICS
from brainbench.evaluation.scoring import partition
from brainbench.ridge.deletion import FoldWithout
from brainbench.ridge.ridge import RidgeCV

N_ROWS, N_FEATURES, N_FOLDS = 120, 40, 5
ALPHAS = np.logspace(-1, 4, 11)
WEIGHTS = np.random.default_rng(99).normal(size=(N_FEATURES, 201))
N_TRUTH, SHARED = 5000, 25
"""Fresh data sets whose mean score is the truth, and how many of them share their features: a fit takes all at once."""


def draw(rng: np.random.Generator, n_targets: int, share: float, many: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return features, and responses of `many` data sets side by side.

    `share` of each target's variance is linear in the features; the targets of a data set are correlated.
    """
    scale = np.linspace(1.5, 0.5, N_FEATURES)
    X = rng.normal(size=(N_ROWS, N_FEATURES)) * scale
    W = np.sqrt(0.5) * (WEIGHTS[:, :1] + WEIGHTS[:, 1 : n_targets + 1])
    signal = X @ W / np.sqrt((W**2 * scale[:, None] ** 2).sum(axis=0))
    noise = np.sqrt(0.5) * (rng.normal(size=(many, N_ROWS, 1)) + rng.normal(size=(many, N_ROWS, n_targets)))
    return X, np.hstack(np.sqrt(share) * signal + np.sqrt(1 - share) * noise)


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


def target_scores(X: np.ndarray, Y: np.ndarray, folds: list[np.ndarray], metric: str = "pearson_r") -> np.ndarray:
    """Return every target's score as reports print it: the mean over folds."""
    _, predicted = fitted(X, Y, folds)
    score = METRICS[metric].function
    return np.asarray(np.mean([score(Y[test], p) for test, p in zip(folds, predicted, strict=True)], axis=0))


def left_out(X: np.ndarray, Y: np.ndarray, folds: list[np.ndarray], metric: str = "pearson_r") -> Jackknife:
    """Return the jackknife of the region of all targets."""
    fold = np.empty(len(X), dtype=int)
    for number, test in enumerate(folds):
        fold[test] = number
    group = jackknife_groups(np.arange(len(X)), fold)
    designs, _ = fitted(X, Y, folds)
    without = [FoldWithout(X[train], X[test], group[train], int(group.max()) + 1) for train, test, _ in designs]

    def predict(targets: np.ndarray) -> Iterator[Held]:
        for one, (train, test, alphas) in zip(without, designs, strict=True):
            yield Held(Y[test][:, targets], *one.predict(Y[train][:, targets], alphas[targets]))

    region = {"all": np.ones(Y.shape[1], dtype=bool)}
    return jackknife([METRICS[metric]], predict, [group[test] for test in folds], region)[0]


def seen(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a noisy copy of features: a layer that knows less."""
    return X + rng.normal(size=X.shape)


@cache
def truth(n_targets: int, share: float, *, difference: bool = False) -> np.ndarray:
    """Return a region's scores in fresh data sets, less those of a noisy layer: their mean is the truth."""
    rng, found = np.random.default_rng([n_targets, int(1000 * share), difference]), []
    for _ in range(N_TRUTH // SHARED):
        X, Y = draw(rng, n_targets, share, SHARED)
        folds = folds_of(rng)
        scores = target_scores(X, Y, folds)
        if difference:
            scores = scores - target_scores(seen(X, rng), Y, folds)
        found.append(scores.reshape(SHARED, n_targets).mean(axis=1))
    return np.concatenate(found)


@cache
def interval(n_targets: int, share: float, seed: int, *, difference: bool = False) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a region's score in one data set."""
    rng = np.random.default_rng(seed)
    X, Y = draw(rng, n_targets, share)
    folds = folds_of(rng)
    found = left_out(X, Y, folds)
    if difference:
        found = found - left_out(seen(X, rng), Y, folds)
    low, high = found.interval(correlation=not difference)
    return float(low[0]), float(high[0])


def covers(n_targets: int, share: float, seed: int, **settings: bool) -> float:
    """Return 1 where the interval covers the expected score."""
    low, high = interval(n_targets, share, seed, **settings)
    return float(low <= truth(n_targets, share, **settings).mean() <= high)


def width(n_targets: int, share: float, seed: int, **settings: bool) -> float:
    """Return the interval's width as a multiple of the central 95 % range of the score."""
    low, high = interval(n_targets, share, seed, **settings)
    return float((high - low) / np.diff(np.quantile(truth(n_targets, share, **settings), [0.025, 0.975]))[0])


SETS = {"a": slice(0, 20), "b": slice(12, 32), "c": slice(24, 40)}
"""Features of three sets, neighbours having some in common."""
COMBINED = {
    frozenset(names): np.unique(np.concatenate([np.arange(N_FEATURES)[SETS[name]] for name in names]))
    for names in ("a", "b", "c", "ab", "ac", "bc", "abc")
}


@cache
def truth_of_parts(n_targets: int, share: float) -> dict[frozenset[str], float]:
    """Return what sets of features explain alone and in common, on average over fresh data sets."""
    rng, found = np.random.default_rng([n_targets, int(1000 * share), 3]), []
    for _ in range(N_TRUTH // SHARED):
        X, Y = draw(rng, n_targets, share, SHARED)
        folds = folds_of(rng)
        found.append(partition({some: target_scores(X[:, at], Y, folds, "r2") for some, at in COMBINED.items()}))
    return {some: float(np.mean([one[some] for one in found])) for some in COMBINED}


@cache
def intervals_of_parts(n_targets: int, share: float, seed: int) -> dict[frozenset[str], tuple[float, float]]:
    """Return the ends of the 95 % interval of every part in one data set."""
    rng = np.random.default_rng(seed)
    X, Y = draw(rng, n_targets, share)
    folds = folds_of(rng)
    found = partition({some: left_out(X[:, at], Y, folds, "r2") for some, at in COMBINED.items()})
    ends = {some: one.interval() for some, one in found.items()}
    return {some: (float(low[0]), float(high[0])) for some, (low, high) in ends.items()}


def covers_part(n_targets: int, share: float, names: str, seed: int) -> float:
    """Return 1 where the interval covers the expected part of the sets in `names`."""
    some = frozenset(names)
    low, high = intervals_of_parts(n_targets, share, seed)[some]
    return float(low <= truth_of_parts(n_targets, share)[some] <= high)


def covers_means(n_subjects: int, seed: int, *, many: int) -> list[float]:
    """Return 1 where the interval of a mean over participants covers; they met the same stimuli, and are fitted.

    Participants have weights and an effect of their own; the truth is the mean of 5,000 others who met these stimuli.
    """
    rng = np.random.default_rng(seed)
    n = N_TRUTH + many * n_subjects
    X = rng.normal(size=(N_ROWS, N_FEATURES))
    share = rng.uniform(0.0, 0.4, size=n)
    signal = X @ (rng.normal(size=(N_FEATURES, 1)) + rng.normal(size=(N_FEATURES, n))) / np.sqrt(2 * N_FEATURES)
    scores = target_scores(
        X, np.sqrt(share) * signal + np.sqrt(1 - share) * rng.normal(size=(N_ROWS, n)), folds_of(rng)
    )
    expected = scores[:N_TRUTH].mean()
    found = [subject_mean(values) for values in scores[N_TRUTH:].reshape(many, n_subjects)]
    return [float(one.ci_low <= expected <= one.ci_high) for one in found]


def planted_ceiling(planted: float, n_stimuli: int, repeats: tuple[int, ...], seed: int) -> float:
    """Return the ceiling of a region of 20 targets minus the planted one (single showings)."""
    rng = np.random.default_rng(seed)
    stimulus = np.repeat(np.arange(n_stimuli), np.resize(repeats, n_stimuli))
    signal = planted * rng.normal(size=(n_stimuli, 20))
    data = signal[stimulus] + np.sqrt(1 - planted**2) * rng.normal(size=(len(stimulus), 20))
    found = ceilings.split_half(data, stimulus, n_splits=4, seed=seed % 1000).ceiling(1).region(np.ones(20, dtype=bool))
    assert found is not None
    return found.value - planted


SHARES = {".00": 0.0, ".15": 0.1, ".38": 0.3, ".69": 0.64}
"""Expected r -> share of variance that gives about it here."""

REGIONS = [(n, r, share) for n in (1, 10, 200) for r, share in SHARES.items()]
REPEATS = ((100, (2,)), (100, (2, 10)), (100, (2, 40)), (300, (3,)), (100, (40,)))
CEILINGS = [(planted, *shown) for planted in (0.3, 0.5, 0.7, 0.9) for shown in REPEATS]
SMALL = [(planted, n, (2,)) for planted in (0.1, 0.3, 0.5, 0.9) for n in (24, 50)] + [(0.1, 100, (2,))]
"""Designs too small for a promise: their bias is stated."""


def _cover(n: int, r: str, share: float) -> Row:
    return Row(f"interval covers, region of {n}, expected r {r}", "cover", partial(covers, n, share), n_sets=1000)


def _width(n: int, r: str, share: float) -> Row:
    name = f"interval's width over the score's range, region of {n}, expected r {r}"
    return Row(name, "value", partial(width, n, share), between=(0.0, 1.3), n_sets=200)


def _ceiling(planted: float, n: int, repeats: tuple[int, ...], promise: Promise = "value") -> Row:
    name = f"ceiling minus planted {planted}, {n} stimuli, shown {' or '.join(map(str, repeats))} times"
    return Row(name, promise, partial(planted_ceiling, planted, n, repeats), between=(-0.02, 0.02), n_sets=200)


DIFFERENCE = {"difference": True}
ROWS = [
    *(_cover(*one) for one in REGIONS),
    *(_width(*one) for one in REGIONS),
    Row("interval of a difference between two layers covers, region of 10", "cover", partial(
        covers, 10, 0.3, **DIFFERENCE), n_sets=1000),
    Row("interval's width over the range of a difference between two layers, region of 10", "value", partial(
        width, 10, 0.3, **DIFFERENCE), between=(0.0, 1.3), n_sets=200),
    *(
        Row(f"interval of the part of variance that {said} covers, region of 10, expected r {r}", "cover", partial(
            covers_part, 10, SHARES[r], names), n_sets=1000)
        for names, said in (("a", "one set explains alone"), ("ab", "two of three sets share"), ("abc", "three share"))
        for r in (".00", ".38", ".69")
    ),
    *(
        Row(f"interval of the mean of {n} participants covers, same stimuli", "cover", partial(
            covers_means, n, many=50), many=50)
        for n in (6, 12, 20)
    ),
    *(_ceiling(*one) for one in CEILINGS),
    *(_ceiling(*one, promise="stated") for one in SMALL),
]  # fmt: skip
