"""What a worker does with a unit's digest: it opens the recipe as the run did, and finds the unit of that name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.progress import Stages
from brainbench.recipes.parts import Execution
from brainbench.recipes.reader import parse_recipe
from brainbench.runs.engines import Engine, LocalEngine, Runner, compute_unit
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import Unit, one_thread_pool
from brainbench.studies.base import Study, every_stage, study_of
from brainbench.studies.opened import open_all


def engine_for(execution: Execution, folder: RunFolder, cache: Path) -> Engine:
    """Return the engine of a run whose resolved recipe stands in `folder`."""
    recipe = (folder / "recipe.yaml").read_text(encoding="utf-8")
    from brainbench.runs.cluster import Task, open_engine  # it takes asyncio along

    task: Task = partial(
        compute_remotely, recipe, str(folder.path.resolve()), str(cache.resolve()), execution.threads_per_unit
    )
    return open_engine(execution, task)


def compute_remotely(recipe: str, folder: str, cache: str, threads: int, digest: str) -> Mapping[str, np.ndarray]:
    """Compute one unit of a recipe in this process.

    Raises
    ------
    UserError
        If this process finds no unit of that digest, because it sees other files or another brainbench.
    """
    finder = _finder(recipe, folder, cache)
    with one_thread_pool(threads):
        return compute_unit(finder.find(digest))


@lru_cache(maxsize=2)
def _finder(recipe: str, folder: str, cache: str) -> Finder:
    parsed = parse_recipe(recipe, f"{folder}/recipe.yaml")
    runner = Runner(RunFolder(folder), LocalEngine(), Stages(quiet=True))
    return Finder(study_of(open_all(parsed, Path(cache)), runner))


class Finder:
    """Units of a study by digest.

    Parameters
    ----------
    study : Study
        Its run folder is only read; earlier stages of the run are finished there.
    """

    def __init__(self, study: Study[Any]) -> None:
        self.folder = study.runner.folder
        self.stages = every_stage(study)
        self.known: dict[str, Unit] = {}

    def find(self, digest: str) -> Unit:
        """Return a unit; stages are described as far as it takes."""
        while digest not in self.known:
            stage = next(self.stages, None)
            if stage is None:
                raise UserError(
                    f"a worker finds no unit {digest} in {self.folder.path}",
                    hint="workers must see the same data, cache and run folder, and run the same version of brainbench",
                )
            self.known |= {unit.digest: unit for unit in stage.units}
        return self.known[digest]
