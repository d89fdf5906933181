"""Cross-validated ridge of many targets: a penalty per target, then the fit, block of targets by block of targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from brainbench.core.arrays import Array
from brainbench.ridge.solver.blocks import BLOCK_BYTES, MIN_BLOCK, Block, coordinates_of_targets
from brainbench.ridge.solver.folds import Fold, choose, descending, leave_one_out
from brainbench.ridge.solver.left_out import WORST_CONDITION, LeftOutScores, few_enough
from brainbench.ridge.solver.nodes import fit_for_nodes
from brainbench.ridge.solver.scorers import FoldScores, LeaveOneOutScores, NodeScores, node_scores
from brainbench.ridge.solver.spectra import Features, Spectrum

MANY_TARGETS = 1000
"""Targets from which penalties are chosen in float32 where that is precise enough; with fewer it would save little."""

WORST_SCORE_ROUNDING = 1e-4
"""Largest rounding of predictions, over the size of the responses, with which penalties are chosen in float32."""


def rounding_of_scores(values: np.ndarray, smallest: float) -> float:
    r"""Return how much rounding in float32 can change held-out predictions, over the size of the responses.

    Rounding of cross-products stands in ``b`` of direction j as :math:`\epsilon \sqrt{l_1 / l_j}`, and in predictions,
    after the filter of the smallest penalty a, as :math:`\epsilon \sqrt{l_1 l_j} / (l_j + a)`, which is largest for
    :math:`l_j = a`.

    Parameters
    ----------
    values : ndarray (n_directions,)
        Eigenvalues of all rows, ascending.
    smallest : float
        Smallest penalty.
    """
    largest = float(values[-1]) if len(values) else 0.0
    return float(np.finfo(np.float32).eps) * 0.5 * float(np.sqrt(largest / smallest))


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
        b, _ = coordinates_of_targets(self.spectrum, block)
        alphas = self.features.xp.asarray(alphas / self.features.scale**2, self.features.dtype)
        b *= self.values / (self.values + alphas[:, None])
        b *= block.scale[:, None]  # apart: its product with anything else may leave the type's range
        return b.T


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
    tolerance : float, optional
        Of the filters, where scores may be coarser than usual.

    Attributes
    ----------
    scored : Features
        What penalties are chosen with: the features, or the same in float32. The fit itself keeps the features' type.
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
        tolerance: float | None = None,
    ) -> None:
        self.features = features
        self._order, self._offered = features.xp.asarray(descending(alphas)), features.xp.asarray(alphas)
        rows, smallest = np.arange(len(features.X)), float(alphas.min()) / features.scale**2
        alphas = alphas / features.scale**2
        self.scorers: Sequence[FoldScores | NodeScores | LeaveOneOutScores | LeftOutScores] = []
        self.scored = features
        if leave_one_out(folds):
            (whole,) = features.spectra([Fold(rows, rows, None)], smallest, weights)
            self.scorers = [LeaveOneOutScores(features, whole, alphas, scoring, n_targets)]
        elif n_targets < MANY_TARGETS and few_enough(folds, features, len(alphas), n_targets):
            (whole,) = features.spectra([Fold(rows, rows[:0], None)], smallest, weights)
            if not len(whole.values) or whole.values[-1] / smallest < WORST_CONDITION:
                self.scorers = [LeftOutScores(features, whole, folds, alphas, scoring)]
        if not self.scorers:
            every = Fold(rows, rows[:0], rows[:0])
            narrow = features.narrow_spectrum(every, smallest, weights) if fit_for_nodes(folds) else None
            whole = narrow or next(features.spectra([every], smallest, weights))
            if n_targets >= MANY_TARGETS and rounding_of_scores(whole.values, smallest) <= WORST_SCORE_ROUNDING:
                self.scored = features.cast("float32")
            self.scorers = (
                node_scores(features, narrow, folds, alphas, scoring, n_targets, self.scored) if narrow else []
            )
            spectra = [] if self.scorers else self.scored.spectra(folds, smallest, weights)
            self.scorers = self.scorers or [
                FoldScores(self.scored, one, alphas, scoring, n_targets, tolerance) for one in spectra
            ]
        self.fit = Fit(features, whole)
        self._needs_cross = whole.difference or any(scorer.needs_cross for scorer in self.scorers)
        self._new = features.project(whole, features.X[:0] if X_new is None else X_new)

    def block_size(self) -> int:
        """Return how many targets make a block that fits into the cache."""
        itemsize = np.dtype(self.scored.dtype).itemsize
        width = max([len(self.features.X)] + [scorer.width for scorer in self.scorers])
        return max(MIN_BLOCK, BLOCK_BYTES // (itemsize * width))

    def with_cross(self, block: Block) -> Block:
        """Return the block with the cross-products that this solver needs."""
        return block.crossed(self.features) if self._needs_cross else block

    def scores(self, block: Block) -> Array:
        """Return scores averaged over folds, ``(n_alphas, n_targets)``, float64; `block` is from `with_cross`."""
        block = block.cast(self.features.xp, self.scored.dtype)
        total = self.scorers[0](block)
        for scorer in self.scorers[1:]:
            total += scorer(block)
        return (total / len(self.scorers)).T

    def predict(self, block: Block, alphas: Array) -> Array:
        """Return predictions of the new rows ``(n_new, n_targets)``, a penalty per target."""
        return self._new @ self.fit.shrunk(block, alphas) + block.mean

    def solve(self, block: Block, out: Outputs) -> None:
        """Score, choose and fit a block of targets, and write its columns of the results."""
        block, columns = self.with_cross(block), block.columns
        scores = self.scores(block)
        chosen = self._offered[choose(scores, self._order)]
        out.scores[:, columns], out.alphas[columns] = scores, chosen
        if not len(self._new) and out.coef is None:
            return
        shrunk = self.fit.shrunk(block, chosen)
        out.predicted[:, columns] = self._new @ shrunk + block.mean
        if out.coef is not None and out.intercept is not None:
            coef = self.features.coef(self.fit.spectrum, shrunk)
            out.coef[:, columns] = coef
            out.intercept[columns] = self.features.intercept(self.fit.spectrum, coef, block.mean)
