"""Small data sets of every loader, for the sweep over their files: each with what may be changed without effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brainbench.data.base import Context, Dataset
from brainbench.recipes.datasets import DATASETS, dataset_settings
from tests.data.bids_folder import write_bids
from tests.data.bold5000_copy import write_bold5000
from tests.data.contacts_copy import write_bids_ieeg, write_duin
from tests.data.films_copy import write_deap, write_dreamer, write_seed, write_seed_iv
from tests.data.folders import SURFACES, VOLUMES, write_rdms
from tests.data.nsd_copy import write_nsd
from tests.data.pereira_copy import write_pereira
from tests.data.picture_copies import write_bold_moments, write_things_eeg, write_things_fmri
from tests.data.public_copies import write_algonauts, write_tuckute
from tests.data.story_copies import write_friends, write_lebel, write_little_prince, write_narratives
from tests.sweeps.made_folders import (
    write_alexmi,
    write_alice,
    write_bids_cifti,
    write_bids_surfaces,
    write_cifti,
    write_glmsingle,
    write_haxby,
    write_haxby_of_nilearn,
    write_images,
    write_miyawaki,
    write_miyawaki_of_nilearn,
    write_pairs,
    write_photos,
    write_physionet,
    write_sentences,
    write_signals,
    write_story_of_runs,
    write_tables,
    write_trials_with_all,
)


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
        settings = dataset_settings({**self.settings, "root": str(root)})
        return DATASETS.builder(self.settings["name"]).open(settings, root, Context(cache=cache))


_BIDS = {"name": "bids", "task": "read", "modality": "text", "confounds": ["motion"], "atlas": "atlas.nii.gz"}

_LABELS = {
    "rois.csv[order of rows]": "ROIs have no order of targets",
    "atlas.tsv[order of rows]": "labels have no order",
}
_LISTS = {
    "repeated_stimuli_113_list.txt[order of lines]": "the test set has no order",
    "final_labels.txt[order of lines]": "names of classes and of scenes have no order",
    "scene_final_labels.txt[last line]": "no picture of the copy is of this kind",
}

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
            "ceiling": "{subject}/ceiling.npy",
        },
        {"design.csv[repeat]": "which showing it is: checked, not used", **_LABELS},
    ),
    "folder tables": Loader(
        write_tables, {"name": "folder", "rois": "rois.csv", "responses": "{subject}/responses.csv"}, _LABELS
    ),
    "folder story": Loader(
        write_story_of_runs,
        {"name": "folder", "continuous": True, "modality": "word", "nuisance": "{subject}/nuisance.npy"},
    ),
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
        {"mat[meta/dimensions]": "not used"},
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
    "seed-iv": Loader(lambda root: write_seed_iv(root, ("2",), 1.2, ("2",)), {"name": "seed-iv", **_FILMS}),
    "dreamer": Loader(
        lambda root: write_dreamer(root, 2, 3, 2),
        {"name": "dreamer", **_FILMS},
        {
            **{f"mat[DREAMER/{name}": "not used" for name in ("Data/Age", "Data/EEG/baseline", "noOfSubjects")},
            **{f"mat[DREAMER/Data/Score{name}": "another rating is asked for" for name in ("Arousal", "Dominance")},
        },
    ),
    "moabb": Loader(write_alexmi, {"name": "moabb", "dataset": "AlexMI", "subjects": [1], "band": None}),
    "du-in": Loader(
        lambda root: write_duin(root, ("001",)),
        {"name": "du-in", "tmax": 0.299},
        {"data[data_n]": "what was recorded beside the brain"},
    ),
    "simulated": Loader(
        write_photos,
        {
            "name": "simulated",
            "n_stimuli": 8,
            "n_runs": 2,
            "rois": [{"roi": "early", "prefers": "cats", "n_voxels": 4}],
        },
    ),
    "stimuli": Loader(write_photos, {"name": "stimuli"}),
    "stimuli of texts": Loader(write_sentences, {"name": "stimuli", "texts": "said.txt"}),
    "eeg-folder bids": Loader(
        write_bids_ieeg,
        {"name": "eeg-folder", "kind": "seeg", "events": "annotations", **_FILMS},
        {
            ".tsv[order of rows]": "contacts stand in the order of the recording",
            "[region]": "groups are made later",
            "channels.tsv[": "an unknown kind or status says nothing, and units are not read",
            "ieeg.fif[kind of a channel]": "channels.tsv says it",
            "ieeg.fif[position]": "electrodes.tsv says it",
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
