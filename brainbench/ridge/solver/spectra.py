r"""Principal directions of the training rows of every fold, from inner products that are computed once.

With features centred on the mean of all rows, the Gram matrix of the rows of a fold is a difference,

.. math:: X_t'X_t - n_t \mu_t \mu_t' = X'X - X_v'X_v - n_t \mu_t \mu_t', \qquad n_t \mu_t = -\sum_v x ,

so that no fold touches its training rows (primal form, fewer features than rows). In the dual form the fold's kernel
is a block of one kernel matrix, centred anew. Either way the eigenvectors are scaled so that the training rows have
orthonormal coordinates :math:`Z_t`; a ridge prediction with penalty a is then

.. math:: \hat y = Z \,\mathrm{diag}(l / (l + a))\, b, \qquad b = Z_t'y_t ,

and every number in it is of the size of y, whatever the scale of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from brainbench.core.arrays import Array, Arrays
from brainbench.ridge.solver.folds import Fold

CHUNK_BYTES = 32 << 20
"""Rows or columns are raised to float64 in pieces of so many bytes."""

NEGLIGIBLE = 1e-6
"""Directions whose eigenvalue is this much smaller than every penalty do not show in scores."""

WORST_CONDITION = 1e8
"""Largest eigenvalue over smallest penalty (or eigenvalue) up to which cross-products in float32 are rotated.

The rotation multiplies their rounding by up to the square root of this ratio; beyond it the training rows' own
coordinates are used.
"""

WORST_ROUNDING = 1e-5
"""Largest condition of the kernel with the smallest penalty, times the rounding of the features' type, with which
kernels are decomposed in this type instead of float64."""

WORST_SHARE = 10.0
"""The same for the squares of all features over those of the training rows: rows left out that are far larger than all
others would leave their rounding behind."""


@dataclass(frozen=True)
class Spectrum:
    """Principal directions of some training rows.

    Attributes
    ----------
    n_train : int
    values : ndarray (n_directions,)
        Eigenvalues, ascending, positive, on the host.
    vectors : array (n_features or n_train, n_directions)
        Give coordinates of new rows, see `Features.project`.
    center : array (n_features,)
        Mean of the training rows.
    gain : array (n_features,) or None
        Weights of the columns in the kernel, where bands are weighed; the dual form needs them for new rows.
    test, coordinates : rows and array (n_test, n_directions)
        Rows to score and their coordinates.
    known, known_coordinates : rows and array (n_known, n_directions)
        Rows from which ``b`` is computed.
    difference : bool
        Whether the known rows are those left out: ``b = vectors' X'y - Z_known' y_known``; else they are the training
        rows and ``b = Z_known' y_known``.
    """

    n_train: int
    values: np.ndarray
    vectors: Array
    center: Array
    gain: Array | None
    test: Any
    coordinates: Array
    known: Any
    known_coordinates: Array
    difference: bool


class Features:
    """Centred features with the inner products that every fold and every mixture of bands shares.

    Parameters
    ----------
    xp : Arrays
    X : array (n_rows, n_features)
    fit_intercept : bool
    bands : sequence of slice or index arrays
        Columns of each feature space; `spectra` weighs their kernels.

    Attributes
    ----------
    X : array (n_rows, n_features)
        Centred, and divided by `scale`.
    mean : array (n_features,)
    scale : float
        A power of two, so that squares stay far from the limits of the type.
    primal : bool
    """

    def __init__(self, xp: Arrays, X: Array, fit_intercept: bool, bands: Sequence[Any] = (slice(None),)) -> None:
        self.xp, self.bands, self.fit_intercept = xp, list(bands), fit_intercept
        n_rows, n_features = X.shape
        self.dtype = xp.dtype_of(X)
        self.primal = n_features < n_rows
        mean = xp.sum64(X, 0) / n_rows if fit_intercept else xp.zeros((n_features,), "float64")
        self.mean = xp.asarray(mean, self.dtype)
        self.X = X - self.mean
        largest = max(float(self.X.max()), -float(self.X.min())) if n_features else 0.0
        self.scale = 2.0 ** round(np.log2(largest)) if largest > 0 else 1.0
        self.X /= self.scale
        if self.primal:
            self._total = self._gram(slice(None))
        else:
            self._kernels = [self._kernel(self.X[:, band]) for band in self.bands]

    def cast(self, dtype: str) -> Features:
        """Return the same features in another type; inner products stay what they are, in float64."""
        other = copy(self)
        other.dtype, other.X, other.mean = dtype, self.xp.asarray(self.X, dtype), self.xp.asarray(self.mean, dtype)
        return other

    def spectra(self, folds: Sequence[Fold], smallest: float, weights: np.ndarray | None = None) -> Iterator[Spectrum]:
        """Yield the spectrum of every fold.

        Parameters
        ----------
        folds : sequence of Fold
        smallest : float
            Smallest penalty, in units of the scaled features. Directions that it makes negligible are left out of
            folds, and kept for all rows, whose weights are wanted.
        weights : ndarray (n_bands,), optional
            Weights of the bands' kernels.
        """
        mixture = self._mixture(weights)
        make = self._primal_gram if self.primal else self._dual_gram
        makers: list[Callable[[], Array]] = [partial(make, fold, mixture) for fold in folds]
        for fold, (values, vectors) in zip(folds, self.xp.eigh(makers), strict=True):
            host = self.xp.to_numpy(values)
            floor = max(
                float(host[-1]) * len(host) * np.finfo(np.float64).eps,
                NEGLIGIBLE * smallest if len(fold.train) < len(self.X) else 0.0,
            )
            first = int(np.searchsorted(host, floor, side="right"))
            finish = self._primal_spectrum if self.primal else self._dual_spectrum
            yield finish(fold, host[first:], values[first:], vectors[:, first:], mixture, smallest)

    def narrow_spectrum(self, every: Fold, smallest: float, weights: np.ndarray | None = None) -> Spectrum | None:
        """Return the spectrum of all rows where it is narrow, else None: dual form only, decomposed in the own type.

        Narrow is a kernel of full rank whose condition, with the smallest penalty added, keeps rounding of the
        features' type below `WORST_ROUNDING`.

        Parameters
        ----------
        every : Fold
            All rows to fit, none to score.
        smallest : float
            Smallest penalty, in units of the scaled features.
        weights : ndarray (n_bands,), optional
            Weights of the bands' kernels.
        """
        if self.primal:
            return None
        mixture = self._mixture(weights)
        kernel = self._dual_gram(every, mixture)
        eps, rank = float(np.finfo(self.dtype).eps), len(kernel) - self.fit_intercept
        worst = WORST_ROUNDING / eps
        mean = float(kernel.diagonal().sum()) / rank
        entries = kernel.reshape(-1)
        square = float(entries @ entries) / rank
        # By Kantorovich's inequality the spread of eigenvalues bounds their ratio from below.
        if (square + 2 * mean * smallest + smallest**2) / (mean + smallest) ** 2 > (worst + 1) ** 2 / (4 * worst):
            return None
        ((values, vectors),) = self.xp.eigh([lambda: self.xp.asarray(kernel, self.dtype)])
        host = np.asarray(self.xp.to_numpy(values), dtype=np.float64)[-rank:]
        if host[0] <= host[-1] * eps * len(host) or (host[-1] + smallest) > worst * (host[0] + smallest):
            return None
        values, vectors = (self.xp.asarray(one, "float64") for one in (values[-rank:], vectors[:, -rank:]))
        return self._dual_spectrum(every, host, values, vectors, mixture, smallest)

    def project(self, spectrum: Spectrum, X_new: Array) -> Array:
        """Return coordinates ``(n_new, n_directions)`` of raw new rows, for a spectrum of all rows."""
        X_new = (X_new - self.mean) / self.scale - spectrum.center
        if self.primal:
            return X_new @ spectrum.vectors
        gain = 1.0 if spectrum.gain is None else spectrum.gain
        return ((X_new * gain) @ (self.X - spectrum.center).T) @ spectrum.vectors

    def coef(self, spectrum: Spectrum, shrunk: Array) -> Array:
        """Return weights of raw features, ``(n_features, n_targets)``, from ``diag(l / (l + a)) b`` of all rows."""
        inner = spectrum.vectors @ shrunk
        if self.primal:
            return inner / self.scale
        inner = (self.X - spectrum.center).T @ inner / self.scale
        return inner if spectrum.gain is None else inner * spectrum.gain[:, None]

    def intercept(self, spectrum: Spectrum, coef: Array, mean: Array) -> Array:
        """Return intercepts ``(n_targets,)`` from the targets' means."""
        return mean - (self.mean + spectrum.center * self.scale) @ coef

    def _pieces(self, n: int, width: int) -> Iterator[slice]:
        step = max(1, CHUNK_BYTES // (8 * max(1, width)))
        for start in range(0, n, step):
            yield slice(start, min(start + step, n))

    def _gram(self, rows: Any) -> Array:
        """Return X'X of some rows in float64: rounding in float32 would show as noise in small directions."""
        X = self.X[rows]
        total = self.xp.zeros((X.shape[1], X.shape[1]), "float64")
        for piece in self._pieces(*X.shape):
            part = self.xp.asarray(X[piece], "float64")
            total += part.T @ part
        return total

    def _kernel(self, X: Array) -> Array:
        total = self.xp.zeros((X.shape[0], X.shape[0]), "float64")
        for piece in self._pieces(X.shape[1], X.shape[0]):
            part = self.xp.asarray(X[:, piece], "float64")
            total += part @ part.T
        return total

    def _center(self, fold: Fold) -> Array:
        """Return the mean of the training rows, float64."""
        if not self.fit_intercept:
            return self.xp.zeros((self.X.shape[1],), "float64")
        return self.xp.sum64(self.X[self.xp.rows(fold.train)], 0) / len(fold.train)

    def _primal_gram(self, fold: Fold, mixture: _Mixture) -> Array:
        left_out = _fewer_left_out(fold)
        if left_out is None:
            gram = self._gram(self.xp.rows(fold.train))
        else:
            gram = self._total - self._gram(self.xp.rows(left_out)) if len(left_out) else self._total
        center = self._center(fold)
        gram = gram - len(fold.train) * (center[:, None] * center)
        return gram if mixture.stretch is None else gram * mixture.stretch[:, None] * mixture.stretch

    def _primal_spectrum(
        self, fold: Fold, host: np.ndarray, values: Array, vectors: Array, mixture: _Mixture, smallest: float
    ) -> Spectrum:
        xp, center = self.xp, self._center(fold)
        vectors = vectors / xp.sqrt(values)
        vectors = vectors if mixture.stretch is None else mixture.stretch[:, None] * vectors

        def coordinates(rows: Any) -> Array:
            return xp.asarray((xp.asarray(self.X[rows], "float64") - center) @ vectors, self.dtype)

        worst = host[-1] / max(host[0], smallest) if len(host) else 1.0
        squares = self._total.diagonal() if mixture.stretch is None else self._total.diagonal() * mixture.stretch**2
        share = float(squares.sum()) / max(float(host.sum()), 1e-300)
        precise = self.dtype == "float64" or (worst < WORST_CONDITION and share < WORST_SHARE)
        left_out = _fewer_left_out(fold) if precise else None
        known = fold.train if left_out is None else left_out
        of_test = coordinates(xp.rows(fold.test))
        of_known = of_test if known is fold.test else coordinates(xp.rows(known))
        vectors, center = xp.asarray(vectors, self.dtype), xp.asarray(center, self.dtype)
        test = xp.rows(fold.test)
        return Spectrum(
            len(fold.train), host, vectors, center, None, test, of_test, xp.rows(known), of_known, left_out is not None
        )

    def _mixture(self, weights: np.ndarray | None) -> _Mixture:
        parts = [] if self.primal else self._kernels
        if weights is None:
            return _Mixture(sum(parts[1:], parts[0]) if parts else None, None)
        root = np.zeros(self.X.shape[1])
        for band, weight in zip(self.bands, weights, strict=True):
            root[band] = np.sqrt(weight)
        parts = [float(weight) * kernel for weight, kernel in zip(weights, parts, strict=False)]
        return _Mixture(sum(parts[1:], parts[0]) if parts else None, self.xp.asarray(root, "float64"))

    def _dual_gram(self, fold: Fold, mixture: _Mixture) -> Array:
        kernel = self._block(mixture, fold.train, fold.train)
        if not self.fit_intercept:
            return kernel
        mean = kernel.mean(0)
        return kernel - mean - mean[:, None] + mean.mean()

    def _block(self, mixture: _Mixture, rows: np.ndarray, columns: np.ndarray) -> Array:
        """Return a block of the weighted sum of the bands' kernels."""
        assert mixture.kernel is not None
        return mixture.kernel[self.xp.rows(rows)][:, self.xp.rows(columns)]

    def _dual_spectrum(
        self, fold: Fold, host: np.ndarray, values: Array, vectors: Array, mixture: _Mixture, smallest: float
    ) -> Spectrum:
        xp = self.xp
        cross = self._block(mixture, fold.test, fold.train)
        if self.fit_intercept:
            own = self._block(mixture, fold.train, fold.train).mean(0)
            cross = cross - cross.mean(1)[:, None] - own + own.mean()
        of_test = xp.asarray(cross @ (vectors / values), self.dtype)
        of_train, center = xp.asarray(vectors, self.dtype), xp.asarray(self._center(fold), self.dtype)
        gain = None if mixture.stretch is None else xp.asarray(mixture.stretch**2, self.dtype)
        test, known = xp.rows(fold.test), xp.rows(fold.train)
        vectors = xp.asarray(vectors / values, self.dtype)
        return Spectrum(len(fold.train), host, vectors, center, gain, test, of_test, known, of_train, False)


@dataclass(frozen=True)
class _Mixture:
    """The weighted sum of the bands' kernels, and the factor of every column that has the same effect.

    The kernel is None in the primal form, the factor without weights.
    """

    kernel: Array | None
    stretch: Array | None


def _fewer_left_out(fold: Fold) -> np.ndarray | None:
    """Return the rows left out if they are fewer than the training rows: sums go by difference then."""
    return fold.left_out if fold.left_out is not None and len(fold.left_out) < len(fold.train) else None
