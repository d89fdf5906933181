"""What similarity of geometries says in words, and the bounds that participants set to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainbench.evaluation.metrics import title_of
from brainbench.evaluation.similarity import rsa_noise_ceiling
from brainbench.studies.outcome import ALL, TOGETHER, Outcome
from brainbench.studies.words import Row, distinct, number, probability, significant, untested

SCHEME = "all stimuli"
"""The ``scheme`` of its scores: nothing is fitted, so nothing is held out."""


def bounds_of(
    geometries: Mapping[str, Mapping[str, np.ndarray]], ranks: bool = True
) -> dict[tuple[str, str], tuple[float, float]]:
    """Return lower and upper ceilings of RSA by participant and region, of regions that two or more have.

    Parameters
    ----------
    geometries : mapping of region to mapping of participant to ndarray (n_pairs,)
        Condensed RDMs of the same stimuli.
    ranks : bool
        Of Spearman's correlation; else of Pearson's.
    """
    bounds: dict[tuple[str, str], tuple[float, float]] = {}
    for roi, by_subject in geometries.items():
        if len(by_subject) > 1:
            lower, upper = rsa_noise_ceiling(np.stack(list(by_subject.values())), ranks)
            for subject, low, high in zip(by_subject, lower, upper, strict=True):
                bounds[subject, roi] = (float(low), float(high))
    return bounds


def rsa_claims(outcome: Outcome, subject: str, metric: str = "rsa") -> list[str]:
    """Return a sentence a region: the best layer, whether it is tested, its control, and the ceiling."""
    rows = [row for row in outcome.rows if row["metric"] == metric and row["fold"] == ALL and row["subject"] == subject]
    sentences = []
    for roi in distinct(rows, "roi"):
        here = [row for row in rows if row["roi"] == roi and np.isfinite(row["value"])]
        models = [row for row in here if row["role"] == "model"] or here
        if not models:
            continue
        best = max(models, key=lambda row: row["value"])
        layer = f"{best['encoder']} {best['layer']}"
        text = f"{roi} ({subject}): {title_of(metric)} of {layer} is {number(best['value'], 2)}{_verdict(best)}"
        rivals = [row for row in here if row["role"] == "control"]
        if rivals and models != here:
            rival = max(rivals, key=lambda row: row["value"])
            text += f"; its best control is {rival['encoder']} at {number(rival['value'], 2)}"
        sentences.append(text + _within(outcome.findings.get("rsa_ceilings", []), roi, subject, metric, best) + ".")
    return sentences


def _verdict(row: Row) -> str:
    if untested(row):
        return ", which was not tested"
    above = significant(row) and row["value"] > 0
    return f" (q {probability(row['q'])}), {'above' if above else 'not above'} chance"


def _within(found: Sequence[dict[str, Any]], roi: str, subject: str, metric: str, best: Row) -> str:
    """Return where a score lies between the bounds that participants set, on average over them for their mean."""
    here = [one for one in found if one["roi"] == roi and one.get("metric", "rsa") == metric]
    mine = [one for one in here if subject in TOGETHER or one["subject"] == subject]
    if not mine:
        return ""
    low, high = (float(np.mean([one[end] for one in mine])) for end in ("lower", "upper"))
    if low <= 0:
        return f"; participants do not agree on this geometry (the lower noise ceiling is {number(low, 2)})"
    where = "below" if best["value"] < low else "within" if best["value"] <= high else "above"
    return f"; {where} the noise ceiling of {number(low, 2)} to {number(high, 2)}"
