"""The recipe: one strict model per kind, joined on ``kind:``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from brainbench.core.errors import did_you_mean
from brainbench.evaluation.metrics import target_metrics
from brainbench.recipes.base import Section, choice
from brainbench.recipes.datasets import (
    AnyDataset,
    DatasetSettings,
    RecordingSettings,
    SimulatedSettings,
    dataset_settings,
)
from brainbench.recipes.encoders import AnyEncoder, EegSettings
from brainbench.recipes.pipelines import (
    PARTIAL,
    AnyPipeline,
    BandResolved,
    Evaluation,
    PipelineSettings,
    TimeResolved,
)
from brainbench.recipes.presets import Preset, with_preset
from brainbench.recipes.reconstruction import (
    AnyCodec,
    AnyGenerator,
    Calibration,
    ConditionOn,
    ImageMetric,
    SmallSettings,
)

HoldOut = Literal["stimulus", "run"]
ScoreMetric = Annotated[str, choice(target_metrics)]


def _distinct_names(values: list[Any], what: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} '{value}' is given twice")
        seen.add(value)


def _check_planted(dataset: DatasetSettings, names: list[str]) -> None:
    """Refuse a simulation that plants an encoder which the recipe does not have."""
    if isinstance(dataset, SimulatedSettings):
        for planted in dataset.rois:
            if planted.encoder is not None and planted.encoder not in names:
                raise ValueError(
                    f"`dataset.rois` plants encoder '{planted.encoder}' in {planted.roi}, which is not one of {names}"
                )


class Folds(Section):
    """How rows are dealt into test folds."""

    scheme: Literal["auto", "k-fold", "leave-one-out", "contiguous", "predefined", "grouped", "held-out-clusters"] = (
        "auto"
    )
    """`auto`: k-fold over stimuli, leave-one-out over runs, contiguous blocks for continuous designs. `predefined`: a
    label names the fold of each row; `grouped`: k-fold over the values of a label, such as categories;
    `held-out-clusters`: whole clusters of alike stimuli are held out, one a fold."""
    n_splits: int = Field(5, ge=2, le=1000)
    """Number of folds (k-fold, contiguous, grouped, held-out-clusters)."""
    trim_s: float = Field(20.0, ge=0)
    """Seconds dropped from training on both sides of a contiguous test block."""
    column: str | None = None
    """Label of rows or stimuli that holds the fold (predefined) or the groups (grouped); rows labelled `train` are
    trained on and never tested (predefined)."""
    cluster_by: ConditionOn | None = None
    """Features in which stimuli are alike (held-out-clusters)."""

    @model_validator(mode="after")
    def _only_what_is_used(self) -> Self:
        if (self.scheme in ("predefined", "grouped")) != (self.column is not None):
            raise ValueError("`column` is given with `scheme: predefined` or `grouped`, and only then")
        if (self.scheme == "held-out-clusters") != (self.cluster_by is not None):
            raise ValueError("`cluster_by` is given with `scheme: held-out-clusters`, and only then")
        return self


class Scheme(Section):
    """A further way to hold out, shown beside the main one."""

    hold_out: list[HoldOut] = Field(min_length=1)
    """What training never sees: [stimulus], [run] or [stimulus, run]."""
    folds: Folds = Folds()
    """How rows are dealt into test folds."""
    note: str = ""
    """A sentence the report prints beside its scores."""

    @field_validator("hold_out")
    @classmethod
    def _each_once(cls, value: list[HoldOut]) -> list[HoldOut]:
        _distinct_names(value, "hold_out")
        return value

    @property
    def label(self) -> str:
        """Name of the scheme in tables: ``stimulus+run``, the label that defines its folds, or its clusters."""
        if self.folds.scheme == "held-out-clusters":
            return self.folds.scheme
        return self.folds.column or "+".join(self.hold_out)


class ResponseSettings(Section):
    """What happens to the responses before any fit; nothing here looks at features or labels."""

    average_repeats: bool = True
    """Average the showings of a stimulus within what is held out together (trial designs)."""
    center: Literal["none", "run"] = "none"
    """Subtract every run's own mean from its rows."""
    scale: Literal["none", "run"] = "none"
    """Divide by every run's own standard deviation."""


class Reduction(Section):
    """Reduction of features, fitted inside training folds."""

    method: Literal["none", "pca", "random_projection"] = "none"
    """Principal components, or a sparse random projection."""
    n_components: int = Field(100, ge=1)
    """Number of components kept."""


class Timing(Section):
    """From words or frames to volumes; continuous designs only."""

    resample: Literal["sum", "mean", "lanczos"] = "sum"
    """Sum of impulses at word onsets, mean in each volume's window, or Lanczos interpolation."""
    hrf: Literal["glover", "spm", "none"] = "glover"
    """Haemodynamic response that features are convolved with."""
    delays_s: list[float] = []
    """FIR delays in seconds; with `hrf: none`."""
    high_pass_s: float | None = Field(128.0, gt=0)
    """Longest period kept, in seconds; drifts are projected out inside every fold."""
    regress_nuisance: bool = True
    """Regress motion and other nuisance out, fitted on training rows."""

    @model_validator(mode="after")
    def _delays_or_hrf(self) -> Self:
        if bool(self.delays_s) == (self.hrf != "none"):
            raise ValueError("give either an `hrf` or `delays_s` with `hrf: none`")
        return self


class Head(Section):
    """Ridge regression from features to responses, a penalty per target."""

    name: Literal["ridge"] = "ridge"
    """Which head."""
    log10_alphas: list[float] = Field([-3.0, 5.0], min_length=2, max_length=2)
    """Powers of ten of the smallest and largest penalty."""
    n_alphas: int = Field(17, ge=2, le=200)
    """Number of penalties, evenly spaced in the logarithm."""
    inner_folds: int = Field(4, ge=2, le=50)
    """Grouped folds inside the training rows that choose the penalty."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.log10_alphas[0] >= self.log10_alphas[1]:
            raise ValueError("`log10_alphas` must rise: [smallest, largest]")
        return self


class Ceiling(Section):
    """The best score that the repeats allow."""

    method: Literal["auto", "split_half", "between_subjects", "ncsnr", "none"] = "auto"
    """`auto` takes repeats where there are any, else other subjects where targets are aligned."""
    n_splits: int = Field(100, ge=1, le=10_000)
    """Random halves averaged (split_half)."""


class Significance(Section):
    """Permutation test of every score."""

    n_permutations: int = Field(1000, ge=0, le=1_000_000)
    """Permutations; p = (b + 1) / (n + 1)."""
    null: Literal["auto", "block", "within_run", "stimulus", "rows"] = "auto"
    """What is exchanged: blocks of time, rows within runs, whole stimuli, or rows within folds."""
    block_s: float = Field(20.0, gt=0)
    """Length of a block in seconds (block)."""


class Bootstrap(Section):
    """Confidence by resampling stimuli (or blocks of time) and subjects."""

    n_draws: int = Field(1000, ge=0, le=100_000)
    """Bootstrap draws."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Coverage of the intervals."""


class Unique(Section):
    """Unique variance of each model layer over a set of controls (nested models)."""

    over: list[str] | Literal["controls"] = "controls"
    """Names of the encoders in the smaller model, or all controls."""


class ZeroShot(Section):
    """Leave two stimuli out: a 2 vs 2 test of whether features generalise to unseen stimuli."""

    n_shuffles: int = Field(1000, ge=1, le=100_000)
    """Refitted shuffles of which features belong to which stimulus."""


class Decoder(Section):
    """A classifier from responses to a label."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """How the report calls it; unique in the recipe."""
    classifier: Literal["shrinkage_lda", "ridge_classifier", "logistic", "linear_svm"] = "shrinkage_lda"
    """Which scikit-learn classifier; everything it fits is fitted on training rows."""


class Decoding(Section):
    """Decoding of a label from the responses."""

    label: str
    """Row label to decode, such as `category`."""
    rois: list[str] = ["*"]
    """ROIs by name or glob."""
    decoders: list[Decoder] = Field(min_length=1)
    """Classifiers."""
    pairwise: bool = True
    """Also fit and score every pair of classes."""

    @field_validator("decoders")
    @classmethod
    def _distinct(cls, value: list[Decoder]) -> list[Decoder]:
        _distinct_names([decoder.name for decoder in value], "decoder")
        return value


class Slurm(Section):
    """What one SLURM job asks for, with `engine: slurm`."""

    nodes: int = Field(1, ge=1)
    """Number of jobs."""
    queue: str | None = None
    """Partition."""
    account: str | None = None
    """Account that is charged."""
    cores: int = Field(8, ge=1)
    """Cores of a job; each computes a unit at a time (threads_per_unit: 1)."""
    memory_gb: float = Field(32.0, gt=0)
    """Memory of a job."""
    walltime: str = Field("04:00:00", pattern=r"^(\d+-)?\d{1,2}:\d{2}:\d{2}$")
    """Longest time of a job, [D-]HH:MM:SS."""
    interface: str | None = None
    """Network interface that jobs and scheduler share, such as ib0."""
    directives: list[str] = []
    """Further #SBATCH directives, such as `--constraint=avx2`."""


class Execution(Section):
    """How the recipe runs; never what it computes."""

    engine: Literal["local", "dask", "slurm"] = "local"
    """Where units of work run: threads of this process, a dask cluster, or jobs of a SLURM cluster."""
    address: str | None = Field(None, pattern=r"^(tcp|tls|ucx|ws|wss)://.+:\d+$")
    """Scheduler of a running dask cluster (tcp://HOST:PORT); without it `dask` starts workers on this machine."""
    slurm: Slurm = Slurm()
    """What one SLURM job asks for."""
    jobs: int = Field(0, ge=0)
    """Processes; 0 takes one per core."""
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """Where encoders run: auto, cpu, mps, cuda or cuda:N."""
    threads_per_unit: int = Field(1, ge=1)
    """Threads a unit of work computes with; recorded, since BLAS may round differently with another count."""
    batch_size: int | None = Field(None, ge=1)
    """Stimuli per forward pass; None chooses by memory."""
    memory_gb: float | None = Field(None, gt=0)
    """Refuse to start above this estimate; None takes what the machine has free."""


class _Recipe(Section):
    title: str = ""
    """One line that heads the report."""
    seed: int = Field(0, ge=0)
    """Seed of everything random."""
    dataset: AnyDataset
    """Which data."""
    hold_out: list[HoldOut] = Field(["stimulus"], min_length=1)
    """What training never sees: [stimulus], [run] or [stimulus, run]."""
    folds: Folds = Folds()
    """How rows are dealt into test folds."""
    also: list[Scheme] = []
    """Further ways to hold out, shown beside the main one."""
    responses: ResponseSettings = ResponseSettings()
    """What happens to the responses before any fit."""
    significance: Significance = Significance()
    """Permutation tests."""
    bootstrap: Bootstrap = Bootstrap()
    """Confidence intervals."""
    execution: Execution = Execution()
    """How it runs; never changes a result."""

    @field_validator("hold_out")
    @classmethod
    def _each_once(cls, value: list[HoldOut]) -> list[HoldOut]:
        _distinct_names(value, "hold_out")
        return value

    @property
    def schemes(self) -> list[Scheme]:
        """The main way to hold out, then the others."""
        return [Scheme(hold_out=self.hold_out, folds=self.folds), *self.also]

    @model_validator(mode="after")
    def _distinct_schemes(self) -> Self:
        _distinct_names([scheme.label for scheme in self.schemes], "scheme")
        return self


class EncodeRecipe(_Recipe):
    """Fit encoding models and report which layer explains which region."""

    kind: Literal["encode"] = "encode"
    """What the recipe does."""
    encoders: list[AnyEncoder] = Field(min_length=1)
    """Models and the controls they are held against."""
    reduction: Reduction = Reduction()
    """Reduction of features, fitted inside training folds."""
    timing: Timing = Timing()
    """From words to volumes; continuous designs only."""
    head: Head = Head()
    """From features to responses."""
    metrics: list[ScoreMetric] = Field(["pearson_r", "r2"], min_length=1)
    """Scores per target and ROI (`brainbench list metrics`), each once; the first one is tested and leads the report."""
    ceiling: Ceiling = Ceiling()
    """Noise ceilings."""
    unique: Unique | None = None
    """Unique variance over controls."""
    similarity: list[Literal["rsa", "cka"]] = []
    """Similarity of layers and ROIs without a fit (trial designs)."""
    zero_shot: ZeroShot | None = None
    """Leave-two-stimuli-out 2 vs 2 test."""
    decoding: Decoding | None = None
    """Decoding of a label from the responses, beside the encoding models."""

    @field_validator("encoders")
    @classmethod
    def _distinct_encoders(cls, value: list[Any]) -> list[Any]:
        _distinct_names([encoder.name for encoder in value], "encoder name")
        return value

    @field_validator("metrics")
    @classmethod
    def _distinct_metrics(cls, value: list[str]) -> list[str]:
        _distinct_names(value, "metric")
        return value

    @model_validator(mode="after")
    def _signals(self) -> Self:
        networks = [encoder for encoder in self.encoders if isinstance(encoder, EegSettings)]
        recording = self.dataset if isinstance(self.dataset, RecordingSettings) else None
        if networks and (recording is None or recording.band_power is None):
            raise ValueError(
                f"encoder '{networks[0].name}' reads signals: `dataset` is a recording with a `band_power` section"
            )
        for encoder in networks:
            assert recording is not None
            encoder.resolve(recording.model_dump(mode="json"))
            try:
                other = dataset_settings(encoder.recordings)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                key = str(first["loc"][-1])
                near = did_you_mean(key, type(recording).model_fields) if first["type"] == "extra_forbidden" else ""
                raise ValueError(f"encoder '{encoder.name}': `trained_on.{key}`: {first['msg']}{near}") from None
            for name in ("band", "filter", "sfreq", "reference", "channels", "exclude_channels"):
                if getattr(other, name, None) != getattr(recording, name):
                    raise ValueError(f"encoder '{encoder.name}': `trained_on.{name}` must be that of `dataset`")
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        names = [encoder.name for encoder in self.encoders]
        if self.unique is not None:
            wanted = self.unique.over
            if wanted == "controls":
                if not any(encoder.role == "control" for encoder in self.encoders):
                    raise ValueError("`unique: {over: controls}` needs an encoder with `role: control`")
            else:
                unknown = [name for name in wanted if name not in names]
                if unknown:
                    raise ValueError(f"`unique.over` names unknown encoders {unknown}; known: {names}")
        _check_planted(self.dataset, names)
        return self


class DecodeRecipe(_Recipe):
    """Decode a label from the responses, or from trials of a sensor recording."""

    kind: Literal["decode"] = "decode"
    """What the recipe does."""
    decoding: Decoding | None = None
    """What is decoded from responses, and with which classifiers."""
    pipelines: list[AnyPipeline] = []
    """Decoders of trials (recordings); they take the place of `decoding`."""
    evaluate: list[Evaluation] = []
    """How trials are held out (recordings); the first one leads the report."""
    time_resolved: TimeResolved | None = None
    """Also decode from a window that slides over the trial (recordings)."""
    bands: BandResolved | None = None
    """Also decode from one frequency band at a time (recordings)."""

    @field_validator("pipelines")
    @classmethod
    def _distinct_pipelines(cls, value: list[Any]) -> list[Any]:
        _distinct_names([pipeline.name for pipeline in value], "pipeline")
        return value

    @field_validator("evaluate")
    @classmethod
    def _distinct_evaluations(cls, value: list[Evaluation]) -> list[Evaluation]:
        _distinct_names([evaluation.scheme for evaluation in value], "scheme")
        return value

    @model_validator(mode="after")
    def _responses_or_trials(self) -> Self:
        if (self.decoding is not None) == bool(self.pipelines):
            raise ValueError("give either `decoding` (responses) or `pipelines` (trials of recordings)")
        if bool(self.pipelines) != bool(self.evaluate):
            raise ValueError("`pipelines` and `evaluate` go together: which decoders, and how trials are held out")
        for name in ("time_resolved", "bands"):
            part: TimeResolved | BandResolved | None = getattr(self, name)
            if part is not None:
                self._check_part(name, part.pipeline)
        if not self.pipelines:
            return self
        if not isinstance(self.dataset, RecordingSettings):
            raise ValueError(f"`pipelines` need a recording; '{self.dataset.name}' takes `decoding`")
        for name in ("hold_out", "folds", "also", "responses"):
            if getattr(self, name) != type(self).model_fields[name].get_default(call_default_factory=True):
                raise ValueError(f"`{name}` is for `decoding`; with `pipelines` it is `evaluate` that holds out")
        if self.significance.null not in ("auto", "within_run"):
            raise ValueError("with `pipelines` labels are permuted within runs: `significance.null: within_run`")
        if self.dataset.band_power is not None:
            raise ValueError(
                "`dataset.band_power` makes trials the stimuli of `kind: encode`; decoding has no use for it"
            )
        return self

    def _check_part(self, section: str, wanted: str | None) -> None:
        suited = [pipeline.name for pipeline in self.pipelines if pipeline.decoder in PARTIAL]
        if not suited:
            raise ValueError(f"`{section}` needs a pipeline on covariances ({', '.join(PARTIAL)})")
        if wanted is not None and wanted not in suited:
            raise ValueError(
                f"`{section}.pipeline` '{wanted}' is not a pipeline on covariances{did_you_mean(wanted, suited)} "
                f"(allowed: {', '.join(suited)})"
            )

    def part_pipeline(self, part: TimeResolved | BandResolved) -> PipelineSettings:
        """Return the pipeline that decodes windows or bands: the one that is named, else the first on covariances."""
        return next(
            pipeline
            for pipeline in self.pipelines
            if (pipeline.decoder in PARTIAL if part.pipeline is None else pipeline.name == part.pipeline)
        )


class DecodingHead(Head):
    """Ridge regression from responses to features, a penalty per feature."""

    fixed: dict[str, float] = {}
    """Penalties on z-scored responses that are not chosen but given: `low_level`, or a condition's name."""

    @field_validator("fixed")
    @classmethod
    def _positive(cls, value: dict[str, float]) -> dict[str, float]:
        for name, penalty in value.items():
            if not penalty > 0:
                raise ValueError(f"the penalty of '{name}' must be positive, got {penalty}")
        return value


class Ablation(Section):
    """Which regions carry which score: the same with a region's targets alone, or without them."""

    rois: list[str] = ["*"]
    """Regions by name or glob."""
    modes: list[Literal["only", "without"]] = Field(["only", "without"], min_length=1)
    """A region alone, or all but it."""


Rung = Literal["codec", "oracle", "predicted", "nearest", "mean", "run_mean", "shuffled"]


class ReconstructRecipe(_Recipe):
    """Reconstruct images from responses, beside everything such images must be held against."""

    kind: Literal["reconstruct"] = "reconstruct"
    """What the recipe does."""
    preset: Preset | None = None
    """Published settings that fill in what the recipe leaves out; it may still say otherwise."""
    encoders: list[AnyEncoder] = []
    """Features that condition a generator, find the nearest image, or cluster stimuli."""
    low_level: AnyCodec
    """From responses to an initial image that carries layout."""
    generator: AnyGenerator | None = None
    """From the initial image and predicted features to the final image; null ends with the initial image."""
    head: DecodingHead = DecodingHead()
    """From responses to latents and features."""
    calibration: Calibration = "train-cv"
    """Mean and spread of predicted features: as predicted; from cross-validated or fitted predictions of training
    rows; or from the test rows themselves (test-batch, as published: transductive, and labelled so)."""
    ladder: list[Rung] = Field(
        ["codec", "oracle", "predicted", "nearest", "mean", "run_mean", "shuffled"], min_length=1
    )
    """Rungs: images of true latents (codec) and true features (oracle); what was predicted; the training image nearest
    to the prediction, the mean training image, the mean of the other images of the row's run; shuffled responses."""
    metrics: list[ImageMetric] = Field(["pixcorr", "two_way_pixels"], min_length=1)
    """Image metrics (`brainbench list metrics`); the first one leads the report."""
    identify_within: str | None = None
    """Label of stimuli within which two-way identification is also scored, such as a style that runs share."""
    ablation: Ablation | None = None
    """Which regions carry which score."""
    n_gallery: int = Field(4, ge=1, le=20)
    """Best, median and worst reconstructions shown, so many of each."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        return with_preset(values) if isinstance(values, dict) else values

    @field_validator("encoders")
    @classmethod
    def _distinct_encoders(cls, value: list[Any]) -> list[Any]:
        _distinct_names([encoder.name for encoder in value], "encoder name")
        return value

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        names = [encoder.name for encoder in self.encoders]
        wanted = [("cluster_by", s.folds.cluster_by) for s in self.schemes if s.folds.cluster_by is not None]
        if isinstance(self.generator, SmallSettings):
            wanted += [("generator.condition_on", one) for one in self.generator.condition_on]
        for place, one in wanted:
            if one is not None and one.encoder not in names:
                raise ValueError(
                    f"`{place}` names encoder '{one.encoder}', which is not one of {names}"
                    f"{did_you_mean(one.encoder, names)}"
                )
        if isinstance(self.generator, SmallSettings) and not self.generator.condition_on:
            raise ValueError("`generator.condition_on` needs a layer: without one nothing of the brain reaches it")
        if "predicted" not in self.ladder:
            raise ValueError("`ladder` needs the rung 'predicted'")
        _check_planted(self.dataset, names)
        return self


class Contrast(Section):
    """What drives one region more than another."""

    roi: str
    """Region whose response is raised."""
    minus: str
    """Region whose response is lowered."""


class Facets(Section):
    """Clusters of the images that drive a region most, each a starting point of its own."""

    n_facets: int = Field(3, ge=1, le=20)
    """Clusters (k-means in the guiding features, 50 principal components at most)."""
    n_top: int = Field(45, ge=2)
    """Images that are clustered: those with the highest predicted response."""
    n_mean: int = Field(15, ge=1)
    """Images nearest to a cluster's centre, whose mean is the starting point."""


class ExploreRecipe(_Recipe):
    """Draw the images that a region's encoding model responds to most."""

    kind: Literal["explore"] = "explore"
    """What the recipe does."""
    encoders: list[AnyEncoder] = Field(min_length=1)
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

    @field_validator("encoders")
    @classmethod
    def _distinct_encoders(cls, value: list[Any]) -> list[Any]:
        _distinct_names([encoder.name for encoder in value], "encoder name")
        return value

    @field_validator("scales")
    @classmethod
    def _rising(cls, value: list[float]) -> list[float]:
        if value[0] <= 0 or value != sorted(set(value)):
            raise ValueError(f"`scales` must be positive and rise, got {value}")
        return value

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        names = [encoder.name for encoder in self.encoders]
        wanted = [("guide", self.guide)]
        if isinstance(self.generator, SmallSettings):
            wanted += [("generator.condition_on", one) for one in self.generator.condition_on]
        for place, one in wanted:
            if one.encoder not in names:
                raise ValueError(
                    f"`{place}` names encoder '{one.encoder}', which is not one of {names}"
                    f"{did_you_mean(one.encoder, names)}"
                )
        family = next(encoder.family for encoder in self.encoders if encoder.name == self.guide.encoder)
        if family != "image":
            raise ValueError(f"`guide` needs an encoder that gradients pass through (`family: image`), not '{family}'")
        if self.generator.name not in GUIDABLE:
            raise ValueError(
                f"`generator` '{self.generator.name}' cannot be guided by a region (allowed: {', '.join(GUIDABLE)})"
            )
        _check_planted(self.dataset, names)
        return self


GUIDABLE = ("small", "stable-diffusion")
"""Generators that a region can guide."""

AnyRecipe = EncodeRecipe | DecodeRecipe | ReconstructRecipe | ExploreRecipe
Recipe = Annotated[AnyRecipe, Field(discriminator="kind")]
KINDS: dict[str, type[_Recipe]] = {
    "encode": EncodeRecipe,
    "decode": DecodeRecipe,
    "reconstruct": ReconstructRecipe,
    "explore": ExploreRecipe,
}


def recipe_adapter() -> TypeAdapter[AnyRecipe]:
    """Return the validator of any recipe."""
    return TypeAdapter(Recipe)


def science(recipe: AnyRecipe) -> dict[str, Any]:
    """Return every setting that can change a result, with its resolved default."""
    return recipe.model_dump(mode="json", exclude={"execution"})
