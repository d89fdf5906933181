r"""Scores of every penalty on held-out rows: what does not depend on the targets is prepared, then blocks are scored.

For a target and a fold, with the quantities of `brainbench.ridge.solver.spectra`, the held-out predictions of
penalty a are :math:`p_a = Z G_a b`, where :math:`G_a = \mathrm{diag}(l / (l + a))`. Scores need only
their inner products:

* :math:`y'p_a = \sum_j g_{aj} (Z'y)_j b_j` is exact and costs one number per direction and penalty;
* :math:`p_a'p_a` comes from the K predictions of a basis of filters (`brainbench.ridge.solver.filters`) and their
  K x K inner products. What the basis misses on the diagonal of :math:`Z'Z`, :math:`\sum_j (Z'Z)_{jj} (g_{aj}^2 -
  \hat g_{aj}^2) b_j^2`, is added exactly; only products of different directions, whose signs cancel, are approximated.

Where few nodes are enough (`brainbench.ridge.solver.nodes`), both come from the predictions of the nodes instead.
"""

from __future__ import annotations

import numpy as np

from brainbench.core.arrays import Array, Arrays
from brainbench.ridge.solver.blocks import Block, coordinates_of_targets
from brainbench.ridge.solver.filters import FilterBasis, filter_basis
from brainbench.ridge.solver.folds import Fold, scores_from_sums
from brainbench.ridge.solver.nodes import Nodes, find_nodes, most_worth
from brainbench.ridge.solver.spectra import Features, Spectrum

TOLERANCE = 5e-4
"""Largest error of a filter that scores rest on; the diagonal is exact, so R2 is good to about a hundredth of it."""

TOLERANCE_PER_ROOT_ROW = 2e-5
"""The same per square root of held-out rows: with few rows, products of different directions cancel less."""

LOO_TOLERANCE = 1e-6
"""The same where predictions themselves are used."""

NODE_TOLERANCE = 6e-4
"""Largest error of a filter that comes from nodes; its signs alternate along the spectrum, so R2 is good to 1e-4."""

WITHOUT_INTERCEPT = 0.1
"""Without an intercept predictions carry the mean, and errors grow with it: tolerances are so much smaller."""


class FoldScores:
    """Scores of one fold for every penalty; holds what does not depend on the targets.

    Parameters
    ----------
    features : Features
    spectrum : Spectrum
    alphas : ndarray (n_alphas,)
        In units of the scaled features.
    scoring : {"r2", "pearsonr"}
    n_targets : int
    tolerance : float, optional
        Largest error of a filter, where less precision is asked than `TOLERANCE` gives.
    """

    def __init__(
        self,
        features: Features,
        spectrum: Spectrum,
        alphas: np.ndarray,
        scoring: str,
        n_targets: int,
        tolerance: float | None = None,
    ) -> None:
        self.xp = xp = features.xp
        self.spectrum, self.scoring, self.dtype = spectrum, scoring, features.dtype
        self.fit_intercept = features.fit_intercept
        self.needs_cross, self.n_test = spectrum.difference, len(spectrum.coordinates)
        Z = xp.asarray(spectrum.coordinates, "float64")
        self.sum = xp.asarray(Z.sum(0), self.dtype)
        if scoring == "pearsonr":
            Z = Z - Z.mean(0)
        squares = (Z**2).sum(0)
        sizes = np.sqrt(xp.to_numpy(squares) * spectrum.n_train / self.n_test)
        tolerance = tolerance or min(TOLERANCE, TOLERANCE_PER_ROOT_ROW * self.n_test**0.5)
        tolerance *= 1.0 if features.fit_intercept else WITHOUT_INTERCEPT
        basis = filter_basis(
            spectrum.values, alphas, sizes, tolerance=tolerance, n_targets=n_targets, n_rows=self.n_test,
            relative=scoring == "pearsonr", accelerated=xp.accelerated,
        )  # fmt: skip
        # Inner products of predictions need the test rows only up to a rotation.
        rotated = xp.triangle(Z) if Z.shape[0] > Z.shape[1] else Z
        self.factors = _factors(xp, rotated, basis, self.dtype)
        self.width = basis.rank * len(rotated)
        self.shape = basis.rank, len(rotated)
        self.filters = xp.asarray(basis.filters.T.copy(), self.dtype)
        missing = xp.asarray((basis.filters**2 - basis.approximation() ** 2).T.copy(), "float64")
        self.missing = xp.asarray(missing * squares[:, None], self.dtype)
        pairs = np.einsum("ak,al->kla", basis.weights, basis.weights).reshape(-1, len(alphas))
        self.pairs = xp.asarray(pairs, "float64")

    def __call__(self, block: Block) -> Array:
        """Return scores ``(n_targets, n_alphas)``, float64."""
        xp, spectrum = self.xp, self.spectrum
        b, part = coordinates_of_targets(spectrum, block)
        y = block.Y[spectrum.test]
        shared = spectrum.known_coordinates is spectrum.coordinates
        yz = part if shared else y.T @ spectrum.coordinates
        trained = xp.zeros((y.shape[1],), "float64")
        if self.fit_intercept:  # the mean of all rows is zero
            trained = xp.sum64(block.Y[spectrum.known], 0) / (
                -spectrum.n_train if spectrum.difference else spectrum.n_train
            )
        origin, total, own = spread(xp, y, trained, self.scoring)
        yz = yz - xp.asarray(origin, self.dtype)[:, None] * self.sum
        cross = xp.asarray((yz * b) @ self.filters, "float64")
        power = self._power(b) + xp.asarray((b * b) @ self.missing, "float64")
        return scores_from_sums(xp, self.scoring, total[:, None], own[:, None], cross, power)

    def _power(self, b: Array) -> Array:
        """Return the squared length of the predictions of every penalty, ``(n_targets, n_alphas)``."""
        basis = _basis_predictions(self.xp, b, self.factors, self.shape, self.dtype)
        inner = basis @ basis.swapaxes(1, 2)
        return self.xp.asarray(inner.reshape(len(b), -1), "float64") @ self.pairs


class NodeScores:
    """Scores of one fold for every penalty, from held-out predictions of the nodes.

    Parameters
    ----------
    features : Features
    fold : Fold
    nodes : Nodes
    predict : array (n_train, n_nodes * n_test)
        Held-out predictions about the training rows' mean are ``y_train' predict``.
    scoring : {"r2", "pearsonr"}
    """

    needs_cross = False

    def __init__(self, features: Features, fold: Fold, nodes: Nodes, predict: Array, scoring: str) -> None:
        self.xp = xp = features.xp
        self.scoring, self.dtype, self.fit_intercept = scoring, features.dtype, features.fit_intercept
        self.test, self.train = xp.rows(fold.test), xp.rows(fold.train)
        self.n_train, self.shape = len(fold.train), (len(nodes.alphas), len(fold.test))
        if scoring == "pearsonr":
            predict = predict.reshape(-1, *self.shape)
            predict = (predict - predict.mean(2)[:, :, None]).reshape(self.n_train, -1)
        self.predict = predict
        self.width = (self.shape[0] + 1) * self.shape[1]
        self.weights = xp.asarray(nodes.weights.T.copy(), "float64")
        pairs = np.einsum("ak,al->kla", nodes.weights, nodes.weights).reshape(-1, len(nodes.weights))
        self.pairs = xp.asarray(pairs, "float64")

    def __call__(self, block: Block) -> Array:
        """Return scores ``(n_targets, n_alphas)``, float64."""
        xp, (n_nodes, n_test) = self.xp, self.shape
        y, fitted = block.Y[self.test], block.Y[self.train]
        n_targets = y.shape[1]
        trained = xp.zeros((n_targets,), "float64")
        if self.fit_intercept:
            trained = xp.sum64(fitted, 0) / self.n_train
        origin, total, own = spread(xp, y, trained, self.scoring)
        # The responses stand behind the predictions, so that one product gives all inner products.
        both = xp.empty((n_targets, self.width), self.dtype)
        xp.matmul(fitted.T, self.predict, out=both[:, : n_nodes * n_test])
        both[:, n_nodes * n_test :] = (y - xp.asarray(origin, self.dtype)).T
        both = both.reshape(n_targets, n_nodes + 1, n_test)
        inner = xp.asarray(both @ both.swapaxes(1, 2), "float64")
        cross = inner[:, n_nodes, :n_nodes] @ self.weights
        power = inner[:, :n_nodes, :n_nodes].reshape(n_targets, -1) @ self.pairs
        return scores_from_sums(xp, self.scoring, total[:, None], own[:, None], cross, power)


def node_scores(
    features: Features,
    whole: Spectrum,
    folds: list[Fold],
    alphas: np.ndarray,
    scoring: str,
    n_targets: int,
    scored: Features,
) -> list[NodeScores]:
    """Return scorers of all folds from the fit to all rows; none where decomposing the folds would be faster.

    Parameters
    ----------
    features : Features
    whole : Spectrum
        Of all rows, from `Features.narrow_spectrum`.
    folds : list of Fold
    alphas : ndarray (n_alphas,)
        In units of the scaled features.
    scoring : {"r2", "pearsonr"}
    n_targets : int
    scored : Features
        The features in the type that scores are computed in.
    """
    xp, low = features.xp, float(whole.values[0])
    nodes = find_nodes(
        low,
        float(whole.values[-1]),
        alphas,
        tolerance=NODE_TOLERANCE * (1.0 if features.fit_intercept else WITHOUT_INTERCEPT),
        size=float(whole.values.mean()),
        relative=scoring == "pearsonr",
        most=most_worth(folds, n_targets),
    )
    if nodes is None:
        return []
    vectors, values = whole.known_coordinates, xp.asarray(whole.values, "float64")
    predict = [xp.empty((len(fold.train), len(nodes.alphas), len(fold.test)), scored.dtype) for fold in folds]
    for index, alpha in enumerate(nodes.alphas):
        # I - H but for a factor, which the solution does not see; as a product with itself it takes half the time.
        root = vectors * xp.asarray(((low + alpha) / (values + alpha)) ** 0.5, features.dtype)
        residual = root @ root.T
        for fold, out in zip(folds, predict, strict=True):
            left_out = fold.test if fold.left_out is None else fold.left_out
            own = residual[xp.rows(left_out)]
            held = -xp.inverse(own[:, xp.rows(left_out)]) @ own[:, xp.rows(fold.train)]
            order = np.argsort(left_out)
            held = held[xp.rows(order[np.searchsorted(left_out, fold.test, sorter=order)])]
            out[:, index] = (held - 1 / len(fold.train) if features.fit_intercept else held).T
    return [
        NodeScores(scored, fold, nodes, one.reshape(len(fold.train), -1), scoring)
        for fold, one in zip(folds, predict, strict=True)
    ]


class LeaveOneOutScores:
    r"""Scores of all rows together, each predicted by the fit to all others.

    With the leverage :math:`h_i` of a row in the fit to all rows, the left-out residual is
    :math:`(y_i - \hat y_i) / (1 - h_i)`; nothing is fitted twice. A fold of one row has no variance of its own, so
    R2 or Pearson's r is taken once over all rows.

    Parameters
    ----------
    features : Features
    spectrum : Spectrum
        Of all rows, with all rows to score.
    alphas : ndarray (n_alphas,)
    scoring : {"r2", "pearsonr"}
    n_targets : int
    """

    def __init__(
        self, features: Features, spectrum: Spectrum, alphas: np.ndarray, scoring: str, n_targets: int
    ) -> None:
        self.xp = xp = features.xp
        self.spectrum, self.scoring, self.dtype = spectrum, scoring, features.dtype
        self.needs_cross = spectrum.difference
        Z = xp.asarray(spectrum.coordinates, "float64")
        sizes = np.ones(len(spectrum.values))
        basis = filter_basis(spectrum.values, alphas, sizes, tolerance=LOO_TOLERANCE, n_targets=n_targets)
        self.factors = _factors(xp, Z, basis, self.dtype)
        self.shape = basis.rank, len(Z)
        self.width = (basis.rank + 2 * len(alphas)) * len(Z)
        self.weights = xp.asarray(basis.weights, self.dtype)
        leverage = xp.asarray(basis.filters, "float64") @ (Z**2).T + (1 / len(Z) if features.fit_intercept else 0.0)
        self.left = xp.asarray((1 - leverage).clip(1e-12, None), self.dtype)

    def __call__(self, block: Block) -> Array:
        """Return scores ``(n_targets, n_alphas)``, float64."""
        xp, y = self.xp, block.Y.T
        b, _ = coordinates_of_targets(self.spectrum, block)
        basis = _basis_predictions(xp, b, self.factors, self.shape, self.dtype)
        n_rows = len(block.Y)
        predicted = y[:, None, :] - (y[:, None, :] - self.weights @ basis) / self.left
        mean = xp.sum64(y, 1) / n_rows
        total = xp.sum64(y * y, 1) - n_rows * mean**2
        total = xp.where(total > 1e-12 * n_rows, total, 0.0)
        y = y - xp.asarray(mean, self.dtype)[:, None]
        about = xp.sum64(predicted, 2) / n_rows if self.scoring == "pearsonr" else mean[:, None]
        predicted = predicted - xp.asarray(about, self.dtype)[:, :, None]
        cross = xp.sum64(y[:, None, :] * predicted, 2)
        power = xp.sum64(predicted**2, 2)
        return scores_from_sums(xp, self.scoring, total[:, None], total[:, None], cross, power)


def spread(xp: Arrays, y: Array, trained: Array, scoring: str) -> tuple[Array, Array, Array]:
    """Return the origin of scores and the squares of held-out responses about their mean and about the origin.

    R2 is about what an intercept alone predicts, the mean of the rows fitted; Pearson's r about the held-out mean.
    """
    n_test, dtype = len(y), xp.dtype_of(y)
    mean = xp.sum64(y, 0) / n_test
    deviation = y - xp.asarray(mean, dtype)
    total = xp.sum64(deviation * deviation, 0)
    total = xp.where(total > n_test * (8 * float(np.finfo(dtype).eps)) ** 2, total, 0.0)
    origin = mean if scoring == "pearsonr" else trained
    return origin, total, total + n_test * (mean - origin) ** 2


def _factors(xp: Arrays, Z: Array, basis: FilterBasis, dtype: str) -> list[tuple[slice, Array]]:
    """Return for every bin its directions and what they are multiplied by, ``(n_in_bin, n_functions * n_rows)``."""
    factors = []
    for columns, functions in zip(basis.bins, basis.functions, strict=True):
        stretched = xp.asarray(functions, "float64")[:, None, :] * Z[:, columns]
        factor = xp.contiguous(stretched.reshape(len(functions) * len(Z), functions.shape[1]).T)
        factors.append((columns, xp.asarray(factor, dtype)))
    return factors


def _basis_predictions(
    xp: Arrays, b: Array, factors: list[tuple[slice, Array]], shape: tuple[int, int], dtype: str
) -> Array:
    """Return predictions of every basis function, ``(n_targets, n_functions, n_rows)``."""
    out = xp.empty((len(b), shape[0] * shape[1]), dtype)
    start = 0
    for columns, factor in factors:
        xp.matmul(b[:, columns], factor, out=out[:, start : start + factor.shape[1]])
        start += factor.shape[1]
    return out.reshape(len(b), *shape)
