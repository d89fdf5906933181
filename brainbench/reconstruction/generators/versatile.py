"""Versatile Diffusion guided by image and text tokens at once: the generator of Brain-Diffuser.

diffusers keeps the model among its deprecated ones, and its networks no longer run: their blocks pass an argument on
that `DualTransformer2DModel.forward` does not take. `repaired` drops it; a test holds the installed diffusers against
exactly this defect, and fails when it is mended or becomes another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.reconstruction.base import Condition
from brainbench.reconstruction.codecs.autoencoder import Autoencoder
from brainbench.reconstruction.generators.clip import ClipImage, ClipText
from brainbench.reconstruction.generators.latent_diffusion import LatentDiffusion, Tensors, guided, sample
from brainbench.reconstruction.generators.steps import time_steps
from brainbench.reconstruction.pretrained import Pretrained, find, quiet

if TYPE_CHECKING:
    import torch

    from brainbench.recipes.reconstruction import VersatileSettings

UNWANTED = "encoder_attention_mask"
"""What the blocks of diffusers pass to a dual transformer, which cannot take it."""


class VersatileDiffusion(LatentDiffusion):
    """Versatile Diffusion's image network with the cross-attentions of both its flows, sampled by DDIM.

    Conditions: ``clip_image``, all projected tokens of CLIP's image encoder divided by the norm of the class token's
    (257 x 768), and ``clip_text``, those of its text encoder divided by the norm of the pooled vector (77 x 768).

    Parameters
    ----------
    settings : VersatileSettings
    encoders : mapping
        Not used: it brings its own.
    seed : int
        Not used: seeds come with the images.
    device : str
    """

    settings: VersatileSettings

    def __init__(
        self, settings: VersatileSettings, encoders: Mapping[str, Any], seed: int = 0, device: str = "auto"
    ) -> None:
        from diffusers import UNet2DConditionModel

        super().__init__(settings, device)
        self.model = find(
            settings.model, self.what,
            networks=["image_unet", "text_unet", "vae", "image_encoder", "text_encoder"],
            others=["image_feature_extractor", "tokenizer", "scheduler"],
        )  # fmt: skip
        self.autoencoder = Autoencoder(self.model, "vae", self.device)
        side = self.autoencoder.side(settings.image_size)
        self.shape = (self.autoencoder.channels, side, side)
        self.image = ClipImage(self.model, "image_encoder", "image_feature_extractor", self.device)
        self.text = ClipText(self.model, "text_encoder", "tokenizer", projected=True, device=self.device)
        wanted = self.model.config("image_unet", UNet2DConditionModel)["cross_attention_dim"]
        for encoder in (self.image, self.text):
            if encoder.shapes["tokens"][1] != wanted:
                raise UserError(
                    f"{self.what}: {self.model.model} attends to tokens of {wanted} numbers, its {encoder.part} gives "
                    f"{encoder.shapes['tokens'][1]}"
                )
        time_steps(self.scheduler, settings.steps)  # refused before anything is computed

    def conditions(self) -> list[Condition]:
        """Return image tokens and text tokens."""
        return [
            Condition("clip_image", self.image, "tokens", "flatten", self.image.shapes["tokens"]),
            Condition("clip_text", self.text, "tokens", "flatten", self.text.shapes["tokens"]),
        ]

    def sources(self) -> dict[str, tuple[Pretrained, tuple[str, ...]]]:
        """Return what its weights are read from."""
        return {"model": (self.model, ("image_unet", "text_unet", "vae", "image_encoder", "text_encoder"))}

    def parameters(self) -> dict[str, Any]:
        """Return settings, weights with their digests, and the sampler."""
        return {**super().parameters(), "sampler": "DDIM, noise and first step at one index"}

    @cached_property
    def unet(self) -> Any:
        """The image network with both flows' cross-attentions, read when first needed."""
        from diffusers import UNet2DConditionModel, VersatileDiffusionDualGuidedPipeline
        from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel

        unet = self.model.load(UNet2DConditionModel, "image_unet")
        with quiet():
            pipeline: Any = VersatileDiffusionDualGuidedPipeline(
                tokenizer=self.text.tokenizer, image_feature_extractor=None, text_encoder=self.text.network,
                image_encoder=self.image.network, image_unet=unet, vae=self.autoencoder.network,
                text_unet=self.model.load(UNetFlatConditionModel, "text_unet"), scheduler=self.scheduler,
            )  # fmt: skip
            pipeline.remove_unused_weights()
        lengths = [self.text.shapes["tokens"][0], self.image.shapes["tokens"][0]]
        return repaired(unet, mixing=self.settings.mixing, lengths=lengths).requires_grad_(False).to(self.device)

    @cached_property
    def scheduler(self) -> Any:
        """DDIM with the model's own noise schedule."""
        from diffusers import DDIMScheduler

        return self.model.tool(DDIMScheduler, "scheduler", clip_sample=False)

    @cached_property
    def _nothing(self) -> torch.Tensor:
        """The conditions of the unguided pass: the empty text and a grey image."""
        import torch

        grey = np.full((1, self.image.size, self.image.size, 3), 127.5)
        return torch.cat(
            [self.text.read([""])["tokens"], self.image.read(self.image.normalised(grey))["tokens"]], dim=1
        )

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the mode of the posterior, scaled (the paper drew an unseeded sample)."""
        return self.autoencoder.encode(pixels)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels of latents."""
        return self.autoencoder.decode(latents)

    def denoise(
        self, features: Tensors, start: torch.Tensor | None, generators: list[torch.Generator], tick: Callable[[], None]
    ) -> torch.Tensor:
        """Return finished latents of a batch."""
        import torch

        n = len(generators)
        given = torch.cat([features["clip_text"], features["clip_image"]], dim=1)
        tokens = torch.cat([self._nothing.expand_as(given), given])

        def predict(latents: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            def both(copies: int) -> torch.Tensor:
                out: torch.Tensor = self.unet(
                    torch.cat([latents] * copies), step, encoder_hidden_states=tokens[-copies * n :]
                ).sample
                return out

            return guided(both, self.settings.guidance)

        return sample(
            self.scheduler, predict, start, self.shape, generators, steps=self.settings.steps,
            strength=self.settings.strength, device=self.device, tick=tick,
        )  # fmt: skip


def repaired(unet: Any, *, mixing: float, lengths: list[int]) -> Any:
    """Return a network with dual transformers that runs, mixing text and image tokens.

    Parameters
    ----------
    unet : UNet2DConditionModel
        Its `DualTransformer2DModel` blocks hold the image's transformer first and the text's second.
    mixing : float
        Share of the text's residual; the rest is the image's.
    lengths : list of int
        Number of text tokens and of image tokens, in the order in which they are joined.

    Raises
    ------
    UserError
        If there is no dual transformer in it.
    """
    from diffusers.models import DualTransformer2DModel

    def drop(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if kwargs.get(UNWANTED) is not None:
            raise NotImplementedError(f"a dual transformer has no {UNWANTED}, and one was given")
        return args, {name: value for name, value in kwargs.items() if name != UNWANTED}

    found = 0
    for module in unet.modules():
        if isinstance(module, DualTransformer2DModel):
            module.mix_ratio = mixing
            module.condition_lengths = list(lengths)
            module.transformer_index_for_condition = [1, 0]
            module.register_forward_pre_hook(drop, with_kwargs=True)
            found += 1
    if not found:
        raise UserError("generator 'versatile-diffusion': the model's image network has no cross-attention to share")
    return unet
