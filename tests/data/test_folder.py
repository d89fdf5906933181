"""The user's own folder: formats that are read, and what is refused with its file and row."""

import nibabel
import numpy as np
import pandas as pd
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.recipes.datasets import DATASETS, dataset_settings
from tests.data.folders import N_TARGETS, SURFACES, VOLUMES, write_story, write_surfaces, write_trials, write_volumes


def open_folder(root, **settings):
    return DATASETS.builder("folder").open(dataset_settings({"name": "folder", **settings}), root, Context())


def read_all(root, **settings):
    dataset = open_folder(root, **settings)
    for subject in dataset.subjects:
        dataset.responses(subject)
    return dataset


@pytest.fixture
def trials(tmp_path):
    write_trials(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def story(tmp_path):
    write_story(tmp_path / "data")
    return tmp_path / "data"


def write_archive(path):
    values = np.load(path)
    with open(path, "wb") as handle:
        np.savez(handle, a=values, b=values)


def edit_header(path, old, new):
    content = path.read_bytes()
    assert old.encode() in content and len(new) <= len(old) + 1
    path.write_bytes(content.replace(old.encode(), new.ljust(len(old)).encode(), 1))


def scale(path, factor):
    np.save(path, np.load(path).astype(np.float64) * factor)


def test_npy_responses_with_a_table_of_rois(trials):
    dataset = open_folder(trials, rois="rois.csv")
    assert dataset.subjects == ["sub-01", "sub-02"]
    facts = check_dataset(dataset)
    assert "18 rows x 10 targets, 3 runs, 6 image stimuli" in facts[0]
    responses = dataset.responses("sub-01")
    np.testing.assert_array_equal(responses.data, np.load(trials / "sub-01" / "responses.npy"))
    design = pd.read_csv(trials / "sub-01" / "design.csv")
    ids = np.array(dataset.stimuli("sub-01").ids)
    assert ids[responses.stimulus].tolist() == design["stimulus"].tolist()
    assert {name: int(mask.sum()) for name, mask in responses.rois.items()} == {"all": 10, "early": 5, "late": 5}


def test_csv_responses_name_their_targets(trials):
    values = np.load(trials / "sub-01" / "responses.npy")
    names = [f"voxel{index}" for index in range(N_TARGETS)]
    pd.DataFrame(values, columns=names).to_csv(trials / "sub-01" / "r.csv", index=False)
    (trials / "rois.csv").write_text("target,roi\nvoxel3,early\nvoxel4,early\n")
    dataset = open_folder(trials, responses="{subject}/r.csv", rois="rois.csv", subjects=["sub-01"])
    responses = dataset.responses("sub-01")
    np.testing.assert_allclose(responses.data, values, rtol=1e-6)
    assert np.flatnonzero(responses.rois["early"]).tolist() == [3, 4]


def test_nifti_responses_with_mask_and_atlas(trials):
    inside = write_volumes(trials)
    dataset = open_folder(trials, **VOLUMES)
    check_dataset(dataset)
    responses = dataset.responses("sub-02")
    np.testing.assert_allclose(responses.data, np.load(trials / "sub-02" / "responses.npy"), rtol=1e-6)
    rows = np.argwhere(inside > 0)
    np.testing.assert_array_equal(responses.rois["front"], rows[:, 0] < 2)
    image = responses.masker.inverse_transform(np.arange(N_TARGETS, dtype=np.float32))
    np.testing.assert_array_equal(np.asarray(image.dataobj)[inside > 0], np.arange(N_TARGETS))


def test_gifti_responses_on_fsaverage5(trials):
    n = write_surfaces(trials)
    dataset = open_folder(trials, **SURFACES)
    check_dataset(dataset)
    responses = dataset.responses("sub-01")
    assert responses.space == "fsaverage5" and responses.data.shape == (18, 2 * n)
    assert np.flatnonzero(responses.rois["V1"]).tolist() == [*range(50), *range(n, n + 50)]
    assert len(responses.masker.inverse_transform(responses.data[0]).darrays) == 2


def test_ncsnr_and_ceilings(trials):
    np.save(trials / "ncsnr.npy", np.linspace(0.1, 2, N_TARGETS))
    responses = open_folder(trials, ncsnr="ncsnr.npy").responses("sub-01")
    np.testing.assert_allclose(responses.ncsnr, np.linspace(0.1, 2, N_TARGETS))
    np.save(trials / "ceiling.npy", np.full(N_TARGETS, 0.5))
    assert open_folder(trials, ceiling="ceiling.npy").responses("sub-01").ceiling.tolist() == [0.5] * N_TARGETS
    names = [f"area{index}" for index in range(N_TARGETS)]
    pd.DataFrame(np.load(trials / "sub-01" / "responses.npy"), columns=names).to_csv(trials / "a.csv", index=False)
    known = {"responses": "a.csv", "design": "sub-01/design.csv", "ncsnr": "ncsnr.csv"}
    table = pd.DataFrame([np.arange(N_TARGETS)], columns=names)
    table[names[::-1]].to_csv(trials / "ncsnr.csv", index=False)  # matched by name
    assert open_folder(trials, **known).responses("subject").ncsnr.tolist() == list(range(N_TARGETS))
    table.rename(columns={"area3": "area"}).to_csv(trials / "ncsnr.csv", index=False)
    with pytest.raises(UserError, match="no column 'area3', a target of the responses"):
        open_folder(trials, **known).responses("subject")
    np.save(trials / "ceiling.npy", np.full(N_TARGETS, 1.5))
    with pytest.raises(UserError, match=r"target 0 has 1.5; Pearson r lies in 0 ... 1"):
        read_all(trials, ceiling="ceiling.npy")


def test_flat_targets_are_dropped_when_asked(trials):
    values = np.load(trials / "sub-01" / "responses.npy")
    values[:, 3] = 7.0
    np.save(trials / "sub-01" / "responses.npy", values)
    with pytest.raises(UserError, match="1 of 10 targets never change: 3"):
        read_all(trials)
    responses = open_folder(trials, flat_targets="drop", rois="rois.csv").responses("sub-01")
    assert responses.n_targets == 9 and int(responses.rois["early"].sum()) == 4
    assert [(row.left_out, row.why) for row in responses.account if row.left_out] == [
        ("1 of 10 targets", "never change: 3")
    ]


def test_story(story):
    dataset = open_folder(story, continuous=True, modality="word")
    check_dataset(dataset)
    responses = dataset.responses("sub-01")
    assert responses.continuous.t_r == 2.0 and responses.stimulus is None
    without_times = open_folder(story, continuous=True, modality="word", design=None, t_r=2.0)
    np.testing.assert_allclose(without_times.responses("sub-01").continuous.row_time, responses.continuous.row_time)


def cut(path, n):
    path.write_bytes(path.read_bytes()[:n])


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def with_nan(root):
    values = np.load(root / "sub-01" / "responses.npy")
    values[4, 2] = np.nan
    np.save(root / "sub-01" / "responses.npy", values)


def other_affine(root):
    image = nibabel.load(root / "sub-01" / "bold.nii.gz")
    moved = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine + np.diag([0.5, 0, 0, 0]))
    nibabel.save(moved, root / "sub-01" / "bold.nii.gz")


def atlas_between(root):
    image = nibabel.load(root / "atlas.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj) * 0.7, image.affine), root / "atlas.nii.gz")


BAD_TRIALS = {
    "no stimuli": (lambda r: (r / "stimuli.csv").unlink(), {}, "stimuli.csv"),
    "empty stimuli": (lambda r: (r / "stimuli.csv").write_text(""), {}, "stimuli.csv"),
    "only a header": (lambda r: (r / "stimuli.csv").write_text("id,path\n"), {}, "stimuli.csv"),
    "no id": (lambda r: edit(r / "stimuli.csv", "id,path", "name,path"), {}, r"stimuli.csv:1 .*no column 'id'"),
    "wrong case": (lambda r: edit(r / "stimuli.csv", "id,path", "ID,path"), {}, "did you mean 'ID'"),
    "id twice": (lambda r: edit(r / "stimuli.csv", "image1,", "image0,"), {}, r"stimuli.csv:3 .*'image0'.*line 2"),
    "image missing": (
        lambda r: (r / "images" / "image2.png").unlink(),
        {},
        r"stimuli.csv:4 .*image2.png: no such file; did you mean 'image",
    ),
    "image cut short": (lambda r: cut(r / "images" / "image2.png", 200), {}, r"stimuli.csv:4 .*image2.png"),
    "not an image": (
        lambda r: (r / "images" / "image2.png").write_text("hello"),
        {},
        r"stimuli.csv:4 .*not an image that can be read",
    ),
    "short row": (lambda r: edit(r / "stimuli.csv", "image3,images/image3.png", "image3"), {}, r"stimuli.csv:5"),
    "unknown stimulus": (
        lambda r: edit(r / "sub-01" / "design.csv", "image3", "imag3"),
        {},
        r"design.csv:\d+ .*'imag3' is not in stimuli.csv; did you mean 'image3'",
    ),
    "no run": (lambda r: edit(r / "sub-01" / "design.csv", ",run", ",block"), {}, "no column 'run'"),
    "empty run": (lambda r: edit(r / "sub-01" / "design.csv", ",run-1", ","), {}, r"design.csv:2 .*'run' is empty"),
    "row too few": (
        lambda r: np.save(r / "sub-01" / "responses.npy", np.ones((17, 10)) * np.arange(17)[:, None] ** 2),
        {},
        "17 rows of responses, .*design.csv has 18 rows",
    ),
    "nan": (with_nan, {}, "responses.npy.*row 4"),
    "pickle": (
        lambda r: np.save(r / "sub-01" / "responses.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True),
        {},
        "pickled Python objects",
    ),
    "complex": (
        lambda r: np.save(r / "sub-01" / "responses.npy", np.ones((18, 10), complex)),
        {},
        "real numbers are needed",
    ),
    "three axes": (
        lambda r: np.save(r / "sub-01" / "responses.npy", np.ones((18, 10, 2))),
        {},
        "a matrix of rows x targets has two",
    ),
    "cut npy": (lambda r: cut(r / "sub-01" / "responses.npy", 100), {}, "not a readable .npy"),
    "archive": (
        lambda r: write_archive(r / "sub-01" / "responses.npy"),
        {},
        r"responses.npy: an archive of arrays \(.npz: a, b\) under the name of an array",
    ),
    "negative shape": (
        lambda r: edit_header(r / "sub-01" / "responses.npy", "(18, 10)", "(18, -1)"),
        {},
        "not a readable .npy",
    ),
    "header that is no Python": (
        lambda r: edit_header(r / "sub-01" / "responses.npy", "{'descr'", "\x11'descr'"),
        {},
        "not a readable .npy",
    ),
    "shape of truths": (
        lambda r: edit_header(r / "sub-01" / "responses.npy", "(18, 10)", "(True, 1)"),
        {},
        "responses.npy",
    ),
    "huge": (lambda r: scale(r / "sub-01" / "responses.npy", 1e155), {}, r"column 0 reaches .*e\+155; 10 of 10 lie"),
    "tiny": (lambda r: scale(r / "sub-01" / "responses.npy", 1e-200), {}, r"column 0 reaches .*e-200; 10 of 10 lie"),
    "no design": (lambda r: (r / "sub-01" / "design.csv").unlink(), {}, "sub-01: sub-01/design.csv is missing"),
    "no responses": (
        lambda r: None,
        {"responses": "{subject}/betas.npy"},
        r"no file matches dataset.responses '\{subject\}/betas.npy'",
    ),
    "roi outside": (
        lambda r: edit(r / "rois.csv", "9,late", "10,late"),
        {"rois": "rois.csv"},
        r"rois.csv:11 .*'10' is not in 0 ... 9",
    ),
    "roi twice": (
        lambda r: edit(r / "rois.csv", "9,late", "8,late"),
        {"rois": "rois.csv"},
        r"rois.csv:11 .*stands already in line 10",
    ),
    "roi called all": (
        lambda r: (r / "rois.csv").write_text("target,roi\n1,all\n"),
        {"rois": "rois.csv"},
        "'all' is the name of the ROI of all targets",
    ),
    "rois missing": (lambda r: None, {"rois": "roi.csv"}, "sub-01: roi.csv is missing"),
    "ncsnr too short": (
        lambda r: np.save(r / "ncsnr.npy", np.ones(9)),
        {"ncsnr": "ncsnr.npy"},
        "9 x 1 values, one for each of 10 targets",
    ),
}


@pytest.mark.parametrize("name", BAD_TRIALS)
def test_bad_trials_are_refused_with_their_place(trials, name):
    spoil, settings, message = BAD_TRIALS[name]
    spoil(trials)
    with pytest.raises(UserError, match=message):
        read_all(trials, **settings)


BAD_VOLUMES = {
    "other affine": (other_affine, {}, "does not lie on the grid of .*mask.nii.gz"),
    "no mask": (lambda r: (r / "mask.nii.gz").unlink(), {}, "mask.nii.gz is missing"),
    "atlas as mask": (lambda r: None, {"mask": "atlas.nii.gz"}, "a mask has one value inside"),
    "image cut short": (lambda r: cut(r / "sub-01" / "bold.nii.gz", 300), {}, "bold.nii.gz"),
    "no label table": (lambda r: (r / "atlas.tsv").unlink(), {}, "no label table beside it"),
    "probabilities": (atlas_between, {}, "lie between labels"),
    "empty region": (
        lambda r: (r / "atlas.tsv").write_text("index\tname\n1\tfront\n2\tback\n7\tV7\n"),
        {},
        "'V7' has no target",
    ),
}


@pytest.mark.parametrize("name", BAD_VOLUMES)
def test_bad_volumes_are_refused_with_their_place(trials, name):
    write_volumes(trials)
    spoil, settings, message = BAD_VOLUMES[name]
    spoil(trials)
    with pytest.raises(UserError, match=message):
        read_all(trials, **{**VOLUMES, **settings})


BAD_STORIES = {
    "no onset": (lambda r: edit(r / "stimuli.csv", "onset", "start"), {}, "no column 'onset'"),
    "onsets fall": (lambda r: edit(r / "stimuli.csv", "w3,word,", "w3,word,9"), {}, r"stimuli.csv:6 .*before the row"),
    "word after the end": (
        lambda r: (r / "stimuli.csv").write_text((r / "stimuli.csv").read_text() + "x,word,500,0.2\n"),
        {},
        "'x' begins at 500 s, but the recording of sub-01 ends at 120 s",
    ),
    "a volume missing": (
        lambda r: edit(r / "sub-01" / "design.csv", "8.0,run-1\n", ""),
        {},
        r"design.csv:6 .*4 s after the row above",
    ),
    "no time": (lambda r: edit(r / "sub-01" / "design.csv", "time", "tyme"), {}, "did you mean 'tyme'"),
    "nuisance too short": (
        lambda r: np.save(r / "sub-01" / "n.npy", np.ones((4, 2))),
        {"nuisance": "{subject}/n.npy"},
        "4 rows, the responses of sub-01 have 60",
    ),
}


@pytest.mark.parametrize("name", BAD_STORIES)
def test_bad_stories_are_refused_with_their_place(story, name):
    spoil, settings, message = BAD_STORIES[name]
    spoil(story)
    with pytest.raises(UserError, match=message):
        read_all(story, continuous=True, modality="word", **settings)


def test_nuisance_of_trials_is_refused_since_nothing_takes_it_out(trials):
    with pytest.raises(ValueError, match="`nuisance` is for `continuous: true`: of trials nothing is taken out"):
        open_folder(trials, nuisance="{subject}/n.npy")


def test_subjects_whose_tables_differ_are_not_averaged(trials):
    with pytest.raises(UserError, match=r"row .* differs from that of sub-01"):
        open_folder(trials, aligned_targets=True)
    (trials / "sub-02" / "design.csv").write_text((trials / "sub-01" / "design.csv").read_text())
    names = [f"area{index}" for index in range(N_TARGETS)]
    for subject, order in (("sub-01", names), ("sub-02", [*names[:7], "area9", "area8", "own"])):
        values = np.load(trials / subject / "responses.npy")
        pd.DataFrame(values, columns=order).to_csv(trials / subject / "responses.csv", index=False)
    read_all(trials, responses="{subject}/responses.csv")  # names decide nothing where no columns are averaged
    with pytest.raises(UserError, match="'area9' is column 8, in the table of sub-01 it is column 10"):
        read_all(trials, responses="{subject}/responses.csv", aligned_targets=True)
