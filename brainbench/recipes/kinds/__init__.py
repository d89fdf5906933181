"""Kinds of recipe: every module here holds models; a package adds its own by the entry point ``brainbench.kinds``.

A kind has a recipe model (here), a study that computes it (`brainbench.studies`) and a test; nothing else names it.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from brainbench.core.registry import installed
from brainbench.recipes.kinds.base import Recipe, ResponseRecipe, Told

__all__ = ["Recipe", "ResponseRecipe", "Told", "kinds"]


@cache
def kinds() -> dict[str, tuple[type[Recipe], ...]]:
    """Return the recipe models of every kind: one, or several that a section tells apart (`Recipe.told_by`)."""
    found: dict[str, tuple[type[Recipe], ...]] = {}
    models = [model for module in pkgutil.iter_modules(__path__) for model in _models_of(f"{__name__}.{module.name}")]
    models += [point.load() for point in installed("brainbench.kinds")]
    for model in models:
        kind = model.model_fields["kind"].default
        found[kind] = (*found.get(kind, ()), model)
    return found


def _models_of(name: str) -> list[type[Recipe]]:
    """Return the recipe models that a module defines: those that name who studies them."""
    module = import_module(name)
    return [
        entry
        for entry in vars(module).values()
        if isinstance(entry, type) and issubclass(entry, Recipe) and "studied_by" in vars(entry)
        and entry.__module__ == name
    ]  # fmt: skip
