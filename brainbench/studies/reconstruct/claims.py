"""What reconstructed images show, in plain words: against chance, against no brain, and stage against stage."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainbench.recipes.kinds.reconstruct import ReconstructRecipe
from brainbench.reconstruction.metrics import METRICS, WITHIN, title_of
from brainbench.report.tables import probability
from brainbench.studies.outcome import Outcome
from brainbench.studies.words import number

Row = dict[str, Any]


def image_claims(recipe: ReconstructRecipe, outcome: Outcome) -> list[str]:
    """Return sentences about every participant and scheme."""
    over = [row for row in outcome.rows if not row.get("stimulus")]
    last = "low_level" if recipe.generator is None else "final"
    sentences = []
    for subject in dict.fromkeys(row["subject"] for row in over):
        for scheme in dict.fromkeys(row["scheme"] for row in over):
            mine = {
                (row["stage"], row["row"], row["metric"]): row
                for row in over
                if row["subject"] == subject and row["scheme"] == scheme
            }
            where = f"{subject}, {scheme} held out"
            sentences += _identified(where, mine, recipe, last)
            if recipe.generator is not None:
                sentences += _stages(where, mine, recipe, recipe.generator.name)
    return sentences


def lead_metric(recipe: ReconstructRecipe) -> str:
    """Return the metric of the headline: identification within a label where the recipe asks for one."""
    two_way = [name for name in recipe.metrics if METRICS[name].kind == "two-way"]
    if recipe.identify_within is not None and two_way:
        return two_way[0] + WITHIN
    return recipe.metrics[0]


def _identified(where: str, rows: dict[tuple[str, str, str], Row], recipe: ReconstructRecipe, last: str) -> list[str]:
    lead = lead_metric(recipe)
    names = [lead, *([lead.removesuffix(WITHIN)] if lead.endswith(WITHIN) else [])]
    sentences = []
    for name in names:
        row = rows.get((last, "predicted", name))
        if row is None:
            continue
        text = f"{where}: {words_of(name, recipe)} of the predicted images is {_value(row)}"
        if row.get("p") is not None:
            higher = METRICS[name.removesuffix(WITHIN)].better == "higher"
            past, side = ("above", "under") if higher else ("below", "over")
            verdict = past if row["p"] < 0.05 else f"not {past}"
            text += f", {verdict} the {number(row.get('null_95'), 2)} {side} which 95 % of shuffles lie"
            text += f" (p {probability(row['p'])})"
        no_brain = [
            f"{words} {number(other['value'], 2)}"
            for rung, words in (
                ("run_mean", "the mean of the run's other images, with no brain at all,"),
                ("mean", "the mean training image"),
                ("nearest", "the nearest training image"),
            )
            if (other := rows.get(("baseline", rung, name))) is not None
        ]
        if no_brain:
            text += f"; beside it {', '.join(no_brain)}"
        sentences.append(text + ".")
    return sentences


def _stages(where: str, rows: dict[tuple[str, str, str], Row], recipe: ReconstructRecipe, generator: str) -> list[str]:
    better, worse, same = [], [], []
    for (stage, _, metric), row in rows.items():
        if stage != "final - low_level":
            continue
        up = METRICS[metric.removesuffix(WITHIN)].better == "higher"
        detail = f"{words_of(metric, recipe)} by {number(abs(row['value']), 2)}"
        sign = 1 if up else -1
        if row["ci_low"] is None or not np.isfinite(row["ci_low"]):
            continue  # without an interval nothing can be told
        detail += f" (difference {number(row['ci_low'], 2)} to {number(row['ci_high'], 2)})"
        if min(sign * row["ci_low"], sign * row["ci_high"]) > 0:
            better.append(detail)
        elif max(sign * row["ci_low"], sign * row["ci_high"]) < 0:
            worse.append(detail)
        else:
            same.append(detail)
    parts = [
        f"improves {', '.join(better)}" if better else "",
        f"worsens {', '.join(worse)}" if worse else "",
        f"makes no difference that can be told in {', '.join(same)}" if same else "",
    ]
    said = "; it ".join(part for part in parts if part)
    return [f"{where}: against the low-level stage alone, the generator {generator} {said}."] if said else []


def _value(row: Row) -> str:
    if row["ci_low"] is None or not np.isfinite(row["ci_low"]):
        return number(row["value"], 2)
    return f"{number(row['value'], 2)} (interval {number(row['ci_low'], 2)} to {number(row['ci_high'], 2)})"


def words_of(metric: str, recipe: ReconstructRecipe) -> str:
    """Return a metric's name for people."""
    if metric.endswith(WITHIN):
        return f"{title_of(metric.removesuffix(WITHIN))} among images of one {recipe.identify_within}"
    return title_of(metric)
