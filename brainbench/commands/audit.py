"""Holds a recipe's protocol against coin flips: ``brainbench audit RECIPE``."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from brainbench.core.digests import canonical_json, digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.files import write_text
from brainbench.core.progress import Stages, duration
from brainbench.decoders.base import TrialDecoder
from brainbench.decoders.probes import NearestNeighbour
from brainbench.evaluation.splitters import Fold
from brainbench.evaluation.trials.leaks import Windows, blocks_of, coin_folds, cut_windows, judge
from brainbench.evaluation.trials.splitters import TrialRows, TrialSplitter
from brainbench.features.store import default_cache
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.recipes.pipelines import NetworkSettings, PipelineSettings
from brainbench.recipes.reader import find_recipe, read_recipe
from brainbench.recordings.base import RecordingDataset
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import Unit, jobs_to_use
from brainbench.studies.opened import Opened, open_all
from brainbench.studies.trials.trials import (
    Member,
    make_decoder,
    open_trials,
    preparation_of,
    recordings_of,
    splitters_of,
)

PROBE = "nearest_neighbour"
"""Always asked: it reads nothing of coins that folds do not share, and everything that they do."""
BLOCKED, SHUFFLED = "trial-blocked windows", "shuffled windows"
"""The two controls: the same windows, dealt by trial, and dealt one by one."""


@dataclass(frozen=True)
class AuditSettings:
    """How a protocol is audited.

    Parameters
    ----------
    pipelines : sequence of str
        Names; none for all of the recipe's that are no networks.
    window, step : float, optional
        Seconds; by default a third of a trial, and a quarter of a window. Trials that overlap are windows already.
    seeds : int
        Flips of all coins.
    """

    pipelines: Sequence[str] = ()
    window: float | None = None
    step: float | None = None
    seeds: int = 5

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise UserError(f"--seeds {self.seeds}: two or more are needed, to tell luck from a leak")
        for name in ("window", "step"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"--{name} {value:g}: seconds must be above 0")


@dataclass(frozen=True)
class Protocol:
    """One way to deal the windows of some subjects.

    Attributes
    ----------
    name : str
    members : tuple of Member
    windows : Windows
        Of all members, one after the other.
    block, unit : int ndarray (n_windows,)
        What shares a coin, and what is dealt together.
    splitter : TrialSplitter
    """

    name: str
    members: tuple[Member, ...]
    windows: Windows
    block: np.ndarray
    unit: np.ndarray
    splitter: TrialSplitter


@dataclass
class Audit:
    """What an audit found.

    Attributes
    ----------
    table : DataFrame
        `protocol`, `pipeline`, `accuracy`, `low`, `high` (chance band), `leaks`, `blocks`, `seeds`.
    line : str
        The verdict.
    notes : list of str
    """

    table: pd.DataFrame
    line: str
    notes: list[str]


def audit_recipe(
    recipe: str | os.PathLike[str], *, settings: AuditSettings | None = None, overrides: Iterable[str] = (),
    out: str | os.PathLike[str] | None = None, cache: str | None = None, quiet: bool = True,
) -> Audit:  # fmt: skip
    """Run a recipe's pipelines and schemes on labels that are coin flips.

    Parameters
    ----------
    recipe : path-like
        Of `kind: decode` with `pipelines`.
    settings : AuditSettings, optional
    overrides : iterable of str
        ``key.path=value`` settings.
    out : path-like, optional
        Folder of the audit, where a killed one continues; ``runs/<name of the recipe>-audit`` without it.
    cache : str, optional
    quiet : bool
    """
    settings = settings or AuditSettings()
    read = TrialsRecipe.of(read_recipe(recipe, overrides))
    if read is None:
        raise UserError(f"{recipe}: only recipes of `kind: decode` with `pipelines` have trials to flip coins for")
    pipelines, notes = _pipelines(read, settings)
    read = read.model_copy(update={"pipelines": pipelines[:-1] or read.pipelines[:1]})  # the others need no opening
    name = find_recipe(recipe).stem
    folder = RunFolder(out or Path("runs") / f"{name}-audit")
    stages, cache_folder = Stages(quiet), default_cache(cache)
    opened = open_all(read, cache_folder)
    with stages.stage("read and filter", total=len(opened.subjects)) as advance:
        members, _ = open_trials(opened)
        advance(len(members))
    protocols = _protocols(read, members, settings)
    with folder.writing():
        units = _units(opened, protocols, pipelines, settings)
        # Threads of this process: the windows stay where they are.
        runner = Runner(folder, LocalEngine(read.execution.jobs, read.execution.threads_per_unit), stages)
        _say_how_long(runner, units, read)
        runner.run("audit", [unit for *_, unit in units])
        arrays = runner.read([unit for *_, unit in units])
        table = _table([(*unit[:3], one) for unit, one in zip(units, arrays, strict=True)])
        audit = Audit(table, _verdict(name, table), notes)
        write_text(folder / "audit.csv", table.to_csv(index=False))
        write_text(folder / "audit.txt", "\n".join([audit.line, *notes]) + "\n")
    return audit


def _say_how_long(
    runner: Runner, units: list[tuple[Protocol, PipelineSettings, int, Unit]], recipe: TrialsRecipe
) -> None:
    """Time the first units of every pipeline and protocol, which are kept, and say how long the audit takes."""
    todo: dict[tuple[str, str], list[Unit]] = {}
    for protocol, pipeline, _, unit in units:
        if not runner.folder.has_unit(unit.digest):
            todo.setdefault((pipeline.name, protocol.name), []).append(unit)
    if runner.stages.quiet or not todo:
        return
    seconds = 0.0
    for mine in todo.values():
        for unit in mine[:2]:  # the first one also cuts the windows
            start = time.perf_counter()
            runner.engine.run([unit], runner.folder)
            last = time.perf_counter() - start
        seconds += last * len(mine[2:])
    seconds /= jobs_to_use(recipe.execution.jobs, recipe.execution.threads_per_unit)
    print(f"audit: {sum(map(len, todo.values()))} fits, about {duration(seconds)}", file=sys.stderr)


def _pipelines(recipe: TrialsRecipe, settings: AuditSettings) -> tuple[list[PipelineSettings], list[str]]:
    names = [pipeline.name for pipeline in recipe.pipelines]
    for name in settings.pipelines:
        if name not in names:
            raise UserError(
                f"--pipeline: the recipe has no pipeline '{name}'{did_you_mean(name, names)}",
                hint=f"pipelines: {one_of(names)}",
            )
    if settings.pipelines:
        chosen = [pipeline for pipeline in recipe.pipelines if pipeline.name in settings.pipelines]
    else:
        chosen = [pipeline for pipeline in recipe.pipelines if not isinstance(pipeline, NetworkSettings)]
    left = [name for name in names if name not in {pipeline.name for pipeline in chosen}]
    notes = [f"not audited: {', '.join(left)} (--pipeline names them)"] if left else []
    return [*chosen, PipelineSettings(name=PROBE, decoder=PROBE)], notes


def _decoder(settings: PipelineSettings, member: Member, opened: Opened[TrialsRecipe]) -> TrialDecoder:
    if settings.decoder == PROBE:
        return NearestNeighbour(float(member.info["sfreq"]))
    return make_decoder(settings, member, opened.recipe, opened.networks)


def _protocols(recipe: TrialsRecipe, members: list[Member], settings: AuditSettings) -> list[Protocol]:
    """Return the recipe's schemes on windows, and the two controls, for every pool of subjects."""
    found = []
    for evaluation in recipe.evaluate:
        pools = [tuple(members)] if evaluation.across_subjects else [(member,) for member in members]
        # What is there of a new subject without labels, a coin cannot be read from: it is not used here.
        for label, splitter in splitters_of(evaluation, recipe.seed):
            for pool in pools:
                windows, block = _windows(pool, settings)
                found.append(Protocol(label, pool, windows, block, windows.trial, splitter))
    for member in members:
        windows, block = _windows((member,), settings)
        splitter = TrialSplitter("k-fold", seed=recipe.seed)
        found.append(Protocol(BLOCKED, (member,), windows, block, block, splitter))
        found.append(Protocol(SHUFFLED, (member,), windows, block, np.arange(len(block)), splitter))
    return found


def _windows(pool: tuple[Member, ...], settings: AuditSettings) -> tuple[Windows, np.ndarray]:
    """Return the windows of a pool and the block of each."""
    rows = TrialRows.joined([member.rows for member in pool])
    block = blocks_of(rows)
    first = pool[0]
    sfreq = float(first.info["sfreq"])
    length = first.n_times / sfreq
    overlap = len(np.unique(block)) < len(block)
    window = settings.window or (length if overlap else length / 3)
    try:
        windows = cut_windows(rows, first.n_times, sfreq, window, settings.step or window / 4)
    except ValueError as error:
        raise UserError(f"--window: {error}") from error
    return windows, block[windows.trial]


@dataclass
class WindowStore:
    """Prepared windows, computed once per subject and preparation."""

    dataset: RecordingDataset
    kept: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prepared(self, protocol: Protocol, settings: PipelineSettings, decoder: TrialDecoder) -> np.ndarray:
        """Return the prepared windows of all members of a protocol, ``(n_windows, ...)``."""
        windows = protocol.windows
        parts = [self._of(member.subject, windows, settings, decoder) for member in protocol.members]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _of(self, subject: str, windows: Windows, settings: PipelineSettings, decoder: TrialDecoder) -> np.ndarray:
        cut = [windows.n_times, windows.starts]
        key = (subject, canonical_json([cut, preparation_of(settings, decoder)]))
        with self.lock:
            if key not in self.kept:
                if decoder.bands is None:
                    X = self.dataset.trials(subject, settings.band).X
                else:
                    X = np.stack([self.dataset.trials(subject, band).X for band in decoder.bands], axis=1)
                # One start at a time: windows stay views, and are never all copied at once.
                parts = [decoder.prepare(X[..., start : start + windows.n_times]) for start in windows.starts]
                stacked = np.stack(parts, axis=1)
                self.kept[key] = stacked.reshape(-1, *stacked.shape[2:])
            return self.kept[key]


def _units(
    opened: Opened[TrialsRecipe], protocols: list[Protocol], pipelines: list[PipelineSettings], settings: AuditSettings
) -> list[tuple[Protocol, PipelineSettings, int, Unit]]:
    """Return a unit per protocol, pool, pipeline and seed; coins are flipped, and rows dealt, before the first."""
    dataset = recordings_of(opened)
    store = WindowStore(dataset)
    out = []
    for protocol in protocols:
        for seed in range(settings.seeds):
            try:
                label, folds = coin_folds(protocol.splitter, protocol.windows.rows, protocol.block, protocol.unit, seed)
            except ValueError as error:
                who = ", ".join(member.subject for member in protocol.members)
                raise UserError(f"{who}, {protocol.name}: {error}") from error
            for pipeline in pipelines:
                out.append((protocol, pipeline, seed, _unit(opened, protocol, pipeline, seed, label, folds, store)))
    return out


def _unit(
    opened: Opened[TrialsRecipe], protocol: Protocol, settings: PipelineSettings, seed: int, label: np.ndarray,
    folds: list[Fold], store: WindowStore,
) -> Unit:  # fmt: skip
    recipe = opened.recipe
    windows, first = protocol.windows, protocol.members[0]
    decoder = _decoder(settings, replace(first, n_times=windows.n_times), opened)
    who = first.subject if len(protocol.members) == 1 else f"{len(protocol.members)} subjects"
    name = f"{who}, {settings.name}, {protocol.name}, coins {seed + 1}"

    def compute() -> dict[str, np.ndarray]:
        prepared = store.prepared(protocol, settings, decoder)
        runs, domains = windows.rows.runs, windows.rows.sessions
        right, tested = [], []
        for train, test in folds:
            try:
                decoder.fit_prepared(prepared[train], label[train], groups=runs[train], domains=domains[train])
                probability = decoder.probability_of(prepared[test], domains=domains[test])
            except (ValueError, np.linalg.LinAlgError) as error:
                raise UserError(f"{name}: {error}") from error
            right.append(decoder.classes_[probability.argmax(axis=1)] == label[test])
            tested.append(protocol.block[test])
        return {
            "right": np.array([np.sum(np.concatenate(right))]),
            "n": np.array([sum(len(test) for _, test in folds)]),
            "blocks": np.array([len(np.unique(np.concatenate(tested)))]),
        }

    key = {
        "trials": [member.digest for member in protocol.members],
        "windows": [windows.n_times, windows.starts],
        "label": digest_array(label),
        "folds": [[digest_array(train), digest_array(test)] for train, test in folds],
        "prepared": canonical_json(preparation_of(settings, decoder)),
        "pipeline": settings.model_dump(mode="json", exclude={"name"}),
        "seed": recipe.seed,
        "threads": recipe.execution.threads_per_unit,
    }
    return Unit("audit", name, key, compute)


def _table(found: list[tuple[Protocol, PipelineSettings, int, dict[str, np.ndarray]]]) -> pd.DataFrame:
    """Return accuracy on coins with its chance band, one row per protocol and pipeline; subjects are pooled."""
    flat = pd.DataFrame(
        [
            (protocol.name, settings.name, seed, *(int(arrays[name][0]) for name in ("right", "n", "blocks")))
            for protocol, settings, seed, arrays in found
        ],
        columns=["protocol", "pipeline", "seed", "right", "n", "blocks"],
    )
    pooled = flat.groupby(["protocol", "pipeline", "seed"], sort=False)[["right", "n", "blocks"]].sum().reset_index()
    groups = list(pooled.groupby(["protocol", "pipeline"], sort=False))
    rows = []
    for (protocol, pipeline), mine in groups:
        blocks = int(mine["blocks"].min())
        leak = judge((mine["right"] / mine["n"]).tolist(), blocks, n_tests=len(groups))
        rows.append((protocol, pipeline, leak.accuracy, leak.low, leak.high, leak.leaks, blocks, len(mine)))
    names = ["protocol", "pipeline", "accuracy", "low", "high", "leaks", "blocks", "seeds"]
    return pd.DataFrame(rows, columns=names)


def _verdict(name: str, table: pd.DataFrame) -> str:
    """Return one line: whether a scheme of the recipe leaks, and what the leaking control reaches."""
    own = table[~table["protocol"].isin([BLOCKED, SHUFFLED])]
    control = table[table["protocol"] == SHUFFLED].sort_values("accuracy").iloc[-1]
    leaking = own[own["leaks"]]
    worst = (leaking if len(leaking) else own).sort_values("accuracy").iloc[-1]
    schemes = ", ".join(dict.fromkeys((leaking if len(leaking) else own)["protocol"]))
    numbers = (
        f"coin-flip labels are read with accuracy {worst['accuracy']:.2f} by {worst['pipeline']} (chance band "
        f"{worst['low']:.2f} to {worst['high']:.2f}: {worst['blocks']} coins, {worst['seeds']} seeds)"
    )
    if len(leaking):
        blocked = table[table["protocol"] == BLOCKED]["accuracy"].max()
        return f"{name}: LEAKS. With {schemes} {numbers}; dealt by trial, the same windows give {blocked:.2f}."
    shuffled = f"shuffling the same windows over folds would give {control['accuracy']:.2f} ({control['pipeline']})"
    if not control["leaks"]:
        return f"{name}: no leak seen, but this audit is blind: {numbers}, and {shuffled}, no more."
    return f"{name}: no leak. With {schemes} {numbers}; {shuffled}."


def render(audit: Audit) -> str:
    """Return the verdict, the table and the notes as text."""
    shown = audit.table.copy()
    shown["chance band"] = [f"{low:.3f} to {high:.3f}" for low, high in zip(shown["low"], shown["high"], strict=True)]
    shown["accuracy"] = shown["accuracy"].map("{:.3f}".format)
    shown["leaks"] = np.where(shown["leaks"], "LEAKS", "no")
    shown = shown[["protocol", "pipeline", "accuracy", "chance band", "leaks", "blocks", "seeds"]]
    return "\n".join([shown.to_string(index=False), *audit.notes, audit.line])
