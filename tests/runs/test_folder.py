"""The run folder: nothing of somebody else is removed, nothing of another unit is served, names stay names."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbench.commands.execute import _inputs
from brainbench.core.errors import UserError
from brainbench.core.tables import read_table
from brainbench.recordings.moabb import Moabb
from brainbench.runs.folder import TABLES, RunFolder, read_scores


def test_a_folder_with_stimuli_is_refused_and_kept(tmp_path):
    for name in ("images", "maps", "figures", "targets"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.png").write_text("a stimulus")
    with (
        pytest.raises(UserError, match=r"holds other files \(figures, images, maps, ...\)"),
        RunFolder(tmp_path).writing(),
    ):
        pytest.fail("it was opened")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["mine.png"] * 4


def test_a_run_is_known_by_its_manifest_or_its_events(tmp_path):
    with RunFolder(tmp_path / "run").writing():
        pass
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with RunFolder(tmp_path / "run").writing() as folder:  # no manifest yet: it was killed early
        folder.write_manifest({"brainbench": "0"})
    copied = shutil.copytree(tmp_path / "run", tmp_path / "copy", ignore=shutil.ignore_patterns(".lock"))
    with RunFolder(copied).writing():
        pass
    (copied / "manifest.json").write_text("{}")
    (copied / ".lock").unlink()
    with pytest.raises(UserError, match="needs a folder of its own"), RunFolder(copied).writing():
        pytest.fail("it was opened")


def test_files_that_somebody_put_into_a_run_folder_stay(tmp_path):
    folder = RunFolder(tmp_path)
    with folder.writing():
        made = [folder.made.claim(name, "a", ".npy") for name in ("targets", "maps", "images", "figures")]
        for file in [*made, "scores.csv", "figures/mine.png", "units/mine.npz"]:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text("x")
        folder.clear_derived()
        folder.remove_damaged()
    kept = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert kept == [".lock", "events.jsonl", "figures/mine.png", "units/mine.npz"]


def test_a_unit_is_served_under_its_own_digest_only(tmp_path):
    folder = RunFolder(tmp_path)
    first, second = "a" * 32, "b" * 32
    with folder.writing():
        folder.write_unit(first, {"x": np.arange(3)})
        folder.write_unit(second, {"x": np.arange(4)})
        np.testing.assert_array_equal(folder.read_unit(first)["x"], np.arange(3))
        shutil.copy(folder.unit_path(first), folder.unit_path(second))
    assert RunFolder(tmp_path).read_unit(second) is None
    assert folder.unit_path(second).exists()  # whoever only reads removes nothing
    with folder.writing():
        assert folder.read_unit(second) is None and not folder.unit_path(second).exists()
        np.savez(folder.unit_path(second), x=np.arange(4))  # a file without a key
        assert folder.read_unit(second) is None
    assert [event["unit"] for event in folder.events() if event["event"] == "unit_damaged"] == [second] * 2


def test_a_damaged_log_stops_no_run(tmp_path):
    folder = RunFolder(tmp_path)
    with folder.writing():
        folder.record_done("a" * 32, kind="fit", label="x", seconds=1.5)
    whole = (tmp_path / "events.jsonl").read_bytes()
    assert len(folder.events()) == 1
    for at in range(len(whole)):
        for flipped in (whole[at] ^ 1, whole[at] ^ 128):
            (tmp_path / "events.jsonl").write_bytes(whole[:at] + bytes([flipped]) + whole[at + 1 :])
            again = RunFolder(tmp_path)
            with again.writing():
                again.record_done("b" * 32)
            assert again.events()[-1]["unit"] == "b" * 32


NAMES = st.one_of(
    st.sampled_from(["NA", "N/A", "null", "None", "nan", "", "007", "1e5", "True", "-inf", "#N/A", "<NA>"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=8),
)


@given(st.lists(st.tuples(NAMES, st.floats(allow_nan=False, width=32) | st.none()), max_size=6))
def test_names_stay_names_and_numbers_numbers(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "scores.csv"
    frame = pd.DataFrame(rows, columns=["roi", "value"]).astype({"value": float})
    path.write_text(frame.to_csv(index=False, lineterminator="\n"), encoding="utf-8", newline="")
    read = read_table(path, ["roi"])
    assert read["roi"].tolist() == [name for name, _ in rows]
    np.testing.assert_array_equal(read["value"].to_numpy(float), frame["value"].to_numpy())


def test_a_region_may_be_called_na(tmp_path):
    (tmp_path / "scores.csv").write_text("subject,roi,value\nNA,null,0.5\nNone,nan,\n")
    scores = read_scores(tmp_path / "scores.csv")
    assert scores["subject"].tolist() == ["NA", "None"] and scores["roi"].tolist() == ["null", "nan"]
    assert scores["value"].isna().tolist() == [False, True] and set(scores["encoder"]) == {""}
    assert json.loads(scores["value"].to_json()) == {"0": 0.5, "1": None}


def test_a_run_on_files_that_nobody_names_is_looked_at_again(tmp_path):
    """MOABB does not say which files it reads: whether they changed is known when their trials are read again."""
    dataset = SimpleNamespace(name="moabb", says_files=Moabb.says_files, files=list)
    inputs = _inputs(SimpleNamespace(dataset=dataset, input_files=[]), tmp_path)
    for name in TABLES:
        (tmp_path / name).touch()
    for known, finished in (([], True), (inputs, False)):
        (tmp_path / "manifest.json").write_text(json.dumps({"status": "finished", "digest": "x", "inputs": known}))
        assert RunFolder(tmp_path).finished("x") is finished
