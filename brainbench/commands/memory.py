"""How much memory and disk a recipe needs, estimated before its first unit; and the refusal to start too big."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from brainbench.core.errors import UserError
from brainbench.recipes.kinds import Recipe
from brainbench.studies.base import Study


@dataclass(frozen=True)
class Estimate:
    """Memory and disk in MB, and what takes most."""

    peak_mb: float
    disk_mb: float
    largest: str


def estimate_memory(study: Study[Any]) -> Estimate:
    """Estimate the peak of a recipe that has been opened.

    The responses of participants are read for their sizes, which the run needs anyway.
    """
    parts = study.memory()
    return Estimate(float(sum(parts.values())), study.disk(), f"most of it {max(parts, key=lambda name: parts[name])}")


def allowed_mb(recipe: Recipe) -> tuple[float, bool]:
    """Return how much memory a recipe may take, and whether the recipe says so."""
    import psutil

    limit, available = recipe.execution.memory_gb, psutil.virtual_memory().available / 1e6
    limited = limit is not None and limit * 1e3 <= available
    return (limit * 1e3 if limit is not None and limited else available), limited


def check_memory(study: Study[Any]) -> Estimate:
    """Refuse a recipe that would not fit into memory, before the first unit.

    Raises
    ------
    UserError
        With the estimate, the limit, and what to turn.
    """
    estimate = estimate_memory(study)
    allowed, limited = allowed_mb(study.recipe)
    if estimate.peak_mb > allowed:
        source = "are allowed by execution.memory_gb" if limited else "are free"
        raise UserError(
            f"this recipe needs about {estimate.peak_mb / 1e3:.1f} GB of memory ({estimate.largest}); "
            f"{allowed / 1e3:.1f} GB {source}",
            hint="use fewer --jobs, `reduction: {method: pca}`, `pool: mean` instead of flatten, or fewer layers",
        )
    return estimate
