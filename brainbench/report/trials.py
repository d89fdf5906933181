"""The sections of a report on decoded trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report import figures, trial_figures
from brainbench.report.tables import LEVEL, MEAN, over_folds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MAX_CONFUSIONS = 12
MAX_TOPOGRAPHIES = 6
MAX_PAIRS = 45
MAX_PEOPLE = 12

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
    trials = facts["findings"]["trials"]
    names = [pipeline["name"] for pipeline in trials["pipelines"]]
    chance = facts.get("chance", {}).get("accuracy", 1 / len(trials["classes"]))
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
        "calibration": _calibration(trials, scores, main, mark, save),
        "time": _parts(trials, "time", scores, chance, mark, save),
        "band": _parts(trials, "band", scores, chance, mark, save),
        "topographies": _topographies(trials, mark, save),
        "relevance": _relevance(trials, scores, main, mark, save),
        "attention": _attention(trials, mark, save),
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
    for pipeline in dict.fromkeys(entry["pipeline"] for entry in facts["findings"].get("confusion", [])):
        mine = [e for e in facts["findings"].get("confusion", []) if e["pipeline"] == pipeline and e["scheme"] == main]
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


def _parts(
    trials: dict[str, Any], kind: str, scores: pd.DataFrame, chance: float, mark: str, save: Save
) -> dict[str, Any] | None:
    """Return the curve over windows or bands, and its table."""
    facts = trials.get(kind)
    if not facts:
        return None
    rows = over_folds(scores, metric="accuracy", scheme=facts["scheme"])
    order = {part["name"]: number for number, part in enumerate(facts["parts"])}
    rows = rows.assign(place=rows["roi"].map(order)).sort_values("place", kind="stable")
    people = rows[rows["subject"] != MEAN].sort_values("subject", kind="stable")
    table = [
        {
            "name": name,
            "cells": [{**row, "sure": row["q"] < LEVEL} for row in people[people["roi"] == name].to_dict("records")],
        }
        for name in order
    ]
    draw = people[people["subject"].isin(list(dict.fromkeys(people["subject"]))[:MAX_PEOPLE])]
    if kind == "time":
        figure = trial_figures.by_window(draw, facts["parts"], chance, facts["trial"], mark)
    else:
        figure = trial_figures.by_band(draw, facts["parts"], chance, mark)
    return {
        **facts,
        "figure": save(figure, f"accuracy_by_{kind}", f"accuracy by {kind}"),
        "table": table,
        "people": list(dict.fromkeys(people["subject"])),
    }


def _calibration(
    trials: dict[str, Any], scores: pd.DataFrame, main: str, mark: str, save: Save
) -> list[dict[str, Any]]:
    """Return a reliability curve per pipeline over all participants, and each participant's error."""
    shown = []
    entries = trials.get("calibration") or []
    rows = over_folds(scores, metric="ece", scheme=main)
    for pipeline in list(dict.fromkeys(entry["pipeline"] for entry in entries))[:MAX_CONFUSIONS]:
        mine = [entry for entry in entries if entry["pipeline"] == pipeline]
        summed = {name: np.sum([entry[name] for entry in mine], axis=0) for name in ("count", "confidence", "right")}
        figure = trial_figures.reliability({"edges": mine[0]["edges"], **summed}, mark)
        said, right = summed["confidence"].sum(), summed["right"].sum()
        expected = {entry["subject"]: entry["expected"] for entry in mine}
        errors = [
            {**row, "expected": expected.get(row["subject"])}
            for row in rows[rows["pipeline"] == pipeline].to_dict("records")
        ]
        shown.append(
            {
                "title": pipeline,
                "figure": save(figure, f"reliability_{pipeline}", f"reliability of {pipeline}"),
                "errors": errors,
                "said": said / summed["count"].sum(),
                "right": right / summed["count"].sum(),
            }
        )
    return shown


def _relevance(trials: dict[str, Any], scores: pd.DataFrame, main: str, mark: str, save: Save) -> list[dict[str, Any]]:
    """Return a map per class and network: participants above chance first, since the others' maps explain noise."""
    sensors, entries = trials["sensors"], trials.get("relevance") or []
    if sensors is None or not entries:
        return []
    rows = over_folds(scores, metric="accuracy", scheme=main).set_index(["subject", "pipeline"])
    accuracy = {key: rows.loc[key] for key in rows.index}
    entries = sorted(entries, key=lambda e: not accuracy[e["subject"], e["pipeline"]]["q"] < LEVEL)
    shown = []
    for entry in entries[:MAX_TOPOGRAPHIES]:
        score = accuracy[entry["subject"], entry["pipeline"]]
        title = f"{entry['subject']}, {entry['pipeline']}"
        figure = trial_figures.topographies(
            np.array(entry["values"]), sensors["names"], np.array(sensors["positions"]), mark, trials["classes"]
        )
        shown.append(
            {
                "title": title,
                "accuracy": score["value"],
                "sure": bool(score["q"] < LEVEL),
                "figure": save(figure, f"relevance_{entry['subject']}_{entry['pipeline']}", f"relevance, {title}"),
            }
        )
    return shown


def _attention(trials: dict[str, Any], mark: str, save: Save) -> list[dict[str, Any]]:
    """Return the electrode x electrode matrix of every network with attention, mean over participants."""
    shown = []
    entries = trials.get("attention") or []
    for pipeline in dict.fromkeys(entry["pipeline"] for entry in entries):
        mine = [entry for entry in entries if entry["pipeline"] == pipeline]
        if any(entry["channels"] != mine[0]["channels"] for entry in mine):
            mine = mine[:1]
        matrix = np.mean([entry["mean"] for entry in mine], axis=0)
        received = matrix.mean(axis=0) * len(matrix)
        order = np.argsort(-received)[:5]
        figures_of = [save(trial_figures.attention(matrix, mine[0]["channels"], mark), f"attention_{pipeline}",
                           f"attention of {pipeline}")]  # fmt: skip
        if trials["sensors"] is not None and mine[0]["channels"] == trials["sensors"]["names"]:
            places = np.array(trials["sensors"]["positions"])
            flow = np.mean([entry["rollout"] for entry in mine], axis=0) * len(matrix)
            drawn = trial_figures.topographies(
                np.stack([received - received.mean(), flow - flow.mean()]), mine[0]["channels"], places, mark,
                ("attention received", "followed through blocks"),
            )  # fmt: skip
            figures_of.append(save(drawn, f"attention_received_{pipeline}", f"attention received, {pipeline}"))
        shown.append(
            {
                "title": pipeline,
                "people": [entry["subject"] for entry in mine],
                "figures": figures_of,
                "entropy": np.mean([entry["entropy"] for entry in mine], axis=0).round(3).tolist(),
                "with_distance": [entry["with_distance"] for entry in mine if entry["with_distance"] is not None],
                "most": [f"{mine[0]['channels'][index]} ({received[index]:.2f})" for index in order],
            }
        )
    return shown
