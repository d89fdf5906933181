"""The tables of docs/data/tables.md are whole: written as they stand, they open, and say what the page says."""

import ast
import re
from pathlib import Path

import mne
import numpy as np
from PIL import Image

from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.recipes.datasets import DATASETS, dataset_settings

PAGE = Path(__file__).parents[2] / "docs" / "data" / "tables.md"
TABLES = dict(re.findall(r"^`([^`]+\.csv)` .*?^```text\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))


def opened(root, **settings):
    return DATASETS.builder(settings["name"]).open(dataset_settings(settings), root, Context())


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(TABLES[name])


def test_every_table_of_the_page_is_written():
    assert set(TABLES) == {"stimuli.csv", "sub-01/design.csv", "rois.csv", "recordings.csv", "events.csv"}


def test_stimuli_design_and_rois_are_a_folder(tmp_path):
    write(tmp_path, "stimuli.csv", "sub-01/design.csv", "rois.csv")
    (tmp_path / "images").mkdir()
    for index, line in enumerate(TABLES["stimuli.csv"].splitlines()[1:]):
        Image.fromarray(np.full((4, 4, 3), 40 * index, np.uint8)).save(tmp_path / line.split(",")[1])
    data = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    np.save(tmp_path / "sub-01" / "responses.npy", data)
    dataset = opened(tmp_path, name="folder", rois="rois.csv")
    assert check_dataset(dataset)
    responses, stimuli = dataset.responses("sub-01"), dataset.stimuli("sub-01")
    assert [stimuli.ids[i] for i in responses.stimulus[:3]] == ["face1", "house2", "house1"]
    assert list(stimuli.labels["category"]) == ["face", "face", "house", "house"]
    assert list(responses.labels["attention"][:3]) == ["high", "high", "low"]
    assert {name: np.flatnonzero(mask).tolist() for name, mask in responses.rois.items() if name != "all"} == {
        "FFA": [0, 1], "PPA": [2, 3], "scene areas": [3],
    }  # fmt: skip
    assert opened(tmp_path, name="folder", modality="text").stimuli("sub-01").load(1) == "a face in the dark"


def test_recordings_and_events_are_an_eeg_folder(tmp_path):
    write(tmp_path, "recordings.csv", "events.csv")
    info = mne.create_info(["C3", "Cz", "C4"], 100.0, "eeg")
    for run in (1, 2):
        noise = 1e-5 * np.random.default_rng(run).normal(size=(3, 2500))
        mne.io.RawArray(noise, info, verbose="ERROR").save(tmp_path / f"anna_{run}_raw.fif", verbose="ERROR")
    trials = opened(tmp_path, name="eeg-folder", tmin=0.0, tmax=3.0).epochs("anna").metadata
    assert trials["label"].tolist() == ["left", "right", "left", "right", "right", "left", "right", "left"]
    assert trials["run"].tolist() == ["1"] * 4 + ["2"] * 4 and set(trials["session"]) == {"first"}
    np.testing.assert_allclose(trials["onset"], [2.0, 7.0, 12.0, 17.0] * 2)


def reasons(tree):
    """Yield the words of every reason for which a module leaves something out, without names, numbers and settings."""
    for node in ast.walk(tree):
        values = []
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("LeftOut", "RunUse"):
            values = [one.value for one in node.keywords if one.arg == "why"]
            values += node.args[1:2] if node.func.id == "LeftOut" else node.args[5:6]
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").startswith("why"):
            values = [node.value]
        elif isinstance(node, ast.For) and isinstance(node.target, ast.Tuple) and isinstance(node.iter, ast.Tuple):
            at = [number for number, one in enumerate(node.target.elts) if getattr(one, "id", "") == "why"]
            values = [row.elts[number] for row in node.iter.elts for number in at]
        for value in values:
            said = [
                one.value for one in ast.walk(value) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            ]
            words = max((re.split(r" ?\(", one)[0].strip(" :;,`'") for one in said), key=len, default="")
            if " " in words:
                yield words


def sayings(tree):
    """Yield the words of every sentence on what was done to a recording or image, as `reasons` does."""
    for node in ast.walk(tree):
        values = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            values = node.args if getattr(node.func.value, "id", "") in ("said", "notes") else []
        elif isinstance(node, ast.Call):
            values = [one.value for one in node.keywords if one.arg == "said"]
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "said":
            values = [node.value]
        elif isinstance(node, ast.FunctionDef) and "projectors" in node.name:
            values = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value]
        for value in values:
            for one in value.elts if isinstance(value, ast.List) else [value]:
                if isinstance(one, ast.JoinedStr | ast.ListComp | ast.Constant):
                    parts = [part.value for part in ast.walk(one) if isinstance(part, ast.Constant)]
                    words = max(
                        (re.split(r" ?\(", str(part))[0].strip(" :;,`'") for part in parts), key=len, default=""
                    )
                    if " " in words:
                        yield words


def test_every_reason_for_which_something_is_left_out_stands_in_the_docs():
    root = PAGE.parents[2]
    pages = " ".join(" ".join(page.read_text().split()) for page in (root / "docs").rglob("*.md"))
    modules = [path for part in ("data", "recordings") for path in (root / "brainbench" / part).rglob("*.py")]
    found = {(words, path.name) for path in modules for words in reasons(ast.parse(path.read_text()))}
    said = [path for path in modules if {"recordings", "bids"} & {*path.parts} or path.name == "images.py"]
    done = {(words, path.name) for path in said for words in sayings(ast.parse(path.read_text()))}
    assert len(found) > 30 and len(done) > 8
    found |= done
    assert [one for one in sorted(found) if one[0] not in pages] == []
