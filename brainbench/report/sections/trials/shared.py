"""What sections on decoded trials share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def strongest(values: Sequence[Sequence[float]], names: Sequence[str], titles: Sequence[str] | None = None) -> str:
    """Return at which channel each scalp map is strongest."""
    titles = [f"pattern {number}" for number in range(1, len(values) + 1)] if titles is None else titles
    return "strongest at " + ", ".join(
        f"{names[max(range(len(names)), key=lambda index: abs(row[index]))]} ({title})"
        for row, title in zip(values, titles, strict=True)
    )
