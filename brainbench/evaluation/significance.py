"""The false discovery rate."""

from __future__ import annotations

import numpy as np


def fdr(p: np.ndarray) -> np.ndarray:
    """Return Benjamini-Hochberg q values; NaN stays NaN and does not count as a test."""
    from scipy.stats import false_discovery_control

    p = np.asarray(p, dtype=float)
    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q
