"""What recipes of all kinds have, and what those have that hold out rows of responses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from brainbench.core.errors import did_you_mean
from brainbench.recipes.base import Section
from brainbench.recipes.catalogue import Noun
from brainbench.recipes.datasets import AnyDataset, DatasetSettings, SimulatedSettings
from brainbench.recipes.encoders import EncoderSettings
from brainbench.recipes.parts import (
    Bootstrap,
    Execution,
    Folds,
    HoldOut,
    ResponseSettings,
    Scheme,
    Significance,
    distinct_names,
)
from brainbench.recipes.reconstruction import ConditionOn


class Told(NamedTuple):
    """How one of several models of a ``kind`` is told from the others.

    Attributes
    ----------
    section : str
        The section that only this model has, and always.
    reads : str
        What the model reads, for messages.
    instead : str
        What it has where the others' sections do not apply, for messages.
    """

    section: str
    reads: str
    instead: str


class Recipe(Section):
    """What every kind of recipe has; a kind is a class below this one."""

    studied_by: ClassVar[str]
    """Class that computes the kind, as ``module:class``; imported when a recipe runs, not when it is read."""
    example: ClassVar[dict[str, Any]] = {}
    """What a template needs to be a recipe that runs as it is; everything else comes from the defaults."""
    told_by: ClassVar[Told | None] = None
    """What tells this model from others of its ``kind``; None where it is the only one."""
    reads: ClassVar[tuple[str, ...]] = ("responses",)
    """What its data may hold beside stimuli (`DatasetSettings.holds`)."""

    kind: str
    """What the recipe does."""
    title: str = Field("", examples=["Which layer explains which region?"])
    """One line that heads the report."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of everything random."""
    dataset: AnyDataset
    """Which data."""
    significance: Significance = Significance()
    """Permutation tests."""
    bootstrap: Bootstrap = Bootstrap()
    """Confidence intervals."""
    execution: Execution = Execution()
    """How it runs; never changes a result."""

    @property
    def named_encoders(self) -> dict[str, EncoderSettings]:
        """The recipe's encoders by name; none where its kind has none."""
        return {entry.name: entry for entry in getattr(self, "encoders", [])}

    @classmethod
    def beginning(cls, dataset: DatasetSettings) -> dict[str, Any] | None:
        """Return what a template on some data needs besides them, or None where the kind has no use for such data.

        What it returns as ``dataset`` is added to the settings of the data.
        """
        own = {name: value for name, value in cls.example.items() if name not in ("title", "dataset")}
        return own | cls.held_out_of(dataset)

    @classmethod
    def held_out_of(cls, dataset: DatasetSettings) -> dict[str, Any]:
        """Return how a template on some data holds out, in the sections that the kind has."""
        return {name: value for name, value in dataset.begins.items() if name in cls.model_fields}

    @model_validator(mode="after")
    def _planted_encoders_exist(self) -> Self:
        names = list(self.named_encoders)
        for planted in self.dataset.rois if isinstance(self.dataset, SimulatedSettings) else ():
            if planted.encoder is not None and planted.encoder not in names:
                raise ValueError(
                    f"`dataset.rois` plants encoder '{planted.encoder}' in {planted.roi}, which is not one of {names}"
                )
        return self

    @model_validator(mode="after")
    def _reads_what_the_data_hold(self) -> Self:
        holds = self.dataset.holds
        if holds in self.reads:
            return self
        if holds == "nothing":
            raise ValueError(
                f"`dataset: {self.dataset.name}` holds stimuli that nobody was shown, and no responses: `kind: lens` "
                "looks into networks with them"
            )
        if holds == "distances":
            raise ValueError(
                f"`dataset: {self.dataset.name}` holds distances between stimuli, and no responses: `kind: rsa` "
                "compares them with layers"
            )
        raise ValueError(
            f"`kind: {self.kind}` reads distances between stimuli, `dataset: {self.dataset.name}` holds responses: "
            "`kind: encode` with `similarity: [rsa]` makes distances of them"
        )

    @model_validator(mode="after")
    def _encoders_read_the_stimuli(self) -> Self:
        shown = self.dataset.modality_shown
        for name, one in self.named_encoders.items():
            # Whether pictures have captions, the data say.
            captioned = shown in ("image", "clip") and "text" in one.reads
            if shown is not None and one.reads and shown not in one.reads and not captioned:
                raise ValueError(
                    f"encoder '{name}' (`family: {one.family}`) reads {' or '.join(one.reads)} stimuli, "
                    f"`dataset` has {shown} stimuli{self.dataset.shown_otherwise}"
                )
        return self

    def check_encoders(self, wanted: Iterable[tuple[str, ConditionOn]]) -> None:
        """Refuse a section that names an encoder which the recipe does not have."""
        names = list(self.named_encoders)
        for place, one in wanted:
            if one.encoder not in names:
                raise ValueError(
                    f"`{place}` names encoder '{one.encoder}', which is not one of {names}"
                    f"{did_you_mean(one.encoder, names)}"
                )

    @classmethod
    def of(cls, recipe: Recipe) -> Self | None:
        """Return `recipe` if it is of this kind, else None."""
        return recipe if isinstance(recipe, cls) else None

    @property
    def null_answers(self) -> bool | None:
        """Whether null participants answer to stimuli, alike in all showings; None where none can be drawn."""
        return None

    def for_null(self) -> tuple[Self, list[str]]:
        """Return the recipe that null participants go through, and what was left out of it, and why."""
        return self, []

    @property
    def centers_runs(self) -> bool:
        """Whether the mean of every run is taken out of responses."""
        return False

    @property
    def high_pass_s(self) -> float | None:
        """Longest period that is kept of responses in time; None where none is taken out."""
        return None

    def science(self) -> dict[str, Any]:
        """Return every setting that can change a result, with its resolved default."""
        found = self.model_dump(mode="json", exclude={"execution"})
        nouns = [one for part in vars(self).values() for one in (part if isinstance(part, list) else [part])]
        revisions = [[type(one).__name__, one.revision] for one in nouns if isinstance(one, Noun) and one.revision > 1]
        return {**found, "revisions": revisions} if revisions else found


class ResponseRecipe(Recipe):
    """A recipe that holds out rows of responses."""

    one_scheme: ClassVar[bool] = False
    """Whether it holds out in one way only, and takes no ``also``."""

    hold_out: list[HoldOut] = Field(["stimulus"], min_length=1)
    """What training never sees: [stimulus], [run] or [stimulus, run]."""
    folds: Folds = Folds()
    """How rows are dealt into test folds."""
    also: list[Scheme] = []
    """Further ways to hold out, shown beside the main one."""
    responses: ResponseSettings = ResponseSettings()
    """What happens to the responses before any fit."""

    @field_validator("hold_out")
    @classmethod
    def _each_once(cls, value: list[HoldOut]) -> list[HoldOut]:
        distinct_names(value, "hold_out")
        return value

    @property
    def schemes(self) -> list[Scheme]:
        """The main way to hold out, then the others."""
        return [Scheme(hold_out=self.hold_out, folds=self.folds), *self.also]

    @property
    def centers_runs(self) -> bool:
        """Whether the mean of every run is taken out of responses."""
        return self.responses.center == "run"

    @property
    def held_out(self) -> str:
        """``stimuli and runs``, in words."""
        return " and ".join({"stimulus": "stimuli", "run": "runs"}[part] for part in self.hold_out)

    @model_validator(mode="after")
    def _schemes_can_be_told(self) -> Self:
        if self.one_scheme and self.also:
            raise ValueError(f"`also`: `kind: {self.kind}` holds out in one way; another way is a recipe of its own")
        distinct_names([scheme.label for scheme in self.schemes], "scheme")
        clusters = [scheme.folds.cluster_by for scheme in self.schemes]
        self.check_encoders(("cluster_by", one) for one in clusters if one is not None)
        return self
