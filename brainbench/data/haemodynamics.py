"""Haemodynamic responses, from nilearn."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

STEP = 0.05
"""Seconds between samples of a tabulated response."""


@lru_cache(maxsize=4)
def response_table(hrf: str) -> tuple[np.ndarray, np.ndarray]:
    """Return times (s) and values of a haemodynamic response to an impulse, its integral 1.

    Parameters
    ----------
    hrf : {"glover", "spm"}
        Glover (1999) or SPM's canonical response, as nilearn computes them.

    Raises
    ------
    ValueError
        For another name.
    """
    from nilearn.glm.first_level import glover_hrf, spm_hrf

    functions = {"glover": glover_hrf, "spm": spm_hrf}
    if hrf not in functions:
        raise ValueError(f"hrf must be one of {', '.join(functions)}, got {hrf!r}")
    values = np.asarray(functions[hrf](STEP, oversampling=1), dtype=float)
    return np.arange(len(values)) * STEP, values / (values.sum() * STEP)


def response_at(lag: np.ndarray, hrf: str) -> np.ndarray:
    """Return the response `lag` seconds after an impulse; 0 before it and after the response has ended."""
    times, values = response_table(hrf)
    return np.interp(lag, times, values, left=0.0, right=0.0)


def response_until(lag: np.ndarray, hrf: str) -> np.ndarray:
    """Return the integral of the response from the impulse to `lag` seconds after it: 0 before, 1 after it has ended.

    The response to a stimulus that lasts from ``a`` to ``b`` is ``response_until(t - a) - response_until(t - b)``.
    """
    times, values = response_table(hrf)
    total = np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2)])
    return np.interp(lag, times, total / total[-1], left=0.0, right=1.0)
