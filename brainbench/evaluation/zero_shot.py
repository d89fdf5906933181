"""Two stimuli left out, 2 vs 2: whether features predict responses to stimuli that training never saw.

Eight feature vectors for eight categories are as good as eight labels while every category is trained on. Only
stimuli that were never trained on can show that the features' similarities carry over (Mitchell et al. 2008).
For every pair of stimuli and every held-out run, the mean responses of the other stimuli in the other runs train a
ridge model; it predicts the two left out, and the pair counts as right when matched predictions correlate better
with the measured patterns than swapped ones. The null refits everything with features dealt to the wrong stimuli.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

_CHUNK = 256
"""Shuffles solved at once."""


@dataclass(frozen=True)
class TwoVersusTwo:
    """Result of the test.

    Attributes
    ----------
    accuracy : float
        Share of pairs told apart; a tie counts half.
    p, null_95 : float
        Against refitted shuffles of which features belong to which stimulus.
    pairs : ndarray (n_pairs, 2)
    right : ndarray (n_pairs,)
    """

    accuracy: float
    p: float
    null_95: float
    pairs: np.ndarray
    right: np.ndarray


def leave_two_out_2v2(
    features: np.ndarray,
    responses: np.ndarray,
    stimulus: np.ndarray,
    run: np.ndarray,
    *,
    alphas: np.ndarray,
    n_shuffles: int = 1000,
    seed: int = 0,
) -> TwoVersusTwo:
    """Test generalisation to unseen stimuli.

    Parameters
    ----------
    features : ndarray (n_stimuli, n_features)
    responses : ndarray (n_rows, n_targets)
    stimulus : int ndarray (n_rows,)
        Index into `features`.
    run : ndarray (n_rows,)
        With one run only, training and test share it.
    alphas : ndarray (n_alphas,)
        Penalties relative to the mean diagonal of the feature kernel; chosen inside by leaving one stimulus out.
    n_shuffles : int
    seed : int

    Raises
    ------
    ValueError
        With fewer than five stimuli, or a stimulus that some run's complement never shows.
    """
    n = len(features)
    if n < 5:
        raise ValueError(f"leaving two stimuli out needs five or more, got {n}")
    train_means, tests = _means(np.asarray(responses, dtype=np.float64), stimulus, run, n)
    kernel = _kernel(features)
    rng = np.random.default_rng([seed, 41])
    shuffles = np.stack([np.arange(n), *(rng.permutation(n) for _ in range(n_shuffles))])
    pairs = np.array(list(combinations(range(n), 2)))
    right = np.concatenate(
        [
            _decide(kernel, shuffles[start : start + _CHUNK], pairs, train_means, tests, alphas)
            for start in range(0, len(shuffles), _CHUNK)
        ]
    )
    accuracy = right.mean(axis=1)
    null = accuracy[1:]
    p = float((np.sum(null >= accuracy[0] - 1e-12) + 1) / (len(null) + 1))
    return TwoVersusTwo(float(accuracy[0]), p, float(np.quantile(null, 0.95)), pairs, right[0])


def _means(
    responses: np.ndarray, stimulus: np.ndarray, run: np.ndarray, n: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return per held-out run the mean pattern of every stimulus in the other runs, and in it (NaN: not shown)."""
    runs = np.unique(run)
    train, test = [], []
    for one in runs:
        held = run == one
        others = ~held if len(runs) > 1 else held
        train.append(_by_stimulus(responses[others], stimulus[others], n))
        test.append(_by_stimulus(responses[held], stimulus[held], n))
        missing = np.flatnonzero(np.isnan(train[-1][:, 0]))
        if len(missing):
            raise ValueError(f"stimulus {missing[0]} is shown in run '{one}' only, so no other run can train on it")
    return train, test


def _by_stimulus(responses: np.ndarray, stimulus: np.ndarray, n: int) -> np.ndarray:
    counts = np.bincount(stimulus, minlength=n)
    sums = np.zeros((n, responses.shape[1]))
    np.add.at(sums, stimulus, responses)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts[:, None] > 0, sums / counts[:, None], np.nan)


def _kernel(features: np.ndarray) -> np.ndarray:
    """Return the linear kernel of standardised features, mean diagonal 1."""
    X = np.asarray(features, dtype=np.float64)
    spread = X.std(axis=0)
    X = (X - X.mean(axis=0)) / np.where(spread > 1e-12 * max(float(spread.max(initial=0)), 1e-300), spread, np.inf)
    kernel = X @ X.T
    size = np.trace(kernel) / len(kernel)
    return kernel / size if size > 0 else kernel


def _centered(kernel: np.ndarray, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Center kernels by the training stimuli: an intercept. Shapes (s, k, k) and (s, m, k)."""
    K = np.take_along_axis(np.take_along_axis(kernel, train[:, :, None], axis=1), train[:, None, :], axis=2)
    C = np.take_along_axis(np.take_along_axis(kernel, test[:, :, None], axis=1), train[:, None, :], axis=2)
    row = K.mean(axis=1, keepdims=True)
    total = K.mean(axis=(1, 2), keepdims=True)
    return K - row - row.transpose(0, 2, 1) + total, C - C.mean(axis=2, keepdims=True) - row + total


def _hats(K: np.ndarray, C: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Return C (K + alpha)^-1 with the mean added back, ``(n_alphas, s, m, k)``."""
    values, vectors = np.linalg.eigh(K)
    CV = C @ vectors
    filters = 1 / (np.clip(values, 0, None) + alphas[:, None, None])
    hats = np.einsum("smk,ask,slk->asml", CV, filters, vectors, optimize=True)
    k = K.shape[1]
    # Centering the training responses: subtract their mean before, add it after.
    hats -= hats.mean(axis=3, keepdims=True)
    return hats + 1 / k


def _decide(
    kernel: np.ndarray,
    shuffles: np.ndarray,
    pairs: np.ndarray,
    train_means: list[np.ndarray],
    tests: list[np.ndarray],
    alphas: np.ndarray,
) -> np.ndarray:
    """Return whether each pair is told apart under each shuffle, ``(n_shuffles, n_pairs)``."""
    s, n = shuffles.shape
    kernels = kernel[shuffles[:, :, None], shuffles[:, None, :]]
    total = sum(means @ means.T for means in train_means)
    right = np.empty((s, len(pairs)))
    for index, pair in enumerate(pairs):
        rest = np.setdiff1d(np.arange(n), pair)
        # The penalty with the smallest squared error on one more stimulus left out, over all runs and targets.
        error = np.zeros((len(alphas), s))
        for left in rest:
            inner = np.setdiff1d(rest, left)
            hats = _hats(*_centered(kernels, np.tile(inner, (s, 1)), np.full((s, 1), left)), alphas)[:, :, 0]
            error += np.einsum("ask,kl,asl->as", hats, total[np.ix_(inner, inner)], hats, optimize=True)
            error += total[left, left] - 2 * hats @ total[inner, left]
        best = error.argmin(axis=0)
        hats = _hats(*_centered(kernels, np.tile(rest, (s, 1)), np.tile(pair, (s, 1))), alphas)
        chosen = hats[best, np.arange(s)]
        matched, swapped = np.zeros(s), np.zeros(s)
        for means, test in zip(train_means, tests, strict=True):
            if np.isnan(test[pair]).any():
                continue
            r = _correlations(chosen, means[rest], test[pair])
            matched += r[:, 0, 0] + r[:, 1, 1]
            swapped += r[:, 0, 1] + r[:, 1, 0]
        difference = matched - swapped
        right[:, index] = np.where(np.abs(difference) < 1e-9, 0.5, difference > 0)
    return right


def _correlations(hats: np.ndarray, means: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return correlations over targets of both predictions with both measured patterns, ``(s, 2, 2)``.

    Predictions are ``hats @ means``; their inner products follow from small Gram matrices, so that nothing of size
    shuffles x targets is made.
    """
    means = means - means.mean(axis=1, keepdims=True)
    test = test - test.mean(axis=1, keepdims=True)
    inner = hats @ (means @ test.T)
    norm = np.sqrt(np.clip(np.einsum("smk,kl,sml->sm", hats, means @ means.T, hats, optimize=True), 0, None))
    size = norm[:, :, None] * np.sqrt((test**2).sum(axis=1))[None, None, :]
    return np.divide(inner, size, out=np.zeros_like(inner), where=size > 1e-12)
