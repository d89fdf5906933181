"""What the benchmarks share: medians of alternating runs, peaks of a subprocess, and lines of targets."""

from __future__ import annotations

import contextlib
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn


class Targets:
    """A table of what is asked: one row a target, with what was measured and whether it is met."""

    def __init__(self) -> None:
        self.held, self._begun = True, False

    def at_most(self, target: str, measured: float, asked: float, remark: str = "") -> None:
        """Print a target that holds where no more was measured than is asked."""
        self._row(target, measured, f"<= {asked:.3g}", measured <= asked, remark)

    def at_least(self, target: str, measured: float, asked: float, remark: str = "") -> None:
        """Print a target that holds where no less was measured than is asked."""
        self._row(target, measured, f">= {asked:.3g}", measured >= asked, remark)

    def left_out(self, target: str, why: str) -> None:
        """Print a target that could not be measured."""
        self._print(target, "", "", "left out", why)

    def leave(self) -> NoReturn:
        """End the process, with exit code 1 where a target is missed."""
        sys.exit(0 if self.held else 1)

    def _row(self, target: str, measured: float, asked: str, met: bool, remark: str) -> None:
        self.held &= met
        self._print(target, f"{measured:.3g}", asked, "pass" if met else "FAIL", remark)

    def _print(self, *cells: str) -> None:
        if not self._begun:
            print("| target | measured | asked | | |\n|---|---|---|---|---|")
        self._begun = True
        print(f"| {' | '.join(cells)} |", flush=True)


def alternate(
    contenders: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Run contenders in turn, `repeats` times each after one warm-up; return the seconds of every run by `clock`."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(repeats + 1):
        for name, call in contenders.items():
            start = clock()
            call()
            if index:
                seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], ours: str, other: str) -> float:
    """Return the median over rounds of our time over the other's, each taken in the same round."""
    return statistics.median(a / b for a, b in zip(seconds[ours], seconds[other], strict=True))


def peak_mb() -> float:
    """Return the peak resident memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def anonymous_mib() -> float:
    """Return the anonymous memory of this process, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextlib.contextmanager
def peak_anonymous_mib() -> Iterator[list[float]]:
    """Give a list whose only number is, at the end, the most anonymous memory that the block had, in MiB."""
    peak, done = [anonymous_mib()], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak.append(max(peak.pop(), anonymous_mib()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
