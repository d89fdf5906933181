"""Cross-subject evaluations by MOABB's modes: what is known of the new person is used, counted and said."""

import numpy as np
import pandas as pd
import pytest

import brainbench as bb
from brainbench.core.errors import UserError
from tests.data.test_trials import write_folder
from tests.studies.recipes import write_recipe

pytest.importorskip("mne")

RECIPE = """\
kind: decode
dataset: {{name: eeg-folder, root: {root}, tmin: 0.0, tmax: 2.0, channels: [C3, C4]}}
pipelines:
  - {{name: csp, decoder: csp_lda}}
  - {{name: aligned, decoder: csp_lda, align: {align}}}
evaluate: [{evaluate}]
significance: {{n_permutations: 19}}
bootstrap: {{n_draws: 9}}
"""


def of_mode(mode):
    return f"{{scheme: leave-one-subject-out, mode: {mode}}}"


def test_every_mode_says_what_it_knew(tmp_path, monkeypatch):
    monkeypatch.setattr("brainbench.report.page.Page.save", lambda *_: None)  # figures take longer than all else
    modes = ["train", "train_trialwise", "train_and_target_unlabeled_full", "train_and_target_labeled_20p"]
    evaluate = ", ".join(map(of_mode, modes))
    recipe = RECIPE.format(root=write_folder(tmp_path, subjects=("s1", "s2")), evaluate=evaluate, align="euclidean")
    done = bb.run(write_recipe(tmp_path, recipe), out=tmp_path / "run", cache=tmp_path / "cache")
    scores = done.scores[(done.scores["fold"] == "all") & done.scores["metric"].eq("accuracy")]
    names = ["leave-one-subject-out", *(f"leave-one-subject-out, {mode}" for mode in modes[1:])]
    scores = scores[scores["subject"].eq("s1")]
    rows = {name: scores[scores["scheme"].eq(name)].set_index("pipeline") for name in names}
    # 2 runs of 11 trials: a fifth of 22 is 4
    assert [int(rows[name].loc["csp", "n_rows"]) for name in names] == [22, 22, 22, 18]
    # No decoder looks at its neighbours.
    assert rows[names[0]].loc["csp", "value"] == rows[names[1]].loc["csp", "value"]
    warned = [text for text in done.facts["warnings"] if "transductive" in text]
    assert len(warned) == 1 and warned[0].startswith(f"aligned is transductive under {names[2]}: ")
    page = (done.path / "report.html").read_text(encoding="utf-8")
    for said in ("every trial is decoded alone", "(transductive): aligned pipelines", "with their labels, and train"):
        assert said in page
    shares = next(one for one in done.facts["schemes"] if one["label"] == names[3])["certificate"]["findings"]
    assert "Subjects: subjects are shared by training and test in 2 of 2 folds." in shares


@pytest.mark.parametrize(
    ("align", "evaluate", "message"),
    [
        ("euclidean_transductive", of_mode("train_trialwise"), "'aligned' aligns by all test trials"),
        ("none", of_mode("train_and_target_unlabeled_20"), "did you mean 'train_and_target_unlabeled_20p'"),
        ("none", "{scheme: few-shot, mode: train_trialwise}", "`mode` is for `scheme: leave-one-subject-out`"),
        ("none", f"{of_mode('train')}, {of_mode('train')}", "leave-one-subject-out"),
    ],
)
def test_modes_that_do_not_fit_are_refused(tmp_path, align, evaluate, message):
    recipe = write_recipe(tmp_path, RECIPE.format(root=tmp_path, align=align, evaluate=evaluate))
    with pytest.raises(UserError, match=message):
        bb.run(recipe, out=tmp_path / "run")
    assert not np.any(list(tmp_path.glob("run/units/*")))


def test_a_session_that_training_never_saw_makes_an_alignment_transductive(tmp_path, monkeypatch):
    monkeypatch.setattr("brainbench.report.page.Page.save", lambda *_: None)
    root = write_folder(tmp_path, subjects=("s1",))
    table = pd.read_csv(root / "recordings.csv", dtype=str)
    table.assign(session=table["run"]).to_csv(root / "recordings.csv", index=False)
    evaluate = "{scheme: leave-one-session-out}, {scheme: leave-one-run-out}, {scheme: chronological}"
    recipe = RECIPE.format(root=root, evaluate=evaluate, align="euclidean_transductive")
    done = bb.run(write_recipe(tmp_path, recipe), out=tmp_path / "run", cache=tmp_path / "cache")
    warned = [text for text in done.facts["warnings"] if "transductive" in text]
    assert len(warned) == 1
    assert warned[0].startswith("aligned is transductive under leave-one-session-out and leave-one-run-out: ")
