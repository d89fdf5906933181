"""What takes several layers or several participants: best layers, and means with participants as a random effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainbench.encoders.base import Layer
from brainbench.evaluation.bootstrap import best_layer, subject_mean
from brainbench.evaluation.exchange import Exchange
from brainbench.evaluation.family import p_over_layers
from brainbench.evaluation.metrics import BEST, METRICS, metric_of
from brainbench.evaluation.scoring import Scored
from brainbench.recipes.kinds import Recipe
from brainbench.runs.columns import KEY
from brainbench.studies.cases.rows import GROUP
from brainbench.studies.outcome import ALL, Outcome

T_TEST = "t over participants: about these stimuli, in new participants"
"""What a t test over participants can say: stimuli that all have met are as they are."""

MEAN = "mean"
"""The ``subject`` of a mean over participants' scores."""


def best_layers(
    outcome: Outcome, draws: Mapping[tuple[str, str, str], Sequence[tuple[Layer, Scored]]], confidence: float
) -> None:
    """Add the best layer of every ROI; the choice is repeated in every bootstrap draw.

    Parameters
    ----------
    outcome : Outcome
    draws : mapping of (subject, scheme, encoder) to a list of (layer, scores)
    confidence : float
        Share of the draws between the ends of the best layer's depth.
    """
    for (subject, scheme, encoder), scored in draws.items():
        if len(scored) < 2 or scored[0][1].draws is None:
            continue
        layers = [layer for layer, _ in scored]
        stack = np.stack([one.draws for _, one in scored if one.draws is not None])
        values = np.stack([one.roi_values[one.metrics[0]] for _, one in scored])
        toward = METRICS[scored[0][1].metrics[0]].direction
        best = best_layer(toward * values, toward * stack, np.array([layer.depth for layer in layers]), confidence)
        for index, roi in enumerate(scored[0][1].rois):
            choice = best[index]
            outcome.note(
                "best_layer",
                {
                    "subject": subject,
                    "scheme": scheme,
                    "encoder": encoder,
                    "roi": roi,
                    "layer": layers[choice.index].name,
                    "depth": layers[choice.index].depth,
                    "share": {layer.name: float(share) for layer, share in zip(layers, choice.share, strict=True)},
                    "depth_low": choice.depth_low,
                    "depth_high": choice.depth_high,
                },
            )


def best_over_layers(
    layers: Sequence[tuple[float, np.ndarray]], exchange: Exchange, toward: int = 1
) -> dict[str, float | None]:
    """Return the best score, its p over all layers, and where there is one layer the null's 95th percentile.

    Parameters
    ----------
    layers : sequence of (float, ndarray (n_exchanges,))
        Score and draws of every layer, more being better.
    exchange : Exchange
    toward : {1, -1}
        What turns them back into scores.
    """
    values, draws = [one[0] for one in layers], [one[1] for one in layers]
    null_95 = toward * float(np.quantile(draws[0], 0.95)) if len(layers) == 1 else None
    return {"value": toward * max(values), "p": p_over_layers(values, draws, exchange)[0], "null_95": null_95}


def mean_over_subjects(recipe: Recipe, outcome: Outcome, subjects: Sequence[str]) -> None:
    """Add rows with ``subject`` `MEAN`: the mean of the participants' scores, each participant one draw."""
    if len(subjects) < 2:
        return
    cells: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for row in outcome.rows:
        # A best layer of each is not a layer of all: the mean over participants has a best layer of its own.
        if row["fold"] == ALL and row["subject"] in subjects and not row["metric"].startswith(BEST):
            key = tuple(str(row.get(name, "")) for name in KEY if name not in ("subject", "fold"))
            cells.setdefault(key, {})[row["subject"]] = row
    for by_subject in cells.values():
        if len(by_subject) < 2:
            continue
        rows = [by_subject[subject] for subject in subjects if subject in by_subject]
        values = np.array([row["value"] for row in rows], dtype=float)
        metric = metric_of(rows[0]["metric"])
        name = rows[0]["metric"]
        chance = outcome.chance.get(name, 0.0 if metric is None else metric.chance)
        own = np.array([outcome.own_chance.get((name, row["subject"]), chance or 0.0) for row in rows])
        toward = 1 if metric is None else metric.direction
        least, most = sorted(toward * bound for bound in (metric.bounds if metric is not None else (-np.inf, np.inf)))
        found = subject_mean(toward * values, confidence=recipe.bootstrap.confidence, bounds=(least, most))
        # Each participant is held against the class rates of their own rows.
        p = None if chance is None else subject_mean(toward * (values - own)).p
        p = None if p is None or not np.isfinite(p) else p
        known = np.isfinite(found.ci_low)
        low, high = sorted((toward * found.ci_low, toward * found.ci_high)) if known else (None, None)
        # Of the participants whose scores these are: the mean of those alone that were found would lie too high.
        ceilings = [row["ceiling"] for row in rows if row.get("ceiling") is not None]
        a_found = any(row.get("ceiling_low") is None or row["ceiling_low"] > 0 for row in rows)
        first = {name: value for name, value in rows[0].items() if name in _SHARED}
        if len({row.get("n_targets") for row in rows}) > 1:  # no number of targets is that of all
            first["n_targets"] = None
        outcome.add(
            **first,
            subject=MEAN,
            fold=ALL,
            value=toward * found.value,
            ci_low=low,
            ci_high=high,
            p=p,
            test=None if p is None else T_TEST,
            ceiling=float(np.mean(ceilings)) if a_found and len(ceilings) == len(rows) else None,
            n_rows=len(rows),
        )


def lead_subject(outcome: Outcome) -> str:
    """Return whose scores head the report: the group, else the mean, else the only participant."""
    present = {row["subject"] for row in outcome.rows}
    for name in (GROUP, MEAN):
        if name in present:
            return name
    return min(present) if present else ""


OF_A_REGION = ("subject", "fold", "scheme", "encoder", "role", "roi", "n_targets", "n_rows", "ceiling")
"""What the best layer of a mean over participants has of the means of layers."""

TOGETHER_WORDS = "the same in all participants: about new stimuli"
"""Of a test of the mean over participants who met the same stimuli, under one exchange for all."""

_SHARED = (*(name for name in KEY if name not in ("subject", "fold")), "role", "depth", "n_targets")
