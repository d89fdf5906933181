"""What `check` says of stimuli before anything runs."""

import pandas as pd
import pytest
import yaml

from brainbench.cli import main
from brainbench.data.base import Stimuli
from brainbench.data.check import repeated_content
from tests.data.folders import write_trials
from tests.data.test_trials import write_folder

RECIPE = {
    "kind": "encode",
    "dataset": {"name": "folder", "modality": "text"},
    "encoders": [{"name": "random", "family": "random", "role": "model"}],
}


def check(tmp_path, captions, *options, **changes):
    root = tmp_path / "data"
    write_trials(root)
    pd.DataFrame({"id": [f"image{i}" for i in range(6)], "text": captions}).to_csv(root / "stimuli.csv", index=False)
    recipe = {**RECIPE, **changes, "dataset": {**RECIPE["dataset"], "root": str(root)}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    main_without_exit(["check", str(tmp_path / "mine.yaml"), *options])


def main_without_exit(arguments):
    try:
        main(arguments)
    except SystemExit as error:
        assert not error.code


def test_captions_repeated_under_other_ids_are_said(tmp_path, capsys):
    check(tmp_path, ["a dog", "a cat", "a dog", "a car", "a cat", "a dog"])
    out, err = capsys.readouterr()
    assert out.endswith("mine.yaml: no problems\n")
    assert err == (
        "warning: sub-01, sub-02: 3 of 6 stimuli have the content of another one under another id ('image2' that of "
        "'image0'); with `hold_out: [stimulus]` training knows what the test asks for\n"
    )


def test_fast_leaves_data_alone(tmp_path, capsys):
    check(tmp_path, ["a dog"] * 6, "--fast")
    out, err = capsys.readouterr()
    assert out.endswith("no problems\n") and err == ""


def test_where_runs_are_held_out_or_nothing_repeats_nothing_is_said(tmp_path, capsys):
    check(tmp_path, ["a dog"] * 6, hold_out=["run"])
    assert capsys.readouterr().err == ""
    (tmp_path / "b").mkdir()
    check(tmp_path / "b", list("abcdef"))
    assert capsys.readouterr().err == ""


def refused(path):
    """Return what `check` says of a recipe that it refuses."""
    with pytest.raises(SystemExit) as ended:
        main(["check", str(path)])
    assert ended.value.code == 2


def test_what_a_run_would_refuse_in_its_first_minute_is_found(tmp_path, capsys):
    """Every refusal is that of the run: `run` says the same words."""
    root = tmp_path / "data"
    write_trials(root)
    file = tmp_path / "mine.yaml"
    here = {"name": "folder", "root": str(root)}
    pixels = [{"name": "pixels", "family": "pixels", "role": "model"}]
    image = {"name": "net", "family": "image", "model": "resnet18"}
    recipes = {
        "/nowhere is not a folder": {"dataset": {**here, "root": "/nowhere"}},
        "'sub-7' is not a subject": {"dataset": {**here, "subjects": ["sub-7"]}},
        "no file matches dataset.responses": {"dataset": {**here, "responses": "{subject}/nope.npy"}},
        "nope.pt": {"encoders": [{**image, "weights": str(tmp_path / "nope.pt")}]},
        "matches none of its": {"encoders": [{**pixels[0], "layers": ["nope"]}]},
        "label": {"decoding": {"label": "nope", "decoders": [{"name": "lda"}]}},
        "n_splits": {"folds": {"scheme": "k-fold", "n_splits": 500}},
    }
    for message, change in recipes.items():
        file.write_text(yaml.safe_dump({"kind": "encode", "dataset": here, "encoders": pixels, **change}))
        refused(file)
        said = capsys.readouterr().err
        assert message in said and "Traceback" not in said, said
        with pytest.raises(SystemExit) as ended:
            main(["run", str(file), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache"), "--quiet"])
        assert ended.value.code == 2 and capsys.readouterr().err.splitlines()[0] in said
        main_without_exit(["check", "--fast", str(file)])
        assert capsys.readouterr().out.endswith("no problems\n")


def test_words_of_a_story_may_repeat():
    texts = Stimuli.of(["the", "dog", "the"])
    assert repeated_content(texts) is not None
    assert repeated_content(Stimuli(texts.ids, "word", texts.load, texts.content_digests)) is None


def test_networks_that_cannot_read_the_trials_are_found(tmp_path, capsys):
    write_folder(tmp_path, runs=1, seconds=40)
    dataset = {"name": "eeg-folder", "root": str(tmp_path), "tmin": 0.0, "tmax": 0.2}
    network = {"name": "net", "decoder": "mvcnet"}
    scheme = {"scheme": "k-fold", "n_splits": 2}
    recipe = {"kind": "decode", "dataset": dataset, "pipelines": [network], "evaluate": [scheme]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path / "mine.yaml")])
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and "no problems" not in out and "Traceback" not in err
    assert "pipeline 'net', s1: trials of 21 samples are shorter than one pooling window of 50" in err
    recipe["dataset"]["tmax"] = 2.0
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    main_without_exit(["check", str(tmp_path / "mine.yaml")])
    assert capsys.readouterr().out.endswith("no problems\n")
