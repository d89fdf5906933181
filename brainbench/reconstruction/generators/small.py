"""`small`: a diffusion network that brainbench trains itself, conditioned on features of the recipe's own encoders.

A diffusers `UNet2DModel` with a few channels. Features of all conditions are standardised, wide ones projected on
their principal components, and enter every residual block by scale and shift, beside the time. Larger images are cut
into patches of 2 x 2 or 4 x 4 pixels (as channels), so that the network works on 16 x 16 places or fewer: on a CPU it
is the number of places that costs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError, one_of
from brainbench.encoders.base import Encoder
from brainbench.networks.devices import resolve_device
from brainbench.networks.options import of_small
from brainbench.networks.store import NetworkStore
from brainbench.networks.tensors import below, prefixed
from brainbench.networks.training import train
from brainbench.networks.weights import digest_weights, seeded
from brainbench.recipes.encoders import EncoderSettings
from brainbench.recipes.reconstruction import SmallSettings
from brainbench.reconstruction.base import Condition, Generator, Images, Progress
from brainbench.reconstruction.generators.small_training import NoisyImages, noise_schedule, velocity_error
from brainbench.reconstruction.generators.steps import time_steps, to_the_next
from brainbench.reconstruction.resizing import resized, with_channels

MAX_COMPONENTS = 128
"""Features beyond so many are projected on so many principal components of the training images' features."""
BATCH = 64
"""Images that are sampled together."""
LEAST_NOISE = 0.02
"""Noise share below which the error of a predicted clean image weighs no more."""
VERSION = 1
"""Raised when the same settings lead to other weights."""

_SAMPLING = ("name", "strength", "guidance", "steps", "n_samples", "train_on", "n_images")
"""Settings that have no part in the weights (of the images it is trained on, the images themselves have)."""


class SmallNetwork(nn.Module):
    """Predicts the velocity of noisy images, given the time and features.

    Parameters
    ----------
    side : int
        Side of the images, in pixels.
    channels : int
    n_features : int
    width : int
        Channels of the first level.
    patch : int, optional
        Side of the patches of pixels that become one place.
    """

    alphas: Tensor

    def __init__(self, side: int, channels: int, n_features: int, width: int, patch: int | None = None) -> None:
        from diffusers.models.unets.unet_2d import UNet2DModel

        super().__init__()
        self.patch = patch or (1 if side < 24 or side % 8 else 2 if side < 64 or side % 16 else 4)
        places, widths = side // self.patch, [width]
        while places % 2 == 0 and places > 4 and len(widths) < 3:
            places //= 2
            widths.append(2 * width)
        deep = len(widths) - 1
        # Noise fills all numbers of a place, a clean image few of them: where a place holds more numbers than the
        # network has channels, noise does not fit through it, and it predicts the clean image instead.
        self.predicts_image = channels * self.patch**2 > width
        if self.predicts_image:
            alphas = torch.as_tensor(noise_schedule().alphas_cumprod, dtype=torch.float32)
            self.register_buffer("alphas", alphas, persistent=False)
        self.unet = UNet2DModel(
            sample_size=side // self.patch,
            in_channels=channels * self.patch**2,
            out_channels=channels * self.patch**2,
            layers_per_block=1,
            block_out_channels=tuple(widths),
            down_block_types=(*["DownBlock2D"] * deep, "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", *["UpBlock2D"] * deep),
            attention_head_dim=8,
            norm_num_groups=np.gcd(width, 8).item(),
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity",
        )
        embedding = 4 * width
        self.embed = (
            nn.Sequential(nn.Linear(n_features, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
            if n_features
            else None
        )
        self.absent = nn.Parameter(torch.zeros(embedding))

    def forward(self, images: Tensor, times: Tensor, features: Tensor, keep: Tensor) -> Tensor:
        """Return the velocity, in the shape of the images; rows where `keep` is 0 do not see their features."""
        embedding = self.absent.expand(len(images), -1)
        if self.embed is not None:
            embedding = torch.lerp(embedding, self.embed(features), keep[:, None])
        patches = F.pixel_unshuffle(images, self.patch)
        predicted = self.unet(patches, times, class_labels=embedding).sample
        predicted = F.pixel_shuffle(predicted, self.patch)
        if not self.predicts_image:
            return predicted
        share = self.alphas[times][:, None, None, None]
        return (share.sqrt() * images - predicted) / (1 - share).clamp_min(LEAST_NOISE).sqrt()


@dataclass(frozen=True)
class Scaler:
    """Features as the network takes them: standardised, projected where wide, all of like size.

    Attributes
    ----------
    mean, factor : ndarray (n_features,)
        What is subtracted, and what the rest is multiplied by.
    axes : ndarray (n_features, n_components) or None
        Principal axes of the standardised features.
    scale : ndarray (n_components,)
        Standard deviation of each component together with the noise of training.
    """

    mean: np.ndarray
    factor: np.ndarray
    axes: np.ndarray | None
    scale: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, noise: float) -> Scaler:
        """Fit to the features of the training images, ``(n, n_features)``; `noise` is in standard deviations."""
        X = np.asarray(features, dtype=np.float64)
        mean, spread = X.mean(axis=0), X.std(axis=0)
        constant = spread <= 1e-7 * max(float(spread.max(initial=0)), 1e-300)
        factor = np.where(constant, 0.0, 1 / np.where(constant, 1.0, spread))
        X, axes = (X - mean) * factor, None
        if X.shape[1] > MAX_COMPONENTS:
            from sklearn.decomposition import PCA

            n = min(MAX_COMPONENTS, len(X) - 1)
            axes = np.ascontiguousarray(PCA(n, svd_solver="auto", random_state=0).fit(X).components_.T)
            X = X @ axes
        scale = np.sqrt(X.var(axis=0) + noise**2)
        return cls(mean, factor, axes, np.where(scale > 0, scale, 1.0))

    def __call__(self, features: np.ndarray) -> Tensor:
        """Return features ``(n, n_components)`` as float32."""
        X = (np.asarray(features, dtype=np.float64) - self.mean) * self.factor
        X = X if self.axes is None else X @ self.axes
        return torch.from_numpy((X / self.scale).astype(np.float32))

    def tensors(self) -> dict[str, Tensor]:
        """Return its arrays, to be stored."""
        arrays = {"mean": self.mean, "factor": self.factor, "axes": self.axes, "scale": self.scale}
        return {name: torch.from_numpy(array) for name, array in arrays.items() if array is not None}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Scaler:
        """Return a scaler from stored arrays."""
        arrays = {name: value.numpy() for name, value in tensors.items()}
        return cls(arrays["mean"], arrays["factor"], arrays.get("axes"), arrays["scale"])


class SmallGenerator(Generator):
    """A small diffusion network and its sampler (DDIM), trained on the images that `train` is given and no others.

    Parameters
    ----------
    settings : SmallSettings
    encoders : mapping of str to (Encoder, EncoderSettings)
        The recipe's own, by name.
    seed : int
        Seed of the initial weights.
    device : str
        ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.
    """

    takes_initial = True
    trainable = True

    def __init__(
        self,
        settings: SmallSettings,
        encoders: Mapping[str, tuple[Encoder, EncoderSettings]],
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.settings = settings
        self.image_size = settings.image_size
        self.channels = 1 if settings.grey else 3
        self.device = resolve_device(device)
        self.losses: list[float] = []
        self._seed = seed
        self._conditions = [_condition(wanted.encoder, wanted.layer, encoders) for wanted in settings.condition_on]
        names = [condition.name for condition in self._conditions]
        if len(set(names)) < len(names):
            raise UserError(f"generator.condition_on: {names} names a layer twice")
        self._scalers: dict[str, Scaler] = {}
        self._network: SmallNetwork | None = None
        self._file: Path | None = None

    def conditions(self) -> list[Condition]:
        """Return one condition per entry of `condition_on`."""
        return self._conditions

    def parameters(self) -> dict[str, Any]:
        """Return settings, what the encoders are, and the digest of the weights."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "conditions": {one.name: [one.encoder.digest(), one.layer, one.pool] for one in self._conditions},
            "seed": self._seed,
            "version": VERSION,
            "weights": None if self._network is None else digest_weights(self._network),
        }

    def weight_files(self) -> list[Path]:
        """Return the file of the finished weights, once there is one."""
        return [] if self._file is None else [self._file]

    def training_record(self) -> dict[str, np.ndarray]:
        """Return the curve of the loss, and the key of the network; see `Generator.training_record`."""
        key = {} if self._file is None else {"network": np.array(self._file.stem)}
        return {"loss": np.asarray(self.losses, dtype=np.float32), **key}

    # Training ----------------------------------------------------------------------------------------------------

    def train(
        self,
        images: Images,
        features: Mapping[str, np.ndarray],
        folder: Path,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> SmallGenerator:
        """Return the trained generator; see `Generator.train`.

        Weights that were finished before, with the same settings, images, features and seed, are read; a checkpoint
        of the same training is continued. Files that are damaged or belong to another training are not used.
        """
        shape = (self.image_size, self.image_size, self.channels)
        images = np.asarray(images, dtype=np.float32)
        if images.ndim != 4 or images.shape[1:] != shape or len(images) < 2:
            raise UserError(f"generator: it is trained on two images or more of shape {shape}, got {images.shape}")
        if not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
            raise UserError("generator: pixels of training images must lie in [0, 1]")
        flat = self._checked(features, len(images))
        trained = copy.copy(self)
        store, description = NetworkStore(folder), self._description(images, flat, seed)

        def run(checkpoint: Path, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
            training = of_small(self.settings, seed=seed, device=self.device)
            n_steps, noise = self.settings.train_steps, self.settings.feature_noise
            trained._scalers = {name: Scaler.fit(values, noise) for name, values in flat.items()}
            network = trained._new_network()
            spread = np.concatenate([np.zeros(0), *(noise / scaler.scale for scaler in trained._scalers.values())])
            done = train(
                network,
                NoisyImages(
                    (torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))) * 2 - 1).to(self.device),
                    trained._scaled(flat, len(images)).to(self.device),
                    torch.from_numpy(spread.astype(np.float32)).to(self.device),
                    self.settings.drop_features,
                    training,
                ),
                velocity_error,
                training,
                checkpoint=checkpoint,
                key=key,
                watch=None if progress is None else lambda step: progress(step, n_steps),
            )
            tensors = prefixed("network.", network.state_dict())
            for index, scaler in enumerate(trained._scalers.values()):
                tensors |= prefixed(f"scaler.{index}.", scaler.tensors())
            return tensors, {"losses": [record["loss"] for record in done.history]}

        found = store.trained(description, run)
        trained._file = found.file
        trained._scalers = {
            name: Scaler.of(below(f"scaler.{index}.", found.tensors)) for index, name in enumerate(self._names)
        }
        trained._network = trained._new_network()
        trained._network.load_state_dict(below("network.", found.tensors))
        trained.losses = [float(loss) for loss in found.facts["losses"]]
        trained._network.eval().requires_grad_(False)
        return trained

    def _description(self, images: Images, flat: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
        """Return everything that decides the weights."""
        return {
            "network": type(self).__name__,
            "version": VERSION,
            "settings": self.settings.model_dump(mode="json", exclude=set(_SAMPLING)),
            "seeds": {"first_weights": self._seed, "training": seed},
            "images": digest_array(images),
            "n_images": len(images),
            "features": {name: digest_array(values) for name, values in flat.items()},
            "device": self.device.split(":")[0],
        }

    def _new_network(self) -> SmallNetwork:
        n_features = sum(len(scaler.scale) for scaler in self._scalers.values())
        with seeded(self._seed):
            network = SmallNetwork(self.image_size, self.channels, n_features, self.settings.width, self.settings.patch)
        return network.to(self.device)

    @property
    def _names(self) -> list[str]:
        return [condition.name for condition in self._conditions]

    def _checked(self, features: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
        """Return features of every condition as ``(n, n_features)``, in the order of the conditions."""
        if set(features) != set(self._names):
            raise UserError(f"generator: it takes features of {self._names}, got {one_of(features) or 'none'}")
        flat = {}
        for name in self._names:
            values = np.asarray(features[name])
            values = values.reshape(len(values), -1)
            wanted = len(self._scalers[name].mean) if name in self._scalers else values.shape[1]
            if values.shape != (n, wanted):
                raise UserError(f"generator: features of {name} must be ({n}, {wanted}), got {values.shape}")
            if not np.isfinite(values).all():
                raise UserError(f"generator: features of {name} are not finite")
            flat[name] = values
        return flat

    def _scaled(self, flat: Mapping[str, np.ndarray], n: int) -> Tensor:
        return torch.cat([torch.zeros(n, 0), *(self._scalers[name](values) for name, values in flat.items())], dim=1)

    # Sampling ----------------------------------------------------------------------------------------------------

    @property
    def network(self) -> SmallNetwork:
        """The trained network."""
        if self._network is None:
            raise UserError("generator: `small` must be trained before it can make images")
        return self._network

    def unconditional(self, z: Tensor, step: int) -> Tensor:
        """Return the velocity of noisy images without features, differentiable in the images."""
        n = len(z)
        n_features = sum(len(scaler.scale) for scaler in self._scalers.values())
        times = torch.full((n,), step, device=z.device)
        return self.network(z, times, torch.zeros(n, n_features, device=z.device), torch.zeros(n, device=z.device))

    def noise(self, seeds: Sequence[int]) -> Tensor:
        """Return an image of noise per seed, ``(n, channels, side, side)``, the same on every device."""
        shape = (self.channels, self.image_size, self.image_size)
        drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
        return torch.stack(drawn).to(self.device)

    def generate(
        self,
        features: Mapping[str, np.ndarray],
        initial: Images | None,
        seeds: Sequence[int],
        *,
        progress: Progress | None = None,
    ) -> Images:
        """Return one image per row of the features; see `Generator.generate`."""
        self.network  # noqa: B018 (refuses before anything is computed)
        n = len(next(iter(features.values()), seeds))
        conditions = self._scaled(self._checked(features, n), n).to(self.device)
        if len(seeds) != n or (initial is not None and len(initial) != n):
            came = f"{len(seeds)} seeds" + ("" if initial is None else f" and {len(initial)} initial images")
            raise UserError(f"generator: {n} rows of features need a seed each, got {came}")
        start = None if initial is None else _fitted(initial, self.image_size, self.channels)
        strength = 1.0 if start is None else self.settings.strength
        if start is not None and strength == 0:
            return start
        schedule = noise_schedule()
        times = time_steps(schedule, self.settings.steps)[-max(1, round(self.settings.steps * strength)) :]
        ddim = to_the_next(schedule, times)
        total, done = len(times) * -(-n // BATCH), 0
        images = np.empty((n, self.image_size, self.image_size, self.channels), dtype=np.float32)
        for first in range(0, n, BATCH):
            rows = slice(first, first + BATCH)
            z = self.noise(seeds[rows])
            if start is not None and strength < 1:
                clean = torch.from_numpy(start[rows]).permute(0, 3, 1, 2).to(self.device) * 2 - 1
                z = schedule.add_noise(clean, z, times[:1])
            for left, time in zip(reversed(range(len(times))), times, strict=True):
                with torch.inference_mode():
                    v = self._velocity(z, time, conditions[rows])
                    z = ddim.step(v, left, z, use_clipped_model_output=True).prev_sample
                done += 1
                if progress is not None:
                    progress(done, total)
            images[rows] = (z.clamp(-1, 1) / 2 + 0.5).permute(0, 2, 3, 1).float().cpu().numpy()
        return images

    def _velocity(self, z: Tensor, time: Tensor, conditions: Tensor) -> Tensor:
        """Return the velocity with classifier-free guidance."""
        weight, n = self.settings.guidance, len(z)
        times = time.to(z.device).expand(n)
        if weight in (0.0, 1.0):
            return self.network(z, times, conditions, torch.full((n,), weight, device=z.device))
        keep = torch.cat([torch.ones(n), torch.zeros(n)]).to(z.device)
        twice = (torch.cat([one, one]) for one in (z, times, conditions))
        with_features, without = self.network(*twice, keep).chunk(2)
        return without + weight * (with_features - without)


def _fitted(images: Images, size: int, channels: int) -> Images:
    return resized(with_channels(np.asarray(images, dtype=np.float32), channels), size, size)


def _condition(name: str, layer: str, encoders: Mapping[str, tuple[Encoder, EncoderSettings]]) -> Condition:
    if name not in encoders:
        raise UserError(f"generator.condition_on: no encoder '{name}' (encoders: {one_of(encoders)})")
    encoder, settings = encoders[name]
    chosen = encoder.select([layer])
    if len(chosen) != 1:
        raise UserError(f"generator.condition_on: layer '{layer}' of '{name}' matches {len(chosen)} layers, not one")
    width = chosen[0].width if settings.pool != "flatten" else None
    # Where only the features themselves tell how many there are, any number is taken.
    shape = (-1,) if width is None else (width,)
    return Condition(f"{name}.{chosen[0].name}", encoder, chosen[0].name, settings.pool, shape)
