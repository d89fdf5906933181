import json

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.recipes.datasets import DATASETS, dataset_settings
from tests.data.bids_folder import INSIDE, write_bids


def open_bids(root, cache=None, **settings):
    values = {"name": "bids", "task": "read", "modality": "text", "betas": "trial", "confounds": ["motion"], **settings}
    return DATASETS.builder("bids").open(dataset_settings(values), root, Context(cache=cache))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("bids")
    return root, write_bids(root)


@pytest.mark.parametrize("betas", ["trial", "block"])
def test_betas_find_the_planted_amplitudes(folder, tmp_path, betas):
    root, amplitude = folder
    dataset = open_bids(root, tmp_path, betas=betas, atlas="atlas.nii.gz")
    check_dataset(dataset)
    responses = dataset.responses("sub-01")
    assert responses.data.shape == (24, amplitude.shape[1])
    assert set(responses.rois) == {"all", "left half", "right half"}
    assert len(np.unique(responses.run)) == 3
    r = np.corrcoef(responses.data.ravel(), amplitude[responses.stimulus].ravel())[0, 1]
    assert r > 0.8
    image = responses.masker.inverse_transform(responses.data[0])
    assert image.shape[:3] == (5, 4, 3)
    assert any("nowhere" in note for note in responses.notes)


def test_betas_come_from_the_cache_and_follow_their_settings(folder, tmp_path):
    root, _ = folder
    first = open_bids(root, tmp_path).responses("sub-01").data
    entries = sorted((tmp_path / "betas").iterdir())
    assert len(entries) == 3
    np.testing.assert_array_equal(first, open_bids(root, tmp_path).responses("sub-01").data)
    assert sorted((tmp_path / "betas").iterdir()) == entries
    smooth = open_bids(root, tmp_path, smoothing_fwhm_mm=4.0).responses("sub-01").data
    assert len(list((tmp_path / "betas").iterdir())) == 6
    assert np.abs(smooth - first).max() > 0.01
    array = next(entries[0].glob("*.npy"))
    array.write_bytes(array.read_bytes()[:-8] + b"damaged!")
    with pytest.warns(UserWarning, match="computed again"):
        again = open_bids(root, tmp_path).responses("sub-01").data
    np.testing.assert_array_equal(first, again)


def test_betas_that_were_exchanged_are_computed_again(folder, tmp_path):
    root, _ = folder
    first = open_bids(root, tmp_path).responses("sub-01").data
    one, other, _ = sorted((tmp_path / "betas").iterdir())
    one.rename(tmp_path / "kept")
    other.rename(one)
    (tmp_path / "kept").rename(other)
    with pytest.warns(UserWarning, match="it is the entry of another key"):
        again = open_bids(root, tmp_path).responses("sub-01").data
    np.testing.assert_array_equal(first, again)


def test_glmsingle_betas_are_read_in_the_order_of_runs_and_onsets(folder, tmp_path):
    root, _ = folder
    ours = open_bids(root, tmp_path)
    responses = ours.responses("sub-01")
    volume = np.zeros((5, 4, 3, 24), np.float32)
    volume[INSIDE] = responses.data.T
    (root / "glm").mkdir(exist_ok=True)
    np.save(root / "glm" / "sub-01.npy", volume)
    read = open_bids(root, betas="glmsingle", glmsingle="glm/{subject}.npy").responses("sub-01")
    np.testing.assert_allclose(read.data, responses.data)
    np.testing.assert_array_equal(read.stimulus, responses.stimulus)
    assert any("within them: run-1, run-2, run-3" in note for note in read.notes)
    np.save(root / "glm" / "sub-01.npy", volume[..., :20])
    with pytest.raises(UserError, match="20 betas, the events of sub-01 show 24"):
        open_bids(root, betas="glmsingle", glmsingle="glm/{subject}.npy").responses("sub-01")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "raed"}, "did you mean 'read'"),
        ({"space": "T1w"}, "no .*space 'T1w'"),
        ({"stimulus_column": "stim_fil"}, "stim_fil"),
        ({"derivatives": "derivatives/nope"}, "is not a folder"),
    ],
)
def test_settings_that_do_not_fit_are_named(folder, change, message):
    with pytest.raises(UserError, match=message):
        open_bids(folder[0], **change).responses("sub-01")


def test_betas_that_are_estimated_are_not_smoothed(folder):
    with pytest.raises(ValueError, match="GLMsingle's betas stay as they are"):
        open_bids(folder[0], betas="glmsingle", smoothing_fwhm_mm=4.0)


def test_files_that_do_not_fit_are_named(tmp_path):
    write_bids(tmp_path, n_runs=1)
    events = tmp_path / "sub-01" / "func" / "sub-01_task-read_run-1_events.tsv"
    good = events.read_text()
    events.write_text(good.replace("s3", "s33"))
    with pytest.raises(UserError, match=r"events.tsv:\d+ .*'s33'"):
        open_bids(tmp_path)
    events.write_text(good + "237.0\t4.0\ttext\ts1\n")
    with pytest.raises(UserError, match="before the response peaks"):
        open_bids(tmp_path).responses("sub-01")
    events.write_text(good)
    sidecar = next(tmp_path.rglob("*desc-preproc_bold.json"))
    sidecar.write_text(json.dumps({"RepetitionTime": 1.5}))
    with pytest.raises(UserError, match=r"repetition time 2 s, but .* says 1.5 s"):
        open_bids(tmp_path)
    sidecar.write_text(json.dumps({"RepetitionTime": 2.0}))
    next(tmp_path.rglob("*confounds_timeseries.tsv")).unlink()
    with pytest.raises(UserError, match="confounds"):
        open_bids(tmp_path).responses("sub-01")
