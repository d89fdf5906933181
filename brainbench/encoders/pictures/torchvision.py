"""Networks of torchvision: AlexNet, which timm has not, and others by ``torchvision:NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError, did_you_mean
from brainbench.data.base import Stimuli
from brainbench.encoders.network import Inputs, NetworkEncoder
from brainbench.encoders.pixels import checked_image
from brainbench.encoders.selfcheck import Probe, checked
from brainbench.encoders.tracing import Blocks
from brainbench.networks.devices import resolve_device
from brainbench.networks.weights import digest_weights, hub, load_strictly, read_weights, seeded

if TYPE_CHECKING:
    import torch

    from brainbench.recipes.encoders import ImageSettings


class TorchvisionEncoder(NetworkEncoder):
    """A classifier of torchvision: features of its stages, or of every layer after its ReLU.

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

    def __init__(
        self, settings: ImageSettings, *, seed: int = 0, device: str = "auto", batch_size: int | None = None
    ) -> None:
        import torchvision

        self.name = settings.name
        self.settings = settings
        self.untrained = settings.weights == "random"
        self.device = resolve_device(device)
        self._batch_size = batch_size
        self._files: list[Path] = []
        model, who = settings.model.removeprefix("torchvision:"), f"encoder '{self.name}'"
        known = torchvision.models.list_models(torchvision.models)
        if model not in known:
            raise UserError(
                f"{who}: torchvision {torchvision.__version__} has no model '{model}'{did_you_mean(model, known)}"
            )
        self.network = self._build(model, seed).eval().requires_grad_(False).to(self.device)
        recipe = torchvision.models.get_model_weights(model).DEFAULT.transforms()
        resize, crop = int(recipe.resize_size[0]), int(recipe.crop_size[0])
        self._size = settings.image_size or crop
        self._resize = max(round(resize * self._size / crop), self._size)  # the same part of a picture at every size
        self._mean, self._std = list(recipe.mean), list(recipe.std)
        self._interpolation = recipe.interpolation
        self._weights = digest_weights(self.network)
        self.reading = checked(self.network, self._probe, {"device": self.device, **self.parameters()}, who)
        self.note = "; ".join(self.reading.said)

    def _build(self, model: str, seed: int) -> Any:
        import torchvision

        chosen, who = self.settings.weights, f"encoder '{self.name}'"
        with seeded(seed):
            network = torchvision.models.get_model(model, weights=None)
        if chosen == "pretrained":
            with hub(f"{who}: weights of torchvision model '{model}'"):
                weights = torchvision.models.get_model_weights(model).DEFAULT
                state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
            network.load_state_dict(state, strict=True)
        elif chosen != "random":
            path = Path(chosen).expanduser()
            network = load_strictly(network, read_weights(path), path)
            self._files = [path]
        return network

    def parameters(self) -> dict[str, Any]:
        """Return model, preprocessing and the digest of the weights."""
        return {
            "model": self.settings.model,
            "weights": self._weights,
            "resize": self._resize,
            "size": self._size,
            "interpolation": str(self._interpolation),
            "mean": self._mean,
            "std": self._std,
        }

    def weight_files(self) -> list[Path]:
        """Return the file the weights were read from, if there is one."""
        return self._files

    def prepare(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Resize the shorter side, crop the middle and normalise, as torchvision's weights ask for."""
        import torch
        from torchvision.transforms import functional

        pixels = []
        for image in images:
            one = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
            one = functional.resize(one, [self._resize], interpolation=self._interpolation, antialias=True)
            one = functional.center_crop(one, [self._size, self._size])
            pixels.append(functional.normalize(one.float() / 255, self._mean, self._std))
        return torch.stack(pixels).to(self.device)

    def inputs(self, stimuli: Stimuli, rows: Sequence[int]) -> Inputs:
        """Return pictures resized, cropped and normalised."""
        images = [checked_image(stimuli.load(i), stimuli.ids[i]) for i in rows]
        return Inputs(len(images), (self.prepare(images),))

    def _probe(self) -> Probe:
        """Return two pictures of noise, and torchvision's own extraction of the same layers."""
        import torch
        from torchvision.models.feature_extraction import create_feature_extractor

        rng = np.random.default_rng(0)
        pixels = self.prepare(list(rng.integers(0, 256, (2, self._size, self._size, 3)).astype(np.uint8)))
        names = stages(self.network)
        if not names:
            raise UserError(f"encoder '{self.name}': {type(self.network).__name__} has no layers known by name")

        with torch.inference_mode():
            # Before the check records what modules give: the extraction calls the same modules.
            own = list(create_feature_extractor(self.network, names)(pixels).values())

        def together() -> list[torch.Tensor] | None:
            self.network(pixels)
            return own

        blocks = Blocks(tuple(names), names[0], True)
        return Probe(together, lambda: self.network(pixels[:1]), None, None, False, "stem", blocks)


def stages(network: torch.nn.Module) -> list[str]:
    """Return stages of a residual network, or the ReLUs of AlexNet and VGG and what the classifier gives."""
    import torch

    modules = dict(network.named_modules())
    found = [name for name in ("layer1", "layer2", "layer3", "layer4") if name in modules]
    if found:
        return found
    parts = [(name, module) for name, module in modules.items() if name.startswith(("features.", "classifier."))]
    if not all(name.count(".") == 1 for name, _ in parts):
        return []
    return [name for name, module in parts if isinstance(module, torch.nn.ReLU)]
