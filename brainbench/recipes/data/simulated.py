"""Participants with planted layers: the ground truth."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from brainbench.recipes.base import Section
from brainbench.recipes.data.base import DatasetSettings


class PlantedRoi(Section):
    """One simulated ROI: which layer drives it, how many voxels, how clean."""

    roi: str = Field(examples=["V1"])
    """Name of the ROI."""
    encoder: str | None = Field(None, examples=["gabor"])
    """Name of one of the recipe's encoders; None plants no signal (a null ROI)."""
    layer: str | None = Field(None, examples=["all"])
    """Layer that drives the ROI."""
    prefers: str | None = Field(None, examples=["stripes"])
    """Category of stimuli that the ROI prefers, instead of an encoder: it answers to that category most, and to the
    others a little and differently in every voxel."""
    n_voxels: int = Field(40, ge=1)
    """Number of voxels."""
    ceiling: float = Field(0.7, ge=0, lt=1)
    """Highest Pearson r any model can reach on the mean over repeats."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.prefers is not None and self.encoder is not None:
            raise ValueError(f"ROI '{self.roi}' has an encoder or a category that it prefers, not both")
        return self

    @property
    def silent(self) -> bool:
        """Whether nothing drives it."""
        return self.encoder is None and self.prefers is None


class SimulatedSettings(DatasetSettings):
    """Participants with planted layers and known ceilings: the ground truth. Nothing here was measured."""

    built_by = "brainbench.simulation.dataset:Simulated"
    needs_root = False
    example = {
        "images": "drawings",
        "n_subjects": 1,
        "rois": [{"roi": "stripes-area", "prefers": "stripes"}, {"roi": "letter-area", "prefers": "letter"}],
    }
    decodes = "category"
    name: Literal["simulated"] = "simulated"
    design: Literal["images", "sentences", "story"] = "images"
    """Photographs, sentences, or a continuous story with an HRF and drift."""
    images: str | None = Field(None, examples=["drawings"])
    """Folder of images (`root` says the same), or `drawings`: pictures of shapes, textures and letters, 32 x 32, whose
    label `category` a ROI can prefer; without it crops of the photographs that scikit-learn installs."""
    text: str | None = Field(None, examples=["sentences.txt"])
    """Text file with a sentence per line (story: running text); without it a text that brainbench installs."""
    n_subjects: int = Field(3, ge=1)
    """Number of participants."""
    n_stimuli: int = Field(240, ge=8)
    """Number of stimuli."""
    n_repeats: int = Field(3, ge=1)
    """Showings of each stimulus."""
    n_runs: int = Field(6, ge=1)
    """Runs the showings are spread over."""
    t_r: float = Field(2.0, gt=0)
    """Seconds between volumes (story)."""
    drift: float = Field(0.5, ge=0)
    """Standard deviation of slow drift in units of the noise (story)."""
    autocorrelation: float = Field(0.3, ge=0, lt=1)
    """Lag-one autocorrelation of the noise (story)."""
    rois: list[PlantedRoi] = Field(min_length=1)
    """The planted ROIs."""

    @property
    def modality_shown(self) -> str:
        """See `DatasetSettings.modality_shown`."""
        return {"images": "image", "sentences": "text", "story": "word"}[self.design]
