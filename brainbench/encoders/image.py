"""Any timm model as an encoder of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError, did_you_mean
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Pool
from brainbench.encoders.network import Inputs, NetworkEncoder
from brainbench.encoders.pixels import checked_image, square
from brainbench.encoders.selfcheck import REFUSALS, Probe, checked
from brainbench.networks.devices import resolve_device
from brainbench.networks.imported import imported
from brainbench.networks.weights import (
    digest_weights,
    hub,
    installed_efficientnet_lite0,
    load_into,
    read_weights,
    seeded,
)

if TYPE_CHECKING:
    import torch

    from brainbench.recipes.encoders import ImageSettings

INSTALLED = "tf_efficientnet_lite0"
"""The model whose ImageNet weights install as a package."""
SIZES = "a transformer's patches divide it; without `image_size` pictures become as large as the model was made for"
"""What to know of `image_size` where a network does not take it."""


class ImageEncoder(NetworkEncoder):
    """A timm model: features of its blocks (stages of a convolutional network, blocks of a transformer).

    Parameters
    ----------
    settings : ImageSettings
    seed : int
        Seed of ``weights: random``.
    device : str
        ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.
    batch_size : int, optional
        Images per forward pass; by default as many as memory allows, at most 32 (128 on a GPU).

    Attributes
    ----------
    network : torch.nn.Module
        In evaluation mode, on `device`.
    """

    modalities = ("image",)

    def __init__(
        self, settings: ImageSettings, *, seed: int = 0, device: str = "auto", batch_size: int | None = None
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self.untrained = settings.weights == "random"
        self.device = resolve_device(device)
        self._seed = seed
        self._files: list[Path] = []
        self.network = self._build().eval().requires_grad_(False).to(self.device)
        self._weights = digest_weights(self.network)
        # Weights of convolutions over volumes (lambda networks) have no such order.
        if self.device == "cpu" and all(tensor.dim() < 5 for tensor in self.network.state_dict().values()):
            import torch

            self.network = self.network.to(memory_format=torch.channels_last)  # convolutions take 1.2 times less
        config: Any = self.network.pretrained_cfg
        channels, height, width = config["input_size"]
        if channels != 3:
            raise UserError(f"encoder '{self.name}': {settings.model} reads {channels} channels, images have 3")
        size = settings.image_size
        self._size = (height, width) if size is None else (size, size)
        self._interpolation = str(config["interpolation"])
        self._mean, self._std = tuple(config["mean"]), tuple(config["std"])
        self._batch_size = batch_size
        self.reading = checked(
            self.network, self._probe, {"device": self.device, **self._settings()}, f"encoder '{self.name}'"
        )
        self.pools = ("cls", "mean", "flatten") if self.reading.class_token else ("mean", "flatten")
        self.note = "; ".join(self.reading.said)

    def _build(self) -> Any:
        timm = imported("timm")
        settings, model = self.settings, self.settings.model
        on_hub = model.startswith(("hf-hub:", "hf_hub:"))
        if not on_hub and not timm.is_model(model.partition(".")[0]):
            raise UserError(
                f"encoder '{self.name}': timm {timm.__version__} has no model '{model}'"
                f"{did_you_mean(model, timm.list_models())}",
                hint="`timm.list_models()` lists them",
            )
        options: dict[str, Any] = {}
        if settings.image_size is not None and _fixed_input(model):
            options["img_size"] = settings.image_size
        if settings.weights == "pretrained":
            with hub(f"encoder '{self.name}': weights of timm model '{model}'"):
                return self._created(pretrained=True, **options)
        with seeded(self._seed):
            network = self._created(pretrained=False, **options)
        if settings.weights == "installed":
            if model != INSTALLED:
                raise UserError(
                    f"encoder '{self.name}': `weights: installed` exists for {INSTALLED} only, not for '{model}'"
                )
            self._files = [installed_efficientnet_lite0(network)]
        elif settings.weights != "random":
            path = Path(settings.weights).expanduser()
            network = load_into(network, read_weights(path), path)
            self._files = [path]
        return network

    def _created(self, *, pretrained: bool, **options: Any) -> Any:
        """Return timm's network; a size that it cannot be built for is refused."""
        import timm

        try:
            return timm.create_model(self.settings.model, pretrained=pretrained, **options)
        except REFUSALS as error:
            if not options:
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(
                f"encoder '{self.name}': image_size: {self.settings.image_size}: '{self.settings.model}' cannot be "
                f"built for it ({reason})",
                hint=SIZES,
            ) from error

    def _settings(self) -> dict[str, Any]:
        return {
            "model": self.settings.model,
            "weights": self._weights,
            "size": list(self._size),
            "interpolation": self._interpolation,
            "mean": list(self._mean),
            "std": list(self._std),
        }

    def parameters(self) -> dict[str, Any]:
        """Return model, preprocessing and the digest of the weights."""
        return {**self._settings(), "taps": len(self.taps), **self._unusual()}

    def _unusual(self) -> dict[str, Any]:
        """Return how layers are read where it does not follow from what timm says of the whole model."""
        n_prefix = int(getattr(self.network, "num_prefix_tokens", 0))
        plain_map = "map_last" if getattr(self.network, "output_fmt", "NCHW") == "NHWC" else "map"
        unusual = {
            tap.name: [tap.item, tap.layout, tap.n_prefix]
            for tap in self.taps
            if tap.item
            or (tap.layout not in ("vector", plain_map) and (tap.layout, tap.n_prefix) != ("tokens", n_prefix))
        }
        return {"reading": unusual} if unusual else {}

    def weight_files(self) -> list[Path]:
        """Return the file the weights were read from, if there is one."""
        return self._files

    def _probe(self) -> Probe:
        """Return two pictures of noise, and timm's own feature maps of them."""
        rng = np.random.default_rng(0)
        pixels = self.prepare(list(rng.integers(0, 256, (2, *self._size, 3)).astype(np.uint8)))

        def together() -> list[torch.Tensor] | None:
            maps: Any = getattr(self.network, "forward_intermediates", None)
            if maps is None:
                self.network(pixels)
                return None
            return list(maps(pixels, intermediates_only=True))

        has_token = getattr(self.network, "cls_token", None) is not None
        probe = Probe(together, lambda: self.network(pixels[:1]), None, None, has_token, "stem")
        return probe if self.settings.image_size is None else replace(probe, hint=SIZES)

    def prepare(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Resize and normalise images, ``(n, 3, height, width)`` float32 on the device."""
        import torch

        height, width = self._size
        batch = np.stack([square(image, height, width, self._interpolation) for image in images])
        pixels = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).float()
        scale = 1 / (255 * torch.tensor(self._std, device=self.device).view(3, 1, 1))
        shift = torch.tensor(self._mean, device=self.device).view(3, 1, 1) * 255
        return ((pixels - shift) * scale).contiguous()

    def inputs(self, stimuli: Stimuli, rows: Sequence[int]) -> Inputs:
        """Return pictures resized and normalised."""
        images = [checked_image(stimuli.load(i), stimuli.ids[i]) for i in rows]
        return Inputs(len(images), (self.prepare(images),), grid=self._grid)

    @property
    def _grid(self) -> tuple[int, int] | None:
        """Rows and columns of patches, where the network cuts pictures into such."""
        size = getattr(getattr(self.network, "patch_embed", None), "patch_size", None)
        if not isinstance(size, tuple) or len(size) != 2:
            return None
        return self._size[0] // int(size[0]), self._size[1] // int(size[1])

    def differentiable(self, layer: str, pool: Pool) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the way from pictures to features as one function that gradients pass through.

        It takes pictures ``(n, 3, height, width)`` with values in [0, 1], resizes them as `encode` does and gives
        features ``(n, n_features)``, equal to those of `encode` but for the rounding of resized pixels.
        """
        import torch
        import torch.nn.functional as F

        self.check_pool(pool)
        (tap,) = [one for one in self.taps if one.name == layer]
        mean = torch.tensor(self._mean, device=self.device).view(3, 1, 1)
        std = torch.tensor(self._std, device=self.device).view(3, 1, 1)
        mode = "bilinear" if self._interpolation == "bilinear" else "bicubic"

        def features(pictures: torch.Tensor) -> torch.Tensor:
            if pictures.shape[2:] != self._size:
                pictures = F.interpolate(pictures, self._size, mode=mode, antialias=True).clamp(0, 1)
            inputs = Inputs(len(pictures), ((pictures - mean) / std,))
            return self.run(inputs, [tap], reduce=lambda value, tap: self.pooled(value, tap, pool, inputs))[layer]

        return features


def _fixed_input(model: str) -> bool:
    config = imported("timm").get_pretrained_cfg(model, allow_unregistered=True)
    return bool(config is not None and config.fixed_input_size)
