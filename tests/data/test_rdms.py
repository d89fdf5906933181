"""RDMs in files: every form gives the same distances, and what is none is refused with its place."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from scipy.spatial.distance import squareform

from benchmarks.rsatoolbox_numbers import made
from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.data.layouts.rdms import Rdms
from brainbench.evaluation.similarity import rdm
from brainbench.recipes.datasets import dataset_settings

WRITTEN = Path(__file__).parents[1] / "studies" / "rsatoolbox.hdf5"
NAMES = [f"image{index:02d}" for index in range(5)]


def opened(folder, names=NAMES, **settings):
    pd.DataFrame({"id": names, "text": [f"text {name}" for name in names]}).to_csv(folder / "stimuli.csv", index=False)
    return Rdms.open(dataset_settings({"name": "rdm", "modality": "text", **settings}), folder, Context())


def distances(dataset, subject, roi):
    responses = dataset.responses(subject)
    return squareform(responses.data[:, responses.rois[roi]])


@pytest.fixture
def pairs():
    return np.random.default_rng(0).uniform(0.1, 2, (2, 10))


def test_every_form_of_arrays_gives_the_same_distances(tmp_path, pairs):
    squares = np.stack([squareform(one) for one in pairs])
    forms = {"pairs": pairs, "squares": squares, "pages": np.moveaxis(squares, 0, 2)}
    for name, values in forms.items():
        np.save(tmp_path / f"{name}.npy", values)
        savemat(tmp_path / f"{name}.mat", {"brain": values, "note": "text"})
    for ending in ("npy", "mat"):
        dataset = opened(tmp_path, rdms=f"{{subject}}.{ending}", rois=["V1", "LO"])
        assert dataset.subjects == sorted(forms)
        for name in forms:
            np.testing.assert_allclose(distances(dataset, name, "LO"), pairs[1])
    assert check_dataset(dataset)


def test_structs_of_the_matlab_toolbox_are_read_by_name_and_sessions_are_averaged(tmp_path, pairs):
    named = [("V1 | s1 | session: 1", pairs[0]), ("V1 | s1 | session: 2", pairs[1]), ("V1 | s2 | session: 1", pairs[1])]
    structs = np.array([(squareform(one), name) for name, one in named], dtype=[("RDM", object), ("name", object)])
    savemat(tmp_path / "brain.mat", {"RDMs": structs})
    dataset = opened(tmp_path, rdms="brain.mat")
    assert dataset.subjects == ["s1", "s2"]
    np.testing.assert_allclose(distances(dataset, "s1", "V1"), pairs.mean(axis=0))
    np.testing.assert_allclose(distances(dataset, "s2", "V1"), pairs[1])
    (first,), (second,) = (dataset.responses(person).account for person in ("s1", "s2"))
    assert "V1 is the mean of 2 RDMs" in str(first) and "mean" not in str(second)


def test_a_file_that_rsatoolbox_wrote_is_put_into_the_order_of_the_table(tmp_path):
    (tmp_path / "rdms.hdf5").write_bytes(WRITTEN.read_bytes())
    _, patterns = made()
    order = [3, 0, 4, 1, 2]
    dataset = opened(tmp_path, [NAMES[place] for place in order], rdms="rdms.hdf5")
    assert dataset.subjects == ["p1", "p2"] and list(dataset.responses("p1").rois) == ["V1", "LO"]
    for person in dataset.subjects:
        for region in ("V1", "LO"):
            expected = rdm(patterns[person, region][:5][order])
            np.testing.assert_allclose(distances(dataset, person, region), expected, atol=1e-12)


def hdf5(path, values, of_rdms, of_patterns):
    with h5py.File(path, "w") as file:
        file["dissimilarities"] = values
        for group, entries in (("rdm_descriptors", of_rdms), ("pattern_descriptors", of_patterns)):
            for name, listed in entries.items():
                file[f"{group}/{name}"] = np.array(listed, dtype="S" if isinstance(listed[0], str) else None)


def test_the_descriptor_that_holds_the_ids_gives_the_order_whatever_else_numbers_the_stimuli(tmp_path, pairs):
    turned = NAMES[::-1]
    hdf5(tmp_path / "a.hdf5", pairs, {"Subject": ["s1", "s2"]}, {"beta": [7, 3, 9, 1, 5], "cond": turned})
    dataset = opened(tmp_path, rdms="a.hdf5")
    assert dataset.subjects == ["s1", "s2"] and list(dataset.responses("s2").rois) == ["all"]
    np.testing.assert_allclose(squareform(distances(dataset, "s2", "all"))[::-1, ::-1], squareform(pairs[1]))
    assert not any("order" in note for note in dataset.notes())

    hdf5(tmp_path / "a.hdf5", pairs, {"Subject": ["s1", "s2"]}, {"cond": turned, "other": NAMES})
    with pytest.raises(UserError, match=r"'?cond'?.*'?other'?.* each in another order"):
        opened(tmp_path, rdms="a.hdf5")

    hdf5(tmp_path / "a.hdf5", pairs, {"Subject": ["s1", "s2"]}, {"beta": [7, 3, 9, 1, 5]})
    dataset = opened(tmp_path, rdms="a.hdf5")
    np.testing.assert_allclose(distances(dataset, "s1", "all"), pairs[0])
    assert any("a.hdf5: taken in the order of stimuli.csv" in note and "beta" in note for note in dataset.notes())


def test_participants_under_a_name_that_is_not_known_are_not_averaged_into_one(tmp_path, pairs):
    hdf5(tmp_path / "a.hdf5", pairs, {"who": ["s1", "s2"], "roi": ["V1", "V1"]}, {"cond": NAMES})
    with pytest.raises(UserError, match="2 RDMs of V1, and nothing says which participant each is of"):
        opened(tmp_path, rdms="a.hdf5")
    dataset = opened(tmp_path, rdms="{subject}.hdf5")
    np.testing.assert_allclose(distances(dataset, "a", "V1"), pairs.mean(axis=0))
    assert "V1 is the mean of 2 RDMs" in str(dataset.responses("a").account[0])


def test_files_by_participant_and_region(tmp_path, pairs):
    for person in ("s2", "s10"):
        for place, region in enumerate(("V1", "LO")):
            np.save(tmp_path / f"{person}_{region}.npy", pairs[place])
    dataset = opened(tmp_path, rdms="{subject}_{roi}.npy")
    assert dataset.subjects == ["s2", "s10"]
    np.testing.assert_allclose(distances(dataset, "s10", "LO"), pairs[1])


def lopsided(pairs):
    square = squareform(pairs[0])
    square[1, 2] += 0.5
    return square


def missing(pairs):
    values = pairs[0].copy()
    values[4] = np.nan
    return values


@pytest.mark.parametrize(
    ("spoil", "settings", "said"),
    [
        (lopsided, {}, r"s1.npy, RDM 1: not symmetric: .* at \(2, 3\)"),
        (lambda pairs: 2 - squareform(pairs[0]), {}, r"the diagonal is not zero \(2\): these are similarities"),
        (missing, {}, "1 of 10 distances are missing or not finite, the first one between image01 and image02"),
        (lambda pairs: pairs[0, :9], {}, "9 values are no upper triangle"),
        (lambda pairs: pairs[0, :6], {}, "an RDM of 4 stimuli, .*stimuli.csv has 5"),
        (lambda pairs: pairs, {}, "2 RDMs whose regions it does not name, `dataset.rois` names 0"),
        (lambda pairs: np.array(["a"] * 10), {}, "not distances"),
        (lambda pairs: pairs[0], {"rdms": "{subject}.mat"}, "no file matches dataset.rdms"),
    ],
)  # fmt: skip
def test_what_is_no_rdm_is_refused(tmp_path, pairs, spoil, settings, said):
    np.save(tmp_path / "s1.npy", spoil(pairs))
    with pytest.raises(UserError, match=said):
        opened(tmp_path, **{"rdms": "{subject}.npy"} | settings)


@pytest.mark.parametrize("value", [0.0, 1.5, np.nan])
def test_distances_that_nothing_correlates_with_are_refused_of_those_who_are_asked_for(tmp_path, pairs, value):
    np.save(tmp_path / "s1.npy", pairs)
    np.save(tmp_path / "s2.npy", np.stack([pairs[0], np.full(10, value)]))
    said = "10 of 10 distances are missing" if np.isnan(value) else f"all distances are {value:g}"
    with pytest.raises(UserError, match=f"s2.npy: s2 in LO: {said}"):
        opened(tmp_path, rdms="{subject}.npy", rois=["V1", "LO"])
    alone = opened(tmp_path, rdms="{subject}.npy", rois=["V1", "LO"], subjects=["s1"])
    np.testing.assert_allclose(distances(alone, "s1", "LO"), pairs[1])


def test_a_region_that_is_nowhere_is_named(tmp_path, pairs):
    np.save(tmp_path / "s1_V1.npy", pairs[0])
    with pytest.raises(UserError, match="no RDM of 'V2'; did you mean 'V1'"):
        opened(tmp_path, rdms="{subject}_{roi}.npy", rois=["V2"])
