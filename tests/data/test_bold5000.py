"""`bold5000` on synthetic copies of both releases' layouts."""

import json
import shutil

import nibabel
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.data.layouts.bold5000 import PUBLISHED, ROIS
from brainbench.recipes.datasets import DATASETS, Bold5000Settings
from tests.data.bold5000_copy import write_bold5000

VOLUMES = {"release": 2, "mask": "masks/{subject}.nii.gz"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return write_bold5000(tmp_path_factory.mktemp("bold5000") / "bold5000")


@pytest.fixture
def own(copy, tmp_path):
    shutil.copytree(copy.root, tmp_path / "bold5000")
    return type(copy)(
        tmp_path / "bold5000", copy.names, copy.latents, copy.repeated, copy.shown, copy.signal, copy.volume_signal
    )


def open_bold5000(root, **settings):
    return DATASETS.builder("bold5000").open(Bold5000Settings(**settings), root, Context())


def r_with_signal(dataset, copy, subject, signal):
    stimuli, responses = dataset.stimuli(subject), dataset.responses(subject)
    images = np.array([copy.names.index(name) for name in stimuli.ids])[responses.stimulus]
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(responses.data.T, signal[images].T, strict=True)])


@pytest.mark.parametrize("settings", [{"release": 1}, {"release": 2}, VOLUMES])
def test_keeps_the_contract_and_finds_the_signal(copy, settings):
    dataset = open_bold5000(copy.root, **settings)
    assert dataset.subjects == ["CSI1", "CSI2"] and dataset.simulated
    facts = check_dataset(dataset)
    assert "80 rows" in facts[0] and "8 runs, 62 image stimuli" in facts[0]
    for subject in dataset.subjects:
        packed = np.concatenate([copy.signal[subject][name] for name in ROIS], axis=1)
        planted = copy.volume_signal[subject] if "mask" in settings else packed
        assert r_with_signal(dataset, copy, subject, planted) > 0.8


def test_repeats_share_an_id_and_make_the_test_set(copy):
    dataset = open_bold5000(copy.root)
    stimuli, responses = dataset.stimuli("CSI1"), dataset.responses("CSI1")
    assert not any(name.startswith("rep_") for name in stimuli.ids)
    test = responses.labels["test_set"] == "repeated113"
    assert {stimuli.ids[i] for i in responses.stimulus[test]} == {copy.names[i] for i in copy.repeated}
    assert test.sum() == 24 and not set(responses.stimulus[test]) & set(responses.stimulus[~test])
    assert sorted(responses.labels["repeat"][test]) == sorted([1, 2, 3, 4] * 6)
    assert set(stimuli.labels["collection"]) == {"COCO", "ImageNet", "Scene"}


def test_the_test_set_without_its_list_is_what_was_repeated(own):
    (own.root / "BOLD5000_Stimuli/Scene_Stimuli/repeated_stimuli_113_list.txt").unlink()
    a, b = open_bold5000(own.root).responses("CSI1"), "is not there"
    assert (a.labels["test_set"] == "repeated113").sum() == 24 and any(b in note for note in a.notes)


def test_sessions_are_standardized_and_rois_are_where_they_belong(copy):
    dataset = open_bold5000(copy.root)
    responses = dataset.responses("CSI1")
    session = np.array([name.partition("_")[0] for name in responses.run])
    assert [int((session == name).sum()) for name in np.unique(session)] == [30, 20, 30]
    for name in np.unique(session):
        np.testing.assert_allclose(responses.data[session == name].mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(responses.data[session == name].std(axis=0, ddof=1), 1, atol=1e-5)
    raw = open_bold5000(copy.root, standardize="none").responses("CSI1")
    for roi in ROIS:
        np.testing.assert_array_equal(raw.data[:, raw.rois[roi]], np.load(copy.packed("CSI1", roi)))
    assert np.array_equal(raw.rois["PPA"], raw.rois["LHPPA"] | raw.rois["RHPPA"])


def test_h5_equals_mat_and_other_volumes_are_others(own):
    mat = open_bold5000(own.root, release=1).responses("CSI1").digest()
    own.release_1("CSI1").unlink()
    assert open_bold5000(own.root, release=1).responses("CSI1").digest() == mat
    early = open_bold5000(own.root, release=1, response="TR1")
    planted = np.concatenate([own.signal["CSI1"][name] for name in ROIS], axis=1)
    assert abs(r_with_signal(early, own, "CSI1", planted)) < 0.2


def test_release_1_alone_knows_runs_but_no_sessions(own):
    shutil.rmtree(own.root / "BOLD5000_Stimuli" / "Stimuli_Presentation_Lists")
    with pytest.raises(UserError, match="'session' needs the lists of the runs") as error:
        open_bold5000(own.root, release=1).responses("CSI1")
    assert "standardize: run" in str(error.value)
    dataset = open_bold5000(own.root, release=1, standardize="run")
    check_dataset(dataset)
    assert len(np.unique(dataset.responses("CSI1").run)) == 8


def lose_a_roi(copy):
    copy.packed("CSI1", "LHLOC").unlink()


def lose_an_image(copy):
    next(copy.root.rglob(copy.names[0])).unlink()


def lose_a_trial(copy):
    path = copy.packed("CSI1", "LHLOC")
    for roi in ROIS:
        path = copy.packed("CSI1", roi)
        np.save(path, np.load(path)[:-1])


def shorten_a_list(copy):
    path = copy.lists("CSI1") / "CSI1_sess02" / "CSI_sess02_run01.txt"
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")


def swap_two_trials(copy):
    path = copy.lists("CSI1") / "CSI1_imgnames.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")


def spoil_a_value(copy):
    values = np.load(copy.packed("CSI1", "RHRSC"))
    values[3, 2] = np.nan
    np.save(copy.packed("CSI1", "RHRSC"), values)


def shorten_the_whole_list(copy):
    path = copy.lists("CSI1") / "CSI1_imgnames.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def pickle_it(copy):
    np.save(copy.packed("CSI1", "RHRSC"), np.array([{}], dtype=object))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_a_roi, "no CSI1_.*_allses_LHLOC.npy"),
        (lose_an_image, "which is not among the 61 images"),
        (lose_a_trial, "79 rows of responses, the lists show 80 trials"),
        (shorten_a_list, "79 trials of CSI1, 80 were expected"),
        (shorten_the_whole_list, r"CSI1_imgnames.txt: 79 trials, the lists of the runs in .* have 80"),
        (swap_two_trials, r"CSI1_imgnames.txt:1  differs from the lists of the runs"),
        (spoil_a_value, "trial 3, voxel 2: nan"),
        (pickle_it, "pickle"),
    ],
)
def test_what_is_wrong_is_named(own, damage, message):
    damage(own)
    with pytest.raises(UserError, match=message):
        check_dataset(open_bold5000(own.root), ["CSI1"])


def test_release_1_voxels_are_counted(own):
    path = own.release_1("CSI1")
    stored = {name: loadmat(path)[name] for name in ROIS}
    savemat(path, {**stored, "LHOPA": stored["LHOPA"][:, 1:]})
    with pytest.raises(UserError, match=r"'LHOPA' is \(80, 7\), 8 voxels were expected"):
        open_bold5000(own.root, release=1).responses("CSI1")
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"not a readable .mat file"):
        open_bold5000(own.root, release=1).responses("CSI1")


def test_published_numbers_stand():
    csi1, csi4 = PUBLISHED["CSI1"], PUBLISHED["CSI4"]
    assert (csi1.trials, csi4.trials) == (5254, 3108) and csi1.trials % 37 == csi4.trials % 37 == 0
    assert csi1.voxels["LHPPA"] == 131 and csi1.voxels["RHRSC"] == 143 and csi4.voxels["RHEarlyVis"] == 356


def test_voxels_that_a_session_did_not_estimate_are_left_out_and_counted(own):
    whole = open_bold5000(own.root, **VOLUMES).responses("CSI1")
    path = sorted(own.root.rglob("CSI1_*ses-02.nii.gz"))[0]
    image = nibabel.load(path)
    values = image.get_fdata(dtype=np.float32)
    inside = np.argwhere(np.asarray(nibabel.load(own.root / "masks" / "CSI1.nii.gz").dataobj) > 0)
    values[tuple(inside[0])] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, image.affine), path)
    responses = open_bold5000(own.root, **VOLUMES).responses("CSI1")
    np.testing.assert_array_equal(responses.data, whole.data[:, 1:])
    left = [(row.left_out, row.why) for row in responses.account if row.left_out]
    assert left == [(f"1 of {whole.n_targets} voxels", "not estimated in every session: NaN")]
    check_dataset(open_bold5000(own.root, **VOLUMES))


def test_pictures_have_captions_names_of_classes_or_of_scenes(copy):
    dataset = open_bold5000(copy.root, captions="captions.json")
    check_dataset(dataset)
    stimuli = dataset.stimuli("CSI1")
    texts = dict(zip(stimuli.ids, stimuli.captions, strict=True))
    for index, name in enumerate(copy.names[:9]):
        known = ((f"thing {index}", "another text"), (f"tench{index:02d}, Tinca tinca",), ("scene",))[index % 3]
        assert len(texts[name]) == len(known) and texts[name][0].endswith(known[0])
    assert "texts of 62 of 62 pictures: 21 captions, 21 names of classes, 20 names of scenes" in dataset.notes()[1]
    view = stimuli.seen_by(("text",))
    assert view.modality == "text" and view.load(0) == stimuli.captions[0][0]
    assert stimuli.digest() != open_bold5000(copy.root).stimuli("CSI1").digest()


def test_captions_that_cannot_be_read_are_refused(own):
    without = open_bold5000(own.root)  # names of classes and scenes alone
    assert "41 pictures" in without.notes()[1].replace("41 of 62 pictures", "41 pictures")
    with pytest.raises(UserError, match="has no caption"):
        without.stimuli("CSI1").seen_by(("text",))
    for text, message in (("[1, 2]", "not readable"), ('{"a.jpg": "one"}', "a list of texts"), ("{", "not readable")):
        (own.root / "captions.json").write_text(text)
        with pytest.raises(UserError, match=message):
            open_bold5000(own.root, captions="captions.json")
    with pytest.raises(UserError, match=r"captions: .*none.json does not exist"):
        open_bold5000(own.root, captions="none.json")
    coco = {
        "images": [{"id": 7, "file_name": own.names[0]}],
        "annotations": [{"image_id": 7, "caption": " one "}, {"image_id": 7, "caption": "two"}],
    }
    (own.root / "captions.json").write_text(json.dumps(coco))
    stimuli = open_bold5000(own.root, captions="captions.json").stimuli("CSI1")
    assert stimuli.captions[stimuli.ids.index(own.names[0])] == ("one", "two")


def test_the_papers_response_is_the_mean_of_six_files(own):
    paper = open_bold5000(own.root, release=1, response="paper", standardize="none").responses("CSI1")
    each = [
        open_bold5000(own.root, release=1, response=one, standardize="none").responses("CSI1").data
        for one in ("TR1", "TR2", "TR3", "TR34", "TR4", "TR5")
    ]
    np.testing.assert_allclose(paper.data, np.mean(each, axis=0), atol=1e-5)
    own.release_1("CSI2", "TR5").unlink()
    assert open_bold5000(own.root, release=1, response="paper").subjects == ["CSI1"]
    with pytest.raises(ValueError, match="`response: paper` is of the volumes of `release: 1`"):
        Bold5000Settings(response="paper")
