"""What a user's own files say of themselves is obeyed, counted where it leaves something out, or refused."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.data.images import read_atlas, read_mask
from brainbench.data.layouts.matrices import read_matrix
from brainbench.data.tables import read_table
from brainbench.recipes.datasets import DATASETS, dataset_settings
from tests.data.folders import AFFINE, SURFACES, VOLUMES, write_surfaces, write_trials, write_volumes
from tests.sweeps.loaders import LOADERS
from tests.sweeps.made_folders import write_cifti, write_story_of_runs


def open_folder(root, **values):
    return DATASETS.builder("folder").open(dataset_settings({"name": "folder", **values}), root, Context())


@pytest.fixture
def root(tmp_path):
    write_trials(tmp_path / "data")
    return tmp_path / "data"


def left_out(responses):
    return [(row.run, row.left_out, row.why) for row in responses.account if row.left_out]


# Targets that were not measured ---------------------------------------------------------------------------------


def test_a_medial_wall_of_nan_is_left_out_and_counted(root):
    write_surfaces(root, n=60)
    for side in "LR":
        path = root / "sub-01" / f"hemi-{side}.func.gii"
        image = nibabel.load(path)
        for array in image.darrays:
            array.data[50:] = np.nan
        nibabel.save(image, path)
    responses = open_folder(root, **SURFACES).responses("sub-01")
    assert responses.n_targets == 100 and responses.rois["V1"].sum() == 100
    ((run, what, why),) = left_out(responses)
    assert (run, what) == ("", "20 of 120 targets") and why.startswith("NaN in every row")
    image.darrays[3].data[7] = np.nan
    nibabel.save(image, path)
    with pytest.raises(UserError, match="row 3, vertex 7: nan"):
        open_folder(root, **SURFACES).responses("sub-01")


def test_voxels_that_were_not_estimated_are_left_out_of_maps_and_ceilings_too(root):
    write_volumes(root)
    image = nibabel.load(root / "sub-01" / "bold.nii.gz")
    values = np.asarray(image.dataobj)
    values[0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), root / "sub-01" / "bold.nii.gz")
    ceiling = np.full((4, 3, 2), 0.5, np.float32)
    ceiling[0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(ceiling, AFFINE), root / "ceiling.nii.gz")
    dataset = open_folder(root, **VOLUMES, ceiling="ceiling.nii.gz", subjects=["sub-01"])
    responses = dataset.responses("sub-01")
    n = int(np.isfinite(values[..., 0][np.asarray(read_mask(root / "mask.nii.gz").dataobj) > 0]).sum())
    assert n < 10 and responses.n_targets == n and responses.ceiling.tolist() == [0.5] * n
    assert left_out(responses)[0][1] == f"{10 - n} of 10 targets" and "mask.nii.gz" in left_out(responses)[0][2]
    assert responses.masker.inverse_transform(responses.data[0]).shape == (4, 3, 2)
    ceiling[2, 1] = np.nan
    nibabel.save(nibabel.Nifti1Image(ceiling, AFFINE), root / "ceiling.nii.gz")
    with pytest.raises(UserError, match=r"ceiling.nii.gz: target \d has nan"):
        open_folder(root, **VOLUMES, ceiling="ceiling.nii.gz").responses("sub-01")


def test_nan_that_became_zero_in_a_map_of_whole_numbers_is_flat(root):
    """A NaN that is stored as int16 is 0 without a word: the voxel never changes, which is refused or counted."""
    write_volumes(root)
    image = nibabel.load(root / "sub-01" / "bold.nii.gz")
    values = np.asarray(image.dataobj) * 1000
    values[0, 0] = np.nan
    whole = nibabel.Nifti1Image(values, AFFINE)
    whole.set_data_dtype(np.int16)
    with np.errstate(invalid="ignore"):
        nibabel.save(whole, root / "sub-01" / "bold.nii.gz")
    stored = np.asarray(nibabel.load(root / "sub-01" / "bold.nii.gz").dataobj)
    assert np.isfinite(stored).all()
    with pytest.raises(UserError, match=r"of 10 targets never change: 0.*mask.nii.gz"):
        open_folder(root, **VOLUMES).responses("sub-01")
    responses = open_folder(root, **VOLUMES, flat_targets="drop").responses("sub-01")
    assert "never change" in left_out(responses)[0][2]


def test_a_map_keeps_what_is_not_known(root):
    """A mask is an image of whole numbers, in which NaN would become 0: maps are not stored as it is."""
    write_volumes(root)
    masker = open_folder(root, **VOLUMES).responses("sub-01").masker
    values = np.linspace(-1, 1, 10).astype(np.float32)
    values[3] = np.nan
    image = masker.inverse_transform(values)
    nibabel.save(image, root / "map.nii.gz")
    stored = nibabel.load(root / "map.nii.gz")
    assert stored.get_data_dtype() == np.float32
    inside = np.asarray(stored.dataobj)[np.asarray(read_mask(root / "mask.nii.gz").dataobj) > 0]
    np.testing.assert_array_equal(inside, values)


def test_aligned_targets_do_not_lose_some(root):
    values = np.load(root / "sub-01" / "responses.npy")
    values[:, 4] = np.nan
    np.save(root / "sub-01" / "responses.npy", values)
    assert open_folder(root).responses("sub-01").n_targets == 9
    for subject in ("sub-01", "sub-02"):
        (root / subject / "design.csv").write_text((root / "sub-01" / "design.csv").read_text())
    with pytest.raises(UserError, match="1 of 10 targets are NaN in every row"):
        open_folder(root, aligned_targets=True).responses("sub-01")


# Files that say what they are -----------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["responses", "rois"])
def test_a_hemisphere_that_says_it_is_the_other_is_refused(root, setting):
    write_surfaces(root, n=60)
    path = root / ("sub-01/hemi-R.func.gii" if setting == "responses" else "R.label.gii")
    image = nibabel.load(path)
    image.darrays[-1].meta = nibabel.gifti.GiftiMetaData({"AnatomicalStructurePrimary": "CortexLeft"})
    nibabel.save(image, path)
    with pytest.raises(UserError, match=f"{path.name}: is read as hemisphere R, but says .* CortexLeft"):
        open_folder(root, **SURFACES).responses("sub-01")


def test_a_region_that_a_label_file_gives_key_0_is_said_to_be_left_out(root):
    write_surfaces(root, n=60)
    assert not any("label 0" in note for note in open_folder(root, **SURFACES).responses("sub-01").notes)
    image = nibabel.load(root / "R.label.gii")
    image.labeltable.labels[0].label = "V2"
    nibabel.save(image, root / "R.label.gii")
    notes = open_folder(root, **SURFACES).responses("sub-01").notes
    assert "R.label.gii: label 0, 'V2', is taken for what lies outside of all regions, and is no ROI" in notes


def test_names_of_an_atlas_that_are_counted_from_0_are_refused(root):
    """`enumerate(names)` wrote the table of an atlas whose labels begin at 1: each region had the name of the next."""
    write_volumes(root)
    table = root / "atlas.tsv"
    table.write_text("index\tname\n0\tfront\n1\tback\n")
    with pytest.raises(UserError, match=r"counts from 0 \('front'\), and label 2 has no name"):
        open_folder(root, **VOLUMES).responses("sub-01")
    table.write_text("index\tname\n0\tnowhere\n1\tfront\n2\tback\n")
    assert any("label 0, 'nowhere'" in note for note in open_folder(root, **VOLUMES).responses("sub-01").notes)
    for name in ("Background", "Unknown", "???", "Background+FreeSurfer_Defined_Medial_Wall", "unlabeled"):
        table.write_text(f"index\tname\n0\t{name}\n1\tfront\n2\tback\n")
        found = open_folder(root, **VOLUMES).responses("sub-01")
        assert not any("label 0" in note for note in found.notes) and list(found.rois) == ["all", "front", "back"]


def test_label_files_hold_one_map(root):
    """The second was left out without a word."""
    write_surfaces(root, n=60)
    image = nibabel.load(root / "R.label.gii")
    image.add_gifti_data_array(image.darrays[0])
    nibabel.save(image, root / "R.label.gii")
    with pytest.raises(UserError, match=r"R.label.gii: 2 maps of labels in one file(.|\n)*-label R.label.gii"):
        open_folder(root, **SURFACES).responses("sub-01")


def test_grayordinates_have_structures_and_labels_by_key(tmp_path):
    write_cifti(tmp_path)
    plain = {"responses": "{subject}/betas.dscalar.nii"}
    dataset = open_folder(tmp_path, **plain)
    check_dataset(dataset)
    responses = dataset.responses("sub-01")
    sizes = {name: int(mask.sum()) for name, mask in responses.rois.items()}
    assert sizes == {"all": 17, "left cortex": 6, "right cortex": 8, "left thalamus": 3}
    # The file of labels lists the right hemisphere first, and vertices that the responses do not have.
    named = open_folder(tmp_path, **plain, rois="areas.dlabel.nii").responses("sub-01")
    assert {name: np.flatnonzero(mask).tolist() for name, mask in named.rois.items() if name != "all"} == {
        "front": [0, 1], "back": [6 + 4, 6 + 5, 6 + 6, 6 + 7],
    }  # fmt: skip
    image = named.masker.inverse_transform(np.arange(17.0))
    assert image.shape == (1, 17) and image.header.get_axis(1) == named.masker.brain


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"responses": "{subject}/betas.dscalar.nii", "mask": "mask.nii.gz"}, "CIFTI responses take no `mask`"),
        ({"responses": "{subject}/areas.dlabel.nii"}, "labels belong to `rois`"),
    ],
)
def test_settings_of_cifti_files(settings, message):
    with pytest.raises(ValueError, match=message):
        dataset_settings({"name": "folder", **settings})


def test_cifti_files_that_do_not_fit_are_refused(root, tmp_path):
    write_cifti(tmp_path / "cifti")
    with pytest.raises(UserError, match=r"areas.dlabel.nii is a CIFTI file, the responses are not"):
        (root / "areas.dlabel.nii").write_bytes((tmp_path / "cifti" / "areas.dlabel.nii").read_bytes())
        open_folder(root, rois="areas.dlabel.nii").responses("sub-01")
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2)), np.eye(4)), root / "sub-01" / "x.dscalar.nii")
    with pytest.raises(UserError, match="is named like a CIFTI file and is none"):
        open_folder(root, responses="{subject}/x.dscalar.nii", subjects=["sub-01"]).responses("sub-01")


def test_rows_of_a_header_lie_as_far_apart_as_those_of_the_design(tmp_path):
    write_story_of_runs(tmp_path)
    values = np.load(tmp_path / "sub-01" / "responses.npy").T.reshape(2, 2, 1, 40).astype(np.float32)
    image = nibabel.Nifti1Image(values, AFFINE)
    image.header.set_zooms((2.0, 2.0, 2.0, 1.5))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "sub-01" / "bold.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 1), np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    with pytest.raises(UserError, match=r"header gives 1.5 s between rows, .*design.csv says 2 s"):
        open_folder(
            tmp_path, continuous=True, modality="word", responses="{subject}/bold.nii.gz", mask="mask.nii.gz"
        ).responses("sub-01")


def test_the_series_of_a_cifti_file_says_how_far_rows_lie_apart(tmp_path):
    write_story_of_runs(tmp_path)
    brain = nibabel.cifti2.BrainModelAxis.from_surface(np.arange(4), 10, "CortexLeft")
    series = nibabel.cifti2.SeriesAxis(0, 1.5, 40)
    values = np.load(tmp_path / "sub-01" / "responses.npy").astype(np.float32)
    nibabel.save(nibabel.Cifti2Image(values, (series, brain)), tmp_path / "sub-01" / "x.dtseries.nii")
    settings = {"continuous": True, "modality": "word", "responses": "{subject}/x.dtseries.nii"}
    with pytest.raises(UserError, match=r"header gives 1.5 s between rows, .*design.csv says 2 s"):
        open_folder(tmp_path, **settings).responses("sub-01")


def test_ceilings_of_other_grayordinates_are_refused(tmp_path):
    write_cifti(tmp_path)
    for subject in ("sub-01", "sub-02"):
        image = nibabel.load(tmp_path / subject / "betas.dscalar.nii")
        brain = image.header.get_axis(1)
        one = nibabel.cifti2.ScalarAxis(["ceiling"])
        values = np.linspace(0.1, 0.9, len(brain), dtype=np.float32)[None]
        nibabel.save(nibabel.Cifti2Image(values, (one, brain)), tmp_path / subject / "good.dscalar.nii")
        nibabel.save(nibabel.Cifti2Image(values, (one, brain[::-1])), tmp_path / subject / "bad.dscalar.nii")
    settings = {"responses": "{subject}/betas.dscalar.nii"}
    responses = open_folder(tmp_path, **settings, ceiling="{subject}/good.dscalar.nii").responses("sub-01")
    np.testing.assert_allclose(responses.ceiling, np.linspace(0.1, 0.9, 17), atol=1e-6)
    with pytest.raises(UserError, match="grayordinates are not those of the responses"):
        open_folder(tmp_path, **settings, ceiling="{subject}/bad.dscalar.nii").responses("sub-01")


def test_stimuli_that_the_recording_misses_are_counted(tmp_path):
    write_story_of_runs(tmp_path)
    table = pd.read_csv(tmp_path / "stimuli.csv")
    table.loc[9, "duration"] = 30.0
    table.to_csv(tmp_path / "stimuli.csv", index=False)
    design = pd.read_csv(tmp_path / "sub-01" / "design.csv")
    design.loc[design["run"] == "b", "time"] += 66.0
    table.loc[table["run"] == "b", "onset"] += [0.0] * 3 + [66.0] * 7
    table.to_csv(tmp_path / "stimuli.csv", index=False)
    design.to_csv(tmp_path / "sub-01" / "design.csv", index=False)
    account = open_folder(tmp_path, continuous=True, modality="word").responses("sub-01").account
    assert [(row.run, row.used or row.left_out) for row in account] == [
        ("a", "20 rows, 2 s apart"), ("a", "10 stimuli"), ("a", "the end of 1 stimuli"),
        ("b", "20 rows, 2 s apart"), ("b", "8 stimuli"), ("b", "2 stimuli"),
    ]  # fmt: skip
    table.loc[9, "onset"] = 41.0
    table.to_csv(tmp_path / "stimuli.csv", index=False)
    with pytest.raises(UserError, match=r"stimuli.csv:11 .*begins at 41 s, but .*\(run 'a'\) ends at 40 s"):
        open_folder(tmp_path, continuous=True, modality="word").responses("sub-01")


# Labels and masks -----------------------------------------------------------------------------------------------


def write_atlas(folder, values, dtype=np.float32, names=None):
    image = nibabel.Nifti1Image(values, AFFINE)
    image.set_data_dtype(dtype)
    nibabel.save(image, folder / "atlas.nii.gz")
    names = names or {int(v): f"area {int(v)}" for v in np.unique(np.round(values)) if v > 0}
    pd.DataFrame(names.items(), columns=["index", "name"]).to_csv(folder / "atlas.csv", index=False)
    return folder / "atlas.nii.gz"


def test_labels_with_the_rounding_of_floats_are_whole_numbers(tmp_path):
    labels = np.random.default_rng(0).choice([0, 3, 40, 12175], size=(4, 3, 2)).astype(float)
    path = write_atlas(tmp_path, labels + 1e-4)
    np.testing.assert_array_equal(np.asarray(read_atlas(path).image.dataobj), labels)
    # Saved as scaled integers, labels come back up to half a step off.
    scaled = write_atlas(tmp_path, labels, np.int16)
    assert np.abs(np.asarray(nibabel.load(scaled).dataobj) - labels).max() > 1e-2
    np.testing.assert_array_equal(np.asarray(read_atlas(scaled).image.dataobj), labels)
    outside = write_atlas(tmp_path, np.where(labels == 0, np.nan, labels), names={3: "a", 40: "b", 12175: "c"})
    np.testing.assert_array_equal(np.asarray(read_atlas(outside).image.dataobj), labels)
    between = write_atlas(tmp_path, np.where(labels == 3, 1.5, labels), names={40: "b"})
    with pytest.raises(UserError, match="voxels lie between labels"):
        read_atlas(between)


def test_regions_keep_their_names_when_no_voxel_is_outside(root):
    """A list of names goes by rank in nilearn and shifts when no voxel is 0; a label table goes by number."""
    write_volumes(root)
    labels = np.full((4, 3, 2), 7)
    labels[2:] = 3
    write_atlas(root, labels.astype(float), np.int16, {0: "outside", 3: "three", 7: "seven"})
    (root / "atlas.tsv").unlink(missing_ok=True)
    responses = open_folder(root, **VOLUMES).responses("sub-01")
    inside = np.asarray(read_mask(root / "mask.nii.gz").dataobj) > 0
    np.testing.assert_array_equal(responses.rois["three"], labels[inside] == 3)
    np.testing.assert_array_equal(responses.rois["seven"], labels[inside] == 7)


def test_masks_with_rounding_and_with_nan_outside(tmp_path):
    values = np.array([0, 1, 1.0004, np.nan, 0.9998, 0], np.float32).reshape(3, 2, 1)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / "mask.nii.gz")
    assert np.asarray(read_mask(tmp_path / "mask.nii.gz").dataobj).sum() == 3
    nibabel.save(nibabel.Nifti1Image(values * [[[1.0]], [[0.5]], [[1.0]]], AFFINE), tmp_path / "mask.nii.gz")
    with pytest.raises(UserError, match="a mask has one value inside"):
        read_mask(tmp_path / "mask.nii.gz")


# Tables ---------------------------------------------------------------------------------------------------------


def test_a_header_of_numbers_is_no_row_of_data(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(5, 4)))
    for columns in (range(4), range(1, 5), [101, 205, 17, 33]):
        frame.set_axis(list(columns), axis=1).to_csv(tmp_path / "x.csv", index=False)
        with pytest.raises(UserError, match=r"x.csv:1  the first row is .*a header of numbers"):
            read_matrix(tmp_path / "x.csv")
    frame.to_csv(tmp_path / "x.csv", index=False, header=False)
    np.testing.assert_allclose(read_matrix(tmp_path / "x.csv").values, frame)
    (tmp_path / "x.csv").write_text("3,1,2\n2,2,2\n5,5,1\n")  # whole numbers throughout
    assert read_matrix(tmp_path / "x.csv").values.shape == (3, 3)


def test_an_index_that_was_saved_with_the_responses_is_no_target(root):
    values = np.load(root / "sub-01" / "responses.npy")
    pd.DataFrame(values, columns=[f"v{i}" for i in range(10)]).rename_axis("trial").to_csv(root / "sub-01/r.csv")
    with pytest.raises(UserError, match=r"column 0 \('trial'\) counts the rows \(0, 1, \.\.\.\)"):
        open_folder(root, responses="{subject}/r.csv", subjects=["sub-01"]).responses("sub-01")
    drift = read_matrix(root / "sub-01/r.csv")  # as regressors of no interest, a ramp is as good as any
    assert drift.values.shape == (18, 11)


def test_a_table_without_a_header_says_so(root):
    lines = (root / "sub-01" / "design.csv").read_text().splitlines()[1:]
    (root / "sub-01" / "design.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"design.csv:1  no column 'stimulus'.*is the first line the header\?"):
        open_folder(root)


_CELL = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr), st.integers(-999, 999).map(str),
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.6e}"),
)  # fmt: skip
_NAME = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=6).filter(
    lambda text: not text.replace("_", "").replace("e", "").isdigit() and text == text.strip()
)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), header=st.booleans(), tabs=st.booleans(), n=st.integers(2, 6), width=st.integers(1, 5))
def test_random_matrices_are_read_as_pandas_reads_them(data, header, tabs, n, width, tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / ("x.tsv" if tabs else "x.csv")
    rows = data.draw(st.lists(st.lists(_CELL, min_size=width, max_size=width), min_size=n, max_size=n))
    names = data.draw(st.lists(_NAME.filter(_no_number), min_size=width, max_size=width, unique=True)) if header else []
    separator = "\t" if tabs else ","
    path.write_text("\n".join(separator.join(row) for row in ([names] if header else []) + rows) + "\n", "utf-8")
    try:
        found = read_matrix(path)
    except UserError as error:  # a first row of whole numbers above others is refused, never taken for data or header
        assert not header and "a header of numbers" in str(error) and all(cell.isdigit() for cell in rows[0])
        return
    expected = pd.read_csv(path, sep=separator, header=0 if header else None, dtype=str)
    np.testing.assert_array_equal(found.values, expected.to_numpy().astype(float))
    assert found.names == (names or None)


def _no_number(text):
    try:
        float(text)
    except ValueError:
        return True
    return False


@settings(max_examples=60, deadline=None)
@given(data=st.data(), tabs=st.booleans(), n=st.integers(1, 6), width=st.integers(1, 4))
def test_random_tables_of_text_are_read_as_pandas_reads_them(data, tabs, n, width, tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / ("x.tsv" if tabs else "x.csv")
    cells = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=8).map(str.strip)
    columns = data.draw(st.lists(_NAME, min_size=width, max_size=width, unique=True))
    rows = data.draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=n, max_size=n))
    frame = pd.DataFrame(rows, columns=columns)
    frame.to_csv(path, sep="\t" if tabs else ",", index=False)
    kept = frame[(frame != "").any(axis=1)]
    if not len(kept):
        with pytest.raises(UserError, match="no row below the header"):
            read_table(path)
        return
    table = read_table(path)
    assert table.columns == columns and len(table) == len(kept)
    for column in columns:
        assert table.texts(column, required=False) == kept[column].tolist()


def test_the_loaders_of_the_sweep_keep_the_contract(tmp_path):
    for name in ("folder", "folder tables", "folder story", "folder cifti"):
        LOADERS[name].write(tmp_path / name)
        check_dataset(LOADERS[name].open(tmp_path / name, None))


def test_whole_numbers_that_float32_cannot_tell_apart_stay_apart(root):
    path = root / "sub-01" / "responses.npy"
    values = 10**9 + np.random.default_rng(0).integers(0, 5000, np.load(path).shape)
    np.save(path, values)
    data = open_folder(root).responses("sub-01").data
    np.testing.assert_array_equal(data, values)
    np.save(path, values - 10**9)
    assert open_folder(root).responses("sub-01").data.dtype == np.float32
