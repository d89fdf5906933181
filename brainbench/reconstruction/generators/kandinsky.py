"""Kandinsky 2.2 image-to-image: one image vector of 1,280 numbers conditions it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from brainbench.core.errors import UserError
from brainbench.reconstruction.base import Condition
from brainbench.reconstruction.codecs.autoencoder import latent_side
from brainbench.reconstruction.generators.clip import ClipImage
from brainbench.reconstruction.generators.latent_diffusion import LatentDiffusion, Tensors, guided, sample
from brainbench.reconstruction.generators.steps import time_steps
from brainbench.reconstruction.pretrained import Pretrained, find

if TYPE_CHECKING:
    import torch

    from brainbench.recipes.reconstruction import KandinskySettings


class Kandinsky(LatentDiffusion):
    """Kandinsky's decoder, sampled by DDPM as it was trained; its prior, which guesses the vector, is not needed.

    Condition: ``clip_image``, the projected class token of CLIP ViT-bigG/14.

    Parameters
    ----------
    settings : KandinskySettings
    encoders : mapping
        Not used: it brings its own.
    seed : int
        Not used: seeds come with the images.
    device : str
    """

    settings: KandinskySettings

    def __init__(
        self, settings: KandinskySettings, encoders: Mapping[str, Any], seed: int = 0, device: str = "auto"
    ) -> None:
        from diffusers import UNet2DConditionModel, VQModel

        super().__init__(settings, device)
        self.model = find(settings.model, self.what, networks=["unet", "movq"], others=["scheduler"])
        self.prior = find(settings.prior, self.what, networks=["image_encoder"], others=["image_processor"])
        movq = self.model.config("movq", VQModel)
        side = latent_side(settings.image_size, 2 ** (len(movq["block_out_channels"]) - 1), self.model)
        self.shape = (int(movq["latent_channels"]), side, side)
        self.image = ClipImage(self.prior, "image_encoder", "image_processor", self.device)
        wanted, given = (
            self.model.config("unet", UNet2DConditionModel)["encoder_hid_dim"],
            self.image.shapes["pooled"][0],
        )
        if wanted != given:
            raise UserError(
                f"{self.what}: {settings.model} takes image vectors of {wanted} numbers, {settings.prior} gives {given}"
            )
        time_steps(self.scheduler, settings.steps)  # refused before anything is computed

    def conditions(self) -> list[Condition]:
        """Return the image vector."""
        return [Condition("clip_image", self.image, "pooled", "flatten", self.image.shapes["pooled"])]

    def sources(self) -> dict[str, tuple[Pretrained, tuple[str, ...]]]:
        """Return what its weights are read from."""
        return {"model": (self.model, ("unet", "movq")), "image encoder": (self.prior, ("image_encoder",))}

    def parameters(self) -> dict[str, Any]:
        """Return settings, weights with their digests, and the sampler."""
        return {**super().parameters(), "sampler": "DDPM"}

    @cached_property
    def unet(self) -> Any:
        """The network, read when first needed."""
        from diffusers import UNet2DConditionModel

        return self.model.load(UNet2DConditionModel, "unet", self.device)

    @cached_property
    def movq(self) -> Any:
        """The autoencoder, read when first needed."""
        from diffusers import VQModel

        return self.model.load(VQModel, "movq", self.device)

    @cached_property
    def scheduler(self) -> Any:
        """The model's own sampler."""
        from diffusers import DDPMScheduler

        return self.model.tool(DDPMScheduler, "scheduler")

    @cached_property
    def _nothing(self) -> torch.Tensor:
        """The condition of the unguided pass: the vector of an image of zeros."""
        import torch

        return self.image.read(torch.zeros(1, 3, self.image.size, self.image.size))["pooled"]

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return latents before quantisation."""
        latents: torch.Tensor = self.movq.encode(pixels).latents
        return latents

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels of latents, which are not quantised."""
        pixels: torch.Tensor = self.movq.decode(latents, force_not_quantize=True).sample
        return pixels

    def denoise(
        self, features: Tensors, start: torch.Tensor | None, generators: list[torch.Generator], tick: Callable[[], None]
    ) -> torch.Tensor:
        """Return finished latents of a batch."""
        import torch

        n, channels = len(generators), self.shape[0]
        vectors = torch.cat([self._nothing.expand(n, -1), features["clip_image"]])
        learned = self.scheduler.config.variance_type in ("learned", "learned_range")

        def predict(latents: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            variance = None

            def both(copies: int) -> torch.Tensor:
                nonlocal variance
                out = self.unet(
                    torch.cat([latents] * copies), step, encoder_hidden_states=None,
                    added_cond_kwargs={"image_embeds": vectors[-copies * n :]},
                ).sample  # fmt: skip
                noise, both_variances = out.split([channels, out.shape[1] - channels], dim=1)
                variance = both_variances[-n:]  # the one with the condition is not guided
                return noise

            noise = guided(both, self.settings.guidance)
            return torch.cat([noise, variance], dim=1) if learned and variance is not None else noise

        return sample(
            self.scheduler, predict, start, self.shape, generators, steps=self.settings.steps,
            strength=self.settings.strength, device=self.device, tick=tick,
        )  # fmt: skip
