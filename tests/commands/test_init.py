"""`data init`: what it takes files for, and what it leaves alone; tests/walks go from there to a report."""

import shutil

import mne
import numpy as np
import pandas as pd
import pytest

from brainbench.commands.proposing.init import init, propose
from brainbench.commands.proposing.own import pattern_of
from brainbench.core.errors import UserError
from brainbench.recipes.reader import read_recipe
from tests.walks import made


@pytest.mark.parametrize(
    ("names", "pattern", "subjects"),
    [
        (["sub-01.npy", "sub-02.npy", "sub-10.npy"], "{subject}.npy", ["sub-01", "sub-02", "sub-10"]),
        (["p1/betas.npy", "p2/betas.npy"], "{subject}/betas.npy", ["p1", "p2"]),
        (["a/sub-01/sub-01_b.npy", "a/sub-02/sub-02_b.npy"], "a/{subject}/{subject}_b.npy", ["sub-01", "sub-02"]),
        (["data/s1_run.npy", "data/s2_run.npy"], "data/{subject}_run.npy", ["s1", "s2"]),
        (["betas.npy"], "betas.npy", ["subject"]),
        (["a/x/1.npy", "b/y/2.npy"], None, None),
    ],
)
def test_paths_of_subjects_are_one_pattern(names, pattern, subjects):
    found = pattern_of(names)
    assert (found is None) is (pattern is None)
    if found is not None:
        assert found[0] == pattern and list(found[1]) == subjects and list(found[1].values()) == names


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp("init")
    made.captions(root / "pictures")
    made.recordings(root / "recordings")
    return root


@pytest.fixture
def own(originals, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pictures", "recordings"):
        shutil.copytree(originals / name, tmp_path / name)
    return tmp_path


def test_nothing_is_written_over_or_into_the_folder(own):
    init("pictures")
    with pytest.raises(UserError, match=r"pictures.yaml is there already; nothing was written"):
        init("pictures")
    init("pictures", out="again.yaml")
    assert (own / "again-tables" / "stimuli.csv").is_file()
    assert not list((own / "pictures").rglob("*stimuli.csv")) + list((own / "pictures").rglob("*_design.csv"))


def test_a_row_stands_for_the_stimulus_that_the_table_names(own):
    init("pictures")
    design = pd.read_csv(own / "pictures-tables" / "p2_design.csv")
    trials = pd.read_csv(own / "pictures" / "p2" / "trials.csv")
    assert [f"{one}.png" for one in design["stimulus"]] == trials["image"].tolist()
    assert design["run"].tolist() == trials["run"].tolist() and design["shape"].tolist() == trials["shape"].tolist()
    stimuli = pd.read_csv(own / "pictures-tables" / "stimuli.csv")
    captions = pd.read_csv(own / "pictures" / "captions.csv")
    assert stimuli["text"].tolist() == captions["caption"].tolist()


def test_what_only_the_user_knows_is_missing_and_then_check_refuses(own):
    for who in ("p1", "p2"):
        (own / "pictures" / who / "trials.csv").unlink()
    lines = init("pictures")
    assert any(
        line.startswith("missing  which stimulus each row of p1/betas.npy, p2/betas.npy shows") for line in lines
    )
    assert any(line.startswith("problem ") and "design.csv is missing" in line for line in lines)
    assert not any("no problems" in line for line in lines)


def test_a_label_is_taken_where_there_is_one_and_asked_for_where_there_are_several(own):
    lines = init("pictures", kind="decode")
    assert read_recipe("pictures.yaml").decoding.label == "shape"
    assert not any("label" in line for line in lines if line.startswith("missing"))
    for who in ("p1", "p2"):
        path = own / "pictures" / who / "trials.csv"
        pd.read_csv(path).assign(hand="left", colour=["red", "blue"] * 36).to_csv(path, index=False)
    lines = init("pictures", kind="decode", out="two.yaml")
    assert "missing  which column is the label (`decoding.label`): 'colour' was taken, not shape" in lines


def test_images_alone_are_shown_to_simulated_participants(own):
    for who in ("p1", "p2"):
        shutil.rmtree(own / "pictures" / who)
    proposal = propose(own / "pictures")
    assert proposal.dataset["name"] == "simulated" and proposal.dataset["root"].endswith("pictures/pictures")
    assert any("participants are simulated" in line for line in proposal.missing)


def test_events_and_subjects_of_recordings_are_those_of_their_tables(own):
    lines = init("recordings")
    rows = pd.read_csv(own / "recordings-tables" / "recordings.csv", keep_default_na=False)
    assert rows.groupby("subject")["run"].apply(list).to_dict() == {
        who: ["run1", "run2"] for who in ("anna", "ben", "cleo")
    }
    events = pd.read_csv(own / "recordings-tables" / "events.csv")
    told = pd.read_csv(own / "recordings" / "ben_run2_events.csv")
    mine = events[events["path"] == "ben_run2.edf"]
    np.testing.assert_array_equal(mine["onset"], told["onset"])
    assert mine["label"].tolist() == told["trial_type"].tolist()
    recipe = read_recipe("recordings.yaml")
    assert recipe.kind == "decode" and recipe.evaluate[0].scheme == "leave-one-run-out"
    assert any(line.startswith("missing  when a trial begins and ends") for line in lines)


def test_tables_of_samples_are_recordings_and_tables_of_events_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    rng = np.random.default_rng(0)
    for run in (1, 2):
        samples = pd.DataFrame(rng.normal(size=(6000, 3)), columns=["C3", "Cz", "C4"])
        samples.insert(0, "time", np.arange(6000) / 100)
        samples["marker"] = ""
        samples.loc[np.arange(200, 5600, 500), "marker"] = ["left", "right"] * 5 + ["left"]
        samples.to_csv(tmp_path / "lab" / f"anna_{run}.csv", index=False)
    proposal = propose(tmp_path / "lab")
    assert [row["path"] for row in proposal.tables["recordings.csv"]] == ["anna_1.csv", "anna_2.csv"]
    assert proposal.dataset["unit"] == "microvolt" and proposal.dataset["events"] == "annotations"
    assert any(line == ("classes", "left (12), right (10)") for line in proposal.took)
    assert any("microvolts were taken" in line for line in proposal.missing)


def test_codes_of_a_stim_channel_are_events_and_kinds_that_are_not_taken_are_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    kinds = ["eeg", "eeg", "mag", "grad", "grad", "stim"]
    data = 1e-12 * np.random.default_rng(0).normal(size=(6, 4000))
    data[5] = 0
    data[5, 100:3900:300], data[5, 250:3900:300] = 1, 2
    info = mne.create_info(["E1", "E2", "M1", "G1", "G2", "STI 014"], 100.0, kinds)
    mne.io.RawArray(data, info, first_samp=700, verbose="ERROR").save(
        tmp_path / "lab" / "anna_raw.fif", verbose="ERROR"
    )
    proposal = propose(tmp_path / "lab")
    assert ("classes", "1 (13), 2 (13)") in proposal.took and proposal.dataset["events"] == "annotations"
    assert ("marks inside the files", "the events: 26 events from the stim channel STI 014") in proposal.took
    assert ("kind of channels", "eeg, 2 in all files; there are mag (1) and grad (2) too") in proposal.took


def test_onsets_beyond_the_end_are_not_taken_for_seconds_without_a_word(own):
    for path in (own / "recordings").glob("*_events.csv"):
        pd.read_csv(path).assign(onset=lambda table: table["onset"] * 1000).to_csv(path, index=False)
    assert any("the unit of onsets: " in line for line in propose(own / "recordings").missing)


def test_people_by_names_are_all_taken_and_what_is_left_is_said(tmp_path, monkeypatch):
    """`ben_betas.npy` was left out without a word, because people were told apart by numbers and folders alone."""
    monkeypatch.chdir(tmp_path)
    names = made.pictures(tmp_path / "lab" / "img", 6)
    rng = np.random.default_rng(0)
    for who in ("anna", "ben"):
        pd.DataFrame({"image": names * 2, "run": [1] * 6 + [2] * 6}).to_csv(
            tmp_path / "lab" / f"{who}_trials.csv", index=False
        )
        np.save(tmp_path / "lab" / f"{who}_betas.npy", rng.normal(size=(12, 5)))
    np.save(tmp_path / "lab" / "weights.npy", rng.normal(size=7))
    (tmp_path / "lab" / "captions.csv").write_text("image;caption\na.png;a disc\n")
    lines = init("lab")
    assert read_recipe("lab.yaml").dataset.responses == "{subject}_betas.npy"
    assert "took     2 files {subject}_betas.npy: responses of 2 subjects" in lines
    assert "missing  what weights.npy is: not taken" in lines and lines[-2].endswith("no problems")
    assert any(line.startswith("missing  captions.csv:1") and "semicolons" in line for line in lines)


def test_a_folder_of_nothing_is_refused_with_what_it_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.pdf").write_text("x")
    with pytest.raises(UserError, match=r"notes holds nothing to make a recipe of: 1 \.pdf"):
        init("notes")
    with pytest.raises(UserError, match="is not a folder"):
        init("nope")
    assert list(tmp_path.iterdir()) == [tmp_path / "notes"]


def record(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 1e-5 * np.random.default_rng(seed).normal(size=(2, 3000))
    raw = mne.io.RawArray(samples, mne.create_info(["C3", "C4"], 100.0, "eeg"), verbose="ERROR")
    raw.set_annotations(mne.Annotations(np.arange(1, 25, 2.0), 0.0, ["left", "right"] * 6))
    raw.save(path, verbose="ERROR")


def test_numbered_files_are_recordings_unless_they_are_parts_of_a_split_one(tmp_path):
    for seed, name in enumerate(("anna-1.fif", "anna-2.fif", "ben_raw.fif", "ben_raw-1.fif")):
        record(tmp_path / "one" / name, seed)
    for part in ("01", "02"):
        record(tmp_path / "bids" / f"sub-1_task-x_split-{part}_meg.fif")
    found = {name: propose(tmp_path / name).tables["recordings.csv"] for name in ("one", "bids")}
    assert [row["path"] for row in found["one"]] == ["anna-1.fif", "anna-2.fif", "ben_raw.fif"]
    assert [row["path"] for row in found["bids"]] == ["sub-1_task-x_split-01_meg.fif"]


def test_people_are_the_folders_that_differ_and_lost_onsets_are_counted(tmp_path):
    for who in ("anna", "ben"):
        for run in (1, 2):
            record(tmp_path / "raw" / who / f"run{run}_raw.fif", run)
            rows = [f"{second}{',5' if second == 3 else ''}\t{'ab'[second % 2]}" for second in range(1, 25)]
            text = "\n".join(["onset\ttrial_type", *rows])
            (tmp_path / "raw" / who / f"run{run}_raw_events.tsv").write_text(text)
    proposal = propose(tmp_path)
    assert {(row["subject"], row["run"]) for row in proposal.tables["recordings.csv"]} == {
        (who, f"run{run}_raw") for who in ("anna", "ben") for run in (1, 2)
    }
    assert len(proposal.tables["events.csv"]) == 4 * 23
    lost = "the onsets of 1 of 24 events in run1_raw_events.tsv, which are not taken: '3,5' is not a number"
    assert any(line.startswith(lost) for line in proposal.missing)


def test_numbers_of_runs_are_not_taken_for_stimuli_that_have_numbers(tmp_path):
    names = made.pictures(tmp_path / "img", 4)
    for number, name in enumerate(names, start=1):
        (tmp_path / "img" / name).rename(tmp_path / "img" / f"{number}.png")
    for who in ("sub-1", "sub-11"):
        table = pd.DataFrame(
            {"run": np.repeat([1, 2, 3], 4), "picture": [1, 2, 3, 4] * 2 + [4, 3, 2, int(who[-2:] == "11") + 1]}
        )
        table.to_csv(tmp_path / f"{who}_trials.csv", index=False)
        np.save(tmp_path / f"{who}_responses.npy", np.random.default_rng(0).normal(size=(12, 3)))
    proposal = propose(tmp_path)
    shown = {who: [row["stimulus"] for row in proposal.tables[f"{who}_design.csv"]] for who in ("sub-1", "sub-11")}
    assert shown["sub-1"][:4] == ["1", "2", "3", "4"] and (shown["sub-1"][-1], shown["sub-11"][-1]) == ("1", "2")
    assert "which column names the stimulus: 'picture' was taken, not run" in proposal.missing
