"""The lens without a recipe: the same numbers from an encoder, from torch alone, and from the command line."""

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
import yaml
from PIL import Image

import brainbench as bb
from brainbench.cli import main
from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.lens.diagnostics.content import depth90
from brainbench.lens.table import over_stimuli
from brainbench.networks.zoo.brainomni import BrainOmni, OmniShape
from brainbench.networks.zoo.duin import DuInCodec, DuInMasked, DuInShape
from brainbench.networks.zoo.mvcnet import MVCNet
from brainbench.recipes.datasets import DATASETS, dataset_settings
from brainbench.recipes.reader import RecipeError, parse_recipe
from tests.encoders.tiny import SENTENCES, images, make, photographs, write_gpt2
from tests.networks.zoo.test_tokenizer import SMALL as TOKENIZER


def test_a_network_of_torch_gives_what_its_encoder_gives():
    encoder, pictures = make("image", model="test_vit", weights="random", image_size=64), images(4)
    ours = bb.lens(encoder, pictures)
    pixels = encoder.inputs(pictures, range(4)).args[0]
    bare = bb.lens(encoder.network, pixels)
    same = [column for column in bare if not column.startswith("distance")]  # torch alone says nothing of patches
    pd.testing.assert_frame_equal(ours[same], bare[same], rtol=1e-4)
    assert ours.attrs["values"]["nmi"].shape == (6, 4) and "no patches" not in ours.attrs["reasons"].get("distance", "")
    assert "is not known" in bare.attrs["reasons"]["distance"]
    labelled = bb.lens(encoder, images(12), diagnostics=["content"], labels=["a", "b"] * 6)
    assert labelled["concept"].between(0, 1).all() and list(labelled)[:3] == ["block", "layer", "depth"]


def test_a_network_that_writes_into_its_values_is_read_as_it_computed_them():
    """Values are looked at when the block is done; where one was changed in place by then, all of them are copied."""
    encoder, pictures, held = make("image", model="test_vit", weights="random", image_size=64), images(4), []
    ours = bb.lens(encoder, pictures, diagnostics=["stream"])
    block = encoder.network.blocks[1]
    block.attn.proj.register_forward_hook(lambda _module, _args, out: held.append(out))
    written = block.mlp.fc1.register_forward_pre_hook(lambda _module, _args: held.pop().mul_(3.0).size() and None)
    pd.testing.assert_frame_equal(bb.lens(encoder, pictures, diagnostics=["stream"]), ours)
    written.remove()
    assert len(bb.lens(encoder, pictures, diagnostics=["stream"])) == 6 and held


def test_a_language_network_of_torch_is_read_by_its_mask(tmp_path):
    encoder = make("text", model=str(write_gpt2(tmp_path)))
    tokens = encoder.tokenizer(SENTENCES, return_tensors="pt", padding=True)
    network = transformers.GPT2Model.from_pretrained(tmp_path)
    bare, ours = bb.lens(network, dict(tokens)), bb.lens(encoder, SENTENCES)
    for column in ("r_attn", "cos_mlp", "n95", "sink_mass", "lens_kl"):
        np.testing.assert_allclose(bare[column], ours[column], rtol=1e-3, atol=1e-6, err_msg=column)


def test_what_is_no_network_is_refused():
    with pytest.raises(UserError, match="str is no network"):
        bb.lens("vit", [])
    with pytest.raises(UserError, match="the same rows everywhere, and two or more"):
        bb.lens(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.raises(UserError, match="has no blocks"):
        bb.lens(torch.nn.Linear(2, 2), torch.zeros(3, 2))
    with pytest.raises(UserError, match="labels: 1 for 2 stimuli"):
        bb.lens(make("image", model="test_vit", weights="random", image_size=64), images(2), labels=["a"])


@pytest.mark.parametrize(
    ("deploy", "why"),
    [("cnn", "transformer.project.0 does not run"), ("fused", r"block 0 gives \(2, 64\) for two stimuli")],
)
def test_a_network_whose_transformer_is_no_row_of_equal_blocks_is_refused(deploy, why):
    """MVCNet decides by its convolutions, and its transformer is one layer: no numbers of blocks can be right."""
    net = MVCNet(3, 2, 101, 100.0, n_filters=4, pool_times=25, kernel_times=9, deploy=deploy)
    with pytest.raises(UserError, match=f"the layers of MVCNet cannot be read rightly.*{why}"):
        bb.lens(net, torch.zeros(4, 3, 101))


def test_the_command_prints_and_writes_the_table(tmp_path, capsys):
    for index, picture in enumerate(photographs(10)):
        folder = tmp_path / "photos" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{index}.png")
    with pytest.raises(SystemExit) as ended:
        main(["lens", "test_vit", "--stimuli", str(tmp_path / "photos"), "--diagnostics", "stream,content",
              "--out", str(tmp_path / "run")])  # fmt: skip
    said = capsys.readouterr().out
    assert ended.value.code in (0, None) and "untrained" in said and "r_layer" in said and "concept" in said
    # It is the recipe of `kind: lens`: its run folder has all numbers, and a page.
    done = bb.open_run(tmp_path / "run")
    recipe = yaml.safe_load((done.path / "recipe.yaml").read_text())
    assert (recipe["kind"], recipe["dataset"]["name"], recipe["lens"]["labels"]) == ("lens", "stimuli", "category")
    table = done.scores.pivot(index="layer", columns="metric", values="value")
    assert len(table) == 6 and table["r_layer"].gt(0).all() and "nmi" not in table
    encoder = make("image", model="test_vit", weights="random")
    values = [np.asarray(Image.open(one)) for one in sorted((tmp_path / "photos").rglob("*.png"))]
    ours = bb.lens(encoder, values, diagnostics=["stream", "content"], labels=["a"] * 5 + ["b"] * 5)
    for column in ("r_layer", "cos_mlp", "lens_kl", "concept"):
        np.testing.assert_allclose(table[column], ours[column], rtol=1e-4, err_msg=column)
    label = done.facts["findings"]["lens"]["encoders"][0]["label"]
    curve = table["concept"].to_numpy()
    assert (label["name"], label["chance"], label["best"]) == ("category", 0.5, curve.argmax())
    assert label["peak"] == curve.max() and label["exchanged"] == table["concept_control"].iloc[curve.argmax()]
    assert label["depth90"] == depth90(curve, 0.5) and (label["jump"] is None or curve[label["jump"]] > curve[0])
    page = done.report.read_text()
    assert f"category: read off best at block {label['best']}, balanced accuracy" in page
    assert "What do the blocks of test_vit do with 10 stimuli?" in page and "over 10 stimuli; bands" in page
    assert "participant" not in page[page.index('id="inside-the-networks"') :][:3000] and "leading score" not in page


def test_nobody_was_shown_stimuli_and_edits_need_a_brain(tmp_path):
    (tmp_path / "texts.txt").write_text("a cat sat\n\nthe dog ran\n")
    dataset = DATASETS.builder("stimuli").open(
        dataset_settings({"name": "stimuli", "texts": "texts.txt"}), tmp_path, Context()
    )
    assert check_dataset(dataset) == ["nobody: 2 text stimuli, shown to nobody"]
    assert [dataset.stimuli("nobody").load(row) for row in range(2)] == ["a cat sat", "the dog ran"]
    with pytest.raises(UserError, match="nobody was measured"):
        dataset.responses("nobody")
    recipe = "kind: {kind}\ndataset: {{name: stimuli, root: x}}\nencoders: [{{name: a, family: {family}}}]\n"
    with pytest.raises(RecipeError, match="holds stimuli that nobody was shown, and no responses: `kind: lens`"):
        parse_recipe(recipe.format(kind="encode", family="image"), "recipe.yaml")
    with pytest.raises(RecipeError, match="'a': none of them is a network"):
        parse_recipe(recipe.format(kind="lens", family="pixels"), "recipe.yaml")
    with pytest.raises(RecipeError, match="edits"):
        parse_recipe(recipe.format(kind="lens", family="image") + "lens: {edits: [skip]}\n", "recipe.yaml")
    for place, message in (("none", "is no file"), ("empty.txt", "holds no text")):
        (tmp_path / "empty.txt").write_text("\n")
        with pytest.raises(UserError, match=message):
            DATASETS.builder("stimuli").open(dataset_settings({"name": "stimuli", "texts": place}), tmp_path, Context())


def test_a_wrong_name_or_place_is_refused_before_any_work(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for wrong, message in (("strem", "did you mean 'stream'"),):
        with pytest.raises(SystemExit) as ended:
            main(["lens", "test_vit", "--stimuli", str(tmp_path / "photos"), "--diagnostics", wrong])
        assert ended.value.code == 2 and message in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["lens", "test_vit", "--stimuli", str(tmp_path / "none.txt")])
    assert ended.value.code == 2 and "neither a folder of images nor a file" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [DuInCodec, DuInMasked, BrainOmni])
def test_networks_of_sensors_are_read_as_they_are(kind):
    """Blocks of sEEG patches that norm after they add, and sources over time: tokens, and numbers of each."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind is BrainOmni:
            network = kind(OmniShape(width=24, n_heads=4, depth=3), TOKENIZER)
            given = {"tokens": torch.randn(4, 3, 24, 16)}  # as many times as features: the axes are not mixed up
        else:
            shape = DuInShape(
                n_channels=3, n_neural=4, n_filters=4, patch=20, depth=3, n_heads=2, head_width=8, n_codes=4
            )
            network = kind(shape)
            given = {"x": torch.randn(4, 3, 400), "subject": torch.zeros(4, dtype=torch.long)}
    table = bb.lens(network, given, diagnostics=["attention", "stream", "units"])
    assert len(table) == 3 and table["layer"].str.match(r"(encoder\.1\.xfmr_)?blocks\.\d").all()
    assert np.isfinite(table[["nmi", "attn_entropy", "r_attn", "r_mlp", "n95", "eff_rank"]]).all(axis=None)
    assert np.isfinite(table["active_exact"]).all() == (kind is not BrainOmni)  # ReLU, and SELU
    assert np.isfinite(table["r_layer"]).all() == (kind is BrainOmni)  # before, and after
    assert table["lag_ms"].isna().all() and (table["depth"] == (np.arange(3) + 0.5) / 3).all()
    if kind is DuInMasked:
        with pytest.raises(UserError, match="runs 6 times"):
            bb.lens(network, given | {"mask": torch.ones(4, 20, dtype=torch.bool)})


def test_a_folder_of_recordings_leads_to_a_recipe(tmp_path, capsys):
    (tmp_path / "S001R01.edf").touch()
    with pytest.raises(SystemExit) as ended:
        main(["lens", "0123456789abcdef01234567", "--stimuli", str(tmp_path)])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "holds recordings (S001R01.edf)" in said and "`kind: lens`" in said


def test_names_have_a_most_frequent_one():
    assert over_stimuli(np.array([3.0, 7, 7, np.nan]), "mode") == 7 and np.isnan(
        over_stimuli(np.array([np.nan]), "mean")
    )
