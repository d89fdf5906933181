"""`lebel2023`, `narratives`, `little-prince` and `friends` on made copies of their layouts."""

import json
import shutil

import h5py
import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.features.timing import to_rows
from brainbench.recipes.datasets import DATASETS, dataset_settings
from tests.data.story_copies import write_friends, write_lebel, write_little_prince, write_narratives


def opened(name, root, **settings):
    return DATASETS.builder(name).open(dataset_settings({"name": name, **settings}), root, Context())


def planted(dataset, subject, shift_s=0.0):
    """Return the correlation of every target with the lengths of the words, through the data set's own clock."""
    stimuli, responses = dataset.stimuli(subject), dataset.responses(subject)
    length = np.array([[len(stimuli.load(k))] for k in range(len(stimuli))], dtype=float)
    timing = responses.continuous
    x = to_rows(length, stimuli.onset, None, timing.row_time + shift_s, timing.t_r)[:, 0]
    residual, runs = np.array(responses.data, dtype=float), responses.run
    for run in np.unique(runs):
        x[runs == run] -= x[runs == run].mean()
        residual[runs == run] -= residual[runs == run].mean(axis=0)
    return np.array([np.corrcoef(x, y)[0, 1] for y in residual.T])


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    root = tmp_path_factory.mktemp("stories")
    write_lebel(root / "lebel2023")
    write_narratives(root / "narratives")
    write_little_prince(root / "little-prince")
    write_friends(root / "friends")
    return root


SUBJECT = {"lebel2023": "UTS02", "narratives": "sub-002", "little-prince": "sub-EN058", "friends": "sub-02"}


@pytest.mark.parametrize("name", SUBJECT)
def test_the_planted_signal_lies_where_the_clock_says(name, copies):
    dataset = opened(name, copies / name)
    assert type(dataset).looks_like(copies / name) and dataset.simulated
    check_dataset(dataset)
    r = planted(dataset, SUBJECT[name])
    half = dataset.responses(SUBJECT[name]).n_targets // 2
    assert r[: half - 1].min() > 0.6 and np.abs(r[half:]).mean() < 0.3
    # A volume sooner or later fits worse: no shift hides in the clock.
    for shift in (-dataset.t_r, dataset.t_r):
        assert planted(dataset, SUBJECT[name], shift)[: half - 1].mean() < r[: half - 1].mean()


def test_lebels_responses_begin_at_ten_seconds_and_lack_ten_volumes_at_either_end(copies):
    dataset = opened("lebel2023", copies / "lebel2023")
    responses, stimuli = dataset.responses("UTS01"), dataset.stimuli("UTS01")
    assert list(np.unique(responses.run, return_counts=True)[1]) == [40, 44, 48]
    avatar = responses.run == "avatar"
    assert responses.continuous.row_time[avatar][0] == 10.0
    heard = [stimuli.load(k) for k in range(len(stimuli))]
    assert not {"sp", "{sp}", "LG", ""} & set(heard)
    assert set(responses.labels["test_set"][avatar]) == {"train"}
    assert set(responses.labels["test_set"][responses.run == "wheretheressmoke"]) == {"test"}
    alone = opened("lebel2023", copies / "lebel2023", stories=["legacy"]).responses("UTS01")
    assert set(alone.run) == {"legacy"} and "test_set" not in alone.labels


def changed(root, tmp_path, path, apply):
    shutil.copytree(root, tmp_path / "copy")
    apply(tmp_path / "copy" / path)
    return tmp_path / "copy"


def of_json(*keys, value):
    def apply(path):
        found = json.loads(path.read_text())
        part = found
        for key in keys[:-1]:
            part = part[key]
        if value is None:
            del part[keys[-1]]
        else:
            part[keys[-1]] = value
        path.write_text(json.dumps(found))

    return apply


def other_rows(path):
    with h5py.File(path, "a") as file:
        values = np.asarray(file["data"])
        del file["data"]
        file["data"] = values[:-1]


GRID = "derivative/TextGrids/avatar.TextGrid"
FIRST = "derivatives/sub-EN057/func/sub-EN057_task-lppEN_run-15_space-MNIColin27_desc-preproc_bold.nii.gz"
SECOND = FIRST.replace("run-15", "run-17")
WORDS = "annotation/EN/lppEN_word_information.csv"
SCRIPT = "stimuli/transcripts/friends/s1/friends_s01e01a.tsv"
PIEMAN = "stimuli/gentle/pieman/align.json"
EVENTS = "code/event_meta.json"


def swapped(path):
    other = path.with_name(SECOND.rpartition("/")[2])
    kept = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def replaced(old, new):
    return lambda path: path.write_text(path.read_text().replace(old, new, 1))


def with_key(key, shape=(46, 1000)):
    def apply(path):
        with h5py.File(path, "a") as file:
            file[key] = np.random.default_rng(0).standard_normal(shape).astype("f4")

    return apply


H5 = (
    "fmri/sub-01/func/sub-01_task-friends_space-MNI152NLin2009cAsym_atlas-Schaefer18_parcel-1000Par7Net_"
    "desc-s123456_bold.h5"
)


@pytest.mark.parametrize(
    ("name", "path", "apply", "message"),
    [
        ("lebel2023", "derivative/respdict.json", of_json("avatar", value=61), r"\(41, voxels\) was expected"),
        ("lebel2023", "derivative/respdict.json", of_json("avatar", value=None), "no 'avatar'"),
        ("lebel2023", "derivative/preprocessed_data/UTS01/avatar.hf5", other_rows, "ten|10 are dropped at either end"),
        ("lebel2023", GRID, lambda path: path.unlink(), "the recording of 'avatar' has no words"),
        ("narratives", EVENTS, of_json("pieman", "pieman", "duration", value=90), "lasts from volume 10 to 99"),
        ("narratives", EVENTS, of_json("pieman", "pieman", "onset", value="x"), "no onset and duration in volumes"),
        ("narratives", PIEMAN, of_json("words", value=[{"case": "success"}]), "not an alignment by gentle"),
        ("narratives", "code/task_meta.json", of_json("milkyway", "sub-001", value=None), "no 'sub-001'"),
        ("little-prince", FIRST, swapped, "44 volumes, 'section1' of EN has 40"),
        ("little-prince", WORDS, replaced(",N,1", ",N,7"), "column 'section': 7; 1 ... 3 were expected"),
        ("friends", SCRIPT, replaced("['", "'"), "must be lists of equal length"),
        ("friends", H5, with_key("ses-009_task-s01e01a"), "two recordings of s01e01a"),
        ("friends", H5, with_key("task-s01e05a"), "'task-s01e05a' is no name of a recording"),
        ("friends", H5, with_key("ses-009_task-s01e05a", (46, 400)), r"\(46, 400\).*1000 parcels|no such file"),
    ],
)
def test_what_differs_is_refused(name, path, apply, message, copies, tmp_path):
    with pytest.raises(UserError, match=message):
        dataset = opened(name, changed(copies / name, tmp_path, path, apply))
        for subject in dataset.subjects:
            dataset.responses(subject)


def test_narratives_leaves_out_what_the_authors_exclude_and_says_so(copies):
    dataset = opened("narratives", copies / "narratives")
    said = "; ".join(dataset.notes())
    for left in ("sub-001_task-pieman_run-2", "sub-002_task-pieman", "sub-003_task-schema"):
        assert f"{left} is left out" in said
    assert set(dataset.responses("sub-001").run) == {"pieman", "milkywayoriginal"}
    second = dataset.responses("sub-002")
    assert set(second.run) == {"milkywayvodka", "slumlordreach"}
    assert np.sum(second.run == "slumlordreach") == 46  # from the begin of the first to the end of the second
    account = [str(row) for row in second.account]
    assert any("1 words left out: they were not found in the sound" in row for row in account)
    assert any("1 of 10 vertices left out: never change" in row for row in account)
    kept = opened("narratives", copies / "narratives", exclude=False, leave_out=["sub-002_task-milkyway"])
    assert set(kept.responses("sub-002").run) == {"pieman", "slumlordreach"}


def test_the_little_prince_takes_runs_in_the_order_of_their_numbers(copies):
    dataset = opened("little-prince", copies / "little-prince")
    assert dataset.subjects == ["sub-EN057", "sub-EN058"]
    assert "sub-EN059 is left out: 2 of 3 runs are there" in "; ".join(dataset.notes())
    responses = dataset.responses("sub-EN057")
    assert list(dict.fromkeys(responses.run)) == ["section1", "section2", "section3"]
    assert responses.n_targets == 17 and responses.masker.inverse_transform(responses.data[0]).shape == (3, 3, 2)
    assert any("1 words left out: their cell" in str(row) for row in responses.account)


def test_friends_says_which_episodes_are_missing_and_which_words_have_no_time(copies):
    dataset = opened("friends", copies / "friends")
    second = dataset.responses("sub-02")
    assert "sub-02 has no recording of s02e03a" in second.notes
    assert list(dict.fromkeys(second.run)) == ["s01e01a", "s01e01b"] and second.n_targets == 1000
    assert any("1 words left out: they have no time" in str(row) for row in second.account)
    assert not any("s07" in name for name in dataset.stimuli("sub-01").ids)
    assert set(opened("friends", copies / "friends", seasons=[2]).responses("sub-01").run) == {"s02e03a"}


def test_words_that_python_writes_like_nothing_are_words(copies, tmp_path):
    """`nan` and `None` are words where they are quoted."""

    def with_words(path):
        lines = path.read_text().split("\n")
        lines[1] = "\t".join(["nan None", "['nan', 'None', nan]", "[0.1, 0.2, 0.3]", "[0.1, 0.1, 0.1]"])
        path.write_text("\n".join(lines))

    path = changed(copies / "friends", tmp_path, SCRIPT, with_words)
    words = opened("friends", path).stimuli("sub-01")
    assert [words.load(k) for k in range(2)] == ["nan", "None"] and words.onset[:2].tolist() == [0.1, 0.2]
    assert words.onset[2] > 0.3


def test_an_excluded_recording_is_not_one_whose_name_begins_alike(copies, tmp_path):
    shutil.copytree(copies / "narratives", tmp_path / "copy")
    (tmp_path / "copy" / "code" / "scan_exclude.json").write_text('{"milky": {"sub-002": ["sub-002_task-milky"]}}')
    assert "milkywayvodka" in set(opened("narratives", tmp_path / "copy").responses("sub-002").run)


def test_regions_come_from_a_table(copies, tmp_path):
    shutil.copytree(copies / "friends", tmp_path / "copy")
    (tmp_path / "copy" / "rois.csv").write_text("target,roi\n0,early\n1,early\n999,late\n")
    rois = opened("friends", tmp_path / "copy", rois="rois.csv").responses("sub-01").rois
    assert {name: int(mask.sum()) for name, mask in rois.items()} == {"all": 1000, "early": 2, "late": 1}
    (tmp_path / "copy" / "rois.csv").write_text("target,roi\n1000,late\n")
    with pytest.raises(UserError, match=r"'1000' is not in 0 \.\.\. 999"):
        opened("friends", tmp_path / "copy", rois="rois.csv").responses("sub-01")


def test_a_story_that_nobody_heard_is_refused(copies):
    with pytest.raises(UserError, match="nobody heard 'avatr'; did you mean 'avatar'"):
        opened("lebel2023", copies / "lebel2023", stories=["avatr"]).stimuli("UTS01")
