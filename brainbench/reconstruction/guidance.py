r"""Gradient guidance of a diffusion model by an energy of its images (after Luo et al. 2023, BrainDiVE).

With :math:`\bar\alpha` the cumulative signal share of a step and :math:`b = 1 - \bar\alpha`, the network's noise
:math:`\epsilon` gives the finished image as it stands, :math:`x_0 = (z - \sqrt b\,\epsilon) / \sqrt{\bar\alpha}`. What
is shown to the encoder is the mixture :math:`s = \sqrt b\,x_0 + (1 - \sqrt b)\,z`, decoded, and

.. math:: \epsilon \leftarrow \epsilon - \sqrt b\,k\,\nabla_z\,r(s)

raises the response r by a scale k. A DDIM step follows. The gradient is taken through network and decoder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brainbench.core.errors import UserError
from brainbench.networks.devices import automatic_batch
from brainbench.reconstruction.base import Generator, Images, Progress
from brainbench.reconstruction.generators.small import SmallGenerator
from brainbench.reconstruction.generators.small_training import noise_schedule
from brainbench.reconstruction.generators.stable_diffusion import StableDiffusion
from brainbench.reconstruction.pictures import to_images, to_pixels
from brainbench.reconstruction.resizing import resized, with_channels

Response = Callable[[Tensor], Tensor]
"""Pictures ``(n, 3, height, width)`` in [0, 1] to a response each, ``(n,)``; differentiable."""

LEAST_SIGNAL = 0.005
"""Steps with a smaller signal share are not guided: there the image is an amplification of noise, and so is its
gradient. Stable Diffusion's schedule begins about here; a schedule that ends in pure noise goes below."""


class Process(ABC):
    """A diffusion model as guidance needs it: differentiable in its latents.

    Attributes
    ----------
    bound : float or None
        Finished latents are kept within plus and minus so much.
    batch : int
        Images at once.
    """

    bound: float | None
    batch: int

    @property
    @abstractmethod
    def alphas(self) -> np.ndarray:
        """Cumulative signal share of every time step of training."""

    @abstractmethod
    def noise(self, seeds: Sequence[int]) -> Tensor:
        """Return latents of noise, one image a seed."""

    @abstractmethod
    def split(self, z: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return finished latents and noise as the network sees them."""

    @abstractmethod
    def encode(self, images: Images) -> Tensor:
        """Return latents of images."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Return pictures ``(n, 3, height, width)`` in about [0, 1]."""

    def steps(self, n: int, strength: float) -> list[int]:
        """Return the time steps of a sampler of `n` steps, from noise or from an image with noise."""
        total = len(self.alphas)
        times = np.rint(np.arange(total, 0, -total / n)).astype(int)[:n] - 1  # rounding may add one that ends at 0
        return [int(step) for step in times[n - max(1, round(n * strength)) :]]


class SmallProcess(Process):
    """The small network without features: pixels are its latents."""

    bound = 1.0
    batch = 16

    def __init__(self, generator: SmallGenerator) -> None:
        self.generator = generator

    @cached_property
    def alphas(self) -> np.ndarray:
        """See `Process.alphas`."""
        return np.asarray(noise_schedule().alphas_cumprod, dtype=np.float64)

    def noise(self, seeds: Sequence[int]) -> Tensor:
        """See `Process.noise`."""
        return self.generator.noise(seeds)

    def split(self, z: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """See `Process.split`."""
        velocity = self.generator.unconditional(z, step)
        signal, noise = float(np.sqrt(self.alphas[step])), float(np.sqrt(1 - self.alphas[step]))
        return signal * z - noise * velocity, signal * velocity + noise * z

    def encode(self, images: Images) -> Tensor:
        """See `Process.encode`."""
        size = self.generator.image_size
        shown = resized(with_channels(images, self.generator.channels), size, size)
        return to_pixels(shown, self.generator.device)

    def decode(self, z: Tensor) -> Tensor:
        """See `Process.decode`."""
        return (z / 2 + 0.5).expand(-1, 3, -1, -1)


class LatentProcess(Process):
    """Stable Diffusion with the empty text."""

    bound = None

    def __init__(self, generator: StableDiffusion) -> None:
        self.generator = generator
        self.batch = max(1, automatic_batch(16 * 64 * 320 * 4 * (generator.image_size / 8) ** 2, generator.device) // 4)

    @cached_property
    def alphas(self) -> np.ndarray:
        """See `Process.alphas`."""
        return np.asarray(self.generator.scheduler.alphas_cumprod, dtype=np.float64)

    def noise(self, seeds: Sequence[int]) -> Tensor:
        """See `Process.noise`."""
        drawn = [torch.randn(self.generator.shape, generator=torch.Generator().manual_seed(int(s))) for s in seeds]
        return torch.stack(drawn).to(self.generator.device)

    def split(self, z: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """See `Process.split`."""
        predicted = self.generator.predict(z, step)
        signal, noise = float(np.sqrt(self.alphas[step])), float(np.sqrt(1 - self.alphas[step]))
        if self.generator.scheduler.config["prediction_type"] == "v_prediction":
            return signal * z - noise * predicted, signal * predicted + noise * z
        return (z - noise * predicted) / signal, predicted

    def encode(self, images: Images) -> Tensor:
        """See `Process.encode`."""
        size = self.generator.image_size
        shown = resized(with_channels(images, 3), size, size)
        with torch.inference_mode():
            latents = self.generator.encode(to_pixels(shown, self.generator.device))
        return latents.clone()

    def decode(self, z: Tensor) -> Tensor:
        """See `Process.decode`."""
        return self.generator.decode(z) / 2 + 0.5


def process_of(generator: Generator) -> Process:
    """Return a generator as guidance needs it.

    Raises
    ------
    UserError
        If it cannot be guided.
    """
    if isinstance(generator, SmallGenerator):
        return SmallProcess(generator)
    if isinstance(generator, StableDiffusion):
        return LatentProcess(generator)
    raise UserError(
        f"generator: {type(generator).__name__} cannot be guided by a region; take `small` or `stable-diffusion`"
    )


@dataclass(frozen=True)
class Guided:
    """What guidance made.

    Attributes
    ----------
    images : ndarray (n, height, width, 3)
    trace : float32 ndarray (n, n_steps)
        The response to the mixture that stood at each step, before it was guided.
    """

    images: Images
    trace: np.ndarray


def guide(
    process: Process,
    response: Response,
    seeds: Sequence[int],
    *,
    scale: float,
    steps: int,
    initial: Images | None = None,
    strength: float = 1.0,
    progress: Progress | None = None,
) -> Guided:
    """Draw images whose response is raised.

    Parameters
    ----------
    process : Process
    response : callable
    seeds : sequence of int
        One per image; an image depends on no other.
    scale : float
        Weight of the gradient; 0 does not guide and takes none.
    steps : int
        Steps from noise to image.
    initial : ndarray (n, height, width, channels), optional
        Images to start from, with noise; without them from noise alone.
    strength : float
        Share of the steps that is taken from an initial image.
    progress : callable, optional
    """
    taken = process.steps(steps, strength if initial is not None else 1.0)
    parts, traces, done = [], [], 0
    total = len(taken) * -(-len(seeds) // process.batch)
    for first in range(0, len(seeds), process.batch):
        rows = slice(first, first + process.batch)
        z = process.noise(seeds[rows])
        if initial is not None:
            share = process.alphas[taken[0]]
            z = float(np.sqrt(share)) * process.encode(initial[rows]) + float(np.sqrt(1 - share)) * z
        trace = []
        for step, following in zip(taken, [*taken[1:], None], strict=True):
            z, value = _step(process, response, z, step, following, scale)
            trace.append(value)
            done += 1
            if progress is not None:
                progress(done, total)
        with torch.inference_mode():
            parts.append(to_images(process.decode(z).clamp(0, 1) * 2 - 1))
        traces.append(np.stack(trace, axis=1))
    return Guided(np.concatenate(parts), np.concatenate(traces).astype(np.float32))


def _step(
    process: Process, response: Response, z: Tensor, step: int, following: int | None, scale: float
) -> tuple[Tensor, np.ndarray]:
    """Take one guided DDIM step; return the latents after it and the response before it."""
    share = float(process.alphas[step])
    signal, noise = share**0.5, (1 - share) ** 0.5
    leads = scale != 0 and share >= LEAST_SIGNAL
    with torch.set_grad_enabled(leads):
        z = z.detach().requires_grad_(leads)
        finished, eps = process.split(z, step)
        shown = process.decode(noise * finished + (1 - noise) * z).clamp(0, 1)
        value = response(shown)
        if leads:
            (gradient,) = torch.autograd.grad(value.sum(), z)
            eps = eps - noise * scale * gradient
            finished = (z - noise * eps) / signal
    finished, eps, z = finished.detach(), eps.detach(), z.detach()
    if process.bound is not None:
        finished = finished.clamp(-process.bound, process.bound)
        if noise > 0:
            eps = (z - signal * finished) / noise
    if following is None:
        return finished, value.detach().float().cpu().numpy()
    later = float(process.alphas[following])
    return later**0.5 * finished + (1 - later) ** 0.5 * eps, value.detach().float().cpu().numpy()


def linear_response(features: Any, coef: np.ndarray, intercept: float, *, unit_norm: bool, device: str) -> Response:
    """Return the response of a linear reader of an encoder's features.

    Parameters
    ----------
    features : callable
        Pictures to features, differentiable.
    coef : ndarray (n_features,)
    intercept : float
    unit_norm : bool
        Whether features are divided by their norm first.
    device : str
    """
    weights = torch.from_numpy(np.asarray(coef, dtype=np.float32)).to(device)

    def response(pictures: Tensor) -> Tensor:
        values = features(pictures)
        if unit_norm:
            values = values / values.norm(dim=1, keepdim=True).clamp_min(1e-12)
        out: Tensor = values @ weights + intercept
        return out

    return response
