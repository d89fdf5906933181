"""The folders that the walks begin with: as a scanner's pipeline, a lab's recorder and a spreadsheet leave them."""

from __future__ import annotations

import shutil
from pathlib import Path

import mne
import numpy as np
import pandas as pd
from PIL import Image

from tests.data import bids_folder
from tests.data.bids_folder import INSIDE, _write_images
from tests.data.test_trials import make_raw


def pictures(folder: Path, n: int, seed: int = 0) -> list[str]:
    """Write pictures of stripes and discs in colours; return their names, the even ones striped."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    y, x = np.mgrid[:48, :48]
    names = []
    for index in range(n):
        if index % 2:
            shape = (x - rng.integers(16, 32)) ** 2 + (y - rng.integers(16, 32)) ** 2 < rng.integers(60, 200)
        else:
            angle = rng.uniform(0, np.pi)
            shape = np.sin((x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(0.5, 1.2)) > 0
        image = np.where(shape[..., None], rng.integers(0, 255, 3), rng.integers(0, 255, 3)).astype(np.uint8)
        names.append(f"{'disc' if index % 2 else 'stripes'}_{index:02d}.png")
        Image.fromarray(image).save(folder / names[-1])
    return names


def fmriprep(root: Path) -> None:
    """Write a BIDS data set with fMRIPrep's derivatives in four spaces; one run lacks confounds."""
    bids_folder.write_bids(root, n_runs=4, n_stimuli=8, noise=0.3)
    (root / "stimuli.csv").unlink()
    names = pictures(root / "stimuli", 8)
    raw, derived = root / "sub-01" / "func", root / "derivatives" / "fmriprep" / "sub-01" / "func"
    for run in range(1, 5):
        stem = f"sub-01_task-read_run-{run}"
        path = raw / f"{stem}_events.tsv"
        events = pd.read_csv(path, sep="\t", keep_default_na=False)
        shown = events["stim_file"].map({f"s{index}": name for index, name in enumerate(names)})
        events["trial_type"] = ["n/a" if isinstance(name, float) else name.partition("_")[0] for name in shown]
        events["stim_file"] = ["n/a" if isinstance(name, float) else f"stimuli/{name}" for name in shown]
        events.to_csv(path, sep="\t", index=False)
        for old in sorted(derived.glob(f"{stem}_space-MNI*")):
            native = old.name.replace("_space-MNI152NLin2009cAsym", "")
            shutil.copy(old, old.with_name(native))
            old.rename(old.with_name(old.name.replace("Asym_", "Asym_res-2_")))
        import nibabel

        image = nibabel.load(derived / f"{stem}_desc-preproc_bold.nii.gz")
        series = np.asarray(image.dataobj)[INSIDE].T.astype(np.float32)
        _write_images(derived, stem, series, "surface")
        _write_images(derived, stem, series, "cifti")
    next(derived.glob("*run-3_desc-confounds*.tsv")).unlink()


def recordings(root: Path) -> None:
    """Write recordings of three people in three formats, two runs each, with a table of events beside every one."""
    root.mkdir(parents=True)
    for seed, (who, ending) in enumerate((("anna", "vhdr"), ("ben", "edf"), ("cleo", "fif"))):
        for run in (1, 2):
            rng = np.random.default_rng([seed, run])

            def noisy(data: np.ndarray, rng: np.random.Generator = rng) -> None:
                data += 1e-4 * rng.normal(size=data.shape)

            raw, onsets, labels = make_raw(seed=10 * seed + run, seconds=100, change=noisy)
            stem = f"{who}_run{run}"
            if ending == "fif":
                raw.save(root / f"{stem}_raw.fif", verbose="ERROR")
            else:
                mne.export.export_raw(root / f"{stem}.{ending}", raw, verbose="ERROR")
            pd.DataFrame({"onset": onsets, "duration": 3.0, "trial_type": labels}).to_csv(
                root / f"{stem}_events.csv", index=False
            )


def rdms(root: Path) -> None:
    """Write pictures, and the distances between them in two regions of two people."""
    names = pictures(root / "pictures", 20, seed=3)
    pixels = np.array([np.asarray(Image.open(root / "pictures" / name).convert("L")).ravel() for name in names]) / 255
    rng = np.random.default_rng(4)
    for who in ("p1", "p2"):
        for roi, noise in (("V1", 0.2), ("LO", 2.0)):
            noisy = pixels + noise * rng.normal(size=pixels.shape)
            np.save(root / f"{who}_{roi}.npy", 1 - np.corrcoef(noisy))


def captions(root: Path) -> None:
    """Write pictures with captions in a spreadsheet, and the responses of two people to them."""
    names = pictures(root / "pictures", 24, seed=1)
    what = ["a picture of thin stripes", "a picture of one round disc"]
    table = {"file": names, "caption": [f"{what[i % 2]} number {i}" for i in range(24)]}
    pd.DataFrame(table).to_csv(root / "captions.csv", index=False)
    rng = np.random.default_rng(2)
    pixels = np.array(
        [np.asarray(Image.open(root / "pictures" / name).convert("L").resize((6, 6))).ravel() for name in names]
    )
    scaled = (pixels - pixels.mean(0)) / pixels.std(0)
    for who in ("p1", "p2"):
        (root / who).mkdir()
        rows = [(name, run, name.partition("_")[0]) for run in (1, 2, 3) for name in rng.permutation(names)]
        pd.DataFrame(rows, columns=["image", "run", "shape"]).to_csv(root / who / "trials.csv", index=False)
        shown = scaled[[names.index(name) for name, *_ in rows]] @ rng.normal(size=(36, 12)) / 6
        np.save(root / who / "betas.npy", (shown + rng.normal(size=shown.shape)).astype(np.float32))
