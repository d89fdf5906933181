"""What a recording says of itself is obeyed, and what is left out is counted."""

import random
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.signal import welch

from benchmarks.fuzz_recordings import mutated_recording
from benchmarks.recording_files import write_brainvision, write_edf, write_recording
from brainbench.core.errors import UserError
from brainbench.data.fetch import check
from brainbench.decoders.covariance import check_rank, trial_covariances
from brainbench.evaluation.trials.certificate import trial_certificate
from brainbench.evaluation.trials.content import fingerprints
from brainbench.evaluation.trials.splitters import TrialRows
from brainbench.recipes.datasets import dataset_settings
from brainbench.recordings.channels import role_by_name, role_by_values
from brainbench.recordings.cutting import cut
from brainbench.recordings.events import keep_stretches, onsets_of
from brainbench.recordings.formats.pieces import joined_pieces
from brainbench.recordings.matching import plain_name
from brainbench.recordings.reading import files_of, read_raw
from brainbench.recordings.recording import Recording
from brainbench.recordings.units import volts
from brainbench.studies.trials.trials import _signal, check_alike
from tests.data.test_trials import CHANNELS, SFREQ, folder, make_raw, write_folder

mne = pytest.importorskip("mne")


def write_runs(root, *raws, labels=("left", "right"), ending="_raw.fif", subjects=None):
    """Write runs whose annotations are their events, and the table of them; return the folder."""
    rows = []
    for number, (raw, onsets, names) in enumerate(raws):
        if names is not None:
            raw.set_annotations(raw.annotations + mne.Annotations(onsets, 0.0, names))
        path = f"r{number}{ending}"
        write_recording(root / path, raw)
        rows.append({"path": path, "subject": subjects[number] if subjects else "s1", "run": f"r{number}"})
    pd.DataFrame(rows).to_csv(root / "recordings.csv", index=False)
    return root


def own(root, **options):
    return folder(root, **({"events": "annotations", "band": None} | options))


def said(dataset, subject="s1"):
    return "\n".join(map(str, dataset.account(subject)))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_trials_are_those_of_mne_or_the_file_is_refused(seed):
    """Channel sets, projectors, bad channels and stretches, first samples, units, formats: see the fuzz."""
    case = mutated_recording(random.Random(seed))
    try:
        assert case() in ("right", "refused", "counted")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{case.text}") from error


def test_most_of_what_the_fuzz_draws_can_be_read():
    ends = [mutated_recording(random.Random(f"fixed {number}"))() for number in range(12)]
    assert ends.count("right") >= 6


@pytest.mark.parametrize("date", [None, 1_600_000_000])
def test_onsets_count_from_the_first_sample(date):
    raw, onsets, labels = make_raw()
    raw = mne.io.RawArray(raw.get_data(), raw.info, first_samp=12_345, verbose="ERROR")
    raw.set_meas_date(date)
    raw.set_annotations(mne.Annotations(onsets, 0.0, labels))
    events, _ = mne.events_from_annotations(raw, verbose="ERROR")
    assert np.allclose(onsets_of(raw), onsets)
    assert np.array_equal(np.round(onsets_of(raw) * SFREQ), events[:, 0] - raw.first_samp)


def test_scalp_names_are_scalp_names():
    known = mne.channels.make_standard_montage("colin27_1005").ch_names
    more = [f"E{i}" for i in range(1, 257)] + [f"{row}{i}" for row in "ABCDEFGH" for i in range(1, 33)]
    more += ["EEG Fpz-Cz", "EEG F3-REF", "Fc5.", "M1", "A2", "T3", "C3'", "EEG 001", "Iz-LE"]
    assert [name for name in [*known, *more] if role_by_name(name)] == []
    assert role_by_name("TEMP1", "seeg") is None and role_by_name("DC2", "ecog") is None


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("EOG-left", "eyes"), ("HEOG", "eyes"), ("VEO", "eyes"), ("EOG horizontal", "eyes"), ("ECG", "heart"),
        ("EEG EKG1-REF", "heart"), ("EMG1", "muscle"), ("EMG submental", "muscle"), ("Resp oro-nasal", "breath"),
        ("GSR", "skin"), ("Marker", "a trigger"), ("TRIG", "a trigger"), ("STI 014", "a trigger"),
        ("STI101", "a trigger"), ("Status", "a trigger"), ("DC01", "an auxiliary input"),
        ("EXG3", "an auxiliary input"),
    ],
)  # fmt: skip
def test_other_channels_are_known_by_their_names(name, role):
    assert role_by_name(name) == role


def test_other_channels_are_known_by_their_values():
    rng = np.random.default_rng(0)
    codes = np.repeat(rng.integers(0, 200, size=60), 50).astype(float)
    assert "trigger" in role_by_values(codes) and "counter" in role_by_values(np.arange(3000.0))
    assert role_by_values(rng.normal(size=3000)) is None
    assert role_by_values(np.round(rng.normal(size=3000) * 30)) is None  # a coarse amplifier
    assert role_by_values(np.zeros(3000)) is None  # flat, which is another message


def test_a_trigger_channel_is_not_decoded(tmp_path):
    raws = []
    for seed in range(2):
        raw, onsets, labels = make_raw(seed=seed, names=[*CHANNELS, "X1"])
        raw._data[4] = 1e-5 * np.repeat(np.random.default_rng(seed).normal(size=300), 20)
        raws.append((raw, onsets, labels))
    write_runs(tmp_path, *raws)
    dataset = own(tmp_path)
    assert dataset.trials("s1").ch_names == CHANNELS
    assert "1 channel: X1 left out: a trigger or counter" in said(dataset)
    assert "X1" in " ".join(dataset.responses("s1").notes)
    named = {"channels": [*CHANNELS, "X1"]}
    for choice in ({"other_channels": "keep"}, {"channel_types": {"X1": "eeg"}}, named):
        assert own(tmp_path, **choice).trials("s1").ch_names == [*CHANNELS, "X1"]
    assert "X1 is decoded, and is a trigger" in said(own(tmp_path, other_channels="keep"))
    with pytest.raises(UserError, match="channel_types: no channel 'X2'; did you mean 'X1'"):
        own(tmp_path, channel_types={"X2": "eog"}).trials("s1")


def test_bad_channels_are_left_out_of_every_run(tmp_path):
    runs = [make_raw(seed=seed) for seed in range(2)]
    runs[1][0].info["bads"] = ["Pz"]
    write_runs(tmp_path, *runs)
    dataset = own(tmp_path)
    assert dataset.trials("s1").ch_names == ["C3", "Cz", "C4"]
    text = said(dataset)
    assert re.search(r"r1: .*Pz left out: marked bad in the file", text) and "in another run" in text
    assert own(tmp_path, bad_channels="keep").trials("s1").ch_names == CHANNELS
    filled = own(tmp_path, bad_channels="interpolate", montage="standard_1005").trials("s1")
    kept = own(tmp_path, bad_channels="keep").trials("s1")
    assert filled.ch_names == CHANNELS and not np.allclose(filled.X[-1, 3], kept.X[-1, 3])
    with pytest.raises(UserError, match="cannot be interpolated"):
        own(tmp_path, bad_channels="interpolate").trials("s1")
    every = own(tmp_path, channels=["C3", "Pz"])
    assert every.trials("s1").ch_names == ["C3", "Pz"] and "marked bad in the file, and used" in said(every)


def test_projectors_are_applied_to_all_channels_or_never(tmp_path):
    raw, onsets, labels = make_raw()
    recorded = raw.get_data().copy()
    raw.set_eeg_reference(projection=True, verbose="ERROR")
    write_runs(tmp_path, (raw, onsets, labels))
    at = int(onsets[0] * SFREQ)
    few = own(tmp_path, channels=["C3", "C4"])
    found = few.trials("s1").X[0]
    right = (recorded - recorded.mean(axis=0))[[0, 2], at : at + found.shape[1]]
    assert np.abs(found - right).max() < 1e-9 and "1 projector applied" in said(few)
    left = own(tmp_path, channels=["C3", "C4"], projectors="leave")
    assert np.abs(left.trials("s1").X[0] - recorded[[0, 2], at : at + found.shape[1]]).max() < 1e-9
    assert "1 projector not applied" in said(left) and "runs differ" not in said(few) + said(left)


def test_runs_with_other_projectors_are_joined_and_it_is_said(tmp_path):
    """MNE does not join them at all; applied in the file already, they differ whatever the recipe says."""
    runs = [make_raw(seed=seed) for seed in range(2)]
    runs[1][0].set_eeg_reference(projection=True, verbose="ERROR")
    write_runs(tmp_path, *runs)
    text = said(own(tmp_path))
    assert re.search("r0: .*runs differ in what is projected out of them: nothing of this one", text)
    assert re.search("r1: .*runs differ in .* them: Average EEG reference of this one", text)
    assert "runs differ" not in said(own(tmp_path, projectors="leave"))
    runs[1][0].apply_proj(verbose="ERROR")
    (tmp_path / "applied").mkdir()
    write_runs(tmp_path / "applied", *((raw, None, None) for raw, _, _ in runs))
    assert "runs differ" in said(own(tmp_path / "applied", projectors="leave"))


def test_bad_stretches_take_their_trials_out(tmp_path):
    raw, onsets, labels = make_raw()
    raw.set_annotations(mne.Annotations([onsets[2] + 0.5, 41.3], [0.2, 0.0], ["BAD_cough", "boundary"]))
    write_runs(tmp_path, (raw, onsets, labels))
    dataset, every = own(tmp_path, tmin=-1.0), own(tmp_path, tmin=-1.0, bad_stretches="keep")
    assert len(every.trials("s1")) - len(dataset.trials("s1")) == 2
    text = said(dataset)
    assert "1 trial left out: touching a stretch marked 'BAD_cough'" in text and "'BAD boundary'" in text
    raw, *_ = make_raw()  # what was not recorded stands in the samples as zeros, and is nobody's choice
    raw.set_annotations(mne.Annotations([onsets[2] + 0.5], [0.2], ["BAD_ACQ_SKIP"]))
    (tmp_path / "skips").mkdir()
    dataset = own(write_runs(tmp_path / "skips", (raw, onsets, labels)), tmin=-1.0, bad_stretches="keep")
    assert len(dataset.trials("s1")) == len(every.trials("s1")) - 1
    assert str(dataset.account("s1")[0]).endswith("1 trial left out: touching a stretch marked 'BAD_ACQ_SKIP'")


@pytest.mark.parametrize("first", [0, 777, 3823])
def test_trials_that_begin_or_end_at_an_interruption_are_whole(first):
    """Whatever number the first sample has: MNE alone drops about half of those that begin there."""
    raw = mne.io.RawArray(np.zeros((1, 900)), mne.create_info(["Cz"], 200.0, "eeg"), first_samp=first, verbose="ERROR")
    for at in range(300, 400):
        raw.set_annotations(mne.Annotations([at / 200.0], [0.0], ["boundary"]), verbose="ERROR")
        keep_stretches(raw, "leave_out")
        begin = np.array([at - 100, at - 99, at - 1, at]) + first  # trials of 100 samples: ends, spans, spans, begins
        events = np.column_stack([begin, 0 * begin, 0 * begin + 1])
        kept = mne.Epochs(
            raw, events, None, 0.0, 0.495, baseline=None, reject_by_annotation=True, preload=True, verbose="ERROR"
        )
        assert kept.selection.tolist() == [0, 3]


@pytest.mark.parametrize(("first", "sfreq"), [(0, 100.0), (37, 128.0), (5001, 250.0)])
def test_trials_beside_a_bad_stretch_of_whole_samples_are_whole(first, sfreq):
    """BrainVision marks whole samples: MNE alone drops some trials that share none with a stretch, by its seconds."""
    raw = mne.io.RawArray(np.zeros((1, 900)), mne.create_info(["Cz"], sfreq, "eeg"), first_samp=first, verbose="ERROR")
    raw.set_meas_date(0)
    for at in range(300, 350):
        mark = mne.Annotations([(first + at) / sfreq], [50 / sfreq], ["BAD_x"], orig_time=raw.info["meas_date"])
        raw.set_annotations(mark, verbose="ERROR")
        keep_stretches(raw, "leave_out")
        begin = np.array([at - 100, at - 99, at + 49, at + 50]) + first  # trials of 100 samples beside samples 0 to 49
        events = np.column_stack([begin, 0 * begin, 0 * begin + 1])
        kept = mne.Epochs(
            raw, events, None, 0.0, 99 / sfreq, baseline=None, reject_by_annotation=True, preload=True, verbose="ERROR"
        )
        assert kept.selection.tolist() == [0, 3]


@pytest.mark.parametrize("sfreq", [250.0, 128.0])
def test_pieces_are_resampled_each_for_itself_and_stay_in_time(sfreq):
    """MNE rounds the length of every part: the fortieth trial began 40 ms late, and many were called interrupted."""
    rng = np.random.default_rng(0)
    pieces = [1e-5 * (place + rng.normal(size=(2, 1001))) for place in range(40)]
    raw, starts = joined_pieces([(one, "") for one in pieces], {"A1": "seeg", "A2": "seeg"}, 1000.0)
    keep_stretches(raw, "leave_out")
    how = dataset_settings({"name": "du-in", "root": "", "band": None, "tmax": 0.99, "sfreq": sfreq})
    trials, left_out = cut(Recording(raw, starts, np.array(["a", "b"] * 20), "0", "1", ""), "s1", how)
    assert len(trials) == 40 and not left_out
    alone = [mne.filter.resample(one, up=sfreq, down=1000.0, verbose="ERROR") for one in pieces]
    for trial, one in zip(trials.get_data(copy=False), alone, strict=True):
        np.testing.assert_allclose(trial, one[:, : trial.shape[1]], atol=1e-12)


def test_filters_stop_at_an_interruption(tmp_path):
    raw, onsets, labels = make_raw()
    raw._data[:, 3000:] += 1e-3  # the electrode's offset is another one after the pause
    raw.set_annotations(mne.Annotations([30.0], [0.0], ["boundary"]))
    write_runs(tmp_path, (raw, onsets, labels))
    assert np.abs(own(tmp_path, band=[8.0, 30.0]).trials("s1").X).max() < 2e-4


def test_the_same_run_in_two_files(tmp_path):
    one, other = make_raw(seed=1), make_raw(seed=2)
    again = (one[0].copy().crop(1.0), one[1] - 1.0, one[2])
    write_runs(tmp_path, one, other, again)
    dataset = own(tmp_path)
    trials = dataset.trials("s1")
    assert sorted(set(trials.run)) == ["r0", "r1"]
    assert f"{len(one[1])} trials left out: the same samples as in r0_raw.fif" in said(dataset)
    both = own(tmp_path, repeated_trials="keep", band=[8.0, 30.0]).trials("s1")
    rows = TrialRows(
        np.full(len(both), "s1"), both.session, both.run, both.trial, both.label, both.onset, both.length,
        fingerprints(both.X),
    )  # fmt: skip
    folds = [(np.flatnonzero(both.run != run), np.flatnonzero(both.run == run)) for run in ("r0", "r1", "r2")]
    certificate = trial_certificate(folds, rows)
    assert not certificate.ok and certificate.counts["repeats"] == 2
    assert any("stands in the data twice" in finding for finding in certificate.findings)
    kept = np.flatnonzero(both.run != "r2")
    rows = rows.take(kept)
    folds = [(np.flatnonzero(rows.run != run), np.flatnonzero(rows.run == run)) for run in ("r0", "r1")]
    assert trial_certificate(folds, rows).ok


def test_a_hum_in_step_with_the_events_is_no_repeat(tmp_path):
    runs = []
    for seed in range(2):
        raw, onsets, labels = make_raw(seed=seed)
        raw._data += 2e-3 * np.sin(2 * np.pi * 20 * raw.times)
        runs.append((raw, onsets, labels))
    write_runs(tmp_path, *runs)
    assert len(own(tmp_path).trials("s1")) == 2 * len(runs[0][1])


def test_one_run_in_another_unit_is_refused(tmp_path):
    runs = [make_raw(seed=1), make_raw(seed=2, scale=1e-8)]
    write_runs(tmp_path, *runs)
    with pytest.raises(UserError, match=r"r0_raw.fif: signals are \d+ times larger than in r1_raw.fif"):
        own(tmp_path).trials("s1")
    pooled = [SimpleNamespace(subject="s1", spread=1e-5), SimpleNamespace(subject="s2", spread=1e-8)]
    with pytest.raises(UserError, match="s1: signals are 1e\\+03 times larger than in s2"):
        check_alike(pooled)


def test_a_run_that_lost_a_class_keeps_the_others_apart(tmp_path):
    one, other = make_raw(seed=1), make_raw(seed=2)
    write_runs(tmp_path, one, (other[0], other[1], np.full(len(other[1]), "right")))
    trials = own(tmp_path).trials("s1")
    assert trials.label.tolist() == [*one[2], *["right"] * len(other[1])]


def test_runs_of_two_rates_are_brought_to_one(tmp_path):
    slow, fast = make_raw(seed=1), make_raw(seed=2)
    fast[0].resample(200, verbose="ERROR")
    write_runs(tmp_path, slow, fast)
    with pytest.raises(UserError, match="200"):
        own(tmp_path).trials("s1")
    assert own(tmp_path, sfreq=100.0, band=[8.0, 30.0]).trials("s1").sfreq == 100


def test_channel_names_that_differ_in_dress_only_are_one(tmp_path):
    one, other = make_raw(seed=1, names=["C3", "Cz", "T7", "Pz"]), make_raw(seed=2, names=["c3.", "CZ", "T3", " Pz"])
    other[0].reorder_channels([" Pz", "T3", "CZ", "c3."])
    write_runs(tmp_path, one, other)
    dataset = own(tmp_path, montage="standard_1005")
    trials = dataset.trials("s1")
    assert trials.ch_names == ["C3", "Cz", "T7", "Pz"] and "T3 is T7" in said(dataset)
    at = int(other[1][0] * SFREQ)
    first = trials.X[len(one[1])]
    expected = other[0].get_data(picks=["c3.", "CZ", "T3", " Pz"])[:, at : at + first.shape[1]]
    assert np.abs(first - expected).max() < 1e-9
    assert plain_name("Fc5.") == "fc5" and plain_name("EEG T4-REF") == "t8" and plain_name("Fp1") != plain_name("Fp2")


def test_events_of_a_stim_channel(tmp_path):
    raw, onsets, labels = make_raw(names=[*CHANNELS, "STI 014"])
    raw.set_channel_types({"STI 014": "stim"}, verbose="ERROR")
    raw._data[4] = 0
    for onset, label in zip(onsets, labels, strict=True):
        raw._data[4, round(onset * SFREQ) : round(onset * SFREQ) + 5] = 1 + (label == "right")
    write_runs(tmp_path, (raw, onsets, None))
    for choice in ("annotations", "stim"):
        dataset = own(tmp_path, events=choice, labels={"1": "left", "2": "right"})
        trials = dataset.trials("s1")
        assert trials.label.tolist() == labels.tolist() and np.allclose(trials.onset, onsets)
        assert "events from the stim channel STI 014" in said(dataset)
    with pytest.raises(UserError, match="no channel 'STI014'; did you mean 'STI 014'"):
        own(tmp_path, events="stim", stim_channel="STI014").trials("s1")


@pytest.mark.parametrize("idle", ["STI 014", "Trigger"])
def test_all_stim_channels_are_read_where_the_combined_one_is_idle_or_none(tmp_path, idle, monkeypatch):
    monkeypatch.setenv("MNE_STIM_CHANNEL", idle)
    raw, onsets, labels = make_raw(names=[*CHANNELS, "STI 014", "Trigger", "Status"])
    raw._data[4:] = 0
    raw.set_channel_types(dict.fromkeys([idle, "Trigger", "Status"], "stim"), verbose="ERROR")  # else named only
    raw._data[5, 20:25] = 77
    for onset, label in zip(onsets, labels, strict=True):
        raw._data[6, round(onset * SFREQ) : round(onset * SFREQ) + 5] = 1 + (label == "right")
    write_runs(tmp_path, (raw, onsets, None))
    dataset = own(tmp_path, events="stim", labels={"1": "left", "2": "right"})
    assert dataset.trials("s1").label.tolist() == labels.tolist()
    assert "events from the stim channels " in said(dataset) and "Trigger, Status" in said(dataset)


def test_a_trigger_channel_of_no_kind_can_be_named(tmp_path):
    raw, onsets, labels = make_raw(names=[*CHANNELS, "X1"])
    raw._data[4] = 0
    for onset, label in zip(onsets, labels, strict=True):
        raw._data[4, round(onset * SFREQ) : round(onset * SFREQ) + 5] = 1 + (label == "right")
    write_runs(tmp_path, (raw, onsets, None))
    names = {"1": "left", "2": "right"}
    for choice in ({"channel_types": {"X1": "stim"}}, {"stim_channel": "X1", "exclude_channels": ["X1"]}):
        trials = own(tmp_path, events="stim", labels=names, **choice).trials("s1")
        assert trials.label.tolist() == labels.tolist() and trials.ch_names == CHANNELS
    with pytest.raises(ValueError, match="`stim_channel` is for `events: stim`; events would come from the table"):
        own(tmp_path, events="events.csv", stim_channel="X1")


@pytest.mark.parametrize("kind", ["mag", "grad", "seeg", "ecog"])
def test_other_kinds_of_channels_are_read_alike(tmp_path, kind):
    scale = 1e-12 if kind in ("mag", "grad") else 1e-5
    runs = []
    for seed in range(2):
        raw, onsets, labels = make_raw(seed=seed, scale=scale)
        raw.set_channel_types(dict.fromkeys(CHANNELS, kind), verbose="ERROR")
        extra = mne.io.RawArray(raw.get_data()[:1], mne.create_info(["EOG1"], SFREQ, "eog"), verbose="ERROR")
        raw.add_channels([extra])
        raw.info["bads"] = ["Pz"] if seed else []
        runs.append((raw, onsets, labels))
    write_runs(tmp_path, *runs)
    dataset = own(tmp_path, kind=kind)
    trials = dataset.trials("s1")
    assert trials.ch_names == ["C3", "Cz", "C4"] and "1 eog" in said(dataset)
    signal = _signal(dataset, "s1", trials)
    factor, unit = {"mag": (1e15, "fT"), "grad": (1e13, "fT/cm")}.get(kind, (1e6, "µV"))
    runs = [one[0].get_data(picks=["C3", "Cz", "C4"]) for one in runs]
    density = np.mean([welch(factor * one, SFREQ, nperseg=round(2 * SFREQ))[1] for one in runs], axis=0)
    middle = np.percentile(10 * np.log10(density), 50, axis=0)
    np.testing.assert_allclose(signal.before[1], middle[1 : len(signal.frequencies) + 1], atol=1e-3)
    assert signal.unit == unit
    power = 10 * np.log10((factor * trials.X).var(axis=-1).mean(axis=0))
    np.testing.assert_allclose(signal.power, power, rtol=1e-6)
    average = own(tmp_path, kind=kind, reference="average")
    if scale < 1e-9:
        with pytest.raises(UserError, match="'average' is for electrodes"):
            average.trials("s1")
    else:
        assert np.abs(average.trials("s1").X.mean(axis=1)).max() < 1e-12


def test_remarks_are_no_events_and_are_counted(tmp_path):
    raw, onsets, labels = make_raw()
    raw.set_annotations(mne.Annotations([3.0, 7.0], 0.0, ["Comment/asleep", "SyncStatus/Sync On"]))
    write_runs(tmp_path, (raw, onsets, labels))
    dataset = own(tmp_path)
    assert set(dataset.trials("s1").label) == {"left", "right"}
    assert "2 annotations left out: remarks, no events: Comment/asleep, SyncStatus/Sync On" in said(dataset)
    named = own(tmp_path, labels={"Comment/asleep": "asleep", "left": "left"})
    assert set(named.trials("s1").label) == {"asleep", "left"}


def test_units_by_any_spelling(tmp_path):
    factors = {
        "µV": 1e-6,
        "\u03bcV": 1e-6,
        "uV": 1e-6,
        "UV": 1e-6,
        "microvolts": 1e-6,
        "mV": 1e-3,
        "nV": 1e-9,
        "V": 1.0,
    }
    assert {unit: volts(unit) for unit in factors} == factors
    assert [volts(unit) for unit in ("", "n/a", "C", "S", "%", "uS", "bpm")] == [None] * 7
    raw, *_ = make_raw()
    for unit in ("\u03bcV", "nV", "mV", "µV"):
        write_brainvision(tmp_path / "x.vhdr", raw, unit)
        back, notes = read_raw(tmp_path / "x.vhdr")
        assert back.get_channel_types() == ["eeg"] * 4 and np.abs(back.get_data() - raw.get_data()).max() < 1e-9
        assert bool(notes) == (unit == "\u03bcV")
    for unit in ("nV", "mV", "uV"):
        step = write_edf(tmp_path / "x.edf", raw, unit)
        assert np.abs(read_raw(tmp_path / "x.edf")[0].get_data() - raw.get_data()).max() < 2 * step


def test_edf_channels_of_two_rates(tmp_path):
    raw, *_ = make_raw()
    raw._data[1] = 2e-5 * np.sin(2 * np.pi * 3 * raw.times)
    write_edf(tmp_path / "x.edf", raw, slow={"Cz": 2})
    back, notes = read_raw(tmp_path / "x.edf")
    assert notes == ["Cz recorded at 50 Hz, read at 100"]
    inner = slice(200, -200)
    for index in range(4):
        assert np.corrcoef(back.get_data()[index, inner], raw.get_data()[index, inner])[0, 1] > 0.999
    pd.DataFrame({"path": ["x.edf"], "subject": ["s1"]}).to_csv(tmp_path / "recordings.csv", index=False)
    events = pd.DataFrame({"path": "x.edf", "onset": [5.0, 20.0, 40.0, 50.0], "label": ["a", "b"] * 2})
    events.to_csv(tmp_path / "events.csv", index=False)
    X = folder(tmp_path, band=None, channels=["Cz"]).trials("s1").X
    for trial, onset in zip(X, events["onset"], strict=True):
        at = round(onset * SFREQ)
        assert np.abs(trial[0] - raw.get_data()[1, at : at + len(trial[0])]).max() < 1e-6


def test_files_come_from_the_reader(tmp_path):
    raw, *_ = make_raw()
    write_brainvision(tmp_path / "a.vhdr", raw)
    for old, new in (("a.eeg", "samples.bin"), ("a.vmrk", "marks.txt")):
        (tmp_path / old).rename(tmp_path / new)
        header = (tmp_path / "a.vhdr").read_text().replace(f"={old}", f"={new}")
        (tmp_path / "a.vhdr").write_text(header)
    assert [path.name for path in files_of(tmp_path / "a.vhdr")] == ["a.vhdr", "samples.bin", "marks.txt"]
    wide = mne.io.RawArray(np.tile(raw.get_data(), (150, 1)), mne.create_info(600, SFREQ, "eeg"), verbose="ERROR")
    wide.save(tmp_path / "b_raw.fif", split_size="10MB", verbose="ERROR")
    assert {path.name for path in files_of(tmp_path / "b_raw.fif")} == {"b_raw.fif", "b_raw-1.fif"}
    write_recording(tmp_path / "c.set", raw)
    assert [path.name for path in files_of(tmp_path / "c.set")] == ["c.set", "c.fdt"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_covariances_without_full_rank_are_refused_in_any_precision(dtype):
    X = np.random.default_rng(0).normal(size=(5, 6, 300)) * 1e-5
    check_rank(trial_covariances(X.astype(dtype), "scm"))
    X -= X.mean(axis=1, keepdims=True)
    with pytest.raises(ValueError, match="full rank"):
        check_rank(trial_covariances(X.astype(dtype), "scm"))
    check_rank(trial_covariances(X.astype(dtype), "oas"))


def test_what_is_used_and_what_is_not_adds_up(tmp_path):
    raw, onsets, labels = make_raw(names=[*CHANNELS, "ECG"])
    onsets[-1] = 58.9
    write_runs(tmp_path, (raw, onsets, labels))
    rows = own(tmp_path).account("s1")
    assert rows[0].run == "r0" and rows[0].used == "10 trials (5 left, 5 right), 4 channels"
    left = [row.left_out for row in rows]
    assert "1 channel: ECG" in left and "1 trial" in left
    assert all(row.why for row in rows if row.left_out)


def test_data_check_of_chosen_subjects(tmp_path):
    write_folder(tmp_path, subjects=("s1", "s2"))
    (tmp_path / "s2_0_raw.fif").write_bytes(b"damaged")
    settings_ = ["tmin=0", "tmax=2"]
    text = check("eeg-folder", str(tmp_path), [*settings_, "subjects=[s1]"])
    assert (
        "s1: 22 trials (12 left, 10 right)" in text
        and "s2" not in text
        and re.search(r"s1 r0: 11 trials \(6 left, 5 right\), 4 channels", text)
    )
    with pytest.raises(UserError, match="'s3' is not a subject"):
        check("eeg-folder", str(tmp_path), [*settings_, "subjects=[s3]"])
    with pytest.raises(UserError, match="not a value"):
        check("eeg-folder", str(tmp_path), ["subjects=[s1"])


def test_heads_that_moved_between_runs_are_measured():
    from brainbench.recordings.base import head_moves

    infos = []
    for shift in (0.0, 0.003, 0.012):
        info = mne.create_info(2, 100.0, "mag")
        place = np.eye(4)
        place[0, 3] = shift
        with info._unlock():
            info["dev_head_t"] = mne.transforms.Transform("meg", "head", place)
        infos.append(info)
    assert head_moves(infos) == pytest.approx(0.012)
    assert head_moves(infos[:1]) == 0 == head_moves([mne.create_info(2, 100.0, "eeg")] * 2)


def test_channels_that_lie_elsewhere_in_another_run_are_said(tmp_path):
    runs = [make_raw(seed=seed) for seed in (0, 1)]
    for raw, *_ in runs:
        raw.set_montage("colin27_1005", verbose="ERROR")
    write_runs(tmp_path, *runs)
    assert "mm apart" not in said(own(tmp_path))
    runs[1][0].info["chs"][2]["loc"][1] += 0.012
    runs[1][0].save(tmp_path / "r1_raw.fif", overwrite=True, verbose="ERROR")
    assert "channels lie up to 12 mm apart between runs" in said(own(tmp_path))


def test_marks_that_are_not_where_the_header_says(tmp_path):
    """MNE takes those beside the header, or none, and says so in a warning: the report says it too."""
    raw, onsets, labels = make_raw()
    write_runs(tmp_path, (raw, onsets, labels), ending=".vhdr")
    header = tmp_path / "r0.vhdr"
    header.write_text(header.read_text().replace("MarkerFile=r0.vmrk", "MarkerFile=gone.vmrk"))
    assert "MNE says: MarkerFile 'gone.vmrk' not found; using 'r0.vmrk'" in said(own(tmp_path))
    assert tmp_path / "r0.vmrk" in own(tmp_path).files()
    events = pd.DataFrame({"path": "r0.vhdr", "onset": onsets, "label": labels})
    events.to_csv(tmp_path / "events.csv", index=False)
    (tmp_path / "r0.vmrk").unlink()
    assert "MarkerFile 'gone.vmrk' not found; no annotations" in said(own(tmp_path, events="events.csv"))


def test_data_of_a_header_may_lie_in_another_folder(tmp_path):
    raw, onsets, labels = make_raw()
    write_runs(tmp_path, (raw, onsets, labels), ending=".vhdr")
    (tmp_path / "samples").mkdir()
    (tmp_path / "r0.eeg").rename(tmp_path / "samples" / "r0.eeg")
    header = tmp_path / "r0.vhdr"
    header.write_text(header.read_text().replace("DataFile=r0.eeg", "DataFile=samples/r0.eeg"))
    assert tmp_path / "samples" / "r0.eeg" in own(tmp_path).files()


def test_an_eye_channel_needs_no_place_and_enters_no_interpolation(tmp_path):
    names = ["C3", "Cz", "C4", "Pz", "Fz", "HEOG"]
    raw, onsets, labels = make_raw(names=names)
    montage = mne.channels.make_standard_montage("standard_1020")
    places = montage.get_positions()["ch_pos"]
    # As some systems do, the eye electrode has a place too: that of Oz.
    raw.set_montage(
        mne.channels.make_dig_montage({n: places["Oz" if n == "HEOG" else n] for n in names}, coord_frame="head")
    )
    raw.info["bads"] = ["Pz"]
    right = raw.copy().drop_channels(["HEOG"]).interpolate_bads(verbose="ERROR").get_data()
    write_runs(tmp_path, (raw, onsets, labels))
    dataset = own(tmp_path, bad_channels="interpolate")
    trials = dataset.trials("s1")
    assert trials.ch_names == names[:-1] and "HEOG left out: eyes" in said(dataset)
    for trial, onset in zip(trials.X, onsets, strict=True):
        at = round(onset * SFREQ)
        assert np.abs(trial - right[:, at : at + trial.shape[1]]).max() < 1e-9
    assert own(tmp_path, montage="standard_1005").trials("s1").ch_names == ["C3", "Cz", "C4", "Fz"]


def test_a_chosen_bad_channel_is_interpolated_from_all_others(tmp_path):
    names = ["C3", "Cz", "C4", "Pz", "Fz", "Oz", "X9"]
    raw, onsets, labels = make_raw(names=names)
    placed = mne.channels.make_standard_montage("standard_1005")
    raw.set_montage(placed, on_missing="ignore", verbose="ERROR")
    raw.info["bads"] = ["Pz", "Oz"]
    right = raw.copy().drop_channels(["X9"]).interpolate_bads(verbose="ERROR").get_data(["C3", "Pz"])
    write_runs(tmp_path, (raw, onsets, labels))
    for more in ({}, {"montage": "standard_1005"}):
        dataset = own(tmp_path, channels=["C3", "Pz"], bad_channels="interpolate", **more)
        trials = dataset.trials("s1")
        assert trials.ch_names == ["C3", "Pz"] and "channel Pz marked bad in the file, interpolated" in said(dataset)
        at = round(onsets[0] * SFREQ)
        assert np.abs(trials.X[0] - right[:, at : at + trials.X.shape[2]]).max() < 1e-9
    new = dataset.read_new(tmp_path / "r0_raw.fif", trials.info)
    assert np.abs(new.recording.raw.get_data() - right).max() < 1e-9
