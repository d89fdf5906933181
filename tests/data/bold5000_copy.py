"""Writes a small copy of BOLD5000 in its official layouts (releases 1 and 2), with planted signal."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import nibabel
import numpy as np
from PIL import Image
from scipy.io import savemat

from brainbench.data.layouts.bold5000 import BETAS, ROIS
from tests.data.nsd_copy import draw_images

SHAPE = (6, 7, 5)
RUNS = (3, 2, 3)
"""Runs of each session; sessions differ in length as the real ones do."""


@dataclass
class Bold5000Copy:
    """What was planted.

    Attributes
    ----------
    root : Path
    names : list of str
        File names of the images.
    latents : ndarray (n_images, 8)
    shown : dict of subject to int ndarray (n_trials,)
        Image of every trial.
    signal : dict of subject to dict of ROI to ndarray (n_images, n_voxels)
    volume_signal : dict of subject to ndarray (n_images, n_voxels)
    repeated : list of int
    """

    root: Path
    names: list[str]
    latents: np.ndarray
    repeated: list[int]
    shown: dict[str, np.ndarray] = field(default_factory=dict)
    signal: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    volume_signal: dict[str, np.ndarray] = field(default_factory=dict)

    def lists(self, subject: str) -> Path:
        return self.root / "BOLD5000_Stimuli" / "Stimuli_Presentation_Lists" / subject

    def packed(self, subject: str, roi: str) -> Path:
        return self.root / "BOLD5000_GLMsingle_ROI_betas" / "py" / f"{subject}_{BETAS}_allses_{roi}.npy"

    def release_1(self, subject: str, response: str = "TR34") -> Path:
        return self.root / "ROIs" / subject / "mat" / f"{subject}_ROIs_{response}.mat"


def write_bold5000(
    root: Path,
    subjects: Sequence[str] = ("CSI1", "CSI2"),
    *,
    trials_per_run: int = 10,
    n_repeated: int = 6,
    noise: float = 0.5,
    image_size: int = 40,
    seed: int = 0,
) -> Bold5000Copy:
    """Write the folder: `n_repeated` images are shown four times, the others once."""
    rng = np.random.default_rng(seed)
    n_trials = sum(RUNS) * trials_per_run
    n_images = n_trials - 3 * n_repeated
    latents = rng.random((n_images, 8))
    kinds = ("COCO", "ImageNet", "Scene")
    patterns = ("COCO_train2014_{:012d}.jpg", "n{:08d}_1.JPEG", "scene{}.jpg")
    names = [patterns[index % 3].format(index) for index in range(n_images)]
    stimuli = root / "BOLD5000_Stimuli" / "Scene_Stimuli"
    for index, image in enumerate(draw_images(latents, image_size)):
        folder = stimuli / "Presented_Stimuli" / kinds[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / names[index], quality=95)
    copy = Bold5000Copy(root, names, latents, sorted(rng.choice(n_images, n_repeated, replace=False).tolist()))
    (stimuli / "repeated_stimuli_113_list.txt").write_text("".join(f"{names[i]}\n" for i in copy.repeated))
    declared = {}
    for subject in subjects:
        copy.shown[subject] = rng.permutation(np.concatenate([np.arange(n_images), np.repeat(copy.repeated, 3)]))
        _write_lists(copy, subject, trials_per_run)
        voxels = _write_responses(copy, subject, rng, noise, trials_per_run)
        declared[subject] = {
            "trials": n_trials, "trials_per_run": trials_per_run, "voxels": voxels, "shape": list(SHAPE)
        }  # fmt: skip
    (root / "synthetic_copy.json").write_text(json.dumps({"subjects": declared}))
    _write_texts(copy)
    return copy


def _write_texts(copy):
    """Write captions of COCO's pictures as their authors have them, and names of classes and of scenes."""
    shades = ("dark", "bright")
    captions = {
        name: [f"a {shades[int(row[0] > 0.5)]} thing {index} ", "another text"]
        for index, (name, row) in enumerate(zip(copy.names, copy.latents, strict=True))
        if name.startswith("COCO")
    }
    (copy.root / "captions.json").write_text(json.dumps(captions))
    labels = copy.root / "BOLD5000_Stimuli" / "Image_Labels"
    labels.mkdir()
    synsets = [name.partition("_")[0] for name in copy.names if name.startswith("n")]
    (labels / "imagenet_final_labels.txt").write_text(
        "".join(f"{one} tench{one[-2:]}, Tinca tinca\n" for one in synsets)
    )
    (labels / "scene_final_labels.txt").write_text("scen\nscene\nfrontLawn\n")


def _write_lists(copy, subject, trials_per_run):
    """Write the lists of runs and of all trials; later showings of an image are named rep_."""
    seen, lines = set(), []
    for index in copy.shown[subject]:
        lines.append(("rep_" if index in seen else "") + copy.names[index])
        seen.add(index)
    start = 0
    for session, n_runs in enumerate(RUNS, start=1):
        folder = copy.lists(subject) / f"{subject}_sess{session:02d}"
        folder.mkdir(parents=True)
        for run in range(1, n_runs + 1):
            part = lines[start : start + trials_per_run]
            (folder / f"CSI_sess{session:02d}_run{run:02d}.txt").write_text("\n".join(part) + "\n")
            start += trials_per_run
    whole = "\n".join(lines) + "\n"
    (copy.lists(subject) / f"{subject}_imgnames.txt").write_text(whole)
    first = copy.root / "ROIs" / "stim_lists"
    first.mkdir(parents=True, exist_ok=True)
    (first / f"{subject.replace('CSI', 'CSI0')}_stim_lists.txt").write_text(whole)


def _write_responses(copy, subject, rng, noise, trials_per_run):
    shown = copy.shown[subject]
    session = np.repeat(np.arange(len(RUNS)), np.array(RUNS) * trials_per_run)

    def measure(n_voxels):
        signal = 2 * (copy.latents - 0.5) @ rng.standard_normal((8, n_voxels))
        offset = rng.standard_normal((len(RUNS), n_voxels))
        return signal, signal[shown] + offset[session] + noise * rng.standard_normal((len(shown), n_voxels))

    copy.signal[subject], arrays = {}, {}
    for number, name in enumerate(ROIS):
        copy.signal[subject][name], arrays[name] = measure(4 + number)
        copy.packed(subject, name).parent.mkdir(parents=True, exist_ok=True)
        np.save(copy.packed(subject, name), arrays[name].astype(np.float32))
    # At the first volume there is no response yet.
    for response, shrink in (("TR34", 1.0), ("TR1", 0.0), ("TR2", 0.3), ("TR3", 0.9), ("TR4", 0.9), ("TR5", 0.5)):
        path = copy.release_1(subject, response)
        path.parent.mkdir(parents=True, exist_ok=True)
        junk = {name: rng.standard_normal(values.shape) for name, values in arrays.items()}
        savemat(path, {name: shrink * values + (1 - shrink) * junk[name] for name, values in arrays.items()})
    h5 = copy.root / "ROIs" / subject / "h5"
    h5.mkdir()
    with h5py.File(h5 / f"{subject}_ROIs_TR34.h5", "w") as file:
        for name, values in arrays.items():
            file[name] = values
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:-1, 1:-1, 1:-1] = 1
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    (copy.root / "masks").mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(mask, affine), copy.root / "masks" / f"{subject}.nii.gz")
    copy.volume_signal[subject], values = measure(int(mask.sum()))
    for number in range(len(RUNS)):
        volume = np.full((*SHAPE, int((session == number).sum())), 99, np.float32)
        volume[mask > 0] = values[session == number].T
        path = copy.root / f"{subject}_GLMbetas" / f"{subject}_{BETAS}_ses-{number + 1:02d}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(volume, affine), path)
    return {name: values.shape[1] for name, values in arrays.items()}
