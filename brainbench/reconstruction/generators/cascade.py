"""Stable Cascade: stage C makes small latents from an image and a text vector, stage B large ones, a VQGAN pixels.

The initial image enters in stage B, as latents of the VQGAN. Stage C's own latents of an image come from an
EfficientNet that diffusers does not have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from brainbench.core.errors import UserError
from brainbench.reconstruction.base import Condition
from brainbench.reconstruction.codecs.autoencoder import latent_side
from brainbench.reconstruction.generators.clip import ClipImage, ClipText
from brainbench.reconstruction.generators.latent_diffusion import (
    LatentDiffusion,
    Tensors,
    guided,
    sample,
    steps_taken,
)
from brainbench.reconstruction.pretrained import Pretrained, find

if TYPE_CHECKING:
    import torch

    from brainbench.recipes.reconstruction import CascadeSettings

RESOLUTION_MULTIPLE = 42.67
"""Pixels per latent of stage C (Pernias et al. 2024: 1,024 x 1,024 pixels in 24 x 24 latents)."""


class StableCascade(LatentDiffusion):
    """Stage C guided by image and text, stage B unguided, both sampled by DDPM in continuous time.

    Conditions: ``clip_image``, the projected class token of CLIP ViT-L/14 (768), and ``clip_text``, the projected
    pooled vector of its text encoder (1,280). The text's single tokens are those of the empty text.

    Parameters
    ----------
    settings : CascadeSettings
    encoders : mapping
        Not used: it brings its own.
    seed : int
        Not used: seeds come with the images.
    device : str
    """

    settings: CascadeSettings

    def __init__(
        self, settings: CascadeSettings, encoders: Mapping[str, Any], seed: int = 0, device: str = "auto"
    ) -> None:
        from diffusers.models import StableCascadeUNet
        from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel

        super().__init__(settings, device)
        self.prior = find(
            settings.prior, self.what, networks=["prior", "image_encoder", "text_encoder"],
            others=["feature_extractor", "tokenizer", "scheduler"],
        )  # fmt: skip
        self.model = find(settings.model, self.what, networks=["decoder", "vqgan"], others=["scheduler"])
        vqgan = self.model.config("vqgan", PaellaVQModel)
        stage_c = self.prior.config("prior", StableCascadeUNet)
        reduction = int(vqgan["up_down_scale_factor"]) * 2 ** (int(vqgan["levels"]) - 1)
        side = latent_side(settings.image_size, reduction, self.model)
        self.shape = (int(vqgan["latent_channels"]), side, side)
        small = math.ceil(settings.image_size / RESOLUTION_MULTIPLE)
        self.small_shape = (int(stage_c["in_channels"]), small, small)
        self._scale = float(vqgan["scale_factor"])
        self.image = ClipImage(self.prior, "image_encoder", "feature_extractor", self.device)
        self.text = ClipText(self.prior, "text_encoder", "tokenizer", projected=True, device=self.device)
        for key, encoder in (("clip_image_in_channels", self.image), ("clip_text_pooled_in_channels", self.text)):
            if stage_c[key] != encoder.shapes["pooled"][0]:
                raise UserError(
                    f"{self.what}: stage C takes vectors of {stage_c[key]} numbers, {settings.prior}/{encoder.part} "
                    f"gives {encoder.shapes['pooled'][0]}"
                )

    def conditions(self) -> list[Condition]:
        """Return the image vector and the text vector."""
        return [
            Condition("clip_image", self.image, "pooled", "flatten", self.image.shapes["pooled"]),
            Condition("clip_text", self.text, "pooled", "flatten", self.text.shapes["pooled"]),
        ]

    def sources(self) -> dict[str, tuple[Pretrained, tuple[str, ...]]]:
        """Return what its weights are read from."""
        return {
            "prior": (self.prior, ("prior", "image_encoder", "text_encoder")),
            "decoder": (self.model, ("decoder", "vqgan")),
        }

    def parameters(self) -> dict[str, Any]:
        """Return settings, weights with their digests, and the sampler."""
        return {**super().parameters(), "sampler": "DDPM in continuous time", "initial image": "stage B"}

    def n_steps(self, *, initial: bool) -> int:
        """Return how many steps an image takes, over both stages."""
        taken = steps_taken(self.settings.decoder_steps, self.settings.strength, initial=initial)
        return self.settings.steps + taken

    @cached_property
    def stages(self) -> tuple[Any, Any, Any]:
        """Stage C, stage B and the VQGAN, read when first needed."""
        from diffusers.models import StableCascadeUNet
        from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel

        return (
            self.prior.load(StableCascadeUNet, "prior", self.device),
            self.model.load(StableCascadeUNet, "decoder", self.device),
            self.model.load(PaellaVQModel, "vqgan", self.device),
        )

    @cached_property
    def schedulers(self) -> tuple[Any, Any]:
        """The samplers of stage C and stage B."""
        from diffusers import DDPMWuerstchenScheduler

        return tuple(model.tool(DDPMWuerstchenScheduler, "scheduler") for model in (self.prior, self.model))

    @cached_property
    def _empty(self) -> Tensors:
        """The empty text: tokens of the last block before layer norm, and the pooled vector."""
        import torch

        length = self.text.shapes["tokens.hidden"][0]
        words = self.text.tokenizer([""], padding="max_length", max_length=length, return_tensors="pt")
        with torch.inference_mode():
            out = self.text.network(**words.to(self.device), output_hidden_states=True)
        return {"tokens": out.hidden_states[-1], "pooled": out.text_embeds}

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return latents of the VQGAN before quantisation; it reads pixels in [0, 1]."""
        latents: torch.Tensor = self.stages[2].encode(pixels / 2 + 0.5).latents
        return latents / self._scale

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels in [-1, 1] of latents."""
        pixels: torch.Tensor = self.stages[2].decode(latents * self._scale).sample
        return pixels.clamp(0, 1) * 2 - 1

    def denoise(
        self, features: Tensors, start: torch.Tensor | None, generators: list[torch.Generator], tick: Callable[[], None]
    ) -> torch.Tensor:
        """Return finished latents of stage B for a batch."""
        import torch

        n = len(generators)
        stage_c, stage_b, _ = self.stages
        image = torch.cat([torch.zeros_like(features["clip_image"]), features["clip_image"]]).unsqueeze(1)
        text = torch.cat([self._empty["pooled"].expand(n, -1), features["clip_text"]]).unsqueeze(1)
        tokens = self._empty["tokens"].expand(2 * n, -1, -1)

        def predict_small(latents: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            def both(copies: int) -> torch.Tensor:
                rows = slice(-copies * n, None)
                out: torch.Tensor = stage_c(
                    sample=torch.cat([latents] * copies), timestep_ratio=step.expand(copies * n),
                    clip_text_pooled=text[rows], clip_text=tokens[rows], clip_img=image[rows],
                ).sample  # fmt: skip
                return out

            return guided(both, self.settings.guidance)

        common: dict[str, Any] = {"generators": generators, "device": self.device, "tick": tick}
        small = sample(
            self.schedulers[0], predict_small, None, self.small_shape, steps=self.settings.steps, strength=1.0, **common
        )

        def predict_large(latents: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = stage_b(
                sample=latents, timestep_ratio=step.expand(n), clip_text_pooled=text[n:], effnet=small
            ).sample
            return out

        return sample(
            self.schedulers[1], predict_large, start, self.shape, steps=self.settings.decoder_steps,
            strength=self.settings.strength, **common,
        )  # fmt: skip
