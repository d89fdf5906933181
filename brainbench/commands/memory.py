"""How much memory and disk a recipe needs, estimated before its first unit.

The estimate adds what is alive at once: the process with its libraries and networks, the responses, and per unit
that runs at the same time its features, its factorisation and its predictions. A benchmark holds it against the
measured peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.recipes.kinds.explore import ExploreRecipe
from brainbench.recipes.kinds.reconstruct import ReconstructRecipe
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.recipes.pipelines import FbcspLdaSettings, NetworkSettings
from brainbench.runs.units import jobs_to_use
from brainbench.studies.opened import Opened

BASE_MB = 200.0
"""Interpreter with NumPy, SciPy, scikit-learn and pandas."""
NILEARN_MB = 70.0
TORCH_MB = 450.0
"""PyTorch and timm or transformers, without weights."""
MNE_MB = 150.0
BATCH_MB = 260.0
"""Activations and buffers of one batch through a network of the usual size."""
BLOCK_MB = 64.0
METRIC_MB = 500.0
"""A batch through a network that images are compared with."""
STREAMED_MB = 540.0
"""Targets of training rows that are held at once."""
MAX_IMAGE_SIZE = 425
"""Side of the images that are scored."""


@dataclass(frozen=True)
class Estimate:
    """Memory and disk in MB, and what takes most."""

    peak_mb: float
    disk_mb: float
    largest: str


def estimate_memory(opened: Opened) -> Estimate:
    """Estimate the peak of a recipe that has been opened.

    The responses of participants are read for their sizes, which the run needs anyway.
    """
    recipe: Any = opened.recipe
    if isinstance(recipe, TrialsRecipe):
        return _estimate_trials(opened, recipe)
    members = [opened.dataset.responses(subject) for subject in opened.subjects]
    parts: dict[str, float] = {"libraries": BASE_MB}
    if find_spec("nilearn") is not None:
        parts["libraries"] += NILEARN_MB
    # Rows of every participant and scheme stay alive; memory maps are read through the page cache.
    parts["responses"] = sum(_mb(member.data.shape, member.data.itemsize) for member in members) * (
        1 + len(recipe.schemes)
    )
    jobs = jobs_to_use(recipe.execution.jobs, recipe.execution.threads_per_unit)
    rows, targets = max(m.n_presentations for m in members), max(m.n_targets for m in members)
    disk = 0.0
    if isinstance(recipe, EncodeRecipe):
        networks = [entry for entry in opened.encoders if entry.settings.has_network]
        if networks:
            parts["libraries"] += TORCH_MB
            parts["networks"] = sum(_network_mb(entry.encoder) for entry in networks) + BATCH_MB
        widths = [layer.width or 1000 for entry in opened.encoders for layer in entry.layers] or [1]
        width = max(widths)
        if recipe.reduction.method != "none":
            width = min(width, max(recipe.reduction.n_components, 1))
        side = min(rows, width)
        features = _mb((rows, max(widths)), 4) + 3 * _mb((rows, width), 8)
        solve = 4 * _mb((side, side), 8) + 2 * _mb((rows, side), 8)
        predictions = 3 * _mb((rows, targets), 8)
        permutations = _mb((recipe.significance.n_permutations + 3 * recipe.bootstrap.n_draws, targets), 8)
        parts["units at once"] = jobs * (max(features + solve + predictions, permutations + predictions) + BLOCK_MB)
        n_layers = sum(len(entry.layers) for entry in opened.encoders)
        disk = len(members) * n_layers * len(recipe.schemes) * 2 * _mb((rows, targets), 4)
    elif isinstance(recipe, ReconstructRecipe):
        parts |= _image_parts(opened, recipe, rows, targets, jobs)
    elif isinstance(recipe, ExploreRecipe):
        parts |= _guided_parts(opened, rows, targets, jobs)
    else:
        parts["units at once"] = jobs * 4 * _mb((rows, targets), 8)
    return Estimate(float(sum(parts.values())), disk, f"most of it {max(parts, key=lambda name: parts[name])}")


def _image_parts(opened: Opened, recipe: ReconstructRecipe, rows: int, targets: int, jobs: int) -> dict[str, float]:
    """Estimate what a recipe that reconstructs holds beside its responses."""
    from brainbench.reconstruction.metrics import METRICS

    maker = opened.codec if opened.generator is None else opened.generator
    assert maker is not None and opened.codec is not None
    size = min(maker.image_size, MAX_IMAGE_SIZE)
    conditions = opened.generator.conditions() if opened.generator is not None else []
    width = sum(abs(int(np.prod(one.shape))) for one in conditions) + getattr(recipe.low_level, "n_components", 0)
    # Larger targets are streamed from disk; what is predicted of the test rows is kept.
    fitted = (
        min(_mb((rows, width), 8), STREAMED_MB) * 3 + _mb((rows, width), 4) + 4 * _mb((rows, min(rows, targets)), 8)
    )
    pictures = 6 * _mb((rows, size, size, maker.channels), 4)
    weights = sum(path.stat().st_size for one in (opened.codec, opened.generator) if one for path in one.weight_files())
    parts = {"units at once": jobs * (fitted + pictures + BLOCK_MB)}
    if any(METRICS[name].weights for name in recipe.metrics):
        parts["networks of metrics"] = jobs * METRIC_MB
    if opened.generator is not None or opened.encoders:
        parts["networks"] = TORCH_MB + BATCH_MB + weights / 1e6
    return parts


def _guided_parts(opened: Opened, rows: int, targets: int, jobs: int) -> dict[str, float]:
    """Estimate what a recipe that explores holds beside its responses."""
    generator = opened.generator
    assert generator is not None
    width = max(layer.width or 1000 for entry in opened.encoders for layer in entry.layers)
    fitted = _mb((rows, width), 4) + 3 * _mb((rows, width), 8) + 3 * _mb((rows, targets), 8)
    # A gradient through network, decoder and encoder keeps the activations of all three.
    guided = 4 * BATCH_MB
    weights = sum(path.stat().st_size for path in generator.weight_files()) / 1e6
    networks = sum(_network_mb(entry.encoder) for entry in opened.encoders if entry.settings.has_gradient)
    return {"units at once": jobs * (max(fitted, guided) + BLOCK_MB), "networks": TORCH_MB + networks + weights}


def _estimate_trials(opened: Opened, recipe: TrialsRecipe) -> Estimate:
    """Estimate a recipe with pipelines from the size of the first subject's trials."""
    from brainbench.data.recordings.base import RecordingDataset

    assert isinstance(opened.dataset, RecordingDataset)
    n, n_channels, n_times = opened.dataset.trials(opened.subjects[0]).X.shape
    networks = [pipeline for pipeline in recipe.pipelines if isinstance(pipeline, NetworkSettings)]
    banks = [pipeline for pipeline in recipe.pipelines if isinstance(pipeline, FbcspLdaSettings)]
    n_bands = max((len(pipeline.bands) for pipeline in banks), default=1)
    subjects = len(opened.subjects)
    covariances = (len(recipe.pipelines) - len(networks) + sum(len(one.bands) for one in banks)) * subjects
    signals = subjects * len({str(pipeline.band) for pipeline in networks})
    jobs = jobs_to_use(recipe.execution.jobs, recipe.execution.threads_per_unit)
    pooled = subjects if any(evaluation.across_subjects for evaluation in recipe.evaluate) else 1
    fit = pooled * max(4 * _mb((n, n_bands, n_channels, n_channels), 8), 3 * _mb((n, n_channels, n_times), 4))
    parts = {
        "libraries": BASE_MB + MNE_MB + (TORCH_MB + BATCH_MB if networks else 0.0),
        "recordings": (n_bands + 4) * _mb((n, n_channels, n_times), 8),
        "covariances": covariances * _mb((n, n_channels, n_channels), 8),
        "signals": signals * _mb((n, n_channels, n_times), 4),
        "units at once": jobs * (fit + BLOCK_MB),
    }
    return Estimate(float(sum(parts.values())), 0.1, f"most of it {max(parts, key=lambda name: parts[name])}")


def _mb(shape: tuple[int, ...], itemsize: int) -> float:
    return float(np.prod([float(n) for n in shape])) * itemsize / 1e6


def _network_mb(encoder: object) -> float:
    network = getattr(encoder, "network", None)
    if network is None:
        return 0.0
    return sum(tensor.numel() * tensor.element_size() for tensor in network.parameters()) / 1e6
