"""Loaders of published data sets: on the real recordings where they are, and on small copies of their layouts."""

import shutil

import nibabel
import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.data.roots import resolve_root
from brainbench.recipes.datasets import DATASETS, dataset_settings


def open_real(name, root, **settings):
    path, _ = resolve_root(name, str(root))
    return DATASETS.builder(name).open(dataset_settings({"name": name, **settings}), path, Context())


def test_alice(real_data):
    dataset = open_real("alice", real_data)
    check_dataset(dataset)
    assert len(dataset.subjects) == 18 and "s33" not in dataset.subjects
    assert any("s33" in note and "flat" in note for note in dataset.notes())
    responses, words = dataset.responses("s18"), dataset.stimuli("s18")
    assert responses.data.shape == (362, 6)
    assert list(responses.rois) == ["LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG"]
    # Ten volumes were dropped: the first row is 20 s into the story.
    assert responses.continuous.row_time[:2].tolist() == [20.0, 22.0]
    said = [words.load(i) for i in range(len(words))]
    assert len(words) == 2127 and "sp" not in said
    assert said.count("size") == 2 and said.count("name") == 1  # which the format of the file says too
    assert (
        open_real("alice", real_data, subjects=["18"]).files()
        == open_real("alice", real_data, subjects=["s18"]).files()
    )
    with pytest.raises(UserError, match=r"s33 is left out: .* flat"):
        open_real("alice", real_data, subjects=["s33"])


def test_alice_without_motion_is_refused_by_name(real_data, tmp_path):
    root = tmp_path / "alice"
    shutil.copytree(real_data / "alice", root)
    for path in (root / "alice_data_shared").glob("s18-rp_*.txt"):
        path.unlink()
    with pytest.raises(UserError, match="s18 has no motion parameters"):
        check_dataset(open_real("alice", root))


@pytest.mark.parametrize(
    ("line", "message"), [("1.0 2.0 oops 3 4 5", "not a row of numbers"), ("1 2", "2 values"), ("1_5 2 3 4 5 6", "1_5")]
)
def test_alice_names_the_line_that_is_wrong(real_data, tmp_path, line, message):
    root = tmp_path / "alice"
    shutil.copytree(real_data / "alice", root)
    path = next((root / "alice_data_shared" / "10mm").glob("s18-*.txt"))
    lines = path.read_text().splitlines()
    lines[6] = line
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=rf"s18-timecourses.txt:7: .*{message}"):
        open_real("alice", root)


def test_haxby(real_data):
    dataset = open_real("haxby2001", real_data)
    check_dataset(dataset)
    responses = dataset.responses(dataset.subjects[0])
    assert responses.data.shape == (72, 530)
    labels, runs = responses.labels["category"], responses.run
    assert len(set(labels)) == 8 and all((labels[runs == run] == "face").sum() == 1 for run in set(runs))
    image = responses.masker.inverse_transform(responses.data[0])
    assert image.shape[:3] == (40, 20, 1)


def test_haxby_in_nilearns_layout(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "haxby2001" / "subj1"
    folder.mkdir(parents=True)
    names, runs, block = ["face", "house", "cat"], 2, 9
    rows, column = [], []
    for run in range(runs):
        for name in rng.permutation(names):
            rows += [("rest", run)] * 5 + [(name, run)] * block
        rows += [("rest", run)] * 5
    (folder / "labels.txt").write_text("labels chunks\n" + "\n".join(f"{name} {run}" for name, run in rows) + "\n")
    column = np.array([names.index(name) if name != "rest" else -1 for name, _ in rows])
    data = rng.normal(size=(4, 4, 3, len(rows))).astype(np.float32)
    for index in range(3):
        data[index, 0, 0, column == index] += 20
    affine = np.diag([3.5, 3.75, 3.75, 1])
    nibabel.save(nibabel.Nifti1Image(data, affine), folder / "bold.nii.gz")
    mask = np.zeros((4, 4, 3), np.uint8)
    mask[:3, :2] = 1
    nibabel.save(nibabel.Nifti1Image(mask, affine), folder / "mask4_vt.nii.gz")
    dataset = open_real("haxby2001", tmp_path, image="bold", mask="mask4_vt")
    check_dataset(dataset)
    responses = dataset.responses("subj1")
    assert responses.data.shape == (6, 18)
    where = np.flatnonzero(mask[mask > 0].astype(bool))
    assert len(where) == 18
    for index, name in enumerate(names):
        voxel = int(np.flatnonzero((np.argwhere(mask > 0) == [index, 0, 0]).all(axis=1))[0])
        in_class = responses.data[responses.labels["category"] == name, voxel]
        assert in_class.min() > responses.data[responses.labels["category"] != name, voxel].max()
    (folder / "labels.txt").write_text("labels chunks\nface 0\n")
    with pytest.raises(UserError, match=r"1 rows, bold.nii.gz has \d+ volumes"):
        open_real("haxby2001", tmp_path, image="bold").responses("subj1")


def test_haxby_unknown_mask_is_named(real_data):
    with pytest.raises(UserError, match=r"dataset.mask"):
        open_real("haxby2001", real_data, mask="slice_maks").responses("sub001")


def test_miyawaki_in_nilearns_layout(tmp_path):
    """Also below a folder with brackets, which nilearn takes for a pattern."""
    from brainbench.data.layouts.miyawaki import SHIFT_VOLUMES

    rng = np.random.default_rng(0)
    root = tmp_path / "miyawaki [2008]"
    for folder in ("func", "label", "mask"):
        (root / folder).mkdir(parents=True)
    mask = np.ones((3, 3, 3), dtype=np.uint8)
    left = np.zeros_like(mask)
    left[0] = 1
    nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), root / "mask" / "mask.nii.gz")
    nibabel.save(nibabel.Nifti1Image(left, np.eye(4)), root / "mask" / "LHV1.nii.gz")
    patterns = rng.integers(0, 2, (3, 100))
    images = patterns.reshape(-1, 10, 10, order="F")  # as nilearn's examples do, whose figures are upright
    for run in (1, 2):
        shown = np.concatenate([np.concatenate([np.full((4, 100), -1), np.tile(one, (4, 1))]) for one in patterns])
        shown = np.concatenate([shown, np.full((4, 100), -1)])
        data = rng.standard_normal((*mask.shape, len(shown))).astype(np.float32) + 100
        for index, start in enumerate((4, 12, 20)):
            data[..., start + SHIFT_VOLUMES : start + SHIFT_VOLUMES + 4] += 10 * (index + 1)
        nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), root / "func" / f"data_figure_run{run:02d}.nii.gz")
        np.savetxt(root / "label" / f"data_figure_run{run:02d}_label.csv", shown, fmt="%d", delimiter=",")
    dataset = open_real("miyawaki2008", root)
    responses = dataset.responses("sub-01")
    assert responses.data.shape == (6, 27) and list(responses.stimulus) == [0, 1, 2] * 2
    assert responses.rois["LHV1"].sum() == 9
    level = responses.data.mean(axis=1)
    assert level[0] < level[1] < level[2] and level[3] < level[4] < level[5]
    stimuli = dataset.stimuli("sub-01")
    np.testing.assert_array_equal([stimuli.load(index) for index in range(3)], images)
    np.savetxt(root / "label" / "data_figure_run01_label.csv", shown[:, :99], fmt="%d", delimiter=",")
    with pytest.raises(UserError, match="99 columns; a square of patches"):
        open_real("miyawaki2008", root).responses("sub-01")


def test_miyawaki(real_data):
    dataset = open_real("miyawaki2008", real_data)
    check_dataset(dataset)
    responses, stimuli = dataset.responses("sub-01"), dataset.stimuli("sub-01")
    assert responses.data.shape == (79, 967) and len(stimuli) == 15
    released = np.load(real_data / "miyawaki2008" / "sub-01_figures.npz")
    shown = np.stack([stimuli.load(i) for i in responses.stimulus])
    np.testing.assert_array_equal(shown.reshape(79, -1), released["pattern12"].reshape(79, -1))
    # Every run has one letter style, which is what makes image-only folds leak.
    style = responses.labels["style"]
    assert all(len(set(style[responses.run == run])) == 1 for run in set(responses.run))


def test_the_parent_folder_is_accepted_and_said(real_data, monkeypatch):
    path, note = resolve_root("alice", str(real_data))
    assert path == real_data / "alice" and "found inside" in note
    monkeypatch.setenv("BRAINBENCH_DATA", str(real_data))
    path, note = resolve_root("alice", None)
    assert path == real_data / "alice" and "BRAINBENCH_DATA/alice" in note


def test_a_folder_that_is_not_there_or_is_another_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="is not a folder"):
        resolve_root("alice", str(tmp_path / "nowhere"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"does not hold 'alice'.*\n.*notes.txt"):
        resolve_root("alice", str(tmp_path / "other"))
    monkeypatch.setenv("BRAINBENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"BRAINBENCH_DATA=.* points nowhere"):
        resolve_root("alice", None)
    monkeypatch.delenv("BRAINBENCH_DATA")
    with pytest.raises(UserError, match="BRAINBENCH_DATA is not set"):
        resolve_root("alice", None)
