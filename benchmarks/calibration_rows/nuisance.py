"""P values where responses drift, or move with the head, and the features do the same: both are taken out."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from calibration_rows.nulls import ALPHAS, N_EXCHANGES, responses

from brainbench.evaluation.calibration import Row
from brainbench.evaluation.exchange import make_exchange, time_exchange
from brainbench.evaluation.family import p_of_draws
from brainbench.evaluation.refit import column_scores, refit_null
from brainbench.evaluation.splitters import make_splitter
from brainbench.features.drift import remove_drift, restore_drift, segments_of
from brainbench.ridge.encoding import FoldDesign, FoldSettings, noise_and_drift

N_ROWS, N_RUNS, T_R, PERIOD = 300, 3, 2.0, 100.0
SETTINGS = FoldSettings(alphas=ALPHAS, t_r=T_R, high_pass_s=PERIOD)


def slow(rng: np.random.Generator, n_columns: int) -> np.ndarray:
    """Return random cosines of every run that are slower than what is kept, of unit variance."""
    time = (np.arange(N_ROWS // N_RUNS) + 0.5) / (N_ROWS // N_RUNS)
    waves = np.cos(np.pi * time[:, None] * np.arange(1, 4))
    found = np.concatenate([waves @ rng.normal(size=(3, n_columns)) for _ in range(N_RUNS)])
    return found / found.std(axis=0)


def moved(rng: np.random.Generator, n_columns: int, motion: np.ndarray) -> np.ndarray:
    """Return what a head's motion does to columns, of unit variance."""
    found = motion @ rng.normal(size=(motion.shape[1], n_columns))
    return found / found.std(axis=0)


def disturbed(seed: int, *, many: int, kind: str, ar: float = 0.3) -> list[float]:
    """Return p values of one target each, half of whose variance, and of the features', is drift or motion."""
    rng = np.random.default_rng(seed)
    run = np.arange(N_ROWS) * N_RUNS // N_ROWS
    motion = responses(rng, N_ROWS, 1, 0.9, 6)
    add = partial(slow, rng) if kind == "drift" else partial(moved, rng, motion=motion)
    X, Y = responses(rng, N_ROWS, 1, 0.7, 20), responses(rng, N_ROWS, 1, ar, many)
    X, Y = (part / part.std(axis=0) + add(part.shape[1]) for part in (X, Y))
    nuisance = motion if kind == "motion" else None
    folds = list(make_splitter(["run"], scheme="leave-one-out").split(Y, stimulus=np.arange(N_ROWS), run=run))
    designs = [
        FoldDesign([X], *fold, SETTINGS, inner_groups=None, run=run, nuisance=nuisance) for fold in folds
    ]  # fmt: skip
    noise, stays = noise_and_drift(Y, run, SETTINGS, nuisance)
    drift = (segments_of(np.arange(N_ROWS), run), T_R, PERIOD)
    block, length = time_exchange(restore_drift(remove_drift(Y, *drift), *drift), run)
    exchange = make_exchange(
        N_ROWS, kind=block, run=run, block_length=length, n_exchanges=N_EXCHANGES, seed=seed % 2**31
    )

    def refit(Y: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        for design in designs:
            yield design.refit(Y)

    score = column_scores("pearson_r", "folds")
    regions = {str(i): np.arange(many) == i for i in range(many)}
    null = refit_null(noise, exchange, refit, score, regions, base=stays, n_refitted=10_000)
    observed = score(list(refit(Y)))
    return [p_of_draws(float(one), draws, exchange) for one, draws in zip(observed, null.regions.T, strict=True)]


ROWS = [
    Row(f"continuous, three runs, AR 0.3, half of all is {kind}, one target", "p",
        partial(disturbed, many=20, kind=kind), many=20)
    for kind in ("drift", "motion")
]  # fmt: skip
