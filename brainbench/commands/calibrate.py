"""Holds a recipe's statistics against participants who know nothing: ``brainbench calibrate RECIPE``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any

from brainbench import __version__
from brainbench.commands.memory import allowed_mb, check_memory
from brainbench.core.errors import Interrupted, UserError
from brainbench.core.files import write_json, write_text
from brainbench.core.last_used import LastUsed
from brainbench.core.progress import Stages
from brainbench.core.remembered import remembered_digest
from brainbench.features.store import default_cache
from brainbench.recipes.kinds import Recipe, kinds
from brainbench.recipes.reader import find_recipe, read_recipe
from brainbench.runs.calibrations import IN_RUN, calibration_key, keep_calibration
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import Unit
from brainbench.simulation.null import Effect, NullDataset
from brainbench.studies.base import EffectOf, study_of
from brainbench.studies.calibration import lines_of, null_set, planted_lines, read_numbers, verdict_of
from brainbench.studies.opened import Opened, open_all

PARTICIPANTS = 200
"""Null participants that are drawn where nothing else is said."""

FOLDS_BYTES = 1_000_000_000
"""Of all layers' folds, at most: sets differ in responses only, so that what is made of features serves all of them."""

FOLDS_SHARE = 0.25
"""Of the memory that there is, for these folds."""

FEWEST = 2
"""Data sets below which nothing can be counted."""


@dataclass
class Calibration:
    """What a calibration found, or what one would take.

    Attributes
    ----------
    facts : dict
        As the cache and ``calibration.json`` keep it; empty for a plan.
    lines : list of str
        What is printed.
    """

    facts: dict[str, Any]
    lines: list[str]


@dataclass(frozen=True)
class Prepared:
    """A recipe whose data set has become null participants, its sets as units, and the folder that holds them."""

    name: str
    opened: Opened[Any]
    key: str
    folder: RunFolder
    units: list[Unit]
    notes: list[str]
    planted: Planted | None


@dataclass(frozen=True)
class Planted:
    """Sets of the same participants who answer to something."""

    size: float
    effect: EffectOf
    units: list[Unit]


def calibrate_recipe(
    recipe: str | os.PathLike[str], *, sets: int | None = None, planted: float | None = None,
    overrides: Iterable[str] = (), out: str | os.PathLike[str] | None = None, cache: str | None = None,
    quiet: bool = True,
) -> Calibration:  # fmt: skip
    """Take null participants of a recipe's own design through all its stages, and count.

    Parameters
    ----------
    recipe : path-like
    sets : int, optional
        Null data sets, each with as many participants as the recipe has; by default so many that there are 200
        participants.
    planted : float, optional
        Correlation of every response, single rows, with a signal that the middle layer of the first model (or the
        label that is decoded) explains wholly: as many sets again, which tell how often it is found.
    overrides : iterable of str
        ``key.path=value`` settings.
    out : path-like, optional
        Folder of the calibration, where a killed one continues; ``runs/<name of the recipe>-calibration`` without it.
    cache : str, optional
    quiet : bool
    """
    stages = Stages(quiet)
    ready = _prepare(recipe, sets, planted, overrides, out, cache, stages)
    with ready.folder.writing():
        null = _draw(ready, ready.units, stages)
        facts = _facts(ready, null, None if ready.planted is None else _draw(ready, ready.planted.units, stages))
        lines = render(facts)
        write_json(ready.folder / IN_RUN, facts)
        write_text(ready.folder / "calibration.txt", "\n".join(lines) + "\n")
    keep_calibration(default_cache(cache), facts)
    return Calibration(facts, lines)


def plan_calibration(
    recipe: str | os.PathLike[str], *, sets: int | None = None, planted: float | None = None,
    overrides: Iterable[str] = (), out: str | os.PathLike[str] | None = None, cache: str | None = None,
    quiet: bool = True,
) -> Calibration:  # fmt: skip
    """Say what a calibration takes; where no set was drawn yet the first one is, and kept."""
    stages = Stages(quiet)
    ready = _prepare(recipe, sets, planted, overrides, out, cache, stages)
    units = [*ready.units, *(() if ready.planted is None else ready.planted.units)]
    with ready.folder.writing():
        done = [unit for unit in units if ready.folder.has_unit(unit.digest)]
        start = time.perf_counter()
        cpu = [float(one["cpu_seconds"]) for one in _draw(ready, done or units[:1], stages)]
        elapsed = time.perf_counter() - start
    each, n_done = sum(cpu) / len(cpu), len(done) or 1
    left = len(units) - n_done
    lines = [
        *_head(ready),
        f"data sets       {len(units)}, {n_done} drawn, {left} to draw in {ready.folder.path}",
        f"time            about {each:.1f} s of CPU a set, {left * each / 60:.1f} min for those that are left",
    ]
    if not done:
        lines.append(f"                (the first took {elapsed:.1f} s with what is loaded once, and is kept)")
    return Calibration({}, lines)


def _prepare(
    recipe: str | os.PathLike[str], sets: int | None, planted: float | None, overrides: Iterable[str],
    out: str | os.PathLike[str] | None, cache: str | None, stages: Stages,
) -> Prepared:  # fmt: skip
    """Open a recipe with null participants in place of its own.

    Raises
    ------
    UserError
        If the recipe's kind has no null participants, or too few sets are asked for.
    """
    if sets is not None and sets < FEWEST:
        raise UserError(f"--sets {sets}: {FEWEST} or more are needed, to count anything")
    if planted is not None and not 0 < planted < 1:
        raise UserError(f"--planted {planted:g}: a correlation between 0 and 1 is planted, such as .2")
    settings = read_recipe(recipe, overrides)
    whole, answers = settings, settings.null_answers
    if answers is None:
        raise UserError(
            f"{recipe}: null participants cannot be drawn for {_said(type(settings))}",
            hint=f"`brainbench calibrate` takes {' and '.join(_that_can())}",
        )
    settings, notes = settings.for_null()
    if not settings.significance.n_permutations:
        notes.append("`significance.n_permutations: 0`: nothing is tested, so that no p is counted")
    name, cache_folder = find_recipe(recipe).stem, default_cache(cache)
    with stages.stage("open data and encoders") as advance:
        opened = open_all(settings, cache_folder)
        advance(1)
    key = calibration_key(whole, [remembered_digest(path, cache_folder) for path in opened.input_files])

    folds: LastUsed[Any] = LastUsed(int(min(FOLDS_BYTES, allowed_mb(settings)[0] * 1e6 * FOLDS_SHARE)))

    def participants(effect: Effect | None = None) -> Opened[Any]:
        drawn = NullDataset(
            opened.dataset, answers=answers, seed=settings.seed, centered=settings.centers_runs,
            high_pass_s=settings.high_pass_s, effect=effect,
        )  # fmt: skip
        return replace(opened, dataset=drawn, folds=folds)

    folder = RunFolder(out or Path("runs") / f"{name}-calibration")
    n_sets, null = sets or max(FEWEST, ceil(PARTICIPANTS / len(opened.subjects))), participants()
    study = study_of(null, Runner(folder, LocalEngine(), Stages(quiet=True)))
    check_memory(study)
    units = [_unit(null, {"calibration": key, "set": number}, folder) for number in range(n_sets)]
    found = None
    if planted is not None:
        effect = study.effect()
        if effect is None:
            raise UserError(f"--planted {planted:g}: {_said(type(settings))} knows of no effect that could be planted")
        answering = participants(Effect(planted, effect.features))
        of_set = {"calibration": key, "planted": planted, "in": effect.name}
        found = Planted(planted, effect, [_unit(answering, of_set | {"set": n}, folder) for n in range(n_sets)])
    return Prepared(name, null, key, folder, units, notes, found)


def _draw(ready: Prepared, units: Sequence[Unit], stages: Stages) -> list[dict[str, Any]]:
    """Return what sets found; those that are not there yet are drawn, one at a time: a set uses all cores."""
    runner = Runner(ready.folder, LocalEngine(jobs=1), stages)
    try:
        runner.run("null data sets", units)
    except KeyboardInterrupt:
        raise Interrupted from None
    return runner.read(units)


def _unit(opened: Opened[Any], key: dict[str, Any], folder: RunFolder) -> Unit:
    number = key["set"]

    def compute() -> dict[str, Any]:
        return null_set(opened, number, folder.path / "sets")

    kind = "planted" if "planted" in key else "null"
    return Unit(f"{kind} set", f"{kind} data set {number + 1}", key, compute)


def _said(model: type[Recipe]) -> str:
    """Return a kind of recipe in words: ``kind: decode with `pipelines` ``."""
    kind = model.model_fields["kind"].default
    return f"kind: {kind}" if model.told_by is None else f"kind: {kind} with `{model.told_by.section}`"


def _that_can() -> list[str]:
    models = [model for found in kinds().values() for model in found]
    return [_said(model) for model in models if model.null_answers is not Recipe.null_answers]


def _facts(
    ready: Prepared, arrays: Sequence[dict[str, Any]], planted: Sequence[dict[str, Any]] | None
) -> dict[str, Any]:
    recipe, notes = ready.opened.recipe, list(ready.notes)
    confidence = recipe.bootstrap.confidence
    lines = lines_of(read_numbers(arrays), confidence, alike=bool(recipe.null_answers))
    if ready.planted is not None and planted is not None:
        effect = ready.planted.effect
        lines += planted_lines(read_numbers(planted), confidence, effect.found_by)
        notes.append(
            f"planted in {len(planted)} further sets: every response correlates {ready.planted.size:g}, single rows, "
            f"with what {effect.name} explains wholly"
        )
    return {
        "key": ready.key,
        "recipe": ready.name,
        "brainbench": __version__,
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "sets": len(arrays),
        "participants": len(arrays) * len(ready.opened.subjects),
        "cpu_seconds": round(sum(float(one["cpu_seconds"]) for one in [*arrays, *(planted or ())]), 1),
        "notes": notes,
        "lines": [vars(line) for line in lines],
        "verdict": verdict_of(lines),
    }


def _head(ready: Prepared) -> list[str]:
    return [f"recipe          {ready.name}: {len(ready.opened.subjects)} participants a set", *ready.notes]


def render(facts: dict[str, Any]) -> list[str]:
    """Return a calibration as text: the table, then the verdict."""
    lines = facts["lines"]
    width = max((len(line["name"]) for line in lines), default=0)
    text = [
        f"{facts['recipe']}: {facts['sets']} null data sets, {facts['participants']} null participants, "
        f"{facts['cpu_seconds'] / 60:.1f} min of CPU; [exact 99 % intervals, over data sets]",
        *facts["notes"],
    ]
    for part, title in PARTS.items():
        mine = [line for line in lines if line["part"] == part]
        if mine:
            text += ["", title]
            text += [
                f"  {one['name']:<{width}}  {one['n']:>6}  {one['found']}  {one['verdict']}".rstrip() for one in mine
            ]
    return [*text, "", f"{facts['recipe']}: {facts['verdict']}."]


PARTS = {
    "p": "false positives: how often p lies at or below .05 and .01",
    "claims": "false discoveries: data sets in which anything is claimed (promised: .05)",
    "intervals": "intervals: how often they cover the expected score, and lie wholly above chance",
    "ceilings": "noise ceilings against those that were drawn",
    "planted": "a planted effect: how often it is found, and how often intervals cover the expected score",
}
"""Part of the table -> its title."""
