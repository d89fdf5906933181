"""Accuracy of every participant and pipeline, and pipelines against each other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.report.figures import trials as figures
from brainbench.report.sections.trials.shared import chance_of, decodes_trials, names_of
from brainbench.report.tables import MEAN, how_tested, number

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 510
MAX_PAIRS = 45
applies = decodes_trials


def draw(page: Page) -> dict[str, Any]:
    """Return an entry per scheme; numbers of calibration trials but the main one stand in a curve of their own."""
    trials, chance = page.findings["trials"], chance_of(page.facts)
    schemes = []
    for scheme in page.facts["schemes"]:
        label = scheme["label"]
        if label in trials["shots"] and label != page.scheme:
            continue
        drawn = partial(figures.accuracies, page.over_folds("accuracy", label), names_of(trials), chance, page.mark)
        pairs = page.over_folds("difference_accuracy", label)
        lead = MEAN if (pairs["subject"] == MEAN).any() else ""
        pairs = pairs[pairs["subject"] == lead] if lead else pairs
        shown = pairs.iloc[:MAX_PAIRS]
        differ = partial(figures.differences, shown, page.mark) if len(shown) else None
        sure = int((shown["q"] < page.level).sum())
        counted = f"{sure} of {len(shown)} pairs have q < {page.level:g}"
        alt = f"Differences of accuracy between pipelines, {label}: {counted}."
        schemes.append(
            {
                "scheme": scheme,
                "table": _table(page, label),
                "tests": how_tested(page.over_folds("accuracy", label)),
                "figure": page.save(drawn, f"accuracy_{label}", _in_words(page, label, chance)),
                "pairs": page.save(differ, f"differences_{label}", alt),
                "pairs_over": "participants" if lead else "trials",
                "n_pairs_left_out": len(pairs) - len(shown),
            }
        )
    told = dict.fromkeys(tuple(sorted(one["labels"])) for one in page.facts["subjects"])  # not all have the same
    return {"schemes": schemes, "chance": chance, "classes": list(told)}


def _table(page: Page, scheme: str) -> list[dict[str, Any]]:
    """Return a row per participant and pipeline with all four metrics."""
    chosen = page.scores[(page.scores["fold"] == "all") & (page.scores["scheme"] == scheme)]
    found = []
    for row in chosen[chosen["metric"] == "accuracy"].to_dict("records"):
        same = chosen[(chosen["subject"] == row["subject"]) & (chosen["pipeline"] == row["pipeline"])]
        values = {str(one["metric"]): one["value"] for one in same.to_dict("records")}
        more: dict[str, Any] = {name: values.get(name) for name in ("balanced_accuracy", "kappa", "roc_auc")}
        found.append({str(name): value for name, value in row.items()} | more)
    return found


def _in_words(page: Page, scheme: str, chance: float) -> str:
    """Return every pipeline's mean accuracy over participants, and how many are above chance."""
    rows = page.over_folds("accuracy", scheme)
    said = []
    for pipeline, mine in rows[rows["subject"] != MEAN].groupby("pipeline", sort=False):
        sure = int((mine["q"] < page.level).sum())
        said.append(f"{pipeline} {number(mine['value'].mean())}, {sure} of {len(mine)} above chance")
    return f"Mean accuracy over participants, {scheme} (chance {number(chance)}): {'; '.join(said)}."
