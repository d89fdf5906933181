"""How long a recipe's units take here: two of each kind are timed, on features of noise where there are none yet."""

from __future__ import annotations

import platform
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError
from brainbench.core.files import read_json, write_cached_json
from brainbench.core.last_used import LastUsed
from brainbench.core.progress import Stages
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Pool
from brainbench.features.store import FeatureStore
from brainbench.runs.engines import LocalEngine, Runner, compute_unit
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import DamagedUnit, Unit, one_thread_pool
from brainbench.studies.base import FeatureSet, Study, all_units, study_of
from brainbench.studies.opened import Opened

FOLDER = "timings"
"""Folder of the cache that keeps what was timed on this machine."""
_STIMULI = 4
_LIMIT_S = 60.0
"""Seconds after which no further unit is timed, and the one that is under way is given up."""


class TooLong(Exception):
    """A unit took longer than anybody waits for a plan.

    Attributes
    ----------
    kind : str
        Of the unit; empty where features took so long.
    """

    kind = ""


class NoiseStore(FeatureStore):
    """A store that answers with noise of the right size where features are missing, and keeps nothing.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.widths: dict[tuple[str, str], int] = {}

    def time(self, one: FeatureSet) -> float:
        """Return the seconds that the missing layers of an encoder take on all stimuli, from a pass over a few."""
        todo = super().missing(one.encoder, one.stimuli, one.layers, one.pool)
        if not todo:
            return 0.0
        shown = one.encoder.view(one.stimuli)
        few = shown.take(np.arange(min(_STIMULI, len(shown))))
        for _ in range(2):  # the first pass also loads what is loaded once
            start = time.perf_counter()
            for batch in one.encoder.encode(few, todo, one.pool):
                self.widths |= {(one.encoder.digest(), layer): values.shape[1] for layer, values in batch.items()}
        return (time.perf_counter() - start) / len(few) * len(shown)

    def features(
        self, encoder: Encoder, stimuli: Stimuli, layers: Sequence[str], pool: Pool,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """See `FeatureStore.features`; layers that are missing are noise."""
        todo = super().missing(encoder, stimuli, layers, pool)
        there = [layer for layer in layers if layer not in todo]
        found = super().features(encoder, stimuli, there, pool) if there else {}
        rng = np.random.default_rng(0)
        for layer in todo:
            shape = (len(stimuli), self.widths[encoder.digest(), layer])
            found[layer] = rng.standard_normal(shape, dtype=np.float32)
        return found


def timings(study: Study[Any], missing: Mapping[str, int]) -> dict[str, float] | None:
    """Return the seconds of a unit of every missing kind, and as ``once`` those of features and of what is read once.

    What was timed for this recipe on this machine is taken from the cache. None where it cannot be known: networks of
    encoders are trained first, or the run would refuse something.

    Parameters
    ----------
    study : Study
    missing : mapping of str to int
        Kind of unit -> how many are to be computed.

    Raises
    ------
    TooLong
        If a unit takes longer than a minute.
    """
    cache = study.opened.store.root
    machine = [platform.node(), platform.machine(), platform.processor()]
    key = digest([study.recipe.science(), study.recipe.execution.model_dump(mode="json"), machine])[:40]
    path = cache / FOLDER / f"{key}.json"
    try:
        known = {str(kind): float(seconds) for kind, seconds in read_json(path).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        known = {}
    if set(missing) <= set(known):
        return known
    if study.trainings().units:
        return None
    try:
        found = _timed(study.opened, missing)
    except UserError:  # the run says what is wrong
        return None
    write_cached_json(path, found)
    return found


def _timed(opened: Opened[Any], missing: Mapping[str, int]) -> dict[str, float]:
    store = NoiseStore(opened.store.root)
    seconds: dict[str, float] = {"once": 0.0}
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="brainbench-plan-") as place, _at_most(_LIMIT_S):
        folder = RunFolder(place)
        own = replace(opened, store=store, in_time=LastUsed())
        study = study_of(own, Runner(folder, LocalEngine(), Stages(quiet=True)))
        for one in study.features():
            seconds["once"] += store.time(one)
        units = {unit.digest: unit for unit in all_units(study)}

        def compute(unit: Unit) -> None:
            while not folder.has_unit(unit.digest):
                start = time.perf_counter()
                try:
                    folder.write_unit(unit.digest, compute_unit(unit))
                except DamagedUnit as error:  # it reads others, which come first
                    if not error.digests <= set(units):
                        raise
                    for name in sorted(error.digests):
                        compute(units[name])
                else:
                    took[unit.digest] = time.perf_counter() - start

        with folder.writing(), one_thread_pool(opened.recipe.execution.threads_per_unit):
            for kind in missing:
                first, *others = [unit for unit in units.values() if unit.kind == kind]
                try:
                    compute(first)
                except TooLong as error:
                    error.kind = kind
                    raise
                seconds[kind] = took[first.digest]
                if others:  # the first one also reads and prepares what the others find ready
                    compute(others[0])
                    seconds[kind] = min(seconds[kind], took[others[0].digest])
                    seconds["once"] += took[first.digest] - seconds[kind]
    return seconds


@contextmanager
def _at_most(limit: float) -> Iterator[None]:
    """Raise `TooLong` after so many seconds, where this thread can be interrupted; others are waited for."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def give_up(*_: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
