"""Small data sets of loaders for the sweep over their files, where tests/data has none of that form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.recording_files import write_recording
from tests.data.bids_folder import write_bids, write_dlabel, write_labels
from tests.data.folders import write_story, write_surfaces, write_trials, write_volumes


def write_trials_with_all(root: Path) -> None:
    """Trials of images with labels, ceilings and a table of ROIs."""
    write_trials(root)
    rng = np.random.default_rng(5)
    for subject in ("sub-01", "sub-02"):
        design = pd.read_csv(root / subject / "design.csv")
        design["block"] = [f"b{row % 4}" for row in range(len(design))]
        design["repeat"] = design.groupby("stimulus").cumcount()
        design.to_csv(root / subject / "design.csv", index=False)
        np.save(root / subject / "ceiling.npy", rng.uniform(0.2, 0.9, 10))
    stimuli = pd.read_csv(root / "stimuli.csv")
    stimuli["kind"] = ["animal", "thing"] * 3
    stimuli.to_csv(root / "stimuli.csv", index=False)


def write_tables(root: Path) -> None:
    """Responses as tables with names."""
    write_trials(root)
    for subject in ("sub-01", "sub-02"):
        values = np.load(root / subject / "responses.npy").astype(float)
        pd.DataFrame(values, columns=[f"v{column}" for column in range(10)]).to_csv(
            root / subject / "responses.csv", index=False
        )
    rois = pd.read_csv(root / "rois.csv")
    rois["target"] = [f"v{target}" for target in rois["target"]]
    rois.to_csv(root / "rois.csv", index=False)


def write_story_of_runs(root: Path) -> None:
    """A story of two runs with durations, counted from the start of each run, and nuisance."""
    write_story(root, n_rows=40, n_words=20)
    table = pd.read_csv(root / "stimuli.csv")
    table["onset"] = np.round(np.r_[np.linspace(1, 30, 10), np.linspace(2, 31, 10)], 3)
    table["run"] = ["a"] * 10 + ["b"] * 10
    table["duration"] = np.round(np.linspace(0.2, 0.5, 20), 3)
    table["text"] = [f"word{row}" for row in range(20)]
    table.to_csv(root / "stimuli.csv", index=False)
    time = np.r_[np.arange(20), np.arange(20)] * 2.0
    pd.DataFrame({"time": time, "run": ["a"] * 20 + ["b"] * 20}).to_csv(root / "sub-01" / "design.csv", index=False)
    np.save(root / "sub-01" / "nuisance.npy", np.random.default_rng(5).normal(size=(40, 2)))


def write_cifti(root: Path) -> None:
    """Grayordinates of two small hemispheres and a structure of voxels, with a label file of another order."""
    write_trials(root)
    rng = np.random.default_rng(4)
    axis = nibabel.cifti2.BrainModelAxis
    voxels = np.zeros((3, 3, 2), bool)
    voxels[1, :, 0] = True
    brain = axis.from_surface(np.arange(2, 8), 10, "CortexLeft") + axis.from_surface(np.arange(1, 9), 10, "CortexRight")
    brain = brain + axis.from_mask(voxels, "thalamus_left", affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    for subject in ("sub-01", "sub-02"):
        n_rows = len(pd.read_csv(root / subject / "design.csv"))
        maps = nibabel.cifti2.ScalarAxis([f"trial {row}" for row in range(n_rows)])
        values = rng.normal(size=(n_rows, len(brain))).astype(np.float32)
        nibabel.save(nibabel.Cifti2Image(values, (maps, brain)), root / subject / "betas.dscalar.nii")
    whole = axis.from_surface(np.arange(10), 10, "CortexRight") + axis.from_surface(np.arange(10), 10, "CortexLeft")
    keys = np.r_[[0] * 5, [7] * 5, [3] * 4, [0] * 6].astype(np.float32)
    table = {0: ("???", (0, 0, 0, 0)), 3: ("front", (1, 0, 0, 1)), 7: ("back", (0, 1, 0, 1))}
    labels = nibabel.cifti2.LabelAxis(["areas"], [table])
    nibabel.save(nibabel.Cifti2Image(keys[None], (labels, whole)), root / "areas.dlabel.nii")


def write_images(root: Path) -> None:
    """Trials of images whose responses are volumes."""
    write_trials(root)
    write_volumes(root)


def write_pairs(root: Path) -> None:
    """Trials of images whose responses are surfaces."""
    write_trials(root)
    write_surfaces(root, n=60)


def write_glmsingle(root: Path) -> None:
    """Derivatives with betas of GLMsingle in a volume."""
    write_bids(root, n_runs=2)
    (root / "glm").mkdir()
    np.save(root / "glm" / "sub-01.npy", np.random.default_rng(0).normal(size=(5, 4, 3, 16)).astype(np.float32))


def write_alice(root: Path) -> None:
    """A story of six words, with sound power, word rate and motion."""
    rng = np.random.default_rng(0)
    data, stimuli = root / "alice_data_shared", root / "alice_stim_shared"
    (data / "10mm").mkdir(parents=True)
    stimuli.mkdir()
    for subject in ("s1", "s2"):
        np.savetxt(data / "10mm" / f"{subject}-timecourses.txt", rng.normal(size=(30, 6)))
        for kind, width, rows in (("sndpwr", 1, 30), ("rate", 1, 40), ("rp_a", 6, 30)):
            np.savetxt(data / f"{subject}-{kind}.txt", rng.normal(size=(rows, width)))
    words = ["alice", "was", "sp", "beginning", "to", "get"]
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", "xmax = 60", "tiers? <exists>"]
    lines += ["size = 1", "item []:", "item [1]:", 'class = "IntervalTier"', 'name = "words"', "xmin = 0", "xmax = 60"]
    lines += [f"intervals: size = {len(words)}"]
    for index, word in enumerate(words):
        lines += [
            f"intervals [{index + 1}]:",
            f"xmin = {21 + index * 3}",
            f"xmax = {23 + index * 3}",
            f'text = "{word}"',
        ]
    (stimuli / "story.TextGrid").write_text("\n".join(lines) + "\n")


def write_haxby(root: Path) -> None:
    """Blocks of two categories in twelve volumes of 2.5 s, with a mask."""
    rng = np.random.default_rng(0)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    mask = np.ones((4, 3, 1), np.uint8)
    mask[0, 0] = 0
    for run in (1, 2, 10):
        folder = root / "sub001" / "BOLD" / f"task001_run{run:03d}"
        folder.mkdir(parents=True)
        image = nibabel.Nifti1Image(rng.normal(100, 5, (4, 3, 1, 24)).astype(np.float32), affine)
        image.header.set_zooms((3.0, 3.0, 3.0, 2.5))
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, folder / "bold_1slice.nii.gz")
        events = {"onset": [2.5, 20.0, 40.0], "duration": [10.0, 10.0, 10.0], "trial_type": ["face", "house", "cat"]}
        pd.DataFrame(events).to_csv(folder / "bold_events.tsv", sep="\t", index=False)
    nibabel.save(nibabel.Nifti1Image(mask, affine), root / "slice_mask.nii.gz")
    (root / "sub001" / "masks").mkdir()
    part = mask.copy()
    part[2:] = 0
    nibabel.save(nibabel.Nifti1Image(part, affine), root / "sub001" / "masks" / "vt.nii.gz")


def write_miyawaki(root: Path) -> None:
    """Patterns of twelve by twelve patches and their responses."""
    rng = np.random.default_rng(0)
    root.mkdir(exist_ok=True)
    np.savez(
        root / "sub-01_figures.npz", fmri=rng.normal(size=(12, 5)), run=np.repeat([1, 2, 10], 4),
        pattern12=np.tile(rng.integers(0, 2, (4, 144)), (3, 1)), stim_type=np.repeat(["letter", "shape", "letter"], 4),
    )  # fmt: skip


def write_bids_surfaces(root: Path) -> None:
    """Two runs on the surface, with labels."""
    write_bids(root, n_runs=2, form="surface")
    write_labels(root)


def write_bids_cifti(root: Path) -> None:
    """Two runs of grayordinates, with labels."""
    write_bids(root, n_runs=2, form="cifti")
    write_dlabel(root / "areas.dlabel.nii")


def write_haxby_of_nilearn(root: Path) -> None:
    """One image of two runs, a table of labels and two masks."""
    rng = np.random.default_rng(0)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    folder = root / "subj1"
    folder.mkdir(parents=True)
    values = rng.normal(100, 5, (4, 3, 2, 40)).astype(np.float32)
    values[1, 1, 1, 5] = 140  # the largest, which the sweep changes, lies in a block
    nibabel.save(nibabel.Nifti1Image(values, affine), folder / "bold.nii.gz")
    names = (["rest"] * 2 + ["face"] * 6 + ["rest"] * 4 + ["house"] * 6 + ["cat"] * 2) * 2
    lines = [f"{name} {row // 20}" for row, name in enumerate(names)]
    (folder / "labels.txt").write_text("\n".join(["labels chunks", *lines]) + "\n")
    mask = np.ones((4, 3, 2), np.uint8)
    mask[0] = 0
    nibabel.save(nibabel.Nifti1Image(mask, affine), folder / "mask.nii.gz")
    mask[2:] = 0
    nibabel.save(nibabel.Nifti1Image(mask, affine), folder / "mask4_vt.nii.gz")


def write_miyawaki_of_nilearn(root: Path) -> None:
    """Two runs of figures with a row of patches per volume, a mask and a region."""
    rng = np.random.default_rng(0)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    for name in ("func", "label", "mask"):
        (root / name).mkdir(parents=True)
    for run in (1, 2):
        values = rng.normal(100, 5, (3, 3, 2, 24)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, affine), root / "func" / f"data_figure_run0{run}.nii.gz")
        shown = np.repeat(rng.integers(0, 2, (3, 144)), 8, axis=0)
        shown[::8] = -1
        np.savetxt(root / "label" / f"data_figure_run0{run}_label.csv", shown, fmt="%d", delimiter=",")
    mask = np.ones((3, 3, 2), np.uint8)
    mask[0] = 0
    nibabel.save(nibabel.Nifti1Image(mask, affine), root / "mask" / "mask.nii.gz")
    mask[2:] = 0
    nibabel.save(nibabel.Nifti1Image(mask, affine), root / "mask" / "V1.nii.gz")


def write_signals(ending: str, events: str = "annotations") -> Callable[[Path], None]:
    """Return what writes two runs of four channels and an eye, of eight events each, in one of the formats."""

    def write(root: Path) -> None:
        import mne

        root.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        names = ["C3", "Cz", "C4", "Pz", *(["HEOG"] if ending == "_raw.fif" else [])]
        onsets = 1.0 + 2.5 * np.arange(8)
        rows, table = [], []
        for run in (2, 10):
            info = mne.create_info(names, 100.0, "eeg")
            info.set_meas_date(0)
            raw = mne.io.RawArray(1e-5 * rng.normal(size=(len(names), 2200)), info, first_samp=50, verbose="ERROR")
            if ending == "_raw.fif":
                raw.set_montage("colin27_1005", on_missing="ignore", verbose="ERROR")
            labels = rng.permutation(["left", "right"] * 4)
            marks = mne.Annotations(onsets + 0.5, 0.0, labels, orig_time=raw.info["meas_date"])
            path = f"run{run}{'_eeg' if ending == '.vhdr' else ''}{ending}"
            if ending == ".vhdr":  # as in BIDS
                kinds = {
                    "name": names,
                    "type": ["EEG", "EEG", "EEG", "MISC"],
                    "status": ["good", "good", "bad", "good"],
                }
                pd.DataFrame(kinds).to_csv(root / f"run{run}_channels.tsv", sep="\t", index=False)
            planted = SimpleNamespace(events=events, onsets=onsets, labels=labels)
            write_recording(root / path, raw.set_annotations(marks), run=planted)
            rows.append({"path": path, "subject": "s1", "session": "a" if run < 10 else "b", "run": f"r{run}"})
            table += [{"path": path, "onset": at, "label": name} for at, name in zip(onsets, labels, strict=True)]
        pd.DataFrame(rows).to_csv(root / "recordings.csv", index=False)
        if events == "events.csv":
            pd.DataFrame(table).to_csv(root / "events.csv", index=False)

    return write


def write_alexmi(root: Path) -> None:
    """A recording where MOABB looks for its data set AlexMI, with marks in place of a stim channel."""
    import mne

    folder = root / "MNE-alexeeg-data" / "zenodo" / "806023"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    raw = mne.io.RawArray(
        1e-5 * rng.normal(size=(4, 4800)), mne.create_info(["C3", "Cz", "C4", "Pz"], 100.0, "eeg"), verbose="ERROR"
    )
    raw.info.set_meas_date(0)
    raw.set_montage("colin27_1005", verbose="ERROR")
    raw.set_annotations(mne.Annotations(0.5 + 5.0 * np.arange(8), 3.0, rng.permutation(["right_hand", "feet"] * 4)))
    raw.save(folder / "subject1.raw.fif", verbose="ERROR")


def write_photos(root: Path) -> None:
    """Pictures of two kinds, each in a folder."""
    rng = np.random.default_rng(0)
    for kind in ("cats", "shoes"):
        (root / kind).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(root / kind / f"{number}.png")


def write_sentences(root: Path) -> None:
    """A file with a sentence a line."""
    root.mkdir(exist_ok=True)
    (root / "said.txt").write_text("One sentence.\n\nAnother one.\nA third.\n")


def write_physionet(root: Path) -> None:
    """Three runs of imagined fists of one person, as EDF+ with annotations."""
    import mne

    rng = np.random.default_rng(0)
    (root / "S001").mkdir(parents=True)
    for run in (4, 8, 12):
        names = ["C3..", "Cz..", "C4..", "Pz.."]
        raw = mne.io.RawArray(
            1e-5 * rng.normal(size=(4, 160 * 44)), mne.create_info(names, 160.0, "eeg"), verbose="ERROR"
        )
        raw.set_annotations(mne.Annotations(2.0 + 5.0 * np.arange(8), 4.0, rng.permutation(["T1", "T2"] * 4)))
        mne.export.export_raw(root / "S001" / f"S001R{run:02d}.edf", raw, verbose="ERROR")
