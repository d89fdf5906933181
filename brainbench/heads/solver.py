r"""Cross-validated ridge of many targets: a penalty per target, then the fit, block of targets by block of targets.

For a target and a fold, with the quantities of `brainbench.heads.spectra`, the held-out predictions of penalty a are
:math:`p_a = Z G_a b`, where :math:`G_a = \mathrm{diag}(l / (l + a))`. Scores need only their inner products:

* :math:`y'p_a = \sum_j g_{aj} (Z'y)_j b_j` is exact and costs one number per direction and penalty;
* :math:`p_a'p_a` comes from the K predictions of a basis of filters (`brainbench.heads.filters`) and their K x K inner
  products. What the basis misses on the diagonal of :math:`Z'Z`, :math:`\sum_j (Z'Z)_{jj} (g_{aj}^2 - \hat g_{aj}^2)
  b_j^2`, is added exactly; only products of different directions, whose signs cancel, are approximated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from brainbench.core.arrays import Array, Arrays
from brainbench.heads.filters import FilterBasis, filter_basis
from brainbench.heads.folds import Fold, choose, descending, leave_one_out, scores_from_sums
from brainbench.heads.spectra import Features, Spectrum

TOLERANCE = 5e-4
"""Largest error of a filter that scores rest on; the diagonal is exact, so R2 is good to about a hundredth of it."""

TOLERANCE_PER_ROOT_ROW = 2e-5
"""The same per square root of held-out rows: with few rows, products of different directions cancel less."""

LOO_TOLERANCE = 1e-6
"""The same where predictions themselves are used."""

BLOCK_BYTES = 24 << 20
"""Targets are taken in blocks whose responses and basis predictions take so many bytes: about a last-level cache."""

MIN_BLOCK = 128
"""Fewer targets at once would make the products slow."""


@dataclass(frozen=True)
class Block:
    """Some targets, centred and scaled.

    Attributes
    ----------
    columns : slice
    Y : array (n_rows, n_targets)
    mean, scale : array (n_targets,)
        What was subtracted, and the power of two that was divided by.
    cross : array (n_targets, n_features) or None
        Y'X, where a spectrum asks for it.
    """

    columns: slice
    Y: Array
    mean: Array
    scale: Array
    cross: Array | None = None

    def crossed(self, features: Features) -> Block:
        """Return the block with its cross-products."""
        return self if self.cross is not None else replace(self, cross=self.Y.T @ features.X)


def make_block(xp: Arrays, Y: Array, columns: slice, fit_intercept: bool) -> Block:
    """Return a block of targets, without cross-products.

    Every target is scaled by itself, so that no target knows of another and squares stay far from the type's limits.
    What rounding leaves of a constant target is set to 0.
    """
    Y = Y[:, columns]
    n_rows, dtype = len(Y), xp.dtype_of(Y)
    eps = float(np.finfo(dtype).eps)
    mean = xp.zeros((Y.shape[1],), dtype)
    if fit_intercept:
        mean = xp.asarray(xp.sum64(Y, 0) / n_rows, dtype)
    Y = xp.contiguous(Y - mean)
    largest = xp.largest(Y)
    scale = xp.power_of_two(largest)
    Y *= xp.where(largest > (8 * eps + n_rows * 2.2e-16) * abs(mean), 1 / scale, 0.0)
    return Block(columns, Y, mean, scale)


def _coordinates_of_targets(spectrum: Spectrum, block: Block) -> tuple[Array, Array]:
    """Return ``b`` and the known rows' share of it, both ``(n_targets, n_directions)``."""
    part = block.Y[spectrum.known].T @ spectrum.known_coordinates
    return (block.cross @ spectrum.vectors - part if spectrum.difference else part), part


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
    """

    def __init__(
        self, features: Features, spectrum: Spectrum, alphas: np.ndarray, scoring: str, n_targets: int
    ) -> None:
        self.xp = xp = features.xp
        self.spectrum, self.scoring, self.dtype = spectrum, scoring, features.dtype
        self.fit_intercept = features.fit_intercept
        self.n_test = len(spectrum.coordinates)
        Z = xp.asarray(spectrum.coordinates, "float64")
        self.sum = xp.asarray(Z.sum(0), self.dtype)
        if scoring == "pearsonr":
            Z = Z - Z.mean(0)
        squares = (Z**2).sum(0)
        sizes = np.sqrt(xp.to_numpy(squares) * spectrum.n_train / self.n_test)
        # Without an intercept predictions carry the mean, and errors grow with it.
        tolerance = min(TOLERANCE, TOLERANCE_PER_ROOT_ROW * self.n_test**0.5) * (1.0 if self.fit_intercept else 0.1)
        basis = filter_basis(
            spectrum.values, alphas, sizes, tolerance=tolerance, n_targets=n_targets, relative=scoring == "pearsonr"
        )
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
        b, part = _coordinates_of_targets(spectrum, block)
        y = block.Y[spectrum.test]
        shared = spectrum.known_coordinates is spectrum.coordinates
        yz = part if shared else y.T @ spectrum.coordinates
        mean = xp.sum64(y, 0) / self.n_test
        deviation = y - xp.asarray(mean, self.dtype)
        total = xp.sum64(deviation * deviation, 0)
        eps = float(np.finfo(self.dtype).eps)
        total = xp.where(total > self.n_test * (8 * eps) ** 2, total, 0.0)
        trained = xp.zeros(mean.shape, "float64")
        if self.fit_intercept:  # the mean of all rows is zero
            trained = xp.sum64(block.Y[spectrum.known], 0) / (
                -spectrum.n_train if spectrum.difference else spectrum.n_train
            )
        # R2 is about what an intercept alone predicts, Pearson's r about the mean of the held-out rows.
        origin = mean if self.scoring == "pearsonr" else trained
        yz = yz - xp.asarray(origin, self.dtype)[:, None] * self.sum
        cross = xp.asarray((yz * b) @ self.filters, "float64")
        power = self._power(b) + xp.asarray((b * b) @ self.missing, "float64")
        own = total + self.n_test * (mean - origin) ** 2
        return scores_from_sums(xp, self.scoring, total[:, None], own[:, None], cross, power)

    def _power(self, b: Array) -> Array:
        """Return the squared length of the predictions of every penalty, ``(n_targets, n_alphas)``."""
        basis = _basis_predictions(self.xp, b, self.factors, self.shape, self.dtype)
        inner = basis @ basis.swapaxes(1, 2)
        return self.xp.asarray(inner.reshape(len(b), -1), "float64") @ self.pairs


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
        b, _ = _coordinates_of_targets(self.spectrum, block)
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


def _factors(xp: Arrays, Z: Array, basis: FilterBasis, dtype: str) -> list[tuple[slice, Array]]:
    """Return for every bin its directions and what they are multiplied by, ``(n_in_bin, n_functions * n_rows)``."""
    factors = []
    for columns, functions in zip(basis.bins, basis.functions, strict=True):
        stretched = xp.asarray(functions, "float64")[:, None, :] * Z[:, columns]
        factor = xp.contiguous(stretched.reshape(-1, functions.shape[1]).T)
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


class Fit:
    """The fit to all rows.

    Parameters
    ----------
    features : Features
    spectrum : Spectrum
        Of all rows.
    """

    def __init__(self, features: Features, spectrum: Spectrum) -> None:
        self.features, self.spectrum = features, spectrum
        self.values = features.xp.asarray(spectrum.values, features.dtype)

    def shrunk(self, block: Block, alphas: Array) -> Array:
        """Return ``diag(l / (l + a)) b`` with a penalty per target in the units of the user."""
        block = block.crossed(self.features) if self.spectrum.difference else block
        b, _ = _coordinates_of_targets(self.spectrum, block)
        alphas = self.features.xp.asarray(alphas / self.features.scale**2, self.features.dtype)
        kept = self.values / (self.values + alphas[:, None])
        return ((b * kept) * block.scale[:, None]).T


@dataclass(frozen=True)
class Outputs:
    """Where results of all targets go: arrays in memory, or memory maps.

    Attributes
    ----------
    scores : array (n_alphas, n_targets)
    alphas : array (n_targets,)
    predicted : array (n_new, n_targets)
    coef : array (n_features, n_targets) or None
    intercept : array (n_targets,) or None
    """

    scores: Array
    alphas: Array
    predicted: Array
    coef: Array | None
    intercept: Array | None

    @classmethod
    def make(
        cls,
        empty: Callable[[str, tuple[int, ...], str], Array],
        features: Features,
        n_alphas: int,
        n_new: int,
        n_targets: int,
        store_coef: bool,
    ) -> Outputs:
        """Return room for the results, from a function of name, shape and type."""
        n_features = features.X.shape[1]
        return cls(
            empty("cv_scores", (n_alphas, n_targets), "float64"),
            empty("best_alphas", (n_targets,), "float64"),
            empty("predicted", (n_new, n_targets), features.dtype),
            empty("coef", (n_features, n_targets), features.dtype) if store_coef else None,
            empty("intercept", (n_targets,), features.dtype) if store_coef else None,
        )


class Solver:
    """Scores of every penalty and the fit, for one mixture of the bands.

    Parameters
    ----------
    features : Features
    folds : list of Fold
    alphas : ndarray (n_alphas,)
        In the units of the user.
    scoring : {"r2", "pearsonr"}
    n_targets : int
    weights : ndarray (n_bands,), optional
    X_new : array (n_new, n_features), optional
        Rows to predict, raw.
    """

    def __init__(
        self,
        features: Features,
        folds: list[Fold],
        alphas: np.ndarray,
        scoring: str,
        *,
        n_targets: int,
        weights: np.ndarray | None = None,
        X_new: Array | None = None,
    ) -> None:
        self.features = features
        self._order, self._offered = features.xp.asarray(descending(alphas)), features.xp.asarray(alphas)
        rows = np.arange(len(features.X))
        alphas = alphas / features.scale**2
        if leave_one_out(folds):
            (whole,) = features.spectra([Fold(rows, rows, None)], float(alphas.min()), weights)
            self.scorers: list[FoldScores | LeaveOneOutScores] = [
                LeaveOneOutScores(features, whole, alphas, scoring, n_targets)
            ]
        else:
            spectra = list(features.spectra([*folds, Fold(rows, rows[:0], rows[:0])], float(alphas.min()), weights))
            whole = spectra.pop()
            self.scorers = [FoldScores(features, spectrum, alphas, scoring, n_targets) for spectrum in spectra]
        self.fit = Fit(features, whole)
        self._needs_cross = any(one.spectrum.difference for one in [*self.scorers, self.fit])
        self._new = features.project(whole, features.X[:0] if X_new is None else X_new)

    def block_size(self) -> int:
        """Return how many targets make a block that fits into the cache."""
        itemsize = np.dtype(self.features.dtype).itemsize
        width = max([len(self.features.X)] + [scorer.width for scorer in self.scorers])
        return max(MIN_BLOCK, BLOCK_BYTES // (itemsize * width))

    def with_cross(self, block: Block) -> Block:
        """Return the block with the cross-products that this solver needs."""
        return block.crossed(self.features) if self._needs_cross else block

    def scores(self, block: Block) -> Array:
        """Return scores averaged over folds, ``(n_alphas, n_targets)``, float64; `block` is from `with_cross`."""
        total = self.scorers[0](block)
        for scorer in self.scorers[1:]:
            total += scorer(block)
        return (total / len(self.scorers)).T

    def solve(self, block: Block, out: Outputs) -> None:
        """Score, choose and fit a block of targets, and write its columns of the results."""
        block, columns = self.with_cross(block), block.columns
        scores = self.scores(block)
        chosen = self._offered[choose(scores, self._order)]
        shrunk = self.fit.shrunk(block, chosen)
        out.scores[:, columns], out.alphas[columns] = scores, chosen
        out.predicted[:, columns] = self._new @ shrunk + block.mean
        if out.coef is not None and out.intercept is not None:
            coef = self.features.coef(self.fit.spectrum, shrunk)
            out.coef[:, columns] = coef
            out.intercept[columns] = self.features.intercept(self.fit.spectrum, coef, block.mean)
