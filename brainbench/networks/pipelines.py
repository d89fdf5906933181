"""Networks of trials as recipes name them: the settings of a pipeline lead to an unfitted classifier.

Decoders put alignment before it, encoders read its layers; what network it is and how it is trained is said here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.networks.builders import check_settings, find_builder
from brainbench.networks.classifiers import MVCNetClassifier, NetworkClassifier, RBTransformerClassifier
from brainbench.networks.options import of_pipeline
from brainbench.networks.zoo.duin import DuInTrials
from brainbench.networks.zoo.foundation import foundation_builder
from brainbench.recipes.pipelines import (
    BraindecodeSettings,
    DuinSettings,
    MvcnetSettings,
    NetworkSettings,
    RbtransformerSettings,
)

_MICROVOLT = 1e6
"""Microvolts in a volt."""


def microvolts(X: np.ndarray) -> np.ndarray:
    """Return trials ``(n_trials, n_channels, n_times)`` in volts as the networks take them: float32 microvolts."""
    if X.ndim != 3:
        raise ValueError(f"a network takes (n_trials, n_channels, n_times), got shape {X.shape}")
    return (X * _MICROVOLT).astype(np.float32)


@dataclass(frozen=True)
class Given:
    """What a network may know before it sees a trial.

    Parameters
    ----------
    sfreq : float
        Hz.
    ch_names : sequence of str
    seed : int
    threads : int
        Threads that training may use.
    store : path, optional
        Folder of trained networks (`brainbench.networks.store`).
    positions : ndarray (n_channels, 3), optional
        Metres.
    """

    sfreq: float
    ch_names: Sequence[str]
    seed: int = 0
    threads: int = 1
    store: Path | None = None
    positions: np.ndarray | None = None


def _training(settings: NetworkSettings, given: Given) -> dict[str, Any]:
    """Return what every network takes from the recipe."""
    training = of_pipeline(settings, seed=given.seed, threads=given.threads)
    names = ("n_epochs", "patience", "batch_size", "learning_rate", "weight_decay", "threads")
    return {
        "sfreq": given.sfreq,
        "random_state": training.seed,
        "checkpoint": given.store,
        **{name: getattr(training, name) for name in names},
    }


def braindecode(settings: BraindecodeSettings, given: Given) -> NetworkClassifier:
    """Return an unfitted classifier with one of braindecode's networks."""
    module, parameters = f"braindecode.{settings.model}", dict(settings.parameters)
    try:
        builder = foundation_builder(
            settings.model, list(given.ch_names), given.positions, settings.weights, parameters
        )
        if builder is not None:
            return NetworkClassifier(builder, **_training(settings, given))
        check_settings(find_builder(module), parameters)
    except UserError as error:
        raise UserError(f"pipeline '{settings.name}': {error.message}", hint=error.hint) from error
    return NetworkClassifier(module, module_params=parameters, **_training(settings, given))


def mvcnet(settings: MvcnetSettings, given: Given) -> MVCNetClassifier:
    """Return an unfitted MVCNet."""
    return MVCNetClassifier(
        ch_names=list(given.ch_names),
        deploy=settings.deploy,
        views=tuple(settings.views),
        cross_view=settings.cross_view,
        cross_model=settings.cross_model,
        time_pool=settings.time_pool,
        **_training(settings, given),
    )


def rbtransformer(settings: RbtransformerSettings, given: Given) -> RBTransformerClassifier:
    """Return an unfitted RBTransformer."""
    return RBTransformerClassifier(
        width=settings.width, depth=settings.depth, n_heads=settings.n_heads, **_training(settings, given)
    )


def duin(settings: DuinSettings, given: Given) -> NetworkClassifier:
    """Return an unfitted Du-IN classifier."""
    sizes = settings.model_dump(include={"n_neural", "n_filters", "depth", "n_heads", "head_width"})
    patch = 10 * max(1, round(settings.patch * given.sfreq / 10))
    return NetworkClassifier(DuInTrials, module_params={"patch": patch, **sizes}, **_training(settings, given))
