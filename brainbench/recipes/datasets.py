"""The ``dataset:`` section, one model per data set.

A third party adds a model under the entry point ``brainbench.recipes.datasets`` beside its data set.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from brainbench.core.errors import did_you_mean
from brainbench.recipes.base import Section
from brainbench.recipes.catalogue import Catalogue, Noun


class DatasetSettings(Noun):
    """What every data set's section has."""

    needs_root: ClassVar[bool] = True
    """Whether its files lie in a folder; a simulation has none."""
    keeps_own_root: ClassVar[bool] = False
    """Whether, without a `root`, the library that downloads it knows where it lies."""
    fetched_by: ClassVar[str | None] = None
    """Function that downloads it to a folder, as ``module:name``, where its card does not say what to download."""
    name: str
    """Which data set (`brainbench list datasets`)."""
    root: str | None = None
    """Folder of the data set; without it BRAINBENCH_DATA/<name>."""
    subjects: Literal["all"] | list[str] = "all"
    """`all`, or a list of subjects by name."""


class AliceSettings(DatasetSettings):
    """Story listening (Brennan et al. 2016): ROI time courses and a word-level TextGrid."""

    built_by = "brainbench.data.layouts.alice:Alice"
    name: Literal["alice"] = "alice"
    radius_mm: Literal[6, 10] = 10
    """Radius of the ROI spheres, in mm."""
    nuisance: list[Literal["motion"]] = ["motion"]
    """Regressors of no interest, removed inside training folds."""


class HaxbySettings(DatasetSettings):
    """Object viewing (Haxby et al. 2001): eight categories in blocks."""

    built_by = "brainbench.data.layouts.haxby:Haxby"
    fetched_by = "brainbench.data.fetch:fetch_haxby"
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
    fetched_by = "brainbench.data.fetch:fetch_miyawaki"
    name: Literal["miyawaki2008"] = "miyawaki2008"
    stimuli: Literal["figures", "random", "both"] = "figures"
    """Which runs to use: the letters and shapes, the random patterns (nilearn's layout only), or both."""


class FolderSettings(DatasetSettings):
    """The user's own data: a `stimuli.csv`, responses, and a table of their rows per subject."""

    built_by = "brainbench.data.layouts.folder:Folder"
    name: Literal["folder"] = "folder"
    stimuli: str = "stimuli.csv"
    """Table of the stimuli, relative to root: `id`, `path` or `text`, any labels; `onset` when continuous."""
    modality: Literal["image", "text", "word", "sound"] = "image"
    """What a stimulus is: an image, a text of its own, one word of a story, or a piece of a sound."""
    responses: str = "{subject}/responses.npy"
    """Responses, relative to root: .npy, .csv, .tsv, .nii, .nii.gz, .dtseries.nii, .dscalar.nii; with {hemi}, .gii."""
    design: str | None = "{subject}/design.csv"
    """Rows of the responses, relative to root: `stimulus`, `run`, any labels (continuous: `time`, `run`)."""
    mask: str | None = None
    """Mask image, relative to root; NIfTI volumes need one, tables and arrays may have one, for maps."""
    rois: str | None = None
    """ROIs, relative to root: a table (target, roi), an atlas image, .dlabel.nii, or label.gii with {hemi}."""
    ceiling: str | None = None
    """One ceiling per target, in units of Pearson r, relative to root."""
    ncsnr: str | None = None
    """One noise-ceiling SNR per target (Allen et al. 2022), relative to root."""
    nuisance: str | None = None
    """Regressors of no interest, one row per response, relative to root."""
    background: str | None = None
    """Image that maps are drawn on, relative to root."""
    continuous: bool = False
    """True when rows are time points and stimuli.csv has `onset`."""
    t_r: float | None = Field(None, gt=0)
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
        if self.aligned_targets and self.flat_targets == "drop":
            raise ValueError("`aligned_targets: true` needs `flat_targets: refuse`: dropping moves targets")
        return self


class BidsSettings(DatasetSettings):
    """A BIDS-derivatives folder as fMRIPrep leaves it, or GLMsingle outputs beside it."""

    built_by = "brainbench.data.layouts.bids.dataset:Bids"
    name: Literal["bids"] = "bids"
    task: str = Field(pattern=r"^[A-Za-z0-9+]+$")
    """Task label."""
    space: str = Field("MNI152NLin2009cAsym", pattern=r"^[A-Za-z0-9+]+$")
    """Space label of the preprocessed images: volumes, pairs of surfaces (`fsaverage5`), or CIFTI (`fsLR`)."""
    resolution: str | None = None
    """Label after `res-` or `den-`, where a space comes in several resolutions."""
    derivatives: str = "derivatives/fmriprep"
    """Folder of the preprocessed images, relative to root."""
    stimuli: str = "stimuli.csv"
    """Table with columns `id` and `path` or `text`, relative to root."""
    modality: Literal["image", "text"] = "image"
    """What the stimuli are."""
    stimulus_column: str = "stim_file"
    """Column of events.tsv that names the stimulus of each event; n/a marks events that show none."""
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
    smoothing_fwhm_mm: float | None = Field(None, gt=0)
    """Smoothing of volumes before the GLM, in mm."""
    hrf_model: Literal["glover", "spm"] = "glover"
    """Haemodynamic response of the GLM."""
    atlas: str | None = None
    """Atlas, relative to root: an image of whole-number labels with its table (index, name) beside it, a .dlabel.nii
    for CIFTI, or label.gii with {hemi} for surfaces."""
    empty_rois: Literal["refuse", "drop"] = "drop"
    """What happens to regions of the atlas without a target."""
    mask: str | None = None
    """Brain mask of volumes, relative to root; without it the voxels that are in fMRIPrep's mask of every run."""

    @field_validator("atlas", "mask", "glmsingle")
    @classmethod
    def _placeholders_known(cls, value: str | None, info: ValidationInfo) -> str | None:
        value = check_pattern(value, ("subject",) if info.field_name == "mask" else ("subject", "hemi"))
        if value is not None and value.endswith(".gii") != ("{hemi}" in value):
            raise ValueError("GIFTI files come in pairs: write {hemi} where they say L and R, and in no other path")
        return value

    @property
    def labels_inside(self) -> bool:
        """Whether the atlas holds the names of its regions."""
        return self.atlas is not None and self.atlas.endswith((".gii", ".dlabel.nii"))

    @model_validator(mode="after")
    def _drift_once(self) -> Self:
        if self.betas == "glmsingle":
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


def check_pattern(value: str | None, allowed: tuple[str, ...]) -> str | None:
    """Refuse placeholders that a path may not have."""
    for name in re.findall(r"\{([^{}]*)\}", value or ""):
        if name not in allowed:
            known = ", ".join(f"{{{one}}}" for one in allowed) or "none"
            near = did_you_mean(name, allowed)
            raise ValueError(f"unknown placeholder '{{{name}}}'{near} (allowed: {known})")
    if value is not None and not value.strip():
        raise ValueError("a path cannot be empty")
    return value


class BandPower(Section):
    """Makes trials the stimuli, and the band power of electrode groups the responses (`kind: encode`)."""

    tmin: float | None = None
    """Start of the part whose power is predicted, in seconds after the event; null takes the part that encoders read,
    which asks what their layers keep of it. A later part asks what they foretell."""
    tmax: float | None = None
    """Its end, in seconds after the event."""
    bands: dict[str, list[float]] = Field(
        {"theta": [4.0, 8.0], "alpha": [8.0, 13.0], "beta": [13.0, 30.0]}, min_length=1
    )
    """Bands by name, in Hz."""
    groups: dict[str, list[str]] | None = Field(None, min_length=1)
    """Electrodes of each region, by name; null groups them by their 10-10 names."""
    detrend: bool = True
    """Take each run's linear trend out of the power: drifting electrodes would let the order of trials predict it."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if (self.tmin is None) != (self.tmax is None):
            raise ValueError("`tmin` and `tmax` go together: the later part that is predicted, or neither")
        if self.tmin is not None and self.tmax is not None and self.tmax <= self.tmin:
            raise ValueError(f"`tmax` ({self.tmax:g} s) must lie after `tmin` ({self.tmin:g} s)")
        for name, band in self.bands.items():
            if len(band) != 2 or not 0 < band[0] < band[1]:
                raise ValueError(f"band '{name}' is two rising frequencies above 0 Hz, got {band}")
        return self


class RecordingSettings(DatasetSettings):
    """What every data set of continuous sensor recordings has: the way from a recording to trials."""

    band: list[float] | None = Field([8.0, 30.0], min_length=2, max_length=2)
    """Pass band in Hz, filtered on the continuous recording before trials are cut; null leaves it as it is."""
    filter: Literal["fir", "iir"] = "fir"
    """MNE's default FIR, or a Butterworth of order 4; both with zero phase."""
    tmin: float = 0.5
    """Start of a trial, in seconds after its event."""
    tmax: float = 3.5
    """End of a trial, in seconds after its event."""
    sfreq: float | None = Field(None, gt=0)
    """Resample to this rate in Hz, after filtering; null keeps the recorded rate."""
    reference: Literal["as_recorded", "average"] = "as_recorded"
    """Keep the recorded reference, or subtract the mean of the chosen channels."""
    channels: Literal["all"] | list[str] = "all"
    """`all` channels that measure the brain, or a list of names."""
    exclude_channels: list[str] = []
    """Channels to leave out, such as broken ones."""
    channel_types: dict[str, str] = {}
    """What single channels are where a file does not say so, or says it wrong, such as {EXG1: eog, X3: eeg}."""
    other_channels: Literal["leave_out", "keep"] = "leave_out"
    """Channels that name or values show to be eyes, heart, muscle, breath or triggers: left out, or decoded too."""
    bad_channels: Literal["leave_out", "interpolate", "keep"] = "leave_out"
    """Channels that a file calls bad: left out of all runs of the subject, interpolated, or used."""
    bad_stretches: Literal["leave_out", "keep"] = "leave_out"
    """Trials that touch a stretch marked BAD, or span an interruption of the recording: left out, or used."""
    projectors: Literal["apply", "leave"] = "apply"
    """Projectors of a file that are not applied yet: applied to all channels before any is left out, or never."""
    repeated_trials: Literal["leave_out", "keep"] = "leave_out"
    """Trials whose samples stand in an earlier run of the subject too: left out, or used (a leak, which is said)."""
    band_power: BandPower | None = None
    """With `kind: encode`: trials are the stimuli, and the band power of electrode groups the responses."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.tmax <= self.tmin:
            raise ValueError(f"`tmax` ({self.tmax:g} s) must lie after `tmin` ({self.tmin:g} s)")
        later = self.band_power.tmin if self.band_power is not None else None
        if later is not None and later < self.tmax:
            raise ValueError(
                f"`band_power.tmin` ({later:g} s) must not lie before `tmax` ({self.tmax:g} s), the end of what "
                "encoders read; leave it out to take the same part"
            )
        if self.band is not None and not 0 <= self.band[0] < self.band[1]:
            raise ValueError(f"`band` must rise from 0 Hz or more, got {self.band}")
        return self


class PhysionetMiSettings(RecordingSettings):
    """EEG Motor Movement/Imagery (Schalk et al. 2004): 109 subjects, 64 channels, 160 Hz."""

    built_by = "brainbench.recordings.physionet:PhysionetMi"
    name: Literal["physionet-mi"] = "physionet-mi"
    paradigm: Literal[
        "imagery_left_right",
        "imagery_fists_feet",
        "executed_left_right",
        "executed_fists_feet",
        "left_right",
        "fists_feet",
        "rest_left_right",
    ] = "imagery_left_right"
    """Which runs: imagined left or right fist (4, 8, 12), imagined fists or feet (6, 10, 14), executed ones, or both
    kinds together; `rest_left_right` has rest (1, 2) besides, for what reads recordings whole."""


class MoabbSettings(RecordingSettings):
    """Any data set of MOABB, by the name of its class."""

    built_by = "brainbench.recordings.moabb:Moabb"
    keeps_own_root = True
    name: Literal["moabb"] = "moabb"
    dataset: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    """Class in `moabb.datasets`, such as BNCI2014_001."""
    parameters: dict[str, Any] = {}
    """Arguments of that class."""
    events: list[str] | None = Field(None, min_length=2)
    """Classes to keep; without it all of the data set's."""
    tmin: float = 0.0
    """Start of a trial, in seconds after the data set's task interval begins."""
    tmax: float = 3.0
    """End of a trial, in seconds after the data set's task interval begins."""


class EegFolderSettings(RecordingSettings):
    """The user's own recordings (EDF, BDF, GDF, BrainVision, EEGLAB, FIF) with a table of events."""

    built_by = "brainbench.recordings.eeg_folder:EegFolder"
    name: Literal["eeg-folder"] = "eeg-folder"
    recordings: str = "recordings.csv"
    """Table of the files, relative to root: `path`, `subject`, and where there are several `session`, `run`."""
    events: str = "events.csv"
    """Table of the events, relative to root: `path`, `onset` in seconds, `label`; `annotations`, the files' own (where
    a file has none, those of its stim channel); or `stim`, the codes of a stim channel."""
    stim_channel: str | None = None
    """Channel that holds the codes, where it is not the one of kind stim that MNE takes."""
    labels: dict[str, str] | None = None
    """Labels to keep and what to call them, such as {T1: left, T2: right}; without it every label as it stands."""
    unit: Literal["volt", "microvolt"] = "volt"
    """What the numbers are when a file does not say; MNE takes them for volts."""
    montage: str | None = None
    """Name of an MNE montage whose positions the channel names stand for; null keeps the files' own positions."""
    kind: Literal["eeg", "seeg", "ecog", "mag", "grad"] = "eeg"
    """Kind of channel that is decoded."""


class PlantedRoi(Section):
    """One simulated ROI: which layer drives it, how many voxels, how clean."""

    roi: str
    """Name of the ROI."""
    encoder: str | None = None
    """Name of one of the recipe's encoders; None plants no signal (a null ROI)."""
    layer: str | None = None
    """Layer that drives the ROI."""
    prefers: str | None = None
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
    name: Literal["simulated"] = "simulated"
    design: Literal["images", "sentences", "story"] = "images"
    """Photographs, sentences, or a continuous story with an HRF and drift."""
    images: str | None = None
    """Folder of images (`root` says the same), or `drawings`: pictures of shapes, textures and letters, 32 x 32, whose
    label `category` a ROI can prefer; without it crops of the photographs that scikit-learn installs."""
    text: str | None = None
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


DATASETS = Catalogue(
    "datasets", "data set", DatasetSettings, tag="name", section="dataset", room="simulation",
    beside=("brainbench.recipes.photographs", "brainbench.recipes.languages"),
)  # fmt: skip
"""Settings of data sets by name; each builds a `brainbench.data.base.Dataset`, a simulation with encoders."""

if TYPE_CHECKING:
    AnyDataset = DatasetSettings
else:
    AnyDataset = Annotated[DatasetSettings, DATASETS]


def dataset_settings(values: dict[str, Any]) -> DatasetSettings:
    """Return validated settings from plain values, for use from Python."""
    return DATASETS.settings(values)
