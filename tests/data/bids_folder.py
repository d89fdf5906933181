"""Writes a small data set in the layout that fMRIPrep leaves."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from nilearn.glm.first_level import make_first_level_design_matrix

T_R, N_VOLUMES, SHAPE = 2.0, 120, (5, 4, 3)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
INSIDE = np.ones(SHAPE, bool)
INSIDE[0, 0, 0] = False
N_LEFT = 32
"""Vertices of the left hemisphere of surfaces; the right one has a few less."""


def write_bids(
    root: Path, n_runs: int = 3, n_stimuli: int = 8, noise: float = 0.5, seed: int = 0, form: str = "volume"
) -> np.ndarray:
    """Write the folder; return the planted amplitude of every stimulus and target, (n_stimuli, n_targets).

    `form` is ``volume``, ``surface`` (a pair of GIFTI files) or ``cifti``.
    """
    rng = np.random.default_rng(seed)
    amplitude = rng.normal(size=(n_stimuli, int(INSIDE.sum())))
    texts = [f"stimulus number {index} says {word}" for index, word in enumerate("abcdefgh"[:n_stimuli])]
    ids = [f"s{index}" for index in range(n_stimuli)]
    root.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"id": ids, "text": texts}).to_csv(root / "stimuli.csv", index=False)
    raw, derived = root / "sub-01" / "func", root / "derivatives" / "fmriprep" / "sub-01" / "func"
    raw.mkdir(parents=True)
    derived.mkdir(parents=True)
    frame_times = np.arange(N_VOLUMES) * T_R
    for run in range(1, n_runs + 1):
        stem = f"sub-01_task-read_run-{run}"
        order = rng.permutation(n_stimuli)
        onset = 6.0 + 24.0 * np.arange(n_stimuli)
        events = pd.DataFrame(
            {"onset": onset, "duration": 4.0, "trial_type": "text", "stim_file": [ids[i] for i in order]}
        )
        rest = pd.DataFrame({"onset": [1.0], "duration": [2.0], "trial_type": ["cue"], "stim_file": ["n/a"]})
        pd.concat([rest, events]).to_csv(raw / f"{stem}_events.tsv", sep="\t", index=False)
        design = make_first_level_design_matrix(
            frame_times,
            events.assign(trial_type=events["stim_file"])[["onset", "duration", "trial_type"]],
            drift_model=None,
        )
        series = design[[ids[i] for i in range(n_stimuli)]].to_numpy() @ amplitude
        motion = rng.normal(size=(N_VOLUMES, 6)).cumsum(axis=0) * 0.02
        series += motion @ rng.normal(size=(6, series.shape[1])) + noise * rng.normal(size=series.shape)
        series += 2 * np.cos(np.pi * np.arange(N_VOLUMES) / N_VOLUMES)[:, None] + 100
        _write_images(derived, stem, series.astype(np.float32), form)
        names = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
        table = pd.DataFrame(motion, columns=names)
        table["csf"], table["white_matter"] = rng.normal(size=(2, N_VOLUMES))
        table.to_csv(derived / f"{stem}_desc-confounds_timeseries.tsv", sep="\t", index=False)
        (derived / f"{stem}_desc-confounds_timeseries.json").write_text("{}")
    atlas = np.zeros(SHAPE, np.int16)
    atlas[:, :2], atlas[:, 2:] = 1, 2
    nibabel.save(nibabel.Nifti1Image(atlas, AFFINE), root / "atlas.nii.gz")
    (root / "atlas.tsv").write_text("index\tname\n1\tleft half\n2\tright half\n3\tnowhere\n")
    return amplitude


def _write_images(folder: Path, stem: str, series: np.ndarray, form: str) -> None:
    """Write the preprocessed images of a run, with their sidecar, as fMRIPrep names them."""
    if form == "surface":
        for side, part in zip("LR", np.split(series, [N_LEFT], axis=1), strict=True):
            write_gifti(folder / f"{stem}_hemi-{side}_space-fsaverage5_bold.func.gii", part, side)
            (folder / f"{stem}_hemi-{side}_space-fsaverage5_bold.json").write_text(json.dumps({"RepetitionTime": T_R}))
    elif form == "cifti":
        write_cifti(folder / f"{stem}_space-fsLR_den-91k_bold.dtseries.nii", series)
        (folder / f"{stem}_space-fsLR_den-91k_bold.json").write_text(json.dumps({"RepetitionTime": T_R}))
    else:
        volume = np.zeros((*SHAPE, len(series)), np.float32)
        volume[INSIDE] = series.T
        image = nibabel.Nifti1Image(volume, AFFINE)
        image.header.set_zooms((2.0, 2.0, 2.0, T_R))
        image.header.set_xyzt_units("mm", "sec")
        space = f"{stem}_space-MNI152NLin2009cAsym"
        nibabel.save(image, folder / f"{space}_desc-preproc_bold.nii.gz")
        (folder / f"{space}_desc-preproc_bold.json").write_text(json.dumps({"RepetitionTime": T_R}))
        nibabel.save(nibabel.Nifti1Image(INSIDE.astype(np.uint8), AFFINE), folder / f"{space}_desc-brain_mask.nii.gz")


def write_gifti(path: Path, rows: np.ndarray, side: str, step: float | None = None) -> None:
    """Write a ``func.gii`` of one array per row."""
    facts = {"AnatomicalStructurePrimary": {"L": "CortexLeft", "R": "CortexRight"}[side]}
    if step is not None:
        facts["TimeStep"] = str(step)
    arrays = [nibabel.gifti.GiftiDataArray(np.asarray(row, np.float32), meta=facts) for row in rows]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)


def brain_axis(n_targets: int = int(INSIDE.sum())) -> Any:
    """Return two hemispheres of 25 vertices with a medial wall each, and a thalamus of voxels behind them."""
    axis = nibabel.cifti2.BrainModelAxis
    voxels = np.zeros((5, 5, 5), bool)
    voxels.flat[: n_targets - 40] = True
    left, right = np.arange(5, 25), np.r_[np.arange(10), np.arange(15, 25)]
    cortex = axis.from_surface(left, 25, "CortexLeft") + axis.from_surface(right, 25, "CortexRight")
    return cortex + axis.from_mask(voxels, "thalamus_left", affine=AFFINE)


def write_cifti(path: Path, rows: np.ndarray, t_r: float = T_R, unit: str = "SECOND", brain: Any = None) -> None:
    """Write a ``dtseries.nii``, or a ``dscalar.nii`` where the name says so."""
    if path.name.endswith(".dscalar.nii"):
        first = nibabel.cifti2.ScalarAxis([f"beta {row}" for row in range(len(rows))])
    else:
        first = nibabel.cifti2.SeriesAxis(0, t_r, len(rows), unit)
    brain = brain_axis(rows.shape[1]) if brain is None else brain
    nibabel.save(nibabel.Cifti2Image(np.asarray(rows, np.float32), (first, brain)), path)


def write_dlabel(path: Path) -> None:
    """Write labels of whole hemispheres, the right one first: V1 and MT."""
    labels = nibabel.cifti2.LabelAxis(["areas"], [{0: ("???", (0,) * 4), 4: ("V1", (1,) * 4), 5: ("MT", (1,) * 4)}])
    axis = nibabel.cifti2.BrainModelAxis
    whole = axis.from_surface(np.arange(25), 25, "CortexRight") + axis.from_surface(np.arange(25), 25, "CortexLeft")
    keys = np.zeros((1, 50), np.float32)
    keys[0, 8:12], keys[0, 25:31] = 4, 5  # right 8 ... 11, of which 10 and 11 are wall; left 0 ... 5, of which 5 is not
    nibabel.save(nibabel.Cifti2Image(keys, (labels, whole)), path)


def write_labels(root: Path, n_left: int = N_LEFT, n_right: int = int(INSIDE.sum()) - N_LEFT) -> None:
    """Write the label files of both hemispheres, with V1 in the first vertices."""
    table = nibabel.gifti.GiftiLabelTable()
    for key, name in ((0, "unknown"), (1, "V1")):
        label = nibabel.gifti.GiftiLabel(key)
        label.label = name
        table.labels.append(label)
    for side, n in (("L", n_left), ("R", n_right)):
        keys = (np.arange(n) < (3 if side == "L" else 2)).astype(np.int32)
        array = nibabel.gifti.GiftiDataArray(keys, intent="NIFTI_INTENT_LABEL")
        nibabel.save(nibabel.gifti.GiftiImage(darrays=[array], labeltable=table), root / f"{side}.label.gii")
