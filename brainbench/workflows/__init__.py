"""From a recipe to a report: the one door that the command line and Python share."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from brainbench import __version__
from brainbench.core.digests import SCHEMA, digest
from brainbench.core.errors import Interrupted
from brainbench.core.progress import Stages
from brainbench.recipes.reader import find_recipe, read_recipe
from brainbench.recipes.schema import AnyRecipe, science
from brainbench.runs.folder import Run, RunFolder

if TYPE_CHECKING:
    from brainbench.workflows.planning import Plan

__all__ = ["open_run", "plan", "recipe_digest", "run"]


def run(
    recipe: str | os.PathLike[str],
    *,
    overrides: Iterable[str] = (),
    out: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    quiet: bool = True,
) -> Run:
    """Run a recipe, or continue where it stopped.

    Parameters
    ----------
    recipe : path-like
        A recipe file, or the name of an installed recipe.
    overrides : iterable of str
        ``key.path=value`` settings.
    out : path-like, optional
        Run folder; ``runs/<name of the recipe>`` without it.
    cache : path-like, optional
        Feature store; else BRAINBENCH_CACHE, else the user's cache folder.
    quiet : bool
        Show no progress.

    Returns
    -------
    Run
        The finished run. A recipe that finished before, on files that have not changed, is not run again.

    Raises
    ------
    UserError
        For anything the user can put right.
    Interrupted
        If the user stopped it; everything finished is kept.
    """
    settings = read_recipe(recipe, overrides)
    folder = RunFolder(out or default_folder(recipe))
    name = recipe_digest(settings)
    if folder.finished(name):
        return Run(folder.path)
    with folder.writing():
        if folder.finished(name):  # another process finished it while this one waited
            return Run(folder.path)
        from brainbench.workflows.execute import execute

        start = time.time()
        folder.event("run_started", digest=name)
        try:
            execute(settings, folder, name, Stages(quiet), cache=cache, command=_command())
        except KeyboardInterrupt:
            folder.event("run_interrupted", digest=name)
            raise Interrupted from None
        folder.event("run_finished", digest=name, seconds=round(time.time() - start, 3))
    return Run(folder.path)


def plan(
    recipe: str | os.PathLike[str],
    *,
    overrides: Iterable[str] = (),
    out: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Plan:
    """Return what a recipe would do: units of work, what is cached, memory and time."""
    from brainbench.workflows.planning import make_plan

    settings = read_recipe(recipe, overrides)
    return make_plan(settings, RunFolder(out or default_folder(recipe)), cache=cache)


def open_run(path: str | os.PathLike[str]) -> Run:
    """Return a run to read."""
    return Run(path)


def recipe_digest(recipe: AnyRecipe) -> str:
    """Return the digest of everything in a recipe that can change a result.

    The device is part of it, since features computed elsewhere may differ in their last digits, and so is the
    folder the data is read from; whether its files changed is `RunFolder.finished`'s to see.
    """
    root = recipe.dataset.root or os.environ.get("BRAINBENCH_DATA", "")
    return digest(
        {
            "schema": SCHEMA,
            "brainbench": __version__,
            "science": science(recipe),
            "root": os.path.abspath(root) if root else None,
            "device": recipe.execution.device,
            "threads_per_unit": recipe.execution.threads_per_unit,
        }
    )


def default_folder(recipe: str | os.PathLike[str]) -> Path:
    """Return ``runs/<name of the recipe>``."""
    return Path("runs") / find_recipe(recipe).stem


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
