"""What an encoding recipe found, in plain words: what beats its controls, and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from brainbench.evaluation.metrics import BEST, METRICS, Metric
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.studies.cases.across import lead_subject
from brainbench.studies.cases.labels import reading_claims
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.words import Row, distinct, number, probability, significant, untested


def encoding_claims(recipe: EncodeRecipe, outcome: Outcome) -> list[str]:
    """Return sentences about the main scheme, for the subject whose scores head the report."""
    subject = lead_subject(outcome)
    rows = [row for row in outcome.rows if row["fold"] == ALL and row["subject"] == subject]
    main = [row for row in rows if row.get("scheme", "") == recipe.schemes[0].label]
    lead = METRICS[recipe.metrics[0]]
    return [
        *_unique(subject, [row for row in main if row["metric"] == "unique_r2"]),
        *_against_controls(
            subject,
            [row for row in main if row["metric"] == lead.name],
            lead,
            {(row["encoder"], row["roi"]): row for row in main if row["metric"] == BEST + lead.name},
        ),
        *_zero_shot([row for row in outcome.rows if row["metric"] == "two_vs_two" and row["fold"] == ALL]),
        *reading_claims(outcome, subject),
    ]


def _unique(subject: str, rows: Sequence[Row]) -> list[str]:
    sentences = []
    for roi in distinct(rows, "roi"):
        for encoder in distinct(rows, "encoder"):
            layers = [row for row in rows if row["roi"] == roi and row["encoder"] == encoder]
            best = max(layers, key=lambda row: row["value"])
            above = [row for row in layers if significant(row) and row["value"] > 0]
            detail = f"best {best['layer']}: unique R2 {number(best['value'])}"
            if best.get("ci_low") is not None:
                detail += f", interval {number(best['ci_low'], 2)} to {number(best['ci_high'], 2)}"
            detail += "" if untested(best) else f", q {probability(best.get('q'))}"
            if all(map(untested, layers)):
                text = f"whether {encoder} explains variance beyond the controls was not tested"
            elif not above:
                text = f"no {encoder} layer explains variance beyond the controls"
            else:
                text = f"{len(above)} of {len(layers)} {encoder} layers explain variance that the controls do not"
                known = [row["ci_low"] for row in above if row.get("ci_low") is not None]
                if known and max(known) <= 0:
                    text += " by the permutation test, though no interval excludes zero"
            sentences.append(f"{roi} ({subject}): {text} ({detail}).")
    return sentences


def _against_controls(
    subject: str, rows: Sequence[Row], metric: Metric, tests: Mapping[tuple[str, str], Row]
) -> list[str]:
    """Hold the best layer of a model against the best control; above chance is one test over the model's layers."""

    def good(row: Row) -> float:
        return metric.direction * float(row["value"])

    sentences = []
    for roi in distinct(rows, "roi"):
        here = [row for row in rows if row["roi"] == roi and row["value"] is not None and np.isfinite(row["value"])]
        models = [row for row in here if row["role"] == "model"]
        controls = [row for row in here if row["role"] == "control"]
        if not models:
            continue
        best = max(models, key=good)
        ceiling = f" of a ceiling of {number(best['ceiling'], 2)}" if best.get("ceiling") is not None else ""
        text = f"{roi} ({subject}): {best['encoder']} {best['layer']} reaches {number(best['value'], 2)}{ceiling}"
        test = tests.get((best["encoder"], roi), best)
        text += f" (q {probability(test.get('q'))} over its layers)" if test.get("q") is not None else ""
        beyond_chance = metric.chance is None or good(best) > metric.direction * metric.chance
        if untested(test):
            text += ", which was not tested"
        elif not significant(test) or not beyond_chance:
            text += ", which is not above chance" if metric.direction > 0 else ", which is no better than chance"
        if controls:
            rival = max(controls, key=good)
            reached = f"{rival['encoder']} at {number(rival['value'], 2)}"
            if good(best) <= good(rival):
                text += f"; it does not beat its control {reached}"
            elif best.get("ci_low") is None:
                text += f"; its best control is {reached}, and there is no interval to hold them against each other"
            elif _surely_better(best, rival, metric):
                beyond = "above" if metric.direction > 0 else "below"
                text += f"; its confidence interval lies {beyond} the best control, {reached}"
            else:
                text += f"; its confidence interval includes the best control, {reached}"
        sentences.append(text + ".")
    return sentences


def _surely_better(best: Row, rival: Row, metric: Metric) -> bool:
    """Return whether the whole confidence interval is better than the rival's score."""
    end = best["ci_low"] if metric.direction > 0 else best["ci_high"]
    return bool(metric.direction * end > metric.direction * rival["value"])


def _zero_shot(rows: Sequence[Row]) -> list[str]:
    """Say for every participant and region which encoders tell unseen stimuli apart, models before controls."""
    sentences = []
    for subject in distinct(rows, "subject"):
        for roi in distinct(rows, "roi"):
            here = [row for row in rows if row["subject"] == subject and row["roi"] == roi]
            told = [_told_apart([row for row in here if row["encoder"] == name]) for name in _by_role(here)]
            sentences.append(f"{roi} ({subject}), two stimuli that training never saw: {'; '.join(told)}.")
    return sentences


def _told_apart(layers: Sequence[Row]) -> str:
    best = max(layers, key=lambda row: row["value"])
    above = sum(significant(row) for row in layers)
    name = f"{best['encoder']} {best['layer']}"
    share = f"{name} tells {number(best['value'], 2)} of pairs apart"
    null = f"refitted shuffles reach {number(best.get('null_95'), 2)}, q {probability(best.get('q'))}"
    if len(layers) == 1:
        return f"{share} ({null})"
    return f"{share}, its best layer ({null}); {above or 'none'} of its {len(layers)} layers are above chance"


def _by_role(rows: Sequence[Row]) -> list[str]:
    return distinct(sorted(rows, key=lambda row: row["role"] != "model"), "encoder")
