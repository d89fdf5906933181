"""Training of classifiers of trials: validation by group, changed copies of trials, cross-entropy.

The loop is that of `brainbench.networks.training`; here stands what it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainbench.core.errors import UserError
from brainbench.networks.devices import resolve_device
from brainbench.networks.options import Training
from brainbench.networks.training import Objective, Progress, Trained, train
from brainbench.networks.zoo.folded import folded
from brainbench.networks.zoo.views import View

PREDICT_ROWS = 128


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of the network's logits."""

    class_weight: Tensor | None = None
    label_smoothing: float = 0.0

    def __call__(self, network: nn.Module, X: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a batch ``(n_trials, ...)`` with class indices ``(n_trials,)``."""
        logits = network(X)
        return F.cross_entropy(logits, y, weight=self.class_weight, label_smoothing=self.label_smoothing)


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


def train_classifier(
    network: nn.Module,
    X: np.ndarray,
    y: np.ndarray,
    training: Training,
    *,
    n_classes: int,
    objective: Objective | None = None,
    groups: np.ndarray | None = None,
    augment: Sequence[View] = (),
    checkpoint: Path | None = None,
    key: str = "",
    progress: Progress | None = None,
) -> tuple[Trained, np.ndarray]:
    """Train a classifier in place and leave it in evaluation mode with the chosen weights.

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
    checkpoint, key, progress
        See `brainbench.networks.training.train`.

    Returns
    -------
    trained : Trained
        With validation, ``validation_loss`` and ``validation_accuracy`` stand in its history.
    validation : ndarray of int
        Trials that were kept from training.

    Raises
    ------
    UserError
        If the loss is not finite, or the network's output has another shape.
    """
    device = resolve_device(training.device)
    fit_rows, held_rows = split_validation(y, groups, training.validation, training.seed)
    labels = torch.from_numpy(np.asarray(y, dtype=np.int64))
    network.to(device)
    predict_logits(network, X[:2], device, n_classes=n_classes)  # a wrong shape is found before any long work

    def validate(network: nn.Module) -> dict[str, float]:
        logits, truth = predict_logits(network, X[held_rows], device, n_classes=n_classes), labels[held_rows]
        return {
            "validation_loss": float(F.cross_entropy(logits, truth)),
            "validation_accuracy": float((logits.argmax(1) == truth).double().mean()),
        }

    batches = _Trials(torch.from_numpy(X), labels, torch.from_numpy(fit_rows), augment, training.batch_size, device)
    with folded(network):
        trained = train(
            network,
            batches,
            objective or CrossEntropy(),
            training,
            checkpoint=checkpoint,
            key=key,
            validate=validate if len(held_rows) else None,
            progress=progress,
        )
    return trained, held_rows


@dataclass(frozen=True)
class _Trials:
    """Batches of training trials and their changed copies, in an order drawn from torch's generator each epoch."""

    trials: Tensor
    labels: Tensor
    rows: Tensor
    augment: Sequence[View]
    batch_size: int
    device: str

    def __call__(self, epoch: int, step: int) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
        n = len(self.rows)
        for drawn in batches_of(torch.randperm(n * (1 + len(self.augment))), self.batch_size):
            which, own = drawn // n, self.rows[drawn % n]
            raw = own[which == 0]
            parts = [(self.trials[raw].to(self.device), self.labels[raw].to(self.device))]
            for k, view in enumerate(self.augment, start=1):
                chosen = own[which == k]
                if len(chosen):
                    parts.append(view(self.trials[chosen].to(self.device), self.labels[chosen].to(self.device)))
            X, y = (torch.cat(column) for column in zip(*parts, strict=True))
            yield len(drawn), (X, y)


def batches_of(order: Tensor, size: int) -> list[Tensor]:
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
