"""Ridge regression with a penalty per target, chosen by cross-validation."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from brainbench.core.arrays import Array, arrays_of
from brainbench.heads.folds import choose, descending, inner_splits, target_blocks
from brainbench.heads.inputs import check_alphas, check_features, check_scoring, check_training
from brainbench.heads.solver import Solver, make_block
from brainbench.heads.spectra import Features


class RidgeCV(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression with an alpha per target.

    Parameters
    ----------
    alphas : array-like (n_alphas,)
        Penalties to choose from.
    cv : int or splitter
        Inner folds; an int gives grouped folds when `groups` are passed, else contiguous ones.
    fit_intercept : bool
    scoring : {"r2", "pearsonr"}
        What chooses the penalty, averaged over inner folds.
    targets_batch : int or "auto"
        Targets computed at once.
    store_coef : bool
        Keep weights; without them only `fit_then_predict` predicts, and memory stays flat.

    Attributes
    ----------
    coef_ : ndarray (n_features, n_targets)
    intercept_ : ndarray (n_targets,)
    best_alphas_ : ndarray (n_targets,)
    cv_scores_ : ndarray (n_alphas, n_targets)
    alpha_at_edge_ : bool ndarray (n_targets,)
        Whether the chosen penalty is the smallest or largest offered.
    """

    def __init__(
        self,
        alphas: Any = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0),
        cv: Any = 5,
        fit_intercept: bool = True,
        scoring: str = "r2",
        targets_batch: int | str = "auto",
        store_coef: bool = True,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.scoring = scoring
        self.targets_batch = targets_batch
        self.store_coef = store_coef

    def fit(self, X: Any, y: Any, groups: Any = None) -> RidgeCV:
        """Choose a penalty for every target and fit.

        Parameters
        ----------
        X : array-like or tensor (n_rows, n_features)
        y : array-like or tensor (n_rows,) or (n_rows, n_targets)
        groups : array-like (n_rows,), optional
            Rows that inner folds keep together.

        Raises
        ------
        ValueError
            For NaN or infinite values, with the first one's position, fewer than two rows, and parameters out of range.
        """
        self._fit(X, y, None, groups)
        return self

    def fit_then_predict(self, X: Any, y: Any, X_new: Any, groups: Any = None) -> Array:
        """Fit and predict new rows from one factorisation, without forming weights unless they are stored.

        Parameters
        ----------
        X, y, groups
            As in `fit`.
        X_new : array-like or tensor (n_new, n_features)

        Returns
        -------
        array (n_new,) or (n_new, n_targets)
            Of the kind of `X`.
        """
        predicted = self._fit(X, y, X_new, groups)
        return predicted[:, 0] if self._single else predicted

    def predict(self, X: Any) -> Array:
        """Predict responses, ``(n_rows,)`` or ``(n_rows, n_targets)``."""
        check_is_fitted(self, "best_alphas_")
        if not self.store_coef:
            raise ValueError("store_coef=False keeps no weights; use fit_then_predict, or store_coef=True")
        X = check_features(self, X)
        return X @ self.coef_ + self.intercept_

    def _fit(self, X: Any, y: Any, X_new: Any, groups: Any) -> Array:
        X, Y = check_training(self, X, y)
        check_scoring(self.scoring)
        alphas = check_alphas(self.alphas)
        self._single = Y.ndim == 1
        Y = Y.reshape(len(Y), -1)
        xp, n_targets = arrays_of(X, Y), Y.shape[1]
        features = Features(xp, X, self.fit_intercept)
        solver = Solver(features, inner_splits(self.cv, len(X), groups), alphas, self.scoring)
        new = X[:0] if X_new is None else check_features(self, X_new, like=X)
        new = features.project(solver.fit.spectrum, new)
        step = solver.block_size() if self.targets_batch == "auto" else int(self.targets_batch)
        order, offered = xp.asarray(descending(alphas)), xp.asarray(alphas)
        scores = xp.empty((len(alphas), n_targets), "float64")
        chosen = xp.empty((n_targets,), "float64")
        means = xp.empty((n_targets,), features.dtype)
        predicted = xp.empty((len(new), n_targets), features.dtype)
        coef = xp.empty((X.shape[1], n_targets), features.dtype) if self.store_coef else None
        for columns in target_blocks(n_targets, step):
            block = make_block(features, Y, columns, solver.needs_cross)
            scores[:, columns] = solver.scores(block)
            chosen[columns] = offered[choose(scores[:, columns], order)]
            means[columns] = block.mean
            shrunk = solver.fit.shrunk(block, chosen[columns])
            predicted[:, columns] = new @ shrunk + block.mean
            if coef is not None:
                coef[:, columns] = features.coef(solver.fit.spectrum, shrunk)
        self.best_alphas_, self.cv_scores_ = chosen, scores
        self.alpha_at_edge_ = (chosen == alphas.min()) | (chosen == alphas.max())
        if coef is not None:
            intercept = features.intercept(solver.fit.spectrum, coef, means)
            self.coef_ = coef[:, 0] if self._single else coef
            self.intercept_ = intercept[0] if self._single else intercept
        return predicted
