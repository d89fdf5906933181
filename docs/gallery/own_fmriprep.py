"""Own fMRIPrep derivatives: events, a GLM of every run, and a layer held against its betas."""

# %% A small folder as fMRIPrep leaves it: two runs of six events, made of a response to the length of a text.
import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from nilearn.glm.first_level import compute_regressor

import brainbench as bb

root, rng = Path("my-bids"), np.random.default_rng(3)
raw, derived = root / "sub-01" / "func", root / "derivatives" / "fmriprep" / "sub-01" / "func"
for folder in (raw, derived):
    folder.mkdir(parents=True, exist_ok=True)
texts = [
    "one",
    "two words",
    "now three words",
    "here are four words",
    "five words in this one",
    "six of them are in here",
]
pd.DataFrame({"id": [f"t{index}" for index in range(6)], "text": texts}).to_csv(root / "stimuli.csv", index=False)
affine, volumes = np.diag([3.0, 3.0, 3.0, 1.0]), np.arange(80) * 2.0
for number in (1, 2):
    stem, order = f"sub-01_task-read_run-{number}", rng.permutation(6)
    onset = 6.0 + 24.0 * np.arange(6)
    events = pd.DataFrame({"onset": onset, "duration": 4.0, "stim_file": [f"t{index}" for index in order]})
    events.to_csv(raw / f"{stem}_events.tsv", sep="\t", index=False)
    strength = np.array([len(texts[index].split()) for index in order], dtype=float)
    response, _ = compute_regressor(np.stack([onset, np.full(6, 4.0), strength]), "glover", volumes)
    series = 100 + response * rng.uniform(0.5, 1.5, 24) + 0.3 * rng.normal(size=(80, 24))
    image = series.T.reshape(4, 3, 2, 80).astype("float32")
    name = f"{stem}_space-MNI152NLin2009cAsym_desc"
    picture = nibabel.Nifti1Image(image, affine)
    picture.header.set_zooms((3, 3, 3, 2.0))
    nibabel.save(picture, derived / f"{name}-preproc_bold.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 3, 2), "uint8"), affine), derived / f"{name}-brain_mask.nii.gz")
    (derived / f"{name}-preproc_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    motion = pd.DataFrame(rng.normal(size=(80, 6)), columns=[f"{a}_{b}" for a in ("trans", "rot") for b in "xyz"])
    motion.to_csv(derived / f"{stem}_desc-confounds_timeseries.tsv", sep="\t", index=False)
    (derived / f"{stem}_desc-confounds_timeseries.json").write_text("{}")

# %% `check` says what is missing before anything is computed: `brainbench data check bids --root my-bids`.
recipe = {
    "kind": "encode",
    "title": "What do made betas follow?",
    "dataset": {
        "name": "bids", "root": str(root), "task": "read", "modality": "text", "confounds": ["motion"],
        "high_pass_s": None,
    },
    "hold_out": ["run"],
    "encoders": [{"name": "identity", "family": "one_hot", "role": "model"}],
    "significance": {"n_permutations": 0},
    "bootstrap": {"n_draws": 0},
}  # fmt: skip
run = bb.run(recipe, out="runs/own-fmriprep")
print(run)
print(run.facts["data"])
