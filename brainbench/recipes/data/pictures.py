"""Published data sets of pictures and clips that are shown several times."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from brainbench.recipes.data.base import DatasetSettings, check_pair


class PictureSettings(DatasetSettings):
    """What every data set of repeated pictures has."""

    shows = "image"
    begins = {"folds": {"scheme": "predefined", "column": "test_set"}}
    stimuli: str = "images"
    """Folder of the pictures or clips, relative to root."""
    standardize: Literal["session", "none"] = "none"
    """Z-score every target within sessions, where the release says which those are, or within training and test set."""


class ThingsFmriSettings(PictureSettings):
    """THINGS-fMRI (Hebart et al. 2023): photographs of 720 concepts, single-trial betas as a table."""

    built_by = "brainbench.data.layouts.pictures.things_fmri:ThingsFmri"
    decodes = "concept"
    name: Literal["things-fmri"] = "things-fmri"
    standardize: Literal["session", "none"] = "session"
    """Z-score every voxel within sessions."""
    rois: list[str] = Field(
        ["V1", "V2", "V3", "hV4", "lLOC", "rLOC", "lFFA", "rFFA", "lPPA", "rPPA", "lEBA", "rEBA"], min_length=1
    )
    """Regions: columns of VoxelMetadata.csv that are 0 and 1; voxels outside of them are not read."""


class ThingsEegSettings(PictureSettings):
    """THINGS-EEG2 (Gifford et al. 2022): photographs, 80 showings of the 200 test pictures, EEG."""

    built_by = "brainbench.data.layouts.pictures.things_eeg:ThingsEeg"
    decodes = "concept"
    name: Literal["things-eeg2"] = "things-eeg2"
    stimuli: str = "image_set"
    """Folder of the pictures, relative to root: training_images/, test_images/ and image_metadata.npy."""
    tmin: float = 0.0
    """First sample used, in seconds after the picture appears."""
    tmax: float = 0.6
    """Last sample used."""
    window_s: float = Field(0.1, gt=0)
    """Length of the stretches of time that are regions."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.tmax <= self.tmin:
            raise ValueError(f"`tmax` ({self.tmax:g} s) must lie after `tmin` ({self.tmin:g} s)")
        return self


class BoldMomentsSettings(PictureSettings):
    """BOLD Moments (Lahner et al. 2024, ds005165): clips of three seconds, betas on fsaverage."""

    built_by = "brainbench.data.layouts.pictures.bold_moments:BoldMoments"
    shows = "clip"
    name: Literal["bold-moments"] = "bold-moments"
    stimuli: str = "stimuli"
    """Folder of the clips, relative to root: 0001.mp4, ... in folders of it."""
    atlas: str | None = Field(None, examples=["atlas/{hemi}.label.gii"])
    """Regions, relative to root: a pair of label.gii of fsaverage, {hemi} is L and R; only their vertices are used."""

    @field_validator("atlas")
    @classmethod
    def _placeholders_known(cls, value: str | None) -> str | None:
        return check_pair(value)
