"""From a recipe's ``hold_out`` and ``folds`` to test folds, inner groups, the null and the leak certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.base import Responses, Stimuli
from brainbench.evaluation.certificate import Certificate, leak_certificate
from brainbench.evaluation.exchange import time_exchange
from brainbench.evaluation.splitters import inner_groups, make_splitter
from brainbench.features.drift import remove_drift, restore_drift, segments_of
from brainbench.recipes.kinds import Recipe
from brainbench.recipes.parts import Scheme
from brainbench.studies.cases.features import Features
from brainbench.studies.cases.rows import AVERAGED, Rows

MIN_ROWS_PER_FOLD = 3
"""Below so many test rows of different stimuli a fold has no score of its own: predictions are pooled over folds."""

NULLS = {
    "block": "blocks of {seconds:g} s of the responses are exchanged within runs",
    "shift": "the responses of every run are shifted in time, what leaves at one end coming back at the other",
    "within_run": "rows of the responses are exchanged within runs",
    "stimulus": "the responses of whole stimuli are exchanged, with all their repeats",
    "rows": "rows of the responses are exchanged",
}
"""What is exchanged under each null; everything is fitted again."""


@dataclass
class Split:
    """Test folds of one subject under one scheme, and how their scores are tested.

    Attributes
    ----------
    folds : list of (train, test)
        Row indices.
    over : {"folds", "pooled"}
        Whether scores are means over folds or computed once on the held-out rows of all folds.
    null : str
        What is exchanged; see `brainbench.evaluation.exchange.make_exchange`.
    block_length : int or None
        Rows in a block of time (continuous designs).
    certificate : Certificate
    """

    rows: Rows
    folds: list[tuple[np.ndarray, np.ndarray]]
    over: str
    null: str
    block_length: int | None
    certificate: Certificate

    def inner_groups(self, train: np.ndarray) -> np.ndarray | None:
        """Return the groups that inner folds keep together; None gives contiguous inner folds."""
        if self.rows.continuous is not None:
            return None
        groups: np.ndarray = inner_groups(
            self.rows.scheme.hold_out, stimulus=self.rows.stimulus[train], run=self.rows.run[train]
        )
        return groups

    def facts(self, scheme: Scheme, is_main: bool) -> dict[str, Any]:
        """Return what the report says of the scheme."""
        continuous = self.rows.continuous
        seconds = (self.block_length or 0) * (continuous.t_r if continuous is not None else 0)
        return {
            "label": scheme.label,
            "hold_out": ["single trials, as published"] if scheme.folds.scheme == "paper" else list(scheme.hold_out),
            "n_folds": len(self.folds),
            "note": scheme.note,
            "main": is_main,
            "certificate": self.certificate.to_dict(),
            "null": f"{NULLS[self.null].format(seconds=seconds)}, and all is fitted again",
            "over": self.over,
        }


def split_rows(rows: Rows, features: Features, recipe: Recipe) -> Split:
    """Deal rows into folds as the scheme says.

    Parameters
    ----------
    rows : Rows
    features : Features
        Of the same subject; clusters of stimuli are found in them.
    recipe : Recipe
        Its seed and its null.

    Raises
    ------
    UserError
        If the rows cannot be dealt so.
    """
    scheme, settings = rows.scheme, rows.scheme.folds
    responses, stimuli = features.responses, features.stimuli
    continuous = rows.continuous
    kind = settings.scheme
    if continuous is not None and kind == "auto":
        kind = "contiguous"
    if continuous is not None and kind == "paper":
        raise UserError("folds.scheme: 'paper' is for trial designs; continuous designs take 'contiguous'")
    if continuous is not None and kind not in ("contiguous", "predefined", "grouped", "leave-one-out"):
        raise UserError(
            f"folds.scheme: '{kind}' would put neighbouring volumes into training and test; continuous designs take "
            "'contiguous', 'predefined', or 'leave-one-out' over runs"
        )
    if continuous is None and kind == "contiguous":
        raise UserError("folds.scheme: 'contiguous' is for continuous designs; trial designs take 'k-fold'")
    trim = int(np.ceil(settings.trim_s / continuous.t_r)) if continuous is not None else 0
    predefined = None
    if settings.column is not None:
        known = labels_of_rows(rows, responses, stimuli)
        if settings.column not in known:
            raise UserError(
                f"folds.column: the data has no row label '{settings.column}'{did_you_mean(settings.column, known)}",
                hint=f"row labels: {one_of(known) or 'none'}",
            )
        predefined = np.asarray(known[settings.column], dtype=str)
    elif settings.cluster_by is not None:
        if continuous is not None:
            raise UserError("folds.scheme: 'held-out-clusters' is for trial designs, whose rows have a stimulus")
        found = cluster_stimuli(
            features.stored(settings.cluster_by.encoder, settings.cluster_by.layer), settings.n_splits, recipe.seed
        )
        predefined = found[rows.stimulus]
    try:
        splitter = make_splitter(
            list(scheme.hold_out), scheme="predefined" if kind == "held-out-clusters" else kind,
            n_splits=settings.n_splits, trim=trim, seed=recipe.seed, predefined=predefined,
        )  # fmt: skip
        folds = list(splitter.split(rows.Y, stimulus=rows.stimulus, run=rows.run))
    except ValueError as error:
        raise UserError(f"{rows.subject}, hold_out {list(scheme.hold_out)}: {error}") from error
    for number, (train, _) in enumerate(folds, start=1):
        if len(train) < 2:
            raise UserError(
                f"{rows.subject}, hold_out {list(scheme.hold_out)}: training of fold {number} has {len(train)} of "
                f"{len(rows)} rows; a model needs two or more",
                hint="more stimuli, or a scheme that holds out less",
            )
    certificate = certify(rows, folds, responses, stimuli)
    # Repeats of one stimulus are predicted alike: a fold of one stimulus, however often shown, correlates with nothing.
    shown = np.arange(len(rows)) if continuous is not None else rows.stimulus
    smallest = min(len(np.unique(shown[test])) for _, test in folds)
    null, block_length = choose_null(rows, recipe, features)
    over = "folds" if smallest >= MIN_ROWS_PER_FOLD else "pooled"
    return Split(rows, folds, over, null, block_length, certificate)


def labels_of_rows(rows: Rows, responses: Responses, stimuli: Stimuli) -> dict[str, np.ndarray]:
    """Return what is known of every row: the labels of its stimulus, and its own."""
    known: dict[str, np.ndarray] = {}
    if responses.stimulus is not None:
        known = {name: np.asarray(values)[rows.stimulus] for name, values in stimuli.labels.items()}
    return known | dict(rows.labels)


def cluster_stimuli(features: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    """Return the k-means cluster of every stimulus, ``(n_stimuli,)`` str, in standardised features.

    Raises
    ------
    UserError
        With fewer stimuli than clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    if len(features) < n_clusters:
        raise UserError(f"folds.n_splits: {n_clusters} clusters are too many for {len(features)} stimuli")
    scaled = StandardScaler().fit_transform(np.asarray(features, dtype=np.float64))
    labels = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(scaled)
    return np.array([f"cluster-{label + 1}" for label in labels])


def choose_null(rows: Rows, recipe: Recipe, features: Features) -> tuple[str, int | None]:
    """Return what is exchanged, the recipe's choice or what fits the design, and the length of a block in rows.

    Raises
    ------
    UserError
        If time or runs are to be kept by rows that have none.
    """
    asked, seconds = recipe.significance.null, recipe.significance.block_s
    continuous = rows.continuous
    if continuous is None:
        if asked in ("block", "shift"):
            raise UserError(f"significance.null: '{asked}' is for continuous designs, whose rows have a time")
        if asked == "within_run" and AVERAGED in rows.run:
            raise UserError(
                f"significance.null: 'within_run' with {rows.subject}, {rows.scheme.label}: showings are averaged over "
                "runs, so that rows have none to stay in",
                hint="`null: auto` exchanges whole stimuli; `responses.average_repeats: false`, or holding out runs, "
                "keeps rows in their runs",
            )
        if asked != "auto":
            return asked, None
        return ("within_run" if list(rows.scheme.hold_out) == ["run"] else "stimulus"), None
    length = None if seconds is None else max(1, round(seconds / continuous.t_r))
    high_pass_s = None if features.timing is None else features.timing.high_pass_s
    pieces = segments_of(np.arange(len(rows)), rows.run)
    drift = (pieces, continuous.t_r, high_pass_s)
    noise = restore_drift(remove_drift(rows.Y, *drift), *drift)
    found, length = time_exchange(noise, rows.run, block_length=length)
    return (found if asked == "auto" else asked), length


def certify(
    rows: Rows, folds: Sequence[tuple[np.ndarray, np.ndarray]], responses: Responses, stimuli: Stimuli
) -> Certificate:
    """Examine the folds presentation by presentation: averaging must not hide what a run shares."""
    presentations = [
        (np.flatnonzero(np.isin(rows.group, train)), np.flatnonzero(np.isin(rows.group, test))) for train, test in folds
    ]
    run = np.asarray(responses.run, dtype=str)
    if rows.continuous is not None:
        return leak_certificate(
            presentations,
            stimulus=rows.stimulus,
            run=run,
            row_time=rows.continuous.row_time,
            hold_out=[part for part in rows.scheme.hold_out if part == "run"],
        )
    assert responses.stimulus is not None
    stimulus = np.asarray(responses.stimulus)
    of_stimuli = {name: np.asarray(values)[stimulus] for name, values in stimuli.labels.items()}
    return leak_certificate(
        presentations,
        stimulus=stimulus,
        run=run,
        content_digest=np.asarray(stimuli.content_digests)[stimulus],
        labels={**of_stimuli, **responses.labels},
        hold_out=rows.scheme.hold_out,
    )
