"""What memory estimates of all studies are made of.

An estimate adds what is alive at once: the process with its libraries and networks, the responses, and per unit that
runs at the same time its features, its factorisation and its predictions. A benchmark holds it against the measured
peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from brainbench.data.base import Responses
from brainbench.recipes.kinds import Recipe, ResponseRecipe
from brainbench.runs.units import jobs_to_use

BASE_MB = 165.0
"""Interpreter with NumPy, SciPy, scikit-learn, pandas and what is ours."""
NILEARN_MB = 55.0
TORCH_MB = 450.0
"""PyTorch and timm or transformers, without weights."""
MNE_MB = 150.0
BATCH_MB = 260.0
"""Activations and buffers of one batch through a network of the usual size."""
BLOCK_MB = 64.0
"""A block of targets with its basis predictions."""
REPORT_MB = 60.0
"""matplotlib and figures; by then no unit is held."""


def megabytes(shape: Sequence[int], itemsize: int) -> float:
    """Return the size of an array in MB."""
    return float(np.prod([float(n) for n in shape])) * itemsize / 1e6


def network_mb(encoder: object) -> float:
    """Return the size of an encoder's weights in MB; 0 where it has none."""
    network = getattr(encoder, "network", None)
    if network is None:
        return 0.0
    return sum(tensor.numel() * tensor.element_size() for tensor in network.parameters()) / 1e6


def jobs_of(recipe: Recipe) -> int:
    """Return how many units run at once."""
    return jobs_to_use(recipe.execution.jobs, recipe.execution.threads_per_unit)


def held_responses(recipe: ResponseRecipe, members: Sequence[Responses]) -> dict[str, float]:
    """Return the parts of the process and of the participants' responses."""
    return {
        "libraries": BASE_MB + (NILEARN_MB if find_spec("nilearn") is not None else 0.0),
        # Rows of every participant and scheme stay alive; memory maps are read through the page cache.
        "responses": sum(megabytes(member.data.shape, member.data.itemsize) for member in members)
        * (1 + len(recipe.schemes)),
    }


def largest(members: Sequence[Responses]) -> tuple[int, int]:
    """Return the most rows and the most targets of any participant."""
    return max(m.n_presentations for m in members), max(m.n_targets for m in members)
