"""Ridge regression with a penalty per target, chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from brainbench.core.arrays import Array, Arrays, arrays_of
from brainbench.ridge.inputs import check_alphas, check_features, check_scoring, check_training
from brainbench.ridge.solver.blocks import make_block
from brainbench.ridge.solver.folds import inner_splits, target_blocks
from brainbench.ridge.solver.solver import Outputs, Solver
from brainbench.ridge.solver.spectra import Features


class RidgeCV(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression with an alpha per target.

    Takes NumPy arrays or PyTorch tensors (on any device) and gives back the same. Inner products are formed once, inner
    folds follow by difference, and the scores of all penalties from a few filters: `brainbench.ridge.solver.spectra`,
    `brainbench.ridge.solver.filters` and `brainbench.ridge.solver.solver` say how. `cv_scores_` are good to 1e-4.

    Parameters
    ----------
    alphas : array-like (n_alphas,)
        Penalties to choose from.
    cv : int or splitter
        Inner folds; an int gives grouped folds when `groups` are passed, else contiguous ones. Where every fold is a
        single row, all rows are scored together, in closed form.
    fit_intercept : bool
    scoring : {"r2", "pearsonr"}
        What chooses the penalty, averaged over inner folds.
    targets_batch : int or "auto"
        Targets computed at once; by default as many as fit into the processor's cache.
    store_coef : bool
        Keep weights; without them only `fit_then_predict` predicts, and memory stays flat.

    Attributes
    ----------
    coef_ : array (n_features, n_targets)
    intercept_ : array (n_targets,)
    best_alphas_ : array (n_targets,)
    cv_scores_ : array (n_alphas, n_targets)
    alpha_at_edge_ : bool array (n_targets,)
        Whether the chosen penalty is the smallest or largest offered.
    compared_in_ : str
        Type in which penalties were compared: that of the features, or float32 where many targets are fitted and
        rounding is bounded (`brainbench.ridge.solver.solver.rounding_of_scores`). The fit keeps the features' type.
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
        return fit_together([self], [X], y, [X_new], groups)[0]

    def _keep(self, out: Outputs) -> None:
        """Take fitted attributes from the results of all targets."""
        self.best_alphas_, self.cv_scores_ = out.alphas, out.scores
        alphas = check_alphas(self.alphas)
        self.alpha_at_edge_ = (out.alphas == alphas.min()) | (out.alphas == alphas.max())
        if out.coef is not None and out.intercept is not None:
            self.coef_ = out.coef[:, 0] if self._single else out.coef
            self.intercept_ = out.intercept[0] if self._single else out.intercept


def fit_together(
    heads: Sequence[RidgeCV],
    layers: Sequence[Any],
    y: Any,
    new: Sequence[Any],
    groups: Any,
    known: Sequence[dict[int, Solver]] = (),
) -> list[Array]:
    """Fit heads with equal parameters, each to features of its own, to the same responses.

    Every block of responses is read, centred and scaled once for all.

    Parameters
    ----------
    heads : sequence of RidgeCV
    layers : sequence of array-like or tensor (n_rows, n_features of the layer)
    y : array-like or tensor (n_rows,) or (n_rows, n_targets)
    new : sequence of array-like or tensor (n_new, n_features of the layer), or None
        Rows to predict.
    groups : array-like (n_rows,) or None
    known : sequence of dict of int to Solver
        For every layer, what earlier calls with the same head, features, rows to predict and groups made of them, by
        number of targets; what is not there yet is added. Other responses cost products only then.

    Returns
    -------
    list of array (n_new, n_targets)
        Without rows to predict, of no rows.
    """
    solvers: list[Solver] = []
    outputs: list[Outputs] = []
    known = known or [{} for _ in heads]
    for head, features_of_layer, rows, made in zip(heads, layers, new, known, strict=True):
        X, checked = check_training(head, features_of_layer, y)
        check_scoring(head.scoring)
        alphas = check_alphas(head.alphas)
        head._single = checked.ndim == 1
        Y = checked.reshape(len(checked), -1)
        xp = arrays_of(X, Y)
        if solvers and xp.dtype_of(X) != solvers[0].features.dtype:
            raise ValueError("layers must be of one floating type")
        rows, n_targets = X[:0] if rows is None else check_features(head, rows, like=X), Y.shape[1]
        if n_targets not in made:
            features = Features(xp, X, head.fit_intercept)
            folds = inner_splits(head.cv, len(X), groups)
            made[n_targets] = Solver(features, folds, alphas, head.scoring, n_targets=n_targets, X_new=rows)
        solvers.append(made[n_targets])

        def empty(_: str, shape: tuple[int, ...], dtype: str, xp: Arrays = xp) -> Array:
            return xp.empty(shape, dtype)

        outputs.append(Outputs.make(empty, solvers[-1].features, len(alphas), len(rows), n_targets, head.store_coef))
    batch = heads[0].targets_batch
    step = min(solver.block_size() for solver in solvers) if batch == "auto" else int(batch)
    for columns in target_blocks(Y.shape[1], step):
        block = make_block(xp, Y, columns, heads[0].fit_intercept)
        for solver, out in zip(solvers, outputs, strict=True):
            solver.solve(block, out)
    for head, solver, out in zip(heads, solvers, outputs, strict=True):
        head._keep(out)
        head.compared_in_ = solver.scored.dtype
    return [out.predicted for out in outputs]
