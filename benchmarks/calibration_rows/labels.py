"""P values of decoded trials: labels that the signals know nothing of, runs held out, LDA."""

from functools import partial

import numpy as np

from brainbench.evaluation.calibration import Row
from brainbench.evaluation.decoding import score_labels
from brainbench.evaluation.trials.scores import Predictions, score_trials


def held_out_probability(rng: np.random.Generator, y: np.ndarray, run: np.ndarray, n_features: int) -> np.ndarray:
    """Return probabilities of held-out trials ``(n_trials, 2)`` from LDA of features without a signal."""
    X = rng.normal(size=(len(y), n_features))
    logit = np.empty(len(y))
    for one in np.unique(run):
        train = run != one
        a, b = (X[train & (y == label)].mean(axis=0) for label in (0, 1))
        left = X[train] - np.where(y[train, None] == 1, b, a)
        weights = np.linalg.solve(left.T @ left / (train.sum() - 2) + 1e-3 * np.eye(n_features), b - a)
        logit[~train] = (X[~train] - (a + b) / 2) @ weights
    return np.stack([1 / (1 + np.exp(logit)), 1 / (1 + np.exp(-logit))], axis=1)


def trials(seed: int, *, metric: str, n_features: int = 6) -> float:
    """Return the p of three runs of fourteen trials, seven of each class."""
    rng = np.random.default_rng(seed)
    run = np.repeat(np.arange(3), 14)
    y = np.concatenate([rng.permutation(np.repeat([0, 1], 7)) for _ in range(3)])
    predictions = Predictions(np.arange(42), run, held_out_probability(rng, y, run, n_features))
    return score_trials(y, predictions, run, n_permutations=199, n_draws=0, seed=seed % 2**31).metrics[metric].p


def voxels(seed: int) -> float:
    """Return the p of accuracy for eight runs of ten rows, runs held out."""
    rng = np.random.default_rng(seed)
    run = np.repeat(np.arange(8), 10)
    y = np.concatenate([rng.permutation(np.repeat([0, 1], 5)) for _ in range(8)])
    guess = held_out_probability(rng, y, run, 20).argmax(axis=1)
    return score_labels(
        y.astype(str), guess.astype(str), run, run=run, n_permutations=199, n_draws=0, seed=seed % 2**31
    ).p


ROWS = [
    *(
        Row(f"{metric} of LDA, 3 runs x 14 trials", "discrete p", partial(trials, metric=metric))
        for metric in ("roc_auc", "accuracy", "balanced_accuracy", "kappa")
    ),
    Row("roc_auc of LDA with 16 features, 3 runs x 14 trials", "discrete p",
        partial(trials, metric="roc_auc", n_features=16)),
    Row("voxel decoding accuracy, 8 runs x 10 rows", "discrete p", voxels),
]  # fmt: skip
