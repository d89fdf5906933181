"""Two files or labels of one name: nobody knows which is meant, and the last was taken without a word."""

from __future__ import annotations

import shutil

import nibabel
import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.core.files import by_name
from brainbench.data.base import Context
from brainbench.data.layouts.nsd_files import read_labels, read_rois
from brainbench.data.textgrid import read_intervals
from brainbench.recipes.datasets import DATASETS, dataset_settings
from tests.data.bold5000_copy import write_bold5000
from tests.data.picture_copies import write_bold_moments, write_things_eeg
from tests.data.story_copies import write_little_prince
from tests.sweeps.made_folders import write_haxby


def opened(name, root, **settings):
    return DATASETS.builder(name).open(dataset_settings({"name": name, **settings}), root, Context())


def test_files_of_one_name_are_refused_with_both(tmp_path):
    paths = [tmp_path / name for name in ("a-1", "b-1", "a-2")]
    assert list(by_name(paths, lambda path: path.name, "file")) == ["a-1", "b-1", "a-2"]
    with pytest.raises(UserError, match=r"a-1 and .*b-1 are both run '1'"):
        by_name(paths, lambda path: path.name[2:], "run")


def test_clips_of_one_number(tmp_path):
    write_bold_moments(tmp_path)
    shutil.copy(tmp_path / "stimuli/train/0002.gif", tmp_path / "stimuli/test/2.gif")
    with pytest.raises(UserError, match=r"2\.gif and .*2\.gif are both clip 'vid0002'"):
        opened("bold-moments", tmp_path).stimuli("sub-01")


def test_a_picture_in_two_collections(tmp_path):
    copy = write_bold5000(tmp_path / "bold5000")
    folder = copy.root / "BOLD5000_Stimuli/Scene_Stimuli/Presented_Stimuli"
    for place in ("COCO", "Scene"):
        (folder / place / ".DS_Store").write_text("")  # no picture
    opened("bold5000", copy.root)
    first = sorted((folder / "COCO").glob("[!.]*"))[0]
    shutil.copy(first, folder / "Scene" / first.name)
    with pytest.raises(UserError, match=f"are both picture '{first.name}'"):
        opened("bold5000", copy.root)


def test_runs_of_one_number(tmp_path):
    write_little_prince(tmp_path)
    func = tmp_path / "derivatives/sub-EN057/func"
    old = sorted(func.iterdir())[0]
    shutil.copy(old, func / old.name.replace("run-15", "run-015"))
    with pytest.raises(UserError, match="are both sub-EN057's run '15'"):
        opened("little-prince", tmp_path)


def test_masks_of_several_grids_have_one_name_and_that_of_the_recording_is_taken(tmp_path):
    write_haxby(root := tmp_path)
    dataset = opened("haxby2001", root)
    subject = dataset.subjects[0]
    before = dataset.responses(subject)
    image = nibabel.load(next(root.glob("sub*/BOLD/*/bold*.nii.gz")))
    shape = image.shape[:3]
    values = np.zeros(shape, np.uint8)
    values.ravel()[::3] = 1
    for folder, affine in (("1", image.affine), ("2", image.affine * 2)):
        (root / subject / "masks" / folder).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(values, affine), root / subject / "masks" / folder / "hoc.nii.gz")
    found = opened("haxby2001", root).responses(subject)
    assert set(found.rois) - set(before.rois) == {"hoc"}
    assert not any("no ROI" in note and "hoc" in note for note in found.notes)
    (root / subject / "masks" / "3").mkdir()
    shutil.copy(root / subject / "masks/1/hoc.nii.gz", root / subject / "masks/3/hoc.nii.gz")
    with pytest.raises(UserError, match="are both mask 'hoc'"):
        opened("haxby2001", root).responses(subject)


def test_labels_of_one_name_or_number(tmp_path):
    table = tmp_path / "rois.ctab"
    for lines in ("1 V1\n1 V2", "1 V1\n2 V1"):
        table.write_text(lines)
        with pytest.raises(UserError, match=r":2  label \d or its name 'V\d' is there twice"):
            read_labels(table, "rois")
    image = nibabel.Nifti1Image(np.array([[[0, 1, 2]]], np.int16), np.eye(4))
    mask = nibabel.Nifti1Image(np.ones((1, 1, 3), np.uint8), np.eye(4))
    nibabel.save(image, tmp_path / "area.nii.gz")
    with pytest.raises(UserError, match="one of several labels is called 'area'"):
        read_rois(tmp_path / "area.nii.gz", {1: "area", 2: "other"}, mask, tmp_path / "mask.nii.gz")
    found = read_rois(tmp_path / "area.nii.gz", {1: "one", 2: "other"}, mask, tmp_path / "mask.nii.gz")
    assert found["area"].tolist() == [False, True, True]


def test_pictures_listed_twice(tmp_path):
    write_things_eeg(tmp_path)
    path = tmp_path / "image_set/image_metadata.npy"
    meta = np.load(path, allow_pickle=True).item()  # the official file is a dictionary, of our own making here
    meta["train_img_files"][3] = meta["train_img_files"][0]
    np.save(path, meta)
    with pytest.raises(UserError, match=r"'thing0_00b\.jpg' is there twice among the training pictures"):
        opened("things-eeg2", tmp_path).stimuli("sub-01")


def test_tiers_of_one_name(tmp_path):
    path = tmp_path / "a.TextGrid"
    tier = ['"IntervalTier"', '"word"', "0", "1", "1", "0", "1", '"a"']
    path.write_text("\n".join(['File type = "ooTextFile"', "x", "", "0", "9", "<exists>", "2", *tier, *tier]))
    with pytest.raises(UserError, match="2 interval tiers are called 'word'"):
        read_intervals(path, "word")
    assert [one.text for one in read_intervals(path, 1)] == ["a"]
