"""Recordings: what is read, what is cut, and what is refused with one clear message."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest

from benchmarks.recording_files import write_recording
from brainbench.core.errors import UserError
from brainbench.data.base import Context, choose_subjects
from brainbench.data.check import check_dataset
from brainbench.data.roots import resolve_root
from brainbench.evaluation.trials.modes import MODES
from brainbench.evaluation.trials.splitters import TrialRows, TrialSplitter
from brainbench.recipes.datasets import DATASETS, dataset_settings
from brainbench.recordings.reading import channel_table, files_of, read_raw

mne = pytest.importorskip("mne")

SFREQ = 100.0
CHANNELS = ["C3", "Cz", "C4", "Pz"]


def make_raw(seed=0, names=CHANNELS, seconds=60, scale=1e-5, change=None):
    """Return a recording of noise; classes `left` and `right` have a rhythm on C3 or C4, every 5 s from 2 s on."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(len(names), int(seconds * SFREQ)))
    onsets = np.arange(2, seconds - 4, 5.0)
    labels = np.array(["left", "right"])[np.arange(len(onsets)) % 2]
    for onset, label in zip(onsets, labels, strict=True):
        at = slice(int(onset * SFREQ), int((onset + 3) * SFREQ))
        data[0 if label == "left" else 2, at] += 3 * np.sin(2 * np.pi * 11 * np.arange(300) / SFREQ)
    data *= scale
    if change is not None:
        change(data)
    raw = mne.io.RawArray(data, mne.create_info(list(names), SFREQ, "eeg"), verbose="ERROR")
    return raw, onsets, labels


def write_folder(root, subjects=("s1",), runs=2, **options):
    """Write an `eeg-folder` of FIF files, and return its root."""
    files, events = [], []
    for i, subject in enumerate(subjects):
        for run in range(runs):
            raw, onsets, labels = make_raw(seed=10 * i + run, **options)
            path = f"{subject}_{run}_raw.fif"
            raw.save(root / path, verbose="ERROR")
            files.append({"path": path, "subject": subject, "run": f"r{run}"})
            events += [{"path": path, "onset": t, "label": name} for t, name in zip(onsets, labels, strict=True)]
    pd.DataFrame(files).to_csv(root / "recordings.csv", index=False)
    pd.DataFrame(events).to_csv(root / "events.csv", index=False)
    return root


def folder(root, **settings):
    values = {"name": "eeg-folder", "tmin": 0.0, "tmax": 2.0} | settings
    return DATASETS.builder("eeg-folder").open(dataset_settings(values), root, Context())


def test_a_folder_keeps_where_every_trial_came_from(tmp_path):
    dataset = folder(write_folder(tmp_path, subjects=("s1", "s2")))
    assert dataset.subjects == ["s1", "s2"]
    table = dataset.epochs("s1").metadata
    assert list(table.columns) == ["subject", "session", "run", "trial", "onset", "label"]
    assert sorted(set(table["run"])) == ["r0", "r1"] and len(table) == 22
    assert check_dataset(dataset)
    assert len(dataset.files()) == 6


def test_filtering_comes_before_cutting(tmp_path):
    dataset = folder(write_folder(tmp_path), band=[8.0, 30.0], montage=None)
    raw, onsets, _ = make_raw(seed=0)
    raw.filter(8.0, 30.0, verbose="ERROR")
    start = int(onsets[3] * SFREQ)
    trial = dataset.trials("s1").X[3]
    assert np.allclose(trial, raw.get_data()[:, start : start + trial.shape[1]], rtol=1e-3, atol=1e-9)


def test_trials_that_reach_over_an_end_are_left_out(tmp_path):
    dataset = folder(write_folder(tmp_path), tmin=-3.0)
    assert dataset.epochs("s1").metadata["onset"].min() > 3


def test_unknown_positions_stay_unknown_until_a_montage_is_named(tmp_path):
    write_folder(tmp_path)
    assert folder(tmp_path).trials("s1").positions() is None
    places = folder(tmp_path, montage="standard_1005").trials("s1").positions()
    assert places is not None and places[0, 0] < 0 < places[2, 0]  # C3 left, C4 right, in metres
    assert np.linalg.norm(places, axis=1).max() < 0.2


def flat(data):
    data[1] = 0


def nan(data):
    data[2, 100] = np.nan


def clip(data):
    data[0] = np.clip(data[0], -1e-6, 1e-6)


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        ({"change": flat}, {}, "Cz is flat"),
        ({"change": nan}, {}, "NaN or infinite samples in channel C4"),
        ({"change": clip}, {}, "C3 is clipped"),
        ({"scale": 10.0}, {}, "microvolts were taken for volts"),
        ({"scale": 1e-11}, {}, "less than any amplifier resolves"),
        ({}, {"channels": ["C3", "C5"]}, "C5, which the recording does not have; did you mean"),
        ({}, {"labels": {"lef": "left", "right": "right"}}, "no event is called 'lef'; did you mean 'left'"),
        ({}, {"labels": {"left": "left"}}, "one class"),
        ({}, {"tmin": 70.0, "tmax": 80.0}, "leaves room for a whole trial"),
        ({}, {"band": [8.0, 60.0]}, "needs more than 120 samples per second"),
        ({}, {"montage": "standard_105"}, "no montage 'standard_105'"),
        ({"names": ["C3", "Cz", "C4", "XX"]}, {"montage": "standard_1005"}, "without a position"),
        ({}, {"kind": "seeg"}, "no channel of kind 'seeg'"),
    ],
)
def test_unfit_recordings_are_refused(tmp_path, options, settings, message):
    write_folder(tmp_path, **options)
    with pytest.raises(UserError, match=message):
        folder(tmp_path, **settings).trials("s1")


def test_microvolts_can_be_said(tmp_path):
    write_folder(tmp_path, scale=10.0)
    assert 1e-6 < folder(tmp_path, unit="microvolt").trials("s1").X.std() < 1e-4


def test_tables_are_checked(tmp_path):
    write_folder(tmp_path)
    events = pd.read_csv(tmp_path / "events.csv")
    events.assign(path="s1_9_raw.fif").to_csv(tmp_path / "events.csv", index=False)
    with pytest.raises(UserError, match=r"not in recordings.csv; did you mean"):
        folder(tmp_path)
    events.rename(columns={"onset": "onsets"}).to_csv(tmp_path / "events.csv", index=False)
    with pytest.raises(UserError, match="no column 'onset'; did you mean 'onsets'"):
        folder(tmp_path)
    events.iloc[:0].to_csv(tmp_path / "events.csv", index=False)
    with pytest.raises(UserError, match="no row below the header"):
        folder(tmp_path)


def test_blanks_around_cells_make_no_other_participant_and_no_other_class(tmp_path):
    # Spreadsheets leave them: `s1 ` would be a person of its own, held out while s1 trains.
    write_folder(tmp_path)
    right = folder(tmp_path).trials("s1")
    for name, column in (("recordings.csv", "subject"), ("events.csv", "label")):
        table = pd.read_csv(tmp_path / name, dtype=str)
        table.loc[0, column] += " "
        table.to_csv(tmp_path / name, index=False)
    dataset = folder(tmp_path)
    trials = dataset.trials("s1")
    assert dataset.subjects == ["s1"] and trials.label.tolist() == right.label.tolist()
    assert trials.digest() == right.digest()


def test_no_events_of_a_subject(tmp_path):
    write_folder(tmp_path, subjects=("s1", "s2"))
    events = pd.read_csv(tmp_path / "events.csv")
    events[events["path"].str.startswith("s1")].to_csv(tmp_path / "events.csv", index=False)
    with pytest.raises(UserError, match="s2: no events"):
        folder(tmp_path).trials("s2")


def test_annotations_can_be_the_events(tmp_path):
    write_folder(tmp_path, runs=1)
    raw = mne.io.read_raw_fif(tmp_path / "s1_0_raw.fif", preload=True, verbose="ERROR")
    _, onsets, labels = make_raw(seed=0)
    raw.set_annotations(mne.Annotations(onsets, 0.0, labels))
    raw.save(tmp_path / "s1_0_raw.fif", overwrite=True, verbose="ERROR")
    own = folder(tmp_path, events="annotations").trials("s1")
    table = folder(tmp_path).trials("s1")
    assert np.array_equal(own.label, table.label) and np.allclose(own.X, table.X)


def test_runs_with_other_channels_are_refused(tmp_path):
    write_folder(tmp_path)
    raw, *_ = make_raw(seed=1, names=["C3", "Cz", "C4", "Oz"])
    raw.save(tmp_path / "s1_1_raw.fif", overwrite=True, verbose="ERROR")
    with pytest.raises(UserError, match=r"differ in their montage.*Pz.*Oz"):
        folder(tmp_path).trials("s1")


def test_a_damaged_file_is_one_message(tmp_path, real_data):
    source = real_data / "MNE-eegbci-data/files/eegmmidb/1.0.0/S001/S001R04.edf"
    for name, size in (("short", 1_000_000), ("header", 100), ("empty", 0)):
        (tmp_path / f"{name}.edf").write_bytes(source.read_bytes()[:size])
        pd.DataFrame({"path": [f"{name}.edf"], "subject": ["s1"]}).to_csv(tmp_path / "recordings.csv", index=False)
        with pytest.raises(UserError, match=f"{name}.edf: (not a readable EDF|the file is cut short)"):
            folder(tmp_path, events="annotations").trials("s1")


def test_the_table_of_channels_that_bids_puts_beside_a_recording(tmp_path):
    names = [*CHANNELS, "X1"]
    raw, onsets, labels = make_raw(names=names)
    for stem in ("sub-1_run-1_eeg", "sub-1_run-2_eeg"):
        write_recording(tmp_path / f"{stem}.vhdr", raw)
    files = [f"sub-1_run-{run}_eeg.vhdr" for run in (1, 2)]
    pd.DataFrame({"path": files, "subject": "s1", "run": ["1", "2"]}).to_csv(tmp_path / "recordings.csv", index=False)
    events = pd.DataFrame({"onset": onsets, "label": labels})
    pd.concat([events.assign(path=path) for path in files]).to_csv(tmp_path / "events.csv", index=False)
    assert folder(tmp_path, repeated_trials="keep").trials("s1").ch_names == names
    table = tmp_path / "sub-1_run-2_channels.tsv"
    rows = pd.DataFrame({"name": [*names, "gone"], "type": ["EEG"] * 4 + ["VEOG", "EEG"]})
    rows.to_csv(tmp_path / "sub-1_run-1_channels.tsv", sep="\t", index=False)
    rows.assign(status=["good", "Bad ", *["good"] * 4]).to_csv(table, sep="\t", index=False)
    dataset = folder(tmp_path, repeated_trials="keep", other_channels="keep")
    assert dataset.trials("s1").ch_names == ["C3", "C4", "Pz"] and table in dataset.files()
    said = "\n".join(map(str, dataset.account("s1")))
    assert f"kinds and 1 bad channel from {table.name}, which also names 1 channel: gone that the recording" in said
    assert "1 channel: Cz left out: marked bad in the file" in said
    table.write_text("name\ttype\nA1\tEEG\n")
    with pytest.raises(UserError, match="none of its 1 channels is in the recording, such as 'A1'"):
        folder(tmp_path).trials("s1")
    table.write_text("channel\tkind\nC3\tEEG\n")
    with pytest.raises(UserError, match="no column 'name'"):
        folder(tmp_path).trials("s1")


def test_a_table_of_channels_may_name_less_or_stand_above(tmp_path):
    """By BIDS it holds for all parts of a split recording, for runs that it does not name, and for folders below."""
    inside = tmp_path / "sub-1" / "ses-a" / "meg"
    inside.mkdir(parents=True)
    raw, *_ = make_raw()
    path = inside / "sub-1_ses-a_task-x_run-1_split-01_meg.fif"
    raw.save(path, verbose="ERROR")
    tables = [
        tmp_path / "task-x_channels.tsv", inside.parent / "sub-1_ses-a_channels.tsv",
        inside / "sub-1_ses-a_task-x_channels.tsv", inside / "sub-1_ses-a_task-x_run-1_channels.tsv",
    ]  # fmt: skip
    (inside / "sub-1_ses-a_task-x_run-2_channels.tsv").write_text("of another run")
    (tmp_path.parent / "task-x_channels.tsv").write_text("above the data set")
    assert channel_table(path) is None
    for bad, table in zip(CHANNELS, tables, strict=True):
        table.write_text(
            "name\tstatus\n" + "".join(f"{name}\t{'bad' if name == bad else 'good'}\n" for name in CHANNELS)
        )
        assert channel_table(path) == table and table in files_of(path)
        assert read_raw(path)[0].info["bads"] == [bad]
    tables[-1].unlink()
    (inside / "sub-1_ses-a_run-1_channels.tsv").write_text("name\n")
    with pytest.raises(UserError, match=r"sub-1_ses-a_run-1_channels.tsv and sub-1_ses-a_task-x_channels.tsv are both"):
        channel_table(path)


def test_a_recording_of_the_folder_is_read_as_a_new_one_is(tmp_path):
    """Evaluation and `apply` see the same samples whatever a file says of itself."""
    raw, onsets, labels = make_raw(names=["C3", "Cz", "C4", "Pz", "Fz", "HEOG"])
    raw.set_montage("colin27_1005", on_missing="ignore", verbose="ERROR")
    raw.set_channel_types({"HEOG": "eog"}, verbose="ERROR").set_eeg_reference(projection=True, verbose="ERROR")
    raw.info["bads"] = ["Pz"]
    marks = mne.Annotations([*onsets, 12.5], [0.0] * len(onsets) + [0.5], [*labels, "BAD_cough"])
    raw = mne.io.RawArray(raw.get_data(), raw.info, first_samp=321, verbose="ERROR").set_annotations(marks)
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    (tmp_path / "recordings.csv").write_text("path,subject,run\na_raw.fif,s1,1\n")
    for choice in ("interpolate", "keep"):
        dataset = folder(tmp_path, events="annotations", bad_channels=choice, channels=["C3", "Pz", "C4"], band=None)
        trials = dataset.trials("s1")
        new = dataset.read_new(tmp_path / "a_raw.fif", trials.info).recording
        samples, n = new.raw.get_data(), trials.X.shape[-1]
        starts = np.round(trials.onset * SFREQ).astype(int)
        assert new.raw.ch_names == trials.ch_names and len(trials) == len(onsets) - 1
        np.testing.assert_array_equal(trials.X, [samples[:, at : at + n] for at in starts])


def test_a_label_that_no_event_has_is_said_or_refused(tmp_path):
    raw, onsets, labels = make_raw()
    raw.set_annotations(mne.Annotations(onsets, 0.0, labels))
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    (tmp_path / "recordings.csv").write_text("path,subject,run\na_raw.fif,s1,1\n")
    named = {"left": "left", "right": "right", "Right": "right"}
    account = folder(tmp_path, events="annotations", labels=named).account("s1")
    assert any("'Right' meets no event of s1" in str(row) for row in account)
    with pytest.raises(UserError, match=r"no event is called 'rigth'; did you mean 'right'"):
        folder(tmp_path, events="annotations", labels={"left": "left", "rigth": "right"}).trials("s1")


def test_moabb_looks_below_the_root_whichever_folder_it_is(tmp_path, monkeypatch):
    download = pytest.importorskip("moabb.datasets.download")
    from brainbench.recordings.moabb import _own_files

    own = tmp_path / "MNE-bnci-data"
    own.mkdir()
    monkeypatch.setenv("MNE_DATASETS_BNCI_PATH", str(tmp_path / "elsewhere"))  # an earlier download
    for root in (tmp_path, own):
        with _own_files(root):
            assert str(download.get_dataset_path("BNCI", None)) == str(tmp_path)
    assert os.environ["MNE_DATASETS_BNCI_PATH"] == str(tmp_path / "elsewhere") and "MNE_DATA" not in os.environ


def test_codes_that_follow_one_another_without_a_pause_are_counted(tmp_path):
    """MNE takes a step up for an event and a step down for none: of codes that are held, many would be gone unseen."""
    raw, *_ = make_raw(names=[*CHANNELS, "STI 014"])
    raw.set_channel_types({"STI 014": "stim"}, verbose="ERROR")
    raw._data[4] = np.repeat([0, 2, 1, 3, 1, 2, 1, 0], [200, *[500] * 6, 2800])
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    (tmp_path / "recordings.csv").write_text("path,subject,run\na_raw.fif,s1,1\n")
    dataset = folder(tmp_path, events="stim", labels={"1": "left", "2": "right", "3": "left"})
    assert dataset.trials("s1").label.tolist() == ["right", "left", "right"]
    said = "\n".join(map(str, dataset.account("s1")))
    assert "3 changes left out: of the stim channel, from a higher code straight to another" in said


def test_a_moabb_data_set_by_name(tmp_path):
    pytest.importorskip("moabb")
    values = {"name": "moabb", "dataset": "FakeDataset", "parameters": {"n_subjects": 2, "n_sessions": 2, "n_runs": 2}}
    dataset = DATASETS.builder("moabb").open(dataset_settings(values | {"subjects": [1]}), None, Context())
    assert choose_subjects(dataset, dataset.settings.subjects) == ["1"]
    trials = dataset.trials("1")
    assert set(trials.session) == {"0", "1"} and len(set(trials.label)) == 3
    raw = dataset.source.get_data([1])[1]["0"]["0"].load_data()
    raw.save(tmp_path / "own_raw.fif", verbose="ERROR")  # a file of one's own, with the same kind of events
    new = dataset.read_new(tmp_path / "own_raw.fif", trials.info).recording
    known = dataset.recordings("1")[0]
    assert new.raw.ch_names == trials.ch_names and new.labels.tolist() == known.labels.tolist()
    expected = raw.get_data(picks=trials.ch_names)  # the fake data set draws other noise whenever it is read
    assert np.allclose(new.onsets, known.onsets) and np.allclose(new.raw.get_data(), expected, rtol=1e-4, atol=1e-9)
    for wrong, message in (
        ({"dataset": "FakeDatase"}, "did you mean 'FakeDataset'"),
        ({"parameters": {"n_subject": 2}}, "did you mean 'n_subjects'"),
        ({"events": ["fake1", "fak2"]}, "no event 'fak2'; did you mean"),
    ):
        with pytest.raises(UserError, match=message):
            DATASETS.builder("moabb").open(dataset_settings(values | wrong), None, Context())


def test_modes_across_subjects_are_moabbs():
    """Folds, slices and what is said of each are those of MOABB's own splitter."""
    protocols = pytest.importorskip("moabb.evaluations.protocols")
    from moabb.evaluations.splitters import CrossSubjectSplitter

    n = 2 * 2 * 11
    session, trial = np.tile(np.repeat(["0", "1"], 11), 2), np.tile(np.arange(11), 4)
    table = pd.DataFrame({"subject": np.repeat(["a", "b"], 22), "session": session, "run": "0"})
    label = np.array(["left", "right"])[trial % 2]
    rows = TrialRows(table["subject"].to_numpy(str), session, np.full(n, "0"), trial, label, trial * 5.0, 3.0)
    assert list(MODES) == [one.value for one in protocols.CrossSubjectMode]
    for one in protocols.CrossSubjectMode:
        mode = MODES[one.value]
        assert (mode.share, mode.labelled, mode.trialwise) == (
            one.calibration_size, one.calibration_labeled, one.trialwise,
        )  # fmt: skip
        ours = TrialSplitter("leave-one-subject-out", mode=one.value)
        theirs = CrossSubjectSplitter(
            calibration_size=one.calibration_size, calibration_labeled=one.calibration_labeled
        )
        for (train, test), (source, *known, held) in zip(
            ours.split(groups=rows), theirs.split(label, table), strict=True
        ):
            known = known[0] if known else []
            assert np.array_equal(test, held)
            assert np.array_equal(train, [*source, *known] if mode.labelled else source)
            assert np.array_equal(ours.unlabelled(rows, test), [] if mode.labelled else known)


def test_physionet_is_read_from_any_folder_above_it(real_data):
    above = real_data / "MNE-eegbci-data"
    for root in (above, above / "files/eegmmidb/1.0.0", real_data):
        path, _ = resolve_root("physionet-mi", str(root))
        dataset = DATASETS.builder("physionet-mi").open(dataset_settings({"name": "physionet-mi"}), path, Context())
        assert dataset.subjects == ["S001", "S002", "S003"]
    trials = dataset.trials("S001")
    assert trials.X.shape == (45, 64, 481) and trials.sfreq == 160
    assert trials.ch_names[:3] == ["FC5", "FC3", "FC1"] and trials.ch_names[-1] == "Iz"
    assert [int(np.sum(trials.run == run)) for run in ("R04", "R08", "R12")] == [15, 15, 15]
    assert trials.positions() is not None and 1e-6 < trials.X.std() < 1e-4
    feet = dataset_settings({"name": "physionet-mi", "paradigm": "imagery_fists_feet"})
    assert DATASETS.builder("physionet-mi").open(feet, path, Context()).subjects == ["S001"]
    eyes = {"name": "physionet-mi", "paradigm": "eyes_open_closed", "subjects": ["S001"], "tmin": 0.0, "tmax": 4.0}
    rest = DATASETS.builder("physionet-mi").open(dataset_settings(eyes | {"sfreq": 128.0}), path, Context())
    trials = rest.trials("S001")
    assert [trials.label[trials.run == run].tolist() for run in ("R01", "R02")] == [
        ["eyes_open"] * 15,
        ["eyes_closed"] * 15,
    ]
    assert np.allclose(np.diff(trials.onset[:15]), 513 / 128)  # a trial has 513 samples, and shares none
    both = dataset_settings({"name": "physionet-mi", "paradigm": "left_right"})
    table = DATASETS.builder("physionet-mi").open(both, path, Context()).epochs("S001").metadata
    assert list(dict.fromkeys(table["run"])) == ["R03", "R04", "R07", "R08", "R11", "R12"] and len(table) == 90
    assert set(table["label"]) == {"left_fist", "right_fist"}
    assert check_dataset(dataset, ["S003"])


def test_faulty_and_incomplete_subjects_are_left_out_aloud(tmp_path, real_data):
    source = real_data / "MNE-eegbci-data/files/eegmmidb/1.0.0"
    for subject, runs in (("S001", (4, 8, 12)), ("S002", (4,))):
        (tmp_path / subject).mkdir()
        for run in runs:
            shutil.copy(source / subject / f"{subject}R{run:02d}.edf", tmp_path / subject)
    (tmp_path / "S088").mkdir()
    dataset = DATASETS.builder("physionet-mi").open(dataset_settings({"name": "physionet-mi"}), tmp_path, Context())
    assert dataset.subjects == ["S001"]
    assert any("S002R08.edf" in note for note in dataset.notes()) and any("S088" in note for note in dataset.notes())
