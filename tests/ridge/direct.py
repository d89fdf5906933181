"""Ridge as the textbook says it, in float64: what the heads are held against."""

from __future__ import annotations

import numpy as np

from brainbench.ridge.solver.folds import Fold, inner_splits


def scores_of(y: np.ndarray, p: np.ndarray, scoring: str) -> np.ndarray:
    centered = y - y.mean(axis=0)
    total = (centered**2).sum(axis=0)
    varies = total > 1e-20
    if scoring == "r2":
        return np.where(varies, 1 - ((y - p) ** 2).sum(axis=0) / np.where(varies, total, 1), 0.0)
    spread = p - p.mean(axis=0)
    size = np.sqrt(total * (spread**2).sum(axis=0))
    return np.where(varies & (size > 0), (centered * spread).sum(axis=0) / np.where(size > 0, size, 1), 0.0)


def predictions(X, Y, X_new, alphas, fit_intercept=True):
    """Return predictions of every penalty, ``(n_alphas, n_new, n_targets)``, by a singular value decomposition."""
    X, Y, X_new = (np.asarray(one, dtype=np.float64) for one in (X, Y, X_new))
    mean_x, mean_y = (X.mean(axis=0), Y.mean(axis=0)) if fit_intercept else (0.0, 0.0)
    U, s, Vt = np.linalg.svd(X - mean_x, full_matrices=False)
    keep = s > s.max(initial=0.0) * 1e-13
    U, s, Vt = U[:, keep], s[keep], Vt[keep]
    B, Z = U.T @ (Y - mean_y), (X_new - mean_x) @ Vt.T
    return np.stack([Z @ ((s / (s**2 + alpha))[:, None] * B) + mean_y for alpha in alphas])


def cv_scores(X, Y, alphas, cv=5, groups=None, scoring="r2", fit_intercept=True):
    """Return scores of every penalty averaged over inner folds, ``(n_alphas, n_targets)``."""
    folds: list[Fold] = inner_splits(cv, len(X), groups)
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    held = [predictions(X[f.train], Y[f.train], X[f.test], alphas, fit_intercept) for f in folds]
    if all(len(fold.test) == 1 for fold in folds):  # one row has no variance: all rows are scored together
        rows = np.concatenate([fold.test for fold in folds])
        joined = np.concatenate(held, axis=1)
        return np.stack([scores_of(Y[rows], p, scoring) for p in joined])
    return np.mean([[scores_of(Y[f.test], p, scoring) for p in h] for f, h in zip(folds, held, strict=True)], axis=0)


def regret(scores: np.ndarray, alphas: np.ndarray, chosen: np.ndarray) -> float:
    """Return the largest loss of score by the chosen penalties."""
    index = np.abs(np.log(alphas)[:, None] - np.log(chosen)).argmin(axis=0)
    return float((scores.max(axis=0) - scores[index, np.arange(scores.shape[1])]).max())
