"""Published data sets of texts and stories, in their official layouts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from brainbench.recipes.data.base import DatasetSettings


class PereiraSettings(DatasetSettings):
    """Concepts and passages (Pereira et al. 2018): one beta image a concept or sentence."""

    built_by = "brainbench.data.layouts.texts.pereira:Pereira"
    shows = "text"
    name: Literal["pereira2018"] = "pereira2018"
    experiment: Literal["180concepts", "384sentences", "243sentences"] = "384sentences"
    """Which experiment: 180 concepts, 384 sentences of 96 passages, or 243 sentences of 72."""
    paradigm: Literal["pictures", "sentences", "wordclouds"] = "pictures"
    """What showed a concept (180concepts)."""
    atlases: list[str] = [
        "languageLH",
        "languageRH",
        "visual_body",
        "visual_face",
        "visual_object",
        "visual_scene",
        "visual",
        "DMN",
        "MD",
    ]
    """Atlases of `meta` whose parcels, together, are a region each."""
    pictures: str | None = Field(None, examples=["pictures.csv"])
    """Table of what showed the concepts, relative to root: `concept`, `path`, and `caption` where there are any
    (180concepts, pictures). Features of a concept are the mean over its pictures; without it a concept is its word."""

    @property
    def modality_shown(self) -> str:
        """What stimuli are: pictures where a table says which, else words and sentences."""
        return "text" if self.pictures is None else "image"


class TuckuteSettings(DatasetSettings):
    """Sentences that drive and suppress the language network (Tuckute et al. 2024): one value a region."""

    built_by = "brainbench.data.layouts.texts.tuckute:Tuckute"
    shows = "text"
    decodes = "condition"
    name: Literal["tuckute2024"] = "tuckute2024"
    conditions: list[Literal["baseline", "drive", "suppress"]] = Field(["baseline"], min_length=1)
    """Which sentences: the baseline's, and those that were chosen to drive or suppress the language network."""
    rois: list[str] | None = Field(None, examples=[["lang_LH_netw"]])
    """Regions by name; without it all of the table."""
