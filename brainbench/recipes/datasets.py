"""The ``dataset:`` section, one model per data set.

A third party adds a model under the entry point ``brainbench.recipes.datasets`` beside its data set.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Annotated, Any, Literal, Union

from pydantic import Field

from brainbench.recipes.base import Section


class DatasetSettings(Section):
    """What every data set's section has."""

    name: str
    """Which data set (`brainbench list datasets`)."""
    root: str | None = None
    """Folder of the data set; without it BRAINBENCH_DATA/<name>."""
    subjects: Literal["all"] | list[str] = "all"
    """`all`, or a list of subjects by name."""


class AliceSettings(DatasetSettings):
    """Story listening (Brennan et al. 2016): ROI time courses and a word-level TextGrid."""

    name: Literal["alice"] = "alice"
    radius_mm: Literal[6, 10] = 10
    """Radius of the ROI spheres, in mm."""
    nuisance: list[Literal["motion"]] = ["motion"]
    """Regressors of no interest, removed inside training folds."""


class HaxbySettings(DatasetSettings):
    """Object viewing (Haxby et al. 2001): eight categories in blocks."""

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

    name: Literal["miyawaki2008"] = "miyawaki2008"
    stimuli: Literal["figures", "random", "both"] = "figures"
    """Which runs to use: the letters and shapes, the random patterns (nilearn's layout only), or both."""


class FolderSettings(DatasetSettings):
    """The user's own data: a `stimuli.csv` and responses, one folder per subject."""

    name: Literal["folder"] = "folder"
    modality: Literal["image", "text", "word"] = "image"
    """What the column `path` or `text` of stimuli.csv holds."""
    responses: str = "{subject}/responses.npy"
    """Responses of a subject, relative to root: .npy, .csv, .nii/.nii.gz, or .gii."""
    design: str = "{subject}/design.csv"
    """Rows of the responses, relative to root: `stimulus`, `run` and any labels (continuous designs: `time`)."""
    mask: str | None = None
    """Mask image for NIfTI responses, relative to root."""
    rois: str | None = None
    """ROIs, relative to root: an atlas image with a label table beside it, or a CSV with columns target, roi."""
    continuous: bool = False
    """True when rows are time points and stimuli.csv has onset and duration."""
    t_r: float | None = Field(None, gt=0)
    """Seconds between volumes; continuous designs only."""
    simulated: bool = False
    """Say that no brain was measured."""


class BidsSettings(DatasetSettings):
    """A BIDS-derivatives folder as fMRIPrep leaves it, or GLMsingle outputs beside it."""

    name: Literal["bids"] = "bids"
    task: str
    """Task label."""
    space: str = "MNI152NLin2009cAsym"
    """Space label of the preprocessed images."""
    derivatives: str = "derivatives/fmriprep"
    """Folder of the preprocessed images, relative to root."""
    stimuli: str = "stimuli.csv"
    """Table with columns `id` and `path` or `text`, relative to root."""
    modality: Literal["image", "text"] = "image"
    """What the stimuli are."""
    stimulus_column: str = "stim_file"
    """Column of events.tsv that names the stimulus of each event."""
    betas: Literal["trial", "block", "glmsingle"] = "trial"
    """One beta per event (least squares all), one per stimulus and run, or GLMsingle's files."""
    confounds: list[str] = ["motion", "wm_csf"]
    """Strategy for nilearn's `load_confounds`."""
    high_pass_s: float | None = Field(128.0, gt=0)
    """Longest period kept by the drift model, in seconds."""
    smoothing_fwhm_mm: float | None = Field(None, gt=0)
    """Smoothing before the GLM, in mm."""
    hrf_model: Literal["glover", "spm"] = "glover"
    """Haemodynamic response of the GLM."""
    atlas: str | None = None
    """Atlas image with integer labels, relative to root; its table lies beside it (.tsv or .csv: index, name)."""
    mask: str | None = None
    """Brain mask, relative to root; without it fMRIPrep's own."""


class PlantedRoi(Section):
    """One simulated ROI: which layer drives it, how many voxels, how clean."""

    roi: str
    """Name of the ROI."""
    encoder: str | None = None
    """Name of one of the recipe's encoders; None plants no signal (a null ROI)."""
    layer: str | None = None
    """Layer that drives the ROI."""
    n_voxels: int = Field(40, ge=1)
    """Number of voxels."""
    ceiling: float = Field(0.7, ge=0, lt=1)
    """Highest Pearson r any model can reach on the mean over repeats."""


class SimulatedSettings(DatasetSettings):
    """Participants with planted layers and known ceilings: the ground truth. Nothing here was measured."""

    name: Literal["simulated"] = "simulated"
    design: Literal["images", "sentences", "story"] = "images"
    """Photographs, sentences, or a continuous story with an HRF and drift."""
    images: str | None = None
    """Folder of images; without it crops of the photographs that scikit-learn and scikit-image install."""
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


_BUILT_IN: tuple[type[DatasetSettings], ...] = (
    AliceSettings,
    BidsSettings,
    FolderSettings,
    HaxbySettings,
    MiyawakiSettings,
    SimulatedSettings,
)


def _models() -> tuple[type[DatasetSettings], ...]:
    return _BUILT_IN + tuple(point.load() for point in entry_points(group="brainbench.recipes.datasets"))


def settings_models() -> dict[str, type[DatasetSettings]]:
    """Return the model of every known data set by name."""
    return {model.model_fields["name"].default: model for model in _models()}


AnyDataset = Annotated[Union[_models()], Field(discriminator="name")]  # noqa: UP007 (built at run time)


def dataset_settings(values: dict[str, Any]) -> DatasetSettings:
    """Return validated settings from plain values, for use from Python."""
    from pydantic import TypeAdapter

    settings: DatasetSettings = TypeAdapter(AnyDataset).validate_python(values)
    return settings
