"""One plain loop that trains a classifier of trials: early stopping on held-out groups, deterministic on a CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_TORCH = threading.Lock()
"""PyTorch has one random state per process; networks train one at a time, so that it is theirs alone."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast a network trains.

    Parameters
    ----------
    max_epochs, patience, batch_size : int
    learning_rate, weight_decay : float
        Of AdamW.
    seed, threads : int
    """

    max_epochs: int = 120
    patience: int = 30
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    seed: int = 0
    threads: int = 1


@dataclass
class History:
    """What happened: loss per epoch on training and validation rows, and the epochs that were kept."""

    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    best_epoch: int = 0


@contextmanager
def torch_state(seed: int, threads: int) -> Iterator[None]:
    """Hold PyTorch's random state and threads for one network, and give them back."""
    import torch

    with _TORCH, torch.random.fork_rng(devices=[]):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def hold_out_group(y: np.ndarray, groups: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return training and validation rows inside the training rows of a fold.

    One group is held out whole, drawn by `seed` among those whose absence leaves every class in training; without
    groups a fifth of each class, its last rows.
    """
    if groups is not None and len(np.unique(groups)) > 1:
        n_classes = len(np.unique(y))
        for name in np.random.default_rng([seed, 41]).permutation(np.unique(groups)):
            valid = groups == name
            if len(np.unique(y[~valid])) == n_classes:
                return np.flatnonzero(~valid), np.flatnonzero(valid)
    last = []
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        last.append(rows[len(rows) - max(1, len(rows) // 5) :] if len(rows) > 1 else rows[:0])
    valid_rows = np.sort(np.concatenate(last))
    return np.setdiff1d(np.arange(len(y)), valid_rows), valid_rows


def train_network(
    build: Callable[[], Any], X: np.ndarray, y: np.ndarray, plan: TrainingPlan, groups: np.ndarray | None = None
) -> tuple[Any, History]:
    """Train a network, and return it in evaluation mode.

    A first network finds after how many epochs the loss on a held-out group is lowest; a second one, from the same
    seed, trains on all rows for as many steps of the data. Test rows have no part in either.

    Parameters
    ----------
    build : callable
        Returns a new network.
    X : float32 ndarray (n_rows, n_channels, n_times)
    y : int ndarray (n_rows,)
    plan : TrainingPlan
    groups : ndarray (n_rows,), optional
        What validation must not split.
    """
    train, valid = hold_out_group(y, groups, plan.seed)
    with torch_state(plan.seed, plan.threads):
        history = _run(build(), X[train], y[train], plan, plan.max_epochs, (X[valid], y[valid]))[1]
    with torch_state(plan.seed, plan.threads):
        network, final = _run(build(), X, y, plan, history.best_epoch, None)
    history.train = final.train
    return network, history


def _run(
    network: Any, X: np.ndarray, y: np.ndarray, plan: TrainingPlan, epochs: int,
    valid: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[Any, History]:  # fmt: skip
    import torch

    rng = np.random.default_rng([plan.seed, 43])
    signals, labels = torch.from_numpy(np.ascontiguousarray(X)), torch.from_numpy(y.astype(np.int64))
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    loss_of = torch.nn.CrossEntropyLoss()
    history = History()
    lowest, waited = np.inf, 0
    for epoch in range(1, epochs + 1):
        network.train()
        total = 0.0
        for rows in _batches(rng.permutation(len(y)), plan.batch_size):
            optimizer.zero_grad()
            loss = loss_of(network(signals[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        history.train.append(total / len(y))
        if valid is None:
            continue
        scores = scores_of(network, valid[0])
        loss_now = float(loss_of(torch.from_numpy(scores), torch.from_numpy(valid[1].astype(np.int64))))
        history.valid.append(loss_now)
        if not np.isfinite(loss_now):
            raise ValueError(f"the validation loss is not finite after {epoch} epochs: lower `learning_rate`")
        if loss_now < lowest - 1e-6:
            lowest, waited, history.best_epoch = loss_now, 0, epoch
        else:
            waited += 1
            if waited >= plan.patience:
                break
    network.eval()
    return network, history


def _batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield batches of `size`; a last row alone joins the batch before it, since batch norm needs two."""
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    yield from parts


def scores_of(network: Any, X: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Return a network's outputs ``(n_rows, n_classes)``, nothing dropped out, nothing learned."""
    import torch

    network.eval()
    with torch.inference_mode():
        parts = [
            network(torch.from_numpy(np.ascontiguousarray(X[start : start + batch_size]))).numpy().copy()
            for start in range(0, len(X), batch_size)
        ]
    return np.concatenate(parts)
