"""Recordings in GDF, EDF, EEGLAB's format and tables (time stamps, channels, markers); and spectra of what is read."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.recording_files import write_gdf, write_recording
from brainbench.commands.apply import _with_events
from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.recipes.datasets import DATASETS, dataset_settings
from brainbench.recordings.events import interruptions, keep_stretches, own_events
from brainbench.recordings.power import densities
from brainbench.recordings.reading import read_raw

mne = pytest.importorskip("mne")
SFREQ = 125.0


def table(n=2000, seed=0):
    """Return 16 s of three channels in microvolts; a marker every two seconds is held for three rows."""
    rng = np.random.default_rng(seed)
    found = pd.DataFrame(rng.normal(0, 10, (n, 3)), columns=["C3", "Cz", "C4"])
    found.insert(0, "Time", 100 + np.arange(n) / SFREQ)
    found["Marker"] = ""
    for count, start in enumerate(range(100, n - 250, 250)):
        found.loc[start : start + 2, "Marker"] = ("left", "right")[count % 2]
    return found


def test_a_table_is_read_with_its_rate_its_channels_and_its_markers(tmp_path):
    rows = table()
    rows.to_csv(tmp_path / "a.csv", index=False)
    raw, said = read_raw(tmp_path / "a.csv")
    assert raw.ch_names == ["C3", "Cz", "C4"] and raw.info["sfreq"] == SFREQ and said == [
        "125 samples per second by its time stamps"
    ]  # fmt: skip
    np.testing.assert_allclose(raw.get_data(), rows[["C3", "Cz", "C4"]].to_numpy().T)
    assert raw.annotations.description.tolist() == ["left", "right"] * 3 + ["left"]
    np.testing.assert_allclose(raw.annotations.onset, np.arange(100, 1750, 250) / SFREQ)


def test_a_folder_of_tables_gives_trials(tmp_path):
    rows = table()
    for place in (1, 2):
        rows.assign(C3=rows["C3"] * place).to_csv(tmp_path / f"r{place}.csv", index=False, sep=";")
    runs = pd.DataFrame({"path": ["r1.csv", "r2.csv"], "subject": "s1", "run": ["1", "2"]})
    runs.to_csv(tmp_path / "recordings.csv", index=False)
    settings = {"name": "eeg-folder", "events": "annotations", "unit": "microvolt", "tmin": 0.0, "tmax": 1.0}
    settings = dataset_settings({**settings, "band": None, "repeated_trials": "keep"})
    dataset = DATASETS.builder("eeg-folder").open(settings, tmp_path, Context())
    trials = dataset.trials("s1")
    assert trials.X.shape == (14, 3, 126)
    np.testing.assert_allclose(trials.X[0, 1], 1e-6 * rows["Cz"].to_numpy()[100:226], atol=1e-12)
    assert dataset.summary("s1") == "14 trials (8 left, 6 right) of 3 channels at 125 Hz, 2 runs"
    assert dataset.tables == [tmp_path / "recordings.csv"] and len(dataset.files()) == 3


def test_jitter_is_said_and_its_samples_are_taken_as_regular(tmp_path):
    rows = table()
    rows["Time"] += np.random.default_rng(1).uniform(0, 0.3 / SFREQ, len(rows))
    rows.to_csv(tmp_path / "a.csv", index=False)
    raw, said = read_raw(tmp_path / "a.csv")
    assert raw.info["sfreq"] == SFREQ and "ms from regular ones" in said[1]


def test_a_table_of_events_keeps_the_clock_of_the_time_stamps(tmp_path):
    """250.2 Hz are taken for 250: by that clock alone, an event after 20 minutes would be read .9 s away."""
    n, stamps = 250 * 1200, 100 + np.arange(250 * 1200) / 250.2
    marks = np.array([0, 1000, 150_000, n - 500])
    rows = pd.DataFrame({"Time": stamps, "C3": np.random.default_rng(0).normal(0, 10, n), "C4": np.arange(n) % 97})
    rows.loc[marks[1], "Time"] += 0.2 / 250.2  # jitter
    rows.to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "recordings.csv").write_text("path,subject\na.csv,s1\n")
    events = pd.DataFrame({"path": "a.csv", "onset": rows["Time"][marks] - 100, "label": ["x", "y", "x", "y"]})
    events = pd.concat([events, pd.DataFrame({"path": ["a.csv"], "onset": [1300.0], "label": ["x"]})])
    events.to_csv(tmp_path / "events.csv", index=False)
    settings = {"name": "eeg-folder", "unit": "microvolt", "tmin": 0.0, "tmax": 1.0, "band": None}
    dataset = DATASETS.builder("eeg-folder").open(dataset_settings(settings), tmp_path, Context())
    trials = dataset.trials("s1")
    for trial, mark in zip(trials.X, marks, strict=True):
        np.testing.assert_allclose(trial[0], 1e-6 * rows["C3"].to_numpy()[mark : mark + 251], atol=1e-12)
    events[:-1].to_csv(tmp_path / "events.csv", index=False)
    (run,) = dataset.continuous("s1")
    applied = _with_events(run, tmp_path / "events.csv", tmp_path / "a.csv", dataset, [])
    np.testing.assert_allclose(250 * applied.onsets, marks, atol=0.25)
    assert "outside of the recording" in "".join(map(str, dataset.account("s1")))


def gone(rows):
    return rows.drop(index=range(500, 520))


def word(rows):
    return rows.astype({"Cz": object}).assign(Cz=["x" if place == 7 else one for place, one in enumerate(rows["Cz"])])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (gone, r"0.168 s lie before row 501 below the header, .*: samples are missing \(1 times\)"),
        (word, "row 8 below the header, column 'Cz': 'x' is not a number"),
        (lambda rows: rows.assign(Cz=["1_5", *rows["Cz"][1:]]), "row 1 .*'1_5' is not a number"),
        (lambda rows: rows.drop(columns="Time"), "no column of time stamps among"),
        (lambda rows: rows.assign(Time=1000 * rows["Time"]), "time stamps rise by 8 a row.*\n.*divide milliseconds"),
        (lambda rows: rows.assign(Time=-rows["Time"]), "row 2 below the header: time stamps do not rise"),
        (lambda rows: rows[["Time", "Marker"]], "no column is a channel"),
        (lambda rows: rows.assign(event=""), "two columns may hold markers: marker and event"),
        (lambda rows: rows.assign(Cz=["nan", *rows["Cz"][1:]]), "row 1 .*not finite"),
    ],
)  # fmt: skip
def test_what_is_no_recording_is_refused_with_its_row(tmp_path, spoil, said):
    spoil(table()).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match=said):
        read_raw(tmp_path / "a.csv")


def test_gdf_gives_samples_and_events_by_their_codes(tmp_path):
    rows = table(1875)
    raw = mne.io.RawArray(
        1e-6 * rows[["C3", "Cz", "C4"]].to_numpy().T, mne.create_info(["C3", "Cz", "C4"], SFREQ, "eeg")
    )
    raw.set_annotations(mne.Annotations(np.arange(1, 13, 2), 0, ["left", "right"] * 3))
    write_gdf(tmp_path / "a.gdf", raw, {"left": 769, "right": 770})
    (tmp_path / "recordings.csv").write_text("path,subject\na.gdf,s1\n")
    settings = {"name": "eeg-folder", "events": "annotations", "labels": {"769": "left", "770": "right"}, "band": None}
    dataset = DATASETS.builder("eeg-folder").open(
        dataset_settings({**settings, "tmin": 0.0, "tmax": 1.0}), tmp_path, Context()
    )
    trials = dataset.trials("s1")
    assert trials.label.tolist() == ["left", "right"] * 3 and trials.sfreq == SFREQ
    np.testing.assert_allclose(trials.X[1], raw.get_data()[:, 375:501], atol=1e-10)


@pytest.mark.parametrize("version", ["1.25", "2.20"])
@pytest.mark.parametrize("unit", ["V", "mV", "uV", "nV"])
def test_gdf_obeys_units_rates_of_marks_rejected_trials_and_new_segments(tmp_path, version, unit):
    rows = table(2500)
    raw = mne.io.RawArray(1e-6 * rows[["C3", "C4"]].to_numpy().T, mne.create_info(["C3", "C4"], SFREQ, "eeg"))
    marks = [(2.0 * at, 0.0, ("left", "right")[at % 2]) for at in range(1, 9)]
    marks += [(5.5, 1.5, "rejected"), (9.9, 0.0, "rejected"), (12.5, 0.0, "segment")]
    raw.set_annotations(mne.Annotations(*zip(*sorted(marks), strict=True)))
    codes = {"left": 769, "right": 770, "rejected": 1023, "segment": 32766}
    write_gdf(tmp_path / "a.gdf", raw, codes, version=version, unit=unit, marks_hz=2 * round(SFREQ))
    (tmp_path / "recordings.csv").write_text("path,subject\na.gdf,s1\n")
    labels = {"769": "left", "770": "right"}
    for choice, kept in (("leave_out", [2, 4, 8, 10, 14, 16]), ("keep", [2, 4, 6, 8, 10, 12, 14, 16])):
        settings = {"name": "eeg-folder", "labels": labels, "band": None, "tmin": 0.0, "tmax": 1.0}
        settings |= {"events": "annotations", "bad_stretches": choice}
        dataset = DATASETS.builder("eeg-folder").open(dataset_settings(settings), tmp_path, Context())
        trials = dataset.trials("s1")
        np.testing.assert_allclose(trials.onset, kept, atol=1e-9)
        first = raw.get_data()[:, round(2 * SFREQ) : round(3 * SFREQ) + 1]
        np.testing.assert_allclose(trials.X[0], first, atol=1e-6 * np.abs(first).max())
    said = "\n".join(str(row) for row in dataset.account("s1"))
    assert "1 mark 32766: a new segment begins" in said and "1 mark 1023: a trial that was rejected" in said
    assert "marks count at 250 Hz, samples at 125" in said and "1 mark 1023 (a rejected trial) without a length" in said


@pytest.mark.parametrize("version", ["1.25", "2.20"])
def test_gdf_that_is_cut_short_is_a_message_with_both_numbers(tmp_path, version):
    rows = table(1250)
    raw = mne.io.RawArray(1e-6 * rows[["C3", "C4"]].to_numpy().T, mne.create_info(["C3", "C4"], SFREQ, "eeg"))
    raw.set_annotations(mne.Annotations([1.0, 2.0], [0.0, 1.0], ["left", "left"]))
    path = tmp_path / "a.gdf"
    write_gdf(path, raw, {"left": 769}, version=version)
    whole = path.read_bytes()
    for end in (3, 100, 500, 3000, len(whole) - 500, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError, match=rf"cut short or damaged.*({end} bytes|version)"):
            read_raw(path)


def write_interrupted(path, data, sfreq, begin, marks):
    """Write EDF+D or BDF+D: records of 1 s that began at `begin`, each with the marks (onset, duration, text) in it."""
    bdf = path.suffix == ".bdf"
    kind, size, top = ("BDF", 3, 2**23) if bdf else ("EDF", 2, 2**15)
    n_tal, names = 120 // size, [*(f"C{at}" for at in range(len(data))), f"{kind} Annotations"]
    columns = [
        (16, names), (80, [""] * len(names)), (8, ["uV"] * len(data) + [""]), (8, [-500] * len(data) + [-1]),
        (8, [500] * len(data) + [1]), (8, [-top] * len(names)), (8, [top - 1] * len(names)), (80, [""] * len(names)),
        (8, [sfreq] * len(data) + [n_tal]), (32, [""] * len(names)),
    ]  # fmt: skip
    head = b"\xffBIOSEMI" if bdf else b"0       "
    fixed = [(80, "X X X X"), (80, "Startdate 01-JAN-2020 X X X"), (8, "01.01.20"), (8, "10.00.00")]
    fixed += [(8, 256 * (len(names) + 1)), (44, f"{kind}+D"), (8, len(begin)), (8, 1), (4, len(names))]
    for width, value in fixed:
        head += str(value).ljust(width).encode()
    head += b"".join(str(value).ljust(width).encode() for width, column in columns for value in column)
    digital = np.round((data + 500) / 1000 * (2 * top - 1) - top).astype("<i4")
    body = b""
    for record, start in enumerate(begin):
        samples = digital[:, record * sfreq : (record + 1) * sfreq].ravel()
        body += samples.view(np.uint8).reshape(-1, 4)[:, :size].tobytes()
        said = [f"+{start:g}\x14\x14\x00"]
        said += [f"+{at:g}\x15{size_:g}\x14{text}\x14\x00" for at, size_, text in marks if start <= at < start + 1]
        body += "".join(said).encode().ljust(size * n_tal, b"\x00")
    path.write_bytes(head + body)


@pytest.mark.parametrize("ending", ["edf", "bdf"])
def test_marks_of_an_interrupted_edf_stand_where_they_were_set(tmp_path, ending):
    sfreq, begin = 100, [*np.arange(10) + 0.5, *np.arange(10) + 12.75, *np.arange(10) + 60.5]
    data = np.random.default_rng(0).normal(0, 20, (3, 100 * len(begin)))
    place = {1.25: 0.75, 5.0: 4.5, 9.75: 9.25, 14.0: 11.25, 20.0: 17.25, 61.0: 20.5, 66.25: 25.75}  # clock -> samples
    marks = [(at, 0.0, ("left", "right")[number % 2]) for number, at in enumerate(place)]
    marks += [(7.5, 1.0, "BAD cough"), (22.5, 38.75, "BAD moved")]
    write_interrupted(tmp_path / f"a.{ending}", data, sfreq, begin, marks)
    (tmp_path / "recordings.csv").write_text(f"path,subject\na.{ending},s1\n")
    settings = {"name": "eeg-folder", "events": "annotations", "band": None, "tmin": 0.0, "tmax": 1.0}
    dataset = DATASETS.builder("eeg-folder").open(dataset_settings(settings), tmp_path, Context())
    trials = dataset.trials("s1")
    kept = [at for at in place.values() if at not in (9.25, 20.5)]  # one spans an interruption, one is bad
    np.testing.assert_allclose(trials.onset, kept, atol=1e-9)
    for X, at in zip(trials.X, kept, strict=True):
        start = round(at * sfreq)
        np.testing.assert_allclose(X, 1e-6 * data[:, start : start + sfreq + 1], atol=2e-8)
    said = "\n".join(str(row) for row in dataset.account("s1"))
    assert "2 interruptions: marks stand where they were set" in said
    assert "1 trial left out: touching a stretch marked 'BAD boundary'" in said
    assert "1 trial left out: touching a stretch marked 'BAD moved'" in said
    table = pd.DataFrame(
        [(f"a.{ending}", at - 0.5, text) for at, _, text in marks[:7]] + [(f"a.{ending}", 30.0, "left")]
    )
    table.to_csv(tmp_path / "events.csv", index=False, header=["path", "onset", "label"])
    of_table = DATASETS.builder("eeg-folder").open(
        dataset_settings(settings | {"events": "events.csv"}), tmp_path, Context()
    )
    np.testing.assert_allclose(of_table.trials("s1").onset, kept, atol=1e-9)
    assert "1 event left out: of times that were not recorded" in "\n".join(map(str, of_table.account("s1")))
    table[:7].to_csv(tmp_path / "events.csv", index=False, header=["path", "onset", "label"])
    (run,) = of_table.continuous("s1")
    applied = _with_events(run, tmp_path / "events.csv", tmp_path / f"a.{ending}", of_table, [])
    np.testing.assert_allclose(applied.onsets, list(place.values()), atol=1e-9)
    table.to_csv(tmp_path / "events.csv", index=False, header=["path", "onset", "label"])
    with pytest.raises(UserError, match=r"events.csv:9  the event lies outside of the recording"):
        _with_events(run, tmp_path / "events.csv", tmp_path / f"a.{ending}", of_table, [])


def test_an_interrupted_edf_counts_marks_of_no_record_and_refuses_records_that_overlap(tmp_path):
    data, path = np.random.default_rng(0).normal(0, 20, (2, 600)), tmp_path / "a.edf"
    write_interrupted(path, data, 100, [0, 1, 2, 8, 9, 10], [(1.5, 0.0, "left"), (8.5, 0.0, "right")])
    path.write_bytes(path.read_bytes().replace(b"+1.5\x15", b"+4.5\x15"))
    raw, said = read_raw(path)
    assert [(mark["onset"], mark["description"]) for mark in raw.annotations] == [(3.0, "boundary"), (3.5, "right")]
    assert "1 mark of times that were not recorded" in said
    write_interrupted(path, data, 100, [0, 1, 2, 2.5, 9, 10], [])
    with pytest.raises(UserError, match=r"record 4 began at 2.5 s, before the one before it had ended \(3 s\)"):
        read_raw(path)


def test_eeglab_puts_interruptions_between_samples_and_may_call_them_by_number(tmp_path):
    data = np.random.default_rng(0).normal(0, 1e-5, (2, 4000))
    for sfreq, name in ((250.0, "boundary"), (256.0, "-99"), (500.0, "-99.0")):
        raw = mne.io.RawArray(data, mne.create_info(["Cz", "Pz"], sfreq, "eeg"), verbose="ERROR")
        first = np.array([301, 1000, 1001, 2500, 2667])  # the samples, from 0, that follow interruptions
        at = [*((first - 0.5) / sfreq), 400 / sfreq, 800 / sfreq]
        raw.set_annotations(mne.Annotations(at, 0.0, [name] * 5 + ["1", "2"]))
        write_recording(tmp_path / "a.set", raw)
        back, said = read_raw(tmp_path / "a.set")
        assert said == (["5 events called -99, by which EEGLAB means an interruption"] if name != "boundary" else [])
        assert own_events(back, "a.set").labels.tolist() == ["1", "2"]
        keep_stretches(back, "leave_out")
        assert interruptions(back) == first.tolist()


def test_densities_are_those_of_white_noise_and_of_a_sine():
    rng, sfreq = np.random.default_rng(0), 100.0
    time = np.arange(6000) / sfreq
    noise, sine = rng.normal(0, 3, (2, 6000)), 5 * np.sin(2 * np.pi * 20 * time)
    frequencies, density = densities([noise, np.stack([sine, sine])], sfreq)
    assert frequencies[0] == 0.5 and frequencies[-1] == 50
    flat = densities([noise], sfreq)[1][:, 5:-5]
    np.testing.assert_allclose(flat.mean(axis=1), 2 * 9 / sfreq, rtol=0.05)  # variance over half the rate
    power = (density[0] - densities([noise], sfreq)[1][0] / 2).sum() * 0.5  # mean over two pieces
    assert power == pytest.approx(25 / 2 / 2, rel=0.05) and frequencies[density[0].argmax()] == 20
