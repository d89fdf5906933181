"""Unfit recordings and mistaken recipes: one message that names what is wrong, exit code 2, and nothing computed."""

import pandas as pd
import pytest

from brainbench.cli import main
from tests.data.test_trials import clip, flat, make_raw, nan, write_folder

pytest.importorskip("mne")

RECIPE = """
kind: decode
dataset: {{name: eeg-folder, root: {root}, tmin: 0.0{dataset}}}
pipelines: [{{name: first, decoder: csp_lda}}{pipelines}]
evaluate: [{{scheme: {scheme}}}]
{more}
"""


def refused(folder, capsys, *, dataset="", pipelines="", scheme="leave-one-run-out", more=""):
    """Run a recipe on a folder, and return what was said; nothing may have been computed."""
    recipe = folder / "x.yaml"
    dataset = dataset if "tmax" in dataset else f"{dataset}, tmax: 2.0"
    recipe.write_text(RECIPE.format(root=folder, dataset=dataset, pipelines=pipelines, scheme=scheme, more=more))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(recipe), "--out", str(folder / "run"), "--cache", str(folder / "cache")])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in said
    assert not list((folder / "run").glob("units/*"))
    return " ".join(said.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"change": flat}, "s1_0_raw.fif: channel Cz is flat"),
        ({"change": clip}, "channel C3 is clipped"),
        ({"change": nan}, "NaN or infinite samples in channel C4"),
        ({"scale": 10.0}, "microvolts were taken for volts"),
        ({"scale": 1e-11}, "less than any amplifier resolves"),
    ],
    ids=["flat", "clipped", "nan", "microvolts as volts", "volts as microvolts"],
)
def test_unfit_signals(tmp_path, capsys, options, message):
    write_folder(tmp_path, **options)
    assert message in refused(tmp_path, capsys)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"dataset": ", channels: [C3, C44]"}, "names channel C44, which the recording does not have; did you mean"),
        ({"dataset": ", labels: {left: left}"}, "every event is 'left': one class"),
        ({"scheme": "k-fold, n_splits: 40"}, "40 folds are too many"),
        ({"scheme": "leave-one-session-out"}, "s1 has only one"),
        ({"pipelines": ", {name: second, decoder: csp_ldaa}"}, "did you mean 'csp_lda'"),
        ({"pipelines": ", {name: second, decoder: tangent_lr, c: 2}"}, "unknown key"),
        ({"pipelines": ", {name: n, decoder: braindecode, model: EEGNett}"}, "did you mean 'EEGNet'"),
        (
            {"pipelines": ", {name: n, decoder: braindecode, model: EEGNet, parameters: {drop_prb: 0.1}}"},
            "did you mean 'drop_prob'",
        ),
        ({"more": "bands: {ranges: {high: [45.0, 60.0]}}"}, "needs more than 120 samples per second; s1 has 100"),
        ({"more": "time_resolved: {tmin: -90.0}"}, "no event leaves room for a whole trial"),
        ({"more": "time_resolved: {tmin: -48.0, step: 10.0}"}, "no trials of every class that cover all windows"),
        ({"dataset": ", band_power: {bands: {alpha: [8.0, 13.0]}}"}, "decoding has no use for it"),
    ],
)
def test_mistaken_recipes(tmp_path, capsys, recipe, message):
    write_folder(tmp_path)
    assert message in refused(tmp_path, capsys, **recipe)


def relabel(root, of_run):
    events = pd.read_csv(root / "events.csv")
    runs = events["path"].str.extract(r"_(\d)_raw")[0].astype(int)
    events.assign(label=[of_run[run] for run in runs]).to_csv(root / "events.csv", index=False)


def test_a_label_that_is_the_run_is_refused_or_named(tmp_path, capsys):
    """Two runs, a label each: held out, a run leaves none of its label; shared, whatever a run has is decoded."""
    write_folder(tmp_path)
    relabel(tmp_path, ["left", "right"])
    said = refused(tmp_path, capsys)
    assert "s1, leave-one-run-out: training of fold 1 has no trial of 'left'" in said
    recipe = tmp_path / "x.yaml"
    recipe.write_text(recipe.read_text().replace("leave-one-run-out", "k-fold, n_splits: 2"))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(recipe), "--out", str(tmp_path / "run"), "--set", "significance.n_permutations=19"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "LEAK: the label is constant within every run and runs are shared" in said


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("braindecode, model: EEGNet", "reads 27 samples (0.27 s at 100 Hz) and more"),
        ("braindecode, model: ShallowFBCSPNet", "reads 99 samples (0.99 s at 100 Hz) and more"),
        ("mvcnet", "trials of 21 samples are shorter than one pooling window of 50"),
    ],
)
def test_networks_on_windows_that_are_too_short(tmp_path, capsys, pipeline, message):
    write_folder(tmp_path)
    said = refused(tmp_path, capsys, dataset=", tmax: 0.2", pipelines=f", {{name: n, decoder: {pipeline}}}")
    assert "pipeline 'n', s1: trials of 21 samples" in said and message in said


def test_no_events(tmp_path, capsys):
    write_folder(tmp_path, subjects=("s1", "s2"))
    events = pd.read_csv(tmp_path / "events.csv")
    events[events["path"].str.startswith("s1")].to_csv(tmp_path / "events.csv", index=False)
    assert "s2: no events" in refused(tmp_path, capsys)


def test_subjects_with_other_montages_are_not_pooled(tmp_path, capsys):
    write_folder(tmp_path, subjects=("s1", "s2"))
    for run in range(2):
        raw, *_ = make_raw(seed=run, names=["C3", "Cz", "C4", "Oz"])
        raw.save(tmp_path / f"s2_{run}_raw.fif", overwrite=True, verbose="ERROR")
    said = refused(tmp_path, capsys, scheme="leave-one-subject-out")
    assert "s1 and s2 differ in their montage" in said and "only s1 has Pz" in said and "only s2 has Oz" in said


def test_a_corrupt_edf(tmp_path, capsys, real_data):
    source = real_data / "MNE-eegbci-data/files/eegmmidb/1.0.0/S001/S001R04.edf"
    for name, size in (("a", 500_000), ("b", 90)):
        (tmp_path / f"{name}.edf").write_bytes(source.read_bytes()[:size])
        pd.DataFrame({"path": [f"{name}.edf"], "subject": ["s1"]}).to_csv(tmp_path / "recordings.csv", index=False)
        said = refused(tmp_path, capsys, dataset=", events: annotations")
        assert f"{name}.edf: " in said and ("cut short" in said or "not a readable EDF" in said)
