"""Progress that a person can read on a terminal, in a log file, or not at all."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


class Stages:
    """Times the stages of a run and shows how far each is.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.records: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show stage `name`; yields a function that advances it by so many steps."""
        start = time.perf_counter()
        done = 0
        record: dict[str, Any] = {"stage": name, "units": total or 0}
        if self.quiet:

            def count(n: int) -> None:
                nonlocal done
                done += n

            yield count
        else:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            console = Console(stderr=True)
            with Progress(
                TextColumn("{task.description:<28}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
                disable=not console.is_terminal,
            ) as bar:
                task = bar.add_task(name, total=total)

                def show(n: int) -> None:
                    nonlocal done
                    done += n
                    bar.advance(task, n)

                yield show
            if not console.is_terminal:
                console.print(f"{name}: {done or 'done'} ({time.perf_counter() - start:.1f} s)")
        record["seconds"] = round(time.perf_counter() - start, 3)
        record["peak_memory_mb"] = round(peak_memory_mb(), 1)
        record["units"] = total if total is not None else done
        self.records.append(record)
