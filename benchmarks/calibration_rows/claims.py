"""P values of what a model adds to controls, and of means over participants who met the same stimuli."""

from functools import partial

import numpy as np
from calibration_rows.nulls import N_EXCHANGES, encode, responses

from brainbench.evaluation.bootstrap import subject_mean
from brainbench.evaluation.calibration import Row
from brainbench.evaluation.exchange import make_exchange
from brainbench.evaluation.family import p_of_draws, p_over_layers
from brainbench.evaluation.refit import best_scores, refit_null
from brainbench.evaluation.splitters import make_splitter
from brainbench.ridge.encoding import FoldDesign, FoldSettings


def unique(
    seed: int, *, many: int, effect: float = 0.3, n_targets: int = 4, n_rows: int = 120, n_layers: int = 1,
    shared: float = 0.0,
) -> list[float]:  # fmt: skip
    """Return p of unique R2 of models whose features correlate .5 with controls that alone have an effect.

    One p a region, over all layers where there are several, of which each resembles the one before. Where the regions
    have `shared` of their variance in common they are those of participants, and the one p is that of their mean.
    """
    rng = np.random.default_rng(seed)
    controls = rng.normal(size=(n_rows, 10))
    model = 0.5 * controls @ rng.normal(size=(10, 20)) / np.sqrt(10) + np.sqrt(0.75) * rng.normal(size=(n_rows, 20))
    signal = controls @ rng.normal(size=(10, many * n_targets)) / np.sqrt(10)
    Y = effect * signal + np.sqrt(1 - effect**2) * responses(rng, n_rows, n_targets, n_regions=many)
    Y = np.sqrt(1 - shared) * Y + np.sqrt(shared) * rng.normal(size=(n_rows, 1)) if shared else Y
    stimulus, settings = np.arange(n_rows), FoldSettings(alphas=np.logspace(-1, 4, 6))
    folds = list(make_splitter(["stimulus"], n_splits=5, seed=seed % 2**31).split(Y, stimulus=stimulus))

    def designs(bands: list[np.ndarray]) -> list[FoldDesign]:
        run = np.zeros(n_rows)
        return [FoldDesign(bands, *fold, settings, inner_groups=stimulus[fold[0]], run=run) for fold in folds]

    small, full = designs([controls]), [designs([controls, model])]
    for _ in range(n_layers - 1):
        model = 0.8 * model + 0.6 * rng.normal(size=model.shape)
        full.append(designs([controls, model]))
    score, of = best_scores("folds"), np.arange(Y.shape[1]) // n_targets
    regions = {str(i): of == i for i in range(many)}
    exchange = make_exchange(n_rows, kind="stimulus", stimulus=stimulus, n_exchanges=N_EXCHANGES, seed=seed % 2**31)

    def fit(Y: np.ndarray, model: list[FoldDesign]) -> list[tuple[np.ndarray, ...]]:
        return [design.refit(Y) for design in model]

    parts = fit(Y, small)
    base, left = np.zeros_like(Y), np.zeros_like(Y)
    for (_, test), (truth, predicted) in zip(folds, parts, strict=True):
        base[test], left[test] = predicted, truth - predicted
    smaller = refit_null(
        left, exchange, partial(fit, model=small), score, regions, base=base, n_refitted=10_000
    )  # fmt: skip
    nulls = [
        refit_null(
            left, exchange, partial(fit, model=one), score, regions, base=base, less=smaller.targets, n_refitted=10_000
        ).regions
        for one in full
    ]  # fmt: skip
    observed = [(score(fit(Y, one)) - score(parts)).reshape(many, n_targets).mean(axis=1) for one in full]
    if shared:
        return [p_of_draws(float(observed[0].mean()), nulls[0].mean(axis=1), exchange)]
    if n_layers == 1:
        return [p_of_draws(float(one), draws, exchange) for one, draws in zip(observed[0], nulls[0].T, strict=True)]
    return [
        p_over_layers([one[i] for one in observed], [draws[:, i] for draws in nulls], exchange)[0] for i in range(many)
    ]


def participants(seed: int, *, test: str, shared: float, n_subjects: int = 12, n_rows: int = 80) -> float:
    """Return the p of a mean over participants who share a signal of the stimuli that the features know nothing of."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 20))
    common = rng.normal(size=(n_rows, 1))
    Y = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=(n_rows, n_subjects))
    stimulus = np.arange(n_rows)
    folds = list(make_splitter(["stimulus"], n_splits=5, seed=seed % 2**31).split(Y, stimulus=stimulus))
    exchange = make_exchange(n_rows, kind="stimulus", stimulus=stimulus, n_exchanges=N_EXCHANGES, seed=seed % 2**31)
    observed, null = encode(X, Y, folds, exchange, n_regions=n_subjects, groups=stimulus)
    if test == "t":
        return subject_mean(observed).p
    return p_of_draws(float(observed.mean()), null.regions.mean(axis=1), exchange)


ROWS = [
    *(
        Row(f"unique variance, control effect r {str(effect)[1:]}, region of 4", "p",
            partial(unique, many=5, effect=effect),
            n_sets=1000, many=5)
        for effect in (0.3, 0.6)
    ),
    Row("unique variance, control effect r .3, 4 layers, one test, region of 4", "p",
        partial(unique, many=5, n_layers=4), n_sets=1000, many=5),
    Row("unique variance, mean of 5 participants, shared signal .3, exchanged together", "p",
        partial(unique, many=5, shared=0.3), n_sets=1000),
    *(
        Row(f"mean of {n} participants, shared signal {shared}, exchanged together", "p",
            partial(participants, test="exchange", shared=shared, n_subjects=n), n_sets=1000)
        for n in (6, 12, 20)
        for shared in (0.3, 0.5)
    ),
]  # fmt: skip
