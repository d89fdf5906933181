"""Writes a small copy of the Natural Scenes Dataset in its official layout, with planted signal and its traps.

Ids in the design are 1-based, masks hold -1, 0 and 1, betas are int16 of percent signal change times 300, voxels
outside of the mask hold large numbers that no model may see, and one shared image is shown only after the sessions
that were public first. `synthetic_copy.json` says that no brain was measured and how many voxels to expect.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
from scipy.io import savemat

AFFINE = np.diag([1.8, 1.8, 1.8, 1.0])
LABELS = {
    "prf-visualrois": ["V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"],
    "prf-eccrois": ["ecc0pt5", "ecc1", "ecc2", "ecc4", "ecc4p"],
    "floc-faces": ["OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"],
    "floc-words": ["OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"],
    "floc-places": ["OPA", "PPA", "RSC"],
    "floc-bodies": ["EBA", "FBA-1", "FBA-2", "mTL-bodies"],
}
PREPARATION = "betas_fithrf_GLMdenoise_RR"


@dataclass
class NsdCopy:
    """What was planted.

    Attributes
    ----------
    root : Path
    latents : ndarray (n_images, 8)
        Background colour, disc colour and disc centre of every image, each in [0, 1]; rows are 0-based 73k ids.
    shown : dict of subject to int ndarray (n_trials,)
        0-based id of the image of every trial.
    signal : dict of subject to ndarray (n_images, n_voxels)
        Percent signal change of every image, in the order of the mask's voxels.
    mask : dict of subject to bool ndarray (x, y, z)
    """

    root: Path
    latents: np.ndarray
    shown: dict[str, np.ndarray] = field(default_factory=dict)
    signal: dict[str, np.ndarray] = field(default_factory=dict)
    mask: dict[str, np.ndarray] = field(default_factory=dict)

    def beta_file(self, subject: str, session: int, suffix: str = "nii.gz") -> Path:
        folder = self.root / "nsddata_betas" / "ppdata" / subject / "func1pt8mm" / PREPARATION
        return folder / f"betas_session{session:02d}.{suffix}"

    def roi_file(self, subject: str, name: str) -> Path:
        return self.root / "nsddata" / "ppdata" / subject / "func1pt8mm" / "roi" / f"{name}.nii.gz"


def write_nsd(
    root: Path,
    subjects: Sequence[str] = ("subj01", "subj02"),
    *,
    n_sessions: int = 3,
    n_trials: int = 30,
    n_shared: int = 6,
    first_sessions: int = 2,
    shape: tuple[int, int, int] = (9, 10, 8),
    image_size: int = 48,
    noise: float = 0.5,
    betas: str = "nii.gz",
    captions: bool = True,
    seed: int = 0,
) -> NsdCopy:
    """Write the folder.

    Every image is shown three times: a subject sees ``n_sessions * n_trials / 3`` images, of which the first
    `n_shared` are seen by all. With `first_sessions` of the sessions, one shared image is not seen yet.
    """
    rng = np.random.default_rng(seed)
    n_own = n_sessions * n_trials // 3
    n_images = n_shared + 8 * (n_own - n_shared)
    latents = rng.random((n_images, 8))
    copy = NsdCopy(root, latents)
    order, subject_images, shared = _design(rng, n_own, n_images, n_shared, n_sessions * n_trials, first_sessions)
    experiments = root / "nsddata" / "experiments" / "nsd"
    experiments.mkdir(parents=True)
    savemat(
        experiments / "nsd_expdesign.mat",
        {
            "masterordering": order[None] + 1.0,  # MATLAB counts from 1, in double
            "subjectim": subject_images + 1.0,
            "sharedix": shared[None] + 1.0,
        },
    )
    _write_info(experiments / "nsd_stim_info_merged.csv", n_images, shared, subject_images)
    stimuli = root / "nsddata_stimuli" / "stimuli" / "nsd"
    stimuli.mkdir(parents=True)
    with h5py.File(stimuli / "nsd_stimuli.hdf5", "w") as file:
        file["imgBrick"] = draw_images(latents, image_size)
    if captions:
        np.save(root / "COCO_73k_annots_curated.npy", _captions(latents))
    voxels = {}
    for subject in subjects:
        row = int(subject.removeprefix("subj")) - 1
        copy.shown[subject] = subject_images[row, order]
        _write_subject(copy, subject, rng, shape, n_sessions, noise, betas)
        voxels[subject] = int(copy.mask[subject].sum())
    (root / "synthetic_copy.json").write_text(
        json.dumps(
            {
                "voxels": voxels,
                "sessions": dict.fromkeys(voxels, n_sessions),
                "trials_per_session": n_trials,
                "first_sessions": first_sessions,
            }
        )
    )
    return copy


def _design(rng, n_own, n_images, n_shared, n_trials, first_sessions):
    """Return the common order of trials, the images of all eight subjects and the shared ones, counted from 0."""
    images = rng.permutation(n_images)
    shared, rest = np.sort(images[:n_shared]), images[n_shared:].reshape(8, -1)
    subject_images = np.stack([np.concatenate([shared, own]) for own in rest])
    late = np.full(3, n_shared - 1)
    order = rng.permutation(np.repeat(np.setdiff1d(np.arange(n_own), late), 3))
    order = np.concatenate([order[:-2], late[:2], order[-2:], late[2:]])  # only in the last session
    assert len(order) == n_trials
    return order, subject_images, shared


def _write_info(path, n_images, shared, subject_images):
    table = pd.DataFrame({"cocoId": 100_000 + 7 * np.arange(n_images), "cocoSplit": "train2017"})
    table["cropBox"] = "(0.0, 0.0, 0.125, 0.125)"
    table["nsdId"] = np.arange(n_images)
    table["shared1000"] = np.isin(np.arange(n_images), shared)
    for index, images in enumerate(subject_images):
        table[f"subject{index + 1}"] = np.isin(np.arange(n_images), images).astype(int)
    table.to_csv(path)


def draw_images(latents: np.ndarray, size: int) -> np.ndarray:
    """Return images of a disc on a background, ``(n, size, size, 3)`` uint8."""
    place = (np.arange(size) + 0.5) / size
    images = np.empty((len(latents), size, size, 3), np.uint8)
    for index, one in enumerate(latents):
        centre = 0.25 + 0.5 * one[6:]
        inside = (place[:, None] - centre[0]) ** 2 + (place[None] - centre[1]) ** 2 < 0.25**2
        images[index] = np.rint(255 * np.where(inside[..., None], one[3:6], one[:3]))
    return images


def _captions(latents):
    """Return up to five captions an image; empty strings where there are fewer."""
    names = np.array(["red", "green", "blue"])
    texts = np.full((len(latents), 5), "", dtype="<U80")
    for index, one in enumerate(latents):
        for number in range(1 + index % 5):
            ground, disc = names[one[:3].argmax()], names[one[3:6].argmax()]
            texts[index, number] = f"a {disc} disc on {ground}, version {number}"
    return texts


def _write_subject(copy, subject, rng, shape, n_sessions, noise, suffix):
    general = np.full(shape, -1, np.int16)  # not cortex
    general[1:-1, 1:-1, 1:-1] = 0
    inside = np.zeros(shape, bool)
    inside[2:-2, 2:-2, 2:-2] = rng.random(tuple(np.array(shape) - 4)) < 0.8
    general[inside] = 1
    copy.mask[subject] = inside
    n_voxels = int(inside.sum())
    folder = copy.roi_file(subject, "x").parent
    folder.mkdir(parents=True)
    _save(general, copy.roi_file(subject, "nsdgeneral"))
    labels = copy.root / "nsddata" / "freesurfer" / subject / "label"
    labels.mkdir(parents=True)
    regions = {}
    for name, names in LABELS.items():
        region = np.where(general < 0, -1, 0).astype(np.int16)
        region[inside] = rng.permutation(np.arange(n_voxels) % (len(names) + 1))
        regions[name] = region
        _save(region, copy.roi_file(subject, name))
        lines = ["0 Unknown 0 0 0 0", *[f"{index + 1} {label} 10 20 30 0" for index, label in enumerate(names)]]
        (labels / f"{name}.mgz.ctab").write_text("\n".join(lines) + "\n")
    weights = rng.standard_normal((8, n_voxels))
    early = regions["prf-visualrois"][inside] > 0
    weights[3:6, early] = 0  # early areas: where it is and what lies behind; the others: its colour too
    centered = copy.latents - 0.5
    copy.signal[subject] = 2 * centered @ weights
    _save_betas(copy, subject, rng, n_sessions, noise, suffix)
    ncsnr = np.full(shape, np.nan, np.float32)
    ncsnr[inside] = copy.signal[subject].std(axis=0) / noise
    _save(ncsnr, copy.beta_file(subject, 1).parent / "ncsnr.nii.gz")


def _save_betas(copy, subject, rng, n_sessions, noise, suffix):
    inside, shown = copy.mask[subject], copy.shown[subject]
    for session, images in enumerate(np.split(shown, n_sessions), start=1):
        volume = rng.integers(-32000, 32000, (*inside.shape, len(images))).astype(np.int16)
        offset = 0.3 * rng.standard_normal(inside.sum())  # sessions differ in their mean
        values = copy.signal[subject][images] + offset + noise * rng.standard_normal((len(images), inside.sum()))
        volume[inside] = np.rint(300 * values).T.astype(np.int16)
        path = copy.beta_file(subject, session, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == "hdf5":
            with h5py.File(path, "w") as file:
                file["betas"] = volume.transpose()  # MATLAB's order of axes: trial, z, y, x
        else:
            _save(volume, path)


def _save(values, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), path)
