"""Settings of networks that turn recordings into tokens, and of their training; see docs/sensors.md."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from brainbench.recipes.base import Section


class TokenizerSettings(Section):
    """A tokenizer of sensors (BrainTokenizer, arXiv 2505.18185); the defaults are smaller than the published one."""

    window: int = Field(256, ge=16)
    """Samples that are read together: 512 in the published network."""
    n_filters: int = Field(8, ge=1)
    """Filters of the first convolution, doubled with every stride (32)."""
    ratios: list[int] = Field([4, 4, 2], min_length=1)
    """Strides of the convolutions; their product is the number of samples of a token ([8, 4, 2])."""
    width: int = Field(64, ge=8)
    """Values of a token (256)."""
    n_heads: int = Field(4, ge=1)
    """Heads of attention (4); a lead field has none."""
    n_sources: int = Field(8, ge=1)
    """Latent sources (16)."""
    n_levels: int = Field(4, ge=1)
    """Residual codebooks (4)."""
    n_codes: int = Field(64, ge=2)
    """Codes of each (512)."""
    code_width: int | None = Field(None, ge=2, examples=[8])
    """Values of a code: tokens are projected to so few before the codebooks, and back after them; null, as published:
    codes are as wide as tokens."""
    gradient: Literal["rotation", "straight", "whole"] = "rotation"
    """How gradients pass the codebooks: by the rotation trick or straight through, level by level; or once, straight
    through the sum of all levels."""
    mixing: Literal["attention", "field"] = "attention"
    """How sources read sensors, and sensors are decoded from sources: attention, as published, or a lead field that is
    learned, and its least-squares inverse."""
    phase: Literal["circular", "released"] = "circular"
    """Distance of phases in the objective: the shorter way round, or the released code's plain difference."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        stride = 1
        for ratio in self.ratios:
            if ratio < 2:
                raise ValueError(f"`ratios` are strides of at least 2, got {self.ratios}")
            stride *= ratio
        if self.window % stride:
            raise ValueError(
                f"`window` ({self.window} samples) must be a multiple of the product of `ratios` ({stride})"
            )
        if self.width % self.n_heads or self.width % 2:
            raise ValueError(f"`width` ({self.width}) must be even and a multiple of `n_heads` ({self.n_heads})")
        return self


class MaskedSettings(Section):
    """A model that predicts masked codes of the tokenizer (BrainOmni); the defaults are a small one."""

    width: int = Field(64, ge=8)
    """Width of the blocks (tiny: 256, base: 512)."""
    n_heads: int = Field(4, ge=2)
    """Heads: half of them along time, half between sources (8, 16)."""
    depth: int = Field(4, ge=2)
    """Blocks (12)."""
    drop_prob: float = Field(0.1, ge=0, lt=1)
    """Dropout."""
    rope: Literal["correct", "released"] = "correct"
    """Rotary positions, or the cosines alone that the published weights hold."""
    steps: int = Field(500, ge=1)
    """Steps of training."""
    learning_rate: float = Field(5e-4, gt=0)
    """Largest learning rate."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.n_heads % 2 or self.width % (2 * self.n_heads):
            raise ValueError(
                f"`n_heads` ({self.n_heads}) must be even and `width` ({self.width}) a multiple of twice as many"
            )
        return self


class PretrainTraining(Section):
    """How the tokenizer is trained."""

    steps: int = Field(1500, ge=1)
    """Steps in all."""
    batch_size: int = Field(8, ge=1)
    """Segments of a step, all of one participant."""
    sensors: int | None = Field(None, ge=2, examples=[16])
    """Sensors drawn for each step, at random; null takes all. Fewer cost less, and show the network many layouts."""
    codes_after: int = Field(0, ge=0)
    """Steps before the codebooks begin, as k-means of what the codec has become; until then tokens pass as they are."""
    learning_rate: float = Field(1e-3, gt=0)
    """Largest learning rate: up in the first steps, then down by half a cosine."""
    weight_decay: float = Field(0.01, ge=0)
    """Of AdamW."""
    ema: float | None = Field(0.99, ge=0, lt=1)
    """Decay of the moving average of the weights that is taken at the end; null takes the last weights."""
    bf16: bool = True
    """Compute in bfloat16 where there is CUDA; it changes nothing elsewhere."""

    @model_validator(mode="after")
    def _codes_begin(self) -> Self:
        if self.codes_after >= self.steps:
            raise ValueError(f"`codes_after` ({self.codes_after}) must be less than `steps` ({self.steps})")
        return self
