"""The motor-imagery recipe on real recordings, with the pipelines that take seconds."""

import numpy as np
import pandas as pd
import pytest

import brainbench as bb

pytestmark = pytest.mark.long

CLASSICAL = (
    "pipelines=[{name: tangent_lr, decoder: tangent_lr}, {name: fbcsp_lda, decoder: fbcsp_lda}, "
    "{name: csp_lda, decoder: csp_lda}]"
)


def run(tmp_path, root, *overrides):
    return bb.run(
        "eeg-motor-imagery",
        overrides=[
            f"dataset.root={root / 'MNE-eegbci-data'}",
            CLASSICAL,
            "significance.n_permutations=200",
            "time_resolved=null",
            "bands=null",
            *overrides,
        ],
        out=tmp_path / "run",
        cache=tmp_path / "cache",
    )


def cell(scores: pd.DataFrame, **wanted) -> pd.Series:
    for name, value in {"fold": "all", **wanted}.items():
        scores = scores[scores[name] == value]
    assert len(scores) == 1
    return scores.iloc[0]


def test_imagined_fists(tmp_path, real_data, no_page):
    two = "pipelines=[{name: tangent_lr, decoder: tangent_lr}, {name: fbcsp_lda, decoder: fbcsp_lda}]"
    done = run(tmp_path, real_data, two, "significance.n_permutations=99")
    scores = done.scores
    assert {"accuracy", "balanced_accuracy", "kappa", "roc_auc"} <= set(scores["metric"])
    assert cell(scores, subject="S001", pipeline="tangent_lr", metric="roc_auc")["value"] > 0.80
    assert cell(scores, subject="S002", pipeline="tangent_lr", metric="roc_auc")["value"] > 0.85
    assert cell(scores, subject="S002", pipeline="tangent_lr", metric="accuracy")["value"] > 0.75
    weak = cell(scores, subject="S003", pipeline="tangent_lr", metric="accuracy")
    said = next(claim for claim in done.facts["claims"] if claim.startswith("S003"))
    assert weak["q"] >= 0.05 and "tangent_lr" in said.split("Not above chance:")[1]
    again = run(tmp_path, real_data, two, "significance.n_permutations=99")
    assert again.manifest["stages"] == done.manifest["stages"]  # a finished run is not run again


def test_fists_and_feet(tmp_path, real_data, no_page):
    one = ("pipelines=[{name: tangent_lr, decoder: tangent_lr}]", "significance.n_permutations=9")
    done = run(tmp_path, real_data, "dataset.subjects=[S001]", "dataset.paradigm=imagery_fists_feet", *one)
    assert cell(done.scores, subject="S001", pipeline="tangent_lr", metric="accuracy")["value"] > 0.80


def test_jobs_never_change_a_byte(tmp_path, real_data, no_page):
    few = ("dataset.subjects=[S002]", "significance.n_permutations=19")
    runs = [run(tmp_path / str(jobs), real_data, *few, f"execution.jobs={jobs}") for jobs in (1, 2)]
    assert runs[0].path.joinpath("scores.csv").read_bytes() == runs[1].path.joinpath("scores.csv").read_bytes()


def test_parts_of_a_trial_and_what_a_network_looks_at(tmp_path, real_data):
    done = run(
        tmp_path,
        real_data,
        "dataset.subjects=[S002]",
        "pipelines=[{name: csp_lda, decoder: csp_lda}, "
        "{name: attention, decoder: rbtransformer, band: [4.0, 60.0], max_epochs: 2, depth: 1, width: 16}]",
        "time_resolved={tmin: -2.5, tmax: 2.5, window: 1.5, step: 3.5}",
        "bands={ranges: {alpha: [8.0, 13.0], low_gamma: [30.0, 45.0]}}",
    )
    windows = done.scores[done.scores["scheme"] == "leave-one-run-out, by time"]
    assert list(dict.fromkeys(windows["roi"])) == ["-2.5 to -1 s", "1 to 2.5 s"]
    early = cell(windows, roi="-2.5 to -1 s", metric="accuracy")
    late = cell(windows, roi="1 to 2.5 s", metric="accuracy")
    assert early["q"] > 0.05 > late["q"] and late["n_rows"] == 45
    bands = done.scores[done.scores["scheme"] == "leave-one-run-out, by band"]
    assert cell(bands, roi="alpha 8-13 Hz", metric="accuracy")["value"] > 0.75
    assert cell(bands, roi="low_gamma 30-45 Hz", metric="accuracy")["q"] > 0.05
    assert 0 <= cell(done.scores, pipeline="csp_lda", metric="ece")["value"] <= 0.5
    said = " ".join(done.facts["claims"])
    assert "Above chance by band, csp_lda: S002 in alpha 8-13 Hz (highest" in said
    page = (done.path / "report.html").read_text()
    for heading in ("When in the trial", "Which frequencies", "What networks look at", "Attention between electrodes"):
        assert heading in page
    matrix = np.array(done.facts["findings"]["trials"]["attention"][0]["mean"])
    assert matrix.shape == (64, 64) and np.allclose(matrix.sum(axis=1), 1, atol=2e-3)
    assert np.shape(done.facts["findings"]["trials"]["relevance"][0]["values"]) == (2, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pipelines=[{name: x, decoder: tangent_rl}]", "did you mean 'tangent_lr'"),
        ("pipelines=[{name: x, decoder: csp_lda, n_filter: 3}]", "did you mean 'n_filters'"),
        ("dataset.subjects=[S004]", "S004"),
        ("dataset.band=[30.0, 8.0]", "rise"),
        ("evaluate=[{scheme: leave-one-run-outt}]", "did you mean 'leave-one-run-out'"),
        ("time_resolved={windw: 1.0}", "did you mean 'window'"),
        ("time_resolved={pipeline: tangent}", "did you mean 'tangent_lr'"),
        ("time_resolved={pipeline: fbcsp_lda}", "not a pipeline on covariances"),
        ("time_resolved={window: 9.0}", "does not fit"),
        ("bands={ranges: {high: [70.0, 90.0]}}", "needs more than 180 samples per second"),
        ("bands={ranges: {alpha: [13.0, 8.0]}}", "rising"),
    ],
)
def test_mistakes_are_one_message(tmp_path, real_data, change, message):
    with pytest.raises(bb.core.errors.UserError, match=message):
        run(tmp_path, real_data, change)
