"""The ``pipelines:`` section, one model per decoder of trials.

A third party adds a model under the entry point ``brainbench.recipes.pipelines`` beside its decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from brainbench.evaluation.trials.modes import ModeName
from brainbench.recipes.base import Section
from brainbench.recipes.catalogue import Catalogue, Noun

Alignment = Literal["none", "euclidean", "riemannian", "euclidean_transductive", "riemannian_transductive"]


def check_ranges(value: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return bands by name; refuse one that is not two rising frequencies."""
    for name, band in value.items():
        if len(band) != 2 or not 0 <= band[0] < band[1]:
            raise ValueError(f"band '{name}' is two rising frequencies in Hz, got {band}")
    return value


class PipelineSettings(Noun):
    """What every pipeline has."""

    works_in_part: ClassVar[bool] = False
    """Whether it can be fitted on a part of a trial: on covariances, which any window or band has."""
    has_patterns: ClassVar[bool] = False
    """Whether its filters have patterns on the scalp."""
    ranks_contacts: ClassVar[bool] = True
    """Whether it says what each contact contributes: its own weights, or a fit to each contact alone."""
    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", examples=["csp"])
    """How the report calls it; unique in the recipe."""
    decoder: str
    """Which decoder."""
    band: list[float] | None = Field(None, min_length=2, max_length=2, examples=[[8.0, 30.0]])
    """Pass band of this pipeline in Hz; without it the data set's."""
    align: Alignment = "none"
    """Recentering of every subject and session on its mean covariance, from training rows only; the transductive
    ones also use the unlabelled test rows of an unseen subject."""

    @field_validator("band")
    @classmethod
    def _rises(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and not 0 <= value[0] < value[1]:
            raise ValueError(f"a band must rise from 0 Hz or more, got {value}")
        return value


class CovarianceSettings(PipelineSettings):
    """What the pipelines on trial covariances share."""

    covariance: Literal["oas", "scm", "lwf"] = "oas"
    """Estimator of a trial's covariance: shrunk (oas, lwf) or the sample covariance (scm)."""


class CspLdaSettings(CovarianceSettings):
    """Common spatial patterns, log variances, linear discriminant analysis."""

    built_by = "brainbench.decoders.covariance:csp_lda"
    works_in_part = True
    has_patterns = True
    decoder: Literal["csp_lda"] = "csp_lda"
    n_filters: int = Field(6, ge=1)
    """Spatial filters kept."""


class FbcspLdaSettings(CovarianceSettings):
    """Filter-bank common spatial patterns (Ang et al. 2008), a selection by mutual information, LDA."""

    built_by = "brainbench.decoders.covariance:fbcsp_lda"
    decoder: Literal["fbcsp_lda"] = "fbcsp_lda"
    bands: list[list[float]] = Field(
        [[8.0, 12.0], [12.0, 16.0], [16.0, 20.0], [20.0, 24.0], [24.0, 28.0], [28.0, 32.0]], min_length=2
    )
    """Pass bands in Hz, each filtered on the continuous recording."""
    n_filters: int = Field(4, ge=1)
    """Spatial filters kept per band."""
    n_features: int = Field(8, ge=1)
    """Log variances kept over all bands."""

    @field_validator("bands")
    @classmethod
    def _bands_rise(cls, value: list[list[float]]) -> list[list[float]]:
        for band in value:
            if len(band) != 2 or not 0 <= band[0] < band[1]:
                raise ValueError(f"a band is two rising frequencies in Hz, got {band}")
        return value

    @model_validator(mode="after")
    def _bands_not_band(self) -> Self:
        if self.band is not None:
            raise ValueError("fbcsp_lda takes `bands`, not `band`")
        return self


class TangentLrSettings(CovarianceSettings):
    """Tangent space at the Riemannian mean (Barachant et al. 2012), logistic regression."""

    built_by = "brainbench.decoders.covariance:tangent_lr"
    works_in_part = True
    decoder: Literal["tangent_lr"] = "tangent_lr"
    C: float = Field(1.0, gt=0)
    """Inverse strength of the L2 penalty."""


class FgmdmSettings(CovarianceSettings):
    """Geodesic filtering and minimum distance to mean (Barachant et al. 2010)."""

    built_by = "brainbench.decoders.covariance:fgmdm"
    works_in_part = True
    decoder: Literal["fgmdm"] = "fgmdm"


class NetworkSettings(PipelineSettings):
    """What the training of a network on trials needs; every pipeline with a network has it."""

    built_by = "brainbench.decoders.networks:network_decoder"
    ranks_contacts = False
    network_by: ClassVar[str]
    """Function of these settings and `brainbench.networks.pipelines.Given` that returns an unfitted classifier, as
    ``module:name``."""
    max_epochs: int = Field(120, ge=1)
    """Passes over the training rows at most."""
    patience: int = Field(30, ge=1)
    """Passes without a better validation loss before training stops; the best weights are kept."""
    batch_size: int = Field(16, ge=2)
    """Trials per step."""
    learning_rate: float = Field(1e-3, gt=0)
    """Step size of AdamW."""
    weight_decay: float = Field(1e-2, ge=0)
    """Weight decay of AdamW."""


class BraindecodeSettings(NetworkSettings):
    """Any classifier of braindecode, trained by brainbench's own loop."""

    network_by = "brainbench.networks.pipelines:braindecode"
    decoder: Literal["braindecode"] = "braindecode"
    model: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", examples=["EEGNet"])
    """Class in `braindecode.models`: EEGNet, ShallowFBCSPNet, EEGConformer, ATCNet, ..."""
    parameters: dict[str, Any] = Field({}, examples=[{"drop_prob": 0.5}])
    """Arguments of that class; sizes and rate come from the data."""
    weights: str | None = Field(None, examples=["labram.safetensors"])
    """State dict of a foundation model (Labram, BIOT, ...) to begin from; every tensor that does not depend on classes
    or channels must fit. Null begins from random weights."""


class MvcnetSettings(NetworkSettings):
    """MVCNet: a convolutional network and a Transformer trained together on views of a trial (arXiv 2502.17482)."""

    network_by = "brainbench.networks.pipelines:mvcnet"
    decoder: Literal["mvcnet"] = "mvcnet"
    deploy: Literal["cnn", "fused"] = "cnn"
    """What decides: the convolutional branch alone, or both."""
    views: list[Literal["time", "frequency", "reflection"]] = ["time", "frequency", "reflection"]
    """Changed copies of a trial; the reflection needs a montage with a mirror."""
    cross_view: float = Field(0.1, ge=0)
    """Weight of the contrast between views."""
    cross_model: float = Field(0.1, ge=0)
    """Weight of the contrast between branches."""
    time_pool: int = Field(4, ge=1)
    """Samples averaged before the Transformer; the paper has 1, which makes it very wide."""


class RbtransformerSettings(NetworkSettings):
    """RBTransformer: attention between electrodes over their band entropies (arXiv 2511.13954)."""

    network_by = "brainbench.networks.pipelines:rbtransformer"
    decoder: Literal["rbtransformer"] = "rbtransformer"
    width: int = Field(128, ge=8)
    """Width of an electrode's token."""
    depth: int = Field(4, ge=1)
    """Attention blocks."""
    n_heads: int = Field(6, ge=1)
    """Attention heads of a block."""


class DuinSettings(NetworkSettings):
    """Du-IN's classifier: patches of all contacts as tokens, attention between them (arXiv 2405.11459)."""

    network_by = "brainbench.networks.pipelines:duin"
    ranks_contacts = True
    decoder: Literal["duin"] = "duin"
    patch: float = Field(0.1, gt=0)
    """Seconds of a token; brought to a multiple of ten samples. What is left of a trial after its last whole token is
    not read."""
    n_neural: int = Field(16, ge=1)
    """Channels that contacts are mixed into."""
    n_filters: int = Field(128, ge=1)
    """Filters of the convolutions."""
    depth: int = Field(8, ge=1)
    """Attention blocks."""
    n_heads: int = Field(8, ge=1)
    """Heads of a block."""
    head_width: int = Field(64, ge=1)
    """Values of a head."""


class PowerLrSettings(PipelineSettings):
    """Log band power of every channel and logistic regression: what any network of signals has to beat."""

    built_by = "brainbench.decoders.linear:power_lr"
    decoder: Literal["power_lr"] = "power_lr"
    ranges: dict[str, list[float]] = Field(
        {"theta": [4.0, 8.0], "alpha": [8.0, 13.0], "beta": [13.0, 30.0]}, min_length=1
    )
    """Bands by name, in Hz."""
    window: float | None = Field(None, gt=0, examples=[0.1])
    """Seconds of the windows that follow each other through a trial, each with its own power: what a word or a sound
    does comes at its time. Null takes the trial as a whole."""
    C: float = Field(1.0, gt=0)
    """Inverse strength of the L2 penalty."""

    @field_validator("ranges")
    @classmethod
    def _rise(cls, value: dict[str, list[float]]) -> dict[str, list[float]]:
        return check_ranges(value)

    @model_validator(mode="after")
    def _as_recorded(self) -> Self:
        if self.align != "none":
            raise ValueError("`align` mixes channels, whose power is read: power_lr takes none")
        return self


class TokenProbeSettings(PipelineSettings):
    """A linear probe: logistic regression on one layer of a tokenizer of sensors, which learned without labels."""

    built_by = "brainbench.decoders.tokens:token_probe"
    ranks_contacts = False
    decoder: Literal["token_probe"] = "token_probe"
    network: str = Field(examples=["3f2a9c"])
    """Run folder of a `kind: pretrain` recipe, the key of a network that one trained, or a published state dict."""
    layer: str = "sources"
    """One of its layers: codec, sources, levels.0, ..., blocks.0, ..."""
    published: Literal["braintokenizer", "tiny", "base"] | None = None
    """What a file holds."""
    rope: Literal["correct", "released"] = "correct"
    """Rotary positions of a published BrainOmni."""
    weights: Literal["trained", "random"] = "trained"
    """`random` probes the untrained network of the same sizes: the control."""
    C: float = Field(1.0, gt=0)
    """Inverse strength of the L2 penalty."""

    @model_validator(mode="after")
    def _as_recorded(self) -> Self:
        if self.align != "none":
            raise ValueError("`align` gives trials no sensors to look at: a token probe takes none")
        return self


PIPELINES = Catalogue(
    "pipelines",
    "decoder",
    PipelineSettings,
    module=__name__,
    tag="decoder",
    section="pipelines",
    several=True,
    room="decoders",
)
"""Settings of decoders of trials by name. A builder is called with them and a `brainbench.decoders.base.TrialContext`
and returns an unfitted decoder."""

if TYPE_CHECKING:
    AnyPipeline = PipelineSettings
else:
    AnyPipeline = Annotated[PipelineSettings, PIPELINES]


class TimeResolved(Section):
    """Decoding in a window that slides over the trial, with the folds of the leading scheme."""

    pipeline: str | None = Field(None, examples=["csp"])
    """Name of one of the pipelines on covariances; null takes the first."""
    tmin: float = -1.0
    """Start of the first window, in seconds after the event; windows before the event should be at chance."""
    tmax: float = 4.0
    """No window ends later, in seconds after the event."""
    window: float = Field(1.0, gt=0)
    """Length of a window in seconds."""
    step: float = Field(0.5, gt=0)
    """Seconds from one window to the next."""

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.tmin + self.window > self.tmax + 1e-9:
            raise ValueError(f"a window of {self.window:g} s does not fit between {self.tmin:g} and {self.tmax:g} s")
        return self

    @property
    def windows(self) -> list[tuple[float, float]]:
        """Start and end of every window in seconds."""
        n = int((self.tmax - self.tmin - self.window) / self.step + 1e-9) + 1
        starts = [round(self.tmin + index * self.step, 6) for index in range(n)]
        return [(start, round(start + self.window, 6)) for start in starts]


class BandResolved(Section):
    """Decoding from one frequency band at a time, with the folds of the leading scheme."""

    pipeline: str | None = Field(None, examples=["csp"])
    """Name of one of the pipelines on covariances; null takes the first."""
    ranges: dict[str, list[float]] = Field(
        {
            "delta": [1.0, 4.0],
            "theta": [4.0, 8.0],
            "alpha": [8.0, 13.0],
            "low_beta": [13.0, 20.0],
            "high_beta": [20.0, 30.0],
            "low_gamma": [30.0, 45.0],
        },
        min_length=1,
    )
    """Bands by name, in Hz, each filtered on the continuous recording; those above 30 Hz are full of muscle."""

    @field_validator("ranges")
    @classmethod
    def _rise(cls, value: dict[str, list[float]]) -> dict[str, list[float]]:
        return check_ranges(value)


class RegionResolved(Section):
    """Decoding from groups of channels, with the folds of the leading scheme: each alone, each left out, all."""

    pipeline: str | None = Field(None, examples=["power"])
    """Name of one of the pipelines; null takes the first."""
    by: str = Field("shaft", min_length=1, examples=["region"])
    """What groups contacts: `shaft`, which their names say, or a column of the data set's table of contacts."""
    groups: dict[str, list[str]] | None = Field(None, min_length=1, examples=[{"motor": ["A1", "A2", "A3"]}])
    """Channels of each group by name, instead of `by`; a channel may be in several."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.groups is not None and self.by != "shaft":
            raise ValueError("`groups` names the channels of each group: `by` has no say then")
        return self


class ContactResolved(Section):
    """What single contacts contribute, judged on the training rows of every fold alone, and decoding from the best."""

    pipeline: str | None = Field(None, examples=["power"])
    """Name of one of the pipelines that rank contacts; null takes the first."""
    counts: list[int] | None = Field(None, min_length=1, examples=[[1, 2, 5, 10]])
    """Numbers of contacts to decode from, the best of the fold's training rows; null doubles them up to all."""
    n_splits: int = Field(3, ge=2)
    """Folds inside of the training rows, by which each contact alone is judged."""

    @field_validator("counts")
    @classmethod
    def _rising(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and (min(value) < 1 or len(set(value)) < len(value)):
            raise ValueError(f"numbers of contacts are distinct and 1 or more, got {value}")
        return None if value is None else sorted(value)


class Evaluation(Section):
    """One way to hold out trials."""

    scheme: Literal[
        "k-fold",
        "leave-one-run-out",
        "leave-one-session-out",
        "leave-one-subject-out",
        "chronological",
        "few-shot",
    ]
    """k-fold: trials within a session; chronological: the first trials of a session train, the last test;
    few-shot: the other subjects and the first `shots` trials of each class of the new one train."""
    n_splits: int = Field(5, ge=2)
    """Folds (k-fold)."""
    test_share: float = Field(0.5, gt=0, lt=1)
    """Share of a session's trials that test (chronological)."""
    shots: list[int] = Field([0, 5, 10], min_length=1)
    """Trials per class of the new subject that training has (few-shot); every number is tested on the same trials."""

    mode: ModeName = "train"
    """What is known of the new subject (leave-one-subject-out), as MOABB names it: `train` nothing, `train_trialwise`
    nothing and every trial is decoded alone, `..._unlabeled_20p` and `_50p` the first trials of every session without
    labels, which aligned pipelines use and which are not tested, `..._unlabeled_full` all trials, which are tested too,
    `..._labeled_20p` and `_50p` the first trials with labels, which train."""

    @model_validator(mode="after")
    def _only_what_is_used(self) -> Self:
        owners = {
            "n_splits": "k-fold", "test_share": "chronological", "shots": "few-shot", "mode": "leave-one-subject-out",
        }  # fmt: skip
        for name, scheme in owners.items():
            # Defaults may stand: the resolved recipe of a run folder has them all.
            if self.scheme != scheme and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`{name}` is for `scheme: {scheme}`")
        if any(n < 0 for n in self.shots) or len(set(self.shots)) != len(self.shots):
            raise ValueError(f"`shots` are distinct numbers of 0 or more, got {self.shots}")
        return self

    @property
    def across_subjects(self) -> bool:
        """Whether training has other subjects than the test."""
        return self.scheme in ("leave-one-subject-out", "few-shot")

    @property
    def label(self) -> str:
        """Its name in tables: scheme, and mode where it is not the usual one."""
        return self.scheme if self.mode == "train" else f"{self.scheme}, {self.mode}"
