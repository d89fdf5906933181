"""What decoding of trials found, in plain words: who is above chance, who is not, and which pipelines differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainbench.report.tables import probability
from brainbench.studies.cases.across import MEAN
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.words import LEVEL, distinct, joined, number, significant

Row = dict[str, Any]


def trial_claims(subjects: list[str], outcome: Outcome) -> list[str]:
    """Return sentences about the leading scheme, then one per further scheme."""
    main, found = next(iter(outcome.schemes)), outcome.findings["trials"]
    rows = [row for row in outcome.rows if row["fold"] == ALL]
    sentences = [
        _subject(subject, [row for row in rows if row["subject"] == subject and row["scheme"] == main])
        for subject in subjects
    ]
    for kind in ("time", "band", "region"):
        if found.get(kind) is not None:
            sentences += _parts(found[kind], kind, rows, subjects)
    for scheme in outcome.schemes:
        here = [row for row in rows if row["scheme"] == scheme]
        mean, each = ([row for row in here if (row["subject"] == MEAN) is group] for group in (True, False))
        sentences += _group(mean, each, scheme)
    return sentences


def trial_answer(subjects: list[str], outcome: Outcome) -> list[str]:
    """Return how many participants are above chance, the best pipeline over them, and whether pipelines differ."""
    main = next(iter(outcome.schemes))
    rows = [row for row in outcome.rows if row["fold"] == ALL and row["scheme"] == main]
    if len(subjects) == 1:
        return [_subject(subjects[0], rows)]
    accuracy = [row for row in rows if row["metric"] == "accuracy" and row["subject"] in subjects]
    n_tested = len({row["subject"] for row in accuracy if row.get("q") is not None})
    above = [name for name in subjects if any(row["subject"] == name and significant(row) for row in accuracy)]
    if not n_tested:
        first = f"Whether any of {len(subjects)} participants is above chance was not tested."
    else:
        n = len(distinct(accuracy, "pipeline"))
        which = "with its pipeline" if n == 1 else f"with at least one of {n} pipelines"
        names = f" ({joined(above)})" if 0 < len(above) <= 8 else ""
        first = (
            f"{len(above)} of {n_tested} participants{names} {'is' if len(above) == 1 else 'are'} above chance {which}."
        )
    mean = [row for row in rows if row["subject"] == MEAN]
    sentences = _group(mean, accuracy, main)
    best = max((row for row in mean if row["metric"] == "accuracy"), key=lambda row: row["value"], default=None)
    if best is None:
        return [first]
    return [first, f"The highest mean accuracy is that of {_spread(best, accuracy)}.", *sentences[1:2]]


def _subject(subject: str, rows: list[Row]) -> str:
    accuracy = [row for row in rows if row["metric"] == "accuracy"]
    auc = {row["pipeline"]: row["value"] for row in rows if row["metric"] == "roc_auc"}
    above = [row for row in accuracy if row.get("q") is not None and row["q"] < LEVEL]
    n = len(accuracy)
    if not above:
        best = max(accuracy, key=lambda row: row["value"])
        which = "with its pipeline" if n == 1 else f"with any of {n} pipelines"
        if best.get("q") is None:
            return (
                f"{subject}: highest accuracy {number(best['value'], 2)}; whether this is above chance was not tested."
            )
        tested = f", lowest q {probability(min(row['q'] for row in accuracy if row.get('q') is not None))}"
        return f"{subject} is not above chance {which} (highest accuracy {number(best['value'], 2)}{tested})."
    shown = "; ".join(
        f"{row['pipeline']} accuracy {number(row['value'], 2)}, ROC-AUC {number(auc.get(row['pipeline']), 2)}, "
        f"q {probability(row['q'])}"
        for row in sorted(above, key=lambda row: -row["value"])
    )
    rest = [row["pipeline"] for row in accuracy if row not in above]
    ending = f" Not above chance: {', '.join(rest)}." if rest else ""
    return f"{subject} is above chance with {len(above)} of {n} pipelines ({shown}).{ending}"


def _parts(facts: dict[str, Any], kind: str, rows: list[Row], subjects: list[str]) -> list[str]:
    """Return a sentence on the windows or bands in which each participant is above chance."""
    what = {"time": "windows", "band": "bands", "region": "groups of channels"}[kind]
    found = []
    for subject in subjects:
        mine = [
            row for row in rows
            if row["subject"] == subject and row["scheme"] == facts["scheme"] and row["metric"] == "accuracy"
        ]  # fmt: skip
        above = [row for row in mine if row.get("q") is not None and row["q"] < LEVEL]
        if not above:
            found.append(f"{subject} in none of {len(mine)} {what}")
            continue
        best = max(above, key=lambda row: row["value"])
        listed = ", ".join(row["roi"] for row in above)
        found.append(f"{subject} in {listed} (highest {number(best['value'], 2)} in {best['roi']})")
    return [f"Above chance by {kind}, {facts['pipeline']}: {'; '.join(found)}."]


def _spread(row: Row, each: list[Row]) -> str:
    """Return a mean with its interval, or with the values of the few participants it is the mean of."""
    if row.get("ci_low") is not None:
        beside = f"[{number(row['ci_low'], 2)}, {number(row['ci_high'], 2)}]"
    else:
        mine = [one for one in each if one["pipeline"] == row["pipeline"] and one["metric"] == row["metric"]]
        beside = f"({', '.join(number(one['value'], 2) for one in mine)})"
    return f"{row['pipeline']} {number(row['value'], 2)} {beside}"


def _group(rows: list[Row], each: list[Row], scheme: str) -> list[str]:
    accuracy = [row for row in rows if row["metric"] == "accuracy"]
    if not accuracy:
        return []
    shown = "; ".join(_spread(row, each) for row in sorted(accuracy, key=lambda row: -row["value"]))
    n = int(accuracy[0]["n_rows"])
    sentences = [f"Mean accuracy over {n} participants, {scheme}: {shown}."]
    pairs = [row for row in rows if row["metric"] == "difference_accuracy"]
    differ = [row for row in pairs if row.get("q") is not None and row["q"] < LEVEL]
    if differ:
        listed = "; ".join(f"{row['pipeline']} {row['value']:+.2f} (q {probability(row['q'])})" for row in differ)
        sentences.append(f"Pipelines that differ over participants, {scheme}: {listed}.")
    elif pairs:
        smallest = 2 / 2**n
        limit = (
            f"; with {n} participants a sign-flip test cannot reach p < {LEVEL:g}: its smallest p is {number(smallest)}"
            if smallest >= LEVEL and np.isfinite(smallest)
            else ""
        )
        sentences.append(f"No pipeline differs reliably from another over participants, {scheme}{limit}.")
    return sentences
