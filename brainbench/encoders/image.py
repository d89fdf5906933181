"""Any timm model as an encoder of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError, did_you_mean
from brainbench.data.base import Stimuli
from brainbench.encoders.base import ENCODERS, Encoder, Layer, Pool
from brainbench.encoders.capture import Tap, captured, find_taps, first_tensor
from brainbench.encoders.pixels import checked_image, square
from brainbench.networks.devices import automatic_batch, in_batches, resolve_device
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


@ENCODERS.register("image")
class ImageEncoder(Encoder):
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
        config = self.network.pretrained_cfg
        channels, height, width = config["input_size"]
        if channels != 3:
            raise UserError(f"encoder '{self.name}': {settings.model} reads {channels} channels, images have 3")
        size = settings.image_size
        self._size = (height, width) if size is None else (size, size)
        self._interpolation = str(config["interpolation"])
        self._mean, self._std = tuple(config["mean"]), tuple(config["std"])
        self._taps = find_taps(self.network, "stem")
        has_class_token = self._n_prefix > 0 and getattr(self.network, "cls_token", None) is not None
        self.pools = ("cls", "mean", "flatten") if has_class_token else ("mean", "flatten")
        self._batch_size = batch_size

    def _build(self) -> Any:
        import timm

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
                return timm.create_model(model, pretrained=True, **options)
        with seeded(self._seed):
            network = timm.create_model(model, pretrained=False, **options)
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

    def parameters(self) -> dict[str, Any]:
        """Return model, preprocessing and the digest of the weights."""
        return {
            "model": self.settings.model,
            "weights": self._weights,
            "size": list(self._size),
            "interpolation": self._interpolation,
            "mean": list(self._mean),
            "std": list(self._std),
            "taps": len(self._taps),
        }

    def weight_files(self) -> list[Path]:
        """Return the file the weights were read from, if there is one."""
        return self._files

    @property
    def _n_prefix(self) -> int:
        return int(getattr(self.network, "num_prefix_tokens", 0))

    def layers(self) -> list[Layer]:
        """Return the input of the first block (``stem``) and the output of every block."""
        return [Layer(tap.name, tap.depth, self._shapes[0].get(tap.name)) for tap in self._taps]

    @cached_property
    def _shapes(self) -> tuple[dict[str, int], float]:
        """Widths after mean pooling, and the bytes of the largest activation of one image.

        Shapes are inferred on the meta device: nothing is computed. A model that cannot run there has unknown
        widths.
        """
        import torch
        from torch.func import functional_call

        state = {
            name: tensor.to("meta")
            for name, tensor in [*self.network.named_parameters(), *self.network.named_buffers()]
        }
        largest = 0.0

        def measure(_module: Any, args: Any, output: Any) -> None:
            nonlocal largest
            largest = max(largest, 4.0 * sum(first_tensor(value).numel() for value in (args, output)))

        leaves = [module for module in self.network.modules() if not list(module.children())]
        hooks = [leaf.register_forward_hook(measure) for leaf in leaves]
        try:
            with torch.inference_mode(), captured(self.network, self._taps, self._mean_pool) as values:
                functional_call(self.network, state, (torch.empty(1, 3, *self._size, device="meta"),))
            return {name: int(value.shape[1]) for name, value in values.items()}, largest
        except (RuntimeError, NotImplementedError, TypeError):
            return {}, 4.0 * 64 * self._size[0] * self._size[1]
        finally:
            for hook in hooks:
                hook.remove()

    def prepare(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Resize and normalise images, ``(n, 3, height, width)`` float32 on the device."""
        import torch

        height, width = self._size
        batch = np.stack([square(image, height, width, self._interpolation) for image in images])
        pixels = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).float()
        scale = 1 / (255 * torch.tensor(self._std, device=self.device).view(3, 1, 1))
        shift = torch.tensor(self._mean, device=self.device).view(3, 1, 1) * 255
        return ((pixels - shift) * scale).contiguous()

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of features; see `Encoder.encode`."""
        import torch

        self.check_modality(stimuli)
        self.check_pool(pool)
        taps = [tap for tap in self._taps if tap.name in set(layers)]
        pooling = {"mean": self._mean_pool, "cls": _class_token, "flatten": _flatten}[pool]
        batch_size = self._batch_size or automatic_batch(3 * self._shapes[1], self.device)

        def forward(rows: range) -> dict[str, np.ndarray]:
            images = [checked_image(stimuli.load(i), stimuli.ids[i]) for i in rows]
            with torch.inference_mode(), captured(self.network, taps, pooling) as values:
                self.network(self.prepare(images))
            return {tap.name: values[tap.name].cpu().numpy() for tap in taps}

        yield from in_batches(len(stimuli), batch_size, forward)

    def differentiable(self, layer: str, pool: Pool) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the way from pictures to features as one function that gradients pass through.

        It takes pictures ``(n, 3, height, width)`` with values in [0, 1], resizes them (bicubic, antialiased) and
        gives features ``(n, n_features)``, equal to those of `encode` but for the rounding of resized pixels.
        """
        import torch
        import torch.nn.functional as F

        self.check_pool(pool)
        (tap,) = [one for one in self._taps if one.name == layer]
        pooling = {"mean": self._mean_pool, "cls": _class_token, "flatten": _flatten}[pool]
        mean = torch.tensor(self._mean, device=self.device).view(3, 1, 1)
        std = torch.tensor(self._std, device=self.device).view(3, 1, 1)

        def features(pictures: torch.Tensor) -> torch.Tensor:
            if pictures.shape[2:] != self._size:
                pictures = F.interpolate(pictures, self._size, mode="bicubic", antialias=True).clamp(0, 1)
            with captured(self.network, [tap], pooling) as values:
                self.network((pictures - mean) / std)
            return values[tap.name]

        return features

    def _mean_pool(self, value: torch.Tensor) -> torch.Tensor:
        """Mean over places; class and register tokens are no places."""
        if value.ndim == 4:
            channels_last = getattr(self.network, "output_fmt", "NCHW") == "NHWC"
            return value.float().mean((1, 2) if channels_last else (2, 3))
        return value[:, self._n_prefix :].float().mean(1) if value.ndim == 3 else value.float().clone()


def _class_token(value: torch.Tensor) -> torch.Tensor:
    return value[:, 0].float().clone()


def _flatten(value: torch.Tensor) -> torch.Tensor:
    return value.flatten(1).float().clone()


def _fixed_input(model: str) -> bool:
    import timm

    config = timm.get_pretrained_cfg(model, allow_unregistered=True)
    return bool(config is not None and config.fixed_input_size)


__all__ = ["ImageEncoder", "Tap"]
