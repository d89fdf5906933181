"""``kind: rsa``: layers held against distances between stimuli that were computed elsewhere."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from brainbench.recipes.datasets import DatasetSettings
from brainbench.recipes.kinds.base import Recipe
from brainbench.recipes.parts import Encoders


class RsaRecipe(Recipe):
    """Compare the geometry of layers with RDMs of participants and regions."""

    studied_by: ClassVar[str] = "brainbench.studies.rsa.study:RsaStudy"
    reads: ClassVar[tuple[str, ...]] = ("distances",)
    example: ClassVar[dict[str, Any]] = {
        "title": "Whose geometry is that of which region?",
        "dataset": {"name": "rdm", "rdms": "{subject}.npy", "rois": ["V1"]},
        "encoders": [
            {"name": "efficientnet", "family": "image", "weights": "installed", "layers": ["blocks.*"]},
            {"name": "pixels", "family": "pixels"},
        ],
    }

    kind: Literal["rsa"] = "rsa"
    """What the recipe does."""
    encoders: Encoders = Field(min_length=1)
    """Models and the controls they are held against."""
    distance: Literal["correlation", "euclidean"] = "correlation"
    """Between the features of two stimuli: one minus Pearson's r, or Euclidean."""
    similarity: list[Literal["rsa", "rsa_pearson"]] = Field(["rsa"], min_length=1)
    """Of RDMs: `rsa` is Spearman's correlation of distances, `rsa_pearson` Pearson's; the first leads the report."""

    @classmethod
    def beginning(cls, dataset: DatasetSettings) -> dict[str, Any] | None:
        """Return encoders that read the stimuli."""
        return {"encoders": dataset.starters} if dataset.starters else None
