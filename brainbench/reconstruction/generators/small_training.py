"""Training of the small diffusion network: noise prediction with a moving average of weights, and exact resumption.

The network predicts the velocity of Salimans & Ho (2022) on a cosine schedule that ends in pure noise (zero terminal
SNR), since at small sizes the brightness of an image would otherwise show through the last noise level. Every step
draws its random numbers from (seed, step) alone: a training that was killed continues from its last checkpoint to the
same weights, bit for bit on one thread, without any generator's state being stored.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainbench.core.errors import UserError
from brainbench.core.files import atomic_path, write_json
from brainbench.reconstruction.base import Progress

CHECKPOINT_S = 20.0
"""Least time between two checkpoints, in seconds; any of them leads to the same end."""
N_LOSSES = 50
"""Points of the loss curve that is kept."""
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 1.0
_FINAL_RATE = 0.01
"""Learning rate at the end, as a share of the largest."""


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


@dataclass(frozen=True)
class Plan:
    """How the network is trained.

    Attributes
    ----------
    key : str
        Digest of everything that decides the weights: settings, images, features, seed.
    """

    key: str
    n_steps: int
    batch_size: int
    learning_rate: float
    ema: float
    drop_features: float
    seed: int

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0: warm-up, then half a cosine."""
        warm = max(1, min(100, self.n_steps // 10))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        fall = 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.n_steps - warm)))
        return self.learning_rate * (_FINAL_RATE + (1 - _FINAL_RATE) * fall)

    def average(self, step: int) -> float:
        """Return the decay of the moving average at a step; it follows faster at first."""
        return min(self.ema, (1 + step) / (10 + step))


@dataclass
class _State:
    """What a checkpoint holds."""

    network: nn.Module
    optimizer: torch.optim.AdamW
    ema: dict[str, Tensor]
    step: int = 0
    losses: list[float] = field(default_factory=list)

    def tensors(self) -> dict[str, Tensor]:
        state = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        state |= {f"ema.{name}": value for name, value in self.ema.items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        return state

    def save(self, file: Path, plan: Plan) -> None:
        save_tensors(file, self.tensors(), {"key": plan.key, "step": self.step, "losses": self.losses})

    def load(self, file: Path, plan: Plan) -> None:
        """Take over a checkpoint if there is a sound one of the same plan; else stay at the beginning."""
        found = load_tensors(file, plan.key)
        if found is None:
            return
        tensors, facts = found
        groups: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimizer":
                index, _, part = rest.partition(".")
                groups.setdefault(int(index), {})[part] = value
        self.network.load_state_dict(_part(tensors, "network."))
        self.ema = {name: value.to(self.ema[name].device) for name, value in _part(tensors, "ema.").items()}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": groups})
        self.step, self.losses = int(facts["step"]), [float(loss) for loss in facts["losses"]]


def train_network(
    network: nn.Module,
    images: Tensor,
    features: Tensor,
    spread: Tensor,
    plan: Plan,
    folder: Path,
    progress: Progress | None = None,
) -> list[float]:
    """Train a network in place and leave it in evaluation mode with the averaged weights.

    Parameters
    ----------
    network : Module
        ``network(images, timesteps, features, keep)`` predicts the velocity, in the shape of the images; `keep`
        (n,) says in which rows it may see the features.
    images : Tensor (n, channels, side, side)
        In [-1, 1].
    features : Tensor (n, n_features)
    spread : Tensor (n_features,)
        Standard deviation of the noise that is added to each feature.
    plan : Plan
    folder : Path
        Holds the checkpoint while training goes on.
    progress : callable, optional

    Returns
    -------
    list of float
        Mean loss in each of up to `N_LOSSES` stretches of the training.

    Raises
    ------
    UserError
        If the loss is not finite.
    """
    device = next(network.parameters()).device
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=_WEIGHT_DECAY)
    state = _State(network, optimizer, {name: value.clone() for name, value in network.state_dict().items()})
    file = folder / f"{plan.key[:24]}.checkpoint.safetensors"
    state.load(file, plan)
    schedule = noise_schedule()
    images, features, spread = images.to(device), features.to(device), spread.to(device)
    written, recent = time.monotonic(), _Mean(state.losses, plan.n_steps, state.step)
    if progress is not None:
        progress(state.step, plan.n_steps)
    while state.step < plan.n_steps:
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(state.step)
        loss = _loss(network, schedule, images, features, spread, plan, state.step)
        if not torch.isfinite(loss):
            raise UserError(
                f"generator: the loss is {loss.item()} at step {state.step}; training cannot go on",
                hint="lower `learning_rate`",
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        optimizer.step()
        decay = plan.average(state.step)
        with torch.no_grad():
            for name, value in network.state_dict().items():
                state.ema[name].lerp_(value, 1 - decay)
        recent.add(loss.item())
        state.step += 1
        if recent.complete and state.step < plan.n_steps and time.monotonic() - written >= CHECKPOINT_S:
            state.save(file, plan)
            written = time.monotonic()
        if progress is not None:
            progress(state.step, plan.n_steps)
    network.load_state_dict(state.ema)
    network.eval()
    return state.losses


def _loss(
    network: nn.Module,
    schedule: Any,
    images: Tensor,
    features: Tensor,
    spread: Tensor,
    plan: Plan,
    step: int,
) -> Tensor:
    """Return the mean squared error of the velocity in one batch."""
    rng = np.random.default_rng([plan.seed, 103, step])
    n, size = len(images), plan.batch_size
    rows = torch.from_numpy(rng.choice(n, size, replace=size > n))
    # One timestep in every stretch of the schedule: less variance than independent draws.
    n_times = int(schedule.config["num_train_timesteps"])
    share = rng.permutation((np.arange(size) + rng.random()) / size)
    times = torch.from_numpy(np.minimum((share * n_times).astype(np.int64), n_times - 1)).to(images.device)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    clean = images[rows]
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    seen = features[rows]
    seen = seen + spread * torch.randn(seen.shape, generator=generator).to(seen)
    keep = torch.from_numpy(rng.random(size) >= plan.drop_features).to(clean)
    predicted = network(schedule.add_noise(clean, noise, times), times, seen, keep)
    return F.mse_loss(predicted, schedule.get_velocity(clean, noise, times))


class _Mean:
    """Mean loss of each stretch of the training, appended to a list when the stretch is over."""

    def __init__(self, losses: list[float], n_steps: int, step: int) -> None:
        self.losses = losses
        self.every = max(1, -(-n_steps // N_LOSSES))
        self.values: list[float] = []
        self.left = n_steps - step

    def add(self, value: float) -> None:
        self.values.append(value)
        self.left -= 1
        if len(self.values) == self.every or not self.left:
            self.losses.append(float(np.mean(self.values)))
            self.values = []

    @property
    def complete(self) -> bool:
        """Whether nothing would be lost if the training stopped here."""
        return not self.values


# Files ------------------------------------------------------------------------------------------------------------


def save_tensors(file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and facts (JSON, in the header) as one safetensors file, atomically."""
    from safetensors.torch import save_file

    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = {"facts": json.dumps({**facts, "digest": _digest(plain)})}
    with atomic_path(file) as temporary:
        save_file(plain, temporary, metadata=metadata)


def load_tensors(file: Path, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read what `save_tensors` wrote under `key`; None where the file is absent, damaged or of something else."""
    from safetensors import SafetensorError, safe_open

    if not file.exists():
        return None
    try:
        with safe_open(str(file), framework="pt") as stored:
            facts = json.loads((stored.metadata() or {})["facts"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
    if facts.get("key") != key or facts.get("digest") != _digest(tensors):
        return None
    return tensors, facts


def finish(file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write finished weights, and beside them their facts to read; remove the checkpoint they came from."""
    save_tensors(file, tensors, facts)
    write_json(file.with_suffix(".json"), dict(facts))
    file.with_name(f"{file.stem}.checkpoint.safetensors").unlink(missing_ok=True)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        sha.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        sha.update(value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return sha.hexdigest()


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
