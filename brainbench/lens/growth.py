"""How massive activations grow with training: the five-parameter curve over checkpoints, and its peak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainbench.core.errors import UserError

N_PARAMETERS = 5
STARTS_K = (0.03, 0.1, 0.3, 1.0)
STARTS_T0 = (1.0, 10.0)


@dataclass(frozen=True)
class Growth:
    """A fitted curve; its parameters go together, and say little one by one.

    Attributes
    ----------
    parameters : ndarray (5,)
        A, k, g, t0, K of f(t) = A exp(-k x) ln x + K with x = g t + t0.
    r2 : float
    peak : float
        Step at which f is largest, (exp(W(1 / k)) - t0) / g with Lambert's W; NaN where it lies before the first step.
    """

    parameters: np.ndarray
    r2: float
    peak: float

    def __call__(self, steps: np.ndarray) -> np.ndarray:
        """Return the curve at steps."""
        return curve(np.asarray(steps, dtype=float), *self.parameters)


def curve(steps: np.ndarray, A: float, k: float, g: float, t0: float, K: float) -> np.ndarray:
    """Return A exp(-k x) ln x + K with x = g t + t0 (arXiv:2508.03616)."""
    x = np.maximum(g * steps + t0, 1e-12)
    return np.asarray(A * np.exp(-k * x) * np.log(x) + K)


def growth(steps: np.ndarray, ratios: np.ndarray) -> Growth:
    """Fit the ratio of largest to median activation over checkpoints.

    Parameters
    ----------
    steps : ndarray (n_checkpoints,)
    ratios : ndarray (n_checkpoints,)
        Such as `massive_ratio` of one block at each.

    Raises
    ------
    UserError
        If there are not more checkpoints than parameters, or no start converges.
    """
    from scipy.optimize import least_squares
    from scipy.special import lambertw

    steps, ratios = np.asarray(steps, dtype=float), np.asarray(ratios, dtype=float)
    if len(steps) <= N_PARAMETERS:
        raise UserError(f"a curve of {N_PARAMETERS} parameters over {len(steps)} checkpoints: more are needed")
    # In units of the last step and of the spread: what is fitted is of size one.
    scale, size, low = steps.max(), max(float(np.ptp(ratios)), 1e-12), float(ratios.min())

    def left(theta: np.ndarray) -> np.ndarray:
        A, k, g, t0, K = theta
        return curve(steps / scale, A, np.exp(k), np.exp(g), np.exp(t0), K) - (ratios - low) / size

    best = None
    for k in STARTS_K:
        for t0 in STARTS_T0:
            for g in (10.0, 100.0):
                start = np.array([1.0, np.log(k), np.log(g), np.log(t0), 0.0])
                try:
                    done = least_squares(left, start, max_nfev=300)
                except ValueError:
                    continue
                if np.isfinite(done.cost) and (best is None or done.cost < best.cost):
                    best = done
    if best is None:
        raise UserError("no curve of five parameters fits these checkpoints")
    A, k, g, t0, K = best.x
    A, k, g, t0, K = A * size, np.exp(k), np.exp(g) / scale, np.exp(t0), K * size + low
    rest = ratios - curve(steps, A, k, g, t0, K)
    r2 = 1 - float((rest**2).sum() / ((ratios - ratios.mean()) ** 2).sum())
    peak = float((np.exp(lambertw(1 / k).real) - t0) / g)
    return Growth(np.array([A, k, g, t0, K]), r2, peak if peak >= steps.min() else float("nan"))
