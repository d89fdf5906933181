"""Nulls of decoded trials: whose labels are exchanged, and which pipelines are fitted again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.decoders.base import TrialDecoder
from brainbench.evaluation.exchange import Exchange
from brainbench.evaluation.labels import LabelNull, exchange_labels, kept_null, learned_from
from brainbench.evaluation.trials.scores import Predictions
from brainbench.evaluation.trials.splitters import Fold
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.studies.trials.trials import Case


def refit_orders(recipe: TrialsRecipe, case: Case, folds: Sequence[Fold]) -> np.ndarray | None:
    """Return the class of every trial in the orders that folds are fitted to again, ``(n_orders, n_trials)``.

    Held-out trials change labels within runs and folds, so that what was dealt by label stays dealt so.

    Parameters
    ----------
    recipe, case
    folds : sequence of (train, test)
        Of the case, or what is left of its folds.

    Returns
    -------
    int ndarray or None
        None where nothing is tested, nothing can be exchanged, or no tested trial trains a model that tests another.
    """
    n = _n_refits(recipe)
    if not n or len(case.members) > 1 or not learned_from(folds):
        return None
    held = np.concatenate([test for _, test in folds])
    fold = np.repeat(np.arange(len(folds)), [len(test) for _, test in folds])
    y = np.searchsorted(case.classes, case.rows.label)
    try:
        exchange = _exchange(recipe, y[held], case.rows.runs[held], fold, n)
    except ValueError:
        return None
    orders = np.tile(y, (len(exchange), 1))
    orders[:, held] = y[held][exchange.orders]
    return orders


def digest_orders(recipe: TrialsRecipe, case: Case, folds: Sequence[Fold]) -> str | None:
    """Return what names the orders of `refit_orders`."""
    orders = refit_orders(recipe, case, folds)
    return None if orders is None else digest_array(orders)


def fitted_again(
    decoder: TrialDecoder, orders: np.ndarray | None, prepared: np.ndarray, fold: Fold, domains: np.ndarray
) -> dict[str, np.ndarray]:
    """Return ``exchanged``, the probabilities of a fold's test trials after fitting to every order, or nothing.

    Parameters
    ----------
    decoder : TrialDecoder
        Its fit is lost.
    orders : int ndarray (n_orders, n_trials), optional
    prepared : ndarray (n_trials, ...)
    fold : (train, test)
    domains : ndarray (n_trials,)
    """
    if orders is None:
        return {}
    train, test = fold
    found = decoder.exchanged(
        prepared[train], orders[:, train], prepared[test], domains=domains[train], test_domains=domains[test]
    )
    return {} if found is None else {"exchanged": found.astype(np.float32)}


def learned_of(case: Case, subject: str) -> bool:
    """Return whether a participant's tested trials trained the predictions of one another."""
    return learned_from([fold for fold in case.folds if np.all(case.rows.subject[fold[1]] == subject)])


def trial_null(
    recipe: TrialsRecipe, case: Case, subject: str, y: np.ndarray, predictions: Predictions
) -> tuple[LabelNull | None, str]:
    """Return the null of a participant's held-out trials, or why there is none.

    Parameters
    ----------
    recipe, case, subject
    y : int ndarray (n,)
        Their classes, in the order of `predictions`.
    predictions : Predictions
    """
    n = recipe.significance.n_permutations
    if not n:
        return None, ""
    run = case.rows.runs[predictions.row]
    try:
        if predictions.exchanged is not None:
            exchange = _exchange(recipe, y, run, predictions.fold, _n_refits(recipe))
            predicted = predictions.exchanged.transpose(1, 0, 2)
            return LabelNull(exchange, y[exchange.orders], predicted, learned=True), ""
        return kept_null(
            y, learned=learned_of(case, subject), kind="within_run", run=run, within=predictions.fold, n_exchanges=n,
            seed=recipe.seed,
        ), ""  # fmt: skip
    except ValueError as error:
        return None, f"{subject}, {case.label}: nothing is tested, because {error}"


def _n_refits(recipe: TrialsRecipe) -> int:
    return min(recipe.significance.n_permutations, recipe.significance.n_refits)


def _exchange(recipe: TrialsRecipe, y: np.ndarray, run: np.ndarray, fold: np.ndarray, n: int) -> Exchange:
    return exchange_labels(y, kind="within_run", run=run, within=fold, n_exchanges=n, seed=recipe.seed)
