"""What sections on decoded trials share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts


def decodes_trials(facts: Facts) -> bool:
    """Return whether a run decoded trials."""
    return "trials" in facts["findings"]


def chance_of(facts: Facts) -> float:
    """Return the accuracy of a guess that knows nothing but the rates of the classes."""
    chance: float = facts.get("chance", {}).get("accuracy", 1 / len(facts["findings"]["trials"]["classes"]))
    return chance


def names_of(trials: dict[str, Any]) -> list[str]:
    """Return the names of the pipelines in the order of the recipe."""
    return [pipeline["name"] for pipeline in trials["pipelines"]]


def places_of(page: Page, subject: str) -> tuple[list[str], np.ndarray] | None:
    """Return the names and places of a participant's own channels; None where places are unknown."""
    for one in page.findings["signal"]:
        if one["subject"] == subject and one["positions"] is not None:
            return one["channels"], np.array(one["positions"])
    return None


@dataclass(frozen=True)
class Alike:
    """What a run noted of a pipeline and of participants that can be added up.

    Attributes
    ----------
    pipeline : str
    title : str
        The pipeline, and whose data it is where not all can be added up.
    name : str
        What the file of a figure ends in.
    entries : list of dict
    """

    pipeline: str
    title: str
    name: str
    entries: list[dict[str, Any]]


def alike(entries: Sequence[dict[str, Any]], name: str) -> list[Alike]:
    """Return the entries of every pipeline in groups that have the same under a name: only such can be added up."""
    found: dict[str, list[list[dict[str, Any]]]] = {}
    for entry in entries:
        groups = found.setdefault(entry["pipeline"], [])
        same = next((group for group in groups if group[0][name] == entry[name]), None)
        if same is None:
            groups.append([entry])
        else:
            same.append(entry)
    return [
        Alike(
            pipeline,
            pipeline if len(groups) == 1 else f"{pipeline}: {', '.join(entry['subject'] for entry in group)}",
            pipeline if number == 1 else f"{pipeline}_{number}",
            group,
        )
        for pipeline, groups in found.items()
        for number, group in enumerate(groups, start=1)
    ]


def strongest(values: Sequence[Sequence[float]], names: Sequence[str], titles: Sequence[str] | None = None) -> str:
    """Return at which channel each scalp map is strongest."""
    titles = [f"pattern {number}" for number in range(1, len(values) + 1)] if titles is None else titles
    return "strongest at " + ", ".join(
        f"{names[max(range(len(names)), key=lambda index: abs(row[index]))]} ({title})"
        for row, title in zip(values, titles, strict=True)
    )
