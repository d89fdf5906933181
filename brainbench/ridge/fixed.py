"""Folds fitted with one penalty for all targets, as linear maps of the responses: any number at the price of products.

Cleaning, centring, fitting and predicting are linear in the responses once the penalty is given. So every fold is two
matrices that are made once, and a hundred thousand exchanged responses cost two products a fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy

import numpy as np
from scipy import linalg

from brainbench.ridge.encoding import FoldDesign

COLUMNS_AT_ONCE = 1024
"""Rows of the design whose part in cleaned responses is found at once."""


class FixedFits:
    """Held-out responses of all folds, and their predictions with one penalty.

    Parameters
    ----------
    designs : sequence of FoldDesign
    alpha : float
        Penalty, of features that are standardised and divided by the root of their number.
    n_rows : int
        Rows of the responses.
    """

    def __init__(self, designs: Sequence[FoldDesign], alpha: float, n_rows: int) -> None:
        self.n_rows = n_rows
        self.tests = [design.test for design in designs]
        self.predict: list[np.ndarray] = []
        self.measure: list[np.ndarray] = []
        """Without cleaning, the mean of the training rows as a row vector, which is taken from the test rows."""
        self.cleaned = [design.clean is not None for design in designs]
        for design in designs:
            hat = _hat(design.X_train, design.X_test, alpha)
            hat -= hat.mean(axis=1, keepdims=True)
            predict = np.zeros((len(design.test), n_rows), dtype=np.float32)
            if design.clean is None:
                predict[:, design.train] = hat
                measure = np.zeros((1, n_rows), dtype=np.float32)
                measure[:, design.train] = 1 / len(design.train)
            else:
                measure = np.empty_like(predict)
                for start in range(0, n_rows, COLUMNS_AT_ONCE):
                    columns = slice(start, min(start + COLUMNS_AT_ONCE, n_rows))
                    train, test = design.responses(np.eye(n_rows, columns.stop - start, -start))
                    measure[:, columns] = test - train.mean(axis=0)
                    predict[:, columns] = hat @ train
            self.predict.append(predict)
            self.measure.append(measure)

    def of_rows(self, order: np.ndarray) -> FixedFits:
        """Return the same fits for responses Y of which ``Y[order]`` are the rows of the designs."""
        found, back = copy(self), np.argsort(order)
        found.tests = [order[test] for test in self.tests]
        found.predict, found.measure = ([one[:, back] for one in part] for part in (self.predict, self.measure))
        return found

    def __call__(self, Y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return measured and predicted test rows of every fold, about the mean of its training rows.

        Parameters
        ----------
        Y : ndarray (n_rows, n_columns), float32
        """
        found = []
        for test, cleaned, predict, measure in self._folds():
            measured = measure @ Y
            if not cleaned:
                mean, measured = measured, Y[test]
                measured -= mean
            found.append((measured, predict @ Y))
        return found

    def _folds(self) -> Iterator[tuple[np.ndarray, bool, np.ndarray, np.ndarray]]:
        return zip(self.tests, self.cleaned, self.predict, self.measure, strict=True)

    def form(self) -> np.ndarray:
        r"""Return the score as a bilinear form of the responses, ``(n_rows, n_rows)``, symmetric, float32.

        With what is measured and predicted, both about their means over test rows, :math:`y'Ay` is their product over
        what both measure for white responses of length 1: about Pearson's r, summed over folds.
        """
        form = np.zeros((self.n_rows, self.n_rows), dtype=np.float32)
        for test, cleaned, predict, measure in self._folds():
            about = predict - predict.mean(axis=0)
            size = float(np.sqrt((about**2).sum() * len(test)))
            about *= self.n_rows / size if size > 0 else 0.0
            if cleaned:
                form += measure.T @ about
            else:
                form[test] += about
        return (form + form.T) / 2


def _hat(X_train: np.ndarray, X_test: np.ndarray, alpha: float) -> np.ndarray:
    """Return what training responses are multiplied by to predict test rows, ``(n_test, n_train)``."""
    if X_train.shape[1] < len(X_train):
        gram = X_train.T @ X_train
        gram[np.diag_indices_from(gram)] += alpha
        return np.asarray(linalg.solve(gram, X_test.T, assume_a="pos").T @ X_train.T)
    kernel = X_train @ X_train.T
    kernel[np.diag_indices_from(kernel)] += alpha
    return np.asarray(linalg.solve(kernel, X_train @ X_test.T, assume_a="pos").T)
