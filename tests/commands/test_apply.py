"""A decoder of a finished run on a new recording: equal to the evaluation's fold, and refused where it does not fit."""

import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import brainbench as bb
from benchmarks.recording_files import write_edf
from brainbench.cli import main
from brainbench.commands.apply import apply_run, forecast_lines
from brainbench.commands.stream import StreamSettings, stream_run
from brainbench.core.errors import UserError
from brainbench.recordings.matching import check_positions
from brainbench.studies.trials.decoding import pipeline_units
from brainbench.studies.trials.fitted import open_decode_run
from brainbench.studies.trials.trials import open_trials
from tests.conftest import real_data_root
from tests.data.test_trials import make_raw, write_folder
from tests.figures import unwritten

pytestmark = pytest.mark.long

mne = pytest.importorskip("mne")

PIPELINES = (
    "pipelines=[{name: tangent_lr, decoder: tangent_lr}, {name: csp_lda, decoder: csp_lda}, "
    "{name: fbcsp, decoder: fbcsp_lda, bands: [[8, 12], [12, 20]]}, {name: fgmdm, decoder: fgmdm}, "
    "{name: aligned, decoder: csp_lda, align: euclidean}, "
    "{name: eegnet, decoder: braindecode, model: EEGNet, max_epochs: 2, band: [4, 38]}]"
)


def said_of(done):
    """Return the line that says what the decoder was trained on."""
    return next(line for line in done.lines if line.startswith("decoder "))


def run_undrawn(recipe, **options):
    """Run a recipe without its report, which takes most of the time and is not looked at here."""
    with pytest.MonkeyPatch.context() as patch:
        unwritten(patch)
        return bb.run(recipe, **options)


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    root = real_data_root()
    if root is None:
        pytest.skip("real data not found")
    out = tmp_path_factory.mktemp("apply")
    return run_undrawn(
        "eeg-motor-imagery",
        overrides=[
            f"dataset.root={root / 'MNE-eegbci-data'}",
            "dataset.subjects=[S001]",
            PIPELINES,
            "time_resolved=null",
            "bands=null",
            "significance.n_permutations=100",
            "time_resolved=null",
            "bands=null",
        ],
        out=out / "run",
        cache=out / "cache",
    )


@pytest.fixture(scope="module")
def evaluated(real_run):
    """Return the probabilities of the evaluation's folds of every pipeline, in order."""
    _, opened = open_decode_run(real_run.path, None, None)
    _, cases = open_trials(opened)
    return {
        settings.name: [real_run.folder.read_unit(unit.digest)["probability"] for unit in units]
        for _, settings, units in pipeline_units(opened, cases)
    }


@pytest.mark.parametrize("pipeline", ["tangent_lr", "csp_lda", "fbcsp", "fgmdm", "aligned", "eegnet"])
def test_equal_to_the_fold_with_the_same_training_runs(tmp_path, real_data, real_run, evaluated, pipeline):
    recording = real_data / "MNE-eegbci-data/files/eegmmidb/1.0.0/S001/S001R12.edf"
    expected = evaluated[pipeline][2]  # S001 R12 is held out
    options = {"pipeline": pipeline, "subjects": ["S001"], "train_runs": ["R04", "R08"]}
    first = apply_run(real_run.path, recording, out=tmp_path / "first.csv", **options)
    columns = ["probability_left_fist", "probability_right_fist"]
    assert np.abs(first.table[columns].to_numpy() - expected).max() < 1e-6
    again = apply_run(real_run.path, recording, out=tmp_path / "again.csv", pipeline=pipeline)
    assert "kept in the run folder" in said_of(first) and "read from the run folder" in said_of(again)
    assert any("R12 is this recording" in line for line in again.lines)
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    table = pd.read_csv(tmp_path / "first.csv")
    assert list(table.columns) == ["trial", "onset", "label", *columns, "predicted"] and len(table) == 15
    if pipeline == "tangent_lr":
        from sklearn.metrics import roc_auc_score

        auc = roc_auc_score(table["label"] == "right_fist", table["probability_right_fist"])
        assert auc > 0.75 and f"ROC-AUC {auc:.3f}" in first.lines[-1]


def test_a_damaged_decoder_is_fitted_again(tmp_path, real_data, real_run):
    recording = real_data / "MNE-eegbci-data/files/eegmmidb/1.0.0/S001/S001R12.edf"
    apply_run(real_run.path, recording, out=tmp_path / "a.csv", pipeline="csp_lda")
    for path in (real_run.path / "decoders").rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    done = apply_run(real_run.path, recording, out=tmp_path / "b.csv", pipeline="csp_lda")
    assert "fitted, and kept" in said_of(done)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_runs_of_other_movements_are_refused(tmp_path, real_data, real_run):
    folder = real_data / "MNE-eegbci-data/files/eegmmidb/1.0.0/S001"
    with pytest.raises(UserError, match=r"run 14 is of .*both_fists and both_feet"):
        apply_run(real_run.path, folder / "S001R14.edf", out=tmp_path / "p.csv")
    executed = apply_run(real_run.path, folder / "S001R03.edf", out=tmp_path / "p.csv")
    assert len(executed.table) == 15


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Return a run on simulated recordings of two subjects; nothing here was measured."""
    root = tmp_path_factory.mktemp("folder")
    write_folder(root, subjects=("s1", "s2"))
    recipe = root / "recipe.yaml"
    recipe.write_text(
        f"kind: decode\ndataset: {{name: eeg-folder, root: {root}, tmin: 0, tmax: 2}}\n"
        "pipelines:\n  - {name: csp, decoder: csp_lda, n_filters: 2}\n"
        "  - {name: moved, decoder: csp_lda, n_filters: 2, align: euclidean_transductive}\n"
        "evaluate: [{scheme: leave-one-run-out}]\nsignificance: {n_permutations: 0}\n"
    )
    return run_undrawn(recipe, out=root / "run", cache=root / "cache")


def new_file(folder, change=None, name="new_raw.fif", labels=None, sfreq=None, **options):
    """Write a recording that no run has, with its events as a table beside it."""
    raw, onsets, own = make_raw(seed=99, change=change, **options)
    if sfreq is not None:
        raw.resample(sfreq, verbose="ERROR")
    raw.save(folder / name, verbose="ERROR", overwrite=True)
    events = pd.DataFrame({"onset": onsets, "label": own if labels is None else labels})
    events.to_csv(folder / "events.csv", index=False)
    return folder / name, folder / "events.csv"


def test_a_new_person_gets_a_decoder_of_everybody(tmp_path, simulated):
    path, events = new_file(tmp_path)
    done = apply_run(simulated.path, path, out=tmp_path / "p.csv", events=events)
    assert "44 trials of s1, s2" in said_of(done)
    assert np.mean(done.table["label"] == done.table["predicted"]) > 0.8
    counted = [one for one in simulated.facts["findings"]["trials"]["calibration"] if one["pipeline"] == "csp"]
    edges, n = np.array(counted[0]["edges"]), np.sum([one["count"] for one in counted], axis=0)
    shares = np.sum([one["right"] for one in counted], axis=0) / np.maximum(n, 1)
    sure = done.table[["probability_left", "probability_right"]].max(axis=1)
    bins = [min(int(np.searchsorted(edges, one, side="right")) - 1, len(n) - 1) for one in sure]
    expected = np.mean([shares[place] if n[place] else np.nan for place in bins])
    line = next(line for line in done.lines if line.startswith("forecast: "))
    assert np.isnan(expected) or line.startswith(f"forecast: {expected:.2f} [")
    assert f"of {len(sure)} decisions right" in line and f"among {n.sum()} held-out trials of s1, s2" in line
    (signal, _) = simulated.facts["findings"]["signal"]
    assert signal["subject"] == "s1" and len(signal["power"]) == len(signal["channels"])
    bare = pd.read_csv(events)[["onset"]]
    bare.to_csv(events, index=False)
    unlabelled = apply_run(simulated.path, path, out=tmp_path / "p.csv", events=events)
    assert unlabelled.lines[-1].startswith("labels are not known")
    assert (unlabelled.table["label"] == "").all()
    assert np.allclose(done.table["probability_left"], unlabelled.table["probability_left"])


def test_events_of_a_class_that_no_training_run_has_are_left_out(tmp_path):
    """They were scored as if they were of the class before which their name stands in the alphabet."""
    write_folder(tmp_path, runs=4)
    table = pd.read_csv(tmp_path / "events.csv")
    late = table["path"].isin(["s1_2_raw.fif", "s1_3_raw.fif"]) & (table["label"] == "right")
    table.assign(label=table["label"].mask(late, "feet")).to_csv(tmp_path / "events.csv", index=False)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"kind: decode\ndataset: {{name: eeg-folder, root: {tmp_path}, tmin: 0, tmax: 2}}\n"
        "pipelines: [{name: tangent, decoder: tangent_lr}]\n"
        "evaluate: [{scheme: leave-one-run-out}]\nsignificance: {n_permutations: 0}\n"
    )
    run = run_undrawn(recipe, out=tmp_path / "run", cache=tmp_path / "cache")
    labels = ["left", "right", "left", "feet"] * 3
    (tmp_path / "new").mkdir()
    path, events = new_file(tmp_path / "new", labels=labels[:11])
    done = apply_run(run.path, path, out=tmp_path / "p.csv", events=events, train_runs=["r0", "r1"])
    right = np.mean(done.table["label"] == done.table["predicted"])
    assert sorted(set(done.table["label"])) == ["left", "right"] and right > 0.8
    assert any("2 events of other classes left out: feet" in line for line in done.lines)
    assert "9 labelled trials: ROC-AUC" in done.lines[-1] and f"accuracy {right:.3f}" in done.lines[-1]


def test_channels_order_and_rate_are_brought_to_those_of_training(tmp_path, simulated):
    path, events = new_file(tmp_path)
    plain = apply_run(simulated.path, path, out=tmp_path / "p.csv", events=events).table
    raw, *_ = make_raw(seed=99)
    extra = raw.copy().pick(["Pz"]).rename_channels({"Pz": "EMG1"})
    extra._data[:] = 0  # a flat channel that no decoder reads is nobody's trouble
    raw.add_channels([extra]).reorder_channels(["EMG1", "Pz", "C4", "Cz", "C3"])
    raw.save(tmp_path / "mixed_raw.fif", verbose="ERROR")
    mixed = apply_run(simulated.path, tmp_path / "mixed_raw.fif", out=tmp_path / "p.csv", events=events)
    assert np.allclose(plain["probability_left"], mixed.table["probability_left"])
    assert any("EMG1" in line for line in mixed.lines) and any("order of training" in line for line in mixed.lines)
    fast, _ = new_file(tmp_path, name="fast_raw.fif", sfreq=250)
    resampled = apply_run(simulated.path, fast, out=tmp_path / "p.csv", events=events)
    assert any("resampled from 250 to 100 Hz" in line for line in resampled.lines)
    assert np.abs(plain["probability_left"] - resampled.table["probability_left"]).max() < 0.05


def test_a_table_of_several_recordings_gives_this_ones_events(tmp_path, simulated, capsys):
    path, events = new_file(tmp_path)
    plain = apply_run(simulated.path, path, out=tmp_path / "p.csv", events=events).table
    mine = pd.read_csv(events).assign(path=path.name)
    others = mine.assign(path="other_raw.fif", label=mine["label"].to_numpy()[::-1], onset=mine["onset"] + 1.7)
    far = pd.DataFrame({"onset": [500.0], "label": ["left"], "path": ["other_raw.fif"]})
    pd.concat([others, far, mine]).to_csv(events, index=False)
    done = apply_run(simulated.path, path, out=tmp_path / "p.csv", events=events)
    pd.testing.assert_frame_equal(done.table, plain)
    assert any(f"{len(mine) + 1} events of other recordings in events.csv passed over" in line for line in done.lines)
    others.to_csv(events, index=False)
    out = ["--out", tmp_path / "p.csv", "--events", events]
    refused(capsys, "no row is of new_raw.fif.*did you mean 'other_raw.fif'", simulated.path, path, *out)


def test_channels_of_other_dress_are_mended_and_said(tmp_path, simulated):
    path, events = new_file(tmp_path)
    plain = apply_run(simulated.path, path, out=tmp_path / "p.csv", events=events).table
    raw, *_ = make_raw(seed=99)
    raw.rename_channels({"C3": "EEG C3.", "Cz": "CZ", "Pz": "pz "}, verbose="ERROR")
    raw.save(tmp_path / "dressed_raw.fif", verbose="ERROR")
    done = apply_run(simulated.path, tmp_path / "dressed_raw.fif", out=tmp_path / "p.csv", events=events)
    assert np.allclose(plain["probability_left"], done.table["probability_left"])
    assert any("channels renamed: EEG C3. is C3, CZ is Cz" in line for line in done.lines)


def test_what_a_new_recording_says_of_itself_is_obeyed(tmp_path, simulated, capsys):
    _, events = new_file(tmp_path)
    raw, onsets, _ = make_raw(seed=99)
    shown = pd.read_csv(events)
    raw.set_annotations(mne.Annotations([onsets[1] + 1], [0.1], ["BAD_jaw"]))
    raw = mne.io.RawArray(raw.get_data(), raw.info, first_samp=777, verbose="ERROR").set_annotations(
        mne.Annotations([onsets[1] + 1], [0.1], ["BAD_jaw"])
    )
    raw.save(tmp_path / "jaw_raw.fif", verbose="ERROR")
    done = apply_run(simulated.path, tmp_path / "jaw_raw.fif", out=tmp_path / "p.csv", events=events)
    assert len(done.table) == len(shown) - 1 and 1 not in set(done.table["trial"])
    assert any("BAD_jaw" in line for line in done.lines)
    coarse = StreamSettings(step=5.0)
    said = stream_run(
        simulated.path, tmp_path / "jaw_raw.fif", out=tmp_path / "s.csv", events=events, settings=coarse
    ).lines
    assert any("1 trial not scored: touching a stretch marked BAD" in line for line in said)
    raw.info["bads"] = ["C4"]
    raw.save(tmp_path / "jaw_raw.fif", verbose="ERROR", overwrite=True)
    out = ["--out", tmp_path / "p.csv", "--events", events]
    refused(capsys, "1 channel: C4 marked bad in the file", simulated.path, tmp_path / "jaw_raw.fif", *out)


def flat(data):
    data[1] = 0


def nan(data):
    data[2, 100] = np.nan


def clip(data):
    data[0] = np.clip(data[0], -1e-6, 1e-6)


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"names": ["C3", "Cz", "C5", "Pz"]}, [], "1 of the 4 channels that the decoder was trained on is missing: C4"),
        ({"names": ["E1", "E2", "E3", "E4"]}, [], "4 of the 4 channels"),
        ({"change": flat}, [], "Cz is flat"),
        ({"change": nan}, [], "NaN or infinite samples in channel C4"),
        ({"change": clip}, [], "C3 is clipped"),
        ({"scale": 10.0}, [], "microvolts were taken for volts"),
        ({"scale": 1e-5 * 300}, [], "times larger than in training"),
        ({"scale": 1e-8}, [], "times smaller than in training"),
        ({"sfreq": 50}, [], "50 samples per second"),
        ({"labels": "feet"}, [], "no events of the classes left, right; it has feet"),
        ({"seconds": 6}, [], "leaves room|no event"),
        ({}, ["--pipeline", "cps"], "no pipeline 'cps'; did you mean 'csp'"),
        ({}, ["--subject", "s3"], "'s3' is not in the run; did you mean"),
        ({}, ["--train-runs", "r7"], "no run 'r7'; did you mean"),
    ],
)
def test_what_does_not_fit_is_one_message(tmp_path, simulated, capsys, options, arguments, message):
    path, events = new_file(tmp_path, **options)
    if "seconds" in options:
        events.write_text("onset,label\n4.5,left\n")
    refused(capsys, message, simulated.path, path, "--out", tmp_path / "p.csv", "--events", events, *arguments)
    assert not (tmp_path / "p.csv").exists()


def refused(capsys, message, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["apply", *map(str, arguments)])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "Traceback" not in said
    assert re.search(message, said), said


def test_what_is_no_recording_or_no_run_is_one_message(tmp_path, simulated, capsys):
    path, events = new_file(tmp_path)
    out = ["--out", tmp_path / "p.csv"]
    refused(capsys, "no events of the classes left, right, and none at all", simulated.path, path, *out)
    (tmp_path / "broken.edf").write_bytes(b"0" * 300)
    refused(capsys, "not a readable EDF", simulated.path, tmp_path / "broken.edf", *out)
    refused(capsys, "does not exist; did you mean 'new_raw.fif'", simulated.path, tmp_path / "new_rw.fif", *out)
    refused(capsys, "not a run folder", tmp_path, path, *out)
    events.write_text("onset,label\n1.0,left\n900,left\n")
    refused(capsys, "events.csv:3 .*outside of the recording", simulated.path, path, *out, "--events", events)
    other = tmp_path / "other"
    shutil.copytree(simulated.path, other)
    text = (other / "manifest.json").read_text()
    (other / "manifest.json").write_text(text.replace('"finished"', '"running"'))
    refused(capsys, "has not finished", other, path, *out)
    (other / "manifest.json").write_text(text)
    (other / "recipe.yaml").write_text(
        "kind: decode\ndataset: {name: haxby2001}\ndecoding: {label: category, decoders: [{name: a}]}\n"
    )
    refused(capsys, "a decode run without pipelines", other, path, *out)


def test_channels_that_stand_elsewhere_are_another_montage():
    known = mne.create_info(["C3", "Cz", "C4", "Pz"], 100.0, "eeg")
    with known._unlock():
        known.set_montage("colin27_1005" if "colin27_1005" in mne.channels.get_builtin_montages() else "standard_1005")
    swapped = known.copy()
    for one, other in ((0, 2),):
        swapped["chs"][one]["loc"], swapped["chs"][other]["loc"] = known["chs"][other]["loc"], known["chs"][one]["loc"]
    check_positions(known, known, "a.edf")
    check_positions(mne.create_info(known["ch_names"], 100.0, "eeg"), known, "a.edf")  # unknown stays unknown
    with pytest.raises(UserError, match=r"a.edf: another montage: C[34] stands 1\d.\d cm"):
        check_positions(swapped, known, "a.edf")


def test_a_training_run_cannot_be_what_is_decoded(tmp_path, simulated, capsys):
    path = simulated.path.parent / "s1_0_raw.fif"
    refused(
        capsys, "r0 is the recording that is to be decoded", simulated.path, path, "--out", tmp_path / "p.csv",
        "--train-runs", "r0,r1",
    )  # fmt: skip
    done = apply_run(simulated.path, path, out=tmp_path / "p.csv")
    assert "11 trials of s1: r1" in said_of(done)


def test_a_copy_of_a_training_run_does_not_train(tmp_path, simulated):
    raw = mne.io.read_raw_fif(simulated.path.parent / "s1_0_raw.fif", preload=True, verbose="ERROR").crop(1.0)
    step = write_edf(tmp_path / "copy.edf", raw)  # another format, another start, whole seconds, rounded
    assert step > 1e-10
    known = pd.read_csv(simulated.path.parent / "events.csv").query("path == 's1_0_raw.fif'")
    known.assign(onset=known["onset"] - 1.0).drop(columns="path").to_csv(tmp_path / "events.csv", index=False)
    done = apply_run(simulated.path, tmp_path / "copy.edf", out=tmp_path / "p.csv", events=tmp_path / "events.csv")
    assert any("s1 r0 holds trials of this recording: its trials did not train" in line for line in done.lines)
    assert "33 trials" in said_of(done)


def test_transductive_alignment_says_so(tmp_path, simulated):
    path, events = new_file(tmp_path)
    done = apply_run(simulated.path, path, out=tmp_path / "p.csv", events=events, pipeline="moved")
    assert any("transductive" in line for line in done.lines)


def test_a_stream_with_delay_decides_as_the_whole_recording_does(tmp_path, simulated):
    path, events = new_file(tmp_path)
    whole = apply_run(simulated.path, path, out=tmp_path / "p.csv", events=events).table
    settings = StreamSettings(step=1.0, delay=1.0, buffer=5.01, evidence=0.8)
    done = stream_run(simulated.path, path, out=tmp_path / "s.csv", events=events, settings=settings)
    table = pd.read_csv(tmp_path / "s.csv")
    assert np.allclose(np.diff(table["time"]), 1.0)
    at_end = table[table["seconds"] == 3.0]  # tmax and the delay: the window is the trial
    assert len(at_end) >= 10
    expected = whole.set_index("trial").loc[at_end["trial"], "probability_left"]
    assert np.abs(at_end["probability_left"].to_numpy() - expected.to_numpy()).max() < 1e-6
    said = "\n".join(done.lines)
    assert "100 % of decisions" in said and "accuracy by seconds after the event" in said
    assert "evidence until 0.8: reached in" in said and {"evidence_left", "evidence_right"} <= set(table.columns)
    now = stream_run(simulated.path, path, out=tmp_path / "s.csv", events=events, settings=StreamSettings(step=1.0))
    assert "what causality costs" in "\n".join(now.lines)
    coarse = StreamSettings(step=5.0)
    bare = stream_run(simulated.path, path, out=tmp_path / "s.csv", settings=coarse)  # no events: no labels
    assert bare.lines[-1].startswith("labels are not known") and len(bare.table) > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step", "1"], "--step is for --stream"),
        (["--stream", "--step", "0"], "--step 0"),
        (["--stream", "--evidence", "1.5"], "--evidence 1.5: a probability between"),
        (["--stream", "--evidence", "0.9"], "no events after which evidence"),
        (["--stream", "--buffer", "1"], "a buffer of 1 s is too short"),
        (["--stream", "--buffer", "100"], "shorter than the buffer"),
        (["--stream", "--pipeline", "moved"], "moved is transductive"),
    ],
)
def test_what_cannot_be_streamed_is_one_message(tmp_path, simulated, capsys, arguments, message):
    path, _ = new_file(tmp_path)
    if arguments[0] == "--step":
        _, events = new_file(tmp_path)
        arguments = [*arguments, "--events", events]
    refused(capsys, message, simulated.path, path, "--out", tmp_path / "p.csv", *arguments)


@pytest.mark.parametrize(("pipeline", "limit_ms"), [("tangent_lr", 50), ("fbcsp", 50), ("eegnet", 150)])
def test_decisions_are_fast_enough(tmp_path, real_data, real_run, capsys, pipeline, limit_ms):
    recording = real_data / "MNE-eegbci-data/files/eegmmidb/1.0.0/S001/S001R12.edf"
    settings = StreamSettings(step=4.0)
    done = stream_run(real_run.path, recording, out=tmp_path / "s.csv", pipeline=pipeline, settings=settings)
    said = next(line for line in done.lines if line.startswith("latency"))
    # Processor time: what other programs of the machine take is not the decoder's.
    assert float(re.search(r"worked ([\d.]+) ms", said)[1]) < limit_ms
    assert (done.table["latency_ms"] > 0).all() and done.table["label"].isin(["", "left_fist", "right_fist"]).all()
    if pipeline == "eegnet":
        shorter = StreamSettings(window=1.0)
        with pytest.raises(UserError, match="eegnet is a network of 3 s"):
            stream_run(real_run.path, recording, out=tmp_path / "s.csv", pipeline=pipeline, settings=shorter)


def test_a_forecast_takes_bins_of_those_with_as_many_classes():
    def bins(subject, n_classes, n, n_right):
        edges = np.linspace(1 / n_classes, 1, 9).tolist()
        return {"subject": subject, "pipeline": "csp", "edges": edges, "count": [n] * 8, "right": [n_right] * 8}

    facts = {
        "findings": {"trials": {"calibration": [bins("s1", 2, 10, 9), bins("s2", 4, 10, 2)]}},
        "schemes": [{"main": True, "label": "k-fold"}],
    }
    fitted = SimpleNamespace(settings=SimpleNamespace(name="csp"))
    ready = SimpleNamespace(fitted=fitted, new=SimpleNamespace(subject="s2"), classes=["left", "right"])
    first = np.linspace(0.05, 0.95, 40)
    (said,) = forecast_lines(facts, ready, np.column_stack([first, 1 - first]))
    assert said.startswith("forecast: 0.90 [") and "among 80 held-out trials of s1 (k-fold)" in said
    ready.classes = ["down", "left", "right"]
    assert forecast_lines(facts, ready, np.full((4, 3), 1 / 3)) == [
        "no forecast: no participant of the run was decoded into 3 classes"
    ]
