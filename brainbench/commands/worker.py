"""What a worker does with a unit's digest: it opens the recipe as the run did, and finds the unit of that name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.progress import Stages
from brainbench.recipes.parts import Execution
from brainbench.recipes.reader import parse_recipe
from brainbench.runs.cluster import Task, open_engine
from brainbench.runs.engines import Engine, Runner, compute_unit
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import DamagedUnit, Unit, one_thread_pool
from brainbench.studies.opened import Opened, open_all


def engine_for(execution: Execution, folder: RunFolder, cache: Path) -> Engine:
    """Return the engine of a run whose resolved recipe stands in `folder`."""
    recipe = (folder / "recipe.yaml").read_text(encoding="utf-8")
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
    return Finder(open_all(parsed, Path(cache)), RunFolder(folder))


class Finder:
    """Units of a recipe by digest.

    Parameters
    ----------
    opened : Opened
    folder : RunFolder
        Read only; earlier stages of the run are finished there.
    """

    def __init__(self, opened: Opened, folder: RunFolder) -> None:
        self.opened = opened
        self.folder = folder
        self.known: dict[str, Unit] = {}

    def find(self, digest: str) -> Unit:
        """Return a unit; the workflow is followed from its start as far as it takes."""
        if digest not in self.known:
            from brainbench.commands.run import compute_once

            try:
                compute_once(self.opened, Runner(self.folder, _Collector(self.known, digest), Stages(quiet=True)))
            except (_Found, DamagedUnit):  # a unit of an earlier stage that is not there has another digest here
                pass
        if digest not in self.known:
            raise UserError(
                f"a worker finds no unit {digest} in {self.folder.path}",
                hint="workers must see the same data, cache and run folder, and run the same version of brainbench",
            )
        return self.known[digest]


class _Found(Exception):
    """The unit that was looked for is known."""


class _Collector(Engine):
    """Computes nothing: notes the units it is given, and stops at the one that is looked for."""

    def __init__(self, known: dict[str, Unit], wanted: str) -> None:
        self.known = known
        self.wanted = wanted

    def run(self, units: Sequence[Unit], folder: RunFolder, advance: Callable[[int], None] | None = None) -> int:
        self.known |= {unit.digest: unit for unit in units}
        if self.wanted in self.known:
            raise _Found
        return 0

    def compute(self, units: Sequence[Unit], folder: RunFolder) -> Iterator[Unit]:
        raise NotImplementedError("a collector computes nothing")
