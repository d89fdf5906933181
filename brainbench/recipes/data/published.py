"""Published data sets in their official layouts."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from brainbench.recipes.data.base import DatasetSettings, check_pattern


class AliceSettings(DatasetSettings):
    """Story listening (Brennan et al. 2016): ROI time courses and a word-level TextGrid."""

    built_by = "brainbench.data.layouts.alice:Alice"
    official = True
    shows = "word"
    begins = {"folds": {"scheme": "contiguous"}}
    name: Literal["alice"] = "alice"
    radius_mm: Literal[6, 10] = 10
    """Radius of the ROI spheres, in mm."""
    nuisance: list[Literal["motion"]] = ["motion"]
    """Regressors of no interest, removed inside training folds."""
    sound: str | None = Field(None, examples=["espeak-ng"])
    """Sound of the story, for networks that hear: a .wav relative to root, which begins with the story; or `espeak-ng`:
    that program speaks every word, which is stretched to its duration. It is not what was heard: the page says so, and
    claims nothing."""


class HaxbySettings(DatasetSettings):
    """Object viewing (Haxby et al. 2001): eight categories in blocks."""

    built_by = "brainbench.data.layouts.haxby:Haxby"
    official = True
    fetched_by = "brainbench.data.fetch:fetch_haxby"
    shows = "text"
    begins = {"hold_out": ["run"]}
    decodes = "category"
    name: Literal["haxby2001"] = "haxby2001"
    image: Literal["bold_1slice", "bold_25mm", "bold"] = "bold_1slice"
    """Which recording: one slice at full resolution, the 25 mm volume, or nilearn's full `bold.nii.gz`."""
    mask: str = "auto"
    """`auto` (slice_mask, brain, or mask4_vt), or a mask of the data set by name: vt, hoc, gray, mask4_vt, ..."""
    detrend: Literal["linear", "none"] = "linear"
    """Trend removed from every run."""
    standardize_runs: bool = True
    """Z-score every voxel within every run."""
    shift_s: float = Field(0.0, ge=0, le=15)
    """Seconds by which a block's window is moved; the events of this data set already lag the pictures by 3 s."""
    rows: Literal["block", "volume"] = "block"
    """One row per block (mean of its volumes) or per volume."""


class MiyawakiSettings(DatasetSettings):
    """Visual image reconstruction (Miyawaki et al. 2008): 12 x 12 patterns and visual voxels."""

    built_by = "brainbench.data.layouts.miyawaki:Miyawaki"
    official = True
    fetched_by = "brainbench.data.fetch:fetch_miyawaki"
    shows = "array"
    begins = {"hold_out": ["stimulus", "run"], "folds": {"scheme": "leave-one-out"}}
    decodes = "style"
    name: Literal["miyawaki2008"] = "miyawaki2008"
    stimuli: Literal["figures", "random", "both"] = "figures"
    """Which runs to use: the letters and shapes, the random patterns (nilearn's layout only), or both."""


class NsdSettings(DatasetSettings):
    """Natural Scenes Dataset (Allen et al. 2022): photographs at 7 T; files in the official layout."""

    built_by = "brainbench.data.layouts.nsd:Nsd"
    official = True
    shows = "image"
    name: Literal["nsd"] = "nsd"
    betas: Literal["betas_fithrf_GLMdenoise_RR", "betas_fithrf", "betas_assumehrf"] = "betas_fithrf_GLMdenoise_RR"
    """Which preparation of the betas (func1pt8mm)."""
    test_set: Literal["shared982", "shared1000"] = "shared982"
    """Images that are never trained on, as row label `test_set`: the shared images of the first 37 sessions, which
    were public first (982 images), or of all sessions (1,000). Results on one do not compare with the other's."""
    sessions: int | None = Field(None, ge=1, le=40, examples=[10])
    """Use the first so many sessions; null is 37 for `shared982` and all for `shared1000`."""
    missing_sessions: Literal["refuse", "skip"] = "refuse"
    """What happens when the betas of a session are not there."""
    standardize: Literal["session", "train", "train-images", "none"] = "session"
    """Z-score every voxel within sessions; by mean and standard deviation of the trials outside of the test set
    (`train`); or by those of the images there, averaged over their showings (`train-images`, as Brain-Diffuser)."""
    rois: list[str] = ["prf-visualrois", "prf-eccrois", "floc-faces", "floc-words", "floc-places", "floc-bodies"]
    """ROI files (func1pt8mm/roi) to read."""
    captions: str | None = Field(None, examples=["captions.npy"])
    """Array of COCO captions, images x captions, relative to root; without it COCO_73k_annots_curated.npy, if there."""


class Bold5000Settings(DatasetSettings):
    """BOLD5000 (Chang et al. 2019): 5,000 photographs at 3 T; release 1 or 2."""

    built_by = "brainbench.data.layouts.bold5000:Bold5000"
    official = True
    shows = "image"
    decodes = "collection"
    name: Literal["bold5000"] = "bold5000"
    release: Literal[1, 2] = 2
    """Release 1 (responses by volume and ROI) or 2 (GLMsingle betas)."""
    response: Literal["TR1", "TR2", "TR3", "TR4", "TR5", "TR34", "paper"] = "TR34"
    """Volume after the image (release 1); TR34 is the mean of the third and the fourth. `paper` is the mean of all six
    files, as the visio-linguistic study has it: the third and fourth volume count one and a half times."""
    captions: str | None = Field(None, examples=["COCO_images_captions.json"])
    """JSON of captions by image name, relative to root: {image: [text, ...]}, or COCO's own annotations. ImageNet's
    pictures have the names of their class (BOLD5000_Stimuli/Image_Labels), scenes the name of their kind."""
    mask: str | None = Field(None, examples=["masks/{subject}.nii.gz"])
    """Mask image, relative to root, such as "masks/{subject}.nii.gz": reads the volumes of release 2 and not its
    pack of ROIs."""
    standardize: Literal["session", "run", "none"] = "session"
    """Z-score every voxel within sessions, as the authors advise, or within runs."""

    @field_validator("mask")
    @classmethod
    def _placeholders_known(cls, value: str | None) -> str | None:
        return check_pattern(value, ("subject",))

    @model_validator(mode="after")
    def _volumes_are_of_release_2(self) -> Self:
        if self.mask is not None and self.release == 1:
            raise ValueError("`mask` is for the volumes of `release: 2`")
        if self.response == "paper" and self.release == 2:
            raise ValueError("`response: paper` is of the volumes of `release: 1`")
        return self


class AlgonautsSettings(DatasetSettings):
    """The Natural Scenes Dataset as the Algonauts challenge of 2023 packs it: vertices of visual cortex."""

    built_by = "brainbench.data.layouts.algonauts:Algonauts"
    shows = "image"
    name: Literal["algonauts2023"] = "algonauts2023"
    rois: list[Literal["prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words", "streams"]] = Field(
        ["prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words"], min_length=1
    )
    """Masks of regions to read."""
