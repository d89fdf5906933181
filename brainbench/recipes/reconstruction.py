"""The ``low_level:`` and ``generator:`` sections, one model per codec and per generator.

A third party adds a model under the entry points ``brainbench.recipes.codecs`` or ``brainbench.recipes.generators``
beside its codec or generator.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from brainbench.recipes.base import Section
from brainbench.recipes.catalogue import Catalogue, Noun

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


class CodecSettings(Noun):
    """What every codec has."""

    codec: str
    """Which codec turns images into low-level latents and back."""


class PcaSettings(CodecSettings):
    """Principal components of the training images' pixels, or of their patches; needs no weights."""

    built_by = "brainbench.reconstruction.codecs.pca:open_pca"
    codec: Literal["pca"] = "pca"
    image_size: int = Field(32, ge=4, le=512)
    """Side of the images, in pixels."""
    grey: bool = False
    """Grey images."""
    n_components: int = Field(100, ge=1)
    """Components kept (of each patch, with `patch`)."""
    patch: int | None = Field(None, ge=2, examples=[2])
    """Side of square patches that share their components; null takes whole images."""

    @model_validator(mode="after")
    def _patches_fit(self) -> Self:
        if self.patch is not None and self.image_size % self.patch:
            raise ValueError(f"`patch: {self.patch}` does not divide `image_size: {self.image_size}`")
        return self


class AutoencoderSettings(CodecSettings):
    """Latents of any diffusers `AutoencoderKL` (the mode of its posterior) or `AutoencoderTiny`."""

    built_by = "brainbench.reconstruction.codecs.autoencoder:AutoencoderCodec"
    codec: Literal["autoencoder"] = "autoencoder"
    model: str = "stabilityai/sd-vae-ft-mse"
    """Hub name, or a local folder, of an autoencoder or of a pipeline that has one."""
    image_size: int = Field(256, ge=8, le=1024)
    """Side of the images, in pixels; a multiple of the autoencoder's reduction (8)."""


class VdvaeSettings(CodecSettings):
    """Latents of the very deep VAE (Child 2021): the first layers of its hierarchy, as Brain-Diffuser takes them."""

    built_by = "brainbench.reconstruction.codecs.vdvae:VdvaeCodec"
    codec: Literal["vdvae"] = "vdvae"
    weights: str = Field(examples=["imagenet64-iter-1600000-model-ema.th"])
    """File of the official weights (`imagenet64-iter-1600000-model-ema.th`), or `random`."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", examples=["0" * 64])
    """What the file's digest must be; without it the digest is only recorded."""
    n_layers: int = Field(31, ge=1)
    """Stochastic layers that are predicted; the rest are drawn from the prior."""
    latents: Literal["mean", "sample"] = "mean"
    """The mean of each layer's posterior, or a seeded sample (the papers')."""
    temperature: float = Field(1.0, gt=0, le=2)
    """Scale of the prior's standard deviation in the layers that are drawn."""
    encoder_blocks: str = "64x11,64d2,32x20,32d2,16x9,16d2,8x8,8d2,4x7,4d4,1x5"
    """Blocks of the encoder: `64x11` is 11 blocks at 64 x 64, `64d2` one that halves the resolution."""
    decoder_blocks: str = "1x2,4m1,4x3,8m4,8x7,16m8,16x15,32m16,32x31,64m32,64x12"
    """Blocks of the decoder: `4m1` is one block at 4 x 4 that starts from what stands at 1 x 1."""
    width: int = Field(512, ge=4)
    """Channels."""
    z_channels: int = Field(16, ge=1)
    """Channels of each layer's latents."""
    bottleneck: float = Field(0.25, gt=0, le=1)
    """Channels inside a block, as a share of `width`."""
    n_mixtures: int = Field(10, ge=1)
    """Logistic distributions that make up a pixel's."""

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        encoder = block_string(self.encoder_blocks, "encoder_blocks", "xd")
        decoder = block_string(self.decoder_blocks, "decoder_blocks", "xm")
        seen = {encoder[0][0]}
        for resolution, down in encoder:
            if resolution not in seen:
                raise ValueError(f"`encoder_blocks` has a block at {resolution}, but reaches {sorted(seen)} only")
            seen.add(resolution // (down or 1))
        made: set[int] = set()
        for resolution, source in decoder:
            if resolution not in seen:
                raise ValueError(f"`decoder_blocks` needs {resolution} x {resolution}, the encoder has {sorted(seen)}")
            if source is not None and source not in made:
                raise ValueError(f"`decoder_blocks`: {resolution}m{source} comes before any block at {source}")
            made.add(resolution)
        if encoder[0][0] not in made:
            raise ValueError(f"`decoder_blocks` never reaches the image's resolution, {encoder[0][0]}")
        if self.n_layers > len(decoder):
            raise ValueError(f"`n_layers: {self.n_layers}`, but the decoder has {len(decoder)}")
        return self


def block_string(text: str, name: str, kinds: str) -> list[tuple[int, int | None]]:
    """Return (resolution, factor or source) of each block of a string such as ``4x3,4d4,1x5``."""
    blocks: list[tuple[int, int | None]] = []
    for part in text.split(","):
        found = re.fullmatch(rf"([1-9]\d*)([{kinds}])([1-9]\d*)", part.strip())
        if found is None:
            allowed = " or ".join(f"8{kind}2" for kind in kinds)
            raise ValueError(f"`{name}`: '{part.strip()}' is no block; write {allowed}")
        resolution, kind, number = int(found[1]), found[2], int(found[3])
        blocks += [(resolution, None)] * number if kind == "x" else [(resolution, number)]
    return blocks


class GeneratorSettings(Noun):
    """What every generator has."""

    guidable: ClassVar[bool] = False
    """Whether a region can guide it."""
    revision: ClassVar[int] = 2
    """Raised when the same settings draw other images; stands in the keys of what is drawn."""
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

    encoder: str = Field(examples=["efficientnet"])
    """Name of an encoder."""
    layer: str = Field(examples=["blocks.5"])
    """One of its layers."""


class SmallSettings(GeneratorSettings):
    """A small diffusion network (diffusers UNet, DDIM) that brainbench trains itself, on a CPU in minutes."""

    built_by = "brainbench.reconstruction.generators.small:SmallGenerator"
    guidable = True
    name: Literal["small"] = "small"
    image_size: int = Field(32, ge=8, le=128)
    """Side of its images, in pixels; a multiple of 4."""
    grey: bool = False
    """Grey images."""
    condition_on: list[ConditionOn] = Field([], examples=[[{"encoder": "efficientnet", "layer": "blocks.5"}]])
    """Features that condition it; the same are predicted from responses. [] is for `kind: explore` alone."""
    train_on: str = "training"
    """`training` (each fold's own training stimuli), `patterns` (drawn random and letter-like patterns, none of them
    in the data), `drawings` (drawn pictures of shapes, textures and letters, none of them in the data), or a folder of
    images, from which those that equal a stimulus are left out."""
    n_images: int = Field(2000, ge=16)
    """Images it is trained on (`patterns`, `drawings`)."""
    width: int = Field(32, ge=8)
    """Channels of its first level."""
    patch: int | None = Field(None, ge=1, le=16, examples=[2])
    """Side of the patches of pixels that are one place to it: twice the side is a quarter of the work, at some loss of
    detail; null takes 1 below 24 pixels, 2 below 64, else 4."""
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
        if self.patch is not None and self.image_size % (2 * self.patch):
            raise ValueError(f"`patch: {self.patch}` must divide half of `image_size: {self.image_size}`")
        return self


class PretrainedSettings(GeneratorSettings):
    """What the generators with downloaded weights have."""

    image_size: int = Field(512, ge=8, le=2048)
    """Side of the images, in pixels."""
    accept_license: bool = False
    """That you read the licence of the weights and keep to it; asked for where it forbids commercial use."""


class IpAdapterSettings(PretrainedSettings):
    """Stable Diffusion image-to-image with an IP-Adapter: the default for photographs."""

    built_by = "brainbench.reconstruction.generators.ip_adapter:IpAdapter"
    name: Literal["ip-adapter"] = "ip-adapter"
    model: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    """Hub name, or a local folder in diffusers' layout."""
    adapter: str = "h94/IP-Adapter"
    """Hub name, or a local folder, of the adapter and its image encoder."""
    adapter_weights: str = "models/ip-adapter_sd15.safetensors"
    """File inside it: the base adapter takes pooled image features, a "plus" adapter takes tokens."""
    adapter_encoder: str = "models/image_encoder"
    """Folder inside it with the image encoder."""
    adapter_scale: float = Field(0.6, ge=0, le=2)
    """Weight of the image features beside the text's."""


class StableDiffusionSettings(PretrainedSettings):
    """Stable Diffusion 1.x or 2.x alone, with the empty text: what `kind: explore` guides."""

    built_by = "brainbench.reconstruction.generators.stable_diffusion:StableDiffusion"
    guidable = True
    name: Literal["stable-diffusion"] = "stable-diffusion"
    model: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    """Hub name, or a local folder in diffusers' layout."""


class VersatileSettings(PretrainedSettings):
    """Versatile Diffusion, guided by image and text tokens at once: what Brain-Diffuser used."""

    built_by = "brainbench.reconstruction.generators.versatile:VersatileDiffusion"
    name: Literal["versatile-diffusion"] = "versatile-diffusion"
    model: str = "shi-labs/versatile-diffusion"
    """Hub name, or a local folder in diffusers' layout."""
    mixing: float = Field(0.4, ge=0, le=1)
    """Share of the text in every cross-attention; the rest is the image's."""


class KandinskySettings(PretrainedSettings):
    """Kandinsky 2.2 image-to-image: one image vector is all it needs, the smallest target of all."""

    built_by = "brainbench.reconstruction.generators.kandinsky:Kandinsky"
    name: Literal["kandinsky22"] = "kandinsky22"
    model: str = "kandinsky-community/kandinsky-2-2-decoder"
    """Hub name, or a local folder, of the decoder."""
    prior: str = "kandinsky-community/kandinsky-2-2-prior"
    """Hub name, or a local folder, that holds the image encoder."""
    guidance: float = Field(4.0, ge=0)
    """Weight of classifier-free guidance; 1 is none."""


class CascadeSettings(PretrainedSettings):
    """Stable Cascade: an image and a text vector make 24 x 24 latents, and those the image."""

    built_by = "brainbench.reconstruction.generators.cascade:StableCascade"
    name: Literal["stable-cascade"] = "stable-cascade"
    model: str = "stabilityai/stable-cascade"
    """Hub name, or a local folder, of stage B."""
    prior: str = "stabilityai/stable-cascade-prior"
    """Hub name, or a local folder, of stage C and the encoders."""
    image_size: int = Field(1024, ge=8, le=2048)
    """Side of the images, in pixels."""
    guidance: float = Field(4.0, ge=0)
    """Weight of classifier-free guidance in stage C; 1 is none."""
    steps: int = Field(20, ge=1, le=1000)
    """Steps of stage C."""
    decoder_steps: int = Field(10, ge=1, le=1000)
    """Steps of stage B, where the initial image enters (`strength` of them are taken)."""


CODECS = Catalogue(
    "codecs", "codec", CodecSettings, module=__name__, tag="codec", section="low_level", room="reconstruction"
)
"""Settings of codecs by name. A builder is called with them, the seed and the device and returns a
`brainbench.reconstruction.base.Codec`."""
GENERATORS = Catalogue(
    "generators",
    "generator",
    GeneratorSettings,
    module=__name__,
    tag="name",
    section="generator",
    room="reconstruction",
)
"""Settings of generators by name. A builder is called with them, the recipe's encoders (``{name: (Encoder,
settings)}``), the seed and the device and returns a `brainbench.reconstruction.base.Generator`."""

if TYPE_CHECKING:
    AnyCodec = CodecSettings
    AnyGenerator = GeneratorSettings
else:
    AnyCodec = Annotated[CodecSettings, CODECS]
    AnyGenerator = Annotated[GeneratorSettings, GENERATORS]


def generator_settings(values: dict[str, Any]) -> GeneratorSettings:
    """Return validated settings of a generator from plain values, for use from Python."""
    return GENERATORS.settings(values)


def codec_settings(values: dict[str, Any]) -> CodecSettings:
    """Return validated settings of a codec from plain values, for use from Python."""
    return CODECS.settings(values)
