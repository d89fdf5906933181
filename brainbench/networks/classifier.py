"""What all classifiers that hold a torch network share: checks, scaling, training, probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.networks.classification import CrossEntropy, predict_logits, train_classifier
from brainbench.networks.devices import resolve_device
from brainbench.networks.options import Training
from brainbench.networks.store import NetworkStore
from brainbench.networks.training import Objective, Progress, torch_alone
from brainbench.networks.weights import digest_weights, seeded
from brainbench.networks.writing import NOT_WRITTEN, plain, save_decoder
from brainbench.networks.zoo.views import View

_UNREAD = (RuntimeError, ValueError, IndexError, ZeroDivisionError, AssertionError, TypeError)
"""What torch, braindecode and others raise where a layer gets less than it needs."""
_LONG = 2048
"""Samples up to which a length that a network reads is looked for."""


@dataclass(frozen=True)
class _Ready:
    """Checked trials, and the network before training."""

    trials: np.ndarray
    codes: np.ndarray
    groups: np.ndarray | None
    network: nn.Module


class TorchClassifier(ClassifierMixin, BaseEstimator):
    """What all networks share: checks, scaling, training, probabilities, files."""

    n_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: Literal["constant", "cosine"]
    validation: float
    patience: int | None
    class_weight: str | None
    random_state: int
    device: str
    threads: int
    checkpoint: str | Path | None
    progress: Progress | None
    network_: Any
    key_: str | None
    """Key in the store of trained networks, where it is kept in one."""

    def build(self, n_chans: int, n_times: int, n_outputs: int) -> nn.Module:
        """Return a new network with random weights."""
        raise NotImplementedError

    def _objective(self, class_weight: Tensor | None) -> Objective:
        return CrossEntropy(class_weight)

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        """Turn scaled trials into what the network reads."""
        return X

    def _augment(self) -> Sequence[View]:
        return ()

    def __sklearn_tags__(self) -> Any:
        """Return tags: trials have three dimensions."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Train on trials.

        Parameters
        ----------
        X : array-like (n_trials, n_channels, n_times)
            Not changed. Any unit: trials are divided by the standard deviation of all training trials.
        y : array-like (n_trials,)
        groups : array-like (n_trials,), optional
            What validation must keep together: runs, sessions or subjects.

        Returns
        -------
        self

        Raises
        ------
        UserError
            If trials, labels or settings do not fit, before any training.
        """
        self.__dict__.pop("network_", None)  # a fit that fails must not leave the old weights with new classes
        ready = self._ready(X, y, groups)
        self.scale_ = float(ready.trials.std(dtype=np.float64))
        if self.scale_ == 0:
            raise UserError("every sample of every trial is the same: there is nothing to learn from")
        two = (ready.trials[:2] / self.scale_).astype(np.float32)
        with torch_alone(self.threads), torch.random.fork_rng(devices=[]):
            try:  # two trials show what the network makes of this length, before hours of training
                predict_logits(ready.network, self._inputs(two), "cpu", n_classes=len(self.classes_))
            except UserError:
                raise
            except _UNREAD as error:
                raise self._refusal(error, self.n_chans_, self.n_times_, len(self.classes_)) from error

        def run(checkpoint: Path | None, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
            trained, held = train_classifier(
                ready.network,
                self._inputs((ready.trials / self.scale_).astype(np.float32)),
                ready.codes,
                self.training,
                n_classes=len(self.classes_),
                objective=self._objective(self._class_weight(ready.codes)),
                groups=ready.groups,
                augment=self._augment(),
                checkpoint=checkpoint,
                key=key,
                progress=self.progress,
            )
            facts = {"history": trained.history, "best_epoch": trained.best_epoch, "validation_rows": held.tolist()}
            return ready.network.state_dict(), facts

        self.key_ = None
        if self.checkpoint is None:
            facts: Mapping[str, Any] = run(None, "")[1]
        else:
            found = NetworkStore(self.checkpoint).trained(self._description(ready), run)
            ready.network.load_state_dict(dict(found.tensors))
            facts, self.key_ = found.facts, found.key
        self.network_ = ready.network.eval()
        self.history_, self.best_epoch_ = facts["history"], facts["best_epoch"]
        self.validation_rows_ = np.array(facts["validation_rows"], dtype=np.intp)
        return self

    @property
    def training(self) -> Training:
        """How the network is trained, as one record."""
        return Training(
            n_epochs=self.n_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            validation=self.validation,
            patience=self.patience,
            seed=self.random_state,
            device=self.device,
            threads=self.threads,
        )

    def describe_training(self, X: Any, y: Any, groups: Any = None) -> dict[str, Any]:
        """Return everything that decides the weights after `fit`, readable: the store's key is its digest."""
        return self._description(self._ready(X, y, groups))

    def _ready(self, X: Any, y: Any, groups: Any) -> _Ready:
        trials = checked_trials(X)
        labels = checked_labels(y, len(trials))
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise UserError(f"a classifier needs at least two classes, all labels are {self.classes_[0]!r}")
        kept = None if groups is None else checked_labels(groups, len(trials), "groups")
        training = self.training
        self.n_chans_, self.n_times_ = trials.shape[1:]
        with torch_alone(training.threads), seeded(training.seed):
            try:
                network = self.build(self.n_chans_, self.n_times_, len(self.classes_))
            except _UNREAD as error:
                raise self._refusal(error, self.n_chans_, self.n_times_, len(self.classes_)) from error
        return _Ready(trials, codes, kept, network)

    def _description(self, ready: _Ready) -> dict[str, Any]:
        settings = {name: value for name, value in self.get_params(deep=False).items() if name not in NOT_WRITTEN}
        return {
            "network": type(self).__name__,
            "settings": {name: plain(name, value) for name, value in settings.items()},
            "modules": digest(repr(ready.network)),
            "first_weights": digest_weights(ready.network),
            "trials": digest_array(ready.trials),
            "n_trials": len(ready.trials),
            "classes": [str(name) for name in self.classes_],
            "labels": digest_array(ready.codes),
            "groups": None if ready.groups is None else digest_array(ready.groups),
            "device": resolve_device(self.device).split(":")[0],
        }

    def check_trials(self, n_chans: int, n_times: int, n_outputs: int) -> None:
        """Refuse trials that the network cannot be built for or cannot read, before anything is trained.

        Raises
        ------
        UserError
            With the shortest trials that it reads, where longer ones can be read.
        """
        error = self._unread(n_chans, n_times, n_outputs)
        if error is not None:
            raise self._refusal(error, n_chans, n_times, n_outputs) from error

    def _unread(self, n_chans: int, n_times: int, n_outputs: int) -> Exception | None:
        """Return what goes wrong when a new network reads two trials of noise; None where nothing does."""
        noise = np.random.default_rng(0).normal(size=(2, n_chans, n_times)).astype(np.float32)
        with torch_alone(self.threads), seeded(self.random_state):
            try:
                network = self.build(n_chans, n_times, n_outputs)
                logits = predict_logits(network, self._inputs(noise), "cpu", n_classes=n_outputs)
            except UserError:
                raise
            except _UNREAD as error:
                return error
        return None if bool(torch.isfinite(logits).all()) else ValueError("its output is not finite")

    def _refusal(self, error: Exception, n_chans: int, n_times: int, n_outputs: int) -> UserError:
        """Return what is said of a network that cannot read trials of this length, with the length that it needs."""
        unread, read = n_times, None  # samples
        while read is None and unread < _LONG:
            if self._unread(n_chans, 2 * unread, n_outputs) is None:
                read = 2 * unread
            else:
                unread *= 2
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        if read is None:
            return UserError(f"the network cannot read trials of {n_chans} channels x {n_times} samples: {reason}")
        while read - unread > 1:
            middle = (read + unread) // 2
            if self._unread(n_chans, middle, n_outputs) is None:
                read = middle
            else:
                unread = middle
        rate = getattr(self, "sfreq", None)
        came, least = (
            f"{n} samples" + (f" ({n / rate:.3g} s at {rate:g} Hz)" if rate else "") for n in (n_times, read)
        )
        return UserError(
            f"trials of {came} are too short for the network, which reads {least} and more: {reason}",
            hint="longer trials (`tmin`, `tmax`), a higher `sfreq`, or another model",
        )

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities ``(n_trials, n_classes)``, in the order of `classes_`."""
        probabilities: np.ndarray = self._logits(X).double().softmax(dim=1).numpy()
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest class of each trial."""
        labels: np.ndarray = self.classes_[self._logits(X).argmax(dim=1).numpy()]
        return labels

    def _logits(self, X: Any) -> Tensor:
        check_is_fitted(self, "network_")
        trials = checked_trials(X)
        if trials.shape[1:] != (self.n_chans_, self.n_times_):
            raise UserError(
                f"trained on trials of {self.n_chans_} channels x {self.n_times_} samples, "
                f"these have {trials.shape[1]} x {trials.shape[2]}",
                hint="pick the channels, resample and cut the trials as for training",
            )
        device = resolve_device(self.device)
        inputs = self._inputs((trials / self.scale_).astype(np.float32))
        with torch_alone(self.threads, device):
            return predict_logits(self.network_.to(device), inputs, device, n_classes=len(self.classes_))

    def relevance(self, X: Any, y: Any, baseline: Any) -> np.ndarray:
        """Return how much each channel speaks for the true class of each trial: gradient x input (Shrikumar 2016).

        The gradient is of the class' logit minus the mean logit, the input is taken as its difference from the mean
        of `baseline`, and the product is summed over everything but channels.

        Parameters
        ----------
        X : array-like (n_trials, n_channels, n_times)
        y : array-like (n_trials,)
            Their classes.
        baseline : array-like (n_others, n_channels, n_times)
            Trials whose mean is the point of comparison, such as those of training.

        Returns
        -------
        ndarray (n_trials, n_channels)
        """
        check_is_fitted(self, "network_")
        device = resolve_device(self.device)
        mean = self._inputs((checked_trials(baseline) / self.scale_).astype(np.float32)).mean(axis=0)
        inputs = self._inputs((checked_trials(X) / self.scale_).astype(np.float32))
        column = torch.as_tensor(np.searchsorted(self.classes_, np.asarray(y)), device=device)
        found = []
        with torch_alone(self.threads, device):
            network = self.network_.to(device).eval()
            for start in range(0, len(inputs), 32):
                batch = torch.tensor(inputs[start : start + 32], device=device, requires_grad=True)
                logits = network(batch)
                chosen = logits.gather(1, column[start : start + 32, None]).sum() - logits.mean(dim=1).sum()
                (gradient,) = torch.autograd.grad(chosen, batch)
                product = gradient * (batch.detach() - torch.as_tensor(mean, device=device))
                found.append(product.flatten(2).sum(dim=2).double().cpu().numpy())
        return np.concatenate(found)

    def _class_weight(self, codes: np.ndarray) -> Tensor | None:
        if self.class_weight is None:
            return None
        if self.class_weight != "balanced":
            raise UserError(f"class_weight must be None or 'balanced', not {self.class_weight!r}")
        counts = np.bincount(codes)
        weight = torch.from_numpy((len(codes) / (len(counts) * counts)).astype(np.float32))
        return weight.to(resolve_device(self.device))

    def save(self, path: str | Path) -> None:
        """Write the fitted decoder as one safetensors file; `brainbench.networks.files` reads it."""
        save_decoder(self, path)


def needed_rate(sfreq: float | None) -> float:
    """Return the sampling rate, refused where it is missing: no network guesses it."""
    if sfreq is None or not np.isfinite(sfreq) or sfreq <= 0:
        raise UserError(f"sfreq, the sampling rate in Hz, is needed; it is {sfreq!r}")
    return float(sfreq)


def checked_trials(X: Any) -> np.ndarray:
    """Return trials ``(n_trials, n_channels, n_times)`` of finite numbers."""
    trials = np.asarray(X)
    if trials.ndim != 3:
        raise UserError(f"trials must be (n_trials, n_channels, n_times), not {trials.shape}")
    if trials.dtype.kind not in "fiu":
        raise UserError(f"trials must be real numbers, not {trials.dtype}")
    if 0 in trials.shape:
        raise UserError(f"there are no trials, channels or samples: {trials.shape}")
    finite = np.isfinite(trials)
    if not finite.all():
        trial, channel, _ = (int(k) for k in np.argwhere(~finite)[0])
        raise UserError(
            f"{int((~finite).sum())} samples are not finite, the first in trial {trial}, channel {channel}",
            hint="drop or interpolate what is bad",
        )
    return trials


def checked_labels(y: Any, n_trials: int, what: str = "labels") -> np.ndarray:
    """Return one label for each trial, as text or whole numbers."""
    labels = np.asarray(y)
    if labels.dtype == object:
        labels = np.array(labels.tolist())
    if labels.shape != (n_trials,):
        raise UserError(f"{what} must be ({n_trials},), one for each trial, not {labels.shape}")
    if labels.dtype.kind not in "biuUS" and not (labels.dtype.kind == "f" and (labels == np.round(labels)).all()):
        raise UserError(f"{what} must be text or whole numbers, not {labels.dtype}")
    return labels
