"""Small made recordings of contacts in the head: BIDS-iEEG, and the layout of Du-IN with its own dictionaries."""

import json
import pickle
import sys
from types import ModuleType

import mne
import numpy as np

CONTACTS = ["A1", "A2", "A3", "A5", "B1", "B2", "C1"]
LABELS = ["motor", "motor", "insula", "insula", "motor", "motor", "n/a"]


class DotDict(dict):
    """As the authors' class: keys are attributes too."""

    __module__ = "utils"
    __getattr__ = dict.get


def raw_of(names=CONTACTS, n_s=40, kind="seeg", seed=0, sfreq=200.0):
    rng = np.random.default_rng(seed)
    raw = mne.io.RawArray(
        20e-6 * rng.normal(size=(len(names), int(n_s * sfreq))), mne.create_info(names, sfreq, kind), verbose="ERROR"
    )
    onsets = np.arange(1, n_s - 2, 1.5)
    raw.set_annotations(mne.Annotations(onsets, 1.0, [("yes", "no")[n % 2] for n in range(len(onsets))]))
    return raw


def write_bids_ieeg(root, ending=".fif", unit="mm"):
    """Write one run of BIDS-iEEG with tables of channels, contacts and coordinates."""
    folder = root / "sub-01" / "ieeg"
    folder.mkdir(parents=True)
    raw = raw_of()
    name = f"sub-01_task-words_ieeg{ending}"
    if ending == ".fif":
        raw.save(folder / name, verbose="ERROR")
    else:
        raw.export(folder / name, verbose="ERROR")
    rows = [f"{one}\tSEEG\tV\tgood" for one in CONTACTS]
    (folder / "sub-01_task-words_channels.tsv").write_text("\n".join(["name\ttype\tunits\tstatus", *rows]) + "\n")
    places = [
        f"{one}\t{n}\t{2 * n}\t30.5\t{label}" for n, (one, label) in enumerate(zip(CONTACTS, LABELS, strict=True))
    ]
    places[-1] = "C1\tn/a\tn/a\tn/a\tn/a"
    (folder / "sub-01_space-MNI_electrodes.tsv").write_text("\n".join(["name\tx\ty\tz\tregion", *places]) + "\n")
    (folder / "sub-01_space-MNI_coordsystem.json").write_text(json.dumps({"iEEGCoordinateUnits": unit}))
    (root / "recordings.csv").write_text(f"path,subject\nsub-01/ieeg/{name},01\n")
    return root


def write_duin(root, subjects=("001", "002"), runs=("run1", "run2"), n_words=3, n_repeats=2, n_times=400):
    """Write the pickles of Du-IN; `data_n` is the stream that is not of the brain."""
    module, before = ModuleType("utils"), sys.modules.get("utils")
    module.DotDict = DotDict
    sys.modules["utils"] = module
    rng = np.random.default_rng(0)
    try:
        for subject in subjects:
            for run in runs:
                folder = (
                    root
                    / "data/seeg.he2023xuanwu"
                    / subject
                    / f"word-recitation/{run}/dataset.bipolar.default.unaligned"
                )
                folder.mkdir(parents=True)
                trials = [
                    DotDict(name=f"word{word}", data_s=30 * rng.normal(size=(4, n_times)), data_n=np.zeros(n_times))
                    for word in range(n_words) for _ in range(n_repeats)
                ]  # fmt: skip
                (folder / "data").write_bytes(pickle.dumps(trials))
                (folder / "info").write_bytes(pickle.dumps(DotDict(ch_names=["SM8", "SM9", "P4", "CI9"])))
    finally:
        del sys.modules["utils"]
        if before is not None:
            sys.modules["utils"] = before
    return root
