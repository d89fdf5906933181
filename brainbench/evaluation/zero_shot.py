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

from brainbench.evaluation.exchange import make_exchange
from brainbench.evaluation.family import p_of_draws

FEWEST_STIMULI = 5
"""Two are left out, one penalty is chosen by leaving out another, and two are left to learn from."""

_CHUNK_FLOATS = 2_000_000
"""Floats that the work on one chunk of pairs, or on one chunk of shuffles, may hold."""


_CHUNKS = 6
"""So many such chunks are alive at once, at most."""


def bytes_of(n_stimuli: int, n_runs: int, n_targets: int, n_shuffles: int) -> int:
    """Return about how much `leave_two_out_2v2` holds at its peak beside what it is given."""
    pairs = n_stimuli * (n_stimuli - 1) // 2
    means = 3 * n_runs * n_stimuli * n_targets + 2 * n_runs * n_stimuli**2
    return 8 * ((n_shuffles + 1) * pairs + means + _CHUNKS * _CHUNK_FLOATS)


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
    if n < FEWEST_STIMULI:
        raise ValueError(f"leaving two stimuli out needs {FEWEST_STIMULI} or more, got {n}")
    train_means, tests = _means(np.asarray(responses, dtype=np.float64), stimulus, run, n)
    kernel = _kernel(features)
    exchange = make_exchange(n, kind="rows", n_exchanges=n_shuffles, seed=seed)
    shuffles = np.concatenate([np.arange(n)[None], exchange.orders])
    pairs = np.array(list(combinations(range(n), 2)))
    right = _decide(kernel, shuffles, pairs, train_means, tests, alphas)
    accuracy = right.mean(axis=1)
    null = accuracy[1:]
    p = p_of_draws(float(accuracy[0]), null, exchange)
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


def _decide(
    kernel: np.ndarray,
    shuffles: np.ndarray,
    pairs: np.ndarray,
    train_means: list[np.ndarray],
    tests: list[np.ndarray],
    alphas: np.ndarray,
) -> np.ndarray:
    """Return whether each pair is told apart under each shuffle, ``(n_shuffles, n_pairs)``.

    A shuffle deals the same features other responses, and of a fit it changes nothing but which responses stand
    beside which row. So leaving out is solved once, for pairs of rows of features, and shuffles are columns of
    responses. Columns of the result are those pairs: for stimuli as well in the first row, which is not shuffled.
    """
    n = len(kernel)
    residuals = _residual_operators(kernel, alphas)
    stimulus = np.argsort(shuffles, axis=1)  # the stimulus whose responses stand beside each row of features
    total = sum(means @ means.T for means in train_means)
    runs = [_run_products(means, test) for means, test in zip(train_means, tests, strict=True)]
    size = len(alphas) * n * (n + 1) // 2
    right = np.empty((len(shuffles), len(pairs)))
    for start in range(0, len(pairs), max(1, _CHUNK_FLOATS // size)):
        some = pairs[start : start + max(1, _CHUNK_FLOATS // size)]
        hats, errors = _leave_out(residuals, some)
        best = _best_alphas(errors, np.asarray(total), stimulus)
        step = max(1, _CHUNK_FLOATS // hats[0].size)
        for first in range(0, len(shuffles), step):
            part = slice(first, first + step)
            chosen = hats[best[part], np.arange(len(some))]
            beside = np.take_along_axis(chosen, shuffles[part, None, None, :], axis=3)
            difference = _difference(beside, stimulus[part][:, some], runs)
            right[part, start : start + len(some)] = np.where(np.abs(difference) < 1e-9, 0.5, difference > 0)
    return right


def _residual_operators(kernel: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Return, for every penalty, P with residuals ``alpha P Y`` of ridge with an intercept, ``(n_alphas, n, n)``.

    P is the inverse of the centered kernel plus alpha, on what is orthogonal to the constant.
    """
    n = len(kernel)
    center = np.eye(n) - 1 / n
    # A constant far above every other value comes out last, and is left away.
    values, vectors = np.linalg.eigh(center @ kernel @ center + (1 + np.trace(kernel)) / n * np.ones((n, n)))
    values, vectors = np.clip(values[:-1], 0, None), vectors[:, :-1]
    return np.stack([(vectors / (values + alpha)) @ vectors.T for alpha in alphas])


def _leave_out(residuals: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return what pairs of rows are predicted from the others by, and the form of the inner leave-one-out error.

    With P of all rows, the rows p that are left out are missed by :math:`P_{pp}^{-1} P_{p\cdot} Y`, and the others have
    :math:`Q = P - P_{\cdot p} P_{pp}^{-1} P_{p\cdot}` in place of P. By the same rule one more row c is missed by
    :math:`Q_{c\cdot} Y / Q_{cc}`, so that all of them together have the squared error tr(Y' A Y).

    Returns
    -------
    hats : ndarray (n_alphas, n_pairs, 2, n)
        Prediction of both rows from all rows; 0 for themselves.
    errors : ndarray (n_alphas, n_pairs, n * (n + 1) / 2)
        Upper triangle of A, what is off its diagonal doubled.
    """
    n = residuals.shape[1]
    which = np.arange(len(pairs))
    upper = np.triu_indices(n)
    twice = np.where(upper[0] == upper[1], 1.0, 2.0)
    hats = np.empty((len(residuals), len(pairs), 2, n))
    errors = np.empty((len(residuals), len(pairs), len(twice)))
    for P, hat, error in zip(residuals, hats, errors, strict=True):
        of_pair = P[pairs]  # (n_pairs, 2, n)
        corner = np.take_along_axis(of_pair, np.broadcast_to(pairs[:, None, :], (len(pairs), 2, 2)), axis=2)
        missed = np.linalg.solve(corner, of_pair)
        np.negative(missed, out=hat)
        Q = P - of_pair.transpose(0, 2, 1) @ missed
        left = np.diagonal(Q, axis1=1, axis2=2).copy()
        for side in pairs.T:
            hat[which, :, side] = 0
            Q[which, :, side] = 0
            Q[which, side, :] = 0
            left[which, side] = 1
        Q /= left[:, :, None]
        A = Q.transpose(0, 2, 1) @ Q
        np.multiply(A[:, upper[0], upper[1]], twice, out=error)
    return hats, errors


def _best_alphas(errors: np.ndarray, total: np.ndarray, stimulus: np.ndarray) -> np.ndarray:
    """Return the penalty with the smallest inner error of every shuffle and pair, ``(n_shuffles, n_pairs)``."""
    n_alphas, n_pairs, size = errors.shape
    upper = np.triu_indices(len(total))
    step = max(1, _CHUNK_FLOATS // max(size, n_alphas * n_pairs))
    best = []
    for start in range(0, len(stimulus), step):
        order = stimulus[start : start + step]
        responses = total[order[:, upper[0]], order[:, upper[1]]]
        best.append((errors.reshape(-1, size) @ responses.T).reshape(n_alphas, n_pairs, -1).argmin(axis=0).T)
    return np.concatenate(best)


def _run_products(means: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return inner products over targets of a run's training patterns, and with its test patterns; norms; who is shown.

    Patterns are centered over targets, since correlations over targets are taken of them.
    """
    shown = ~np.isnan(test[:, 0])
    means = means - means.mean(axis=1, keepdims=True)
    test = np.where(shown[:, None], test - test.mean(axis=1, keepdims=True), 0.0)
    return means @ means.T, means @ test.T, np.sqrt((test**2).sum(axis=1)), shown


def _difference(
    hats: np.ndarray, pairs: np.ndarray, runs: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Return matched minus swapped correlations over targets, summed over runs, ``(n_shuffles, n_pairs)``.

    Predictions are ``hats @ means``; their inner products follow from small Gram matrices, so that nothing of size
    pairs x targets is made, and all shuffles are columns of one product.

    Parameters
    ----------
    hats : ndarray (n_shuffles, n_pairs, 2, n_stimuli)
        What both predictions take of the mean pattern of every stimulus.
    pairs : int ndarray (n_shuffles, n_pairs, 2)
        The stimuli that are predicted.
    runs : list of tuple
        From `_run_products`.
    """
    flat = hats.reshape(-1, hats.shape[3])
    columns = np.broadcast_to(pairs[:, :, None, :], (*pairs.shape, 2))
    difference = np.zeros(pairs.shape[:2])
    for gram, cross, size, shown in runs:
        norm = np.sqrt(np.clip(((flat @ gram) * flat).sum(axis=1), 0, None)).reshape(pairs.shape)
        inner = np.take_along_axis((flat @ cross).reshape(hats.shape), columns, axis=3)
        scale = norm[:, :, :, None] * size[pairs][:, :, None, :]
        r = np.divide(inner, scale, out=np.zeros_like(inner), where=scale > 1e-12)
        both = shown[pairs].all(axis=2)
        difference += np.where(both, r[..., 0, 0] + r[..., 1, 1] - r[..., 0, 1] - r[..., 1, 0], 0.0)
    return difference
