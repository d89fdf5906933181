"""``kind: reconstruct``: images from responses, beside everything such images must be held against."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from brainbench.recipes.base import Section
from brainbench.recipes.datasets import DatasetSettings, RecordingSettings
from brainbench.recipes.kinds.base import ResponseRecipe
from brainbench.recipes.parts import Encoders, Head
from brainbench.recipes.presets import Preset, with_preset
from brainbench.recipes.reconstruction import AnyCodec, AnyGenerator, Calibration, ImageMetric, SmallSettings

Rung = Literal["codec", "oracle", "predicted", "nearest", "mean", "run_mean", "shuffled"]


class DecodingHead(Head):
    """Ridge regression from responses to features, a penalty per feature."""

    fixed: dict[str, float] = Field({}, examples=[{"low_level": 50000.0}])
    """Penalties on z-scored responses that are not chosen but given: `low_level`, or a condition's name."""

    @field_validator("fixed")
    @classmethod
    def _positive(cls, value: dict[str, float]) -> dict[str, float]:
        for name, penalty in value.items():
            if not penalty > 0:
                raise ValueError(f"the penalty of '{name}' must be positive, got {penalty}")
        return value


class Ablation(Section):
    """Which regions carry which score: the same with a region's targets alone, or without them."""

    rois: list[str] = ["*"]
    """Regions by name or glob."""
    modes: list[Literal["only", "without"]] = Field(["only", "without"], min_length=1)
    """A region alone, or all but it."""


class ReconstructRecipe(ResponseRecipe):
    """Reconstruct images from responses, beside everything such images must be held against."""

    studied_by: ClassVar[str] = "brainbench.studies.reconstruct.study:ReconstructStudy"
    example: ClassVar[dict[str, Any]] = {
        "title": "Which image did the simulated participant see?",
        "dataset": {
            "name": "simulated",
            "n_subjects": 1,
            "rois": [
                {"roi": "layout", "encoder": "pixels", "layer": "all"},
                {"roi": "content", "encoder": "efficientnet", "layer": "blocks.5"},
            ],
        },
        "encoders": [
            {"name": "efficientnet", "family": "image", "weights": "installed", "layers": ["blocks.5"]},
            {"name": "pixels", "family": "pixels"},
        ],
        "low_level": {"codec": "pca"},
        "generator": {
            "name": "small",
            "condition_on": [{"encoder": "efficientnet", "layer": "blocks.5"}],
            "train_steps": 300,
        },
    }

    kind: Literal["reconstruct"] = "reconstruct"
    """What the recipe does."""
    preset: Preset | None = None
    """Published settings that fill in what the recipe leaves out; it may still say otherwise."""
    encoders: Encoders = []
    """Features that condition a generator, find the nearest image, or cluster stimuli."""
    low_level: AnyCodec
    """From responses to an initial image that carries layout."""
    generator: AnyGenerator | None = None
    """From the initial image and predicted features to the final image; null ends with the initial image."""
    head: DecodingHead = DecodingHead()
    """From responses to latents and features."""
    calibration: Calibration = "train-cv"
    """Mean and spread of predicted features: as predicted; from cross-validated or fitted predictions of training
    rows; or from the test rows themselves (test-batch, as published: transductive, and labelled so)."""
    ladder: list[Rung] = Field(
        ["codec", "oracle", "predicted", "nearest", "mean", "run_mean", "shuffled"], min_length=1
    )
    """Rungs: images of true latents (codec) and true features (oracle); what was predicted; the training image nearest
    to the prediction, the mean training image, the mean of the other images of the row's run; shuffled responses."""
    metrics: list[ImageMetric] = Field(["pixcorr", "two_way_pixels"], min_length=1)
    """Image metrics (`brainbench list metrics`); the first one leads the report."""
    identify_within: str | None = Field(None, examples=["style"])
    """Label of stimuli within which two-way identification is also scored, such as a style that runs share."""
    ablation: Ablation | None = None
    """Which regions carry which score."""
    n_gallery: int = Field(4, ge=1, le=20)
    """Best, median and worst reconstructions shown, so many of each."""

    @classmethod
    def beginning(cls, dataset: DatasetSettings) -> dict[str, Any] | None:
        """Return a codec and a small generator, for pictures; the generator reads one layer of one encoder."""
        if dataset.modality_shown not in ("image", "array") or isinstance(dataset, RecordingSettings):
            return None
        layers = {"efficientnet": "blocks.5", "pixels": "pixels"}
        read = {"encoder": dataset.starters[0]["name"], "layer": layers[dataset.starters[0]["name"]]}
        return {
            "encoders": [{**one, "layers": [layers[one["name"]]]} for one in dataset.starters if one["name"] in layers],
            "low_level": {"codec": "pca"},
            "generator": {"name": "small", "condition_on": [read], "train_steps": 300},
            **cls.held_out_of(dataset),
        }

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        return with_preset(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _conditions_and_rungs(self) -> Self:
        if isinstance(self.generator, SmallSettings):
            self.check_encoders(("generator.condition_on", one) for one in self.generator.condition_on)
            if not self.generator.condition_on:
                raise ValueError("`generator.condition_on` needs a layer: without one nothing of the brain reaches it")
        if "predicted" not in self.ladder:
            raise ValueError("`ladder` needs the rung 'predicted'")
        return self
