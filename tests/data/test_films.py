"""Data sets of films in their official layouts: what is read, what is left out, and what is refused."""

import os
import pickle

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from brainbench.core.errors import UserError
from brainbench.core.pickles import Attributes, read_pickle
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.data.roots import resolve_root
from brainbench.recipes.datasets import DATASETS, dataset_settings
from brainbench.studies.opened import met_before
from tests.data.films_copy import write_deap, write_dreamer, write_seed, write_seed_iv

pytest.importorskip("mne")

MADE = {"deap": write_deap, "seed": write_seed, "seed-iv": write_seed_iv, "dreamer": write_dreamer}
SHORT = {"tmax": 2.0, "band": None}


def opened(name, root, **settings):
    path, _ = resolve_root(name, str(root))
    values = {"name": name, **SHORT, **settings}
    return DATASETS.builder(name).open(dataset_settings(values), path, Context())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {name: write(tmp_path_factory.mktemp(name)) for name, write in MADE.items()}


@pytest.mark.parametrize(
    ("name", "subjects", "n_channels", "sessions", "labels"),
    [
        ("deap", ["s01", "s02"], 32, ["0"], ["low"] * 3 + ["high"] * 3),
        ("seed", ["1", "10"], 60, ["20130709", "20131016"], ["positive", "neutral", "negative"] * 2),
        ("seed-iv", ["2"], 60, ["1", "2", "3"], "sad fear happy neutral fear neutral".split()),
        ("dreamer", ["1", "2"], 14, ["0"], ["low", "low", "high", "high", "high", "low"]),
    ],
)
def test_every_film_is_a_trial_with_its_label(made, name, subjects, n_channels, sessions, labels):
    dataset = opened(name, made[name])
    assert dataset.subjects == subjects and check_dataset(dataset)
    trials = dataset.trials(subjects[-1])
    assert trials.X.shape[1] == n_channels and trials.positions() is not None
    assert list(dict.fromkeys(trials.session)) == sessions
    assert trials.label[trials.session == sessions[0]][:6].tolist() == labels
    assert 5e-6 < trials.X.std(axis=2).mean() < 2e-5  # 10 microvolts were written
    assert set(dataset.files()) == {path for path in made[name].rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [*MADE, "moabb"])
def test_a_network_that_learned_from_a_participant_is_known_to_have_met_no_other(made, name):
    if name == "moabb":
        pytest.importorskip("moabb")
        values = {"name": "moabb", "dataset": "FakeDataset", "parameters": {"n_subjects": 2}}
        dataset = DATASETS.builder("moabb").open(dataset_settings(values), None, Context())
    else:
        dataset = opened(name, made[name])
    first, *others = dataset.subjects
    learned = dataset.origins(first)
    assert learned and met_before(learned, dataset, [*others, first]) in learned.values()
    assert met_before(learned, dataset, others) is None and met_before({}, dataset, [first]) is None


def test_samples_are_those_of_the_film_and_of_no_other(made):
    stored = loadmat(made["seed"] / "Preprocessed_EEG/10_20131016.mat")["djc_eeg4"] * 1e-6
    trials = opened("seed", made["seed"]).trials("10")
    at = np.flatnonzero(trials.session == "20131016")[3]
    channels = [0, 1, 3]  # Fp1, Fpz, AF3
    assert np.allclose(trials.X[at][channels], stored[channels, :401], atol=1e-12)
    baseline = opened("deap", made["deap"]).trials("s01")
    film = read_pickle(made["deap"] / "data_preprocessed_python/s01.dat")["data"][2] * 1e-6
    assert np.allclose(baseline.X[2], film[:32, 384 : 384 + 257], atol=1e-12)  # after 3 s of baseline


def test_filters_do_not_reach_from_one_film_into_the_next(made):
    """A film's samples after filtering are those of the film filtered alone."""
    import mne

    film = read_pickle(made["deap"] / "data_preprocessed_python/s01.dat")["data"][2, :32] * 1e-6
    alone = mne.filter.filter_data(film, 128.0, 4.0, 45.0, verbose="ERROR")
    trials = opened("deap", made["deap"], band=[4.0, 45.0]).trials("s01")
    assert np.allclose(trials.X[2], alone[:, 384 : 384 + 257], atol=1e-9)


def test_films_in_windows_are_runs_of_their_own(made):
    dataset = opened("dreamer", made["dreamer"], every=1.0, rating="arousal", threshold=None)
    trials = dataset.trials("1")
    assert list(dict.fromkeys(trials.run)) == [f"film {n}" for n in range(1, 7)]
    assert all(len(set(trials.label[trials.run == run])) == 1 for run in trials.run)
    assert trials.label[trials.run == "film 1"].tolist() == ["5"] * 3
    long = opened("seed", made["seed"], tmax=5.02)  # 1,005 samples; clips have 1,001 to 1,006
    assert [int((long.trials("1").session == one).sum()) for one in ("20130709", "20131016")] == [2, 2]
    assert "4 trials left out" in "\n".join(map(str, long.account("1")))


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/brainbench-was-here",)


def test_pickles_that_are_programs_are_not_run(tmp_path):
    path = tmp_path / "data_preprocessed_python/s01.dat"
    path.parent.mkdir()
    for protocol in (0, 2, 4):
        path.write_bytes(pickle.dumps({"data": Evil(), "labels": np.ones((1, 4))}, protocol=protocol))
        with pytest.raises(UserError, match=r"s01.dat: asks for posix.system, which opening it would run"):
            opened("deap", tmp_path).trials("s01")
    path.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(UserError, match="`data` and `labels` are missing"):
        opened("deap", tmp_path).trials("s01")
    path.write_bytes(b"no pickle")
    with pytest.raises(UserError, match="damaged, or no pickle of"):
        opened("deap", tmp_path).trials("s01")
    # An author's dictionary is read without its code; values are what they were.
    values = {"a": np.arange(3), "b": np.float64(2.5), "c": [b"x", "y", None, True], "d": np.array(["u", "v"])}
    path.write_bytes(pickle.dumps(values, protocol=4))
    back = read_pickle(path)
    assert repr(back) == repr(values)
    path.write_bytes(pickle.dumps(Attributes(values)))
    with pytest.raises(UserError, match=r"brainbench.core.pickles.Attributes"):
        read_pickle(path)
    assert repr(read_pickle(path, dictionaries=["brainbench.core.pickles.Attributes"])) == repr(values)


def test_two_recordings_of_one_session_are_refused(tmp_path):
    root = write_seed_iv(tmp_path, sessions=("1",))
    first = root / "eeg_raw_data" / "1" / "2_20150501.mat"
    first.with_name("2_20150601.mat").write_bytes(first.read_bytes())
    with pytest.raises(UserError, match=r"two recordings of participant 2: 2_20150501.mat, 2_20150601.mat"):
        DATASETS.builder("seed-iv").looks_like(root)


def test_what_is_not_the_official_layout_is_refused(tmp_path, made):
    write_seed(tmp_path)
    folder = tmp_path / "Preprocessed_EEG"
    savemat(folder / "label.mat", {"label": np.array([[1, 0, -1, 2, 0, 0]])})
    with pytest.raises(UserError, match="label 2 is none of -1, 0 and 1"):
        opened("seed", tmp_path).trials("1")
    savemat(folder / "label.mat", {"label": np.array([[1, 0, -1, 1, 0, 0, 1]])})
    with pytest.raises(UserError, match=r"7 clips have a label, and `..._eeg7` is missing"):
        opened("seed", tmp_path).trials("1")
    with pytest.raises(UserError, match="CB1, CB2"):
        opened("seed", made["seed"], exclude_channels=[]).trials("1")
    assert opened("seed", made["seed"], exclude_channels=[], montage=None).trials("1").X.shape[1] == 62
    with pytest.raises(UserError, match="microvolts were taken for volts"):
        opened("deap", made["deap"], unit="volt").trials("s01")
    stored = read_pickle(made["deap"] / "data_preprocessed_python/s01.dat")
    wrong = tmp_path / "data_preprocessed_python/s01.dat"
    wrong.parent.mkdir()
    for change, message in (
        ({"labels": stored["labels"] + 5}, "the rating of film 3 is 9.2; the scale goes from 1 to 9"),
        ({"labels": stored["labels"][:5]}, r"6 videos and labels of shape \(5, 4\); \(6, 4\) is needed"),
        ({"data": stored["data"][:, :32]}, "video 1: 32 channels, where the data set has 40"),
        ({"data": "x"}, "data: not an array of numbers but str"),
    ):
        wrong.write_bytes(pickle.dumps({**stored, **change}))
        with pytest.raises(UserError, match=message):
            opened("deap", tmp_path).trials("s01")
