"""`pereira2018` on copies of both families of its files."""

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from brainbench.core.errors import UserError
from brainbench.data.base import Context, Stimuli
from brainbench.data.check import check_dataset
from brainbench.recipes.datasets import DATASETS, dataset_settings
from tests.data.pereira_copy import write_pereira, write_pictures


def opened(root, **settings):
    return DATASETS.builder("pereira2018").open(
        dataset_settings({"name": "pereira2018", **settings}), root, Context()
    )  # fmt: skip


@pytest.mark.parametrize(("experiment", "n_passages"), [("384sentences", 96), ("243sentences", 72)])
def test_sentences_keep_the_contract_and_find_the_signal(experiment, n_passages, tmp_path):
    latents = write_pereira(tmp_path, experiment=experiment)
    dataset = opened(tmp_path, experiment=experiment)
    assert dataset.subjects == ["M02", "P01"] and dataset.simulated
    check_dataset(dataset)
    stimuli, responses = dataset.stimuli("P01"), dataset.responses("P01")
    assert stimuli.load(3) == "Sentence 3 is short." and len(set(stimuli.labels["passage"])) == n_passages
    topic = dict(zip(stimuli.labels["passage"], stimuli.labels["topic"], strict=True))
    assert [topic["passage001"], topic["passage026"]] == ["topic0", "topic1"]
    design = np.c_[latents, np.ones(len(latents))]
    for roi, explained in (("languageLH", True), ("DMN", False), ("visual_object", True)):
        y = responses.data[:, responses.rois[roi]]
        left = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        assert (1 - left.var() / y.var() > 0.4) == explained, roi


def test_the_other_family_of_files_has_other_atlases(tmp_path):
    write_pereira(tmp_path, ["P01"], family="examples")
    with pytest.raises(UserError, match=r"no atlas 'languageLH'"):
        opened(tmp_path).responses("P01")
    responses = opened(tmp_path, atlases=["gordon"]).responses("P01")
    assert responses.rois["gordon"].sum() == 4


def test_concepts_have_the_mean_of_their_pictures(tmp_path):
    latents = write_pereira(tmp_path, ["P01"], experiment="180concepts")
    write_pictures(tmp_path, [f"a thing {row}" for row in range(180)], latents, size=16)
    settings = {"experiment": "180concepts", "pictures": "pictures.csv"}
    stimuli = opened(tmp_path, **settings).stimuli("P01")
    assert stimuli.load(5) == "concept005" and stimuli.encoded.modality == "image" and len(stimuli.encoded) == 360
    np.testing.assert_allclose(stimuli.pieces.mean(np.arange(360.0)[:, None])[:, 0], np.arange(180) + 90)
    part = stimuli.take(np.array([7, 2]))
    assert part.encoded.ids == ["c007_0", "c007_1", "c002_0", "c002_1"] and list(part.pieces.of) == [0, 0, 1, 1]
    assert part.encoded.caption(2) == "a thing 2" and part.digest() != stimuli.take(np.array([2, 7])).digest()
    assert opened(tmp_path, experiment="180concepts").stimuli("P01").encoded.modality == "text"


def changed(path, **changes):
    values = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    savemat(path, {name: value for name, value in {**values, **changes}.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keySentences": np.array([["one"], ["two"]], dtype=object)}, "'keySentences' has 2 entries, 384 were"),
        ({"keySentences": None}, "no variable 'keySentences'"),
        ({"examples_passagesentences": np.zeros((10, 40))}, r"shape \(10, 40\), \(384, voxels\) was expected"),
        ({"examples_passagesentences": None}, "no variable examples or examples_passagesentences"),
        ({"examples_passagesentences": np.ones((384, 3))}, r"roiColumns of 'languageLH' hold 1 ... 4; 1 ... 3 were"),
        ({"labelsPassageForEachSentence": np.repeat(np.arange(96), 4)}, "sentences of passages 1 ... 96 were expected"),
        ({"labelsPassageCategory": np.full(96, 25)}, r"holds 25; 1 ... 24 were expected"),
        ({"labelsSentences": np.roll(np.arange(1, 385), 1)}, "images are in another order than 'keySentences'"),
    ],
)
def test_what_differs_is_refused(changes, message, tmp_path):
    write_pereira(tmp_path, ["P01"])
    changed(tmp_path / "P01" / "data_384sentences.mat", **changes)
    with pytest.raises(UserError, match=message):
        dataset = opened(tmp_path)
        assert isinstance(dataset.stimuli("P01"), Stimuli)
        dataset.responses("P01")


def test_voxels_without_numbers_are_counted(tmp_path):
    write_pereira(tmp_path, ["P01"])
    path = tmp_path / "P01" / "data_384sentences.mat"
    values = loadmat(path)["examples_passagesentences"]
    values[3, 0], values[:, 5] = np.nan, 2.0
    changed(path, examples_passagesentences=values)
    responses = opened(tmp_path).responses("P01")
    said = [(row.left_out, row.why) for row in responses.account if row.left_out]
    assert ("1 of 36 voxels", "not a number in some image") in said and ("1 of 36 voxels", "never change") in said
    assert responses.data.shape == (384, 34) and responses.rois["languageLH"].sum() == 3


def test_files_and_tables_that_are_not_there_are_named(tmp_path):
    write_pereira(tmp_path, ["P01"], experiment="180concepts")
    with pytest.raises(UserError, match=r"no participant's folder holds data_384sentences.mat"):
        opened(tmp_path)
    latents = np.random.default_rng(0).random((180, 8))
    write_pictures(tmp_path, ["x"] * 180, latents, n_each=1, size=8)
    table = tmp_path / "pictures.csv"
    lines = table.read_text().splitlines()
    for wrong, message in (
        (
            [*lines[:5], lines[5].replace("concept004", "concpt004"), *lines[6:]],
            r"'concpt004' is no concept.*concept004",
        ),
        (lines[:5], "176 of 180 concepts have no picture"),
    ):
        table.write_text("\n".join(wrong) + "\n")
        with pytest.raises(UserError, match=message):
            opened(tmp_path, experiment="180concepts", pictures="pictures.csv").stimuli("P01")
