"""What the small diffusion network is trained on: noisy images with their velocity, drawn by step.

The network predicts the velocity of Salimans & Ho (2022) on a cosine schedule that ends in pure noise (zero terminal
SNR), since at small sizes the brightness of an image would otherwise show through the last noise level. Every step
draws its random numbers from (seed, step) alone. The loop is that of `brainbench.networks.training`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainbench.networks.options import Training


def noise_schedule() -> Any:
    """Return the schedule of training and sampling (a `DDIMScheduler`): cosine, zero terminal SNR, velocity."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=True,
        clip_sample_range=1.0,
    )


def velocity_error(
    network: nn.Module, noisy: Tensor, times: Tensor, seen: Tensor, keep: Tensor, velocity: Tensor
) -> Tensor:
    """Return the mean squared error of the velocity in one batch.

    Parameters
    ----------
    network : Module
        ``network(images, timesteps, features, keep)`` predicts the velocity, in the shape of the images.
    noisy : Tensor (n, channels, side, side)
    times : Tensor (n,)
    seen : Tensor (n, n_features)
    keep : Tensor (n,)
        Says in which rows it may see the features.
    velocity : Tensor (n, channels, side, side)
    """
    return F.mse_loss(network(noisy, times, seen, keep), velocity)


@dataclass(frozen=True)
class NoisyImages:
    """Batches for `velocity_error`.

    Parameters
    ----------
    images : Tensor (n, channels, side, side)
        In [-1, 1].
    features : Tensor (n, n_features)
    spread : Tensor (n_features,)
        Standard deviation of the noise that is added to each feature.
    drop_features : float
        Share of rows without features.
    training : Training
        With `n_steps`, of which every epoch takes an equal part, the last what is left.
    """

    images: Tensor
    features: Tensor
    spread: Tensor
    drop_features: float
    training: Training

    def __call__(self, epoch: int, step: int) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
        """Yield the batches of an epoch; see `brainbench.networks.training.Batches`."""
        assert self.training.n_steps is not None
        each = -(-self.training.n_steps // self.training.n_epochs)
        schedule = noise_schedule()
        for index in range(step, min(step + each, self.training.n_steps)):
            yield self.training.batch_size, self._drawn(schedule, index)

    def _drawn(self, schedule: Any, step: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng([self.training.seed, 103, step])
        n, size = len(self.images), self.training.batch_size
        rows = torch.from_numpy(rng.choice(n, size, replace=size > n))
        # One timestep in every stretch of the schedule: less variance than independent draws.
        n_times = int(schedule.config["num_train_timesteps"])
        share = rng.permutation((np.arange(size) + rng.random()) / size)
        times = torch.from_numpy(np.minimum((share * n_times).astype(np.int64), n_times - 1)).to(self.images.device)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        clean = self.images[rows]
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        seen = self.features[rows]
        seen = seen + self.spread * torch.randn(seen.shape, generator=generator).to(seen)
        keep = torch.from_numpy(rng.random(size) >= self.drop_features).to(clean)
        return schedule.add_noise(clean, noise, times), times, seen, keep, schedule.get_velocity(clean, noise, times)
