"""Betas of one preprocessed run: nilearn's first-level GLM with its confounds, and files of GLMsingle."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.images import check_grid, load_image
from brainbench.data.layouts.bids_files import PEAK_S, BidsRun, Events, Timing
from brainbench.data.layouts.matrices import as_float, check_finite, load_npy
from brainbench.data.tables import Problems
from brainbench.recipes.datasets import BidsSettings

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


def first_level(run: OpenRun, mask: Any, mask_path: Path, settings: BidsSettings) -> np.ndarray:
    """Fit one GLM to a run and return the effect of every trial or stimulus, ``(n_rows, n_voxels)`` float32.

    Raises
    ------
    UserError
        If the response of an event is not measured, or events cannot be told apart.
    """
    import pandas as pd
    from nilearn.glm.first_level import FirstLevelModel

    events, timing = run.events, run.timing
    names = run.rows(settings.betas)
    table = pd.DataFrame({"onset": events.onset, "duration": events.duration, "trial_type": names})
    image = load_image(run.files.bold)
    check_grid(image, run.files.bold, mask, mask_path)
    confounds, sample_mask = chosen_confounds(run.files, settings)
    _check_measured(run, table, sample_mask, settings)
    model = FirstLevelModel(
        t_r=timing.t_r,
        slice_time_ref=min(timing.start / timing.t_r, 1.0),
        hrf_model=settings.hrf_model,
        drift_model=None if settings.high_pass_s is None else "cosine",
        high_pass=0.01 if settings.high_pass_s is None else 1 / settings.high_pass_s,
        mask_img=mask,
        smoothing_fwhm=settings.smoothing_fwhm_mm,
        signal_scaling=0,
        noise_model="ar1",
        minimize_memory=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*Given mask will be used")  # that is what it was given for
        warnings.filterwarnings("ignore", message=r".*events with null duration")  # `Bids` says so in the report
        model.fit(image, events=table, confounds=confounds, sample_masks=sample_mask)
    design = model.design_matrices_[0]
    wanted = sorted(set(names))
    rank = int(np.linalg.matrix_rank(design.to_numpy()))
    if rank < design.shape[1]:
        raise UserError(
            f"{events.path}: {len(wanted)} regressors cannot be told apart from each other or from confounds "
            f"(rank {rank} of {design.shape[1]})",
            hint="use `betas: block`, fewer confounds, or events that are further apart",
        )
    masker = model.masker_
    rows = [masker.transform(model.compute_contrast(name, output_type="effect_size")) for name in wanted]
    betas = np.stack([np.ravel(row) for row in rows]).astype(np.float32)
    check_finite(betas, run.files.bold, "beta", "voxel of the mask")
    return betas


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


def chosen_confounds(run: BidsRun, settings: BidsSettings) -> tuple[Any, Any]:
    """Return confounds and sample mask as nilearn's ``load_confounds`` chooses them."""
    if not settings.confounds:
        return None, None
    from nilearn.interfaces.fmriprep import load_confounds

    run.confounds()  # names the table that is missing
    options: dict[str, Any] = {}
    if "motion" in settings.confounds:
        options["motion"] = settings.motion
    if "wm_csf" in settings.confounds:
        options["wm_csf"] = "basic"
    if "global_signal" in settings.confounds:
        options["global_signal"] = "basic"
    if "compcor" in settings.confounds:
        options |= {"compcor": "anat_combined", "n_compcor": settings.n_compcor}
    try:
        return load_confounds(str(run.bold), strategy=tuple(settings.confounds), **options)
    except (ValueError, KeyError, TypeError) as error:  # TypeError: a column holds text
        raise UserError(
            f"{run.confounds()}: nilearn's load_confounds refuses `dataset.confounds` {settings.confounds}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error


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
    """Return ``(n_betas, n_voxels)`` from betas over a volume, voxels first (GLMsingle) or last (HDF5 of MATLAB)."""
    n_voxels = int(inside.sum())
    if values.ndim == 4 and values.shape[:3] == inside.shape:
        betas = values[inside].T
    elif values.ndim == 4 and values.shape[1:] == inside.shape[::-1]:
        betas = values.transpose(3, 2, 1, 0)[inside].T
    elif np.squeeze(values).ndim == 2 and n_voxels in np.squeeze(values).shape:
        flat = np.squeeze(values)
        if flat.shape[0] == flat.shape[1]:
            raise UserError(
                f"{path}: {n_voxels} voxels and as many betas: rows cannot be told from columns",
                hint="save the betas as a volume: x, y, z, betas",
            )
        betas = flat.T if flat.shape[0] == n_voxels else flat
    else:
        raise UserError(
            f"{path}: shape {' x '.join(map(str, values.shape))} fits neither the volume "
            f"{' x '.join(map(str, inside.shape))} nor its {n_voxels} voxels in the mask"
        )
    betas = np.ascontiguousarray(betas, dtype=np.float32)
    check_finite(betas, path, "beta", "voxel of the mask", absent=True)
    return betas
