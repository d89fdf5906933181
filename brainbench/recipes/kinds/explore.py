"""``kind: explore``: the images that a region's encoding model responds to most."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from brainbench.recipes.base import Section
from brainbench.recipes.datasets import DatasetSettings
from brainbench.recipes.encoders import ENCODERS
from brainbench.recipes.kinds.base import ResponseRecipe
from brainbench.recipes.parts import Encoders, Head
from brainbench.recipes.reconstruction import GENERATORS, AnyGenerator, ConditionOn, SmallSettings


class Contrast(Section):
    """What drives one region more than another."""

    roi: str = Field(examples=["FFA"])
    """Region whose response is raised."""
    minus: str = Field(examples=["PPA"])
    """Region whose response is lowered."""


class Facets(Section):
    """Clusters of the images that drive a region most, each a starting point of its own."""

    n_facets: int = Field(3, ge=1, le=20)
    """Clusters (k-means in the guiding features, 50 principal components at most)."""
    n_top: int = Field(45, ge=2)
    """Images that are clustered: those with the highest predicted response."""
    n_mean: int = Field(15, ge=1)
    """Images nearest to a cluster's centre, whose mean is the starting point."""


class ExploreRecipe(ResponseRecipe):
    """Draw the images that a region's encoding model responds to most."""

    studied_by: ClassVar[str] = "brainbench.studies.explore.study:ExploreStudy"
    example: ClassVar[dict[str, Any]] = {
        "title": "Which images would a simulated region respond to most?",
        "dataset": {
            "name": "simulated",
            "images": "drawings",
            "n_subjects": 1,
            "rois": [{"roi": "stripes-area", "prefers": "stripes"}, {"roi": "letter-area", "prefers": "letter"}],
        },
        "encoders": [
            {"name": "efficientnet", "family": "image", "weights": "installed", "layers": ["blocks.5"]},
            {"name": "gabor", "family": "gabor"},
        ],
        "generator": {"name": "small", "train_on": "drawings", "train_steps": 300},
        "guide": {"encoder": "efficientnet", "layer": "blocks.5"},
    }
    one_scheme: ClassVar[bool] = True

    kind: Literal["explore"] = "explore"
    """What the recipe does."""
    encoders: Encoders = Field(min_length=1)
    """The encoder that guides, and others that only judge the images."""
    generator: AnyGenerator
    """What draws: `small`, or `stable-diffusion`."""
    guide: ConditionOn
    """Layer of an image encoder whose features the guiding encoding model reads."""
    unit_norm: bool = True
    """Divide features by their norm before the linear reader."""
    head: Head = Head()
    """From features to responses."""
    rois: list[str] = ["*"]
    """Regions that are explored, by name or glob; all others are controls."""
    contrasts: list[Contrast] = []
    """Differences of two regions that are explored besides."""
    scales: list[float] = Field([10.0, 30.0, 100.0], min_length=1)
    """Weights of the gradient, tried one by one, in units of the region's predicted responses to the stimuli (one
    standard deviation); rising."""
    n_images: int = Field(16, ge=2, le=10_000)
    """Images per region and scale."""
    facets: Facets | None = Facets()
    """Facets of each region; null for none."""
    n_gallery: int = Field(8, ge=1, le=20)
    """Images shown of each kind."""

    @classmethod
    def beginning(cls, dataset: DatasetSettings) -> dict[str, Any] | None:
        """Return the encoders and the generator of the example, for images; it learns from the data's own images."""
        if dataset.modality_shown != "image":
            return None
        own = {name: cls.example[name] for name in ("encoders", "guide")}
        return {**own, "generator": {"name": "small", "train_steps": 300}, **cls.held_out_of(dataset)}

    @field_validator("scales")
    @classmethod
    def _rising(cls, value: list[float]) -> list[float]:
        if value[0] <= 0 or value != sorted(set(value)):
            raise ValueError(f"`scales` must be positive and rise, got {value}")
        return value

    @model_validator(mode="after")
    def _can_be_guided(self) -> Self:
        wanted = [("guide", self.guide)]
        if isinstance(self.generator, SmallSettings):
            wanted += [("generator.condition_on", one) for one in self.generator.condition_on]
        self.check_encoders(wanted)
        guide = self.named_encoders[self.guide.encoder]
        if not guide.has_gradient:
            families = ", ".join(f"`family: {name}`" for name, model in ENCODERS.items() if model.has_gradient)
            raise ValueError(f"`guide` needs an encoder that gradients pass through ({families}), not '{guide.family}'")
        if not self.generator.guidable:
            suited = [name for name, model in GENERATORS.items() if model.guidable]
            raise ValueError(
                f"`generator` '{self.generator.name}' cannot be guided by a region (allowed: {', '.join(suited)})"
            )
        return self
