"""`things-fmri`, `things-eeg2` and `bold-moments` on made copies of their layouts."""

import pickle
import shutil

import h5py
import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.recipes.datasets import DATASETS, dataset_settings
from tests.data.picture_copies import write_bold_moments, write_things_eeg, write_things_fmri

SETTINGS = {"things-fmri": {"rois": ["V1", "lLOC"]}, "things-eeg2": {}, "bold-moments": {}}


def opened(name, root, cache=None, **settings):
    given = {"name": name, **SETTINGS[name], **settings}
    return DATASETS.builder(name).open(dataset_settings(given), root, Context(cache=cache))


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    write_things_fmri(root / "things-fmri")
    write_things_eeg(root / "things-eeg2")
    write_bold_moments(root / "bold-moments")
    return root


def brightness(stimuli):
    if stimuli.modality == "clip":
        return np.array([stimuli.load(k).sampled(2).mean() for k in range(len(stimuli))])
    return np.array([stimuli.load(k).mean() for k in range(len(stimuli))])


@pytest.mark.parametrize(
    ("name", "subject", "roi", "other"),
    [("things-fmri", "sub-02", "V1", "lLOC"), ("things-eeg2", "sub-02", "200-300ms", "0-100ms"),
     ("bold-moments", "sub-01", "all", None)],
)  # fmt: skip
def test_every_row_has_the_picture_that_was_shown(name, subject, roi, other, copies, tmp_path):
    dataset = opened(name, copies / name, tmp_path / "cache")
    assert type(dataset).looks_like(copies / name) and dataset.simulated
    check_dataset(dataset)
    stimuli, responses = dataset.stimuli(subject), dataset.responses(subject)
    light = brightness(stimuli)[responses.stimulus]
    r = {k: [np.corrcoef(light, y)[0, 1] for y in responses.data[:, m].T] for k, m in responses.rois.items()}
    assert max(r[roi]) > 0.7 and (other is None or max(np.abs(r[other])) < 0.5)
    test = responses.labels["test_set"] == "test"
    assert not set(responses.stimulus[test]) & set(responses.stimulus[~test]) and 0 < test.sum() < len(test)
    again = opened(name, copies / name, tmp_path / "cache").responses(subject)  # from the cache
    assert again.digest() == responses.digest() == opened(name, copies / name).responses(subject).digest()


def test_things_fmri_is_z_scored_within_sessions_and_knows_its_ceiling(copies):
    dataset = opened("things-fmri", copies / "things-fmri")
    responses = dataset.responses("sub-01")
    for one in ("session01", "session02", "session03"):
        rows = np.char.startswith(responses.run, one)
        np.testing.assert_allclose(responses.data[rows].mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(responses.data[rows].std(axis=0, ddof=1), 1, atol=1e-4)
    assert {name: int(mask.sum()) for name, mask in responses.rois.items()} == {"all": 10, "V1": 6, "lLOC": 4}
    np.testing.assert_allclose(responses.ncsnr[:6] ** 2, 0.4 / 0.6)  # 40 % of the variance of single trials
    repeats = responses.labels["repeat"]
    assert set(repeats[responses.labels["test_set"] == "test"]) == {1, 2, 3}
    assert set(repeats[responses.labels["test_set"] == "train"]) == {1}
    concept = dict(zip(dataset.stimuli("sub-01").ids, dataset.stimuli("sub-01").labels["concept"], strict=True))
    assert concept["thingy1_02b.jpg"] == "thingy1"
    raw = opened("things-fmri", copies / "things-fmri", standardize="none").responses("sub-01")
    assert abs(raw.data[:10].mean() - raw.data[-10:].mean()) > 0.5  # sessions differ in level


def test_things_fmri_reads_both_ways_in_which_pandas_stores_the_table(copies, tmp_path):
    write_things_fmri(tmp_path / "one", own_column=False)
    one = opened("things-fmri", tmp_path / "one").responses("sub-02")
    assert one.digest() == opened("things-fmri", copies / "things-fmri").responses("sub-02").digest()


def test_things_eeg_has_stretches_of_time_as_regions(copies):
    responses = opened("things-eeg2", copies / "things-eeg2").responses("sub-01")
    assert list(responses.rois) == ["all", *(f"{100 * k}-{100 * (k + 1)}ms" for k in range(7))]
    assert responses.data.shape == (40, 3 * 31) and responses.rois["0-100ms"].sum() == 15
    short = opened("things-eeg2", copies / "things-eeg2", tmin=0.1, tmax=0.18, window_s=0.05).responses("sub-01")
    assert {k: int(m.sum()) for k, m in short.rois.items()} == {"all": 15, "100-150ms": 9, "150-200ms": 6}
    with pytest.raises(UserError, match=r"no sample between 2 and 3 s; the recordings have -0\.1 to 0\.68 s"):
        opened("things-eeg2", copies / "things-eeg2", tmin=2, tmax=3).responses("sub-01")


def test_bold_moments_leaves_out_showings_that_were_not_measured(copies):
    responses = opened("bold-moments", copies / "bold-moments").responses("sub-01")
    assert responses.data.shape == (8 * 3 + 3 * 4 - 1, 12)
    assert any("1 of 36 showings left out: no response" in str(row) for row in responses.account)


def repickled(change):
    def apply(path):
        held = pickle.loads(path.read_bytes())
        path.write_bytes(pickle.dumps(change(held), protocol=4))

    return apply


def with_block(values):
    def apply(path):
        with h5py.File(path, "a") as file:
            old = np.asarray(file["ResponseData/block0_values"])
            del file["ResponseData/block0_values"]
            file["ResponseData/block0_values"] = values(old)

    return apply


def other_ids(path):
    with h5py.File(path, "a") as file:
        file["ResponseData/block1_values"][...] = np.asarray(file["ResponseData/block1_values"])[::-1]


def replaced(old, new):
    return lambda path: path.write_text(path.read_text().replace(old, new, 1))


FMRI = "betas_csv/sub-01_{}"
SHOWN, VOXELS = FMRI.format("StimulusMetadata.csv"), FMRI.format("VoxelMetadata.csv")
EEG = "Preprocessed_data_250Hz/sub-01/preprocessed_eeg_{}.npy"
BETAS = "derivatives/versionB/fsaverage/GLM/sub-01/prepared_betas/sub-01_organized_betas_task-{}_hemi-{}_normalized.pkl"


@pytest.mark.parametrize(
    ("name", "path", "apply", "message"),
    [
        ("things-fmri", FMRI.format("ResponseData.h5"), with_block(lambda v: v[:, 2:]), "12 voxels, 21 trials"),
        ("things-fmri", FMRI.format("ResponseData.h5"), other_ids, "not in the order of VoxelMetadata.csv"),
        ("things-fmri", SHOWN, replaced(",train", ",catch"), "'catch'; train and test"),
        ("things-fmri", SHOWN, replaced("13s.jpg", "13s.jpeg"), "images are missing"),
        ("things-fmri", VOXELS, replaced("lLOC", "LOC"), "did you mean 'LOC'"),
        ("things-fmri", VOXELS, replaced(",1,0,", ",2,0,"), "'V1' .* is no region"),
        ("things-fmri", "images/thing0/thing0_01b.jpg", lambda path: path.unlink(), "1 of 15 images are missing"),
        ("things-eeg2", EEG.format("training"), repickled(lambda h: {**h, "ch_names": ["Pz"]}), "1 channels, 40 t"),
        ("things-eeg2", EEG.format("test"), repickled(lambda h: {**h, "times": h["times"] + 1}), "times of train"),
        ("things-eeg2", EEG.format("test"), repickled(lambda h: {"data": 1}), "no 'preprocessed_eeg_data'"),
        ("things-eeg2", EEG.format("test"), repickled(lambda h: print), "asks for builtins.print"),
        ("bold-moments", BETAS.format("test", "left"), repickled(lambda h: (h[0], h[1][:2])), "with 2 names; 3 clips"),
        ("bold-moments", BETAS.format("test", "left"), repickled(lambda h: (h[0], ["vid0001", *h[1][1:]])), "no clip"),
        ("bold-moments", BETAS.format("train", "right"), repickled(lambda h: (h[0], h[1][::-1])), "not in the order"),
        ("bold-moments", "stimuli/train/0003.gif", lambda path: path.unlink(), "1 of 11 clips are missing"),
    ],
)  # fmt: skip
def test_what_differs_is_refused(name, path, apply, message, copies, tmp_path):
    shutil.copytree(copies / name, tmp_path / "copy")
    apply(tmp_path / "copy" / path)
    with pytest.raises(UserError, match=message):
        dataset = opened(name, tmp_path / "copy")
        for subject in dataset.subjects:
            dataset.stimuli(subject), dataset.responses(subject)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("things-fmri", "12 training trials, 3 test pictures in 9 trials; 8640, 100 and 1200 were expected"),
        ("things-eeg2", "10 training pictures, 16540 were expected"),
        ("bold-moments", "1000 clips x 3 showings x 163842 vertices was expected"),
    ],
)
def test_published_counts_are_asserted_where_nothing_says_that_it_is_a_copy(name, message, copies, tmp_path):
    shutil.copytree(copies / name, tmp_path / "copy")
    (tmp_path / "copy" / "synthetic_copy.json").unlink()
    with pytest.raises(UserError, match=message):
        dataset = opened(name, tmp_path / "copy")
        dataset.responses(dataset.subjects[0])
