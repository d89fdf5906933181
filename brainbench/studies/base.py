"""What a study is: it describes its units once, gathers what they found, and says what that means.

`brainbench run` computes every stage that a study describes, `brainbench plan` counts their units, and a worker finds
one of them by its digest. A unit is therefore named by settings, inputs and the digests of earlier units, never by
their results: all stages can be described before any unit has been computed. What depends on a result, such as a
refit of the best layer, is decided inside a unit, which reads the units that it is named after.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Generic

import numpy as np

from brainbench.core.progress import Stages
from brainbench.data.base import Responses, Stimuli
from brainbench.encoders.base import Encoder, Pool
from brainbench.evaluation.metrics import title_of
from brainbench.features.store import FeatureStore
from brainbench.recipes.kinds import Recipe
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.opened import Opened, R
from brainbench.studies.outcome import Outcome


@dataclass
class Stage:
    """Units that need none of each other.

    Parameters
    ----------
    name : str
        What progress shows.
    units : sequence of Unit
    """

    name: str
    units: Sequence[Unit]

    def run(self, runner: Runner) -> None:
        """Compute what is not there yet."""
        runner.run(self.name, self.units)


@dataclass(frozen=True)
class FeatureSet:
    """Layers of an encoder on a set of stimuli, which stand in the store before the first unit."""

    name: str
    encoder: Encoder
    stimuli: Stimuli
    layers: list[str]
    pool: Pool

    def missing(self, store: FeatureStore) -> int:
        """Return how many of the layers are not in the store."""
        return len(store.missing(self.encoder, self.stimuli, self.layers, self.pool))

    def extract(self, store: FeatureStore, stages: Stages) -> None:
        """Bring all layers into the store, in one pass."""
        self.encoder.check_modality(self.stimuli)
        with stages.stage(f"features: {self.name}", total=len(self.stimuli)) as advance:
            done = 0

            def show(now: int, _total: int) -> None:
                nonlocal done
                advance(now - done)
                done = now

            store.features(self.encoder, self.stimuli, self.layers, self.pool, progress=show)


@dataclass(frozen=True)
class EffectOf:
    """What a study's participants may answer to.

    Parameters
    ----------
    name : str
        In words.
    found_by : str
        The encoder whose tests look for it; empty where all do.
    features : callable
        From stimuli and responses to the features of every presentation, ``(n_presentations, n_features)``.
    """

    name: str
    found_by: str
    features: Callable[[Stimuli, Responses], np.ndarray]


class Study(ABC, Generic[R]):
    """Computes recipes of one kind.

    Parameters
    ----------
    opened : Opened
        What the recipe names.
    runner : Runner
        The run folder that units are read from, and progress.
    """

    recipe_model: ClassVar[type[Recipe]]
    """The recipes that it computes; their `studied_by` names this class."""

    def __init__(self, opened: Opened[R], runner: Runner) -> None:
        self.opened = opened
        self.runner = runner

    @property
    def recipe(self) -> R:
        """The recipe."""
        return self.opened.recipe

    @classmethod
    def sample(cls, recipe: Any, subjects: Sequence[str]) -> list[str]:
        """Return the participants that are enough to know whether a run can begin: the first one."""
        return list(subjects[:1])

    def trainings(self) -> Stage:
        """Return the stage that trains the encoders' networks; it comes before any feature is read."""
        units = []
        for entry in self.opened.encoders:
            key = None if entry.encoder is None else entry.encoder.training_key()
            if entry.encoder is not None and key is not None:
                units.append(Unit("train", f"{entry.name}, network", {"network": key}, entry.encoder.train))
        return Stage("train encoders", units)

    def rehearse(self) -> None:
        """Let networks read noise as long as the first subject's trials; those of encoders did so when opened.

        Raises
        ------
        UserError
            If one cannot.
        """

    def trained(self) -> list[str]:
        """Return what is said of networks that were trained here, besides those of encoders and pipelines."""
        return []

    def features(self) -> Iterable[FeatureSet]:
        """Return what is brought into the feature store before the first unit."""
        return ()

    def effect(self) -> EffectOf | None:
        """Return what a calibration plants, or None where the kind knows of no effect."""
        return None

    @abstractmethod
    def stages(self) -> Iterator[Stage]:
        """Yield every stage in order, without a look at any result."""

    @abstractmethod
    def gather(self, outcome: Outcome) -> None:
        """Add what the finished units found."""

    @abstractmethod
    def memory(self) -> dict[str, float]:
        """Return what is in memory at once, in MB, by what holds it."""

    def disk(self) -> float:
        """Return what is written into the run folder, in MB."""
        return 0.0

    @property
    @abstractmethod
    def lead(self) -> str:
        """Metric that heads the report."""

    def title_of(self, metric: str) -> str:
        """Return what people call a metric of ``scores.csv``."""
        return title_of(metric)

    @abstractmethod
    def question(self) -> str:
        """Return what was asked, in one sentence."""

    @abstractmethod
    def claims(self, outcome: Outcome) -> list[str]:
        """Return what was found, in sentences, for the top of the report."""

    def answer(self, outcome: Outcome) -> list[str]:
        """Return the answer to the question in three sentences at most, for the first box of the report."""
        return self.claims(outcome)[:3]

    def untrained(self) -> list[str]:
        """Return names of everything with random weights."""
        return [entry.name for entry in self.opened.encoders if entry.untrained]

    @property
    def people(self) -> str:
        """``3 simulated participants``."""
        n = len(self.opened.subjects)
        return f"{n} {'simulated ' if self.opened.dataset.simulated else ''}participant{'' if n == 1 else 's'}"


def study_class(recipe: Recipe) -> type[Study[Any]]:
    """Return the class that computes a recipe, which its model names."""
    model = type(recipe)
    module, _, name = model.studied_by.partition(":")
    study: type[Study[Any]] = getattr(import_module(module), name)
    if study.recipe_model is not model:
        raise TypeError(f"{model.studied_by} computes {study.recipe_model.__name__}, not {model.__name__}")
    return study


def study_of(opened: Opened[Any], runner: Runner) -> Study[Any]:
    """Return the study of an opened recipe."""
    return study_class(opened.recipe)(opened, runner)


def all_units(study: Study[Any]) -> list[Unit]:
    """Return every distinct unit of a study, stage by stage."""
    return list({unit.digest: unit for stage in every_stage(study) for unit in stage.units}.values())


def every_stage(study: Study[Any]) -> Iterator[Stage]:
    """Yield the training of encoders, and what follows on their features."""
    yield study.trainings()
    yield from study.stages()


def distinct_stimuli(opened: Opened[Any]) -> list[Stimuli]:
    """Return what encoders are given of all subjects' stimuli, those that are the same once."""
    return list(
        {one.digest(): one for one in (opened.dataset.stimuli(name).encoded for name in opened.subjects)}.values()
    )


def generators_trained(name: str, units: Sequence[Unit], runner: Runner) -> list[str]:
    """Return which generators a run trained, by the keys of their networks, in a sentence or none."""
    distinct = list({unit.digest: unit for unit in units}.values())
    found = dict.fromkeys(str(one["network"]) for one in runner.read(distinct) if "network" in one)
    if not found:
        return []
    shown, n = list(found)[:6], len(found)
    keys = f"key{'' if n == 1 else 's'} {', '.join(shown)}{', ...' if n > len(shown) else ''}"
    each = "one for each set of training images, " if n > 1 else ""
    return [f"{name}: {n} network{'' if n == 1 else 's'} trained here, {each}{keys}"]
