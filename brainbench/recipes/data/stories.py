"""Published data sets of stories: words with their times, and recordings of people who heard them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from brainbench.recipes.base import Name
from brainbench.recipes.data.base import DatasetSettings, check_pair


class StorySettings(DatasetSettings):
    """What every data set of stories has."""

    shows = "word"
    begins = {"folds": {"scheme": "grouped", "column": "story"}}
    stories: Literal["all"] | list[Name] = "all"
    """`all`, or a list of stories by name."""
    rois: str | None = Field(None, examples=["rois.csv"])
    """Regions, relative to root: a table with columns `target`, counted from 0, and `roi`; the releases have none."""


class LebelSettings(StorySettings):
    """Hours of stories in eight people (LeBel et al. 2023, ds003020): voxels of cortex, as the authors preprocess."""

    built_by = "brainbench.data.layouts.stories.lebel:Lebel"
    name: Literal["lebel2023"] = "lebel2023"


class NarrativesSettings(StorySettings):
    """Stories that 345 people heard (Nastase et al. 2021, ds002345): vertices of fsaverage6."""

    built_by = "brainbench.data.layouts.stories.narratives:Narratives"
    begins = {"folds": {"scheme": "contiguous"}}
    name: Literal["narratives"] = "narratives"
    preprocessing: Literal["afni-nosmooth", "afni-smooth"] = "afni-nosmooth"
    """Folder of the derivatives: cleaned of confounds, with or without smoothing."""
    exclude: bool = True
    """Leave out the recordings that the authors exclude (code/scan_exclude.json)."""
    leave_out: list[Name] = Field([], examples=[["sub-004_task-tunnel"]])
    """Further recordings to leave out, by what the names of their files begin with."""
    atlas: str | None = Field(None, examples=["atlas/{hemi}.label.gii"])
    """Regions, relative to root: a pair of label.gii of fsaverage6, {hemi} is L and R."""

    @field_validator("atlas")
    @classmethod
    def _placeholders_known(cls, value: str | None) -> str | None:
        return check_pair(value)


class LittlePrinceSettings(StorySettings):
    """The Little Prince, heard in one's own language (Li et al. 2022, ds003643): voxels of Colin27."""

    built_by = "brainbench.data.layouts.stories.little_prince:LittlePrince"
    name: Literal["little-prince"] = "little-prince"
    language: Literal["EN", "CN", "FR"] = "EN"
    """Whose recordings: English, Chinese or French."""
    mask: str | None = Field(None, examples=["mask.nii.gz"])
    """Mask, relative to root, on the grid of the recordings; without it the voxels that change in the first one."""
    atlas: str | None = Field(None, examples=["atlas.nii.gz"])
    """Atlas of whole-number labels, relative to root, with its table (index, name) beside it."""


class FriendsSettings(StorySettings):
    """Friends, six seasons (CNeuroMod, as the Algonauts challenge of 2025 packs it): 1,000 parcels."""

    built_by = "brainbench.data.layouts.stories.friends:Friends"
    name: Literal["friends"] = "friends"
    seasons: Literal["all"] | list[int] = Field("all", examples=[[1, 2]])
    """`all`, or a list of seasons by number."""
