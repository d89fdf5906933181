"""Progress that a person can read on a terminal, in a log file, or not at all."""

from __future__ import annotations

import contextlib
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


EVERY_S = 10.0
"""Seconds between lines of progress where nobody sees a bar: a pipe, a log file."""
_FORECAST_AFTER_S = 60.0


def _so_far(done: int, total: int | None, seconds: float) -> str:
    """Return how far a stage is, and after a minute how long it still takes."""
    text = f"{done} of {total}" if total else f"{done}" if done else "at work"
    text += f", {seconds:.0f} s"
    if total and 0 < done < total and seconds >= _FORECAST_AFTER_S:
        text += f", about {duration(seconds / done * (total - done))} left"
    return text


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


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
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            console = Console(stderr=True)
            stop = threading.Event()

            def tell() -> None:
                while not stop.wait(EVERY_S):
                    console.print(f"{name}: {_so_far(done, total, time.perf_counter() - start)}", highlight=False)

            teller = threading.Thread(target=tell, daemon=True)
            if not console.is_terminal:
                teller.start()
            with Progress(
                TextColumn("{task.description:<28}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=console,
                disable=not console.is_terminal,
            ) as bar:
                task = bar.add_task(name, total=total)

                def show(n: int) -> None:
                    nonlocal done
                    done += n
                    bar.advance(task, n)

                try:
                    yield show
                finally:
                    stop.set()
            if not console.is_terminal:
                console.print(f"{name}: {done or 'done'} ({time.perf_counter() - start:.1f} s)")
        record["seconds"] = round(time.perf_counter() - start, 3)
        record["peak_memory_mb"] = round(peak_memory_mb(), 1)
        record["units"] = total if total is not None else done
        self.records.append(record)
