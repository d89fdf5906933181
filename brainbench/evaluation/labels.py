"""Nulls of decoded labels: labels in other orders, and what is predicted after learning from these.

Where held-out rows of one fold are training rows of another, the scores of folds depend on each other, and only a null
that fits every order again is as wide as the truth. Where a fit is too dear for that, predictions stay, and the null is
widened by the most that learning from each other can add. Where no held-out row ever trained (other participants,
earlier trials), predictions stay and the test is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from brainbench.evaluation.exchange import Exchange, make_exchange
from brainbench.evaluation.family import p_of_draws

WIDER = np.sqrt(2)
"""How many times as wide a null can be as with predictions kept; see `widened`."""


@dataclass(frozen=True)
class LabelNull:
    """Labels of held-out rows in other orders.

    Attributes
    ----------
    exchange : Exchange
    labels : int ndarray (n_orders, n_held_out)
        Classes in every order.
    predicted : ndarray (n_orders, n_held_out, ...) or None
        What was predicted after fitting to each order; None where the predictions of the labels as they were stay.
    learned : bool
        Whether held-out rows trained the predictions of one another.
    """

    exchange: Exchange
    labels: np.ndarray
    predicted: np.ndarray | None
    learned: bool

    @property
    def text(self) -> str:
        """How a p was found."""
        how = "all fitted again" if self.predicted is not None else "predictions fixed, which knew none of these rows"
        if self.predicted is None and self.learned:
            how = f"predictions fixed, the null widened {WIDER:.2f} times"
        return f"labels of {self.exchange.text} exchanged, {how} ({len(self.exchange)})"

    def test(self, value: float, draws: np.ndarray) -> tuple[float, float]:
        """Return p and the null's 95th percentile of a score; draws that do not exist count as good as it."""
        draws = np.where(np.isfinite(draws), draws, value)
        if self.predicted is None and self.learned:
            draws = widened(draws)
        return p_of_draws(value, draws, self.exchange), float(np.quantile(draws, 0.95))


def widened(draws: np.ndarray) -> np.ndarray:
    r"""Return a null of fixed predictions, its spread widened by the most that learning from other folds can add.

    To second order a score is a form :math:`y'Ay` whose matrix A leads from training rows to test rows. With
    predictions fixed its variance under exchange is :math:`\|A\|^2`; with predictions that learn from the same y it is
    :math:`\|A\|^2 + \mathrm{tr}(A^2)`, and :math:`\mathrm{tr}(A^2) \le \|A\|^2` (Cauchy and Schwarz), with equality
    where A is symmetric: at most twice as much, and about that for a linear model with much shrinkage.
    """
    mean = np.mean(draws)
    out: np.ndarray = mean + WIDER * (draws - mean)
    return out


def resampled_interval(
    value: float, draws: np.ndarray, *, learned: bool, confidence: float, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """Return the central part of a score's draws over resampled held-out rows, predictions kept.

    Where these rows trained the predictions of one another, draws are spread about the score as those of a null are
    (`widened`): with the effect of single rows on the score, which resampling knows of, that is more than enough.

    Parameters
    ----------
    value : float
        The score.
    draws : ndarray (n_draws,)
        Those that are not finite do not exist.
    learned : bool
        Whether a row that is resampled trains the prediction of another.
    confidence : float
    bounds : (float, float)
        Of the score.

    Returns
    -------
    low, high : float
        NaN without draws, and without any spread: all rows right say nothing of the next one.
    """
    draws = draws[np.isfinite(draws)]
    if not len(draws) or np.ptp(draws) < 1e-12:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = value + (WIDER if learned else 1.0) * (np.quantile(draws, [tail, 1 - tail]) - value)
    return max(float(low), bounds[0]), min(float(high), bounds[1])


def learned_from(folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Return whether a row that is tested in one of ``(train, test)`` trains another."""
    tested = np.concatenate([test for _, test in folds])
    return any(bool(np.isin(train, tested).any()) for train, _ in folds)


def exchange_labels(
    y: np.ndarray, *, kind: str, stimulus: np.ndarray | None = None, run: np.ndarray | None = None,
    within: np.ndarray | None = None, block_length: int | None = None, n_exchanges: int = 199, seed: int = 0,
) -> Exchange:  # fmt: skip
    """Draw orders of labels; see `make_exchange`.

    Parameters
    ----------
    y : int ndarray (n_rows,)
    kind, stimulus, run, block_length, n_exchanges, seed
    within : ndarray (n_rows,), optional
        Rows keep what they have of it too: their fold.

    Raises
    ------
    ValueError
        If no order changes a label, as where labels are constant within runs.
    """
    cells, divided = run, False
    if within is not None:
        runs, parts = (np.zeros(len(y), dtype=int) if run is None else _codes(run)), _codes(within)
        cells = runs * (parts.max() + 1) + parts
        divided = len(np.unique(cells)) > len(np.unique(runs))
        kind = "within_run" if kind == "rows" else kind
    found = make_exchange(
        len(y), kind=kind, stimulus=stimulus, run=cells, block_length=block_length, n_exchanges=n_exchanges, seed=seed
    )
    different = np.unique(np.concatenate([y[None], y[found.orders]]), axis=0)
    if len(different) < 2:
        alike = run is not None and all(len(set(y[run == one])) == 1 for one in np.unique(run))
        why = ": every run has one label alone" if kind == "within_run" and alike else ""
        raise ValueError(f"labels are the same in every order of rows that the design allows{why}")
    # Rows have more orders than their labels; where orders come twice, there are hardly more than were drawn.
    n_distinct = found.n_distinct if len(different) > len(found) else len(different) - 1
    return replace(found, n_distinct=float(n_distinct), text=f"{found.text} and folds" if divided else found.text)


def kept_null(y: np.ndarray, *, learned: bool, **design: Any) -> LabelNull:
    """Return the null of predictions that stay, of held-out rows with classes `y`; `design` as of `exchange_labels`."""
    exchange = exchange_labels(y, **design)
    return LabelNull(exchange, y[exchange.orders], None, learned)


def _codes(values: np.ndarray) -> np.ndarray:
    return np.unique(np.asarray(values), return_inverse=True)[1].ravel()


def confusions(y: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return tables of true and predicted classes, ``(n_orders, true, predicted)``.

    Parameters
    ----------
    y, predicted : int ndarray (n_orders, n_rows)
        Either may have one order for all.
    """
    n_orders = max(len(y), len(predicted))
    place = (np.arange(n_orders)[:, None] * n_classes + y) * n_classes + predicted
    counts = np.bincount(place.ravel(), minlength=n_orders * n_classes**2)
    return counts.reshape(n_orders, n_classes, n_classes)


def of_confusion(metric: str, table: np.ndarray) -> np.ndarray:
    """Return accuracy, balanced accuracy or Cohen's kappa of confusion tables ``(..., true, predicted)``."""
    total = table.sum(axis=(-2, -1))
    right = np.trace(table, axis1=-2, axis2=-1)
    true, predicted = table.sum(axis=-1), table.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric == "accuracy":
            out: np.ndarray = right / total
        elif metric == "balanced_accuracy":
            # As in scikit-learn, a class without a trial does not count.
            out = np.nanmean(np.diagonal(table, axis1=-2, axis2=-1) / np.where(true > 0, true, np.nan), axis=-1)
        elif metric == "kappa":
            expected = (true * predicted).sum(axis=-1) / total**2
            out = (right / total - expected) / (1 - expected)
        else:
            raise ValueError(f"metric must be accuracy, balanced_accuracy or kappa, got {metric!r}")
    return out
