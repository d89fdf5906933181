"""`recipes/nsd-brain-diffuser.yaml` end to end on a synthetic copy of NSD, with tiny random models on disk."""

import numpy as np
import pytest

import brainbench as bb
from brainbench.core.errors import RecipeError, UserError
from brainbench.recipes.presets import PRESETS
from brainbench.recipes.reader import parse_recipe, read_recipe
from tests.data.nsd_copy import write_nsd
from tests.reconstruction import pretrained_models as models

TINY = [
    "low_level.weights=random", "low_level.encoder_blocks=16x1,16d2,8x1,8d4,2d2,1x1",
    "low_level.decoder_blocks=1x1,2m1,8m2,8x1,16m8,16x1", "low_level.width=16", "low_level.z_channels=3",
    "low_level.n_layers=4", "low_level.n_mixtures=2", "generator.image_size=16", "generator.steps=4",
    "metrics=[pixcorr, ssim_columns, two_way_pixels]", "bootstrap.n_draws=50", "significance.n_permutations=20",
    "n_gallery=1",
]  # fmt: skip
RECIPE = "kind: reconstruct\npreset: brain-diffuser\ndataset: {name: nsd}\nlow_level: {weights: a.th}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A synthetic NSD and every generator's models."""
    import torch

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("nsd")
    write_nsd(root / "nsd", ["subj01"])
    models.write_versatile_diffusion(root / "vd")
    models.write_adapter(root / "adapter", models.write_stable_diffusion(root / "sd"))
    models.write_kandinsky(root / "k22")
    models.write_cascade(root / "cascade")
    return root


def settings(folder, name):
    own = {
        "versatile-diffusion": {"model": folder / "vd"},
        "ip-adapter": {
            "model": folder / "sd", "adapter": folder / "adapter", "adapter_weights": "models/ip.safetensors",
        },
        "kandinsky22": {"model": folder / "k22" / "decoder", "prior": folder / "k22" / "prior"},
        "stable-cascade": {
            "model": folder / "cascade" / "decoder", "prior": folder / "cascade" / "prior", "accept_license": "true",
            "decoder_steps": 3,
        },
    }  # fmt: skip
    chosen = [f"generator.{key}={value}" for key, value in ({"name": name} | own[name]).items()]
    return [f"dataset.root={folder / 'nsd'}", *TINY, *chosen]


def run(folder, name, *more):
    sets = [*settings(folder, name), *more]
    return bb.run("nsd-brain-diffuser", overrides=sets, out=folder / f"run-{name}", cache=folder / "cache")


def means(run):
    scores = run.scores[run.scores.stimulus == ""]
    return scores.set_index(["stage", "row", "metric"]).value


def test_the_recipe_as_published(folder):
    done = run(folder, "versatile-diffusion")
    found = means(done)
    for stage, row in (("codec", "codec"), ("low_level", "predicted"), ("final", "oracle"), ("final", "predicted")):
        assert np.isfinite(found[stage, row, "pixcorr"]) and 0 <= found[stage, row, "two_way_pixels"] <= 1
    resolved = read_recipe(done.folder / "recipe.yaml")
    assert resolved.calibration == "test-batch" and resolved.low_level.latents == "sample"
    assert resolved.head.fixed == {"low_level": 5e4, "clip_image": 6e4, "clip_text": 1e5}
    assert resolved.generator.mixing == 0.4 and resolved.generator.strength == 0.75
    page = (done.folder / "report.html").read_text().lower()
    assert "untrained" in page and "simulated" in page and "transductive" in page
    assert "xu et al. (2023)" in page and "licence of the default weights: mit (openai/vdvae)" in page


@pytest.mark.parametrize("name", ["ip-adapter", "kandinsky22", "stable-cascade"])
def test_every_other_generator_in_its_place(folder, name):
    more = ["ladder=[oracle, predicted]", "generator.steps=2"]
    if name == "stable-cascade":
        more.append("generator.image_size=64")
    found = means(run(folder, name, *more))
    assert np.isfinite(found["final", "predicted", "pixcorr"])
    assert found["final", "predicted", "pixcorr"] != found["final", "oracle", "pixcorr"]


def test_missing_models_stop_the_run_before_any_work(folder, tmp_path):
    sets = settings(folder, "versatile-diffusion")
    with pytest.raises(UserError, match=r"lacks image_unet"):
        bb.run("nsd-brain-diffuser", overrides=[*sets, f"generator.model={tmp_path}"], out=tmp_path / "run")
    with pytest.raises(UserError, match=r"weights .*nothing.th do not exist"):
        bb.run("nsd-brain-diffuser", overrides=[*sets, "low_level.weights=nothing.th"], out=tmp_path / "run")
    with pytest.raises(UserError, match=r"non-commercial"):
        bb.run(
            "nsd-brain-diffuser", out=tmp_path / "run",
            overrides=[*settings(folder, "stable-cascade"), "generator.accept_license=false"],
        )  # fmt: skip
    assert not (tmp_path / "run" / "scores.csv").exists()


def test_a_preset_fills_what_the_recipe_leaves_out():
    recipe = parse_recipe(RECIPE, "r.yaml")
    assert recipe.low_level.codec == "vdvae" and recipe.low_level.weights == "a.th" and recipe.low_level.n_layers == 31
    assert recipe.generator.name == "versatile-diffusion" and recipe.generator.steps == 50
    assert recipe.generator.guidance == 7.5
    resolved = recipe.model_dump(mode="json")
    assert resolved["preset"] == "brain-diffuser" and resolved["head"]["fixed"]["clip_text"] == 100_000.0
    # What a recipe says stands, and a resolved recipe read again is the same.
    own = parse_recipe(RECIPE + "calibration: train-cv\ngenerator: {mixing: 0.5}\nhead: {n_alphas: 5}\n", "r.yaml")
    assert own.calibration == "train-cv" and own.generator.mixing == 0.5 and own.generator.steps == 50
    assert own.head.fixed == recipe.head.fixed and own.head.n_alphas == 5
    assert type(recipe).model_validate(resolved) == recipe
    none = parse_recipe(RECIPE + "generator: null\n", "r.yaml")
    assert none.generator is None


def test_another_generator_or_codec_is_left_alone():
    recipe = parse_recipe(RECIPE + "generator: {name: kandinsky22}\n", "r.yaml")
    assert recipe.generator.guidance == 4.0 and not hasattr(recipe.generator, "mixing")
    pca = parse_recipe(RECIPE.replace("{weights: a.th}", "{codec: pca}"), "r.yaml")
    assert pca.low_level.codec == "pca"
    with pytest.raises(RecipeError, match=r"r.yaml:2:1  preset  'brain-difuser' is not one of 'brain-diffuser'"):
        parse_recipe(RECIPE.replace("diffuser\n", "difuser\n").replace("brain-diffuser", "brain-difuser"), "r.yaml")
    with pytest.raises(RecipeError, match=r"low_level.weights  is missing"):
        parse_recipe(RECIPE.replace("low_level: {weights: a.th}\n", ""), "r.yaml")


def test_filling_changes_neither_preset_nor_recipe():
    from brainbench.recipes.presets import with_preset

    before = repr(PRESETS)
    values = {"preset": "brain-diffuser", "head": {"fixed": {"low_level": 1.0}}, "generator": {"steps": 3}}
    filled = with_preset(values)
    filled["generator"]["steps"] = 4
    filled["low_level"]["codec"] = "pca"
    assert values["generator"] == {"steps": 3} and repr(PRESETS) == before
    assert filled["head"] == {"fixed": {"low_level": 1.0}}
