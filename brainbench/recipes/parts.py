"""Sections that recipes of several kinds share: how rows are held out, fitted, tested, and how a recipe runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from brainbench.core.registry import Registry
from brainbench.recipes.base import Section, choice
from brainbench.recipes.encoders import AnyEncoder
from brainbench.recipes.reconstruction import ConditionOn

HoldOut = Literal["stimulus", "run"]


def distinct_names(values: list[Any], what: str) -> None:
    """Refuse a name that is given twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} '{value}' is given twice")
        seen.add(value)


def _distinct_encoders(value: list[Any]) -> list[Any]:
    distinct_names([encoder.name for encoder in value], "encoder name")
    return value


Encoders = Annotated[list[AnyEncoder], AfterValidator(_distinct_encoders)]
"""The ``encoders:`` section."""


class Folds(Section):
    """How rows are dealt into test folds."""

    scheme: Literal[
        "auto", "k-fold", "leave-one-out", "contiguous", "predefined", "grouped", "held-out-clusters", "paper"
    ] = "auto"
    """`auto`: k-fold over stimuli, leave-one-out over runs, contiguous blocks for continuous designs. `predefined`: a
    label names the fold of each row; `grouped`: k-fold over the values of a label, such as categories;
    `held-out-clusters`: whole clusters of alike stimuli are held out, one a fold. `paper`: stretches of single trials
    in the order shown, as visio-linguistic studies have it; a repeated stimulus leaks, and the report says so."""
    n_splits: int = Field(5, ge=2, le=1000)
    """Number of folds (k-fold, contiguous, grouped, held-out-clusters, paper)."""
    trim_s: float = Field(20.0, ge=0)
    """Seconds dropped from training on both sides of a contiguous test block."""
    column: str | None = Field(None, examples=["category"])
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

    hold_out: list[HoldOut] = Field(min_length=1, examples=[["run"]])
    """What training never sees: [stimulus], [run] or [stimulus, run]."""
    folds: Folds = Folds()
    """How rows are dealt into test folds."""
    note: str = Field("", examples=["Leaks style: every run has one."])
    """A sentence the report prints beside its scores."""

    @field_validator("hold_out")
    @classmethod
    def _each_once(cls, value: list[HoldOut]) -> list[HoldOut]:
        distinct_names(value, "hold_out")
        return value

    @property
    def label(self) -> str:
        """Name of the scheme in tables: ``stimulus+run``, the label that defines its folds, or its clusters."""
        if self.folds.scheme in ("held-out-clusters", "paper"):
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
    """Sum over stimuli, mean in each volume's window, or Lanczos interpolation."""
    durations: Literal["auto", "use", "ignore"] = "auto"
    """Whether a stimulus acts until its end or as an impulse at its onset; `auto`: until its end, but words of at most
    2 s are impulses."""
    hrf: Literal["glover", "spm", "none"] = "glover"
    """Haemodynamic response that features are convolved with."""
    delays_s: list[float] = Field([], examples=[[2.0, 4.0, 6.0]])
    """FIR delays in seconds; with `hrf: none`."""
    high_pass_s: float | None = Field(128.0, gt=0)
    """Longest period kept, in seconds; drifts are projected out inside every fold."""
    regress_nuisance: bool = True
    """Regress motion and other nuisance out, of every test fold and inner fold by itself."""

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
    """`auto` takes repeats where there are any, else other subjects where rows and targets are the same."""
    n_splits: int = Field(100, ge=1, le=10_000)
    """Random halves averaged (split_half)."""


class Significance(Section):
    """Permutation test of every score."""

    n_permutations: int = Field(1000, ge=0, le=1_000_000)
    """Permutations; p = (b + 1) / (n + 1). None tests nothing."""
    n_refits: int = Field(199, ge=19, le=1_000_000)
    """Permutations where all is fitted again, at most `n_permutations`; smaller p come from a fitted tail."""
    null: Literal["auto", "block", "shift", "within_run", "stimulus", "rows"] = "auto"
    """What is exchanged: blocks of time, whole runs shifted in time, rows within runs, whole stimuli, or rows."""
    block_s: float | None = Field(None, gt=0, examples=[30.0])
    """Length of a block in seconds; by default from the autocorrelation of the responses."""


class Bootstrap(Section):
    """Confidence by resampling stimuli (or blocks of time) and subjects."""

    n_draws: int = Field(1000, ge=0, le=100_000)
    """Bootstrap draws."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Coverage of the intervals."""


_OF_SKLEARN = "brainbench.decoders.classifiers"
CLASSIFIERS: Registry[Any] = Registry(
    "classifier",
    {name: f"{_OF_SKLEARN}:{name}" for name in ("linear_svm", "logistic", "ridge_classifier", "shrinkage_lda")},
    entry_point_group="brainbench.classifiers",
)
"""Name -> function of a seed that returns a scikit-learn classifier."""


class Decoder(Section):
    """A classifier from responses to a label."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", examples=["lda"])
    """How the report calls it; unique in the recipe."""
    classifier: Annotated[str, choice(CLASSIFIERS.names)] = "shrinkage_lda"
    """Which scikit-learn classifier; everything it fits is fitted on training rows."""


class Decoding(Section):
    """Decoding of a label from the responses."""

    label: str = Field(examples=["category"])
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
        distinct_names([decoder.name for decoder in value], "decoder")
        return value


class Slurm(Section):
    """What one SLURM job asks for, with `engine: slurm`."""

    nodes: int = Field(1, ge=1)
    """Number of jobs."""
    queue: str | None = Field(None, examples=["gpu"])
    """Partition."""
    account: str | None = Field(None, examples=["lab"])
    """Account that is charged."""
    cores: int = Field(8, ge=1)
    """Cores of a job; each computes a unit at a time (threads_per_unit: 1)."""
    memory_gb: float = Field(32.0, gt=0)
    """Memory of a job."""
    walltime: str = Field("04:00:00", pattern=r"^(\d+-)?\d{1,2}:\d{2}:\d{2}$")
    """Longest time of a job, [D-]HH:MM:SS."""
    interface: str | None = Field(None, examples=["ib0"])
    """Network interface that jobs and scheduler share, such as ib0."""
    directives: list[str] = Field([], examples=[["--constraint=avx2"]])
    """Further #SBATCH directives, such as `--constraint=avx2`."""


class Execution(Section):
    """How the recipe runs; never what it computes."""

    engine: Literal["local", "dask", "slurm"] = "local"
    """Where units of work run: threads of this process, a dask cluster, or jobs of a SLURM cluster."""
    address: str | None = Field(None, pattern=r"^(tcp|tls|ucx|ws|wss)://.+:\d+$", examples=["tcp://10.0.0.1:8786"])
    """Scheduler of a running dask cluster (tcp://HOST:PORT); without it `dask` starts workers on this machine."""
    slurm: Slurm = Slurm()
    """What one SLURM job asks for."""
    jobs: int = Field(0, ge=0)
    """Processes; 0 takes one per core."""
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """Where encoders run: auto, cpu, mps, cuda or cuda:N."""
    threads_per_unit: int = Field(1, ge=1)
    """Threads a unit of work computes with; recorded, since BLAS may round differently with another count."""
    batch_size: int | None = Field(None, ge=1, examples=[32])
    """Stimuli per forward pass; None chooses by memory."""
    memory_gb: float | None = Field(None, gt=0, examples=[16.0])
    """Refuse to start above this estimate; None takes what the machine has free."""
