"""What the generators with pretrained latent diffusion models share: checks, batches, seeds, the sampling loop."""

from __future__ import annotations

import copy
import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.networks.devices import automatic_batch, in_batches, resolve_device
from brainbench.reconstruction.base import Generator, Images, Progress
from brainbench.reconstruction.cards import check_licence
from brainbench.reconstruction.generators.steps import time_steps, to_the_next
from brainbench.reconstruction.pictures import to_images, to_pixels
from brainbench.reconstruction.pretrained import Pretrained
from brainbench.reconstruction.resizing import resized, with_channels

if TYPE_CHECKING:
    import torch

    from brainbench.recipes.reconstruction import PretrainedSettings

Tensors = dict[str, "torch.Tensor"]
Predict = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""(noisy latents, time step) -> what the scheduler expects of the network."""


class LatentDiffusion(Generator):
    """A pretrained latent diffusion model that starts from an image or from noise.

    Parameters
    ----------
    settings : PretrainedSettings
    device : str

    Raises
    ------
    UserError
        If the licence of its weights is not accepted.
    """

    channels = 3

    def __init__(self, settings: PretrainedSettings, device: str) -> None:
        check_licence(settings.name, accepted=settings.accept_license)
        self.settings = settings
        self.image_size = settings.image_size
        self.device = resolve_device(device)
        self.what = f"generator '{settings.name}'"
        # A network holds dozens of activations of about 320 channels at the resolution of its latents (1/8).
        self._batch = automatic_batch(2 * 64 * 320 * 4 * (settings.image_size / 8) ** 2, self.device)

    # What a model brings -----------------------------------------------------------------------------------------

    @abstractmethod
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return latents of pixels in [-1, 1], in the units of the sampler."""

    @abstractmethod
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels in [-1, 1] of latents."""

    @abstractmethod
    def denoise(
        self, features: Tensors, start: torch.Tensor | None, generators: list[torch.Generator], tick: Callable[[], None]
    ) -> torch.Tensor:
        """Return finished latents of a batch; `tick` is called after every step."""

    @abstractmethod
    def sources(self) -> dict[str, tuple[Pretrained, tuple[str, ...]]]:
        """Return what its weights are read from: role -> (model, networks used)."""

    def n_steps(self, *, initial: bool) -> int:
        """Return how many steps an image takes."""
        return steps_taken(self.settings.steps, self.settings.strength, initial=initial)

    # The contract ------------------------------------------------------------------------------------------------

    def generate(
        self,
        features: Mapping[str, np.ndarray],
        initial: Images | None,
        seeds: Sequence[int],
        *,
        progress: Progress | None = None,
    ) -> Images:
        """Return one image per row of the features; see `Generator.generate`."""
        import torch

        checked = self._checked(features, len(seeds))
        if initial is not None and len(initial) != len(seeds):
            raise UserError(f"{self.what}: {len(initial)} initial images for {len(seeds)} seeds")
        keep = initial is not None and self.settings.strength == 0
        total = len(seeds) * (1 if keep else self.n_steps(initial=initial is not None))
        done = 0

        def forward(rows: range) -> np.ndarray:
            at = slice(rows.start, rows.stop)

            def tick() -> None:
                nonlocal done
                done = min(total, done + len(rows))
                if progress is not None:
                    progress(done, total)

            with torch.inference_mode():
                start = None
                if initial is not None and self.settings.strength < 1:
                    shown = resized(with_channels(initial[at], self.channels), self.image_size, self.image_size)
                    start = self.encode(to_pixels(shown, self.device))
                if keep and start is not None:
                    tick()
                    return to_images(self.decode(start))
                block = {
                    name: torch.from_numpy(np.array(values[at], dtype=np.float32)).to(self.device)
                    for name, values in checked.items()
                }
                generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds[at]]
                return to_images(self.decode(self.denoise(block, start, generators, tick)))

        return np.concatenate(list(in_batches(len(seeds), self._batch, forward)))

    def _checked(self, features: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
        """Return the features of every condition, ``(n, *shape)``."""
        checked = {}
        for condition in self.conditions():
            if condition.name not in features:
                raise UserError(f"{self.what} needs features '{condition.name}'", hint=f"given: {sorted(features)}")
            values = np.asarray(features[condition.name])
            if len(values) != n or values.size != n * int(np.prod(condition.shape)):
                raise UserError(
                    f"{self.what}: features '{condition.name}' are {values.shape}, it takes {(n, *condition.shape)}"
                )
            checked[condition.name] = values.reshape(n, *condition.shape)
        return checked

    def parameters(self) -> dict[str, Any]:
        """Return settings, weights with their digests, and the sampler."""
        return {
            **self.settings.model_dump(mode="json", exclude={"n_samples", "accept_license"}),
            "weights": self._weights,
            "initial latents": "no posterior sample",
        }

    @cached_property
    def _weights(self) -> dict[str, str]:
        return {role: source.digest(*parts) for role, (source, parts) in self.sources().items()}

    def weight_files(self) -> list[Path]:
        """Return the files its weights are read from."""
        return [
            path for source, parts in self.sources().values() for part in parts for path in source.weight_files(part)
        ]


# Sampling ---------------------------------------------------------------------------------------------------------


def steps_taken(steps: int, strength: float, *, initial: bool) -> int:
    """Return how many of `steps` are taken: the last share `strength` of them, all when there is no initial image."""
    return min(steps, int(steps * strength + 1e-9)) if initial else steps


def draw(generators: Sequence[torch.Generator], shape: Sequence[int], device: str) -> torch.Tensor:
    """Return standard normal noise, one image per generator, each drawn on the CPU from its own."""
    import torch

    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators]).to(device)


def sample(
    scheduler: Any,
    predict: Predict,
    start: torch.Tensor | None,
    shape: Sequence[int],
    generators: list[torch.Generator],
    *,
    steps: int,
    strength: float,
    device: str,
    tick: Callable[[], None],
) -> torch.Tensor:
    """Run a diffusers scheduler from noise, or from initial latents with noise, to finished latents.

    Parameters
    ----------
    scheduler : diffusers scheduler
        Copied, so that its state is this call's own.
    predict : callable
    start : Tensor (n, *shape) or None
        Initial latents.
    shape : sequence of int
        Shape of one image's latents.
    generators : list of torch.Generator
        One per image.
    steps : int
    strength : float
        Share of the steps that are taken from initial latents.
    device : str
    tick : callable
        Called after every step.
    """
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    scheduler = copy.deepcopy(scheduler)
    timesteps = time_steps(scheduler, steps, device)
    continuous = timesteps.is_floating_point()
    if continuous:
        timesteps = timesteps[:-1]  # the last is where the last step leads to
    noise = draw(generators, shape, device)
    if start is None:
        latents = noise * scheduler.init_noise_sigma
    else:
        timesteps = timesteps[len(timesteps) - steps_taken(steps, strength, initial=True) :]
        if len(timesteps) == 0:
            return start
        latents = scheduler.add_noise(start, noise, timesteps[:1].expand(len(noise)))
    is_ddim = isinstance(scheduler, DDIMScheduler)
    sampler = to_the_next(scheduler, timesteps) if is_ddim else scheduler
    options = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
    for left, step in zip(reversed(range(len(timesteps))), timesteps, strict=True):
        predicted = predict(scheduler.scale_model_input(latents, step), step)
        at = left if is_ddim else step.expand(len(noise)) if continuous else step
        latents = sampler.step(predicted, at, latents, **options).prev_sample
        tick()
    return latents


def guided(both: Callable[[int], torch.Tensor], weight: float) -> torch.Tensor:
    """Return classifier-free guidance of what `both` predicts for (without, with) conditions in one batch.

    Parameters
    ----------
    both : callable
        ``both(2)`` returns the predictions without and with conditions, stacked; ``both(1)`` only those with.
    weight : float
        1 is no guidance, and one pass.
    """
    if weight == 1:
        return both(1)
    without, with_ = both(2).chunk(2)
    return without + weight * (with_ - without)
