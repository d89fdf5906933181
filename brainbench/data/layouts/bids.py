"""`bids`: a BIDS-derivatives folder as fMRIPrep leaves it; betas by nilearn's first-level GLM, or GLMsingle's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest_array, digest_file
from brainbench.core.errors import UserError
from brainbench.data.array_cache import cached_arrays
from brainbench.data.base import DATASETS, Context, Dataset, Responses, Stimuli
from brainbench.data.images import (
    SubsetMasker,
    atlas_rois,
    check_grid,
    fitted_masker,
    is_image,
    label_table_of,
    open_image,
    read_atlas,
    read_mask,
    read_volumes,
    with_all,
    without_empty,
)
from brainbench.data.layouts.bids_files import (
    PEAK_S,
    BidsRun,
    Events,
    Timing,
    events_file,
    find_runs,
    read_events,
    read_timing,
)
from brainbench.data.layouts.matrices import as_float, check_finite, flat_columns, load_npy
from brainbench.data.stimulus_files import read_stimuli
from brainbench.recipes.datasets import BidsSettings


@dataclass(frozen=True)
class _Run:
    """A preprocessed run with its events and timing."""

    files: BidsRun
    timing: Timing
    events: Events


@DATASETS.register("bids")
class Bids(Dataset):
    """Betas of every stimulus' showings from a preprocessed BIDS data set; see docs/data/bids.md.

    Each run is a GLM of its own (nilearn's ``FirstLevelModel``): a regressor per event (``betas: trial``) or per
    stimulus (``betas: block``), confounds through ``load_confounds``, cosine drifts, AR(1) noise. Betas are kept in
    the cache under the digests of everything that made them.
    """

    name = "bids"
    expected = "stimuli.csv, sub-*/func/*_events.tsv, and derivatives/fmriprep/sub-*/func/*_desc-preproc_bold.nii.gz"

    def __init__(self, settings: BidsSettings, root: Path, context: Context) -> None:
        self.settings = settings
        self.root = root
        self.context = context
        self._files = find_runs(root / settings.derivatives, settings.task, settings.space, settings.resolution)
        wanted = self.subjects if settings.subjects == "all" else settings.subjects
        self._chosen = [subject for subject in self.subjects if subject in set(wanted)]
        self._table = read_stimuli(root / settings.stimuli, settings.modality)
        self._runs = {subject: [self._open(run) for run in self._files[subject]] for subject in self._chosen}
        self._known: dict[str, Responses] = {}

    @classmethod
    def open(cls, settings: BidsSettings, root: Path | None, context: Context) -> Bids:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root, context)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds a BIDS data set with derivatives."""
        return (path / "derivatives").is_dir() or any(path.glob("sub-*"))

    @property
    def subjects(self) -> list[str]:
        """Subjects with preprocessed runs of the task."""
        return sorted(self._files)

    def files(self) -> list[Path]:
        """Return stimuli, and images, masks, events, confounds and sidecars of the subjects asked for."""
        files = list(self._table.files)
        for subject in self._chosen:
            for run in self._runs[subject]:
                files += [run.files.bold, run.events.path, *run.timing.sidecars]
                if self.settings.confounds and self.settings.betas != "glmsingle":
                    files.append(run.files.confounds())
            files += self._mask_files(subject)
            if self.settings.atlas is not None:
                atlas = self._path("atlas", subject)
                files += [atlas, label_table_of(atlas)]
            if self.settings.betas == "glmsingle":
                files.append(self._path("glmsingle", subject))
        return sorted(set(files))

    def notes(self) -> list[str]:
        """Say what is odd about the stimuli."""
        return list(self._table.notes)

    def stimuli(self, subject: str) -> Stimuli:
        """Return the stimuli, the same for everyone."""
        return self._table.stimuli

    def responses(self, subject: str) -> Responses:
        """Return the betas of a subject."""
        if subject not in self._known:
            self._known[subject] = self._read(subject)
        return self._known[subject]

    # Files -----------------------------------------------------------------------------------------------------

    def _path(self, setting: str, subject: str) -> Path:
        pattern: str = getattr(self.settings, setting)
        return self.root / pattern.replace("{subject}", subject)

    def _open(self, run: BidsRun) -> _Run:
        timing = read_timing(self.root, run)
        ids = self._table.stimuli.ids
        end = timing.t_r * timing.n_volumes
        events = read_events(
            events_file(self.root, run), self.settings.stimulus_column, ids, self._table.path.name, end
        )
        if not len(events):
            raise UserError(f"{events.path}: no event shows a stimulus")
        return _Run(run, timing, events)

    def _mask_files(self, subject: str) -> list[Path]:
        if self.settings.mask is not None:
            return [self._path("mask", subject)]
        return [run.files.beside("desc-brain_mask.nii.gz") for run in self._runs[subject]]

    def _mask(self, subject: str) -> Any:
        """Return the brain mask: the one given, or the voxels that lie in the mask of every run."""
        import nibabel

        files = self._mask_files(subject)
        first = read_mask(files[0])
        inside = np.asarray(first.dataobj) > 0
        for path in files[1:]:
            mask = read_mask(path)
            check_grid(mask, path, first, files[0])
            inside &= np.asarray(mask.dataobj) > 0
        if not inside.any():
            raise UserError(f"{subject}: no voxel lies in the masks of all runs")
        return nibabel.Nifti1Image(inside.astype(np.uint8), first.affine)

    # Responses -------------------------------------------------------------------------------------------------

    def _read(self, subject: str) -> Responses:
        settings, runs = self.settings, self._runs[subject]
        mask, mask_path = self._mask(subject), self._mask_files(subject)[0]
        notes = [note for run in runs for note in run.timing.notes]
        parts = [_rows(run) for run in runs]
        if settings.betas == "glmsingle":
            betas = self._glmsingle(subject, mask, mask_path, sum(len(rows[0]) for rows in parts))
        else:
            if settings.betas == "block":
                parts = [_blocks(rows) for rows in parts]
            betas = np.concatenate([self._run_betas(run, mask, mask_path) for run in runs])
        stimulus = np.concatenate([rows[0] for rows in parts])
        shared = set.intersection(*(set(rows[1]) for rows in parts))
        labels = {name: np.concatenate([rows[1][name] for rows in parts]) for name in sorted(shared)}
        run_names = np.concatenate(
            [np.full(len(rows[0]), run.files.name) for run, rows in zip(runs, parts, strict=True)]
        )
        keep = ~flat_columns(betas)
        if not keep.all():
            notes.append(f"{int(np.sum(~keep))} of {len(keep)} voxels never change and were left out")
        rois: dict[str, np.ndarray] = {}
        if settings.atlas is not None:
            atlas = read_atlas(self._path("atlas", subject))
            rois, more = atlas_rois(atlas, mask, mask_path, resample=True, empty=settings.empty_rois)
            rois, dropped = without_empty(
                {name: roi[keep] for name, roi in rois.items()}, atlas.path, settings.empty_rois
            )
            notes += more + dropped
        masker = fitted_masker(mask)
        others = sum(run.events.n_others for run in runs)
        notes.append(
            f"{len(stimulus)} betas ({settings.betas}) of {int(keep.sum())} voxels from {len(runs)} runs"
            + (f"; {others} events show no stimulus" if others else "")
        )
        return Responses(
            subject=subject,
            data=np.ascontiguousarray(betas[:, keep]),
            stimulus=stimulus,
            run=run_names,
            rois=with_all(rois, int(keep.sum()), self._table.path),
            masker=masker if keep.all() else SubsetMasker(masker, keep),
            space="volume",
            labels=labels,
            notes=notes,
        )

    def _run_betas(self, run: _Run, mask: Any, mask_path: Path) -> np.ndarray:
        """Return the betas of a run, ``(n_rows, n_voxels)`` float32, from the cache where they are known."""
        from nilearn import __version__ as nilearn_version

        settings = self.settings
        made_of = {
            "bold": digest_file(run.files.bold),
            "events": digest_file(run.events.path),
            "mask": digest_file(mask_path) if settings.mask is not None else digest_array(np.asarray(mask.dataobj)),
            "confounds": digest_file(run.files.confounds()) if settings.confounds else None,
            "timing": [run.timing.t_r, run.timing.start],
            "glm": settings.model_dump(
                include={
                    "betas", "confounds", "motion", "n_compcor", "high_pass_s", "smoothing_fwhm_mm", "hrf_model",
                    "stimulus_column",
                }
            ),
            "nilearn": nilearn_version,
        }  # fmt: skip
        found = cached_arrays(
            self.context.cache, "betas", made_of, lambda: {"betas": _first_level(run, mask, mask_path, settings)}
        )
        return np.asarray(found["betas"])

    def _glmsingle(self, subject: str, mask: Any, mask_path: Path, n_events: int) -> np.ndarray:
        """Return GLMsingle's betas of the mask's voxels, rows in the order of runs and onsets."""
        path = self._path("glmsingle", subject)
        if not path.is_file():
            raise UserError(f"dataset.glmsingle: {path} is missing")
        if is_image(path):
            betas = read_volumes(path, mask, mask_path)
        else:
            betas = _masked(_load_array(path), np.asarray(mask.dataobj) > 0, path)
        if len(betas) != n_events:
            raise UserError(f"{path}: {len(betas)} betas, the events of {subject} show {n_events} stimuli")
        return betas


def _rows(run: _Run) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return stimulus and labels of every event."""
    return run.events.stimulus, dict(run.events.labels)


def _blocks(rows: tuple[np.ndarray, Mapping[str, np.ndarray]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return one row per stimulus of a run, with the labels that all its events share."""
    stimulus, labels = rows
    names, first, inverse = np.unique(stimulus, return_index=True, return_inverse=True)
    kept = {}
    for name, values in labels.items():
        if np.array_equal(values[first][inverse], values):
            kept[name] = values[first]
    return names, kept


def _first_level(run: _Run, mask: Any, mask_path: Path, settings: BidsSettings) -> np.ndarray:
    """Fit one GLM to a run and return the effect of every trial or stimulus, ``(n_rows, n_voxels)`` float32.

    Raises
    ------
    UserError
        If an event lies so late that its response is not measured, or events cannot be told apart.
    """
    import pandas as pd
    from nilearn.glm.first_level import FirstLevelModel

    events, timing = run.events, run.timing
    end = timing.t_r * timing.n_volumes
    for onset, line in zip(events.onset, events.lines, strict=True):
        if onset > end - PEAK_S:
            raise UserError(
                f"{events.path}:{line}  onset {onset:g} s: the run ends at {end:g} s, before the response peaks",
                hint="write n/a in the stimulus column of this event to leave it out",
            )
    names = (
        [f"row{index:05d}" for index in range(len(events))]
        if settings.betas == "trial"
        else [f"row{index:05d}" for index in events.stimulus]
    )
    table = pd.DataFrame({"onset": events.onset, "duration": events.duration, "trial_type": names})
    image = open_image(run.files.bold)
    check_grid(image, run.files.bold, mask, mask_path)
    confounds, sample_mask = _confounds(run.files, settings)
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


def _confounds(run: BidsRun, settings: BidsSettings) -> tuple[Any, Any]:
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
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{run.confounds()}: nilearn's load_confounds refuses `dataset.confounds` {settings.confounds}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error


def _load_array(path: Path) -> np.ndarray:
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


def _masked(values: np.ndarray, inside: np.ndarray, path: Path) -> np.ndarray:
    """Return ``(n_betas, n_voxels)`` from betas over a volume, voxels first (GLMsingle) or last (HDF5 of MATLAB)."""
    n_voxels = int(inside.sum())
    if values.ndim == 4 and values.shape[:3] == inside.shape:
        betas = values[inside].T
    elif values.ndim == 4 and values.shape[1:] == inside.shape[::-1]:
        betas = values.transpose(3, 2, 1, 0)[inside].T
    elif np.squeeze(values).ndim == 2 and n_voxels in np.squeeze(values).shape:
        flat = np.squeeze(values)
        betas = flat.T if flat.shape[0] == n_voxels else flat
    else:
        raise UserError(
            f"{path}: shape {' x '.join(map(str, values.shape))} fits neither the volume "
            f"{' x '.join(map(str, inside.shape))} nor its {n_voxels} voxels in the mask"
        )
    betas = np.ascontiguousarray(betas, dtype=np.float32)
    check_finite(betas, path, "beta", "voxel of the mask")
    return betas
