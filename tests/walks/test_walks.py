"""Four walks of a new user, from an empty directory with spaces in its name, with commands that the docs print."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from brainbench.cli import main
from brainbench.commands.proposing.init import propose
from brainbench.recipes.template import templates
from tests.test_docs import PAGES, commands_of_shell
from tests.walks import made

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
WALKS = {
    "fmriprep": (made.fmriprep, "my study"),
    "recordings": (made.recordings, "my recordings"),
    "captions": (made.captions, "my study"),
    "rdms": (made.rdms, "my study"),
}


def lines_of(name):
    text = (HERE / f"{name}.sh").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def plain(words):
    """Return a command as the docs print it: /data/ before the folder, a dash where a walk has a space."""
    return [word.replace("/data/", "").replace("my study", "my-study").replace("my recordings", "my-recordings")
            for word in words]  # fmt: skip


def test_every_script_is_walked():
    assert {path.stem for path in HERE.glob("*.sh")} == set(WALKS)


@pytest.mark.parametrize("name", list(WALKS))
def test_a_walk_has_commands_that_docs_print_and_no_others(name):
    printed = [plain(shlex.split(line)) for page in PAGES for line in commands_of_shell(page)]
    for line in lines_of(name):
        assert plain(shlex.split(line)) in printed, line


@pytest.mark.parametrize("name", list(WALKS))
def test_a_walk_ends_with_report_comparison_and_export(name, tmp_path, monkeypatch, capsys):
    make, folder = WALKS[name]
    desk = tmp_path / "a desk of mine"
    desk.mkdir()
    make(desk / folder)
    before = {path: path.stat().st_mtime_ns for path in (desk / folder).rglob("*")}
    monkeypatch.chdir(desk)
    monkeypatch.setenv("BRAINBENCH_CACHE", str(tmp_path / "cache"))
    said = {}
    for line in lines_of(name):
        words = shlex.split(line)[1:]
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capsys.readouterr()
        assert ended.value.code in (0, None), f"{line}\n{out}{err}"
        said[" ".join(words[:2])] = out
    assert {path: path.stat().st_mtime_ns for path in (desk / folder).rglob("*")} == before, "the folder was written to"
    assert f"{folder}.yaml: no problems" in said["data init"] and "problem " not in said["data init"]
    run = desk / "runs" / folder
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<html" in page and re.search(r"What was found|Answer", page, re.IGNORECASE)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert recipe["kind"] == {"recordings": "decode", "rdms": "rsa"}.get(name, "encode")
    assert len(pd.read_csv(run / "scores.csv")) > 5
    if name == "recordings":
        told = pd.read_csv(run / "export" / "predictions.csv")
        accuracy = (told["predicted"] == told["label"]).groupby(told["subject"]).mean()
        rows = (
            pd.read_csv(run / "scores.csv")
            .query("metric == 'accuracy' and fold == 'all'")
            .set_index("subject")["value"]
        )
        assert 0.5 < accuracy.mean() < 1
        np.testing.assert_allclose(accuracy, rows[accuracy.index], atol=1e-4)
    elif name == "rdms":
        assert {path.name for path in (run / "export" / "measured").iterdir()} == {
            f"sub-{who}_roi-{roi}.npy" for who in ("p1", "p2") for roi in ("V1", "LO")
        }
    else:
        assert list((run / "export" / "predictions").glob("*_ypred.npy"))
    if name == "fmriprep":
        assert recipe["dataset"]["leave_out"] == ["sub-01_task-read_run-3"] and "sub-01_task-read_run-3" in page
        assert (recipe["dataset"]["space"], recipe["dataset"]["resolution"]) == ("MNI152NLin2009cAsym", None)
    assert len(said[f"compare runs/{folder}"].splitlines()) > 2


@pytest.mark.parametrize("space", ["native", "fsaverage5", "fsLR"])
def test_the_other_spaces_of_the_first_walk_are_read(space, tmp_path):
    from tests.data.test_bids import open_bids

    made.fmriprep(tmp_path / "my study")
    dataset = open_bids(tmp_path / "my study", modality="image", space=space, runs=[1])
    assert dataset.responses("sub-01").n_targets > 20 and set(templates())
    if space == "native":  # the folder above the pipeline leads to the same recipe
        above, inside = (propose(tmp_path / "my study" / "derivatives" / name) for name in ("", "fmriprep"))
        assert above.dataset == inside.dataset and above.took[1:] == inside.took
