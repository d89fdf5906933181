"""Contacts in the head: pairs along shafts, places and labels of tables, and the layout of Du-IN."""

import os
import pickle
import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.core.pickles import read_pickle
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.data.roots import resolve_root
from brainbench.recipes.datasets import DATASETS, dataset_settings

mne = pytest.importorskip("mne")

from brainbench.recordings.intracranial.contacts import along_shafts, contact_of, pair_of, shaft_pairs  # noqa: E402
from brainbench.recordings.intracranial.electrodes import by_label  # noqa: E402
from tests.data.contacts_copy import CONTACTS, raw_of, write_bids_ieeg, write_duin  # noqa: E402

FOLDER = {"name": "eeg-folder", "kind": "seeg", "events": "annotations", "band": None, "tmin": 0.0, "tmax": 1.0}


def opened(root, **settings):
    values = {**FOLDER, **settings}
    path, _ = resolve_root(values["name"], str(root))
    return DATASETS.builder(values["name"]).open(dataset_settings(values), path, Context())


@pytest.mark.parametrize(
    ("name", "shaft", "number"),
    [
        ("A1", "A", 1),
        ("LH12", "LH", 12),
        ("TI'3", "TI'", 3),
        ("OF 2", "OF", 2),
        ("POL A'10", "A'", 10),
        ("EEG LA1-Ref", "LA", 1),
        ("G_12", "G", 12),
        ("A12-A13", "A", 12),
    ],
)
def test_a_contact_has_a_shaft_and_a_number(name, shaft, number):
    found = contact_of(name)
    assert (found.shaft, found.number) == (shaft, number)


def test_what_has_no_number_is_no_contact():
    assert all(contact_of(name) is None for name in ("Cz", "ref", "12", "A"))
    assert pair_of("A1-A2") == pair_of("A1-2") == ("A1", "A2") and pair_of("B'3") == ("B'3",)


def test_pairs_are_neighbours_and_reach_over_no_gap():
    pairs, left, said = shaft_pairs(["A3", "B1", "A1", "A2", "A5", "B2", "C1"], "run")
    assert pairs == [("A1", "A2"), ("A2", "A3"), ("B1", "B2")]
    assert left[0].what == "2 contacts: A5, C1" and left[0].why == "no neighbour on its shaft"
    assert said == ["3 differences of neighbours along 3 shafts", "no pair reaches over what is missing on a shaft: A4"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["A1", "A2", "ref"], "channel ref has no shaft and number"),
        (["A1-A2", "A2-A3"], "A1-A2 is a difference of two contacts already"),
        (["A1", "A3", "B2"], "no two of 3 contacts are neighbours"),
        (["A1", "A 1", "A2"], "A1 and A 1 are both contact 1 of shaft A"),
    ],
)
def test_names_without_pairs_are_refused(names, message):
    with pytest.raises(UserError, match=message):
        shaft_pairs(names, "run")


def test_a_pair_is_the_difference_and_lies_midway():
    raw = raw_of()
    for n, channel in enumerate(raw.info["chs"]):
        channel["loc"][:3] = np.nan if raw.ch_names[n] == "B2" else (0.01, 0.001 * n, 0.02)
    X = raw.get_data()
    along_shafts(raw, "run")
    assert raw.ch_names == ["A1-A2", "A2-A3", "B1-B2"] and set(raw.get_channel_types()) == {"seeg"}
    at = [(CONTACTS.index(a), CONTACTS.index(b)) for a, b in (("A1", "A2"), ("A2", "A3"), ("B1", "B2"))]
    assert np.allclose(raw.get_data(), [X[a] - X[b] for a, b in at], atol=1e-18)
    assert np.allclose(raw.info["chs"][1]["loc"][:3], (0.01, 0.0015, 0.02))
    assert np.isnan(raw.info["chs"][2]["loc"][:3]).all()  # of one contact the place is unknown


@pytest.mark.parametrize("ending", [".fif", pytest.param(".edf", marks=pytest.mark.skipif(
    not find_spec("edfio"), reason="edfio is not installed"))])  # fmt: skip
def test_bids_tables_give_kinds_places_and_labels(tmp_path, ending):
    dataset = opened(write_bids_ieeg(tmp_path, ending))
    trials = dataset.trials("01")
    assert trials.ch_names == CONTACTS and set(trials.info.get_channel_types()) == {"seeg"}
    loc = np.array([channel["loc"][:3] for channel in trials.info["chs"]])
    assert np.allclose(loc[2], (0.002, 0.004, 0.0305)) and np.isnan(loc[-1]).all()
    assert trials.positions() is None  # one is unknown, and nothing is invented
    said = " ".join(row.why for row in dataset.account("01"))
    assert "positions of 6 contacts from sub-01_space-MNI_electrodes.tsv (1 channel without one)" in said
    named = {path.name for path in dataset.files()}
    assert {"sub-01_space-MNI_electrodes.tsv", "sub-01_space-MNI_coordsystem.json"} <= named
    labels = dataset.labels_of_contacts("01", "region")
    groups, none = by_label(["A1-A2", "A2-A3", "B1-B2", "C1"], labels, "01")
    assert groups == {"motor": ["A1-A2", "B1-B2"]}
    assert none == {"between two labels": ["A2-A3"], "without a label": ["C1"]}
    with pytest.raises(UserError, match="no column 'regoin'; did you mean 'region'"):
        dataset.labels_of_contacts("01", "regoin")


def test_pairs_leave_out_what_the_file_calls_bad_and_say_it(tmp_path):
    root = write_bids_ieeg(tmp_path)
    table = root / "sub-01/ieeg/sub-01_task-words_channels.tsv"
    table.write_text(table.read_text().replace("A2\tSEEG\tV\tgood", "A2\tSEEG\tV\tbad"))
    dataset = opened(root, reference="bipolar")
    assert dataset.trials("01").ch_names == ["B1-B2"]
    rows = [(row.left_out, row.why) for row in dataset.account("01")]
    assert ("4 contacts: A1, A3, A5, C1", "no neighbour on its shaft") in rows
    assert any("missing on a shaft: A2, A4" in why for _, why in rows)
    plain = opened(root).trials("01")
    found = dataset.trials("01").X[:, 0]
    assert np.allclose(found, plain.X[:, plain.ch_names.index("B1")] - plain.X[:, plain.ch_names.index("B2")])
    again = dataset.read_new(root / "sub-01/ieeg/sub-01_task-words_ieeg.fif", dataset.trials("01").info)
    assert again.recording.raw.ch_names == ["B1-B2"]


def test_places_without_a_unit_are_not_taken(tmp_path):
    dataset = opened(write_bids_ieeg(tmp_path, unit="pixels"))
    loc = np.array([channel["loc"][:3] for channel in dataset.trials("01").info["chs"]])
    assert np.isnan(loc).all()
    assert "coordinates in 'pixels'" in " ".join(row.why for row in dataset.account("01"))


def test_of_several_tables_none_is_taken_and_that_is_said(tmp_path):
    root = write_bids_ieeg(tmp_path)
    folder = root / "sub-01/ieeg"
    (folder / "sub-01_space-ACPC_electrodes.tsv").write_text((folder / "sub-01_space-MNI_electrodes.tsv").read_text())
    dataset = opened(root)
    assert np.isnan([channel["loc"][:3] for channel in dataset.trials("01").info["chs"]]).all()
    names = "sub-01_space-ACPC_electrodes.tsv, sub-01_space-MNI_electrodes.tsv"
    assert f"several tables of contacts ({names})" in " ".join(row.why for row in dataset.account("01"))
    with pytest.raises(UserError, match="01: several tables of contacts beside a recording"):
        dataset.labels_of_contacts("01", "region")
    one = opened(root, contacts="sub-01/ieeg/sub-01_space-MNI_electrodes.tsv")
    assert one.labels_of_contacts("01", "region")["A3"] == "insula"


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (("electrodes.tsv", "A1\t0", "A1\tzero"), {}, "electrodes.tsv:2  x: 'zero' is not a number"),
        (("electrodes.tsv", "A1\t0", "A1\t1_0"), {}, "electrodes.tsv:2  x: '1_0' is not a number"),
        (("electrodes.tsv", "name\tx", "name\tX"), {}, "no column 'x'; did you mean 'X'"),
        (("coordsystem.json", "{", "["), {}, "not a readable JSON file"),
        (None, {"kind": "eeg", "channel_types": dict.fromkeys(CONTACTS, "eeg"), "reference": "bipolar"},
         "'bipolar' is for contacts on shafts"),
        (None, {"contacts": "contacts.csv"}, "contacts.csv"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_tables_of_contacts_is_said(tmp_path, change, settings, message):
    root = write_bids_ieeg(tmp_path)
    if change is not None:
        path = next((root / "sub-01/ieeg").glob(f"*{change[0]}"))
        path.write_text(path.read_text().replace(change[1], change[2]))
    with pytest.raises(UserError, match=message):
        dataset = opened(root, **settings)
        dataset.trials("01")
        dataset.labels_of_contacts("01", "region")


def test_the_layout_of_duin(tmp_path):
    dataset = _duin(tmp_path)
    assert dataset.subjects == ["001", "002"] and check_dataset(dataset)
    trials = dataset.trials("001")
    assert trials.X.shape == (12, 4, 300) and trials.ch_names == ["SM8", "SM9", "P4", "CI9"]
    assert set(trials.run) == {"run1", "run2"} and set(trials.label) == {"word0", "word1", "word2"}
    folder = tmp_path / "data/seeg.he2023xuanwu/001/word-recitation/run2/dataset.bipolar.default.unaligned"
    stored = read_pickle(folder / "data", dictionaries=["utils.DotDict"])
    assert np.allclose(trials.X[8], 1e-6 * stored[2]["data_s"][:, :300], atol=1e-15)
    assert set(dataset.files()) == {path for path in tmp_path.rglob("*") if path.is_file()}


def test_runs_of_duin_come_in_the_order_of_their_numbers(tmp_path):
    # What is chronological trains on the first ones: run10 is not the second.
    runs = dict.fromkeys(_duin(tmp_path, runs=("run1", "run2", "run10")).trials("001").run.tolist())
    assert list(runs) == ["run1", "run2", "run10"]


def _duin(root, runs=("run1", "run2"), **settings):
    write_duin(root, runs=runs)
    path, _ = resolve_root("du-in", str(root))
    values = {"name": "du-in", "tmax": 0.299, **settings}
    return DATASETS.builder("du-in").open(dataset_settings(values), path, Context())


class Evil:
    """Runs a program when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch /tmp/should-not-be-there",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data", pickle.dumps([Evil()]), r"asks for posix.system, which opening it would run"),
        ("data", pickle.dumps([{"name": "a"}]), "`name` and `data_s` are needed"),
        (
            "data",
            pickle.dumps([{"name": "a", "data_s": np.zeros(3)}]),
            r"channels x samples in numbers, got shape \(3,\)",
        ),
        ("data", pickle.dumps([{"name": "a", "data_s": np.ones((5, 400))}]), "5 channels, where the data set has 4"),
        ("data", pickle.dumps({}), "a list of trials is needed, got dict"),
        ("info", pickle.dumps({"names": []}), "`ch_names` is missing"),
        ("info", b"no pickle", "damaged, or no pickle"),
    ],
    ids=["program", "no samples", "flat", "channels", "no list", "no names", "damaged"],
)
def test_other_pickles_are_refused(tmp_path, name, content, message):
    dataset = _duin(tmp_path)
    inner = "data/seeg.he2023xuanwu/001/word-recitation/run1/dataset.bipolar.default.unaligned"
    (tmp_path / inner / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        dataset.trials("001")


def test_another_version_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no run has dataset.bipolar.default.aligned/data"):
        _duin(tmp_path, version="aligned").trials("001")


def test_a_folder_of_bids_is_proposed_with_its_kind(tmp_path, monkeypatch, capsys):
    from brainbench.cli import main

    root = write_bids_ieeg(tmp_path / "study", ".edf" if find_spec("edfio") else ".fif")
    (root / "recordings.csv").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["data", "init", str(root)])
    assert not stopped.value.code
    assert "kind: seeg" in (tmp_path / "study.yaml").read_text()


def test_a_contact_that_two_sessions_label_otherwise_is_refused(tmp_path):
    root = write_bids_ieeg(tmp_path)
    second = root / "sub-01" / "second"
    shutil.copytree(root / "sub-01" / "ieeg", second)
    rows = (root / "recordings.csv").read_text().splitlines()
    name = rows[1].partition(",")[0]
    table = ["path,subject,session", f"{name},01,1", f"{name.replace('ieeg/', 'second/', 1)},01,2"]
    (root / "recordings.csv").write_text("\n".join(table) + "\n")
    before = opened(root).labels_of_contacts("01", "region")
    places = second / "sub-01_space-MNI_electrodes.tsv"
    places.write_text(places.read_text().replace(before["A1"], "elsewhere", 1))
    with pytest.raises(UserError, match=f"contact A1 of 01 is 'elsewhere', in another session's '{before['A1']}'"):
        opened(root).labels_of_contacts("01", "region")
