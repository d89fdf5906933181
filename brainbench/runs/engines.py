"""Where units run: an engine computes what is missing; the run folder, the digests and the results are the same."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.progress import Stages
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import DamagedUnit, Unit, jobs_to_use, one_thread_pool, read_units

PATIENCE_S = 5.0
"""How long a failed run waits for units that are being written."""


class Engine(ABC):
    """Computes units and writes them into the run folder, each once."""

    def run(self, units: Sequence[Unit], folder: RunFolder, advance: Callable[[int], None] | None = None) -> int:
        """Compute every unit that is not there yet; return how many were.

        Raises
        ------
        UserError
            The first one that a unit raises; units already finished stay.
        """
        todo, seen = [], set()
        for unit in units:
            if unit.digest in seen:
                continue
            seen.add(unit.digest)
            folder.asked[unit.digest] = unit.kind
            if folder.has_unit(unit.digest):
                folder.record_done(unit.digest, kind=unit.kind, label=unit.label)
            else:
                todo.append(unit)
        if advance is not None:
            advance(len(units) - len(todo))
        for _ in self.compute(todo, folder):
            if advance is not None:
                advance(1)
        return len(todo)

    @abstractmethod
    def compute(self, units: Sequence[Unit], folder: RunFolder) -> Iterator[Unit]:
        """Compute distinct units, write and record each, and yield it when it is done, in any order."""

    def close(self) -> None:  # noqa: B027 (most engines hold nothing)
        """Let go of what the engine holds."""


class LocalEngine(Engine):
    """Threads of this process: arrays are shared without a copy, and the linear algebra releases the interpreter lock.

    Each unit computes with `threads_per_unit` BLAS threads, whatever `jobs` is, so that results are the same byte for
    byte, and a killed run leaves no orphans.

    Parameters
    ----------
    jobs : int
        Units at once; 0 for as many as the cores allow.
    threads_per_unit : int
    """

    def __init__(self, jobs: int = 0, threads_per_unit: int = 1) -> None:
        self.jobs = jobs
        self.threads_per_unit = threads_per_unit

    def compute(self, units: Sequence[Unit], folder: RunFolder) -> Iterator[Unit]:
        """Compute units in threads; see `Engine.compute`."""
        from joblib import Parallel, delayed

        lock = threading.Condition()
        running = 0

        def work(unit: Unit) -> Unit:
            nonlocal running
            with lock:
                running += 1
                folder.event("unit_started", unit=unit.digest, kind=unit.kind)
            try:
                start = time.perf_counter()
                folder.write_unit(unit.digest, compute_unit(unit))
                with lock:
                    seconds = round(time.perf_counter() - start, 3)
                    folder.record_done(unit.digest, kind=unit.kind, label=unit.label, seconds=seconds)
            finally:
                with lock:
                    running -= 1
                    lock.notify_all()
            return unit

        with one_thread_pool(self.threads_per_unit):
            n_jobs = min(jobs_to_use(self.jobs, self.threads_per_unit), max(1, len(units)))
            try:
                yield from Parallel(n_jobs=n_jobs, require="sharedmem", return_as="generator_unordered")(
                    delayed(work)(unit) for unit in units
                )
            except Exception:
                # Units beside the one that failed may be at their files; long ones are not waited for.
                with lock:
                    lock.wait_for(lambda: running == 0, timeout=PATIENCE_S)
                raise


def compute_unit(unit: Unit) -> Mapping[str, np.ndarray]:
    """Return the arrays of a unit; its errors name it."""
    try:
        return unit.compute()
    except DamagedUnit:
        raise
    except UserError as error:
        raise UserError(f"{unit.label}: {error.message}", hint=error.hint) from error
    except MemoryError:
        raise UserError(
            f"{unit.label}: out of memory", hint="use fewer jobs (--jobs 1) or `reduction` with fewer components"
        ) from None


@dataclass
class Runner:
    """What a workflow computes with: the run folder, an engine, and progress."""

    folder: RunFolder
    engine: Engine
    stages: Stages

    def run(self, stage: str, units: Sequence[Unit]) -> None:
        """Compute units as one stage."""
        with self.stages.stage(stage, total=len(units)) as advance:
            self.engine.run(units, self.folder, advance)

    def read(self, units: Sequence[Unit]) -> list[dict[str, np.ndarray]]:
        """Return the arrays of finished units, in order."""
        return read_units(units, self.folder)
