"""``kind: encode``: encoding models, layer by layer and region by region."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from brainbench.core.errors import did_you_mean
from brainbench.evaluation.metrics import target_metrics
from brainbench.recipes.base import Section, choice
from brainbench.recipes.datasets import BandPower, DatasetSettings, RecordingSettings, dataset_settings
from brainbench.recipes.encoders import EegSettings
from brainbench.recipes.kinds.base import ResponseRecipe
from brainbench.recipes.lens import Lens
from brainbench.recipes.parts import Ceiling, Decoding, Encoders, Head, Reduction, Timing, distinct_names


def _distinct_metrics(value: list[str]) -> list[str]:
    distinct_names(value, "metric")
    return value


Metrics = Annotated[list[Annotated[str, choice(target_metrics)]], AfterValidator(_distinct_metrics)]
"""Metrics with a value per target, by name."""


class Unique(Section):
    """Unique variance of each model layer over a set of controls (nested models)."""

    over: list[str] | Literal["controls"] = "controls"
    """Names of the encoders in the smaller model, or all controls."""


class Partition(Section):
    """Parts of the variance that two to four sets of features explain alone and in common."""

    sets: list[str] = Field(min_length=2, max_length=4, examples=[["pixels", "gabor", "efficientnet"]])
    """Encoders, each with one layer; every combination of them is fitted."""
    layers: dict[str, str] = Field({}, examples=[{"efficientnet": "blocks.4"}])
    """Which layer of an encoder; without it the last one that the encoder's `layers` choose."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        distinct_names(self.sets, "set")
        for name in self.layers:
            if name not in self.sets:
                near = did_you_mean(name, self.sets)
                raise ValueError(f"`partition.layers` names '{name}', which is not in `partition.sets`{near}")
        return self


class ZeroShot(Section):
    """Leave two stimuli out: a 2 vs 2 test of whether features generalise to unseen stimuli."""

    n_shuffles: int = Field(1000, ge=1, le=100_000)
    """Refitted shuffles of which features belong to which stimulus."""


class EncodeRecipe(ResponseRecipe):
    """Fit encoding models and report which layer explains which region."""

    studied_by: ClassVar[str] = "brainbench.studies.encode.study:EncodeStudy"
    example: ClassVar[dict[str, Any]] = {
        "title": "Which layer of EfficientNet explains which simulated region?",
        "dataset": {
            "name": "simulated",
            "rois": [
                {"roi": "early", "encoder": "efficientnet", "layer": "blocks.1"},
                {"roi": "late", "encoder": "efficientnet", "layer": "blocks.5"},
            ],
        },
        "encoders": [
            {"name": "efficientnet", "family": "image", "weights": "installed", "layers": ["blocks.*"]},
            {"name": "pixels", "family": "pixels"},
        ],
    }

    kind: Literal["encode"] = "encode"
    """What the recipe does."""
    encoders: Encoders = Field(min_length=1)
    """Models and the controls they are held against."""
    reduction: Reduction = Reduction()
    """Reduction of features, fitted inside training folds."""
    timing: Timing = Timing()
    """From words to volumes; continuous designs only."""
    head: Head = Head()
    """From features to responses."""
    metrics: Metrics = Field(["pearson_r", "r2"], min_length=1)
    """Scores per target and ROI (`brainbench list metrics`); the first one is tested and leads the report."""
    ceiling: Ceiling = Ceiling()
    """Noise ceilings."""
    unique: Unique | None = None
    """Unique variance over controls."""
    partition: Partition | None = None
    """Unique and shared variance of several sets of features."""
    patterns: list[Literal["pattern_r", "pairs_r", "pairs_cosine"]] = Field([], examples=[["pattern_r", "pairs_r"]])
    """Untested scores of whole patterns of a region (trial designs), from the same held-out predictions: correlation,
    and 2 vs 2 over all pairs of rows, by correlation or by cosine (as visio-linguistic studies have it)."""
    similarity: list[Literal["rsa", "cka"]] = Field([], examples=[["rsa", "cka"]])
    """Similarity of layers and ROIs without a fit (trial designs)."""
    zero_shot: ZeroShot | None = None
    """Leave-two-stimuli-out 2 vs 2 test."""
    decoding: Decoding | None = None
    """Decoding of a label from the responses, beside the encoding models."""
    lens: Lens | None = None
    """Diagnostics of the networks themselves, beside depth."""

    @classmethod
    def beginning(cls, dataset: DatasetSettings) -> dict[str, Any] | None:
        """Return encoders that read the stimuli; of a recording the band power is what they explain."""
        more: dict[str, Any] = {}
        if isinstance(dataset, RecordingSettings):
            more = {"dataset": {"band_power": {}}}
            dataset = dataset.model_copy(update={"band_power": BandPower()})
        if not dataset.starters:
            return None
        return {"encoders": dataset.starters, **more, **cls.held_out_of(dataset)}

    @model_validator(mode="after")
    def _signals(self) -> Self:
        networks = [encoder for encoder in self.encoders if isinstance(encoder, EegSettings)]
        recording = self.dataset if isinstance(self.dataset, RecordingSettings) else None
        if networks and (recording is None or recording.band_power is None):
            raise ValueError(
                f"encoder '{networks[0].name}' reads signals: `dataset` is a recording with a `band_power` section"
            )
        for encoder in networks:
            assert recording is not None
            encoder.resolve(recording.model_dump(mode="json"))
            try:
                other = dataset_settings(encoder.recordings)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                key = str(first["loc"][-1])
                near = did_you_mean(key, type(recording).model_fields) if first["type"] == "extra_forbidden" else ""
                raise ValueError(f"encoder '{encoder.name}': `trained_on.{key}`: {first['msg']}{near}") from None
            for name in ("band", "filter", "sfreq", "reference", "channels", "exclude_channels"):
                if getattr(other, name, None) != getattr(recording, name):
                    raise ValueError(f"encoder '{encoder.name}': `trained_on.{name}` must be that of `dataset`")
        return self

    @model_validator(mode="after")
    def _controls_exist(self) -> Self:
        over = [] if self.unique is None else self.unique.over
        names = list(self.named_encoders)
        if over == "controls":
            if not any(encoder.role == "control" for encoder in self.encoders):
                raise ValueError("`unique: {over: controls}` needs an encoder with `role: control`")
        elif unknown := [name for name in over if name not in names]:
            raise ValueError(f"`unique.over` names unknown encoders {unknown}; known: {names}")
        for name in [] if self.partition is None else self.partition.sets:
            if name not in names:
                near = did_you_mean(name, names)
                raise ValueError(f"`partition.sets` names the unknown encoder '{name}'{near}; known: {names}")
        return self

    @property
    def high_pass_s(self) -> float | None:
        """Longest period that is kept of responses in time."""
        return self.timing.high_pass_s

    def for_null(self) -> tuple[Self, list[str]]:
        """Leave decoding out where a label of the stimuli can be read from answers to the stimuli: it is no null."""
        if self.decoding is None or not self.null_answers:
            return self, []
        why = "`decoding` is left out: what participants answer to stimuli tells their labels, too"
        return self.model_copy(update={"decoding": None}), [why]

    @property
    def null_answers(self) -> bool:
        """Whether all that is tested says "about other stimuli": then answers to stimuli are no effect."""
        whole = self.significance.null in ("auto", "stimulus")
        return whole and all("stimulus" in scheme.hold_out for scheme in self.schemes)
