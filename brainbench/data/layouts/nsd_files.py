"""Files of the Natural Scenes Dataset: design, masks, labels and betas, checked as they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.containers import opened_hdf5, read_mat
from brainbench.data.images import check_grid, open_image, readable, whole_labels
from brainbench.data.tables import read_text

SCALE = 300
"""Betas are whole numbers: percent signal change times this."""
N_IMAGES = 73_000
SYNTHETIC = "synthetic_copy.json"
"""A file that says: this is no NSD but a synthetic copy of its layout; and how many voxels and trials to expect."""

LABELS: dict[str, dict[int, str]] = {
    "prf-visualrois": {1: "V1v", 2: "V1d", 3: "V2v", 4: "V2d", 5: "V3v", 6: "V3d", 7: "hV4"},
    "prf-eccrois": {1: "ecc0pt5", 2: "ecc1", 3: "ecc2", 4: "ecc4", 5: "ecc4p"},
    "floc-faces": {1: "OFA", 2: "FFA-1", 3: "FFA-2", 4: "mTL-faces", 5: "aTL-faces"},
    "floc-words": {1: "OWFA", 2: "VWFA-1", 3: "VWFA-2", 4: "mfs-words", 5: "mTL-words"},
    "floc-places": {1: "OPA", 2: "PPA", 3: "RSC"},
    "floc-bodies": {1: "EBA", 2: "FBA-1", 3: "FBA-2", 4: "mTL-bodies"},
}
"""Names of the numbers in ROI files, for want of the label tables of ``nsddata/freesurfer``."""
TOGETHER = {"V1": ("V1v", "V1d"), "V2": ("V2v", "V2d"), "V3": ("V3v", "V3d")}
"""Areas of which the file has halves."""


@dataclass(frozen=True)
class Facts:
    """What is published of the data, or declared of a synthetic copy.

    Attributes
    ----------
    voxels : mapping of str to int
        Voxels of ``nsdgeneral`` by participant.
    sessions : mapping of str to int
    trials : int
        Trials of a session.
    first_sessions : int
        Sessions that were public before the last three: those of the 982-image test set.
    test_images : mapping of str to int
        Images of each test set, for a participant who did all sessions; empty for a synthetic copy.
    synthetic : bool
    """

    voxels: Mapping[str, int]
    sessions: Mapping[str, int]
    trials: int
    first_sessions: int
    test_images: Mapping[str, int]
    synthetic: bool


_SUBJECTS = [f"subj{number:02d}" for number in range(1, 9)]
PUBLISHED = Facts(
    voxels=dict(zip(_SUBJECTS, (15724, 14278, 15226, 13153, 13039, 17907, 12682, 14386), strict=True)),
    sessions=dict(zip(_SUBJECTS, (40, 40, 32, 30, 40, 32, 40, 30), strict=True)),
    trials=750,
    first_sessions=37,
    test_images={"shared982": 982, "shared1000": 1000},
    synthetic=False,
)


def read_facts(root: Path) -> Facts:
    """Return what to expect of a folder: the published numbers, or those that a synthetic copy declares."""
    path = root / SYNTHETIC
    if not path.is_file():
        return PUBLISHED
    try:
        declared = json.loads(read_text(path))
        return Facts(
            voxels={str(name): int(count) for name, count in declared["voxels"].items()},
            sessions={str(name): int(count) for name, count in declared["sessions"].items()},
            trials=int(declared["trials_per_session"]),
            first_sessions=int(declared["first_sessions"]),
            test_images={},
            synthetic=True,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not readable ({type(error).__name__}: {error})",
            hint="it declares voxels and sessions by participant, trials_per_session and first_sessions",
        ) from None


@dataclass(frozen=True)
class Design:
    """Which image was shown when; everything counted from 0.

    Attributes
    ----------
    order : int ndarray (n_trials,)
        Position of each trial's image among a participant's own, the same for all participants.
    images : int ndarray (8, n_own)
        73k id of every participant's images; the first ones are the shared ones.
    shared : int ndarray (n_shared,)
        73k ids of the shared images.
    """

    order: np.ndarray
    images: np.ndarray
    shared: np.ndarray

    def shown(self, subject: str) -> np.ndarray:
        """Return the 73k id of the image of every trial of a participant."""
        ids: np.ndarray = self.images[int(subject.removeprefix("subj")) - 1][self.order]
        return ids


def read_design(path: Path, n_images: int) -> Design:
    """Read ``nsd_expdesign.mat``, whose numbers count from 1.

    Parameters
    ----------
    path : Path
    n_images : int
        Images of the stimulus file.

    Raises
    ------
    UserError
        If it cannot be read, counts from 0, or contradicts itself.
    """
    names = ("masterordering", "subjectim", "sharedix")
    stored = read_mat(path, names)
    order, images, shared = (np.asarray(stored[name]).astype(np.int64) for name in names)
    order, shared = order.ravel(), shared.ravel()
    if images.ndim != 2 or images.shape[0] != 8:
        raise UserError(f"{path}: 'subjectim' has shape {images.shape}, eight rows were expected")
    ranges = (
        ("masterordering", order, images.shape[1]), ("subjectim", images, n_images), ("sharedix", shared, n_images)
    )  # fmt: skip
    for name, values, highest in ranges:
        if values.min() < 1 or values.max() > highest:
            raise UserError(
                f"{path}: '{name}' runs from {values.min()} to {values.max()}, it must lie in 1 to {highest}",
                hint="the design counts from 1; was it saved again from 0?",
            )
    if not (np.sort(images[:, : len(shared)], axis=1) == np.sort(shared)).all():
        raise UserError(f"{path}: the first {len(shared)} images of 'subjectim' are not the shared ones of 'sharedix'")
    return Design(order - 1, images - 1, shared - 1)


def read_info(path: Path, design: Design) -> np.ndarray:
    """Return the COCO id of every image from ``nsd_stim_info_merged.csv``.

    Raises
    ------
    UserError
        If its shared images are not those of the design: one of the two counts from another number.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, usecols=["cocoId", "nsdId", "shared1000"])
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a table with the columns cocoId, nsdId and shared1000 ({error})") from None
    table = table.sort_values("nsdId")
    flagged = table["nsdId"].to_numpy()[table["shared1000"].astype(bool).to_numpy()]
    if not np.array_equal(flagged, np.sort(design.shared)):
        apart = np.setxor1d(flagged, design.shared)
        raise UserError(
            f"{path}: its shared images are not those of nsd_expdesign.mat (first difference: image {apart[0]})",
            hint="'nsdId' counts from 0, the design from 1",
        )
    if not np.array_equal(table["nsdId"].to_numpy(), np.arange(len(table))):
        raise UserError(f"{path}: 'nsdId' does not run from 0 to {len(table) - 1}")
    return table["cocoId"].to_numpy()


def read_session(path: Path, mask: Any, mask_path: Path, n_trials: int, *, chunk: int = 50) -> np.ndarray:
    """Return the betas of one session in percent signal change, ``(n_trials, n_voxels)`` float32.

    Volumes are read a few at a time and only the voxels of the mask are kept.

    Parameters
    ----------
    path : Path
        ``betas_sessionNN.nii.gz``, or ``.hdf5`` (axes trial, z, y, x).
    mask : Nifti1Image
        0 and 1.
    mask_path : Path
        For messages.
    n_trials : int
        Volumes that the session must have.
    chunk : int

    Raises
    ------
    UserError
        If it cannot be read, is of another type than int16, lies on another grid, or has another number of trials.
    """
    inside = np.asarray(mask.dataobj) > 0
    out = np.empty((n_trials, int(inside.sum())), dtype=np.float32)
    if path.suffix == ".hdf5":
        _read_hdf5(path, inside, out, chunk)
    else:
        _read_nifti(path, mask, mask_path, inside, out, chunk)
    out /= SCALE
    return out


def _read_nifti(path: Path, mask: Any, mask_path: Path, inside: np.ndarray, out: np.ndarray, chunk: int) -> None:
    import nibabel

    check_grid(open_image(path), path, mask, mask_path)
    with readable(path):
        # One open file for all chunks: a gzip stream that is opened again is unpacked again from its start.
        image: Any = nibabel.load(path, keep_file_open=True)
        _check_betas(path, image.get_data_dtype(), image.shape[3] if len(image.shape) == 4 else 1, len(out))
        if (image.dataobj.slope, image.dataobj.inter) != (1, 0):
            raise UserError(f"{path}: its header scales the numbers; betas are int16 without scaling")
        for start in range(0, len(out), chunk):
            out[start : start + chunk] = np.asarray(image.dataobj[..., start : start + chunk])[inside].T


def _read_hdf5(path: Path, inside: np.ndarray, out: np.ndarray, chunk: int) -> None:
    with opened_hdf5(path, "betas") as betas:
        if betas.ndim != 4 or betas.shape[1:] != inside.shape[::-1]:
            raise UserError(
                f"{path}: 'betas' is {betas.shape}, (trials, {', '.join(map(str, inside.shape[::-1]))}) was expected"
            )
        _check_betas(path, betas.dtype, betas.shape[0], len(out))
        for start in range(0, len(out), chunk):
            out[start : start + chunk] = betas[start : start + chunk].transpose(0, 3, 2, 1)[:, inside]


def _check_betas(path: Path, dtype: np.dtype, n_found: int, n_trials: int) -> None:
    if np.dtype(dtype).newbyteorder("=") != np.int16:
        raise UserError(f"{path}: betas are {dtype}, int16 of percent signal change times {SCALE} was expected")
    if n_found != n_trials:
        raise UserError(f"{path}: {n_found} trials, the design has {n_trials} a session")


def read_labels(table: Path, name: str) -> dict[int, str]:
    """Return the names of an ROI file's numbers: its FreeSurfer label table, or those that are published."""
    if not table.is_file():
        return LABELS.get(name, {})
    names: dict[int, str] = {}
    for number, line in enumerate(read_text(table).splitlines(), start=1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) < 2 or not words[0].isdecimal():
            raise UserError(f"{table}:{number}  a number and a name were expected, got '{line.strip()}'")
        label, said = int(words[0]), words[1]
        if label > 0:
            if label in names or said in names.values():
                raise UserError(f"{table}:{number}  label {label} or its name '{said}' is there twice")
            names[label] = said
    return names


def read_rois(path: Path, labels: Mapping[int, str], mask: Any, mask_path: Path) -> dict[str, np.ndarray]:
    """Return the mask's voxels of every label of an ROI file, and of all of them under the file's name.

    Values of 0 (cortex without a label) and -1 (not cortex) belong to no ROI. Areas of which the file has halves
    (`TOGETHER`) are there whole as well.
    """
    image = open_image(path)
    check_grid(image, path, mask, mask_path)
    values = whole_labels(image, path)[np.asarray(mask.dataobj) > 0]
    name = path.name.removesuffix(".nii.gz")
    unnamed = sorted(set(np.unique(values[values > 0]).tolist()) - set(labels))
    named = {**labels, **{number: f"{name}-{number}" for number in unnamed}}
    rois = {label: values == number for number, label in sorted(named.items())}
    for whole, halves in TOGETHER.items():
        if all(half in rois for half in halves):
            rois[whole] = np.any([rois[half] for half in halves], axis=0)
    if not np.array_equal(rois.setdefault(name, values > 0), values > 0):
        raise UserError(f"{path}: one of several labels is called '{name}', as all of them together are")
    return {label: inside for label, inside in rois.items() if inside.any()}
