"""Writes a small data set in the layout that fMRIPrep leaves."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from nilearn.glm.first_level import make_first_level_design_matrix

T_R, N_VOLUMES, SHAPE = 2.0, 120, (5, 4, 3)


def write_bids(root: Path, n_runs: int = 3, n_stimuli: int = 8, noise: float = 0.5, seed: int = 0) -> np.ndarray:
    """Write the folder; return the planted amplitude of every stimulus and voxel, (n_stimuli, n_voxels)."""
    rng = np.random.default_rng(seed)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    inside = np.ones(SHAPE, bool)
    inside[0, 0, 0] = False
    amplitude = rng.normal(size=(n_stimuli, int(inside.sum())))
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
        volume = np.zeros((*SHAPE, N_VOLUMES), np.float32)
        volume[inside] = series.T
        image = nibabel.Nifti1Image(volume, affine)
        image.header.set_zooms((2.0, 2.0, 2.0, T_R))
        image.header.set_xyzt_units("mm", "sec")
        space = f"{stem}_space-MNI152NLin2009cAsym"
        nibabel.save(image, derived / f"{space}_desc-preproc_bold.nii.gz")
        (derived / f"{space}_desc-preproc_bold.json").write_text(json.dumps({"RepetitionTime": T_R}))
        nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), affine), derived / f"{space}_desc-brain_mask.nii.gz")
        names = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
        table = pd.DataFrame(motion, columns=names)
        table["csf"], table["white_matter"] = rng.normal(size=(2, N_VOLUMES))
        table.to_csv(derived / f"{stem}_desc-confounds_timeseries.tsv", sep="\t", index=False)
        (derived / f"{stem}_desc-confounds_timeseries.json").write_text("{}")
    atlas = np.zeros(SHAPE, np.int16)
    atlas[:, :2], atlas[:, 2:] = 1, 2
    nibabel.save(nibabel.Nifti1Image(atlas, affine), root / "atlas.nii.gz")
    (root / "atlas.tsv").write_text("index\tname\n1\tleft half\n2\tright half\n3\tnowhere\n")
    return amplitude
