"""Transformers' networks of pictures: ViT, DeiT, BEiT, DINOv2, DINOv3, SigLIP, the picture part of CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.network import Inputs, TransformersEncoder
from brainbench.encoders.pixels import checked_image
from brainbench.encoders.selfcheck import REFUSALS, Probe
from brainbench.networks.pretrained import digest_config, processed
from brainbench.networks.weights import hub

if TYPE_CHECKING:
    import torch

    from brainbench.recipes.encoders import ImageSettings

TOWERS = ("vision_model", "vision_tower", "image_encoder")
"""Names of the part that sees pictures, in networks that read texts too."""
TOKENS = ("cls_token", "class_embedding", "distillation_token", "register_tokens")
"""Parameters that are tokens before those of the picture."""


class TowerEncoder(TransformersEncoder):
    """A network of transformers that cuts pictures into patches; pictures are prepared by its own processor.

    The mean is over patches: class, distillation and register tokens, which stand before them, are left out.

    Parameters
    ----------
    settings : ImageSettings
    seed : int
        Seed of ``weights: random``.
    device : str
    batch_size : int, optional
    """

    modalities = ("image",)
    pools = ("mean", "flatten")
    settings: ImageSettings

    def open_preparation(self) -> None:
        """Open the processor of pictures."""
        from transformers import AutoImageProcessor

        settings = self.settings
        if settings.weights not in ("pretrained", "random"):
            raise UserError(
                f"{self.who}: weights: '{settings.weights}': a model of transformers ('{settings.model}') has its own; "
                "allowed: pretrained, random"
            )
        with hub(f"{self.who}: preprocessing of the model '{settings.model}' (preprocessor_config.json)"):
            self.processor = AutoImageProcessor.from_pretrained(self.source, trust_remote_code=False)
        if settings.image_size is not None:
            raise UserError(
                f"{self.who}: image_size: the processor of '{settings.model}' says how large pictures become",
                hint="leave `image_size` out, or take timm's name of the model",
            )

    def part(self, network: Any) -> Any:
        """Return the part of a network that sees pictures, or all of it."""
        for name in TOWERS:
            part = getattr(network, name, None)
            if part is not None and hasattr(part, "config"):
                return part
        return network

    def look(self) -> None:
        """Count the tokens before the patches."""
        self._n_prefix = self._prefix_tokens()

    def _prefix_tokens(self) -> int:
        """Return how many tokens stand before the patches.

        Raises
        ------
        UserError
            If there are more or fewer tokens than patches and those the network declares.
        """
        import torch

        config = self.config
        pixels = self.prepare([np.zeros((64, 64, 3), np.uint8)])
        patch = getattr(config, "patch_size", None)
        who = f"{self.who}: {type(self.network).__name__}"
        if pixels.ndim != 4 or not isinstance(patch, int):
            raise UserError(f"{who} does not cut a picture into square patches", hint="timm may have it under a name")
        with torch.inference_mode():
            try:
                states = self.network(pixel_values=pixels, output_hidden_states=True).hidden_states
            except REFUSALS as error:
                raise UserError(f"{who} does not run on pictures alone ({str(error).splitlines()[0][:200]})") from error
        n_patches = (pixels.shape[2] // patch) * (pixels.shape[3] // patch)
        declared = sum(
            1 if value.ndim == 1 else int(value.shape[-2])
            for name, value in self.network.named_parameters()
            if name.rpartition(".")[2] in TOKENS
        )
        found = int(states[0].shape[1]) - n_patches
        if states[0].ndim != 3 or found != declared:
            raise UserError(
                f"{who} gives {tuple(states[0].shape)} for a picture of {n_patches} patches and {declared} tokens "
                "before them: which values are places is not known"
            )
        return declared

    def opened(self) -> dict[str, Any]:
        """Return network, preprocessing and the digest of the weights."""
        return {**self.of_network(), "processor": digest_config(self.processor), "n_prefix": self._n_prefix}

    def prepare(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Return pictures as the network's processor gives them, ``(n, 3, height, width)`` float32 on the device."""
        found = processed(self.processor, images)
        pixels: torch.Tensor = found["pixel_values"].float().to(self.device)
        return pixels

    def inputs(self, stimuli: Stimuli, rows: Sequence[int]) -> Inputs:
        """Return pictures as the processor prepares them; the mean is over patches."""
        return self._inputs([checked_image(stimuli.load(i), stimuli.ids[i]) for i in rows])

    def _inputs(self, images: Sequence[np.ndarray]) -> Inputs:
        import torch

        pixels = self.prepare(images)
        patch = int(self.config.patch_size)
        grid = (pixels.shape[2] // patch, pixels.shape[3] // patch)
        special = torch.arange(self._n_prefix + grid[0] * grid[1], device=self.device) < self._n_prefix
        special = special.expand(len(pixels), -1)
        return Inputs(len(pixels), kwargs={"pixel_values": pixels}, mask=~special, special=special, grid=grid)

    def probe(self) -> Probe:
        """Return two pictures of noise, and the hidden states that transformers gives of them."""
        import torch

        rng = np.random.default_rng(0)
        both = self._inputs(list(rng.integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)))
        assert both.mask is not None
        pixels, mask = both.kwargs["pixel_values"], torch.ones_like(both.mask)

        def together() -> list[Any] | None:
            return list(self.network(pixel_values=pixels, output_hidden_states=True).hidden_states)

        has_token = any(
            name.rpartition(".")[2] in ("cls_token", "class_embedding") for name, _ in self.network.named_parameters()
        )
        return Probe(together, lambda: self.network(pixel_values=pixels[:1]), mask, mask[:1], has_token, "stem")
