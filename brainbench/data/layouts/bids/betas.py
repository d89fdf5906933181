"""Betas of one preprocessed run: nilearn's first-level GLM with its confounds, and files of GLMsingle."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.layouts.bids.confounds import check_independent, chosen_confounds
from brainbench.data.layouts.bids.files import PEAK_S, BidsRun, Events
from brainbench.data.layouts.bids.timing import Timing
from brainbench.data.layouts.matrices import absent_columns, as_float, check_finite, flat_columns, load_npy
from brainbench.data.tables import Problems
from brainbench.recipes.datasets import BidsSettings

_TARGETS = 16384
"""Targets that a GLM is fitted to at a time, which bounds what residuals need."""

LEAST_SHARE = 0.1
"""Share of an event's response that must lie in volumes that are kept; below, its beta would be noise."""


@dataclass(frozen=True)
class OpenRun:
    """A preprocessed run with its events and timing."""

    files: BidsRun
    timing: Timing
    events: Events

    def rows(self, betas: str) -> list[str]:
        """Return the name of the regressor of every event: its own (``trial``), or its stimulus' (``block``)."""
        of = np.arange(len(self.events)) if betas == "trial" else self.events.stimulus
        return [f"row{index:05d}" for index in of]


def check_durations(runs: Sequence[OpenRun]) -> None:
    """Refuse a subject of whom some events have a duration of 0 and others last.

    nilearn gives an event without duration the height of one 50th of a volume's time, so that its regressor is tens of
    times lower than that of an event of seconds, and its beta and the noise of its beta that many times larger.

    Raises
    ------
    UserError
        With the first event of either sort.
    """
    moments = [(run, at) for run in runs for at in np.flatnonzero(run.events.duration == 0)]
    lasting = [(run, at) for run in runs for at in np.flatnonzero(run.events.duration > 0)]
    if moments and lasting:
        (run, at), (other, second) = moments[0], lasting[0]
        raise UserError(
            f"{run.events.path}:{run.events.lines[at]}  duration 0 s ({len(moments)} such events), but "
            f"{other.events.path.name}:{other.events.lines[second]} lasts {other.events.duration[second]:g} s: "
            "a GLM gives moments and stays regressors of other heights, so betas and their noise would not compare",
            hint="give every event the time its stimulus was shown, or all of them 0",
        )
    rates = sorted({run.timing.t_r for run in runs})
    if moments and len(rates) > 1:
        raise UserError(
            f"{moments[0][0].events.path}: events of 0 s in runs with repetition times of "
            f"{', '.join(f'{rate:g}' for rate in rates)} s: their regressors, and so their betas, differ in height",
            hint="give every event the time its stimulus was shown",
        )


@dataclass(frozen=True)
class Design:
    """The regressors of a run.

    Attributes
    ----------
    matrix : ndarray (n_kept, n_regressors)
        Of the volumes that are kept; events first.
    names : list of str
    events : list of str
        The names of events: what betas are of, in order.
    kept : int ndarray (n_kept,)
    """

    matrix: np.ndarray
    names: list[str]
    events: list[str]
    kept: np.ndarray


def design_of(run: OpenRun, settings: BidsSettings) -> Design:
    """Return the regressors of a run: its events, confounds, drifts and the constant.

    Raises
    ------
    UserError
        If the response of an event is not measured, or events cannot be told apart.
    """
    import pandas as pd
    from nilearn.glm.first_level import make_first_level_design_matrix

    events, timing = run.events, run.timing
    names = run.rows(settings.betas)
    table = pd.DataFrame({"onset": events.onset, "duration": events.duration, "trial_type": names})
    confounds, sample_mask = chosen_confounds(run.files, settings)
    _check_measured(run, table, sample_mask, settings)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*events with null duration")  # `Bids` says so in the report
        warnings.filterwarnings("ignore", message=r"Matrix is singular")  # refused below, with its cause
        design = make_first_level_design_matrix(
            timing.start + timing.t_r * np.arange(timing.n_volumes),
            table,
            settings.hrf_model,
            drift_model=None if settings.high_pass_s is None else "cosine",
            high_pass=0.01 if settings.high_pass_s is None else 1 / settings.high_pass_s,
            add_regs=None if confounds is None else confounds.to_numpy(),
            add_reg_names=None if confounds is None else list(confounds),
        )
    kept = np.arange(timing.n_volumes) if sample_mask is None else np.asarray(sample_mask)
    matrix = design.to_numpy()[kept]
    wanted = sorted(set(names))
    rank = int(np.linalg.matrix_rank(matrix))
    if rank < matrix.shape[1]:
        others = design.columns.difference(wanted, sort=False)
        check_independent(design.iloc[kept][others], run.files, confounds)
        raise UserError(
            f"{events.path}: {len(wanted)} regressors cannot be told apart from each other or from confounds "
            f"(rank {rank} of {matrix.shape[1]})",
            hint="use `betas: block`, fewer confounds, or events that are further apart",
        )
    first = [*wanted, *(name for name in design if name not in set(wanted))]
    return Design(design[first].to_numpy()[kept], [str(name) for name in first], wanted, kept)


def first_level(run: OpenRun, series: np.ndarray, settings: BidsSettings, design: Design | None = None) -> np.ndarray:
    """Fit one GLM to a run and return the effect of every trial or stimulus, ``(n_rows, n_targets)`` float32.

    It is nilearn's first-level model on percent signal change, a target at a time. Targets that are NaN in `series`
    or never change were not measured in this run; their betas are NaN.

    Raises
    ------
    UserError
        As `design_of` does.
    """
    from nilearn.glm.first_level import mean_scaling, run_glm

    design = design_of(run, settings) if design is None else design
    n_events = len(design.events)
    betas = np.full((n_events, series.shape[1]), np.nan, dtype=np.float32)
    measured = np.flatnonzero(~(absent_columns(series) | flat_columns(series[design.kept])))
    for part in np.array_split(measured, max(1, -(-len(measured) // _TARGETS))):
        if len(part):
            scaled, _ = mean_scaling(series[np.ix_(design.kept, part)], 0)
            labels, fits = run_glm(scaled, design.matrix, noise_model="ar1")
            for label, fit in fits.items():
                betas[:, part[labels == label]] = fit.theta[:n_events]
    check_finite(betas, run.files.bold, "beta", "target", absent=True)
    return betas


def temporal_snr(series: np.ndarray) -> np.ndarray:
    """Return mean over standard deviation in time of every target, its trend taken out; ``(n_targets,)`` float32.

    A target that was not measured, or never changes, is NaN.
    """
    from scipy.signal import detrend

    snr = np.full(series.shape[1], np.nan, dtype=np.float32)
    measured = np.flatnonzero(~(absent_columns(series) | flat_columns(series)))
    for part in np.array_split(measured, max(1, -(-len(measured) // _TARGETS))):
        if len(part):
            values = np.asarray(series[:, part], dtype=np.float64)
            snr[part] = values.mean(axis=0) / detrend(values, axis=0).std(axis=0)
    return snr


def _check_measured(run: OpenRun, table: Any, kept: np.ndarray | None, settings: BidsSettings) -> None:
    """Refuse events whose response lies behind the end of the run, or in volumes that scrubbing takes out."""
    from nilearn.glm.first_level import make_first_level_design_matrix

    events, timing = run.events, run.timing
    end = timing.t_r * timing.n_volumes
    problems = Problems(events.path)
    for onset, line in zip(events.onset, events.lines, strict=True):
        if onset > end - PEAK_S:
            problems.add(f"onset {onset:g} s: the run ends at {end:g} s, before the response peaks", line)
    if kept is not None:
        times = timing.start + timing.t_r * np.arange(timing.n_volumes)
        design = make_first_level_design_matrix(times, table, hrf_model=settings.hrf_model, drift_model=None)
        for name in dict.fromkeys(table["trial_type"]):
            power = np.square(design[name].to_numpy())
            share = power[kept].sum() / power.sum()
            if share < LEAST_SHARE:
                at = list(table["trial_type"]).index(name)
                volumes = np.flatnonzero(power > 0.01 * power.max())
                problems.add(
                    f"onset {events.onset[at]:g} s: `scrub` leaves {len(np.intersect1d(volumes, kept))} of the "
                    f"{len(volumes)} volumes in which its response is seen ({share:.0%} of the response)",
                    events.lines[at],
                )
    problems.finish("write n/a in the stimulus column of such an event to leave it out")


def load_glmsingle(path: Path) -> np.ndarray:
    """Return GLMsingle's array ``betasmd``, from .npy (a plain array) or .hdf5."""
    if path.suffix == ".npy":
        return as_float(
            load_npy(path, "GLMsingle saves a pickled dictionary; save its 'betasmd' alone with np.save"), path
        )
    if path.suffix in (".hdf5", ".h5", ".mat"):
        import h5py

        try:
            with h5py.File(path, "r") as file:
                if "betasmd" not in file:
                    raise UserError(f"{path}: no 'betasmd' (it has {', '.join(file) or 'nothing'})")
                return as_float(np.asarray(file["betasmd"]), path)
        except OSError as error:
            raise UserError(f"{path}: not a readable HDF5 file ({str(error).splitlines()[0]})") from None
    raise UserError(f"dataset.glmsingle: {path.name} is none of .npy, .hdf5, .nii, .nii.gz")


def in_mask(values: np.ndarray, inside: np.ndarray, path: Path) -> np.ndarray:
    """Return ``(n_betas, n_voxels)`` from betas over a volume, voxels first (GLMsingle) or last (HDF5 of MATLAB).

    Raises
    ------
    UserError
        If they are neither, or may be both.
    """
    if values.ndim == 4 and values.shape[:3] == inside.shape and values.shape[1:] == inside.shape[::-1]:
        raise UserError(
            f"{path}: shape {' x '.join(map(str, values.shape))}: betas may stand first or last",
            hint="save the betas as an image (.nii.gz)",
        )
    if values.ndim == 4 and values.shape[:3] == inside.shape:
        betas = values[inside].T
    elif values.ndim == 4 and values.shape[1:] == inside.shape[::-1]:
        betas = values.transpose(3, 2, 1, 0)[inside].T
    else:
        volume = f"neither the volume {' x '.join(map(str, inside.shape))} nor its"
        return by_target(values, int(inside.sum()), "voxels of the mask", path, volume)
    betas = np.ascontiguousarray(betas, dtype=np.float32)
    check_finite(betas, path, "beta", "voxel of the mask", absent=True)
    return betas


def by_target(values: np.ndarray, n_targets: int, called: str, path: Path, fits: str = "not the") -> np.ndarray:
    """Return ``(n_betas, n_targets)`` from betas of a list of targets, which stand first or last.

    Raises
    ------
    UserError
        If neither axis has one entry for every target, or both have.
    """
    flat = np.squeeze(values)
    if flat.ndim != 2 or n_targets not in flat.shape:
        raise UserError(f"{path}: shape {' x '.join(map(str, values.shape))} fits {fits} {n_targets} {called}")
    if flat.shape[0] == flat.shape[1]:
        raise UserError(
            f"{path}: {n_targets} {called} and as many betas: rows cannot be told from columns",
            hint="save the betas in the images' own format",
        )
    betas = np.ascontiguousarray(flat.T if flat.shape[0] == n_targets else flat, dtype=np.float32)
    check_finite(betas, path, "beta", called, absent=True)
    return betas
