"""Folders as BIDS and fMRIPrep leave them: how stimuli are named, where derivatives lie, which runs are wanted."""

import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainbench.core.errors import UserError
from brainbench.data.base import choose_subjects, subject_named
from brainbench.data.check import check_dataset
from brainbench.data.images import atlas_rois, label_table_of, read_atlas
from brainbench.data.layouts.bids.betas import in_mask, temporal_snr
from brainbench.data.layouts.bids.quality import agreement_of_runs
from brainbench.report.figures.models import motion
from tests.data.bids_folder import AFFINE, INSIDE, SHAPE, write_bids
from tests.data.test_bids import open_bids
from tests.data.test_bids_statements import derived, edit_events


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders") / "study"
    write_bids(root, n_runs=2)
    (root / "stimuli" / "set").mkdir(parents=True)
    for index in range(8):
        Image.fromarray(np.full((4, 4, 3), 30 * index, np.uint8)).save(root / "stimuli" / "set" / f"s{index}.png")
    return root


@pytest.fixture
def own(original, tmp_path):
    shutil.copytree(original, tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture(scope="module")
def expected(original):
    """Return the name of the stimulus of every row, and the betas."""
    responses = open_bids(original).responses("sub-01")
    return [f"s{index}" for index in responses.stimulus], responses.data


def call_stimuli(root, spelling):
    """Write every cell of `stim_file` in another way."""
    for run in (1, 2):
        edit_events(root, run, lambda table: table.assign(stim_file=[
            cell if cell == "n/a" else spelling.format(cell) for cell in table["stim_file"]
        ]))  # fmt: skip


def named_rows(root, **settings):
    dataset = open_bids(root, modality="image", **settings)
    responses = dataset.responses("sub-01")
    ids = dataset.stimuli("sub-01").ids
    return [ids[index].removeprefix("set/").removesuffix(".png") for index in responses.stimulus], dataset


@pytest.mark.parametrize("spelling", ["{}", "{}.png", "set/{}.png", "stimuli/set/{}.png", "C:\\pictures\\{}.PNG"])
@pytest.mark.parametrize("table", [True, False], ids=["stimuli.csv", "no table"])
def test_an_event_names_its_stimulus_by_path_name_or_stem(own, expected, spelling, table):
    call_stimuli(own, spelling)
    (own / "stimuli.csv").unlink()
    if table:
        ids = [f"s{index}" for index in range(8)]
        paths = [f"stimuli/set/{one}.png" for one in ids]
        pd.DataFrame({"id": ids, "path": paths}).to_csv(own / "stimuli.csv", index=False)
    found, dataset = named_rows(own)
    assert found == expected[0]
    assert any("there is no stimuli.csv: the 8 stimuli" in note for note in dataset.notes()) is not table
    assert own / "stimuli" / "set" / "s3.png" in dataset.files()
    assert all(path.is_file() for path in dataset.files())


def test_a_name_of_two_files_or_of_none_is_refused(own):
    (own / "stimuli.csv").unlink()
    shutil.copytree(own / "stimuli" / "set", own / "stimuli" / "other")
    with pytest.raises(UserError, match=r"'s0' is stimuli/other/s0.png or stimuli/set/s0.png"):
        named_rows(own)
    rows = [
        {"id": f"{folder}-{i}", "path": f"stimuli/{folder}/s{i}.png"} for folder in ("set", "other") for i in range(8)
    ]
    pd.DataFrame(rows).to_csv(own / "stimuli.csv", index=False)
    with pytest.raises(UserError, match=r"run-1_events.tsv:3  column 'stim_file': 's\d' may be 'set-\d' or 'other-\d'"):
        named_rows(own)
    shutil.rmtree(own / "stimuli")
    (own / "stimuli.csv").unlink()
    with pytest.raises(
        UserError, match=r"'s0' names no file here(.|\n)*put the files into stimuli/, or write stimuli.csv"
    ):
        named_rows(own)


def test_the_root_may_be_the_folder_of_derivatives(own, expected, tmp_path):
    inside = open_bids(own / "derivatives" / "fmriprep", modality="text")
    np.testing.assert_array_equal(inside.responses("sub-01").data, expected[1])
    assert inside.responses("sub-01").digest() == open_bids(own).responses("sub-01").digest()
    (own / "derivatives" / "fmriprep").rename(own / "derivatives" / "fmriprep-23.1.3")
    with pytest.raises(
        UserError, match=r"did you mean 'derivatives/fmriprep-23.1.3'(.|\n)*lie in: derivatives/fmriprep-"
    ):
        open_bids(own)
    away = tmp_path / "elsewhere" / "deep" / "enough" / "fmriprep"
    shutil.move(own / "derivatives" / "fmriprep-23.1.3", away)
    with pytest.raises(UserError, match=r"no folder above it holds the events(.|\n)*dataset.derivatives: "):
        open_bids(away)
    assert open_bids(own, derivatives=str(away)).subjects == ["sub-01"]


def test_images_without_a_label_of_space_or_resolution_can_be_asked_for(own, expected):
    for path in sorted(derived(own).glob("*_space-*")):
        shutil.copy(path, path.with_name(path.name.replace("_space-MNI152NLin2009cAsym", "")))
        shutil.copy(path, path.with_name(path.name.replace("Asym_", "Asym_res-2_")))
    with pytest.raises(UserError, match="two images of one run"):
        open_bids(own)
    for settings in ({"resolution": "none"}, {"resolution": "2"}, {"space": "native"}):
        dataset = open_bids(own, **settings)
        np.testing.assert_array_equal(dataset.responses("sub-01").data, expected[1])
        assert any("not runs to each other" in note for note in dataset.notes()) is ("space" in settings)
    with pytest.raises(UserError, match="found: MNI152NLin2009cAsym, native"):
        open_bids(own, space="T1w")


def test_echoes_are_no_runs_of_their_own(own, expected):
    """As runs, one was trained on while another of the same volumes was tested."""
    for path in sorted(derived(own).glob("*_space-*")):
        path.rename(path.with_name(path.name.replace("_space-MNI152NLin2009cAsym", "")))
    for path in sorted(derived(own).glob("*_desc-preproc_bold.*")):
        for echo in (1, 2):
            shutil.copy(path, path.with_name(path.name.replace("_desc", f"_echo-{echo}_desc")))
    nibabel.save(nibabel.Nifti1Image(INSIDE.astype(np.uint8), AFFINE), own / "mask.nii.gz")
    with pytest.raises(UserError, match=r"one recording, not 3\n.*leave_out`, of echo-1, echo-2"):
        open_bids(own, space="native", mask="mask.nii.gz", confounds=[])
    responses = open_bids(own, space="native", leave_out=["echo-1", "echo-2"]).responses("sub-01")
    np.testing.assert_array_equal(responses.data, expected[1])


def test_sessions_and_runs_are_chosen_or_left_out_by_name(original, expected):
    n = len(expected[0]) // 2
    for settings, rows in (
        ({"runs": [1]}, slice(0, n)), ({"runs": ["02"]}, slice(n, None)), ({"leave_out": ["run-02"]}, slice(0, n)),
        ({"leave_out": ["sub-01_task-read_run-1"]}, slice(n, None)),
    ):  # fmt: skip
        responses = open_bids(original, **settings).responses("sub-01")
        np.testing.assert_array_equal(responses.data, expected[1][rows])
        assert [row.left_out for row in responses.account if row.left_out == "the run"] == ["the run"]
    for settings, message in (
        ({"runs": [3]}, r"dataset.runs: no recording has run-3(.|\n)*there: 1, 2"),
        ({"sessions": ["a"]}, r"no recording has ses-a(.|\n)*no name has ses-"),
        ({"leave_out": ["sub-02_run-1"]}, r"'sub-02_run-1' is no recording"),
        ({"leave_out": ["nonsense"]}, "'nonsense' is no recording"),
        ({"leave_out": ["task-read"]}, "leave no run of anybody"),
    ):
        with pytest.raises(UserError, match=message):
            open_bids(original, **settings)


def test_a_run_without_confounds_is_named_and_can_be_left_out(own, expected):
    next(derived(own).glob("*run-2_desc-confounds*.tsv")).unlink()
    with pytest.raises(
        UserError, match=r"for sub-01_task-read_run-2\n.*`dataset.leave_out: \[sub-01_task-read_run-2\]`"
    ):
        open_bids(own)
    responses = open_bids(own, leave_out=["sub-01_task-read_run-2"]).responses("sub-01")
    np.testing.assert_array_equal(responses.data, expected[1][: len(expected[1]) // 2])


def test_the_segmentation_of_fmriprep_is_an_atlas_with_the_table_at_the_root(own):
    labels = np.zeros(SHAPE, np.int16)
    labels[:, :2], labels[:, 2:] = 1011, 1022
    for path in sorted(derived(own).glob("*_desc-preproc_bold.nii.gz")):
        name = path.name.replace("preproc_bold", "aparcaseg_dseg")
        nibabel.save(nibabel.Nifti1Image(labels, AFFINE), path.with_name(name))
    with pytest.raises(UserError, match="no label table"):
        open_bids(own, atlas="aparcaseg").files()
    root = own / "derivatives" / "fmriprep"
    (root / "desc-aseg_dseg.tsv").write_text("index\tname\n1011\twrong\n")
    table = root / "desc-aparcaseg_dseg.tsv"
    table.write_text(
        "index\tname\tcolor\n0\tUnknown\t#000000\n1011\tctx-lh-lateraloccipital\t#1\n1022\tctx-lh-postcentral\t#2\n"
    )
    dataset = open_bids(own, atlas="aparcaseg")
    assert table in dataset.files()
    rois = dataset.responses("sub-01").rois
    assert rois["ctx-lh-lateraloccipital"].sum() == INSIDE[:, :2].sum()
    assert rois["ctx-lh-postcentral"].sum() == INSIDE[:, 2:].sum() and "wrong" not in rois
    with pytest.raises(UserError, match=r"desc-aseg_dseg.nii.gz is not there"):
        open_bids(own, atlas="aseg").files()


def test_an_atlas_that_was_saved_without_an_affine_is_not_resampled(tmp_path):
    """Its labels came to lie beside the origin of the scanner, in whichever voxels are there."""
    labels, path = np.ones((6, 6, 6), np.int16), tmp_path / "atlas.nii.gz"
    (tmp_path / "atlas.tsv").write_text("index\tname\n1\tfront\n")
    mask = nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    for affine, known in ((np.diag([1.0, 1.0, 1.0, 1.0]), False), (np.diag([-1.0, 1.0, 1.0, 1.0]), True)):
        nibabel.save(nibabel.Nifti1Image(labels, affine), path)
        if known:
            rois, notes = atlas_rois(read_atlas(path), mask, tmp_path / "mask.nii.gz", resample=True, empty="drop")
            assert 0 < rois["front"].sum() < 27 and "resampled from 1 x 1 x 1 to 2 x 2 x 2 mm" in notes[0]
        else:
            with pytest.raises(UserError, match=r"its affine is np.eye\(4\)"):
                atlas_rois(read_atlas(path), mask, tmp_path / "mask.nii.gz", resample=True, empty="drop")


def test_the_table_that_names_most_of_an_atlas_is_its_own_and_two_alike_are_refused(tmp_path):
    image = tmp_path / "space-MNI_atlas-A_seg-17n_dseg.nii.gz"
    (tmp_path / "atlas-A_dseg.tsv").touch()
    (tmp_path / "atlas-A_seg-17n_dseg.tsv").touch()
    assert label_table_of(image).name == "atlas-A_seg-17n_dseg.tsv"
    (tmp_path / "space-MNI_atlas-A_dseg.tsv").touch()
    with pytest.raises(UserError, match=r"its own: atlas-A_seg-17n_dseg.tsv, space-MNI_atlas-A_dseg.tsv"):
        label_table_of(image)
    (tmp_path / "space-MNI_atlas-A_seg-17n_dseg.tsv").touch()
    assert label_table_of(image).name == "space-MNI_atlas-A_seg-17n_dseg.tsv"


def test_how_steady_a_run_was_and_how_far_the_head_moved_is_said(own):
    path = next(derived(own).glob("*run-1_desc-confounds*.tsv"))
    moved = np.r_[np.nan, np.full(119, 0.1)]
    moved[[5, 9]] = 0.7, 1.1
    pd.read_csv(path, sep="\t").assign(framewise_displacement=moved).to_csv(path, sep="\t", index=False, na_rep="n/a")
    responses = open_bids(own).responses("sub-01")
    first, second = (str(model) for model in responses.modelled.runs[:2])
    known, unknown, *_ = (model.displacement for model in responses.modelled.runs)
    np.testing.assert_allclose(np.array(known, dtype=float), moved)
    assert known[0] is None and unknown == []
    axes = motion([{"run": "run-1", "displacement": known}, {"run": "run-2", "displacement": known[:40]}]).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), moved)
    assert axes.lines[1].get_xdata()[0] == 120 and axes.get_xlim() == (-0.5, 159.5)
    assert first.startswith("run-1: ") and (
        f"framewise displacement {np.nanmean(moved):.2f} mm on average, 1.10 at most, above 0.5 mm in 2 of 120" in first
    )
    assert "temporal signal to noise" in second and "displacement" not in second
    assert any(line.strip() == first for line in check_dataset(open_bids(own)))


def test_volumes_before_the_steady_state_are_in_no_number(own):
    path = next(derived(own).glob("*run-1_desc-confounds*.tsv"))
    early = {f"non_steady_state_outlier0{at}": (np.arange(120) == at).astype(int) for at in range(3)}
    pd.read_csv(path, sep="\t").assign(**early).to_csv(path, sep="\t", index=False)
    before = open_bids(own).responses("sub-01")
    assert before.modelled.runs[0].n_kept == 117
    path = next(derived(own).glob("*run-1_space-MNI*_desc-preproc_bold.nii.gz"))
    image = nibabel.load(path)
    values = image.get_fdata() * np.where(np.arange(120) < 3, 2.0, 1.0)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), image.affine, image.header), path)
    after = open_bids(own).responses("sub-01")
    np.testing.assert_allclose(after.data, before.data, rtol=1e-4, atol=1e-5)
    assert after.modelled.runs[0].tsnr == pytest.approx(before.modelled.runs[0].tsnr)


def test_the_model_of_a_run_is_kept_with_its_design_and_mask(own):
    responses = open_bids(own).responses("sub-01")
    model = responses.modelled.runs[0]
    assert model.n_kept == model.n_volumes == 120 == len(model.design) and model.n_events == 8
    assert model.regressors[8:14] == ["rot_x", "rot_y", "rot_z", "trans_x", "trans_y", "trans_z"]
    assert len(model.regressors) == model.design.shape[1] and model.regressors[-1] == "constant"
    alike = np.corrcoef(model.design[:, :8], rowvar=False)
    assert model.shared == pytest.approx(np.abs(alike - np.eye(8)).max(), rel=1e-5)
    volume = nibabel.load(next(derived(own).glob("*run-1_space-MNI*_desc-preproc_bold.nii.gz"))).get_fdata()
    np.testing.assert_allclose(responses.background.get_fdata(), volume.mean(axis=-1), rtol=1e-5)
    low, middle, high = responses.modelled.repeats
    assert low < middle < high and middle > 0.5  # a signal is planted


def test_agreement_is_the_correlation_with_the_mean_of_the_other_runs():
    rng = np.random.default_rng(0)
    stimulus = [np.array([0, 1, 2, 3, 1]), np.array([3, 2, 1, 0]), np.array([1, 2, 3, 5])]
    betas = [rng.normal(size=(len(one), 6)) for one in stimulus]
    betas[1][:, 4] = 2.0
    found = agreement_of_runs(betas, stimulus)
    for place in range(3):
        others = [other for other in range(3) if other != place]
        for target in range(6):
            mine, theirs = [], []
            for one in range(6):
                here = betas[place][stimulus[place] == one, target]
                there = np.concatenate([betas[other][stimulus[other] == one, target] for other in others])
                if len(here) and len(there):
                    mine.append(here.mean())
                    theirs.append(there.mean())
            if np.ptp(mine) == 0:
                assert np.isnan(found[place][target])
            else:
                assert found[place][target] == pytest.approx(np.corrcoef(mine, theirs)[0, 1])
    assert all(np.isnan(one).all() for one in agreement_of_runs(betas[:2], [np.arange(5), np.arange(5, 9)]))


def test_betas_of_a_cube_that_may_stand_first_or_last_are_refused(tmp_path):
    """As many betas as a cube has voxels along an edge: those of MATLAB's HDF5 were taken for voxels."""
    with pytest.raises(UserError, match="3 x 3 x 3 x 3: betas may stand first or last"):
        in_mask(np.zeros((3, 3, 3, 3)), np.ones((3, 3, 3), bool), tmp_path / "betas.hdf5")
    betas = np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32)
    found = in_mask(betas, np.ones((3, 3, 3), bool), tmp_path / "betas.hdf5")
    np.testing.assert_array_equal(found, betas.transpose(0, 3, 2, 1).reshape(5, -1))


def test_temporal_signal_to_noise_is_mean_over_spread_without_the_trend():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 5))
    series = np.column_stack([100 + noise + np.arange(400)[:, None] * 0.5, np.full(400, np.nan), np.full(400, 7.0)])
    found = temporal_snr(series.astype(np.float32))
    line = np.column_stack([np.ones(400), np.arange(400)])
    left = series[:, :5] - line @ np.linalg.lstsq(line, series[:, :5], rcond=None)[0]
    np.testing.assert_allclose(found[:5], series[:, :5].mean(0) / left.std(0), rtol=1e-3)
    assert np.isnan(found[5:]).all()


@pytest.mark.parametrize("name", [1, "1", "01", "sub-01", "001"])
def test_a_subject_is_found_by_its_number(original, name):
    dataset = open_bids(original, subjects=[name])
    assert choose_subjects(dataset, dataset.settings.subjects) == ["sub-01"]
    assert dataset._chosen == ["sub-01"]


def test_a_number_that_several_have_is_nobody():
    assert subject_named(["sub-1", "sub-01"], "001") is None
    assert subject_named(["a1", "b1"], "1") is None
    assert subject_named(["1", "01"], "1") == "1"
    assert subject_named(["S001", "S010"], "10") == "S010"
    assert subject_named(["sub-01"], "sub-1") is None
