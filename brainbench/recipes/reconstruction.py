"""The ``low_level:`` and ``generator:`` sections, one model per codec and per generator.

A third party adds a model under the entry points ``brainbench.recipes.codecs`` or ``brainbench.recipes.generators``
beside its codec or generator.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

from pydantic import Field, model_validator

from brainbench.recipes.base import Section

ImageMetric = Literal[
    "pixcorr",
    "ssim_2d",
    "ssim_columns",
    "two_way_pixels",
    "two_way_efficientnet_lite0",
    "alexnet_2",
    "alexnet_5",
    "inception",
    "clip",
    "efficientnet_b1",
    "swav",
]
Calibration = Literal["none", "train-cv", "train-fit", "test-batch"]


class CodecSettings(Section):
    """What every codec has."""

    codec: str
    """Which codec turns images into low-level latents and back."""


class PcaSettings(CodecSettings):
    """Principal components of the training images' pixels, or of their patches; needs no weights."""

    codec: Literal["pca"] = "pca"
    image_size: int = Field(32, ge=4, le=512)
    """Side of the images, in pixels."""
    grey: bool = False
    """Grey images."""
    n_components: int = Field(100, ge=1)
    """Components kept (of each patch, with `patch`)."""
    patch: int | None = Field(None, ge=2)
    """Side of square patches that share their components; null takes whole images."""

    @model_validator(mode="after")
    def _patches_fit(self) -> Self:
        if self.patch is not None and self.image_size % self.patch:
            raise ValueError(f"`patch: {self.patch}` does not divide `image_size: {self.image_size}`")
        return self


class AutoencoderSettings(CodecSettings):
    """Latents of any diffusers `AutoencoderKL` or `AutoencoderTiny`."""

    codec: Literal["autoencoder"] = "autoencoder"
    model: str
    """Hub name, or a local folder in diffusers' layout."""
    image_size: int = Field(256, ge=8, le=1024)
    """Side of the images, in pixels."""


class GeneratorSettings(Section):
    """What every generator has."""

    name: str
    """Which generator makes the final images."""
    strength: float = Field(0.75, ge=0, le=1)
    """How much of the initial image is replaced: 0 keeps it, 1 starts from noise."""
    guidance: float = Field(7.5, ge=0)
    """Weight of classifier-free guidance; 1 is none."""
    steps: int = Field(50, ge=1, le=1000)
    """Steps of the sampler from noise to image (`strength` of them are taken)."""
    n_samples: int = Field(1, ge=1, le=100)
    """Images drawn per row; scores are means over them, never the best."""


class ConditionOn(Section):
    """A layer of one of the recipe's encoders."""

    encoder: str
    """Name of an encoder."""
    layer: str
    """One of its layers."""


class SmallSettings(GeneratorSettings):
    """A small diffusion network (diffusers UNet, DDIM) that brainbench trains itself, on a CPU in minutes."""

    name: Literal["small"] = "small"
    image_size: int = Field(32, ge=8, le=128)
    """Side of its images, in pixels; a multiple of 4."""
    grey: bool = False
    """Grey images."""
    condition_on: list[ConditionOn] = Field(min_length=1)
    """Features that condition it; the same are predicted from responses."""
    train_on: str = "training"
    """`training` (each fold's own training stimuli), `patterns` (drawn random and letter-like patterns, none of them
    in the data), or a folder of images, from which those that equal a stimulus are left out."""
    n_images: int = Field(2000, ge=16)
    """Images it is trained on (`patterns`)."""
    width: int = Field(32, ge=8)
    """Channels of its first level."""
    train_steps: int = Field(2000, ge=1)
    """Training steps."""
    batch_size: int = Field(64, ge=1)
    """Images per training step."""
    learning_rate: float = Field(1e-3, gt=0)
    """Step size of AdamW, with warm-up and cosine decay."""
    ema: float = Field(0.995, ge=0, lt=1)
    """Decay of the moving average of its weights, which makes the images."""
    feature_noise: float = Field(0.5, ge=0)
    """Standard deviation of noise on the (standardised) features in training; predicted ones are noisy too."""
    drop_features: float = Field(0.1, ge=0, lt=1)
    """Share of training rows without features, for classifier-free guidance."""
    strength: float = Field(0.6, ge=0, le=1)
    """How much of the initial image is replaced: 0 keeps it, 1 starts from noise."""
    guidance: float = Field(1.5, ge=0)
    """Weight of classifier-free guidance; 1 is none."""
    steps: int = Field(25, ge=1, le=1000)
    """Steps of the sampler from noise to image (`strength` of them are taken)."""

    @model_validator(mode="after")
    def _size_fits(self) -> Self:
        if self.image_size % 4:
            raise ValueError(f"`image_size` must be a multiple of 4, got {self.image_size}")
        return self


class IpAdapterSettings(GeneratorSettings):
    """Stable Diffusion image-to-image with an IP-Adapter: the default for photographs."""

    name: Literal["ip-adapter"] = "ip-adapter"
    model: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    """Hub name, or a local folder in diffusers' layout."""


_CODECS: tuple[type[CodecSettings], ...] = (AutoencoderSettings, PcaSettings)
_GENERATORS: tuple[type[GeneratorSettings], ...] = (IpAdapterSettings, SmallSettings)


def _models(built_in: tuple[Any, ...], group: str) -> tuple[Any, ...]:
    return built_in + tuple(point.load() for point in entry_points(group=group))


def codec_models() -> dict[str, type[CodecSettings]]:
    """Return the model of every known codec by name."""
    return {model.model_fields["codec"].default: model for model in _models(_CODECS, "brainbench.recipes.codecs")}


def generator_models() -> dict[str, type[GeneratorSettings]]:
    """Return the model of every known generator by name."""
    models = _models(_GENERATORS, "brainbench.recipes.generators")
    return {model.model_fields["name"].default: model for model in models}


if TYPE_CHECKING:
    AnyCodec = CodecSettings
    AnyGenerator = GeneratorSettings
else:
    AnyCodec = Annotated[
        Union[_models(_CODECS, "brainbench.recipes.codecs")], Field(discriminator="codec")  # noqa: UP007
    ]
    AnyGenerator = Annotated[
        Union[_models(_GENERATORS, "brainbench.recipes.generators")], Field(discriminator="name")  # noqa: UP007
    ]


def generator_settings(values: dict[str, Any]) -> GeneratorSettings:
    """Return validated settings of a generator from plain values, for use from Python."""
    from pydantic import TypeAdapter

    settings: GeneratorSettings = TypeAdapter(AnyGenerator).validate_python(values)
    return settings


def codec_settings(values: dict[str, Any]) -> CodecSettings:
    """Return validated settings of a codec from plain values, for use from Python."""
    from pydantic import TypeAdapter

    settings: CodecSettings = TypeAdapter(AnyCodec).validate_python(values)
    return settings
