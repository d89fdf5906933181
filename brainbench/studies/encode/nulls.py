"""Nulls of encoding models: what of a case is exchanged, and fits of exchanged responses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError
from brainbench.evaluation.exchange import Exchange, autocorrelation, make_exchange
from brainbench.evaluation.family import fill_p
from brainbench.evaluation.metrics import METRICS, UNIQUE
from brainbench.evaluation.refit import Null, best_scores, column_scores, refit_null
from brainbench.evaluation.scoring import Scored
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.ridge.encoding import FoldSettings, noise_and_drift, restored
from brainbench.studies.cases.case import Case
from brainbench.studies.encode.designs import Designs

N_REFITTED_NESTED = 24
"""Targets that are refitted where every fit is a banded one."""


def n_exchanges(recipe: EncodeRecipe) -> int:
    """Return how many exchanges are fitted again."""
    return min(recipe.significance.n_permutations, recipe.significance.n_refits)


def exchange_of(recipe: EncodeRecipe, case: Case) -> Exchange:
    """Return the exchanges of a case; participants who met the same stimuli in the same runs get the same ones."""
    rows, split = case.rows, case.split
    try:
        return make_exchange(
            len(rows), kind=split.null, stimulus=rows.stimulus, run=rows.run, block_length=split.block_length,
            n_exchanges=n_exchanges(recipe), seed=recipe.seed,
        )  # fmt: skip
    except ValueError as error:
        raise UserError(
            f"significance.null: '{split.null}' with {rows.subject}, {rows.scheme.label}: {error}",
            hint="choose another `null`, or `n_permutations: 0` to test nothing",
        ) from error


def words_of(exchange: Exchange, metric: str) -> str:
    """Return how a p of a metric was found."""
    how = f"{exchange.text} exchanged, all fitted again ({len(exchange)})"
    return f"what the controls leave over: {how}" if metric == UNIQUE else how


def shared_key(case: Case, exchange: Exchange) -> str:
    """Return what participants have in common whose responses can be exchanged together."""
    names = np.unique(case.rows.stimulus)
    return f"{exchange.key} {case.features.stimuli.digest()} {digest_array(names)}"


def null_key(recipe: EncodeRecipe, case: Case) -> dict[str, Any]:
    """Return what the digest of a null depends on besides the fits."""
    return {
        "exchange": case.split.null,
        "block_length": case.split.block_length,
        "n_exchanges": n_exchanges(recipe),
        "fitted": "again, with one penalty, and a line from it to chosen ones and what it leaves over",
    }


def layer_null(recipe: EncodeRecipe, case: Case, settings: FoldSettings, designs: Designs) -> dict[str, np.ndarray]:
    """Return the null of one layer as arrays: every exchange is fitted as the responses were."""
    if not n_exchanges(recipe):
        return {}
    Y, base = _exchanged(recipe, case, settings)
    return refit_null(
        Y, exchange_of(recipe, case), designs.refit, column_scores(recipe.metrics[0], case.split.over),
        case.responses.rois, fixed=designs.fixed, base=base, seed=recipe.seed,
    ).to_arrays()  # fmt: skip


class SmallerNull:
    """Scores of the smaller models under exchange, found once for all layers that are held against them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: np.ndarray | None = None

    def scores(self, find: Callable[[], np.ndarray]) -> np.ndarray:
        """Return scores ``(n_exchanges, n_sampled)``, by `find` for the first who asks."""
        with self._lock:
            if self._found is None:
                self._found = find()
            return self._found


def nested_null(
    recipe: EncodeRecipe, case: Case, settings: FoldSettings, smaller: Sequence[Designs], full: Designs,
    held_out: Mapping[str, np.ndarray], best: np.ndarray, shared: SmallerNull,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the null of what a model adds to the best of smaller ones (Freedman and Lane 1983).

    What the best smaller model leaves over of held-out rows is exchanged and added to what it predicts of them; all
    models are fitted again. Held-out residuals, unlike those of a fit to all rows, are not shrunk and made alike by
    the fit that they come from.

    Parameters
    ----------
    recipe, case, settings
    smaller : sequence of Designs
        Of the smaller models.
    full : Designs
    held_out : mapping of str to ndarray
        Rows and true responses of all test folds.
    best : ndarray (n_held_out, n_targets)
        What the best smaller model predicts of them.
    shared : SmallerNull
        Of all layers with these smaller models.
    """
    if not n_exchanges(recipe):
        return {}
    base = np.zeros(case.rows.Y.shape)
    left = np.asarray(case.rows.Y, dtype=np.float64) - np.mean(case.rows.Y, axis=0)
    base[held_out["row"]] = best
    left[held_out["row"]] = held_out["y_true"] - best
    if settings.t_r is not None:
        nuisance = case.rows.nuisance if recipe.timing.regress_nuisance else None
        for _, test in case.split.folds:
            moved = None if nuisance is None else nuisance[test]
            left[test] = restored(left[test], test, case.rows.run[test], settings, moved)

    def draw(models: Sequence[Designs], less: np.ndarray | None = None) -> Null:
        def predict(Y: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
            for found in zip(*(model.refit(Y) for model in models), strict=True):
                yield found[0][0], *(predicted for _, predicted in found)

        return refit_null(
            left, exchange_of(recipe, case), predict, best_scores(case.split.over), case.responses.rois, base=base,
            less=less, n_refitted=N_REFITTED_NESTED, seed=recipe.seed,
        )  # fmt: skip

    return draw([full], shared.scores(lambda: draw(smaller).targets)).to_arrays()


def fill_layer(recipe: EncodeRecipe, case: Case, scored: Scored, null: Null) -> None:
    """Fill the p values of a layer's scores."""
    pace = None
    if case.rows.continuous is not None:
        runs = [np.flatnonzero(case.rows.run == name) for name in np.unique(case.rows.run)]
        Y = np.asarray(case.rows.Y, dtype=np.float64)
        pace = np.array([autocorrelation(Y[:, [column]], runs, 2)[1] for column in range(Y.shape[1])])
    metric = METRICS[scored.metrics[0]]
    fill_p(scored, null, exchange_of(recipe, case), toward=metric.direction, pace=pace)


def _exchanged(recipe: EncodeRecipe, case: Case, settings: FoldSettings) -> tuple[np.ndarray, np.ndarray | None]:
    """Return what is exchanged, and what stays: drift and nuisance are not shifted with the responses."""
    Y = np.asarray(case.rows.Y)
    if settings.t_r is None:
        return Y, None
    nuisance = case.rows.nuisance if recipe.timing.regress_nuisance else None
    return noise_and_drift(Y, case.rows.run, settings, nuisance)
