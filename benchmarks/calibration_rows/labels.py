"""P values of decoded labels that the responses know nothing of: voxels and trials, runs held out."""

from functools import cache, partial

import numpy as np

from brainbench.decoders.base import TrialDecoder
from brainbench.decoders.classifiers import make_classifier
from brainbench.decoders.covariance import CspLda, FbcspLda, Fgmdm, TangentLr
from brainbench.decoders.exchanged import predict_exchanged
from brainbench.evaluation.calibration import Row
from brainbench.evaluation.decoding import score_labels
from brainbench.evaluation.labels import LabelNull, exchange_labels, kept_null
from brainbench.evaluation.trials.scores import Predictions, score_trials

N_EXCHANGES, N_TRUTH = 199, 5000


def ties_broken(value: float, draws: np.ndarray, seed: int) -> float:
    """Return a p that is uniform without an effect, however few values a score has."""
    above, equal = np.sum(draws > value + 1e-12), np.sum(np.abs(draws - value) <= 1e-12)
    return float((above + np.random.default_rng([seed, 7]).random() * (equal + 1)) / (len(draws) + 1))


def balanced(rng: np.random.Generator, n_runs: int, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and runs, both classes equally often in every run."""
    y = np.concatenate([rng.permutation(np.arange(n_rows) % 2) for _ in range(n_runs)])
    return y, np.repeat(np.arange(n_runs), n_rows)


def voxels(
    seed: int, *, classifier: str, fixed: bool = False, broken: bool = False, many: int = 1, n_features: int = 30
) -> list[float]:
    """Return the p of accuracies of four runs of ten rows; the data sets of one call share their responses."""
    rng = np.random.default_rng(seed)
    drawn = [balanced(rng, 4, 10) for _ in range(many)]
    run, X = drawn[0][1], rng.normal(size=(40, n_features))
    settings = {"kind": "within_run", "run": run, "n_exchanges": N_EXCHANGES}
    exchanges = [exchange_labels(y, **settings, seed=(seed + i) % 2**31) for i, (y, _) in enumerate(drawn)]
    n = 1 if fixed else N_EXCHANGES + 1
    labels = np.concatenate(
        [np.concatenate([y[None], y[one.orders]])[:n] for (y, _), one in zip(drawn, exchanges, strict=True)]
    )
    predicted = np.empty_like(labels)
    for one in range(4):
        train = run != one
        found = predict_exchanged(make_classifier(classifier), X[train], labels[:, train], X[~train])
        assert found is not None
        predicted[:, ~train] = found
    p = []
    for (y, _), one, again in zip(drawn, exchanges, predicted.reshape(many, n, 40), strict=True):
        if broken:
            draws = np.mean(y[one.orders] == again[1:], axis=1)
            p.append(ties_broken(float(np.mean(y == again[0])), draws, seed))
            continue
        null = LabelNull(one, y[one.orders], None if fixed else again[1:], learned=True)
        p.append(score_labels(y, again[0], run, n_classes=2, null=null, n_draws=0).tested["accuracy"][0])
    return p


def signals(rng: np.random.Generator, n_trials: int, n_channels: int = 6, n_times: int = 60) -> np.ndarray:
    """Return noise of correlated channels in volts; trials differ in strength, as they do."""
    mixing = np.eye(n_channels) + 0.4 * rng.normal(size=(n_channels, n_channels))
    noise = np.einsum("ij,njt->nit", mixing, rng.normal(size=(n_trials, n_channels, n_times)))
    return 1e-5 * rng.lognormal(0, 0.3, size=(n_trials, 1, 1)) * noise


def trials(seed: int, *, decoder: TrialDecoder, metric: str, broken: bool = False) -> float:
    """Return the p of a pipeline on three runs of fourteen trials, seven of each class."""
    rng = np.random.default_rng(seed)
    y, run = balanced(rng, 3, 14)
    prepared = decoder.prepare(signals(rng, len(y)))
    settings = {"kind": "within_run", "run": run, "seed": seed % 2**31}
    exchange = exchange_labels(y, n_exchanges=N_EXCHANGES, **settings)
    probability, again = np.empty((len(y), 2)), np.empty((len(y), N_EXCHANGES, 2))
    for one in range(3):
        train = run != one
        probability[~train] = decoder.fit_prepared(prepared[train], y[train]).probability_of(prepared[~train])
        found = decoder.exchanged(prepared[train], y[exchange.orders][:, train], prepared[~train])
        again = None if found is None else again
        if found is not None:
            again[~train] = found
    if again is None:
        null = kept_null(y, learned=True, n_exchanges=N_EXCHANGES, **settings)
    else:
        null = LabelNull(exchange, y[exchange.orders], again.transpose(1, 0, 2), learned=True)
    predictions = Predictions(np.arange(len(y)), run, probability)
    if not broken:
        return score_trials(y, predictions, null=null, n_draws=0).metrics[metric].p
    draws = np.mean(null.labels == null.predicted.argmax(axis=2), axis=1)
    return ties_broken(float(np.mean(y == probability.argmax(axis=1))), draws, seed)


def voxels_with_effect(rng: np.random.Generator, effect: float, n_runs: int, n_rows: int) -> tuple[np.ndarray, ...]:
    """Return labels, runs and held-out predictions where one of 30 voxels moves by `effect` SD with the label."""
    y, run = balanced(rng, n_runs, n_rows)
    X = rng.normal(size=(len(y), 30))
    X[:, 0] += effect * (2 * y - 1)
    predicted = np.empty_like(y)
    for one in range(n_runs):
        train = run != one
        predicted[~train] = make_classifier("ridge_classifier").fit(X[train], y[train]).predict(X[~train])
    return y, run, predicted


@cache
def accuracies(effect: float, n_runs: int, n_rows: int) -> np.ndarray:
    """Return accuracies in fresh data sets, whose mean is what intervals are about."""
    rng, found = np.random.default_rng([int(10 * effect), n_runs]), []
    for _ in range(N_TRUTH):
        y, _, predicted = voxels_with_effect(rng, effect, n_runs, n_rows)
        found.append(np.mean(y == predicted))
    return np.array(found)


def about_accuracy(seed: int, *, what: str, effect: float, n_runs: int, n_rows: int) -> float:
    """Return whether the interval of an accuracy covers, or its width over the central 95 % range of accuracies."""
    y, run, predicted = voxels_with_effect(np.random.default_rng(seed), effect, n_runs, n_rows)
    found, truth = score_labels(y, predicted, run, n_classes=2, seed=seed % 2**31), accuracies(effect, n_runs, n_rows)
    if what == "covers":
        return float(found.ci_low <= truth.mean() <= found.ci_high)
    return float((found.ci_high - found.ci_low) / np.diff(np.quantile(truth, [0.025, 0.975]))[0])


class Kept(CspLda):
    """A pipeline that is not fitted again: what is true of networks."""

    def exchanged(self, *args: object, **more: object) -> None:  # noqa: D102
        return None


def _voxel(name: str, n_sets: int, many: int = 1, promise: str = "discrete p", **settings: object) -> Row:
    return Row(f"voxel decoding, {name}, 4 runs x 10 rows", promise, partial(voxels, many=many, **settings),
               n_sets=n_sets, many=many)  # fmt: skip


def _trial(name: str, n_sets: int, promise: str = "discrete p", **settings: object) -> Row:
    return Row(f"{name}, 3 runs x 14 trials", promise, partial(trials, **settings), n_sets=n_sets)


ROWS = [
    _voxel("ridge, accuracy", 2000, 50, classifier="ridge_classifier"),
    _voxel("ridge, accuracy, ties broken", 2000, 50, "p", classifier="ridge_classifier", broken=True),
    _voxel("shrinkage LDA, accuracy", 1000, classifier="shrinkage_lda"),
    _voxel("shrinkage LDA, accuracy, ties broken", 1000, promise="p", classifier="shrinkage_lda", broken=True),
    _voxel("logistic, accuracy, ties broken", 1000, promise="p", classifier="logistic", broken=True),
    _voxel("ridge, accuracy, predictions fixed and widened", 2000, 50, classifier="ridge_classifier", fixed=True),
    _trial("EEG tangent space, ROC-AUC", 1000, "p", decoder=TangentLr(), metric="roc_auc"),
    _trial("EEG tangent space, accuracy, ties broken", 1000, "p", decoder=TangentLr(), metric="accuracy", broken=True),
    _trial("EEG CSP + LDA, ROC-AUC", 1000, "p", decoder=CspLda(4), metric="roc_auc"),
    _trial("EEG FgMDM, ROC-AUC", 1000, "p", decoder=Fgmdm(), metric="roc_auc"),
    *(
        _trial(f"EEG CSP + LDA, {metric}, predictions fixed and widened", 2000, decoder=Kept(4), metric=metric)
        for metric in ("roc_auc", "accuracy")
    ),
    _trial("EEG filter-bank CSP, ROC-AUC, predictions fixed and widened", 1000, decoder=FbcspLda(
        ((8, 12), (18, 24)), 2, 3), metric="roc_auc"),
    *(
        Row(f"interval of accuracy {what}, ridge, {n_runs} runs x {n_rows} rows, effect {effect}", promise, partial(
            about_accuracy, what=what, effect=effect, n_runs=n_runs, n_rows=n_rows), between=between, n_sets=n_sets)
        for n_runs, n_rows, effect in ((4, 10, 0.0), (4, 10, 0.6), (4, 10, 1.2), (4, 10, 2.5), (10, 20, 1.2))
        for what, promise, between, n_sets in (("covers", "cover", (0.92, 1.0), 1000), ("width", "stated", (0, 0), 200))
    ),
]  # fmt: skip
