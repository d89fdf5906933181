"""The autoencoders of latent diffusion models as codecs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError, one_of
from brainbench.networks.devices import automatic_batch, in_batches, resolve_device
from brainbench.reconstruction.base import Codec, Images
from brainbench.reconstruction.pictures import to_images, to_pixels
from brainbench.reconstruction.pretrained import Pretrained, find

if TYPE_CHECKING:
    import torch

    from brainbench.recipes.reconstruction import AutoencoderSettings

KINDS = ("AutoencoderKL", "AutoencoderTiny")


class Autoencoder:
    """An ``AutoencoderKL`` or ``AutoencoderTiny``: pixels in [-1, 1] to latents of about unit variance, and back.

    The latents of an ``AutoencoderKL`` are the mode of its posterior: a sample would put noise into what ridge
    regression has to predict.

    Parameters
    ----------
    source : Pretrained
    part : str
        Its folder: ``vae``, or ``.``.
    device : str
    """

    def __init__(self, source: Pretrained, part: str, device: str) -> None:
        self.source, self.part, self.device = source, part, device
        import diffusers

        self.kind = str(source.config(part).get("_class_name"))
        if self.kind not in KINDS:
            raise UserError(
                f"{source.what}: {source.model} holds a {self.kind}; an autoencoder is one of {one_of(KINDS)}"
            )
        config = source.config(part, getattr(diffusers, self.kind))
        blocks = config["block_out_channels"] if self.kind == "AutoencoderKL" else config["encoder_block_out_channels"]
        self.reduction = 2 ** (len(blocks) - 1)
        self.channels = int(config["latent_channels"])
        self._scale = float(config.get("scaling_factor") or 1.0)
        self._shift = float(config.get("shift_factor") or 0.0)

    def side(self, image_size: int) -> int:
        """Return the side of the latents of images of a size.

        Raises
        ------
        UserError
            If the size is no multiple of the reduction.
        """
        return latent_side(image_size, self.reduction, self.source)

    @cached_property
    def network(self) -> Any:
        """The network, read when first needed."""
        import diffusers

        return self.source.load(getattr(diffusers, self.kind), self.part, self.device)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return latents ``(n, channels, side, side)`` of pixels in [-1, 1]."""
        encoded = self.network.encode(pixels)
        latents: torch.Tensor = encoded.latents if self.kind == "AutoencoderTiny" else encoded.latent_dist.mode()
        return (latents - self._shift) * self._scale

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels of latents."""
        pixels: torch.Tensor = self.network.decode(latents / self._scale + self._shift).sample
        return pixels


def latent_side(image_size: int, reduction: int, source: Pretrained) -> int:
    """Return the side of the latents of images of a size.

    Raises
    ------
    UserError
        If the size is no multiple of the reduction.
    """
    if image_size % reduction:
        nearest = max(1, round(image_size / reduction)) * reduction
        raise UserError(
            f"{source.what}: `image_size: {image_size}` is no multiple of {reduction}, by which {source.model} "
            f"reduces images; the nearest is {nearest}"
        )
    return image_size // reduction


class AutoencoderCodec(Codec):
    """Latents of any diffusers autoencoder, flattened.

    Parameters
    ----------
    settings : AutoencoderSettings
    seed : int
        Not used: neither encoding nor decoding is random.
    device : str
    """

    channels = 3

    def __init__(self, settings: AutoencoderSettings, seed: int = 0, device: str = "auto") -> None:
        self.image_size = settings.image_size
        self.device = resolve_device(device)
        what = f"codec 'autoencoder': model '{settings.model}'"
        source, part = _own_or_part(settings.model, what)
        self._autoencoder = Autoencoder(source, part, self.device)
        side = self._autoencoder.side(self.image_size)
        self.shape = (self._autoencoder.channels, side, side)
        # The widest activations have at least 128 channels at full resolution, several at a time.
        self._batch = automatic_batch(4 * 128 * 4 * self.image_size**2, self.device)

    def encode(self, images: Images) -> np.ndarray:
        """Return latents, float32 ``(n, channels * side * side)``."""
        import torch

        expected = (self.image_size, self.image_size, self.channels)
        if images.ndim != 4 or images.shape[1:] != expected:
            raise UserError(f"codec 'autoencoder': images are {images.shape[1:]}, it takes {expected}")

        def forward(rows: range) -> np.ndarray:
            with torch.inference_mode():
                latents = self._autoencoder.encode(to_pixels(images[rows.start : rows.stop], self.device))
            return latents.flatten(1).cpu().numpy()

        return np.concatenate(list(in_batches(len(images), self._batch, forward)))

    def decode(self, latents: np.ndarray, seeds: Sequence[int]) -> Images:
        """Return images of latents; the same whatever the seeds."""
        import torch

        width = int(np.prod(self.shape))
        if latents.ndim != 2 or latents.shape[1] != width:
            raise UserError(
                f"codec 'autoencoder': latents of shape {latents.shape} do not fit {self._autoencoder.source.model} at "
                f"`image_size: {self.image_size}`, which has {width} ({' x '.join(map(str, self.shape))})"
            )

        def forward(rows: range) -> np.ndarray:
            block = torch.from_numpy(np.array(latents[rows.start : rows.stop], dtype=np.float32)).to(self.device)
            with torch.inference_mode():
                return to_images(self._autoencoder.decode(block.view(-1, *self.shape)))

        return np.concatenate(list(in_batches(len(latents), self._batch, forward)))

    def parameters(self) -> dict[str, Any]:
        """Return model, size, what the latents are, and the digest of the weights."""
        return {
            "model": self._autoencoder.source.model,
            "kind": self._autoencoder.kind,
            "latents": "posterior mode" if self._autoencoder.kind == "AutoencoderKL" else "as encoded",
            "shape": list(self.shape),
            "image_size": self.image_size,
            "weights": self._weights,
        }

    @cached_property
    def _weights(self) -> str:
        return self._autoencoder.source.digest(self._autoencoder.part)

    def weight_files(self) -> list[Path]:
        """Return the file of the weights."""
        return self._autoencoder.source.weight_files(self._autoencoder.part)


def _own_or_part(model: str, what: str) -> tuple[Pretrained, str]:
    """Return a model that is an autoencoder itself, or the ``vae`` of a pipeline."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        part = "." if (folder / "config.json").is_file() else "vae"
        return find(model, what, networks=[part]), part
    try:
        return find(model, what, networks=["."]), "."
    except UserError as error:
        try:
            return find(model, what, networks=["vae"]), "vae"
        except UserError:
            raise error from None
