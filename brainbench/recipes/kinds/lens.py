"""``kind: lens``: networks looked into, block by block, without responses of a brain."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from brainbench.recipes.datasets import DatasetSettings, RecordingSettings
from brainbench.recipes.encoders import ENCODERS
from brainbench.recipes.kinds.base import Recipe
from brainbench.recipes.lens import Inside
from brainbench.recipes.parts import Encoders


class LensRecipe(Recipe):
    """Look into networks, block by block; responses to the stimuli are not read."""

    studied_by: ClassVar[str] = "brainbench.studies.lens:LensOnly"
    reads: ClassVar[tuple[str, ...]] = ("responses", "distances", "nothing")
    example: ClassVar[dict[str, Any]] = {
        "title": "What does a network do, block by block?",
        "dataset": {"name": "stimuli"},
        "encoders": [{"name": "vit", "family": "image", "model": "vit_tiny_patch16_224", "weights": "random"}],
    }

    kind: Literal["lens"] = "lens"
    """What the recipe does."""
    encoders: Encoders = Field(min_length=1)
    """Networks."""
    lens: Inside = Inside()
    """What is computed, of how many stimuli."""

    @classmethod
    def beginning(cls, dataset: DatasetSettings) -> dict[str, Any] | None:
        """Return the networks among the encoders that read the stimuli, or None where there are none."""
        if isinstance(dataset, RecordingSettings):
            return None  # its networks are trained on people: there is one for every set of them
        networks = [one for one in dataset.starters if ENCODERS[one["family"]].has_network]
        return {"encoders": networks} if networks else None

    @model_validator(mode="after")
    def _there_is_a_network(self) -> Self:
        if not any(encoder.has_network for encoder in self.encoders):
            names = ", ".join(f"'{name}'" for name in self.named_encoders)
            raise ValueError(f"`encoders`: {names}: none of them is a network, and there is nothing to look into")
        return self
