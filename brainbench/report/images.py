"""The sections of a report on reconstructed images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report import image_figures
from brainbench.report.tables import name_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Save = Callable[["Figure | None", str, str], "dict[str, str] | None"]

WORDS = {
    ("codec", "codec"): "codec: true latents",
    ("final", "oracle"): "oracle: true features",
    ("final", "predicted"): "predicted",
    ("low_level", "predicted"): "predicted, first stage",
    ("baseline", "nearest"): "nearest training image",
    ("baseline", "mean"): "mean training image",
    ("baseline", "run_mean"): "mean of the run's other images (no brain)",
    ("baseline", "shuffled, final"): "shuffled responses",
    ("baseline", "shuffled, low_level"): "shuffled responses, first stage",
}
"""Rungs of the ladder in words, from the top."""
MAX_GALLERIES = 4


def image_sections(root: Path, facts: dict[str, Any], scores: pd.DataFrame, mark: str, save: Save) -> dict[str, Any]:
    """Return everything the template shows of reconstructed images.

    Parameters
    ----------
    root : Path
        The run folder, whose ``images/`` hold the gallery.
    facts : mapping
        Of the run.
    scores : DataFrame
    mark : str
        What every figure says (simulated, ...).
    save : callable
        Keeps a figure for the page.
    """
    about = facts["findings"]["reconstruction"]
    over = scores[(scores["fold"] == "all") & (scores["stimulus"] == "")]
    metrics = _metrics(over, about)
    subjects = [subject["subject"] for subject in facts["subjects"]]
    schemes = []
    for scheme in facts["schemes"]:
        mine = over[over["scheme"] == scheme["label"]]
        shown = [_scheme_of(mine, subject, scheme["label"], metrics, about, mark, save) for subject in subjects]
        schemes.append({"scheme": scheme, "subjects": [one for one in shown if one is not None]})
    return {
        "about": about,
        "schemes": schemes,
        "galleries": _galleries(root, facts, about, mark, save),
        "ablation": _ablation(over, facts, about, metrics, mark, save),
        "drops": _drops(over, facts, about, metrics),
        "metrics": metrics,
    }


def _metrics(over: pd.DataFrame, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics that were scored, the leading one first, with what each is."""
    present = [name for name in dict.fromkeys(over["metric"]) if name]
    present.sort(key=lambda name: name != about["lead"])
    return [{"name": name, **about["metrics"][name.removesuffix("_within")]} for name in present]


def _scheme_of(
    rows: pd.DataFrame,
    subject: str,
    scheme: str,
    metrics: list[dict[str, Any]],
    about: dict[str, Any],
    mark: str,
    save: Save,
) -> dict[str, Any] | None:
    mine = rows[rows["subject"] == subject]
    table = []
    for (stage, rung), words in WORDS.items():
        here = mine[(mine["stage"] == stage) & (mine["row"] == rung)]
        if len(here):
            cells = {str(row["metric"]): row for row in here.to_dict("records")}
            table.append({"words": words, "predicted": rung == "predicted", "cells": cells})
    if not table:
        return None
    gain = mine[mine["stage"] == "final - low_level"].to_dict("records")
    figure = image_figures.ladder(table, [metric["name"] for metric in metrics], _chances(metrics), mark)
    name = f"ladder_{subject}_{scheme.replace('+', '_')}"
    return {
        "subject": subject,
        "table": table,
        "gain": gain,
        "figure": save(figure, name, f"scores of every rung, {subject}, {scheme}"),
    }


def _chances(metrics: list[dict[str, Any]]) -> dict[str, float | None]:
    return {metric["name"]: metric["chance"] for metric in metrics}


def _galleries(root: Path, facts: dict[str, Any], about: dict[str, Any], mark: str, save: Save) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for entry in facts["pictures"]:
        if entry["what"] != "gallery" or len(shown) >= MAX_GALLERIES:
            continue
        with np.load(root / entry["file"], allow_pickle=False) as stored:
            pictures = {_heading(name): stored[name] for name in entry["columns"]}
            places, stimuli, score = stored["place"], stored["stimulus"], stored["score"]
        figure = image_figures.gallery(pictures, places, stimuli, score, name_of(entry["metric"]), mark)
        title = f"{entry['subject']}, {entry['scheme']} held out"
        name = f"gallery_{entry['subject']}_{entry['scheme'].replace('+', '_')}"
        shown.append({"title": title, "metric": entry["metric"], "figure": save(figure, name, f"images, {title}")})
    return shown


def _heading(column: str) -> str:
    """Return the heading of a gallery's column."""
    if column == "original":
        return "original"
    stage, _, rung = column.partition(": ")
    return {
        "final: predicted": "predicted",
        "low_level: predicted": "first stage",
        "final: oracle": "oracle",
        "codec: codec": "codec",
        "baseline: nearest": "nearest\ntraining image",
        "baseline: mean": "mean\ntraining image",
        "baseline: run_mean": "mean of run\n(no brain)",
    }.get(f"{stage}: {rung}", rung)


def _ablation(
    over: pd.DataFrame,
    facts: dict[str, Any],
    about: dict[str, Any],
    metrics: list[dict[str, Any]],
    mark: str,
    save: Save,
) -> list[dict[str, Any]]:
    """Return a figure per participant: scores with a region alone, and without it."""
    shown = []
    main = next(scheme["label"] for scheme in facts["schemes"] if scheme["main"])
    rows = over[(over["scheme"] == main) & (over["stage"] == about["last"]) & over["row"].str.startswith("predicted")]
    for subject in dict.fromkeys(rows["subject"]):
        mine = rows[rows["subject"] == subject]
        table = [
            {
                "words": "all responses" if name == "predicted" else name.removeprefix("predicted, "),
                "predicted": name == "predicted",
                "cells": {str(row["metric"]): row for row in mine[mine["row"] == name].to_dict("records")},
            }
            for name in dict.fromkeys(mine["row"])
        ]
        if len(table) > 1:
            figure = image_figures.ladder(table, [metric["name"] for metric in metrics], _chances(metrics), mark)
            name = f"ablation_{subject}"
            shown.append({"subject": subject, "figure": save(figure, name, f"scores by region, {subject}")})
    return shown


def _drops(
    over: pd.DataFrame, facts: dict[str, Any], about: dict[str, Any], metrics: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the predicted scores under every scheme, and what is lost against the main one."""
    labels = [scheme["label"] for scheme in facts["schemes"]]
    if len(labels) < 2:
        return []
    rows = over[(over["stage"] == about["last"]) & (over["row"] == "predicted")]
    found = []
    for subject in dict.fromkeys(rows["subject"]):
        for metric in metrics:
            mine = rows[(rows["subject"] == subject) & (rows["metric"] == metric["name"])]
            values = {str(row["scheme"]): row["value"] for row in mine.to_dict("records")}
            if labels[0] in values:
                changes = [
                    (label, values.get(label), values.get(label, np.nan) - values[labels[0]]) for label in labels
                ]
                found.append({"subject": subject, "metric": metric["name"], "changes": changes})
    return found
