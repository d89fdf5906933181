"""`nsd` on a synthetic copy of its official layout, and what must be refused."""

import gzip
import json
import shutil

import h5py
import nibabel
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.data.layouts.nsd_files import LABELS, PUBLISHED, read_session
from brainbench.recipes.datasets import DATASETS, NsdSettings
from tests.data.nsd_copy import write_nsd


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return write_nsd(tmp_path_factory.mktemp("nsd") / "nsd")


@pytest.fixture
def own(copy, tmp_path):
    """A copy of the copy that a test may damage."""
    shutil.copytree(copy.root, tmp_path / "nsd")
    return type(copy)(tmp_path / "nsd", copy.latents, copy.shown, copy.signal, copy.mask)


def open_nsd(root, cache=None, **settings):
    settings.setdefault("test_set", "shared1000")
    return DATASETS.builder("nsd").open(NsdSettings(**settings), root, Context(cache=cache))


def r_with_signal(dataset, copy, subject):
    """Mean correlation of the responses with the planted signal of the images that the ids name."""
    stimuli, responses = dataset.stimuli(subject), dataset.responses(subject)
    ids = np.array([int(name.removeprefix("nsd-")) for name in stimuli.ids])[responses.stimulus]
    signal = copy.signal[subject][ids]
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(responses.data.T, signal.T, strict=True)])


def test_keeps_the_contract_and_says_that_it_is_a_copy(copy):
    dataset = open_nsd(copy.root)
    assert dataset.subjects == ["subj01", "subj02"] and dataset.simulated
    facts = check_dataset(dataset)
    assert "90 rows x 103 targets" in facts[0] and "3 runs, 30 image stimuli" in facts[0]
    assert "no brain was measured" in dataset.notes()[0]


@pytest.mark.parametrize("standardize", ["session", "train", "train-images", "none"])
def test_ids_betas_and_images_belong_together(copy, standardize):
    dataset = open_nsd(copy.root, standardize=standardize)
    for subject in dataset.subjects:
        assert r_with_signal(dataset, copy, subject) > 0.8
    stimuli, responses = dataset.stimuli("subj01"), dataset.responses("subj01")
    corner = np.stack([stimuli.load(i)[0, 0] for i in range(len(stimuli))]) / 255
    ids = [int(name.removeprefix("nsd-")) for name in stimuli.ids]
    np.testing.assert_allclose(corner, copy.latents[ids, :3], atol=1 / 255)
    assert responses.stimulus.tolist()[:1] == [0] and responses.stimulus.max() == len(stimuli) - 1


def test_a_design_that_is_off_by_one_loses_the_signal(own):
    path = own.root / "nsddata/experiments/nsd/nsd_expdesign.mat"
    design = {name: loadmat(path)[name] for name in ("masterordering", "subjectim", "sharedix")}
    n = len(own.latents)
    shifted = {name: design[name] % n + 1 for name in ("subjectim", "sharedix")}
    savemat(path, {**design, **shifted})
    with pytest.raises(UserError, match="shared images are not those of"):
        open_nsd(own.root)
    (own.root / "nsddata/experiments/nsd/nsd_stim_info_merged.csv").unlink()
    assert abs(r_with_signal(open_nsd(own.root), own, "subj01")) < 0.3


def test_units_and_scaling(copy):
    raw = open_nsd(copy.root, standardize="none").responses("subj01")
    image = np.asarray(nibabel.load(copy.beta_file("subj01", 2)).dataobj)
    assert image.dtype == np.int16
    np.testing.assert_allclose(raw.data[30:60], image[copy.mask["subj01"]].T / 300, rtol=1e-6)
    session = open_nsd(copy.root).responses("subj01")
    for name in np.unique(session.run):
        rows = session.data[session.run == name]
        np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(rows.std(axis=0, ddof=1), 1, atol=1e-5)
    train = open_nsd(copy.root, standardize="train").responses("subj01")
    rows = train.labels["test_set"] == "train"
    np.testing.assert_allclose(train.data[rows].mean(axis=0), 0, atol=1e-5)
    assert np.abs(train.data[~rows].mean(axis=0)).max() > 0.05  # the test set had no say
    images = open_nsd(copy.root, standardize="train-images").responses("subj01")
    means = [images.data[images.stimulus == image].mean(axis=0) for image in np.unique(images.stimulus[rows])]
    np.testing.assert_allclose(np.mean(means, axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(means, axis=0, ddof=1), 1, atol=1e-5)


def test_voxels_outside_of_the_mask_are_never_read(copy):
    responses = open_nsd(copy.root, standardize="none").responses("subj01")
    assert np.abs(responses.data).max() < 20  # the others hold numbers up to 107
    image = responses.masker.inverse_transform(responses.data[0])
    back = np.asarray(image.dataobj)[copy.mask["subj01"]]
    np.testing.assert_allclose(back, responses.data[0], rtol=1e-6)


def test_two_test_sets_that_are_not_the_same(copy):
    first, whole = open_nsd(copy.root, test_set="shared982"), open_nsd(copy.root)
    a, b = first.responses("subj01"), whole.responses("subj01")
    assert len(np.unique(a.run)) == 2 and len(np.unique(b.run)) == 3
    assert set(a.labels["test_set"]) == {"train", "shared982"} and set(b.labels["test_set"]) == {"train", "shared1000"}
    n_test = [len(np.unique(one.stimulus[one.labels["test_set"] != "train"])) for one in (a, b)]
    assert n_test == [5, 6]  # one shared image is shown after the first sessions only
    same = [set(np.array(one.stimuli(subject).ids)[one.stimuli(subject).labels["test_set"] != "train"])
            for one in (whole,) for subject in ("subj01", "subj02")]  # fmt: skip
    assert same[0] == same[1]
    assert "5 images in" in " ".join(a.notes)


def test_repeats_share_an_id_and_are_counted(copy):
    responses = open_nsd(copy.root).responses("subj02")
    for image in np.unique(responses.stimulus):
        assert responses.labels["repeat"][responses.stimulus == image].tolist() == [1, 2, 3]
    assert responses.labels["test_set"].dtype.kind == "U"


def test_predefined_folds_test_the_test_set_alone(copy):
    from brainbench.evaluation.splitters import make_splitter

    responses = open_nsd(copy.root).responses("subj01")
    splitter = make_splitter(["stimulus"], scheme="predefined", predefined=responses.labels["test_set"])
    folds = list(splitter.split(stimulus=responses.stimulus, run=responses.run))
    assert len(folds) == 1
    train, test = folds[0]
    assert not set(responses.stimulus[train]) & set(responses.stimulus[test])
    assert len(test) == 18 and len(train) == 72


def test_rois_come_from_their_own_files(copy):
    responses = open_nsd(copy.root).responses("subj01")
    inside = copy.mask["subj01"]
    visual = np.asarray(nibabel.load(copy.roi_file("subj01", "prf-visualrois")).dataobj)[inside]
    faces = np.asarray(nibabel.load(copy.roi_file("subj01", "floc-faces")).dataobj)[inside]
    rois = responses.rois
    assert np.array_equal(rois["V1"], (visual == 1) | (visual == 2)) and np.array_equal(rois["hV4"], visual == 7)
    assert np.array_equal(rois["FFA-1"], faces == 2) and not np.array_equal(rois["V1v"], rois["OFA"])
    assert np.array_equal(rois["floc-faces"], faces > 0) and rois["all"].all()
    names = {label for labels in LABELS.values() for label in labels.values()}
    assert names <= set(rois)
    few = open_nsd(copy.root, rois=["prf-visualrois"]).responses("subj01").rois
    assert "OFA" not in few and "V2" in few


def test_labels_of_the_table_stand_before_the_published_ones(own):
    table = own.root / "nsddata/freesurfer/subj01/label/floc-places.mgz.ctab"
    table.write_text("0 Unknown\n1 elsewhere\n3 RSC\n")
    rois = open_nsd(own.root).responses("subj01").rois
    assert "elsewhere" in rois and "floc-places-2" in rois and "OPA" not in rois
    table.write_text("0 Unknown\none OPA\n")
    with pytest.raises(UserError, match=r"ctab:2 .*a number and a name"):
        open_nsd(own.root).responses("subj01")


def test_ncsnr_and_captions(copy, own):
    dataset = open_nsd(copy.root)
    responses, stimuli = dataset.responses("subj01"), dataset.stimuli("subj01")
    np.testing.assert_allclose(responses.ncsnr, copy.signal["subj01"].std(axis=0) / 0.5, rtol=1e-5)
    assert [len(texts) for texts in stimuli.captions[:9]] == [1 + int(name[4:]) % 5 for name in stimuli.ids[:9]]
    assert all(text.startswith("a ") for texts in stimuli.captions for text in texts)
    assert stimuli.labels["coco_id"][0] == 100_000 + 7 * int(stimuli.ids[0][4:])
    (own.root / "COCO_73k_annots_curated.npy").unlink()
    own.beta_file("subj01", 1).with_name("ncsnr.nii.gz").unlink()
    without = open_nsd(own.root)
    assert without.stimuli("subj01").captions is None and without.responses("subj01").ncsnr is None
    assert any("no captions" in note for note in without.notes())
    with pytest.raises(UserError, match=r"dataset.captions: .*mine.npy does not exist"):
        open_nsd(own.root, captions="mine.npy")
    np.save(own.root / "COCO_73k_annots_curated.npy", np.array([["a"], [None]], dtype=object))
    with pytest.raises(UserError, match="pickle"):
        open_nsd(own.root).stimuli("subj01")


def test_hdf5_equals_nifti(tmp_path, copy):
    other = write_nsd(tmp_path / "nsd", betas="hdf5")
    a, b = open_nsd(copy.root), open_nsd(other.root)
    assert other.beta_file("subj01", 1, "hdf5").is_file()
    for subject in a.subjects:
        assert a.responses(subject).digest() == b.responses(subject).digest()


def test_chunks_do_not_matter(copy):
    from brainbench.data.images import read_mask

    path = copy.roi_file("subj01", "nsdgeneral")
    one, many = (
        read_session(copy.beta_file("subj01", 1), read_mask(path), path, 30, chunk=chunk) for chunk in (7, 100)
    )
    assert np.array_equal(one, many) and one.dtype == np.float32


def test_the_cache_holds_betas_and_a_damaged_entry_is_read_again(copy, tmp_path, monkeypatch):
    import brainbench.data.layouts.nsd as nsd

    first = open_nsd(copy.root, tmp_path).responses("subj01").digest()
    assert len(list((tmp_path / "betas").iterdir())) == 3

    def refuse(*args, **options):
        raise AssertionError("betas were read again")

    original = nsd.read_session
    monkeypatch.setattr(nsd, "read_session", refuse)
    assert open_nsd(copy.root, tmp_path).responses("subj01").digest() == first
    entry = next(iter((tmp_path / "betas").iterdir()))
    (entry / "betas.npy").write_bytes(b"cut short")
    monkeypatch.setattr(nsd, "read_session", original)
    with pytest.warns(UserWarning, match="damaged"):
        assert open_nsd(copy.root, tmp_path).responses("subj01").digest() == first


def test_missing_sessions(own):
    own.beta_file("subj01", 2).unlink()
    with pytest.raises(UserError, match="no betas of session 2") as error:
        open_nsd(own.root).responses("subj01")
    assert "missing_sessions: skip" in str(error.value)
    skipped = open_nsd(own.root, missing_sessions="skip")
    check_dataset(skipped, ["subj01"])
    responses = skipped.responses("subj01")
    assert np.unique(responses.run).tolist() == ["session01", "session03"] and len(responses.data) == 60
    assert r_with_signal(skipped, own, "subj01") > 0.8  # trials of the third session are still its own
    assert any("session 2" in note for note in responses.notes)
    assert len(open_nsd(own.root, sessions=1).responses("subj01").data) == 30
    with pytest.raises(UserError, match="subj02 has 3"):
        open_nsd(own.root, sessions=4).responses("subj02")


def test_voxels_that_do_not_change(own):
    dead, silent = np.argwhere(own.mask["subj01"])[[0, 5]]
    for session in (1, 2, 3):
        path = own.beta_file("subj01", session)
        values = np.asarray(nibabel.load(path).dataobj).copy()
        values[tuple(dead)] = 7
        if session == 2:
            values[tuple(silent)] = 0
        nibabel.save(nibabel.Nifti1Image(values, nibabel.load(path).affine), path)
    dataset = open_nsd(own.root)
    check_dataset(dataset, ["subj01"])
    responses = dataset.responses("subj01")
    assert responses.n_targets == 102 and responses.account[-1].left_out == "1 of 103 voxels"
    assert (responses.data[30:60, 4] == 0).all() and responses.data[:30, 4].std() > 0.5  # the first one is gone
    assert responses.masker.inverse_transform(responses.data[0]).shape == own.mask["subj01"].shape


def change_mask(copy):
    path = copy.roi_file("subj01", "nsdgeneral")
    image = nibabel.load(path)
    values = np.asarray(image.dataobj).copy()
    values[tuple(np.argwhere(values == 1)[0])] = 0
    nibabel.save(nibabel.Nifti1Image(values, image.affine), path)


def change_dtype(copy):
    path = copy.beta_file("subj01", 1)
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj, dtype=np.float32) / 300, image.affine), path)


def drop_a_trial(copy):
    path = copy.beta_file("subj01", 1)
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[..., :-1], image.affine), path)


def cut_betas(copy):
    path = copy.beta_file("subj01", 1)
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw)[:-2000])


def move_grid(copy):
    path = copy.beta_file("subj01", 1)
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), np.diag([2.0, 2, 2, 1])), path)


def count_from_zero(copy):
    path = copy.root / "nsddata/experiments/nsd/nsd_expdesign.mat"
    stored = loadmat(path)
    savemat(path, {name: stored[name] - 1 for name in ("masterordering", "subjectim", "sharedix")})


def lose_a_variable(copy):
    path = copy.root / "nsddata/experiments/nsd/nsd_expdesign.mat"
    savemat(path, {"subjectim": loadmat(path)["subjectim"]})


def corrupt_design(copy):
    (copy.root / "nsddata/experiments/nsd/nsd_expdesign.mat").write_bytes(b"MATLAB 5.0" + bytes(300))


def corrupt_images(copy):
    path = copy.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
    path.write_bytes(path.read_bytes()[:5000])


def float_images(copy):
    with h5py.File(copy.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", "w") as file:
        file["imgBrick"] = np.zeros((3, 4, 4, 3), np.float32)


def other_name(copy):
    with h5py.File(copy.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", "w") as file:
        file["images"] = np.zeros((3, 4, 4, 3), np.uint8)


def lose_a_roi(copy):
    copy.roi_file("subj01", "floc-words").unlink()


def forget_the_declaration(copy):
    (copy.root / "synthetic_copy.json").unlink()


def forget_a_participant(copy):
    path = copy.root / "synthetic_copy.json"
    declared = json.loads(path.read_text())
    path.write_text(json.dumps({**declared, "voxels": {"subj02": 94}}))


def lose_the_betas(copy):
    for folder in copy.root.glob("nsddata_betas/ppdata/*/func1pt8mm/betas_fithrf_GLMdenoise_RR"):
        folder.rename(folder.with_name("betas_fithrf"))


def damage_the_declaration(copy):
    (copy.root / "synthetic_copy.json").write_text(json.dumps({"voxels": {"subj01": 1}}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_mask, "102 voxels above 0, synthetic_copy.json declares 103"),
        (change_dtype, "betas are float32, int16 of percent signal change times 300"),
        (drop_a_trial, "29 trials, the design has 30"),
        (cut_betas, "not a readable image, or cut short"),
        (move_grid, "does not lie on the grid"),
        (count_from_zero, "'masterordering' runs from 0 to 29, it must lie in 1 to 30"),
        (lose_a_variable, "no variable masterordering, sharedix"),
        (corrupt_design, "not a readable .mat file"),
        (corrupt_images, "not a readable HDF5 file, or cut short"),
        (float_images, "'imgBrick' is float32"),
        (other_name, "no data set 'imgBrick'; it has images"),
        (lose_a_roi, "dataset.rois: .*floc-words.nii.gz does not exist"),
        (forget_the_declaration, "198 images, the data set has 73000"),
        (forget_a_participant, "synthetic_copy.json: says nothing of subj01"),
        (lose_the_betas, "no participant has a folder 'betas_fithrf_GLMdenoise_RR'"),
        (damage_the_declaration, "synthetic_copy.json: not readable"),
    ],
)
def test_what_is_wrong_is_named(own, damage, message):
    damage(own)
    with pytest.raises(UserError, match=message):
        check_dataset(open_nsd(own.root), open_nsd(own.root).subjects[:1])


def test_published_numbers_stand():
    assert sum(PUBLISHED.voxels.values()) == 116_395 and PUBLISHED.voxels["subj01"] == 15_724
    assert sum(PUBLISHED.sessions.values()) * PUBLISHED.trials == 213_000
