"""Score tables as the report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.evaluation.metrics import metric_of

if TYPE_CHECKING:
    import pandas as pd

GROUP, MEAN, ALL = "group", "mean", "all"
LEVEL = 0.05


@dataclass(frozen=True)
class RowName:
    """One row of a layer x ROI table."""

    encoder: str
    layer: str
    role: str

    @property
    def text(self) -> str:
        """``encoder · layer``."""
        return f"{self.encoder} · {self.layer}"


@dataclass(frozen=True)
class Matrix:
    """Layer x ROI scores of one subject, scheme and metric; models first, then controls."""

    rows: list[RowName]
    rois: list[str]
    value: np.ndarray
    q: np.ndarray
    ceiling: np.ndarray
    low: np.ndarray
    high: np.ndarray
    depth: np.ndarray

    @property
    def n_models(self) -> int:
        """Number of rows that are models."""
        return sum(row.role == "model" for row in self.rows)


def in_words(table: Matrix, title: str, toward: int = 1) -> str:
    """Return what a layer x ROI table says, for readers who do not see it: every region's best layer.

    Parameters
    ----------
    table : Matrix
    title : str
    toward : int
        1 where more is better, -1 where less is.
    """
    n_sure = int((table.q < LEVEL).sum())
    said = []
    for j, roi in enumerate(table.rois):
        column = np.where(np.isfinite(table.value[:, j]), toward * table.value[:, j], -np.inf)
        if np.isfinite(column).any():
            best = int(column.argmax())
            said.append(f"{roi}: {number(table.value[best, j])}, {table.rows[best].text}")
    counted = f"{n_sure} of {table.value.size} cells have q < {LEVEL:g}" if np.isfinite(table.q).any() else "not tested"
    return f"{title} by layer and region; {counted}. Best of each region: {'; '.join(said) or 'none'}."


def confusion_in_words(title: str, labels: Sequence[str], counts: Any) -> str:
    """Return what a confusion matrix says: how many rows are right, and which two labels are confused most."""
    table = np.asarray(counts, dtype=float)
    said = f"Confusion, {title}: {np.trace(table):.0f} of {table.sum():.0f} right"
    wrong = table - np.diag(np.diag(table))
    if not wrong.any():
        return said + "."
    true, called = divmod(int(wrong.argmax()), wrong.shape[1])
    return f"{said}; most often {labels[true]} is called {labels[called]} ({wrong.max():.0f} times)."


def number(value: Any, digits: int = 2) -> str:
    """Return a number as the page writes it."""
    if value is None or value == "" or not np.isfinite(float(value)):
        return "not estimable"
    return f"{float(value):.{digits}f}".replace("-", "\N{MINUS SIGN}")


def probability(value: Any) -> str:
    """Return a p or q as the page writes it: none is 0."""
    written = number(value, 3)
    return "< 0.001" if written == "0.000" else written


def interval(ends: tuple[Any, Any], digits: int = 2) -> str:
    """Return an interval as the page writes it; a dash where there is none."""
    low, high = (number(end, digits) for end in ends)
    return "–" if "not estimable" in (low, high) else f"{low}–{high}"


def how_tested(rows: pd.DataFrame) -> list[str]:
    """Return a sentence on how the p of accuracies were found, or one for each way with its pipelines."""
    if "test" not in rows:
        return []
    tested = rows[rows["p"].notna() & rows["test"].notna()]
    ways = {str(text): ", ".join(dict.fromkeys(of["pipeline"])) for text, of in tested.groupby("test", sort=False)}
    return [f"p{f' of {names}' if len(ways) > 1 else ''}: {text}." for text, names in ways.items()]


def lead_subject(scores: pd.DataFrame) -> str:
    """Return whose scores head the page: the group, else the mean over participants, else the only one."""
    present = list(dict.fromkeys(scores["subject"]))
    for name in (GROUP, MEAN):
        if name in present:
            return name
    return present[0] if present else ""


def over_folds(
    scores: pd.DataFrame, *, metric: str, scheme: str | None = None, subject: str | None = None
) -> pd.DataFrame:
    """Return the rows over folds of one metric."""
    chosen = scores[(scores["fold"] == ALL) & (scores["metric"] == metric)]
    if scheme is not None:
        chosen = chosen[chosen["scheme"] == scheme]
    if subject is not None:
        chosen = chosen[chosen["subject"] == subject]
    return chosen


def matrix(rows: pd.DataFrame, layers: Sequence[tuple[str, str, str]], rois: Sequence[str]) -> Matrix | None:
    """Arrange rows of one subject, scheme and metric by layer and ROI.

    Parameters
    ----------
    rows : DataFrame
    layers : sequence of (encoder, layer, role)
        In the order of the recipe.
    rois : sequence of str
    """
    present = {(row.encoder, row.layer) for row in rows.itertuples()}
    ordered = [
        RowName(*layer)
        for role in ("model", "control")
        for layer in layers
        if layer[2] == role and layer[:2] in present
    ]
    here = [roi for roi in rois if roi in set(rows["roi"])]
    if not ordered or not here:
        return None
    table = rows.drop_duplicates(["encoder", "layer", "roi"]).set_index(["encoder", "layer", "roi"])

    def cells(column: str) -> np.ndarray:
        wanted = [(row.encoder, row.layer, roi) for row in ordered for roi in here]
        return table[column].reindex(wanted).to_numpy(dtype=float).reshape(len(ordered), len(here))

    # A claim needs its sign: what is significant on the wrong side of chance carries no dot.
    metric = metric_of(str(rows["metric"].iloc[0]))
    right = cells("value") > 0 if metric is None else metric.beyond_chance(cells("value"))
    sure = np.where(right, cells("q"), np.nan)
    return Matrix(
        ordered, here, cells("value"), sure, cells("ceiling"), cells("ci_low"), cells("ci_high"),
        np.nanmean(np.where(np.isfinite(cells("depth")), cells("depth"), 0.0), axis=1),
    )  # fmt: skip
