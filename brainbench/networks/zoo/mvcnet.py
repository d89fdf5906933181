"""MVCNet: a small convolutional network and a Transformer, trained together on views of a trial.

Wang et al. 2025, Knowledge-Based Systems 328:114205 (arXiv 2502.17482). The convolutional branch is a one-band IFNet.
In the released code only that branch decides and the Transformer is thrown away after training (``deploy="cnn"``);
the text says that both representations are fused (``deploy="fused"``). Both are here, because they are not the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainbench.core.errors import UserError
from brainbench.networks.zoo.contrastive import TEMPERATURE, cross_model_loss, cross_view_loss
from brainbench.networks.zoo.folded import LongConv1d
from brainbench.networks.zoo.views import View

Deploy = Literal["cnn", "fused"]

KERNEL_S, POOL_S = 0.252, 0.5
"""Temporal kernel and pooling of the paper's 250-Hz recordings: 63 and 125 samples."""


def window_lengths(n_times: int, sfreq: float, kernel: int | None = None, pool: int | None = None) -> tuple[int, int]:
    """Return kernel (odd) and pooling in samples, by default those of 250 Hz carried over to `sfreq`.

    Raises
    ------
    UserError
        If the trial is shorter than one pooling window, or the kernel is even.
    """
    # Nearest odd number: an even kernel cannot keep the length with equal padding on both sides.
    kernel = 2 * round((KERNEL_S * sfreq - 1) / 2) + 1 if kernel is None else kernel
    pool = max(1, round(POOL_S * sfreq)) if pool is None else pool
    if kernel < 1 or kernel % 2 == 0:
        raise UserError(f"the temporal kernel must be an odd number of samples, not {kernel}")
    if pool > n_times:
        raise UserError(
            f"trials of {n_times} samples are shorter than one pooling window of {pool}",
            hint="give longer trials or a smaller pool_times",
        )
    return kernel, pool


class CNNBranch(nn.Module):
    """One-band IFNet: spatial filters, a long kernel per filter, mean over windows of time.

    Parameters
    ----------
    n_chans, n_times : int
    n_filters : int
    kernel_times, pool_times : int
        Samples.
    drop_prob : float

    Notes
    -----
    Input ``(n_trials, n_chans, n_times)``, output ``(n_trials, n_filters * (n_times // pool_times))``. Samples after
    the last whole pooling window are dropped, as the reference drops the last of 1001, 1251 and 2561.
    """

    def __init__(
        self,
        n_chans: int,
        n_times: int,
        *,
        n_filters: int = 64,
        kernel_times: int = 63,
        pool_times: int = 125,
        drop_prob: float = 0.5,
    ) -> None:
        super().__init__()
        self.n_used = n_times // pool_times * pool_times
        self.n_features = n_filters * (n_times // pool_times)
        self.spatial = nn.Conv1d(n_chans, n_filters, 1, bias=False)
        self.spatial_norm = nn.BatchNorm1d(n_filters)
        self.temporal = LongConv1d(n_filters, kernel_times, padding=kernel_times // 2)
        self.temporal_norm = nn.BatchNorm1d(n_filters)
        self.pool = nn.AvgPool1d(pool_times)
        self.dropout = nn.Dropout(drop_prob)
        for conv in (self.spatial, self.temporal):
            nn.init.trunc_normal_(conv.weight, std=0.01)

    def forward(self, X: Tensor) -> Tensor:
        """Return features."""
        filtered = self.temporal_norm(self.temporal(self.spatial_norm(self.spatial(X))))
        pooled = self.pool(F.gelu(filtered[..., : self.n_used]))
        flat: Tensor = self.dropout(pooled).flatten(1)
        return flat


class TransformerBranch(nn.Module):
    """One Transformer layer whose tokens are channels and whose width is time, then a projection.

    Parameters
    ----------
    n_chans, n_times : int
    n_features : int
        Width of the output, equal to that of the convolutional branch.
    n_heads : int
    time_pool : int
        Time is averaged over so many samples first. 1 is the paper; its flatten layer then has ``4 * n_features *
        n_chans * n_times`` weights (45 of 54 million for 22 channels and 1000 samples), which 4 divides by four.
    drop_prob : float

    Notes
    -----
    Input ``(n_trials, n_chans, n_times)``, output ``(n_trials, n_features)`` in (-1, 1).
    """

    def __init__(
        self,
        n_chans: int,
        n_times: int,
        n_features: int,
        *,
        n_heads: int = 2,
        time_pool: int = 1,
        drop_prob: float = 0.1,
    ) -> None:
        super().__init__()
        if time_pool < 1:
            raise UserError(f"time_pool must be at least 1, not {time_pool}")
        # Attention splits the width evenly between heads: at most n_heads - 1 pooled samples are left out.
        self.width = n_times // time_pool // n_heads * n_heads
        if self.width == 0:
            raise UserError(f"time_pool {time_pool} leaves nothing of {n_times} samples for {n_heads} heads")
        self.pool = nn.AvgPool1d(time_pool) if time_pool > 1 else nn.Identity()
        self.layer = nn.TransformerEncoderLayer(
            self.width, n_heads, dim_feedforward=2 * self.width, dropout=drop_prob, batch_first=True
        )
        self.project = nn.Sequential(
            nn.Linear(n_chans * self.width, 4 * n_features),
            nn.LayerNorm(4 * n_features),
            nn.ReLU(),
            nn.Linear(4 * n_features, n_features),
            nn.Tanh(),
        )

    def forward(self, X: Tensor) -> Tensor:
        """Return features."""
        tokens = self.pool(X)[..., : self.width]
        projected: Tensor = self.project(self.layer(tokens).flatten(1))
        return projected


class OneBandIFNet(nn.Module):
    """The convolutional branch with its classifier: what MVCNet is at inference in the released code.

    Parameters
    ----------
    n_chans, n_outputs, n_times : int
    sfreq : float
        Hz; gives kernel and pooling where these are None.
    n_filters : int
    kernel_times, pool_times : int, optional
        Samples.
    drop_prob : float
    """

    def __init__(
        self,
        n_chans: int,
        n_outputs: int,
        n_times: int,
        sfreq: float = 250.0,
        *,
        n_filters: int = 64,
        kernel_times: int | None = None,
        pool_times: int | None = None,
        drop_prob: float = 0.5,
    ) -> None:
        super().__init__()
        kernel, pool = window_lengths(n_times, sfreq, kernel_times, pool_times)
        self.cnn = CNNBranch(
            n_chans, n_times, n_filters=n_filters, kernel_times=kernel, pool_times=pool, drop_prob=drop_prob
        )
        self.classify = _classifier(self.cnn.n_features, n_outputs)

    def forward(self, X: Tensor) -> Tensor:
        """Return logits ``(n_trials, n_outputs)``."""
        logits: Tensor = self.classify(self.cnn(X))
        return logits


class MVCNet(nn.Module):
    """Both branches and the classifier of what is deployed.

    Parameters
    ----------
    n_chans, n_outputs, n_times : int
    sfreq : float
        Hz; gives kernel and pooling where these are None.
    deploy : {"cnn", "fused"}
        What decides: the convolutional features, or both branches' features side by side.
    n_filters : int
    kernel_times, pool_times : int, optional
        Samples.
    time_pool : int
        Samples averaged before the Transformer branch.
    drop_prob : float
        Of the convolutional branch; the Transformer has 0.1.
    """

    def __init__(
        self,
        n_chans: int,
        n_outputs: int,
        n_times: int,
        sfreq: float = 250.0,
        *,
        deploy: Deploy = "cnn",
        n_filters: int = 64,
        kernel_times: int | None = None,
        pool_times: int | None = None,
        time_pool: int = 1,
        drop_prob: float = 0.5,
    ) -> None:
        super().__init__()
        if deploy not in ("cnn", "fused"):
            raise UserError(f"deploy must be 'cnn' or 'fused', not {deploy!r}")
        kernel, pool = window_lengths(n_times, sfreq, kernel_times, pool_times)
        self.deploy = deploy
        self.cnn = CNNBranch(
            n_chans, n_times, n_filters=n_filters, kernel_times=kernel, pool_times=pool, drop_prob=drop_prob
        )
        # Built before the Transformer, so that the deployed half starts from the same weights as OneBandIFNet.
        self.classify = _classifier(self.cnn.n_features * (2 if deploy == "fused" else 1), n_outputs)
        self.transformer = TransformerBranch(n_chans, self.cnn.n_used, self.cnn.n_features, time_pool=time_pool)

    def branches(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of both branches, each ``(n_trials, n_features)``."""
        return self.cnn(X), self.transformer(X[..., : self.cnn.n_used])

    def decide(self, cnn: Tensor, transformer: Tensor | None) -> Tensor:
        """Return logits from features that were computed already."""
        parts = [cnn] if self.deploy == "cnn" or transformer is None else [cnn, transformer]
        logits: Tensor = self.classify(torch.cat(parts, dim=1))
        return logits

    def forward(self, X: Tensor) -> Tensor:
        """Return logits ``(n_trials, n_outputs)``; with ``deploy="cnn"`` the Transformer is not run."""
        if self.deploy == "cnn":
            return self.decide(self.cnn(X), None)
        return self.decide(*self.branches(X))

    def n_parameters(self, *, deployed: bool = False) -> int:
        """Return how many weights there are, or only those that decide."""
        skip = "transformer." if deployed and self.deploy == "cnn" else None
        return sum(
            weight.numel() for name, weight in self.named_parameters() if skip is None or not name.startswith(skip)
        )


def _classifier(n_features: int, n_outputs: int) -> nn.Linear:
    linear = nn.Linear(n_features, n_outputs)
    nn.init.trunc_normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return linear


@dataclass(frozen=True)
class MultiViewLoss:
    """What MVCNet minimises: ``CE + lambda CVC + gamma CMC``.

    CE is the sum of the cross-entropies of the raw trials and of every view, with the labels of that view.

    Parameters
    ----------
    views : sequence of View
    cross_view : float
        lambda, the weight of `cross_view_loss`.
    cross_model : float
        gamma, the weight of `cross_model_loss`.
    temperature : float
    class_weight : Tensor (n_classes,), optional
    """

    views: Sequence[View] = ()
    cross_view: float = 0.1
    cross_model: float = 0.1
    temperature: float = TEMPERATURE
    class_weight: Tensor | None = None

    def __call__(self, network: nn.Module, X: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a batch ``(n_trials, n_chans, n_times)`` with class indices ``(n_trials,)``."""
        if not isinstance(network, MVCNet):
            raise TypeError(f"the multi-view loss needs the branches of MVCNet, not {type(network).__name__}")
        batches = [(X, y), *(view(X, y) for view in self.views)]
        trials = torch.cat([batch for batch, _ in batches])
        contrast = bool(self.cross_view or self.cross_model)
        cnn = network.cnn(trials)
        # The Transformer costs most of a step: it is run only where something asks for it.
        needed = contrast or network.deploy == "fused"
        transformer = network.transformer(trials[..., : network.cnn.n_used]) if needed else None
        logits = network.decide(cnn, transformer).split(len(X))
        loss = torch.stack(
            [
                F.cross_entropy(part, labels, weight=self.class_weight)
                for part, (_, labels) in zip(logits, batches, strict=True)
            ]
        ).sum()
        if transformer is not None and contrast:
            f, z = cnn.split(len(X)), transformer.split(len(X))
            if self.cross_view:
                loss = loss + self.cross_view * cross_view_loss(f, z, self.temperature)
            if self.cross_model:
                loss = loss + self.cross_model * cross_model_loss(f, z, self.temperature)
        return loss


def paper_settings(sfreq: float) -> dict[str, Any]:
    """Return the released protocol's constants as settings of `brainbench.networks.classifiers.MVCNetClassifier`.

    Last epoch, no validation, and a frequency shift that takes every recording for one of 250 Hz: a 512-Hz recording
    is shifted by 0.205 Hz. The released scores also align the test set by itself, which is not part of the decoder.

    Parameters
    ----------
    sfreq : float
        Hz of the recording; pooling is 128 samples at 512 Hz and 125 otherwise.
    """
    return {
        "sfreq": sfreq,
        "deploy": "cnn",
        "views": ("time", "frequency", "reflection"),
        "shift_hz": 0.1 * sfreq / 250.0,
        "cross_view": 0.1,
        "cross_model": 0.1,
        "temperature": TEMPERATURE,
        "n_filters": 64,
        "kernel_times": 63,
        "pool_times": 128 if sfreq == 512 else 125,
        "time_pool": 1,
        "drop_prob": 0.5,
        "n_epochs": 100,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "validation": 0.0,
    }
