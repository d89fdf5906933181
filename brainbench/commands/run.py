"""Runs a recipe of any kind, or finds that it is finished; what computing takes is imported only then."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from brainbench.commands.results import Run
from brainbench.core.errors import Interrupted
from brainbench.recipes.reader import Given, Overrides, read_recipe, spelled
from brainbench.runs.folder import RunFolder
from brainbench.runs.identity import default_folder, recipe_digest


def run(
    recipe: Given,
    *,
    overrides: Overrides = (),
    out: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    quiet: bool = True,
    verify: bool = False,
) -> Run:
    """Run a recipe, or continue where it stopped.

    Parameters
    ----------
    recipe : path-like or mapping
        A recipe file, the name of an installed recipe, or what stands in such a file.
    overrides : iterable of str, or mapping
        ``key.path=value`` settings, or ``{"key.path": value}``.
    out : path-like, optional
        Run folder; without it ``runs/<name of the recipe>``, or ``runs/<kind>-<digest>`` of a mapping.
    cache : path-like, optional
        Feature store; else BRAINBENCH_CACHE, else the user's cache folder.
    quiet : bool
        Show no progress.
    verify : bool
        Hash every input again, instead of those only whose size, times or inode changed since they were hashed.

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
    overrides = list(spelled(overrides) if isinstance(overrides, Mapping) else overrides)
    settings = read_recipe(recipe, overrides)
    folder = RunFolder(out or default_folder(recipe, settings))
    name = recipe_digest(settings)
    if verify:
        from brainbench.core.remembered import forget_digests
        from brainbench.features.store import default_cache

        forget_digests(default_cache(None if cache is None else str(cache)))
    if folder.finished(name, verify=verify):
        return Run(folder.path)
    from brainbench.commands.execute import execute, typed
    from brainbench.core.progress import Stages

    with folder.writing():
        if folder.finished(name):  # another process finished it while this one waited
            return Run(folder.path)
        start = time.time()
        folder.event("run_started", digest=name)
        try:
            again = ["calibrate", str(recipe), *(word for one in overrides for word in ("--set", one))]
            if isinstance(recipe, Mapping):
                again = ["calibrate", str(folder.path / "recipe.yaml")]
            execute(settings, folder, name, Stages(quiet), cache=cache, command=typed(), calibrate=again)
        except KeyboardInterrupt:
            folder.event("run_interrupted", digest=name)
            raise Interrupted from None
        folder.event("run_finished", digest=name, seconds=round(time.time() - start, 3))
    return Run(folder.path)


def open_run(path: str | os.PathLike[str]) -> Run:
    """Return a run to read."""
    return Run(path)
