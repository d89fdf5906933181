"""``kind: decode`` with ``pipelines:``: a label read from the trials of a recording."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from brainbench.core.errors import did_you_mean
from brainbench.recipes.datasets import DatasetSettings, RecordingSettings
from brainbench.recipes.kinds.base import Recipe, Told
from brainbench.recipes.parts import distinct_names
from brainbench.recipes.pipelines import (
    PIPELINES,
    AnyPipeline,
    BandResolved,
    ContactResolved,
    Evaluation,
    PipelineSettings,
    RegionResolved,
    TimeResolved,
)


class TrialsRecipe(Recipe):
    """Decode a label from trials of a sensor recording."""

    studied_by: ClassVar[str] = "brainbench.studies.trials.study:TrialsStudy"
    example: ClassVar[dict[str, Any]] = {
        "title": "Which hand did the participant imagine to move?",
        "dataset": {"name": "physionet-mi", "subjects": ["S001"], "band": [8.0, 30.0]},
        "pipelines": [{"name": "csp_lda", "decoder": "csp_lda"}],
        "evaluate": [{"scheme": "leave-one-run-out"}],
    }
    told_by: ClassVar[Told | None] = Told("pipelines", "trials of recordings", "it is `evaluate` that holds out")

    kind: Literal["decode"] = "decode"
    """What the recipe does."""
    pipelines: list[AnyPipeline] = Field(min_length=1)
    """Decoders of trials."""
    evaluate: list[Evaluation] = []
    """How trials are held out; the first one leads the report."""
    time_resolved: TimeResolved | None = None
    """Also decode from a window that slides over the trial."""
    bands: BandResolved | None = None
    """Also decode from one frequency band at a time."""
    regions: RegionResolved | None = None
    """Also decode from groups of channels: each alone, each left out, and all."""
    contacts: ContactResolved | None = None
    """Also rank contacts by training rows, and decode from the best of them."""

    @classmethod
    def beginning(cls, dataset: DatasetSettings) -> dict[str, Any] | None:
        """Return a decoder of trials, for recordings."""
        if not isinstance(dataset, RecordingSettings):
            return None
        return {"pipelines": cls.example["pipelines"], **cls.held_out_of(dataset)}

    @field_validator("pipelines")
    @classmethod
    def _distinct_pipelines(cls, value: list[Any]) -> list[Any]:
        distinct_names([pipeline.name for pipeline in value], "pipeline")
        return value

    @field_validator("evaluate")
    @classmethod
    def _distinct_evaluations(cls, value: list[Evaluation]) -> list[Evaluation]:
        distinct_names([evaluation.label for evaluation in value], "scheme")
        return value

    @model_validator(mode="after")
    def _trials_of_a_recording(self) -> Self:
        if not self.evaluate:
            raise ValueError("`pipelines` and `evaluate` go together: which decoders, and how trials are held out")
        for name, part in (("time_resolved", self.time_resolved), ("bands", self.bands)):
            if part is not None:
                self._check_part(name, part.pipeline, "works_in_part", "on covariances")
        if self.regions is not None and self.regions.pipeline is not None:
            self._check_named("regions", self.regions.pipeline, [pipeline.name for pipeline in self.pipelines], "")
        if self.contacts is not None:
            self._check_part("contacts", self.contacts.pipeline, "ranks_contacts", "that ranks contacts")
        if not isinstance(self.dataset, RecordingSettings):
            raise ValueError(f"`pipelines` need a recording; '{self.dataset.name}' takes `decoding`")
        if self.significance.null not in ("auto", "within_run"):
            raise ValueError("with `pipelines` labels are permuted within runs: `significance.null: within_run`")
        for evaluation in self.evaluate:
            whole = [pipeline.name for pipeline in self.pipelines if pipeline.align.endswith("_transductive")]
            if whole and evaluation.mode == "train_trialwise":
                raise ValueError(
                    f"pipeline '{whole[0]}' aligns by all test trials, and `mode: train_trialwise` decodes each alone"
                )
        if self.dataset.band_power is not None:
            raise ValueError(
                "`dataset.band_power` makes trials the stimuli of `kind: encode`; decoding has no use for it"
            )
        return self

    def _check_part(self, section: str, wanted: str | None, able: str, what: str) -> None:
        suited = [pipeline.name for pipeline in self.pipelines if getattr(pipeline, able)]
        if not suited:
            known = [name for name, model in PIPELINES.items() if getattr(model, able)]
            raise ValueError(f"`{section}` needs a pipeline {what} ({', '.join(known)})")
        if wanted is not None:
            self._check_named(section, wanted, suited, f" {what}")

    def _check_named(self, section: str, wanted: str, suited: list[str], what: str) -> None:
        if wanted not in suited:
            raise ValueError(
                f"`{section}.pipeline` '{wanted}' is not a pipeline{what}{did_you_mean(wanted, suited)} "
                f"(allowed: {', '.join(suited)})"
            )

    def part_pipeline(self, part: TimeResolved | BandResolved | RegionResolved | ContactResolved) -> PipelineSettings:
        """Return the pipeline of a section on parts: the one that is named, else the first that can do it."""
        if part.pipeline is not None:
            return next(pipeline for pipeline in self.pipelines if pipeline.name == part.pipeline)
        if isinstance(part, RegionResolved):
            return self.pipelines[0]
        able = "ranks_contacts" if isinstance(part, ContactResolved) else "works_in_part"
        return next(pipeline for pipeline in self.pipelines if getattr(pipeline, able))
