"""How far the GLM of a run can be believed: steadiness, motion, events that look alike, betas that repeat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.data.account import RunModel
from brainbench.data.images import open_image, readable
from brainbench.data.layouts.bids.betas import OpenRun
from brainbench.data.layouts.bids.confounds import MOVED_MM, framewise_displacement
from brainbench.data.layouts.bids.files import BidsRun
from brainbench.evaluation.ceilings import split_half

FEWEST = 3
"""Stimuli over which a correlation says something."""
_AT_ONCE = 16384
_SPLITS = 10


def run_model(run: OpenRun, found: dict[str, np.ndarray], agreement: np.ndarray, *, has_confounds: bool) -> RunModel:
    """Return what the report says of the GLM of a run.

    Parameters
    ----------
    run : OpenRun
    found : dict
        ``design``, ``regressors``, ``events`` (how many of them) and ``tsnr``, as `first_level` and `temporal_snr`
        gave them.
    agreement : ndarray (n_targets,)
        See `agreement_of_runs`.
    has_confounds : bool
        Whether the run's table of confounds is read.
    """
    design, n_events = np.asarray(found["design"]), int(found["events"])
    moved = framewise_displacement(run.files) if has_confounds else None
    known = moved is not None and bool(np.isfinite(moved).any())
    return RunModel(
        run=run.files.name,
        n_volumes=run.timing.n_volumes,
        n_kept=len(design),
        t_r=run.timing.t_r,
        regressors=[str(name) for name in found["regressors"]],
        n_events=n_events,
        design=design,
        shared=_shared(design, n_events),
        tsnr=_quantiles(np.asarray(found["tsnr"])),
        moved=None if moved is None or not known else (float(np.nanmean(moved)), float(np.nanmax(moved))),
        n_moved=int(np.sum(moved > MOVED_MM)) if moved is not None and known else None,
        displacement=_rounded(moved) if moved is not None and known else [],
        agreement=_quantiles(agreement),
    )


def agreement_of_runs(betas: Sequence[np.ndarray], stimulus: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the correlation, over stimuli, of every run's betas with the mean betas of the other runs.

    Parameters
    ----------
    betas : sequence of ndarray (n_rows, n_targets)
        Of every run.
    stimulus : sequence of int ndarray (n_rows,)

    Returns
    -------
    list of ndarray (n_targets,)
        NaN where fewer than three stimuli were shown in other runs too, or nothing varies.
    """
    n, n_targets = 1 + max(int(one.max()) for one in stimulus), betas[0].shape[1]
    counts = np.array([np.bincount(one, minlength=n) for one in stimulus])
    found = [np.full(n_targets, np.nan) for _ in betas]
    for start in range(0, n_targets, _AT_ONCE):
        sums = np.zeros((len(betas), n, min(_AT_ONCE, n_targets - start)))
        for total, one, shown in zip(sums, betas, stimulus, strict=True):
            np.add.at(total, shown, np.asarray(one[:, start : start + _AT_ONCE], dtype=np.float64))
        whole = sums.sum(axis=0)
        for place, total in enumerate(sums):
            here, there = counts[place], counts.sum(axis=0) - counts[place]
            both = (here > 0) & (there > 0)
            if both.sum() >= FEWEST:
                mine = total[both] / here[both, None]
                others = (whole - total)[both] / there[both, None]
                found[place][start : start + total.shape[1]] = _correlations(mine, others)
    return found


def repeats(betas: np.ndarray, stimulus: np.ndarray) -> tuple[float, float, float] | None:
    """Return the split-half reliability of a single showing's betas: 10, 50 and 90 % of the targets lie below.

    None where fewer than three stimuli were shown twice.
    """
    if int(np.sum(np.bincount(stimulus) >= 2)) < FEWEST:
        return None
    return _quantiles(split_half(betas, stimulus, n_splits=_SPLITS).raw)


def mean_volume(run: BidsRun) -> np.ndarray:
    """Return the mean over the volumes of a run, also outside of the mask, float32."""
    image = open_image(run.bold)
    with readable(run.bold):
        total = np.zeros(image.shape[:3])
        for start in range(0, image.shape[3], 20):
            total += np.nan_to_num(np.asarray(image.dataobj[..., start : start + 20], dtype=np.float64)).sum(axis=-1)
    return (total / image.shape[3]).astype(np.float32)


def _shared(design: np.ndarray, n_events: int) -> float | None:
    """Return the largest correlation of two events' regressors."""
    if n_events < 2:
        return None
    r = np.corrcoef(design[:, :n_events].astype(float), rowvar=False)
    return float(np.max(np.abs(r[np.triu_indices(n_events, 1)])))


def _quantiles(values: np.ndarray) -> tuple[float, float, float] | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, middle, high = np.quantile(known, [0.1, 0.5, 0.9])
    return float(low), float(middle), float(high)


def _rounded(values: np.ndarray) -> list[float | None]:
    return [round(float(one), 3) if np.isfinite(one) else None for one in values]


def _correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    size = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(size > 0, (one * other).sum(axis=0) / size, np.nan))
