"""P values of encoding scores on responses that know nothing of the features: everything is refitted."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.signal import lfilter

from brainbench.evaluation.calibration import Row
from brainbench.evaluation.exchange import Exchange, make_exchange, time_exchange
from brainbench.evaluation.family import p_of_draws, p_over_layers
from brainbench.evaluation.refit import N_REFITTED, Null, column_scores, refit_null
from brainbench.evaluation.splitters import Fold, make_splitter
from brainbench.ridge.encoding import FoldDesign, FoldSettings
from brainbench.ridge.fixed import FixedFits

ALPHAS = np.logspace(-2, 4, 7)
N_EXCHANGES = 199


def encode(
    X: np.ndarray, Y: np.ndarray, folds: Sequence[Fold], exchange: Exchange,
    *, n_regions: int = 1, groups: np.ndarray | None = None, over: str = "folds", n_refitted: int = N_REFITTED,
) -> tuple[np.ndarray, Null]:  # fmt: skip
    """Return scores and null of regions of equal size; rows of one region's targets stand together."""
    n_rows, settings = len(X), FoldSettings(alphas=ALPHAS)
    run, groups = np.zeros(n_rows), [None if groups is None else groups[train] for train, _ in folds]
    designs = [
        FoldDesign([X], *fold, settings, inner_groups=inner, run=run) for fold, inner in zip(folds, groups, strict=True)
    ]

    def refit(Y: np.ndarray):
        for design in designs:
            yield design.refit(Y)

    of = np.arange(Y.shape[1]) * n_regions // Y.shape[1]
    score = column_scores("pearson_r", over)
    null = refit_null(
        Y, exchange, refit, score, {str(i): of == i for i in range(n_regions)},
        fixed=lambda alpha: FixedFits(designs, alpha, n_rows), n_refitted=n_refitted,
    )  # fmt: skip
    return score(list(refit(Y))).reshape(n_regions, -1).mean(axis=1), null


def p_values(found: tuple[np.ndarray, Null], exchange: Exchange) -> list[float]:
    """Return the p of every region."""
    return [p_of_draws(value, draws, exchange) for value, draws in zip(found[0], found[1].regions.T, strict=True)]


def responses(rng: np.random.Generator, n_rows: int, n_targets: int, ar: float = 0.0, n_regions: int = 1) -> np.ndarray:
    """Return noise with an AR(1) in time; targets of a region share half of their variance in five factors."""
    noise = rng.normal(size=(n_rows + 100, n_regions, n_targets))
    if n_targets > 1:
        factors = (
            rng.normal(size=(n_regions, n_rows + 100, 5)) @ rng.normal(size=(n_regions, 5, n_targets)) / np.sqrt(5)
        )
        noise = np.sqrt(0.5) * (factors.transpose(1, 0, 2) + noise)
    return lfilter([1.0], [1.0, -ar], noise.reshape(len(noise), -1), axis=0)[100:]


def trials(
    seed: int, *, many: int, n_targets: int = 1, n_splits: int = 5, hold_out: str = "stimulus",
    n_rows: int = 120, n_features: int = 40, heavy: bool = False, n_refitted: int = 10_000,
) -> list[float]:  # fmt: skip
    """Return the p of regions in a design of trials, every one a data set of its own: 120 stimuli, or six runs."""
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(n_rows, n_features)), responses(rng, n_rows, n_targets, n_regions=many)
    if heavy:
        Y = np.sign(Y) * np.abs(Y) ** 3
    stimulus, run = np.arange(n_rows), np.arange(n_rows) * 6 // n_rows
    by_run = hold_out == "run"
    if by_run:
        Y = Y + rng.normal(size=(6, Y.shape[1]))[run]
    folds = list(make_splitter([hold_out], n_splits=n_splits, seed=seed % 2**31).split(Y, stimulus=stimulus, run=run))
    exchange = make_exchange(
        n_rows, kind="within_run" if by_run else "stimulus", stimulus=stimulus, run=run if by_run else None,
        n_exchanges=N_EXCHANGES, seed=seed % 2**31,
    )  # fmt: skip
    found = encode(
        X, Y, folds, exchange, n_regions=many, groups=run if by_run else stimulus,
        over="folds" if min(len(test) for _, test in folds) >= 3 else "pooled", n_refitted=n_refitted,
    )  # fmt: skip
    return p_values(found, exchange)


def repeats(seed: int, *, many: int) -> list[float]:
    """Return p values where every stimulus was shown two or three times, each showing its own row."""
    rng = np.random.default_rng(seed)
    stimulus = np.repeat(np.arange(50), 2 + np.arange(50) % 2)
    X = rng.normal(size=(50, 40))[stimulus]
    Y = responses(rng, len(stimulus), 1, n_regions=many) + responses(rng, 50, 1, n_regions=many)[stimulus]
    folds = list(make_splitter(["stimulus"], n_splits=5, seed=seed % 2**31).split(Y, stimulus=stimulus))
    exchange = make_exchange(
        len(stimulus), kind="stimulus", stimulus=stimulus, n_exchanges=N_EXCHANGES, seed=seed % 2**31
    )
    return p_values(encode(X, Y, folds, exchange, n_regions=many, groups=stimulus), exchange)


def continuous(
    seed: int, *, many: int, ar: float, n_targets: int = 1, n_rows: int = 300, n_runs: int = 1, slow: float = 0.7
) -> list[float]:
    """Return p values of a continuous design, contiguous folds, features with an AR(1) of their own."""
    rng = np.random.default_rng(seed)
    X = responses(rng, n_rows, 1, slow, 20)
    Y = responses(rng, n_rows, n_targets, ar, many)
    run = np.arange(n_rows) * n_runs // n_rows
    splitter = make_splitter(["stimulus"], scheme="contiguous", n_splits=5, trim=5)
    folds = list(splitter.split(Y, stimulus=np.arange(n_rows), run=run))
    kind, length = time_exchange(Y, run)
    exchange = make_exchange(
        n_rows, kind=kind, run=run, block_length=length, n_exchanges=N_EXCHANGES, seed=seed % 2**31
    )
    return p_values(encode(X, Y, folds, exchange, n_regions=many), exchange)


def layers(seed: int, *, many: int, n_layers: int = 12, n_targets: int = 4) -> list[float]:
    """Return the one p of regions over layers that resemble each other."""
    rng = np.random.default_rng(seed)
    n_rows = 120
    Y, stimulus = responses(rng, n_rows, n_targets, n_regions=many), np.arange(n_rows)
    folds = list(make_splitter(["stimulus"], n_splits=5, seed=seed % 2**31).split(Y, stimulus=stimulus))
    exchange = make_exchange(n_rows, kind="stimulus", stimulus=stimulus, n_exchanges=N_EXCHANGES, seed=seed % 2**31)
    X, found = rng.normal(size=(n_rows, 20)), []
    for _ in range(n_layers):
        found.append(encode(X, Y, folds, exchange, n_regions=many, groups=stimulus))
        X = 0.8 * X @ np.linalg.qr(rng.normal(size=(20, 20)))[0] + 0.6 * rng.normal(size=(n_rows, 20))
    return [
        p_over_layers([one[i] for one, _ in found], [null.regions[:, i] for _, null in found], exchange)[0]
        for i in range(many)
    ]


def of_law(draw: Callable[[np.random.Generator, int], np.ndarray], seed: int) -> float:
    """Return the p of a score that is drawn from one law with 199 others: what count and tail make of draws."""
    values = draw(np.random.default_rng(seed), 200)
    return p_of_draws(float(values[0]), values[1:], make_exchange(60, kind="rows"))


LAWS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "gamma of shape 4": lambda rng, n: rng.gamma(4, size=n),
    "gamma of shape 4, turned": lambda rng, n: -rng.gamma(4, size=n),
    "Student's, 10 degrees": lambda rng, n: rng.standard_t(10, size=n),
}


def _row(name: str, one: Callable[..., list[float]], n_sets: int = 2000, many: int = 20, **settings: object) -> Row:
    return Row(name, "p", partial(one, many=many, **settings), n_sets=n_sets, many=many)


ROWS = [
    *(_row(f"encoding, one target, {k} folds", trials, n_splits=k) for k in (5, 2, 10)),
    *(_row(f"encoding, region of 20, {k} folds", trials, many=5, n_targets=20, n_splits=k) for k in (5, 2, 10)),
    _row("encoding, region of 200, 6 refitted", trials, 1000, 2, n_targets=200, n_refitted=N_REFITTED),
    _row("encoding, heavy tails, one target", trials, heavy=True),
    _row("encoding, more features than rows, one target", trials, n_features=300),
    _row("encoding, runs held out, one target", trials, hold_out="run"),
    _row("encoding, runs held out, region of 20", trials, many=5, n_targets=20, hold_out="run"),
    _row("encoding, 40 stimuli left out one by one", trials, n_splits=40, n_rows=40),
    _row("encoding, repeats as rows", repeats),
    *(_row(f"continuous, one run, AR {ar}, one target", continuous, ar=ar) for ar in (0.0, 0.3, 0.5, 0.8)),
    *(_row(f"continuous, one run, AR {ar}, region of 4", continuous, ar=ar, n_targets=4) for ar in (0.3, 0.5, 0.8)),
    _row("continuous, three runs, AR 0.5, region of 4", continuous, ar=0.5, n_targets=4, n_runs=3),
    _row("continuous, 1000 rows in blocks, AR 0.5, one target", continuous, 1000, ar=0.5, n_rows=1000, slow=0.5),
    _row("encoding, 12 layers, one test, region of 4", layers, 1000),
    *(
        Row(f"p from 199 draws of a law: {name}", "p", partial(of_law, law), n_sets=20_000)
        for name, law in LAWS.items()
    ),
]
