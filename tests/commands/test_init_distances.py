"""`data init` on folders of RDMs: every form leads to a recipe that passes `check`; responses are no RDMs."""

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from scipy.spatial.distance import squareform

from brainbench.commands.proposing.init import init, propose
from brainbench.recipes.reader import read_recipe
from tests.walks import made

N = 12


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "my rdms"
    made.pictures(root / "pictures", N)
    return root


def rdms(k=1, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 2, size=(k, N * (N - 1) // 2))


FORMS = {
    "squares": ({f"sub-0{s}.npy": squareform(rdms(1, s)[0]) for s in (1, 2)}, "sub-{subject}.npy", None),
    "pairs": ({f"rdms/p{s}.npy": rdms(3, s) for s in (1, 2)}, "rdms/p{subject}.npy", 3),
    "regions": (
        {f"sub-0{s}_{roi}.npy": squareform(rdms(1, s)[0]) for s in (1, 2) for roi in ("V1", "LO")},
        "sub-{subject}_{roi}.npy", None,
    ),
    "folders": (
        {f"sub-0{s}/{roi}.npy": rdms(1, s) for s in (1, 2) for roi in ("V1", "LO", "IT")},
        "sub-{subject}/{roi}.npy", None,
    ),
}  # fmt: skip


def write(root, files):
    for name, values in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        np.save(root / name, values)


@pytest.mark.parametrize("form", list(FORMS))
def test_rdms_lead_to_a_recipe_without_problems(folder, form):
    files, pattern, n_unnamed = FORMS[form]
    write(folder, files)
    lines = init("my rdms")
    recipe = read_recipe("my rdms.yaml")
    assert recipe.kind == "rsa" and recipe.dataset.rdms in (
        pattern,
        pattern.replace("sub-", ""),
        pattern.replace("p{", "{"),
    )
    assert any(line.endswith("my rdms.yaml: no problems") for line in lines), lines
    assert any("in which order the RDMs have the stimuli" in line for line in lines)
    named = any(f"names of the {n_unnamed} regions" in line for line in lines)
    assert named is (n_unnamed is not None) and (recipe.dataset.rois is not None) is named


def test_the_variable_of_a_mat_file_is_found(folder):
    savemat(
        folder / "brain.mat", {"RDMs": np.moveaxis(np.stack([squareform(one) for one in rdms(2)]), 0, 2), "noise": 3.0}
    )
    assert propose(folder).dataset["variable"] == "RDMs"
    init("my rdms")
    assert read_recipe("my rdms.yaml").dataset.variable == "RDMs"


def test_responses_beside_pictures_are_no_rdms(folder):
    rng = np.random.default_rng(0)
    for width in (10, N, 15):  # as many columns as three kinds of triangle, or a square that is not symmetric
        np.save(folder / "sub-01.npy", rng.normal(size=(N, width)).astype(np.float32))
        pd.DataFrame({"image": sorted(path.name for path in (folder / "pictures").iterdir()), "run": 1}).to_csv(
            folder / "sub-01_trials.csv", index=False
        )
        assert propose(folder).dataset["name"] == "folder"
