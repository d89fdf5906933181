"""The motor-imagery recipe on real recordings, with the pipelines that take seconds."""

import pandas as pd
import pytest

import brainbench as bb

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


def test_imagined_fists(tmp_path, real_data):
    done = run(tmp_path, real_data)
    scores = done.scores
    assert {"accuracy", "balanced_accuracy", "kappa", "roc_auc"} <= set(scores["metric"])
    assert cell(scores, subject="S001", pipeline="tangent_lr", metric="roc_auc")["value"] > 0.80
    assert cell(scores, subject="S002", pipeline="tangent_lr", metric="roc_auc")["value"] > 0.85
    assert cell(scores, subject="S002", pipeline="tangent_lr", metric="accuracy")["value"] > 0.75
    weak = cell(scores, subject="S003", pipeline="tangent_lr", metric="accuracy")
    said = next(claim for claim in done.facts["claims"] if claim.startswith("S003"))
    assert weak["q"] >= 0.05 and "tangent_lr" in said.split("Not above chance:")[1]
    again = run(tmp_path, real_data)
    assert again.manifest["stages"] == done.manifest["stages"]  # a finished run is not run again


def test_fists_and_feet(tmp_path, real_data):
    done = run(tmp_path, real_data, "dataset.subjects=[S001]", "dataset.paradigm=imagery_fists_feet")
    assert cell(done.scores, subject="S001", pipeline="tangent_lr", metric="accuracy")["value"] > 0.80


def test_jobs_never_change_a_byte(tmp_path, real_data):
    runs = [
        run(tmp_path / str(jobs), real_data, "dataset.subjects=[S002]", f"execution.jobs={jobs}") for jobs in (1, 2)
    ]
    assert runs[0].path.joinpath("scores.csv").read_bytes() == runs[1].path.joinpath("scores.csv").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pipelines=[{name: x, decoder: tangent_rl}]", "did you mean 'tangent_lr'"),
        ("pipelines=[{name: x, decoder: csp_lda, n_filter: 3}]", "did you mean 'n_filters'"),
        ("dataset.subjects=[S004]", "S004"),
        ("dataset.band=[30.0, 8.0]", "rise"),
        ("evaluate=[{scheme: leave-one-run-outt}]", "did you mean 'leave-one-run-out'"),
    ],
)
def test_mistakes_are_one_message(tmp_path, real_data, change, message):
    with pytest.raises(bb.core.errors.UserError, match=message):
        run(tmp_path, real_data, change)
