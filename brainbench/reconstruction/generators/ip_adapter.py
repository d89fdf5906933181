"""Stable Diffusion image-to-image with an IP-Adapter: text tokens and image features at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainbench.core.errors import UserError
from brainbench.reconstruction.base import Condition
from brainbench.reconstruction.codecs.autoencoder import Autoencoder
from brainbench.reconstruction.generators.clip import ClipImage, ClipText
from brainbench.reconstruction.generators.latent_diffusion import LatentDiffusion, Tensors, guided, sample
from brainbench.reconstruction.generators.steps import time_steps
from brainbench.reconstruction.pretrained import Pretrained, find, quiet

if TYPE_CHECKING:
    import torch

    from brainbench.recipes.reconstruction import IpAdapterSettings


class IpAdapter(LatentDiffusion):
    """Stable Diffusion 1.x or 2.x with an IP-Adapter, sampled by DDIM.

    Conditions: ``clip_image``, the adapter's own image features (pooled, or all tokens for a "plus" adapter), and
    ``clip_text``, the last hidden states of the model's own text encoder.

    Parameters
    ----------
    settings : IpAdapterSettings
    encoders : mapping
        Not used: it brings its own.
    seed : int
        Not used: seeds come with the images.
    device : str
    """

    settings: IpAdapterSettings

    def __init__(
        self, settings: IpAdapterSettings, encoders: Mapping[str, Any], seed: int = 0, device: str = "auto"
    ) -> None:
        super().__init__(settings, device)
        self.model = find(
            settings.model, self.what, networks=["unet", "vae", "text_encoder"], others=["scheduler", "tokenizer"]
        )
        self.adapter = find(
            settings.adapter, self.what, networks=[settings.adapter_encoder], others=[settings.adapter_weights]
        )
        self.autoencoder = Autoencoder(self.model, "vae", self.device)
        side = self.autoencoder.side(settings.image_size)
        self.shape = (self.autoencoder.channels, side, side)
        self.text = ClipText(self.model, "text_encoder", "tokenizer", projected=False, device=self.device)
        self.image = ClipImage(self.adapter, settings.adapter_encoder, None, self.device)
        self.layer = self._fit()
        time_steps(self.scheduler, settings.steps)  # refused before anything is computed

    def _fit(self) -> str:
        """Return the layer that the adapter reads, after checking that model, adapter and encoder fit together."""
        from diffusers import UNet2DConditionModel

        shapes = _shapes(self.adapter.folder / self.settings.adapter_weights, self.what)
        unet = self.model.config("unet", UNet2DConditionModel)
        if unet.get("addition_embed_type"):
            raise UserError(f"{self.what}: {self.model.model} is no Stable Diffusion 1.x or 2.x (it wants more inputs)")
        if "image_proj.proj.weight" in shapes and "image_proj.norm.weight" in shapes:
            layer, read = "pooled", shapes["image_proj.proj.weight"][1]
            made = shapes["image_proj.norm.weight"][0]
        elif "image_proj.latents" in shapes:
            layer, read = "tokens.penultimate", shapes["image_proj.proj_in.weight"][1]
            made = shapes["image_proj.proj_out.weight"][0]
        else:
            raise UserError(
                f"{self.what}: {self.settings.adapter_weights} is neither a base nor a plus IP-Adapter",
                hint="ip-adapter_sd15 and ip-adapter-plus_sd15 are; those for faces are not",
            )
        given = self.image.shapes[layer][-1]
        wide = unet["cross_attention_dim"]
        if read != given:
            raise UserError(
                f"{self.what}: {self.settings.adapter_weights} reads image features of {read} numbers, "
                f"{self.settings.adapter_encoder} gives {given}; take the image encoder that belongs to it"
            )
        if made != wide or self.text.shapes["tokens.hidden"][1] != wide:
            raise UserError(
                f"{self.what}: {self.model.model} attends to tokens of {wide} numbers, the adapter makes {made} and "
                f"the text encoder {self.text.shapes['tokens.hidden'][1]}; take an adapter for this model"
            )
        return layer

    def conditions(self) -> list[Condition]:
        """Return the image features the adapter reads and the text tokens."""
        return [
            Condition("clip_image", self.image, self.layer, "flatten", self.image.shapes[self.layer]),
            Condition("clip_text", self.text, "tokens.hidden", "flatten", self.text.shapes["tokens.hidden"]),
        ]

    def sources(self) -> dict[str, tuple[Pretrained, tuple[str, ...]]]:
        """Return what its weights are read from."""
        return {
            "model": (self.model, ("unet", "vae", "text_encoder")),
            "image encoder": (self.adapter, (self.settings.adapter_encoder,)),
        }

    def weight_files(self) -> list[Path]:
        """Return the files its weights are read from, the adapter's among them."""
        return [*super().weight_files(), self.adapter.folder / self.settings.adapter_weights]

    def parameters(self) -> dict[str, Any]:
        """Return settings, weights with their digests, and the sampler."""
        return {**super().parameters(), "adapter digest": self._adapter_digest, "sampler": "DDIM"}

    @cached_property
    def _adapter_digest(self) -> str:
        from brainbench.core.digests import digest_file

        return digest_file(self.adapter.folder / self.settings.adapter_weights)

    @cached_property
    def unet(self) -> Any:
        """The network with the adapter in it, read when first needed."""
        from diffusers import StableDiffusionImg2ImgPipeline, UNet2DConditionModel

        unet = self.model.load(UNet2DConditionModel, "unet")
        with quiet():
            pipeline: Any = StableDiffusionImg2ImgPipeline(
                vae=self.autoencoder.network, text_encoder=self.text.network, tokenizer=self.text.tokenizer, unet=unet,
                scheduler=self.scheduler, safety_checker=None, feature_extractor=None, image_encoder=None,
                requires_safety_checker=False,
            )  # fmt: skip
            pipeline.load_ip_adapter(
                str(self.adapter.folder), subfolder="", weight_name=self.settings.adapter_weights,
                image_encoder_folder=None, local_files_only=True,
            )  # fmt: skip
        pipeline.set_ip_adapter_scale(self.settings.adapter_scale)
        return unet.eval().requires_grad_(False).to(self.device)

    @cached_property
    def scheduler(self) -> Any:
        """DDIM with the model's own noise schedule; latents lie beyond 1 and must not be clipped."""
        from diffusers import DDIMScheduler

        return self.model.tool(DDIMScheduler, "scheduler", clip_sample=False)

    @cached_property
    def _nothing(self) -> Tensors:
        """The conditions of the unguided pass: the empty text, and what diffusers takes for no image."""
        import torch

        size = self.image.size
        if self.layer == "pooled":
            image = torch.zeros(1, *self.image.shapes["pooled"], device=self.device)
        else:
            image = self.image.read(torch.zeros(1, 3, size, size))[self.layer]
        return {"clip_image": image, "clip_text": self.text.read([""])["tokens.hidden"]}

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
        import torch

        n = len(generators)
        none = {name: value.expand(n, *value.shape[1:]) for name, value in self._nothing.items()}
        text = torch.cat([none["clip_text"], features["clip_text"]])
        # The adapter takes several images per row; ours is one.
        image = torch.cat([none["clip_image"], features["clip_image"]]).unsqueeze(1)

        def predict(latents: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            def both(copies: int) -> torch.Tensor:
                rows = slice(-copies * n, None)
                out: torch.Tensor = self.unet(
                    torch.cat([latents] * copies), step, encoder_hidden_states=text[rows],
                    added_cond_kwargs={"image_embeds": [image[rows]]},
                ).sample  # fmt: skip
                return out

            return guided(both, self.settings.guidance)

        return sample(
            self.scheduler, predict, start, self.shape, generators, steps=self.settings.steps,
            strength=self.settings.strength, device=self.device, tick=tick,
        )  # fmt: skip


def _shapes(path: Path, what: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a safetensors file's tensors, without reading them."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except Exception as error:  # a file of another kind or a damaged one
        raise UserError(f"{what}: {path} is no safetensors file: {error}") from error
