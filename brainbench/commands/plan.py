"""What a recipe would do: units of work, what is cached, memory, disk and time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from brainbench.core.progress import duration
from brainbench.recipes.kinds import Recipe
from brainbench.recipes.reader import Given, Overrides, read_recipe
from brainbench.runs.folder import RunFolder
from brainbench.runs.identity import default_folder, recipe_digest
from brainbench.runs.units import jobs_to_use

if TYPE_CHECKING:
    from brainbench.commands.memory import Estimate
    from brainbench.studies.base import Study


@dataclass(repr=False)
class Plan:
    """What `brainbench plan` shows.

    Attributes
    ----------
    recipe : Recipe
    finished : bool
        Nothing is left to do.
    features : list of (encoder, layers asked, layers missing, stimuli)
    units : mapping of kind to (all, missing)
    peak_mb, disk_mb : float
        Memory at its peak, and what is written into the run folder.
    largest : str
        What takes most of the memory.
    seconds : float or None
        Expected time for missing features and units, from the rate of those that are finished here, or from one of each
        kind that was timed; None where that would take longer than anybody waits for a plan.
    too_long : str
        What takes longer than that, and how many of it are to be computed.
    """

    recipe: Recipe
    folder: str
    finished: bool
    features: list[tuple[str, int, int, int]]
    units: dict[str, tuple[int, int]]
    peak_mb: float
    disk_mb: float
    largest: str
    subjects: list[str]
    seconds: float | None = None
    too_long: str = ""
    notes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{missing} of {total} {kind}" for kind, (total, missing) in self.units.items() if missing)
        return f"Plan({self.folder!r}): {f'to compute: {kinds}' if kinds else 'nothing is left to compute'}"

    def __str__(self) -> str:
        return self.render()

    def _repr_html_(self) -> str:
        """Return the plan as a notebook shows it."""
        return f"<pre>{escape(self.render())}</pre>"

    def render(self) -> str:
        """Return the plan as text."""
        lines = [f"run folder  {self.folder}{' (finished)' if self.finished else ''}"]
        more = " ..." if len(self.subjects) > 8 else ""
        lines.append(f"subjects    {len(self.subjects)}: {', '.join(self.subjects[:8])}{more}")
        for name, asked, missing, n_stimuli in self.features:
            state = (
                "done" if self.finished else "cached" if not missing else f"{missing} to compute on {n_stimuli} stimuli"
            )
            lines.append(f"features    {name}: {asked} layer{'' if asked == 1 else 's'}, {state}")
        for kind, (total, missing) in self.units.items():
            lines.append(f"units       {kind}: {total}, {total - missing} done, {missing} to compute")
        lines.append(f"memory      about {self.peak_mb / 1e3:.1f} GB at its peak ({self.largest})")
        lines.append(f"disk        about {self.disk_mb / 1e3:.2f} GB in the run folder")
        unknown = f"{self.too_long or 'networks are trained first'}: known once some have run here"
        lines.append(f"time        {unknown if self.seconds is None else 'about ' + duration(self.seconds)}")
        lines += [f"note        {note}" for note in self.notes]
        return "\n".join(lines)


def plan(
    recipe: Given,
    *,
    overrides: Overrides = (),
    out: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Plan:
    """Return what a recipe would do: units of work, what is cached, memory and time."""
    settings = read_recipe(recipe, overrides)
    folder = RunFolder(out or default_folder(recipe, settings))
    record = folder.manifest.get("plan")
    if record is not None and folder.finished(recipe_digest(settings)):
        return _finished(settings, folder, record)
    return make_plan(settings, folder, cache=cache)


def make_plan(recipe: Recipe, folder: RunFolder, *, cache: str | os.PathLike[str] | None = None) -> Plan:
    """Return the plan of a recipe without running anything."""
    from brainbench.commands.memory import estimate_memory
    from brainbench.core.progress import Stages
    from brainbench.features.store import default_cache
    from brainbench.runs.engines import LocalEngine, Runner
    from brainbench.studies.base import all_units, study_of
    from brainbench.studies.opened import open_all
    from brainbench.studies.probe import TooLong

    opened = open_all(recipe, default_cache(None if cache is None else str(cache)))
    study = study_of(opened, Runner(folder, LocalEngine(), Stages(quiet=True)))
    units: dict[str, tuple[int, int]] = {}
    for unit in all_units(study):
        total, missing = units.get(unit.kind, (0, 0))
        units[unit.kind] = (total + 1, missing + (not folder.has_unit(unit.digest)))
    seconds, too_long = None, ""
    try:
        seconds = _expected_seconds(folder, study, units)
    except TooLong as error:
        n = units.get(error.kind, (0, 0))[1]
        what = f"a unit of {error.kind}" if error.kind else "a pass of a network over a few stimuli"
        too_long = f"{what} takes more than a minute" + (f", and {n} are to be computed" if n else "")
    return Plan(
        recipe=recipe,
        folder=str(folder.path),
        finished=folder.finished(recipe_digest(recipe)),
        features=[(one.name, len(one.layers), one.missing(opened.store), len(one.stimuli)) for one in study.features()],
        units=units,
        **asdict(estimate_memory(study)),
        subjects=opened.subjects,
        seconds=seconds,
        too_long=too_long,
    )


def make_record(study: Study[Any], asked: Mapping[str, str], estimate: Estimate) -> dict[str, Any]:
    """Return what the manifest of a finished run keeps, so that its plan opens no data and no network.

    Parameters
    ----------
    study : Study
    asked : mapping of str to str
        Kind of every unit of the run, by digest.
    estimate : Estimate
    """
    return {
        "features": [[one.name, len(one.layers), len(one.stimuli)] for one in study.features()],
        "units": Counter(asked.values()),
        "subjects": study.opened.subjects,
        **asdict(estimate),
    }


def _finished(recipe: Recipe, folder: RunFolder, record: dict[str, Any]) -> Plan:
    """Return the plan of a run that has nothing left to do."""
    return Plan(
        recipe=recipe,
        folder=str(folder.path),
        finished=True,
        features=[(name, layers, 0, stimuli) for name, layers, stimuli in record["features"]],
        units={kind: (total, 0) for kind, total in record["units"].items()},
        **{name: record[name] for name in ("peak_mb", "disk_mb", "largest", "subjects")},
        seconds=0.0,
    )


def _expected_seconds(folder: RunFolder, study: Study[Any], units: dict[str, tuple[int, int]]) -> float | None:
    """Return the time for what is missing, at the rate that finished units of a kind took here, or that one takes."""
    from brainbench.studies.probe import timings

    execution = study.recipe.execution
    rates: dict[str, list[float]] = {}
    for event in folder.events():
        if event["event"] == "unit_done" and "seconds" in event:
            rates.setdefault(str(event.get("kind")), []).append(float(event["seconds"]))
    missing = {kind: count for kind, (_, count) in units.items() if count}
    if not missing:
        return 0.0
    each = {kind: sum(rates[kind]) / len(rates[kind]) for kind in missing if kind in rates}
    once = 0.0
    if len(each) < len(missing):
        timed = timings(study, {kind: count for kind, count in missing.items() if kind not in each})
        if timed is None:
            return None
        each, once = timed | each, timed["once"]
    total = sum(count * each[kind] for kind, count in missing.items())
    return once + total / jobs_to_use(execution.jobs, execution.threads_per_unit)
