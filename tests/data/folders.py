"""Writes small folders in the layout of the data set `folder`."""

import nibabel
import numpy as np
import pandas as pd
from PIL import Image

N_STIMULI, N_TARGETS, REPEATS = 6, 10, 3
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def write_trials(root, seed=0):
    """Six images shown three times in three runs to two participants, ten targets."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    names = [f"image{index}" for index in range(N_STIMULI)]
    for name in names:
        Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8)).save(root / "images" / f"{name}.png")
    pd.DataFrame({"id": names, "path": [f"images/{name}.png" for name in names]}).to_csv(
        root / "stimuli.csv", index=False
    )
    for subject in ("sub-01", "sub-02"):
        (root / subject).mkdir()
        rows = [(name, f"run-{run + 1}") for run in range(REPEATS) for name in rng.permutation(names)]
        pd.DataFrame(rows, columns=["stimulus", "run"]).to_csv(root / subject / "design.csv", index=False)
        np.save(root / subject / "responses.npy", rng.normal(size=(len(rows), N_TARGETS)).astype(np.float32))
    pd.DataFrame({"target": range(N_TARGETS), "roi": ["early"] * 5 + ["late"] * 5}).to_csv(
        root / "rois.csv", index=False
    )


def write_story(root, t_r=2.0, n_rows=60, n_words=50):
    rng = np.random.default_rng(1)
    root.mkdir(parents=True, exist_ok=True)
    onset = np.round(np.sort(rng.uniform(1, 100, n_words)), 3)
    pd.DataFrame({"id": [f"w{i}" for i in range(n_words)], "text": "word", "onset": onset, "duration": 0.2}).to_csv(
        root / "stimuli.csv", index=False
    )
    (root / "sub-01").mkdir()
    pd.DataFrame({"time": np.arange(n_rows) * t_r, "run": "run-1"}).to_csv(root / "sub-01" / "design.csv", index=False)
    np.save(root / "sub-01" / "responses.npy", rng.normal(size=(n_rows, 4)))


def write_volumes(root):
    inside = np.zeros((4, 3, 2), np.uint8)
    inside.flat[np.arange(N_TARGETS) * 2] = 1
    nibabel.save(nibabel.Nifti1Image(inside, AFFINE), root / "mask.nii.gz")
    for subject in ("sub-01", "sub-02"):
        values = np.load(root / subject / "responses.npy")
        volume = np.zeros((4, 3, 2, len(values)), np.float32)
        volume[inside > 0] = values.T
        nibabel.save(nibabel.Nifti1Image(volume, AFFINE), root / subject / "bold.nii.gz")
    atlas = np.zeros((4, 3, 2), np.int16)
    atlas[:2], atlas[2:] = 1, 2
    nibabel.save(nibabel.Nifti1Image(atlas, AFFINE), root / "atlas.nii.gz")
    (root / "atlas.tsv").write_text("index\tname\n1\tfront\n2\tback\n")
    return inside


VOLUMES = {"responses": "{subject}/bold.nii.gz", "mask": "mask.nii.gz", "rois": "atlas.nii.gz"}


SURFACES = {"responses": "{subject}/hemi-{hemi}.func.gii", "rois": "{hemi}.label.gii"}


def write_surfaces(root, n=10242):
    rng = np.random.default_rng(3)
    for side in "LR":
        for subject in ("sub-01", "sub-02"):
            arrays = [
                nibabel.gifti.GiftiDataArray(rng.normal(size=n).astype(np.float32), datatype="NIFTI_TYPE_FLOAT32")
                for _ in range(N_STIMULI * REPEATS)
            ]
            nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), root / subject / f"hemi-{side}.func.gii")
        keys = np.zeros(n, np.int32)
        keys[:50] = 1
        table = nibabel.gifti.GiftiLabelTable()
        for key, name in ((0, "???"), (1, "V1")):
            label = nibabel.gifti.GiftiLabel(key=key)
            label.label = name
            table.labels.append(label)
        array = nibabel.gifti.GiftiDataArray(keys, intent="NIFTI_INTENT_LABEL", datatype="NIFTI_TYPE_INT32")
        nibabel.save(nibabel.gifti.GiftiImage(darrays=[array], labeltable=table), root / f"{side}.label.gii")
    return n


def write_rdms(root, subjects=("s1", "s2"), n=6):
    """Write texts, and RDMs of two regions for every participant; return the folder."""
    root.mkdir(parents=True, exist_ok=True)
    texts = [f"text {index} of {index * index}" for index in range(n)]
    pd.DataFrame({"id": [f"t{index}" for index in range(n)], "text": texts}).to_csv(root / "stimuli.csv", index=False)
    rng = np.random.default_rng(0)
    for subject in subjects:
        np.save(root / f"{subject}.npy", rng.uniform(0.1, 2.0, (2, n * (n - 1) // 2)))
    return root
