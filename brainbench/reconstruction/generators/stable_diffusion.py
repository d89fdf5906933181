"""Any Stable Diffusion 1.x or 2.x alone, with the empty text: what a region guides, or a prior without conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from brainbench.core.errors import UserError
from brainbench.reconstruction.base import Condition
from brainbench.reconstruction.codecs.autoencoder import Autoencoder
from brainbench.reconstruction.generators.clip import ClipText
from brainbench.reconstruction.generators.latent_diffusion import LatentDiffusion, Tensors, sample
from brainbench.reconstruction.pretrained import Pretrained, find

if TYPE_CHECKING:
    import torch

    from brainbench.recipes.reconstruction import StableDiffusionSettings


class StableDiffusion(LatentDiffusion):
    """A text-to-image model of diffusers (UNet, autoencoder, text encoder) that is given the empty text.

    It predicts noise or velocity, as its scheduler says, and is sampled by DDIM.

    Parameters
    ----------
    settings : StableDiffusionSettings
    encoders : mapping
        Not used: it has no conditions.
    seed : int
        Not used: seeds come with the images.
    device : str
    """

    settings: StableDiffusionSettings

    def __init__(
        self, settings: StableDiffusionSettings, encoders: Mapping[str, Any], seed: int = 0, device: str = "auto"
    ) -> None:
        super().__init__(settings, device)
        self.model = find(
            settings.model, self.what, networks=["unet", "vae", "text_encoder"], others=["scheduler", "tokenizer"]
        )
        if self.model.config("unet").get("addition_embed_type"):
            raise UserError(f"{self.what}: {settings.model} is no Stable Diffusion 1.x or 2.x (it wants more inputs)")
        kind = self.scheduler.config["prediction_type"]
        if kind not in ("epsilon", "v_prediction"):
            raise UserError(f"{self.what}: {settings.model} predicts '{kind}', not noise or velocity")
        self.autoencoder = Autoencoder(self.model, "vae", self.device)
        side = self.autoencoder.side(settings.image_size)
        self.shape = (self.autoencoder.channels, side, side)
        self.text = ClipText(self.model, "text_encoder", "tokenizer", projected=False, device=self.device)

    def conditions(self) -> list[Condition]:
        """Return none."""
        return []

    def sources(self) -> dict[str, tuple[Pretrained, tuple[str, ...]]]:
        """Return what its weights are read from."""
        return {"model": (self.model, ("unet", "vae", "text_encoder"))}

    def parameters(self) -> dict[str, Any]:
        """Return settings, weights with their digests, and the sampler."""
        return {**super().parameters(), "sampler": "DDIM", "text": ""}

    @cached_property
    def unet(self) -> Any:
        """The network, read when first needed."""
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        return self.model.load(UNet2DConditionModel, "unet", self.device)

    @cached_property
    def scheduler(self) -> Any:
        """DDIM with the model's own noise schedule; latents lie beyond 1 and must not be clipped."""
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        return self.model.tool(DDIMScheduler, "scheduler", clip_sample=False)

    @cached_property
    def _empty(self) -> torch.Tensor:
        import torch

        # A plain copy, since what was computed in inference mode cannot take part in a gradient.
        with torch.inference_mode(False):
            return self.text.read([""])["tokens.hidden"].clone()

    def predict(self, latents: torch.Tensor, step: Any) -> torch.Tensor:
        """Return what the network predicts at a time step, differentiable in the latents."""
        text = self._empty.expand(len(latents), -1, -1)
        out: torch.Tensor = self.unet(latents, step, encoder_hidden_states=text).sample
        return out

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the mode of the posterior, scaled."""
        return self.autoencoder.encode(pixels)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels of latents."""
        return self.autoencoder.decode(latents)

    def denoise(
        self, features: Tensors, start: torch.Tensor | None, generators: list[torch.Generator], tick: Callable[[], None]
    ) -> torch.Tensor:
        """Return finished latents of a batch."""
        return sample(
            self.scheduler, self.predict, start, self.shape, generators, steps=self.settings.steps,
            strength=self.settings.strength, device=self.device, tick=tick,
        )  # fmt: skip
