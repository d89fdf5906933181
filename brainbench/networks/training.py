"""The one trainer of all networks: steps, terms of the objective, schedule, moving average, checkpoints, validation.

Every epoch draws its random numbers from (seed, epoch) alone, and what draws by step draws from (seed, step). A run
that was killed therefore continues from its last checkpoint to the same weights, bit for bit on one CPU, without any
generator's state being stored.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from brainbench.core.errors import UserError
from brainbench.networks.devices import resolve_device
from brainbench.networks.options import Training
from brainbench.networks.tensors import below, load_tensors, prefixed, save_tensors
from brainbench.networks.weights import TORCH_RANDOM

CHECKPOINT_S = 10.0
"""Least time between two checkpoints, in seconds; they cost time, and any of them leads to the same end."""
CHECKPOINT_SHARE = 0.05
"""Writing checkpoints takes no larger share of the time."""

Progress = Callable[[dict[str, Any]], None]
Objective = Callable[..., Tensor | Mapping[str, Tensor]]
"""What is minimised: from the network and a batch's tensors to its loss, or to weighted terms by name, whose sum is the
loss."""


class Batches(Protocol):
    """What a network is trained on."""

    def __call__(self, epoch: int, step: int) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
        """Yield the batches of an epoch that begins with `step`, and how many rows each has, on the network's device.

        Random numbers come from torch's generator, which the trainer seeds by (seed, epoch), or from the step's number.
        """
        ...


@dataclass
class Trained:
    """What training leaves behind, beside the weights in the network.

    Attributes
    ----------
    history : list of dict
        Per epoch: ``epoch`` (from 1), ``loss`` and its terms, ``learning_rate`` (of its last step), and what
        validation found.
    best_epoch : int
        The epoch whose weights were taken, from 1.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0


@contextlib.contextmanager
def torch_alone(threads: int, device: str = "cpu") -> Iterator[None]:
    """Hold torch for one network: its random generators and its number of threads, both given back after.

    torch has one generator a process, and units of work run in threads of one process: networks train one at a time.
    The block may be entered again inside itself.
    """
    cuda = [torch.device(device).index or 0] if device.startswith("cuda") else []
    with TORCH_RANDOM, torch.random.fork_rng(devices=cuda):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def train(
    network: nn.Module,
    batches: Batches,
    objective: Objective,
    training: Training,
    *,
    checkpoint: Path | None = None,
    key: str = "",
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    progress: Progress | None = None,
    watch: Callable[[int], None] | None = None,
) -> Trained:
    """Train a network in place and leave it in evaluation mode with the chosen weights.

    Parameters
    ----------
    network : Module
    batches : Batches
    objective : Objective
    training : Training
    checkpoint : path, optional
        File in which training is continued where it was interrupted; one that is damaged is not used, and said.
    key : str
        Digest of everything that decides the weights: a checkpoint of another key is not used.
    validate : callable, optional
        From the network after an epoch to what is written down of it, ``validation_loss`` among it. The epoch with the
        least is taken, and patience counts from it; without validation the last epoch, or the moving average, is.
    progress : callable, optional
        Gets one dictionary an epoch: the history's entry, ``n_epochs`` and ``seconds``.
    watch : callable, optional
        Gets the number of steps done, at the start and after each.

    Raises
    ------
    UserError
        If a loss is not finite, or a checkpoint cannot be written.
    """
    device = resolve_device(training.device)
    network.to(device)
    # On a GPU one kernel moves all weights: launching one for each would take a third of a step.
    fused = training.fused or device.startswith("cuda")
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=fused
    )
    state = _State(network, optimizer, training)
    if checkpoint is not None:
        state.load(checkpoint, key)
    if watch is not None:
        watch(state.step)
    due = time.monotonic() + CHECKPOINT_S
    with torch_alone(training.threads, device) if training.alone else contextlib.nullcontext():
        while not state.finished:
            start = time.perf_counter()
            record = _one_epoch(state, batches, objective, watch)
            if validate is not None:
                record |= validate(network)
                _check_finite(record["validation_loss"], "validation loss", state.step)
            state.add(record)
            if checkpoint is not None and not state.finished and time.monotonic() >= due:
                began = time.monotonic()
                state.save(checkpoint, key)
                due = time.monotonic() + max(CHECKPOINT_S, (time.monotonic() - began) / CHECKPOINT_SHARE)
            if progress is not None:
                progress({**record, "n_epochs": training.n_epochs, "seconds": time.perf_counter() - start})
    chosen = state.best or state.average
    if chosen is not None:
        network.load_state_dict(chosen)
    network.eval()
    return state.trained


class _State:
    """Where a training stands: everything that a checkpoint holds."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, training: Training) -> None:
        self.network, self.optimizer, self.training = network, optimizer, training
        self.trained = Trained()
        self.step = 0
        self.best: dict[str, Tensor] | None = None
        self.average = None if training.ema is None else _copy(network)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or patience is at its end."""
        epoch, patience = len(self.trained.history), self.training.patience
        impatient = patience is not None and self.best is not None and epoch - self.trained.best_epoch >= patience
        return impatient or epoch >= self.training.n_epochs

    def add(self, record: dict[str, Any]) -> None:
        """Take in an epoch: without validation the last one is the best one."""
        history = self.trained.history
        history.append(record)
        if "validation_loss" not in record:
            self.trained.best_epoch = record["epoch"]
            return
        least = history[self.trained.best_epoch - 1]["validation_loss"] if self.trained.best_epoch else math.inf
        if record["validation_loss"] < least:
            self.trained.best_epoch = record["epoch"]
            self.best = _copy(self.network)

    def move_average(self) -> None:
        """Let the moving average follow the weights, after a step; buffers, which have averages of their own, stay."""
        if self.average is not None:
            weights = dict(self.network.named_parameters())
            averaged = [self.average[name] for name in weights]
            get_ema_multi_avg_fn(self.training.average(self.step))(averaged, list(weights.values()), None)
            for name, value in self.network.state_dict().items():
                if name not in weights:
                    self.average[name].copy_(value)

    def save(self, file: Path, key: str) -> None:
        """Write the checkpoint, whole or not at all."""
        tensors = prefixed("network.", self.network.state_dict())
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= prefixed(f"optimizer.{index}.", values)
        tensors |= prefixed("best.", self.best or {}) | prefixed("average.", self.average or {})
        facts = {"key": key, "step": self.step, "history": self.trained.history, "best_epoch": self.trained.best_epoch}
        save_tensors(file, tensors, facts)

    def load(self, file: Path, key: str) -> None:
        """Take over a checkpoint if there is a sound one of the same key; else stay at the beginning."""
        found = load_tensors(file, key)
        if found is None:
            return
        tensors, facts = found
        groups: dict[int, dict[str, Tensor]] = {}
        for name, value in below("optimizer.", tensors).items():
            index, _, part = name.partition(".")
            groups.setdefault(int(index), {})[part] = value
        self.network.load_state_dict(below("network.", tensors))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": groups})
        device = next(self.network.parameters()).device
        best, average = (
            {name: value.to(device) for name, value in below(kind, tensors).items()} for kind in ("best.", "average.")
        )
        self.best, self.average = best or None, average or None
        self.step = int(facts["step"])
        self.trained = Trained(facts["history"], int(facts["best_epoch"]))


def _check_finite(value: float, what: str, step: int) -> None:
    if not math.isfinite(value):
        raise UserError(
            f"the {what} is {value} at step {step}; training cannot go on",
            hint="lower the learning rate, and look for extreme values in what it is trained on",
        )


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _seed_epoch(seed: int, epoch: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1)))


def _one_epoch(
    state: _State, batches: Batches, objective: Objective, watch: Callable[[int], None] | None
) -> dict[str, Any]:
    """Take one pass over the batches; return what is written down of it: mean loss and terms, by rows."""
    network, optimizer, training = state.network, state.optimizer, state.training
    epoch = len(state.trained.history)
    if training.alone:
        _seed_epoch(training.seed, epoch)
    network.train()
    half = training.bf16 and next(network.parameters()).device.type == "cuda"
    sums: dict[str, float] = {}
    seen, rate = 0, 0.0
    for n_rows, batch in batches(epoch, state.step):
        rate = training.rate(epoch, state.step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            found = objective(network, *batch)
        terms: dict[str, Tensor] = {} if isinstance(found, Tensor) else dict(found)
        loss = found if isinstance(found, Tensor) else torch.stack(list(terms.values())).sum()
        value = loss.item()
        _check_finite(value, "loss", state.step)
        loss.backward()
        if training.clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), training.clip)
        optimizer.step()
        state.move_average()
        for name, one in {"loss": value, **{name: term.item() for name, term in terms.items()}}.items():
            sums[name] = sums.get(name, 0.0) + one * n_rows
        seen += n_rows
        state.step += 1
        if watch is not None:
            watch(state.step)
    return {"epoch": epoch + 1, **{name: total / seen for name, total in sums.items()}, "learning_rate": rate}
