"""How a network is trained, as one record, and the recipes' settings as such records."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from brainbench.core.errors import UserError
from brainbench.recipes.pipelines import NetworkSettings
from brainbench.recipes.reconstruction import SmallSettings

Schedule = Literal["constant", "cosine", "warmup_cosine"]
FINAL_RATE = 1e-6
"""Learning rate at the end of a cosine schedule."""
FINAL_SHARE = 0.01
"""Learning rate at the end of a cosine schedule with warm-up, as a share of the largest."""
WARMUP_STEPS = 100
"""Steps of warm-up, or a tenth of the training where that is less."""
SMALL_STRETCHES = 50
"""Points of the loss curve that is kept of the small diffusion network: its epochs."""


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Parameters
    ----------
    n_epochs : int
        Stretches of steps; what is drawn in one depends on (seed, epoch) alone, and checkpoints lie between them.
    batch_size : int
    learning_rate, weight_decay : float
        Of AdamW, which is Adam without weight decay.
    schedule : {"constant", "cosine", "warmup_cosine"}
        Cosine goes down to 1e-6, once an epoch. With warm-up it goes by steps: up from nothing in `WARMUP_STEPS` steps
        or a tenth of all, then down to 1 % by half a cosine; it needs `n_steps`.
    validation : float
        Share of the groups (of the trials, without groups) that is kept from training; the epoch with the least
        cross-entropy on them is taken. 0 takes the last epoch.
    patience : int, optional
        Stop after so many epochs without a better one; None never stops early.
    seed : int
    device : str
    threads : int
    n_steps : int, optional
        Steps in all, where the schedule goes by them.
    ema : float, optional
        Decay of a moving average of all weights, which is taken at the end; it follows faster at first.
    clip : float, optional
        Largest norm of a step's gradient.
    fused : bool
        All weights are moved by one kernel; slower without it, with other last digits.
    bf16 : bool
        Whether the objective is computed in bfloat16 where there is CUDA; weights and codebooks stay in float32.
    alone : bool
        Whether training holds torch's random generator and its number of threads, as dropout needs. A network that
        draws nothing from it may train beside others, with the threads that are set.
    """

    n_epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    validation: float = 0.2
    patience: int | None = 20
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    n_steps: int | None = None
    ema: float | None = None
    clip: float | None = None
    fused: bool = True
    bf16: bool = False
    alone: bool = True

    def __post_init__(self) -> None:
        for name in ("n_epochs", "batch_size", "patience", "threads", "n_steps"):
            value = getattr(self, name)
            if value is None and name in ("patience", "n_steps"):
                continue
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise UserError(f"{name} must be a whole number of at least 1, not {value!r}")
        if not isinstance(self.seed, (int, np.integer)) or isinstance(self.seed, bool) or self.seed < 0:
            raise UserError(f"the seed must be a whole number of at least 0, not {self.seed!r}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UserError(f"learning_rate must be above 0, not {self.learning_rate!r}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise UserError(f"weight_decay must be at least 0, not {self.weight_decay!r}")
        if not 0 <= self.validation < 1:
            raise UserError(f"validation must be a share in [0, 1), not {self.validation!r}")
        if self.schedule not in ("constant", "cosine", "warmup_cosine"):
            raise UserError(f"schedule must be 'constant', 'cosine' or 'warmup_cosine', not {self.schedule!r}")
        if self.schedule == "warmup_cosine" and self.n_steps is None:
            raise UserError("schedule 'warmup_cosine' goes by steps and needs n_steps")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise UserError(f"ema must be a decay in [0, 1), not {self.ema!r}")
        if self.clip is not None and not (math.isfinite(self.clip) and self.clip > 0):
            raise UserError(f"clip must be above 0, not {self.clip!r}")

    def rate(self, epoch: int, step: int = 0) -> float:
        """Return the learning rate of a step in an epoch, both counted from 0 over the whole training."""
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "cosine":
            fall = (1 + math.cos(math.pi * epoch / self.n_epochs)) / 2
            return FINAL_RATE + (self.learning_rate - FINAL_RATE) * fall
        assert self.n_steps is not None
        warm = max(1, min(WARMUP_STEPS, self.n_steps // 10))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        fall = 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.n_steps - warm)))
        return self.learning_rate * (FINAL_SHARE + (1 - FINAL_SHARE) * fall)

    def average(self, step: int) -> float:
        """Return the decay of the moving average at a step, counted from 0."""
        assert self.ema is not None
        return min(self.ema, (1 + step) / (10 + step))


def of_pipeline(settings: NetworkSettings, *, seed: int, threads: int) -> Training:
    """Return the training of a pipeline's network."""
    return Training(
        n_epochs=settings.max_epochs,
        patience=settings.patience,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        seed=seed,
        threads=threads,
    )


def of_small(settings: SmallSettings, *, seed: int, device: str) -> Training:
    """Return the training of the small diffusion network; its images are drawn by step, not by epoch."""
    every = max(1, -(-settings.train_steps // SMALL_STRETCHES))
    return Training(
        n_epochs=-(-settings.train_steps // every),
        n_steps=settings.train_steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=0.01,
        schedule="warmup_cosine",
        validation=0.0,
        patience=None,
        seed=seed,
        device=device,
        ema=settings.ema,
        clip=1.0,
        fused=False,  # the weights of recipes that ran before stay what they were
        alone=False,
    )
