"""Tests of geometries, of unseen stimuli and of identified images: conditions, or whole images, are exchanged."""

from functools import partial

import numpy as np

from brainbench.evaluation.calibration import Row
from brainbench.evaluation.family import p_of_draws, p_over_layers
from brainbench.evaluation.labels import exchange_labels, widened
from brainbench.evaluation.similarity import geometry_exchange, geometry_test
from brainbench.evaluation.splitters import make_splitter
from brainbench.evaluation.zero_shot import leave_two_out_2v2
from brainbench.reconstruction.identification import correlations, two_way_shares
from brainbench.ridge.ridge import RidgeCV


def geometry(metric: str, seed: int) -> float:
    """Return the p of the geometries of 24 stimuli that know nothing of each other."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(24, 30)), rng.normal(size=(24, 40)) @ rng.normal(size=(40, 40))
    return geometry_test(x, y, metric=metric, n_permutations=199, seed=seed % 2**31).p


def geometry_over_layers(seed: int, n_layers: int = 6) -> float:
    """Return the one p of layers that resemble each other and know nothing of a region's geometry."""
    rng = np.random.default_rng(seed)
    x, y, found = rng.normal(size=(24, 30)), rng.normal(size=(24, 40)), []
    for _ in range(n_layers):
        found.append(geometry_test(x, y, metric="rsa", n_permutations=199, seed=seed % 2**31))
        x = 0.8 * x + 0.6 * rng.normal(size=x.shape)
    exchange = geometry_exchange(24, 199, seed % 2**31)
    return p_over_layers([one.value for one in found], [one.draws for one in found], exchange)[0]


def geometry_of_means(seed: int, shared: float = 0.5, n_subjects: int = 6) -> float:
    """Return the p of mean RSA of participants who share patterns of the stimuli that the features know nothing of."""
    rng = np.random.default_rng(seed)
    x, common = rng.normal(size=(24, 30)), rng.normal(size=(24, 40))
    found = []
    for _ in range(n_subjects):
        y = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=common.shape)
        found.append(geometry_test(x, y, metric="rsa", n_permutations=199, seed=seed % 2**31))
    draws, exchange = np.mean([one.draws for one in found], axis=0), geometry_exchange(24, 199, seed % 2**31)
    return p_of_draws(float(np.mean([one.value for one in found])), draws, exchange)


def unseen(seed: int) -> float:
    """Return the p of 2 vs 2 on eight stimuli, each once in each of four runs."""
    rng = np.random.default_rng(seed)
    stimulus, run = np.tile(np.arange(8), 4), np.repeat(np.arange(4), 8)
    Y = rng.normal(size=(8, 20))[stimulus] + rng.normal(size=(32, 20))
    features = rng.normal(size=(8, 12))
    return leave_two_out_2v2(
        features, Y, stimulus, run, alphas=np.logspace(-2, 3, 6), n_shuffles=199, seed=seed % 2**31
    ).p


def identified(seed: int, *, what: str, n_rows: int = 60) -> float:
    """Return the p of images predicted from responses that know nothing of them, folds of images held out."""
    rng = np.random.default_rng(seed)
    X, images = rng.normal(size=(n_rows, 30)), rng.normal(size=(n_rows, 12)) @ rng.normal(size=(12, 40))
    predicted, fold = np.empty_like(images), np.empty(n_rows, dtype=int)
    folds = make_splitter(["stimulus"], n_splits=5, seed=seed % 2**31).split(X, stimulus=np.arange(n_rows))
    for number, (train, test) in enumerate(folds):
        fold[test] = number
        head = RidgeCV(alphas=np.logspace(0, 4, 5), cv=4, store_coef=False)
        predicted[test] = head.fit_then_predict(X[train], images[train], X[test])
    R = correlations(images, predicted)
    scores = R if what == "pixcorr" else two_way_shares(R)
    names = np.arange(n_rows)
    exchange = exchange_labels(
        names, kind="stimulus", stimulus=names, within=fold, n_exchanges=199, seed=seed % 2**31
    )  # fmt: skip
    draws = scores[exchange.orders, np.arange(n_rows)].mean(axis=1)
    return p_of_draws(float(np.diag(scores).mean()), widened(draws), exchange)


ROWS = [
    *(Row(f"{metric.upper()} of 24 stimuli", "p", partial(geometry, metric)) for metric in ("rsa", "cka")),
    Row("RSA of 24 stimuli, 6 layers, one test", "p", geometry_over_layers),
    Row("RSA of 24 stimuli, mean of 6 participants, shared patterns .5, exchanged together", "p", geometry_of_means),
    Row("2 vs 2 of eight unseen stimuli", "discrete p", unseen),
    *(
        Row(f"images, {what}, predictions fixed and widened, 60 images", "discrete p", partial(identified, what=what))
        for what in ("two-way identification", "pixcorr")
    ),
]
