"""`bids` on pairs of surfaces and on CIFTI files: the same betas as of volumes, laid where the files say."""

import json
import re
import shutil
import warnings

import nibabel
import numpy as np
import pandas as pd
import pytest

from brainbench.core.errors import UserError
from brainbench.data.check import check_dataset
from brainbench.data.layouts.bids.betas import first_level
from brainbench.data.layouts.bids.places import VoxelPlace
from tests.data.bids_folder import (
    AFFINE,
    INSIDE,
    N_LEFT,
    brain_axis,
    write_bids,
    write_cifti,
    write_dlabel,
    write_gifti,
    write_labels,
)
from tests.data.test_bids import open_bids

SPACES = {"volume": "MNI152NLin2009cAsym", "surface": "fsaverage5", "cifti": "fsLR"}
N = int(INSIDE.sum())


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp("bids")
    return root, {form: write_bids(root / form, n_runs=2, form=form) for form in SPACES}


@pytest.fixture
def own(originals, tmp_path):
    def copy(form):
        shutil.copytree(originals[0] / form, tmp_path / form)
        return tmp_path / form

    return copy


def open_form(root, form, cache=None, **settings):
    return open_bids(root, cache, space=SPACES[form], **settings)


def func(root, pattern):
    return sorted((root / "derivatives" / "fmriprep" / "sub-01" / "func").glob(pattern))


def rows_of(path):
    """Return the rows of a surface, of a CIFTI file, or of the voxels of the mask, in memory."""
    image = nibabel.load(path)
    if path.name.endswith(".gii"):
        return np.stack([array.data for array in image.darrays])
    values = image.get_fdata(dtype=np.float32).copy()
    return values[INSIDE].T if values.ndim == 4 else values


@pytest.mark.parametrize("form", ["surface", "cifti"])
@pytest.mark.parametrize("betas", ["trial", "block"])
def test_betas_are_those_of_the_same_series_in_voxels(originals, form, betas):
    dataset = open_form(originals[0] / form, form, betas=betas)
    check_dataset(dataset)
    found, known = dataset.responses("sub-01"), open_form(originals[0] / "volume", "volume", betas=betas)
    np.testing.assert_allclose(found.data, known.responses("sub-01").data, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.stimulus, known.responses("sub-01").stimulus)
    assert np.corrcoef(found.data.ravel(), originals[1][form][found.stimulus].ravel())[0, 1] > 0.8


@pytest.mark.parametrize("smoothing", [None, 4.0])
def test_betas_are_those_of_nilearns_own_model(originals, smoothing):
    """`FirstLevelModel` on the image; its effects are read where they lie, as its masker would smooth them again."""
    from nilearn.glm.first_level import FirstLevelModel

    dataset = open_form(originals[0] / "volume", "volume", smoothing_fwhm_mm=smoothing)
    run = dataset._runs["sub-01"][0]
    place = VoxelPlace("sub-01", dataset._mask_files("sub-01"), smoothing)
    names = run.rows("trial")
    events = pd.DataFrame({"onset": run.events.onset, "duration": run.events.duration, "trial_type": names})
    table = pd.read_csv(run.files.confounds(), sep="\t").iloc[:, :6]
    model = FirstLevelModel(2.0, drift_model="cosine", high_pass=1 / 128, mask_img=place.mask,
                            smoothing_fwhm=smoothing, minimize_memory=False)  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Given mask will be used")
        model.fit(nibabel.load(run.files.bold), events=events, confounds=table - table.mean())
    theirs = [np.asarray(model.compute_contrast(name, output_type="effect_size").dataobj)[INSIDE] for name in names]
    np.testing.assert_allclose(first_level(run, place.series(run.files), dataset.settings), theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("form", "pattern", "called"),
    [
        ("surface", "*run-2_hemi-L*.gii", "vertices"),
        ("cifti", "*run-2*.nii", "grayordinates"),
        ("volume", "*run-2*bold.nii.gz", "voxels of the mask"),
    ],
)
def test_targets_that_a_run_did_not_measure_are_left_out_and_counted(own, form, pattern, called):
    """A medial wall is NaN; a target that is constant in one run has no betas there, whatever the GLM says of it."""
    root = own(form)
    path = func(root, pattern)[0]

    def write(rows):
        if form == "surface":
            write_gifti(path, rows, "L")
        elif form == "cifti":
            write_cifti(path, rows)
        else:
            like = nibabel.load(path)
            volume = np.zeros(like.shape, np.float32)
            volume[INSIDE] = rows.T
            nibabel.save(nibabel.Nifti1Image(volume, like.affine, like.header), path)

    rows = rows_of(path)
    rows[:, 3], rows[:, 7], rows[:, 9] = np.nan, 100.0, 0.0
    write(rows)
    responses = open_form(root, form).responses("sub-01")
    assert responses.n_targets == N - 3
    assert np.isfinite(responses.data).all()
    left = [(row.left_out, row.why) for row in responses.account if not row.run]
    assert left == [(f"3 of {N} {called}", "not measured in every run: NaN, or the same in all volumes")]
    image = responses.masker.inverse_transform(responses.data[:1])
    written = image.darrays[0].data if form == "surface" else image.get_fdata()
    written = written[INSIDE] if form == "volume" else written
    assert np.flatnonzero(np.ravel(written) == 0).tolist() == [3, 7, 9]
    rows[5, 0] = np.nan
    write(rows)
    with pytest.raises(UserError, match=rf"{path.name}  \w+ 5, [\w ]+ 0: nan"):
        open_form(root, form).responses("sub-01")


def test_regions_of_grayordinates_are_structures_or_labels(own):
    root = own("cifti")
    responses = open_form(root, "cifti").responses("sub-01")
    assert {name: int(mask.sum()) for name, mask in responses.rois.items()} == {
        "all": N, "left cortex": 20, "right cortex": 20, "left thalamus": 19,
    }  # fmt: skip
    assert responses.space == "cifti"
    assert any("59 grayordinates: left cortex (20)" in note for note in responses.notes)
    written = responses.masker.inverse_transform(responses.data[:2])
    assert written.header.get_axis(1) == brain_axis()
    np.testing.assert_array_equal(written.get_fdata(dtype=np.float32), responses.data[:2])
    write_dlabel(root / "areas.dlabel.nii")
    rois = open_form(root, "cifti", atlas="areas.dlabel.nii").responses("sub-01").rois
    assert {name: np.flatnonzero(mask).tolist() for name, mask in rois.items() if name != "all"} == {
        "V1": [28, 29], "MT": [0],
    }  # fmt: skip


def test_regions_of_surfaces_are_the_labels_of_both_hemispheres(own):
    root = own("surface")
    write_labels(root)
    dataset = open_form(root, "surface", atlas="{hemi}.label.gii")
    responses = dataset.responses("sub-01")
    assert np.flatnonzero(responses.rois["V1"]).tolist() == [0, 1, 2, N_LEFT, N_LEFT + 1]
    assert responses.space == "surface"
    assert any("maps are written, and not drawn" in note for note in responses.notes)
    left, right = responses.masker.inverse_transform(responses.data[0]).darrays
    assert (len(left.data), len(right.data)) == (N_LEFT, N - N_LEFT)
    assert {root / "L.label.gii", root / "R.label.gii", *func(root, "*.gii")} <= set(dataset.files())
    write_labels(root, n_left=10)
    with pytest.raises(UserError, match=rf"L.label.gii: 10 vertices, the responses of this hemisphere have {N_LEFT}"):
        open_form(root, "surface", atlas="{hemi}.label.gii").responses("sub-01")


@pytest.mark.parametrize("form", ["surface", "cifti"])
def test_glmsingles_betas_come_in_the_format_of_the_images_or_as_an_array(own, form):
    root = own(form)
    betas = np.random.default_rng(3).normal(size=(16, N)).astype(np.float32)
    if form == "cifti":
        name = "{subject}.dscalar.nii"
        write_cifti(root / "sub-01.dscalar.nii", betas)
    else:
        name = "{subject}_{hemi}.func.gii"
        for side, part in zip("LR", np.split(betas, [N_LEFT], axis=1), strict=True):
            write_gifti(root / f"sub-01_{side}.func.gii", part, side)
    np.save(root / "sub-01.npy", betas.T[:, None, None])  # as GLMsingle lays betas of a list of targets
    for pattern in (name, "{subject}.npy"):
        responses = open_form(root, form, betas="glmsingle", glmsingle=pattern).responses("sub-01")
        np.testing.assert_array_equal(responses.data, betas)
    np.save(root / "sub-01.npy", betas[:, :-1])
    with pytest.raises(UserError, match=rf"shape 16 x 58 fits not the {N} (vertices|grayordinates)"):
        open_form(root, form, betas="glmsingle", glmsingle="{subject}.npy").responses("sub-01")
    wrong = "sub.nii.gz" if form == "cifti" else "{subject}.dscalar.nii"
    (root / wrong.replace("{subject}", "sub-01")).touch()
    with pytest.raises(UserError, match=r"dataset.glmsingle: \S+ is none of .npy, .hdf5"):
        open_form(root, form, betas="glmsingle", glmsingle=wrong).responses("sub-01")


# Files that disagree --------------------------------------------------------------------------------------------


def exchange(root):
    left, right = func(root, "*run-1_hemi-?_*.gii")
    kept = left.read_bytes()
    left.write_bytes(right.read_bytes())
    right.write_bytes(kept)


def cut_right(root):
    path = func(root, "*run-1_hemi-R*.gii")[0]
    write_gifti(path, rows_of(path)[:-4], "R")


def fewer_vertices(root):
    path = func(root, "*run-2_hemi-R*.gii")[0]
    write_gifti(path, rows_of(path)[:, 1:], "R")


def other_step(root):
    path = func(root, "*run-1_hemi-L*.gii")[0]
    write_gifti(path, rows_of(path), "L", step=1500.0)


def sidecar(root, pattern, t_r):
    func(root, pattern)[0].write_text(json.dumps({"RepetitionTime": t_r}))


def twin(root):
    path = func(root, "*run-1_hemi-L*.gii")[0]
    shutil.copy(path, path.with_name(path.name.replace("run-1", "run-01")))


def volume_beside(root):
    for name in ("bold.nii.gz", "brain_mask.nii.gz"):
        path = func(root, "*.gii")[0].with_name(f"sub-01_task-read_run-1_space-fsaverage5_desc-preproc_{name}")
        nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2, 120), np.float32), AFFINE), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (exchange, r"read as hemisphere L, but says in its own metadata that it is CortexRight"),
        (cut_right, r"hemi-R\S+: 116 volumes, \S+hemi-L\S+ has 120"),
        (fewer_vertices, r"run-2_hemi-L\S+: 32 \+ 26 vertices, \S+run-1_hemi-L\S+ has 32 \+ 27"),
        (lambda root: func(root, "*run-1_hemi-R*.gii")[0].unlink(), "a run on the surface is two files"),
        (other_step, r"TimeStep 1500, in s or in ms, but \S+run-1_hemi-L\S+json says 2 s"),
        (lambda root: sidecar(root, "*run-1_hemi-R*.json", 1.0), "repetition time 1 s, but .*hemi-L.* says 2 s"),
        (twin, "two images of one run: .*run-0?1_hemi-L.* and .*run-0?1_hemi-L"),
        (volume_beside, "two images of one run"),
        (lambda root: [path.unlink() for path in func(root, "*run-1_hemi*.json")], "no sidecar says RepetitionTime"),
    ],
)  # fmt: skip
def test_surfaces_that_disagree_are_refused(own, change, message):
    root = own("surface")
    change(root)
    with pytest.raises(UserError, match=re.compile(message, re.DOTALL)):
        open_form(root, "surface").responses("sub-01")


def rewrite(root, run, **changes):
    path = func(root, f"*run-{run}*.dtseries.nii")[0]
    write_cifti(path, rows_of(path), **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: rewrite(root, 1, t_r=1.5), r"dtseries.nii: repetition time 1.5 s, but \S+json says 2 s"),
        (lambda root: rewrite(root, 1, unit="HERTZ"), "its series counts in hertz, not in seconds"),
        (lambda root: rewrite(root, 2, brain=brain_axis()[::-1]), r"run-2\S+: its grayordinates are not those of"),
        (lambda root: sidecar(root, "*run-2*bold.json", 2000), "BIDS counts in seconds, not milliseconds"),
        (lambda root: func(root, "*run-2*.dtseries.nii")[0].write_bytes(b"no"), "not a readable image"),
    ],
)  # fmt: skip
def test_cifti_files_that_disagree_are_refused(own, change, message):
    root = own("cifti")
    change(root)
    with pytest.raises(UserError, match=re.compile(message, re.DOTALL)):
        open_form(root, "cifti").responses("sub-01")


@pytest.mark.parametrize("form", ["surface", "cifti"])
def test_settings_of_volumes_are_refused(originals, form):
    root = originals[0] / form
    for settings in ({"smoothing_fwhm_mm": 4.0}, {"mask": "atlas.nii.gz"}):
        with pytest.raises(UserError, match=rf"dataset.{next(iter(settings))}: is for volumes; \S+ of `space: fs"):
            open_form(root, form, **settings).responses("sub-01")
    shutil.copy(originals[0] / "volume" / "atlas.nii.gz", root)
    with pytest.raises(UserError, match=r"dataset.atlas: .*atlas.nii.gz"):
        open_form(root, form, atlas="atlas.nii.gz").responses("sub-01")
    with pytest.raises(UserError, match=r"dataset.resolution: no .* of res '32k' in \S+\n  hint: found: (91k|none)"):
        open_form(root, form, resolution="32k")
    with pytest.raises(ValueError, match=r"GIFTI files come in pairs"):
        open_form(root, form, atlas="areas.label.gii")


def test_a_step_in_milliseconds_and_older_names_of_sidecars_are_read(own):
    root = own("surface")
    for path in func(root, "*.gii"):
        write_gifti(path, rows_of(path), "L" if "hemi-L" in path.name else "R", step=2000.0)
        path.with_name(path.name.replace(".func.gii", ".json")).rename(path.with_suffix(".json"))
    dataset = open_form(root, "surface")
    assert dataset._runs["sub-01"][0].timing.t_r == 2.0
    assert [path.name for path in dataset._runs["sub-01"][0].timing.sidecars] == [
        f"sub-01_task-read_run-1_hemi-{side}_space-fsaverage5_bold.func.json" for side in "LR"
    ]
    dataset = open_form(own("cifti"), "cifti", resolution="91k")
    assert len(dataset.responses("sub-01").data) == 16
