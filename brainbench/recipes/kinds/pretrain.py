"""``kind: pretrain``: train a tokenizer of sensors, and a model of its codes, on recordings without labels."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from brainbench.recipes.base import Name
from brainbench.recipes.datasets import DatasetSettings, RecordingSettings
from brainbench.recipes.kinds.base import Recipe
from brainbench.recipes.parts import distinct_names
from brainbench.recipes.tokenizers import MaskedSettings, PretrainTraining, TokenizerSettings


class PretrainRecipe(Recipe):
    """Train a tokenizer of sensors on whole recordings, and try it on people it has never seen."""

    studied_by: ClassVar[str] = "brainbench.studies.pretrain.study:PretrainStudy"
    example: ClassVar[dict[str, Any]] = {
        "title": "Which tokens do these recordings have?",
        "dataset": {"name": "physionet-mi", "paradigm": "rest_left_right", "band": [0.5, 45.0], "sfreq": 128.0},
        "held_out": ["S003"],
    }

    kind: Literal["pretrain"] = "pretrain"
    """What the recipe does."""
    held_out: list[Name] = Field(min_length=1, examples=[["S003"]])
    """Participants that training never sees, and that every number of the report is about."""
    validation: list[Name] = Field([], examples=[["S002"]])
    """Participants whose loss chooses the weights; without any the last weights, or their moving average, are taken."""
    seconds: float = Field(4.0, gt=0)
    """Length of a segment."""
    tokenizer: TokenizerSettings = TokenizerSettings()
    """The tokenizer."""
    training: PretrainTraining = PretrainTraining()
    """How it is trained."""
    masked: MaskedSettings | None = None
    """A model of masked codes, trained after it; null for none."""
    withhold: int = Field(4, ge=2)
    """Parts of the sensors, each withheld once while the others are read."""
    least_perplexity: float = Field(0.1, ge=0, lt=1)
    """Share of its codes that every codebook must use after training (perplexity), or the run fails; 0 takes any."""

    @classmethod
    def beginning(cls, dataset: DatasetSettings) -> dict[str, Any] | None:
        """Return whom training never sees, and a wide band, for recordings."""
        if not isinstance(dataset, RecordingSettings):
            return None
        return {"dataset": {"band": [0.5, 45.0], "sfreq": 128.0}, "held_out": [dataset.apart]}

    @field_validator("dataset")
    @classmethod
    def _recordings(cls, value: Any) -> Any:
        if not isinstance(value, RecordingSettings):
            raise ValueError(f"`dataset`: '{value.name}' has no continuous recordings of sensors")
        return value

    @model_validator(mode="after")
    def _people_apart(self) -> Self:
        distinct_names([*self.held_out, *self.validation], "participant of `held_out` and `validation`")
        return self
