"""The very deep VAE as a codec: the first layers of its hierarchy of latents carry an image's layout."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from brainbench.core.digests import digest_array, digest_file
from brainbench.core.errors import UserError
from brainbench.networks.devices import automatic_batch, in_batches, resolve_device
from brainbench.networks.weights import digest_weights, load_strictly, read_weights, seeded
from brainbench.reconstruction.base import Codec, Images
from brainbench.reconstruction.codecs.vdvae_network import MEAN, STD, Architecture, VeryDeepVae, sample_pixels
from brainbench.reconstruction.pictures import to_images

if TYPE_CHECKING:
    from brainbench.recipes.reconstruction import VdvaeSettings


class VdvaeCodec(Codec):
    """The first layers of latents, flattened layer by layer (channels first) and joined.

    Parameters
    ----------
    settings : VdvaeSettings
    seed : int
        Seed of random weights and, with the image's content, of a posterior sample.
    device : str
    """

    channels = 3

    def __init__(self, settings: VdvaeSettings, seed: int = 0, device: str = "auto") -> None:
        self.settings, self._seed = settings, seed
        self.device = resolve_device(device)
        self.sizes = Architecture.of(settings)
        self.image_size = self.sizes.image_size
        self.shapes = self.sizes.shapes(settings.n_layers)
        self.n_latents = sum(math.prod(shape) for shape in self.shapes)
        self.untrained = settings.weights == "random"
        self._files: list[Path] = []
        self.network = self._build().eval().requires_grad_(False).to(self.device)
        self._weights = digest_weights(self.network)
        self._batch = automatic_batch(4.0 * 24 * self.sizes.width * self.image_size**2, self.device)

    def _build(self) -> VeryDeepVae:
        settings = self.settings
        if self.untrained:
            with seeded(self._seed):
                return VeryDeepVae(self.sizes)
        path = Path(settings.weights).expanduser()
        if not path.is_file():
            raise UserError(
                f"codec 'vdvae': weights {path} do not exist",
                hint="docs/reconstruction-models.md says where the official file is and how large",
            )
        if settings.sha256 is not None and (found := digest_file(path)) != settings.sha256:
            raise UserError(f"codec 'vdvae': {path} has the SHA-256 {found}, the recipe asks for {settings.sha256}")
        with torch.device("meta"):
            network = VeryDeepVae(self.sizes)
        self._files = [path]
        loaded: VeryDeepVae = load_strictly(network.to_empty(device="cpu"), read_weights(path), path)
        return loaded

    def encode(self, images: Images) -> np.ndarray:
        """Return latents, float32 ``(n, n_latents)``: posterior means, or samples seeded by each image's content."""
        if images.ndim != 4 or images.shape[1:] != (self.image_size, self.image_size, 3):
            raise UserError(
                f"codec 'vdvae': images are {images.shape[1:]}, it takes {(self.image_size, self.image_size, 3)}"
            )

        def forward(rows: range) -> np.ndarray:
            block = np.ascontiguousarray(images[rows.start : rows.stop], dtype=np.float32)
            generators = None
            if self.settings.latents == "sample":
                generators = [_generator(int(digest_array(image)[:12], 16) + self._seed) for image in block]
            pixels = torch.from_numpy((np.moveaxis(block, -1, 1) * 255 - MEAN) / STD).float().to(self.device)
            with torch.inference_mode():
                layers, _ = self.network.infer(pixels, generators)
            return torch.cat([z.flatten(1) for z in layers[: len(self.shapes)]], dim=1).cpu().numpy()

        return np.concatenate(list(in_batches(len(images), self._batch, forward)))

    def decode(self, latents: np.ndarray, seeds: Sequence[int]) -> Images:
        """Return images: the given layers, the rest from the prior, pixels from their distributions, all seeded."""
        if latents.ndim != 2 or latents.shape[1] != self.n_latents:
            raise UserError(
                f"codec 'vdvae': latents of shape {latents.shape} do not fit; its first {len(self.shapes)} layers have "
                f"{self.n_latents} values"
            )
        if len(seeds) != len(latents):
            raise UserError(f"codec 'vdvae': {len(seeds)} seeds for {len(latents)} images")

        def forward(rows: range) -> np.ndarray:
            block = torch.from_numpy(np.array(latents[rows.start : rows.stop], dtype=np.float32)).to(self.device)
            generators = [_generator(int(seed)) for seed in seeds[rows.start : rows.stop]]
            with torch.inference_mode():
                out = self.network.generate(list(self._layers(block)), generators, self.settings.temperature)
                return to_images(sample_pixels(out, generators))

        return np.concatenate(list(in_batches(len(latents), self._batch, forward)))

    def _layers(self, flat: torch.Tensor) -> Iterator[torch.Tensor]:
        sizes = [math.prod(shape) for shape in self.shapes]
        for part, shape in zip(flat.split(sizes, dim=1), self.shapes, strict=True):
            yield part.reshape(-1, *shape)

    def parameters(self) -> dict[str, Any]:
        """Return architecture, what the latents are, and the digest of the weights."""
        settings = self.settings.model_dump(mode="json", exclude={"weights", "sha256"})
        return {**settings, "weights": self._weights, "n_latents": self.n_latents, "sample seed": self._seed}

    def weight_files(self) -> list[Path]:
        """Return the file of the weights."""
        return self._files


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
