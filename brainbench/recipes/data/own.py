"""The user's own data: a folder laid out by the user, and BIDS derivatives."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from brainbench.recipes.base import Name
from brainbench.recipes.data.base import DatasetSettings, check_pattern


class FolderSettings(DatasetSettings):
    """The user's own data: a `stimuli.csv`, responses, and a table of their rows per subject."""

    built_by = "brainbench.data.layouts.folder:Folder"
    decodes = "category"
    name: Literal["folder"] = "folder"
    stimuli: str = "stimuli.csv"
    """Table of the stimuli, relative to root: `id`, `path` or `text`, any labels; `onset` when continuous."""
    modality: Literal["image", "text", "word", "sound", "clip"] = "image"
    """What a stimulus is: an image, a text of its own, one word of a story, a piece of a sound, or a clip."""
    responses: str = "{subject}/responses.npy"
    """Responses, relative to root: .npy, .csv, .tsv, .nii, .nii.gz, .dtseries.nii, .dscalar.nii; with {hemi}, .gii."""
    design: str | None = "{subject}/design.csv"
    """Rows of the responses, relative to root: `stimulus`, `run`, any labels (continuous: `time`, `run`)."""
    mask: str | None = Field(None, examples=["{subject}/mask.nii.gz"])
    """Mask image, relative to root; NIfTI volumes need one, tables and arrays may have one, for maps."""
    rois: str | None = Field(None, examples=["rois.csv"])
    """ROIs, relative to root: a table (target, roi), an atlas image, .dlabel.nii, or label.gii with {hemi}."""
    ceiling: str | None = Field(None, examples=["{subject}/ceiling.npy"])
    """One ceiling per target, in units of Pearson r, relative to root."""
    ncsnr: str | None = Field(None, examples=["{subject}/ncsnr.npy"])
    """One noise-ceiling SNR per target (Allen et al. 2022), relative to root."""
    nuisance: str | None = Field(None, examples=["{subject}/motion.csv"])
    """Regressors of no interest of a story, one row per response, relative to root."""
    background: str | None = Field(None, examples=["{subject}/T1w.nii.gz"])
    """Image that maps are drawn on, relative to root."""
    continuous: bool = False
    """True when rows are time points and stimuli.csv has `onset`."""
    t_r: float | None = Field(None, gt=0, examples=[2.0])
    """Seconds between rows; continuous designs only, and needed there when the design has no `time`."""
    flat_targets: Literal["refuse", "drop"] = "refuse"
    """What happens to targets that never change; those that are NaN in every row are always left out, and counted."""
    empty_rois: Literal["refuse", "drop"] = "refuse"
    """What happens to ROIs without a target."""
    aligned_targets: bool = False
    """True when targets and rows mean the same in every subject, so that their mean is a subject too."""
    simulated: bool = False
    """Say that no brain was measured."""

    @field_validator("stimuli", "responses", "design", "mask", "rois", "ceiling", "ncsnr", "nuisance", "background")
    @classmethod
    def _placeholders_known(cls, value: str | None, info: ValidationInfo) -> str | None:
        allowed = {"stimuli": (), "responses": ("subject", "hemi"), "rois": ("subject", "hemi")}
        allowed |= dict.fromkeys(("ceiling", "ncsnr"), ("subject", "hemi"))
        return check_pattern(value, allowed.get(str(info.field_name), ("subject",)))

    @field_validator("responses")
    @classmethod
    def _format_known(cls, value: str) -> str:
        if not value.endswith((".npy", ".csv", ".tsv", ".nii", ".nii.gz", ".gii")):
            raise ValueError(f"'{value}' is none of .npy, .csv, .tsv, .nii, .nii.gz, .gii")
        if value.endswith((".dlabel.nii", ".ptseries.nii", ".pscalar.nii", ".pconn.nii", ".dconn.nii")):
            raise ValueError("of CIFTI files, .dtseries.nii and .dscalar.nii are responses; labels belong to `rois`")
        if value.endswith(".gii") != ("{hemi}" in value):
            raise ValueError("GIFTI responses are a pair of files: write {hemi} where they say L and R")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.modality == "word" and not self.continuous:
            raise ValueError("`modality: word` is for stories: it needs `continuous: true`; trials take `text`")
        if self.t_r is not None and not self.continuous:
            raise ValueError("`t_r` is for `continuous: true`")
        if self.design is None and self.t_r is None:
            raise ValueError("`design: null` needs `continuous: true` and `t_r`, which say when rows were measured")
        if self.responses.endswith((".dtseries.nii", ".dscalar.nii")):
            if self.mask is not None:
                raise ValueError("CIFTI responses take no `mask`: the file says where each grayordinate lies")
        elif self.responses.endswith((".nii", ".nii.gz")) and self.mask is None:
            raise ValueError("NIfTI responses need a `mask`")
        if self.responses.endswith(".gii") and self.mask is not None:
            raise ValueError("GIFTI responses take no `mask`")
        if self.ceiling is not None and self.ncsnr is not None:
            raise ValueError("give `ceiling` or `ncsnr`, not both")
        if self.ncsnr is not None and self.continuous:
            raise ValueError("`ncsnr` is for repeated trials; continuous designs take `ceiling`")
        if self.nuisance is not None and not self.continuous:
            raise ValueError(
                "`nuisance` is for `continuous: true`: of trials nothing is taken out; take it out of the responses, "
                "or let the GLM that estimates them do so"
            )
        if self.aligned_targets and self.flat_targets == "drop":
            raise ValueError("`aligned_targets: true` needs `flat_targets: refuse`: dropping moves targets")
        return self


class BidsSettings(DatasetSettings):
    """A BIDS-derivatives folder as fMRIPrep leaves it, or GLMsingle outputs beside it."""

    built_by = "brainbench.data.layouts.bids.dataset:Bids"
    example = {"task": "objects"}
    begins = {"hold_out": ["stimulus", "run"]}
    decodes = "trial_type"
    name: Literal["bids"] = "bids"
    task: str = Field(pattern=r"^[A-Za-z0-9+]+$", examples=["objects"])
    """Task label."""
    space: str = Field("MNI152NLin2009cAsym", pattern=r"^[A-Za-z0-9+]+$")
    """Space label of the preprocessed images: volumes, pairs of surfaces (`fsaverage5`), or CIFTI (`fsLR`); `native`
    for those without one, as the scanner saw them, whose runs fMRIPrep does not bring together."""
    resolution: str | None = Field(None, examples=["2"])
    """Label after `res-` or `den-`, where a space comes in several resolutions; `none` for images without one."""
    sessions: Literal["all"] | list[Name] = "all"
    """`all`, or a list of sessions by name or number."""
    runs: Literal["all"] | list[Name] = "all"
    """`all`, or a list of runs by number."""
    leave_out: list[Name] = Field([], examples=[["sub-01_run-2"]])
    """Recordings to leave out, by what tells them from others: `sub-01_run-2`, or `ses-2` for that of everybody."""
    derivatives: str = "derivatives/fmriprep"
    """Folder of the preprocessed images, relative to root; `root` may be that folder itself."""
    stimuli: str = "stimuli.csv"
    """Table with columns `id` and `path` or `text`, relative to root; where there is no `stimuli.csv`, the files that
    the events name, which BIDS keeps in `stimuli/`."""
    modality: Literal["image", "text"] = "image"
    """What the stimuli are."""
    stimulus_column: str = "stim_file"
    """Column of events.tsv that names the stimulus of each event, by id, path, file name or its stem; n/a marks events
    that show none."""
    betas: Literal["trial", "block", "glmsingle"] = "trial"
    """One beta per event (least squares all), one per stimulus and run, or GLMsingle's files."""
    glmsingle: str = "derivatives/glmsingle/{subject}/betas.npy"
    """GLMsingle's betas, relative to root: .npy, .hdf5, or in the format of the images (`betas: glmsingle`)."""
    confounds: list[Literal["motion", "wm_csf", "global_signal", "compcor", "scrub", "high_pass"]] = [
        "motion",
        "wm_csf",
    ]
    """Strategy for nilearn's `load_confounds`; [] for none."""
    motion: Literal["basic", "power2", "derivatives", "full"] = "basic"
    """Motion regressors: 6, 12 (squares), 12 (derivatives) or 24."""
    n_compcor: int = Field(6, ge=1)
    """Components of `compcor`."""
    high_pass_s: float | None = Field(128.0, gt=0)
    """Longest period kept by the drift model, in seconds."""
    smoothing_fwhm_mm: float | None = Field(None, gt=0, examples=[4.0])
    """Smoothing of volumes before the GLM, in mm."""
    hrf_model: Literal["glover", "spm"] = "glover"
    """Haemodynamic response of the GLM."""
    atlas: str | None = Field(None, examples=["atlas.nii.gz"])
    """Atlas, relative to root: an image of whole-number labels with its table (index, name) beside it, a .dlabel.nii
    for CIFTI, or label.gii with {hemi} for surfaces; or `aseg` or `aparcaseg`, fMRIPrep's own of every subject."""
    empty_rois: Literal["refuse", "drop"] = "drop"
    """What happens to regions of the atlas without a target."""
    mask: str | None = Field(None, examples=["{subject}/mask.nii.gz"])
    """Brain mask of volumes, relative to root; without it the voxels that are in fMRIPrep's mask of every run."""

    @field_validator("atlas", "mask", "glmsingle")
    @classmethod
    def _placeholders_known(cls, value: str | None, info: ValidationInfo) -> str | None:
        value = check_pattern(value, ("subject",) if info.field_name == "mask" else ("subject", "hemi"))
        if value is not None and value.endswith(".gii") != ("{hemi}" in value):
            raise ValueError("GIFTI files come in pairs: write {hemi} where they say L and R, and in no other path")
        return value

    @property
    def segmentation(self) -> str | None:
        """Which of fMRIPrep's own segmentations is the atlas."""
        return self.atlas if self.atlas in ("aseg", "aparcaseg") else None

    @property
    def labels_inside(self) -> bool:
        """Whether the atlas holds the names of its regions."""
        return self.atlas is not None and self.atlas.endswith((".gii", ".dlabel.nii"))

    @model_validator(mode="after")
    def _drift_once(self) -> Self:
        if self.betas == "glmsingle":
            if self.smoothing_fwhm_mm is not None:
                raise ValueError(
                    "`smoothing_fwhm_mm` is for a GLM that is fitted here: GLMsingle's betas stay as they are"
                )
            return self
        if "high_pass" in self.confounds and self.high_pass_s is not None:
            raise ValueError(
                "drifts would be modeled twice: take `high_pass` out of `confounds`, or set `high_pass_s: null`"
            )
        if "compcor" in self.confounds and "high_pass" not in self.confounds:
            raise ValueError(
                "fMRIPrep computes `compcor` after its own high-pass: add `high_pass` to `confounds` and set "
                "`high_pass_s: null`"
            )
        return self


class RdmSettings(DatasetSettings):
    """Distances between stimuli that were computed elsewhere: RDMs of participants and regions."""

    built_by = "brainbench.data.layouts.rdms:Rdms"
    holds = "distances"
    example = {"rdms": "{subject}.npy", "rois": ["V1"]}
    name: Literal["rdm"] = "rdm"
    stimuli: str = "stimuli.csv"
    """Table of the stimuli, relative to root: `id`, `path` or `text`, any labels; its order is that of the RDMs, unless
    a file names its stimuli."""
    modality: Literal["image", "text", "sound"] = "image"
    """What a stimulus is."""
    rdms: str = Field("{subject}.npy", examples=["rdms.hdf5", "{subject}_{roi}.npy", "92_brainRDMs.mat"])
    """RDMs, relative to root: .npy, .mat, or rsatoolbox's .hdf5; with {subject} and {roi} where files are many."""
    rois: list[str] | None = Field(None, examples=[["V1", "LO"]])
    """Names of the regions: those of a file that names none, in its order; else those that are taken of a file."""
    variable: str | None = Field(None, examples=["RDMs"])
    """Variable of a .mat file; without it the only one that can be RDMs."""

    @field_validator("rdms")
    @classmethod
    def _known(cls, value: str) -> str:
        if not value.endswith((".npy", ".mat", ".h5", ".hdf5")):
            raise ValueError(f"'{value}' is none of .npy, .mat, .h5, .hdf5")
        return check_pattern(value, ("subject", "roi")) or value

    @field_validator("rois")
    @classmethod
    def _each_once(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("name every region once, or none: leave `rois` out")
        return value


class StimuliSettings(DatasetSettings):
    """Images or texts that nobody was shown: a folder, for `kind: lens`."""

    built_by = "brainbench.data.layouts.shown:Shown"
    holds = "nothing"
    name: Literal["stimuli"] = "stimuli"
    texts: str | None = Field(None, examples=["texts.txt"])
    """File with a text a line, relative to root; without it the stimuli are the images of the folder, whose subfolders
    are their label `category`."""

    @property
    def modality_shown(self) -> str:
        """See `DatasetSettings.modality_shown`."""
        return "text" if self.texts else "image"
