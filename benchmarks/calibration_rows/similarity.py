"""Tests of geometries: conditions are permuted."""

from functools import partial

import numpy as np

from brainbench.evaluation.calibration import Row
from brainbench.evaluation.similarity import geometry_test


def geometry(metric: str, seed: int) -> float:
    """Return the p of the geometries of 24 stimuli that know nothing of each other."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(24, 30)), rng.normal(size=(24, 40)) @ rng.normal(size=(40, 40))
    return geometry_test(x, y, metric=metric, n_permutations=199, seed=seed % 2**31).p


ROWS = [Row(f"{metric.upper()} of 24 stimuli", "p", partial(geometry, metric)) for metric in ("rsa", "cka")]
