"""Networks as scikit-learn classifiers of trials ``(n_trials, n_channels, n_times)``.

They are fitted by the one loop of `brainbench.networks.training` and written by `brainbench.networks.files`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from brainbench.core.errors import UserError
from brainbench.networks.builders import build_network, find_builder
from brainbench.networks.classification import CrossEntropy
from brainbench.networks.classifier import TorchClassifier, checked_trials, needed_rate
from brainbench.networks.training import Objective, Progress
from brainbench.networks.zoo.mvcnet import Deploy, MultiViewLoss, MVCNet, paper_settings
from brainbench.networks.zoo.rbtransformer import BANDS, Filter, RBTransformer, ZScore, band_entropy, check_bands
from brainbench.networks.zoo.views import VIEW_NAMES, View, make_views


class NetworkClassifier(TorchClassifier):
    """Any torch network as a classifier of trials.

    Parameters
    ----------
    module : str or callable
        A registered name (``"ifnet"``), a model of braindecode (``"braindecode.EEGNet"``), or a function that takes
        those of ``n_chans, n_outputs, n_times, sfreq`` that it names, and returns a module that gives logits.
    module_params : dict, optional
        Further settings of the module. Names that it does not declare are refused, even where it takes ``**kwargs``.
    sfreq : float, optional
        Hz.
    augment : sequence of {"time", "frequency", "reflection"}
        Changed copies of every training trial, drawn like trials of their own.
    ch_names : sequence of str, optional
    positions : ndarray (n_channels, 3), optional
        Metres, for the reflection.
    label_swap : dict, optional
        Label -> label after reflection; by default the words left and right change places.
    n_epochs, batch_size, learning_rate, weight_decay, schedule, validation, patience
        See `brainbench.networks.options.Training`.
    class_weight : {None, "balanced"}
    random_state : int
        Of initial weights, order, dropout and the choice of validation groups.
    device : str
    threads : int
    checkpoint : path, optional
        Folder of trained networks (`brainbench.networks.store`): one that was trained before is read, and a training
        that was interrupted is continued.
    progress : callable, optional
        Gets one dictionary an epoch.

    Attributes
    ----------
    network_ : Module
    classes_ : ndarray (n_classes,)
    history_ : list of dict
    best_epoch_ : int
    validation_rows_ : ndarray of int
    """

    def __init__(
        self,
        module: str | Callable[..., nn.Module] = "ifnet",
        *,
        module_params: Mapping[str, Any] | None = None,
        sfreq: float | None = None,
        augment: Sequence[str] = (),
        ch_names: Sequence[str] | None = None,
        positions: np.ndarray | None = None,
        label_swap: Mapping[Any, Any] | None = None,
        n_epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        schedule: Literal["constant", "cosine"] = "constant",
        validation: float = 0.2,
        patience: int | None = 20,
        class_weight: str | None = None,
        random_state: int = 0,
        device: str = "cpu",
        threads: int = 1,
        checkpoint: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.module = module
        self.module_params = module_params
        self.sfreq = sfreq
        self.augment = augment
        self.ch_names = ch_names
        self.positions = positions
        self.label_swap = label_swap
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.validation = validation
        self.patience = patience
        self.class_weight = class_weight
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.checkpoint = checkpoint
        self.progress = progress

    def build(self, n_chans: int, n_times: int, n_outputs: int) -> nn.Module:
        """Return a new network with random weights."""
        builder = find_builder(self.module)
        given = {"n_chans": n_chans, "n_outputs": n_outputs, "n_times": n_times, "sfreq": self.sfreq}
        return build_network(builder, given, self.module_params or {})

    def _augment(self) -> Sequence[View]:
        return make_views(
            self.augment,
            classes=self.classes_.tolist(),
            sfreq=self.sfreq,
            ch_names=self.ch_names,
            positions=self.positions,
            label_swap=self.label_swap,
        )


class MVCNetClassifier(TorchClassifier):
    """MVCNet: convolutional network and Transformer trained together on views of a trial (arXiv 2502.17482).

    Parameters
    ----------
    sfreq : float
        Hz; needed.
    ch_names : sequence of str
        Needed for the reflection.
    positions : ndarray (n_channels, 3), optional
        Metres; checked against the names, or used where names say nothing.
    label_swap : dict, optional
        Label -> label after reflection; by default the words left and right change places.
    deploy : {"cnn", "fused"}
        What decides: the convolutional branch (released code), or both (the paper's text).
    views : sequence of {"time", "frequency", "reflection"}
    shift_hz : float
    cross_view, cross_model : float
        Weights of the two contrastive terms.
    temperature : float
    n_filters : int
    kernel_times, pool_times : int, optional
        Samples; by default 0.252 s and 0.5 s.
    time_pool : int
        Samples averaged before the Transformer. The paper has 1, which makes it 54 million weights for 22 channels.
    drop_prob : float
    n_epochs, batch_size, learning_rate, weight_decay, schedule, validation, patience
        See `brainbench.networks.options.Training`.
    class_weight : {None, "balanced"}
    random_state : int
    device : str
    threads : int
    checkpoint : path, optional
    progress : callable, optional

    Attributes
    ----------
    network_ : MVCNet
    classes_ : ndarray (n_classes,)
    history_ : list of dict
    best_epoch_ : int
    validation_rows_ : ndarray of int
    """

    def __init__(
        self,
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        *,
        positions: np.ndarray | None = None,
        label_swap: Mapping[Any, Any] | None = None,
        deploy: Deploy = "cnn",
        views: Sequence[str] = VIEW_NAMES,
        shift_hz: float = 0.1,
        cross_view: float = 0.1,
        cross_model: float = 0.1,
        temperature: float = 0.2,
        n_filters: int = 64,
        kernel_times: int | None = None,
        pool_times: int | None = None,
        time_pool: int = 4,
        drop_prob: float = 0.5,
        n_epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        schedule: Literal["constant", "cosine"] = "constant",
        validation: float = 0.2,
        patience: int | None = 20,
        class_weight: str | None = None,
        random_state: int = 0,
        device: str = "cpu",
        threads: int = 1,
        checkpoint: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.sfreq = sfreq
        self.ch_names = ch_names
        self.positions = positions
        self.label_swap = label_swap
        self.deploy = deploy
        self.views = views
        self.shift_hz = shift_hz
        self.cross_view = cross_view
        self.cross_model = cross_model
        self.temperature = temperature
        self.n_filters = n_filters
        self.kernel_times = kernel_times
        self.pool_times = pool_times
        self.time_pool = time_pool
        self.drop_prob = drop_prob
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.validation = validation
        self.patience = patience
        self.class_weight = class_weight
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.checkpoint = checkpoint
        self.progress = progress

    @classmethod
    def paper(cls, sfreq: float, ch_names: Sequence[str], **changes: Any) -> MVCNetClassifier:
        """Return the released protocol: its constants, last epoch, no validation; `changes` override."""
        return cls(**{**paper_settings(sfreq), "ch_names": ch_names, **changes})

    def build(self, n_chans: int, n_times: int, n_outputs: int) -> nn.Module:
        """Return a new network with random weights."""
        return MVCNet(
            n_chans,
            n_outputs,
            n_times,
            needed_rate(self.sfreq),
            deploy=self.deploy,
            n_filters=self.n_filters,
            kernel_times=self.kernel_times,
            pool_times=self.pool_times,
            time_pool=self.time_pool,
            drop_prob=self.drop_prob,
        )

    def _objective(self, class_weight: Tensor | None) -> Objective:
        if self.cross_view and not self.views:
            raise UserError("the cross-view term needs at least one view", hint="give views, or cross_view=0")
        if not self.temperature > 0:
            raise UserError(f"temperature must be above 0, not {self.temperature!r}")
        if self.ch_names is not None and "reflection" in self.views and len(self.ch_names) != self.n_chans_:
            raise UserError(f"{len(self.ch_names)} ch_names for {self.n_chans_} channels")
        views = make_views(
            self.views,
            classes=self.classes_.tolist(),
            sfreq=self.sfreq,
            shift_hz=self.shift_hz,
            ch_names=self.ch_names,
            positions=self.positions,
            label_swap=self.label_swap,
        )
        return MultiViewLoss(views, self.cross_view, self.cross_model, self.temperature, class_weight)


class RBTransformerClassifier(TorchClassifier):
    """RBTransformer: attention between electrodes over their band entropies (arXiv 2511.13954).

    A trial is one window. Cut longer recordings into windows only after the split, and pass `groups`.

    Parameters
    ----------
    sfreq : float
        Hz; needed.
    bands : sequence of (low, high)
        Hz.
    zscore : {"window", "channel", "none"}
    filtering : {"causal", "zero_phase"}
    width, depth, n_heads, head_width : int
    drop_prob : float
    label_smoothing : float
    n_epochs, batch_size, learning_rate, weight_decay, schedule, validation, patience
        See `brainbench.networks.options.Training`.
    class_weight : {None, "balanced"}
    random_state : int
    device : str
    threads : int
    checkpoint : path, optional
    progress : callable, optional

    Attributes
    ----------
    network_ : RBTransformer
    classes_ : ndarray (n_classes,)
    history_ : list of dict
    best_epoch_ : int
    validation_rows_ : ndarray of int
    """

    def __init__(
        self,
        sfreq: float | None = None,
        *,
        bands: Sequence[tuple[float, float]] = BANDS,
        zscore: ZScore = "window",
        filtering: Filter = "causal",
        width: int = 128,
        depth: int = 4,
        n_heads: int = 6,
        head_width: int = 32,
        drop_prob: float = 0.1,
        label_smoothing: float = 0.12,
        n_epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-3,
        schedule: Literal["constant", "cosine"] = "cosine",
        validation: float = 0.2,
        patience: int | None = 20,
        class_weight: str | None = None,
        random_state: int = 0,
        device: str = "cpu",
        threads: int = 1,
        checkpoint: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.sfreq = sfreq
        self.bands = bands
        self.zscore = zscore
        self.filtering = filtering
        self.width = width
        self.depth = depth
        self.n_heads = n_heads
        self.head_width = head_width
        self.drop_prob = drop_prob
        self.label_smoothing = label_smoothing
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.validation = validation
        self.patience = patience
        self.class_weight = class_weight
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.checkpoint = checkpoint
        self.progress = progress

    def build(self, n_chans: int, n_times: int, n_outputs: int) -> nn.Module:
        """Return a new network with random weights."""
        check_bands(self.bands, needed_rate(self.sfreq))
        return RBTransformer(
            n_chans,
            n_outputs,
            len(self.bands),
            width=self.width,
            depth=self.depth,
            n_heads=self.n_heads,
            head_width=self.head_width,
            drop_prob=self.drop_prob,
        )

    def _objective(self, class_weight: Tensor | None) -> Objective:
        return CrossEntropy(class_weight, self.label_smoothing)

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        rate = needed_rate(self.sfreq)
        return band_entropy(X, rate, bands=self.bands, zscore=self.zscore, filtering=self.filtering)

    def electrode_attention(self, X: Any) -> np.ndarray:
        """Return who attends to whom, averaged over trials and heads.

        Parameters
        ----------
        X : array-like (n_trials, n_channels, n_times)

        Returns
        -------
        ndarray (depth, n_channels, n_channels)
            Row = electrode that asks, column = electrode that answers; rows sum to one.
        """
        trials = checked_trials(X)
        # One trial at a time: the matrices of all trials and heads need not fit into memory together.
        total = None
        for trial in trials:
            self._logits(trial[None])
            network: RBTransformer = self.network_
            matrix = network.attention().mean(dim=(1, 2)).double().cpu().numpy()
            total = matrix if total is None else total + matrix
        if total is None:
            raise UserError("there are no trials")
        mean: np.ndarray = total / len(trials)
        return mean
