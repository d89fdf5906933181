"""Small data sets of every loader, for the sweep over their files: each with what may be changed without effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pandas as pd

from benchmarks.recording_files import write_recording
from brainbench.data.base import Context, Dataset
from brainbench.recipes.datasets import DATASETS, dataset_settings
from tests.data.bids_folder import write_bids, write_dlabel, write_labels
from tests.data.bold5000_copy import write_bold5000
from tests.data.contacts_copy import write_bids_ieeg
from tests.data.films_copy import write_deap, write_seed
from tests.data.folders import SURFACES, VOLUMES, write_rdms, write_story, write_surfaces, write_trials, write_volumes
from tests.data.nsd_copy import write_nsd
from tests.data.pereira_copy import write_pereira
from tests.data.picture_copies import write_bold_moments, write_things_eeg, write_things_fmri
from tests.data.public_copies import write_algonauts, write_tuckute
from tests.data.story_copies import write_friends, write_lebel, write_little_prince, write_narratives


@dataclass(frozen=True)
class Loader:
    """A loader on a small data set.

    Attributes
    ----------
    write : callable
        Writes the data set into a folder.
    settings : dict
        Of the recipe's ``dataset:`` section.
    ignored : dict
        Parts of files, as `changes` names them (beginnings count), that may change without effect -> why.
    """

    write: Callable[[Path], Any]
    settings: dict[str, Any]
    ignored: dict[str, str] = field(default_factory=dict)

    def open(self, root: Path, cache: Path | None) -> Dataset:
        """Open the data set as a recipe does."""
        settings = dataset_settings(self.settings)
        return DATASETS.builder(self.settings["name"]).open(settings, root, Context(cache=cache))


def write_trials_with_all(root: Path) -> None:
    """Trials of images with labels, ceilings, nuisance and a table of ROIs."""
    write_trials(root)
    rng = np.random.default_rng(5)
    for subject in ("sub-01", "sub-02"):
        design = pd.read_csv(root / subject / "design.csv")
        design["block"] = [f"b{row % 4}" for row in range(len(design))]
        design["repeat"] = design.groupby("stimulus").cumcount()
        design.to_csv(root / subject / "design.csv", index=False)
        np.save(root / subject / "nuisance.npy", rng.normal(size=(len(design), 2)))
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
    """A story of two runs with durations, counted from the start of each run."""
    write_story(root, n_rows=40, n_words=20)
    table = pd.read_csv(root / "stimuli.csv")
    table["onset"] = np.round(np.r_[np.linspace(1, 30, 10), np.linspace(2, 31, 10)], 3)
    table["run"] = ["a"] * 10 + ["b"] * 10
    table["duration"] = np.round(np.linspace(0.2, 0.5, 20), 3)
    table["text"] = [f"word{row}" for row in range(20)]
    table.to_csv(root / "stimuli.csv", index=False)
    time = np.r_[np.arange(20), np.arange(20)] * 2.0
    pd.DataFrame({"time": time, "run": ["a"] * 20 + ["b"] * 20}).to_csv(root / "sub-01" / "design.csv", index=False)


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


_BIDS = {"name": "bids", "task": "read", "modality": "text", "confounds": ["motion"], "atlas": "atlas.nii.gz"}


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


_LABELS = {
    "rois.csv[order of rows]": "ROIs have no order of targets",
    "atlas.tsv[order of rows]": "labels have no order",
}
_LISTS = {"repeated_stimuli_113_list.txt[order of lines]": "the test set has no order"}

_UNUSED = {
    "events.tsv[order of rows]": "events are put in order by their onsets",
    "confounds_timeseries.tsv[csf": "not among the confounds asked for",
    "confounds_timeseries.tsv[white_matter": "not among the confounds asked for",
}

_ORDER = "channels stand in the order of the first run"
_HEADER = {f"[{name}]": "not what was measured" for name in ("transducer", "filters", "date")}
_SIGNALS = {"name": "eeg-folder", "band": None, "tmin": 0.0, "tmax": 1.0}

_FILMS = {"band": None, "tmin": 0.0, "tmax": 1.0}

LOADERS: dict[str, Loader] = {
    "folder": Loader(
        write_trials_with_all,
        {
            "name": "folder",
            "rois": "rois.csv",
            "nuisance": "{subject}/nuisance.npy",
            "ceiling": "{subject}/ceiling.npy",
        },
        {"design.csv[repeat]": "which showing it is: checked, not used", **_LABELS},
    ),
    "folder tables": Loader(
        write_tables, {"name": "folder", "rois": "rois.csv", "responses": "{subject}/responses.csv"}, _LABELS
    ),
    "folder story": Loader(write_story_of_runs, {"name": "folder", "continuous": True, "modality": "word"}),
    "folder volumes": Loader(write_images, {"name": "folder", **VOLUMES}, _LABELS),
    "folder surfaces": Loader(write_pairs, {"name": "folder", **SURFACES}),
    "folder cifti": Loader(
        write_cifti, {"name": "folder", "responses": "{subject}/betas.dscalar.nii", "rois": "areas.dlabel.nii"}
    ),
    "bids": Loader(
        lambda root: write_bids(root, n_runs=2),
        _BIDS,
        {**_LABELS, **_UNUSED},
    ),
    "bids surfaces": Loader(
        write_bids_surfaces,
        {**_BIDS, "space": "fsaverage5", "atlas": "{hemi}.label.gii"},
        _UNUSED,
    ),
    "bids cifti": Loader(
        write_bids_cifti,
        {**_BIDS, "space": "fsLR", "atlas": "areas.dlabel.nii", "confounds": []},
        {**_UNUSED, "dlabel.nii[value": "the middle of the labels is a vertex without a response"},
    ),
    "bids glmsingle": Loader(
        write_glmsingle,
        {**_BIDS, "betas": "glmsingle", "glmsingle": "glm/{subject}.npy"},
        {
            **_LABELS,
            "preproc_bold.nii.gz": "betas come from GLMsingle; the image says when its volumes were measured",
            "events.tsv[duration": "betas come from GLMsingle",
            "events.tsv[onset": "betas come from GLMsingle: onsets only say the order of events",
            "events.tsv[order of rows]": "events are put in order by their onsets",
        },
    ),
    "nsd": Loader(
        lambda root: write_nsd(root, ("subj01",), n_sessions=2, n_trials=12, image_size=8, n_shared=3),
        {"name": "nsd", "test_set": "shared1000"},
        {
            "nsd_stim_info_merged.csv": "only ids and shared images are read, the others are counted by row",
            ".ctab[order of lines]": "labels have no order",
            "[first_sessions]": "for the test set of the sessions that were public first",
        },
    ),
    "bold5000": Loader(write_bold5000, {"name": "bold5000", "release": 2}, _LISTS),
    "bold5000 release 1": Loader(write_bold5000, {"name": "bold5000", "release": 1}, _LISTS),
    "pereira2018": Loader(
        lambda root: write_pereira(root, ("P01",), experiment="243sentences"),
        {"name": "pereira2018", "experiment": "243sentences"},
    ),
    "tuckute2024": Loader(
        lambda root: write_tuckute(root, ("848",), 14),
        {"name": "tuckute2024", "conditions": ["baseline", "drive", "suppress"]},
        {"csv[order of rows]": "rows say which sentence and region they are of"},
    ),
    "algonauts2023": Loader(write_algonauts, {"name": "algonauts2023"}),
    "rdm": Loader(write_rdms, {"name": "rdm", "modality": "text", "rdms": "{subject}.npy", "rois": ["V1", "LO"]}),
    "deap": Loader(
        lambda root: write_deap(root, ("s01",), 4, 2),
        {"name": "deap", **_FILMS},
        {".dat[labels]": "a high rating that becomes higher is of the same class"},
    ),
    "seed": Loader(lambda root: write_seed(root, ("1",), ("20130709",), 3, 2), {"name": "seed", **_FILMS}),
    "eeg-folder bids": Loader(
        write_bids_ieeg,
        {"name": "eeg-folder", "kind": "seeg", "events": "annotations", **_FILMS},
        {
            ".tsv[order of rows]": "contacts stand in the order of the recording",
            "[region]": "groups are made later",
            "channels.tsv[": "kinds are the file's own, and units are not read",
        },
    ),
    "alice": Loader(write_alice, {"name": "alice"}),
    "things-fmri": Loader(
        lambda root: write_things_fmri(root, ("sub-01",)),
        {"name": "things-fmri", "rois": ["V1", "lLOC"]},
        {
            **{f"StimulusMetadata.csv[{name}": "not used" for name in ("subject_id", "trial_id", "concept")},
            **{f"VoxelMetadata.csv[{name}": "not used" for name in ("voxel_x", "prf-size")},
        },
    ),
    "things-eeg2": Loader(
        lambda root: write_things_eeg(root, ("sub-01",)), {"name": "things-eeg2", "tmin": -0.1, "tmax": 0.7}
    ),
    "bold-moments": Loader(write_bold_moments, {"name": "bold-moments"}),
    "lebel2023": Loader(lambda root: write_lebel(root, ("UTS01",), ("avatar", "legacy")), {"name": "lebel2023"}),
    "narratives": Loader(
        write_narratives,
        {"name": "narratives"},
        {
            "align.json[transcript]": "words are taken one by one",
            "event_meta.json[slumlordreach": "the begin of the second story lies within",
        },
    ),
    "little-prince": Loader(
        lambda root: write_little_prince(root, ("sub-EN057",), (40, 44)),
        {"name": "little-prince"},
        {"[copy]": "says that it is one"}
        | {f"word_information.csv[{name}": "not used" for name in (" +", "]", "lemma", "pos", "order of rows")},
    ),
    "friends": Loader(
        lambda root: write_friends(root, ("sub-01",), ("s01e01a", "s01e01b")),
        {"name": "friends"},
        {"tsv[text_per_tr": "words are taken one by one", "tsv[order of rows]": "words have times of their own"},
    ),
    "haxby2001": Loader(
        write_haxby,
        {"name": "haxby2001"},
        {
            "events.tsv[onset]": "blocks are cut to whole volumes of 2.5 s",
            "events.tsv[duration]": "blocks are cut to whole volumes of 2.5 s",
            "events.tsv[order of rows]": "blocks are put in order by their onsets",
        },
    ),
    "haxby2001 of nilearn": Loader(write_haxby_of_nilearn, {"name": "haxby2001"}),
    "miyawaki2008": Loader(write_miyawaki, {"name": "miyawaki2008"}),
    "miyawaki2008 of nilearn": Loader(write_miyawaki_of_nilearn, {"name": "miyawaki2008"}),
    "eeg-folder": Loader(
        write_signals("_raw.fif"),
        {**_SIGNALS, "events": "annotations"},
        {"run10_raw.fif[order of channels]": _ORDER},
    ),
    "eeg-folder brainvision": Loader(
        write_signals(".vhdr"),
        {**_SIGNALS, "events": "annotations"},
        {
            ".vhdr[reference]": "electrodes are decoded as they were recorded",
            ".vmrk[channel of a mark]": "marks are of the whole recording",
            "channels.tsv[order of rows]": "channels stand in the order of the recording",
        },
    ),
    "eeg-folder eeglab": Loader(
        write_signals(".set"),
        {**_SIGNALS, "events": "annotations"},
        {".set[number of channels]": "channels are those that have names"},
    ),
    "eeg-folder edf": Loader(
        write_signals(".edf", "events.csv"),
        _SIGNALS,
        {**_HEADER, "events.csv[order of rows]": "events are put in order by their onsets"},
    ),
    "eeg-folder bdf": Loader(write_signals(".bdf", "stim"), {**_SIGNALS, "events": "stim"}, _HEADER),
    "physionet-mi": Loader(write_physionet, {"name": "physionet-mi", "band": None, "tmin": 0.0, "tmax": 2.0}, _HEADER),
}
"""Every loader of tables and images; a case more where a loader has several layouts."""

_QUICK = {
    "kind": "encode", "significance": {"n_permutations": 9}, "bootstrap": {"n_draws": 5}, "folds": {"n_splits": 3},
}  # fmt: skip

_PIXELS = {"name": "pixels", "family": "pixels", "role": "model", "image_size": 4}

RECIPES: dict[str, dict[str, Any]] = {
    "folder": {**_QUICK, "encoders": [_PIXELS], "similarity": ["rsa", "cka"]},
    "folder, folds of a label": {
        **_QUICK, "encoders": [_PIXELS], "folds": {"scheme": "grouped", "column": "kind", "n_splits": 2},
    },
    "folder, decoded": {
        **{key: value for key, value in _QUICK.items() if key != "folds"}, "kind": "decode", "hold_out": ["run"],
        "decoding": {"label": "block", "decoders": [{"name": "logistic"}], "rois": ["early"], "pairwise": False},
    },
    "folder story": {
        **_QUICK, "encoders": [{"name": "rate", "family": "word_rate", "role": "model"}],
        "timing": {"high_pass_s": 60.0},
        "folds": {"n_splits": 3, "trim_s": 2.0},
    },
    "bids": {
        **_QUICK, "encoders": [{"name": "random", "family": "random", "width": 4, "role": "model"}],
        "hold_out": ["run"], "folds": {"n_splits": 2},
    },
}  # fmt: skip
"""Recipes that take the changes from file to score; what stands before a comma is the loader."""
for _name, _recipe in RECIPES.items():
    _recipe["dataset"] = LOADERS[_name.partition(",")[0]].settings
