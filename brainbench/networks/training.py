"""The one training loop of all networks: validation by group, early stopping, checkpoints that resume exactly.

Every epoch draws its random numbers from (seed, epoch) alone. A run that was killed therefore continues from its last
checkpoint to the same weights, bit for bit on one CPU, without any generator's state being stored.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.core.files import atomic_path
from brainbench.networks.devices import resolve_device
from brainbench.networks.weights import TORCH_RANDOM, digest_weights
from brainbench.networks.zoo.views import View

CHECKPOINT_S = 10.0
"""Least time between two checkpoints, in seconds; they cost time, and any of them leads to the same end."""

PREDICT_ROWS = 128
FINAL_RATE = 1e-6
"""Learning rate at the end of a cosine schedule."""

Progress = Callable[[dict[str, Any]], None]


class Objective(Protocol):
    """What is minimised. Its ``repr`` says its settings: it is part of a checkpoint's name."""

    def __call__(self, network: nn.Module, X: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a batch with class indices."""
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of the network's logits."""

    class_weight: Tensor | None = None
    label_smoothing: float = 0.0

    def __call__(self, network: nn.Module, X: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a batch."""
        logits = network(X)
        return F.cross_entropy(logits, y, weight=self.class_weight, label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Parameters
    ----------
    n_epochs, batch_size : int
    learning_rate, weight_decay : float
        Of AdamW, which is Adam without weight decay.
    schedule : {"constant", "cosine"}
        Cosine goes down to 1e-6, once an epoch.
    validation : float
        Share of the groups (of the trials, without groups) that is kept from training; the epoch with the least
        cross-entropy on them is taken. 0 takes the last epoch.
    patience : int, optional
        Stop after so many epochs without a better one; None never stops early.
    seed : int
    device : str
    """

    n_epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    validation: float = 0.2
    patience: int | None = 20
    seed: int = 0
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        whole = {
            "n_epochs": self.n_epochs,
            "batch_size": self.batch_size,
            "patience": self.patience,
            "threads": self.threads,
        }
        for name, value in whole.items():
            if value is None and name == "patience":
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
        if self.schedule not in ("constant", "cosine"):
            raise UserError(f"schedule must be 'constant' or 'cosine', not {self.schedule!r}")

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if self.schedule == "constant":
            return self.learning_rate
        fall = (1 + math.cos(math.pi * epoch / self.n_epochs)) / 2
        return FINAL_RATE + (self.learning_rate - FINAL_RATE) * fall


@dataclass
class Trained:
    """What training leaves behind, beside the weights in the network.

    Attributes
    ----------
    history : list of dict
        Per epoch: ``epoch`` (from 1), ``loss``, ``learning_rate``, and with validation ``validation_loss`` and
        ``validation_accuracy``.
    best_epoch : int
        The epoch whose weights were taken, from 1.
    validation_rows : ndarray of int
        Trials that were kept from training.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    validation_rows: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.intp))


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


def split_validation(
    y: np.ndarray, groups: np.ndarray | None, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the trials that training may not see.

    Whole groups where there are groups, such that every class stays in training (and, where possible, is in
    validation too); without groups the same share of every class.

    Returns
    -------
    training, validation : ndarray of int
        Rows in ascending order.

    Raises
    ------
    UserError
        If no such choice exists.
    """
    rows = np.arange(len(y))
    if share == 0:
        return rows, rows[:0]
    rng = np.random.default_rng([seed, 0xE66])
    classes = np.unique(y)
    if groups is None:
        chosen = []
        for label in classes:
            own = rng.permutation(rows[y == label])
            if len(own) < 2:
                raise UserError(
                    "a class with one trial cannot be in training and in validation",
                    hint="give more trials, or validation=0",
                )
            chosen.append(own[: min(max(1, round(share * len(own))), len(own) - 1)])
        held = np.isin(rows, np.concatenate(chosen))
        return rows[~held], rows[held]
    names = np.unique(groups)
    if len(names) < 2:
        raise UserError(
            "validation keeps whole groups from training, and there is only one group",
            hint="train on at least two groups (runs, subjects), or give validation=0 for the last epoch",
        )
    n_held = min(max(1, round(share * len(names))), len(names) - 1)
    fallback = None
    for _ in range(100):
        held = np.isin(groups, rng.permutation(names)[:n_held])
        if len(np.unique(y[~held])) < len(classes):
            continue
        if len(np.unique(y[held])) == len(classes):
            return rows[~held], rows[held]
        fallback = held
    if fallback is None:
        raise UserError(
            "whatever group validation keeps, a class is missing from training",
            hint="every class must be in at least two groups; or give validation=0",
        )
    return rows[~fallback], rows[fallback]


def train(
    network: nn.Module,
    X: np.ndarray,
    y: np.ndarray,
    training: Training,
    *,
    n_classes: int,
    objective: Objective | None = None,
    groups: np.ndarray | None = None,
    augment: Sequence[View] = (),
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train a network in place and leave it in evaluation mode with the chosen weights.

    Parameters
    ----------
    network : Module
        From ``(n_trials, ...)`` to logits ``(n_trials, n_classes)``.
    X : ndarray (n_trials, ...) of float32
        Not changed.
    y : ndarray (n_trials,) of int
        Class indices.
    training : Training
    n_classes : int
    objective : Objective, optional
        Cross-entropy by default.
    groups : ndarray (n_trials,), optional
        What must not be split between training and validation.
    augment : sequence of View
        Each adds one changed copy of every training trial, so that an epoch has ``1 + n_views`` times the steps.
    checkpoint : path, optional
        Folder. The file's name is the digest of data, settings and initial weights: another setting is another file.
    progress : callable, optional
        Gets one dictionary an epoch: the history's entry, ``n_epochs`` and ``seconds``.

    Returns
    -------
    Trained

    Raises
    ------
    UserError
        If the loss is not finite, the network's output has another shape, or a checkpoint cannot be read.
    """
    device = resolve_device(training.device)
    objective = objective or CrossEntropy()
    fit_rows, held_rows = split_validation(y, groups, training.validation, training.seed)
    file = None
    if checkpoint is not None:
        parts = [asdict(training), digest_array(X), digest_array(y), digest_weights(network)]
        kept = None if groups is None else held_rows.tolist()
        file = Path(checkpoint) / f"{digest([*parts, repr(objective), repr(list(augment)), kept])[:24]}.pt"
    network.to(device)
    predict_logits(network, X[:2], device, n_classes=n_classes)  # a wrong shape is found before any long work
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    state = _State(network, optimizer)
    state.trained.validation_rows = held_rows
    if file is not None and file.exists():
        state.load(file, device)
    trials, labels = torch.from_numpy(X), torch.from_numpy(np.asarray(y, dtype=np.int64))
    written = time.monotonic()
    with torch_alone(training.threads, device):
        while not state.finished and len(state.trained.history) < training.n_epochs:
            start = time.perf_counter()
            epoch = len(state.trained.history)
            _seed_epoch(training.seed, epoch)
            for group in optimizer.param_groups:
                group["lr"] = training.rate(epoch)
            loss = _one_epoch(network, trials, labels, fit_rows, augment, objective, optimizer, training, device)
            record = {"epoch": epoch + 1, "loss": loss, "learning_rate": training.rate(epoch)}
            if len(held_rows):
                logits = predict_logits(network, X[held_rows], device, n_classes=n_classes)
                truth = labels[held_rows]
                record["validation_loss"] = float(F.cross_entropy(logits, truth))
                record["validation_accuracy"] = float((logits.argmax(1) == truth).double().mean())
            state.add(record, training.patience)
            state.finished |= len(state.trained.history) == training.n_epochs
            if file is not None and (state.finished or time.monotonic() - written >= CHECKPOINT_S):
                state.save(file)
                written = time.monotonic()
            if progress is not None:
                progress({**record, "n_epochs": training.n_epochs, "seconds": time.perf_counter() - start})
    if state.best is not None:
        network.load_state_dict(state.best)
    network.eval()
    return state.trained


class _State:
    """Everything that a checkpoint holds."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.network, self.optimizer = network, optimizer
        self.trained = Trained()
        self.best: dict[str, Tensor] | None = None
        self.finished = False

    def add(self, record: dict[str, Any], patience: int | None) -> None:
        """Take in an epoch: without validation the last one is the best one."""
        history = self.trained.history
        history.append(record)
        if "validation_loss" not in record:
            self.trained.best_epoch = record["epoch"]
            return
        least = history[self.trained.best_epoch - 1]["validation_loss"] if self.trained.best_epoch else math.inf
        if record["validation_loss"] < least:
            self.trained.best_epoch = record["epoch"]
            self.best = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.finished = patience is not None and record["epoch"] - self.trained.best_epoch >= patience

    def save(self, file: Path) -> None:
        content = {
            "network": self.network.state_dict(),
            # A finished run never steps again.
            "optimizer": {} if self.finished else self.optimizer.state_dict(),
            "best": self.best or {},
            "history": json.dumps(self.trained.history),
            "best_epoch": self.trained.best_epoch,
            "finished": self.finished,
        }
        with atomic_path(file) as temporary:
            torch.save(content, temporary)

    def load(self, file: Path, device: str) -> None:
        try:
            content = torch.load(file, map_location=device, weights_only=True)
            self.network.load_state_dict(content["network"])
            if content["optimizer"]:
                self.optimizer.load_state_dict(content["optimizer"])
            self.best = content["best"] or None
            self.trained.history = json.loads(content["history"])
            self.trained.best_epoch = int(content["best_epoch"])
            self.finished = bool(content["finished"])
        except Exception as error:
            raise UserError(
                f"{file} is no checkpoint that can be continued ({type(error).__name__})",
                hint="delete the file; training starts again from the beginning",
            ) from error


def _seed_epoch(seed: int, epoch: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1)))


def _one_epoch(
    network: nn.Module,
    trials: Tensor,
    labels: Tensor,
    fit_rows: np.ndarray,
    augment: Sequence[View],
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    training: Training,
    device: str,
) -> float:
    """Take one pass over the training trials and their changed copies; return the mean loss."""
    network.train()
    rows = torch.from_numpy(fit_rows)
    n = len(rows)
    total, seen = 0.0, 0
    for drawn in _batches(torch.randperm(n * (1 + len(augment))), training.batch_size):
        which, own = drawn // n, rows[drawn % n]
        parts = [(trials[own[which == 0]].to(device), labels[own[which == 0]].to(device))]
        for k, view in enumerate(augment, start=1):
            chosen = own[which == k]
            if len(chosen):
                parts.append(view(trials[chosen].to(device), labels[chosen].to(device)))
        X, y = (torch.cat(column) for column in zip(*parts, strict=True))
        optimizer.zero_grad(set_to_none=True)
        loss = objective(network, X, y)
        if not torch.isfinite(loss):
            raise UserError(
                f"the loss is {loss.item()}; training cannot go on",
                hint="lower the learning rate, and look for extreme samples in the recording",
            )
        loss.backward()
        optimizer.step()
        total += loss.item() * len(drawn)
        seen += len(drawn)
    return total / seen


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Cut into batches; one row left over joins the last batch, since batch norm knows no single row."""
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def predict_logits(network: nn.Module, X: np.ndarray, device: str, *, n_classes: int) -> Tensor:
    """Return the network's logits ``(n_trials, n_classes)`` in evaluation mode, on the CPU.

    Raises
    ------
    UserError
        If the network's output has another shape.
    """
    network.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(X), PREDICT_ROWS):
            rows = torch.from_numpy(np.ascontiguousarray(X[start : start + PREDICT_ROWS])).to(device)
            logits = network(rows)
            if not isinstance(logits, Tensor) or logits.shape != (len(rows), n_classes):
                shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise UserError(f"the network must give logits ({len(rows)}, {n_classes}), it gives {shape}")
            found.append(logits.cpu())
    return torch.cat(found) if found else torch.zeros(0, n_classes)
