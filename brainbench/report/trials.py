"""The sections of a report on decoded trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report import figures, trial_figures
from brainbench.report.tables import MEAN, over_folds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MAX_CONFUSIONS = 12
MAX_TOPOGRAPHIES = 6
MAX_PAIRS = 45

Save = Callable[["Figure | None", str, str], "dict[str, str] | None"]


def trial_sections(facts: dict[str, Any], scores: pd.DataFrame, main: str, mark: str, save: Save) -> dict[str, Any]:
    """Return everything the template shows of decoded trials.

    Parameters
    ----------
    facts : mapping
        Of the run.
    scores : DataFrame
    main : str
        Label of the leading scheme.
    mark : str
        What every figure says (simulated, ...).
    save : callable
        Keeps a figure for the page.
    """
    trials = facts["trials"]
    names = [pipeline["name"] for pipeline in trials["pipelines"]]
    chance = 1 / len(trials["classes"])
    shots = set(trials["shots"])
    schemes = []
    for scheme in facts["schemes"]:
        label = scheme["label"]
        rows = over_folds(scores, metric="accuracy", scheme=label)
        if label in shots and label != main:
            continue
        pairs = over_folds(scores, metric="difference_accuracy", scheme=label)
        lead = MEAN if (pairs["subject"] == MEAN).any() else ""
        pairs = pairs[pairs["subject"] == lead] if lead else pairs
        shown = pairs.iloc[:MAX_PAIRS]
        schemes.append(
            {
                "scheme": scheme,
                "table": _table(scores, label),
                "figure": save(
                    trial_figures.accuracies(rows, names, chance, mark),
                    f"accuracy_{label}", f"accuracy of every participant and pipeline, {label}",
                ),
                "pairs": save(
                    trial_figures.differences(shown, mark) if len(shown) else None,
                    f"differences_{label}", f"differences of accuracy between pipelines, {label}",
                ),
                "pairs_over": "participants" if lead else "trials",
                "n_pairs_left_out": len(pairs) - len(shown),
            }
        )  # fmt: skip
    curve = None
    if len(shots) > 1:
        rows = scores[(scores["fold"] == "all") & (scores["metric"] == "accuracy") & scores["scheme"].isin(shots)]
        curve = save(
            trial_figures.few_shot(rows, names, chance, mark), "few_shot", "accuracy against calibration trials"
        )
    return {
        "schemes": schemes,
        "curve": curve,
        "chance": chance,
        "classes": trials["classes"],
        "pipelines": trials["pipelines"],
        "confusions": _confusions(facts, main, mark, save),
        "topographies": _topographies(trials, mark, save),
        "positions": trials["sensors"] is not None,
    }


def _table(scores: pd.DataFrame, scheme: str) -> list[dict[str, Any]]:
    """Return a row per participant and pipeline with all four metrics."""
    chosen = scores[(scores["fold"] == "all") & (scores["scheme"] == scheme)]
    found = []
    for row in chosen[chosen["metric"] == "accuracy"].to_dict("records"):
        same = chosen[(chosen["subject"] == row["subject"]) & (chosen["pipeline"] == row["pipeline"])]
        values = {str(one["metric"]): one["value"] for one in same.to_dict("records")}
        more: dict[str, Any] = {name: values.get(name) for name in ("balanced_accuracy", "kappa", "roc_auc")}
        found.append({str(name): value for name, value in row.items()} | more)
    return found


def _confusions(facts: dict[str, Any], main: str, mark: str, save: Save) -> list[dict[str, Any]]:
    """Return confusion matrices of the leading scheme: per pipeline, summed over participants."""
    shown: list[dict[str, Any]] = []
    for pipeline in dict.fromkeys(entry["pipeline"] for entry in facts["confusion"]):
        mine = [e for e in facts["confusion"] if e["pipeline"] == pipeline and e["scheme"] == main]
        if not mine or len(shown) >= MAX_CONFUSIONS:
            continue
        if any(entry["labels"] != mine[0]["labels"] for entry in mine):
            continue
        counts = np.sum([entry["counts"] for entry in mine], axis=0)
        figure = figures.confusion(mine[0]["labels"], counts, mark)
        alt = f"confusion of {pipeline}, all participants"
        shown.append({"title": pipeline, "figure": save(figure, f"confusion_{pipeline}", alt)})
    return shown


def _topographies(trials: dict[str, Any], mark: str, save: Save) -> list[dict[str, Any]]:
    sensors = trials["sensors"]
    if sensors is None:
        return []
    shown = []
    for entry in trials["patterns"][:MAX_TOPOGRAPHIES]:
        title = f"{entry['subject']}, {entry['pipeline']}"
        figure = trial_figures.topographies(
            np.array(entry["values"]), sensors["names"], np.array(sensors["positions"]), mark
        )
        name = f"patterns_{entry['subject']}_{entry['pipeline']}"
        shown.append({"title": title, "figure": save(figure, name, f"scalp patterns, {title}")})
    return shown
