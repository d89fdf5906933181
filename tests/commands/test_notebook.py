"""What a notebook meets: completion, short texts, figures by name, recipes and settings as mappings, given stimuli."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import brainbench as bb
from brainbench.commands.plan import Plan
from brainbench.core.errors import RecipeError, UserError
from brainbench.data.stimulus_files import given_stimuli
from brainbench.encoders.base import open_encoder
from brainbench.recipes.reader import read_recipe
from brainbench.runs.identity import default_folder

FROZEN = Path(__file__).parents[1] / "report" / "frozen"
RECIPE = {
    "kind": "encode",
    "dataset": {"name": "simulated", "n_subjects": 2, "rois": [{"roi": "V1", "encoder": "gabor", "layer": "scale.0"}]},
    "encoders": [{"name": "gabor", "family": "gabor", "layers": ("scale.0",)}, {"name": "pixels", "family": "pixels"}],
}


def test_completion_knows_what_the_package_offers():
    assert {"run", "plan", "open_run", "Run", "Plan", "Encoder", "open_encoder", "Stimuli"} <= set(dir(bb))
    assert all(getattr(bb, name) is not None for name in dir(bb))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "one"
    shutil.copytree(FROZEN / "encode", folder)
    return bb.open_run(folder)


def test_a_run_says_in_short_what_it_found(run):
    text = repr(run)
    assert text.startswith(f"Run('{run.path}'): encode, finished\nWhich layer of gabor") and len(text) < 1500
    page = run._repr_html_()
    assert "A frozen run of simulated participants</b> (simulated)" in page and str(run.report) in page


def test_best_layers_and_maps_are_tables(run):
    best = run.best_layers().query("subject == 'sim-01' and roi == 'fine' and scheme == 'stimulus'")
    found = next(
        one for one in run.facts["findings"]["best_layer"]
        if (one["subject"], one["roi"], one["scheme"]) == ("sim-01", "fine", "stimulus")
    )  # fmt: skip
    assert best["layer"].tolist() == [found["layer"]] and best["share"].tolist() == [found["share"][found["layer"]]]
    assert len(run.maps) == len(run.facts["maps"]) and set(run.maps["space"]) == {"volume"}


def test_a_figure_of_the_report_is_drawn_by_name_and_nothing_is_written(run):
    before = sorted(run.path.rglob("*"))
    figure = run.plot("depth")
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["fine", "silent"]
    assert sorted(run.path.rglob("*")) == before
    with pytest.raises(UserError, match=r"no figure 'dept'; did you mean 'depth_curves'\?\n.*best_layer_gabor"):
        run.plot("dept")


def test_recipes_and_settings_may_be_mappings():
    read = read_recipe(RECIPE, {"dataset.n_subjects": np.int64(3), "significance": {"n_permutations": 7}})
    assert read == read_recipe(RECIPE, ["dataset.n_subjects=3", "significance.n_permutations=7"])
    assert read.dataset.n_subjects == 3 and read.significance.n_permutations == 7
    assert default_folder(RECIPE, read).name.startswith("encode-")
    with pytest.raises(RecipeError, match=r"encoders\[0\].*did you mean 'family' for 'familly'"):
        read_recipe({**RECIPE, "encoders": [{"name": "gabor", "familly": "gabor"}]})
    with pytest.raises(UserError, match="a recipe holds numbers, texts, lists and mappings; a object came"):
        read_recipe({**RECIPE, "seed": object()})
    with pytest.raises(RecipeError, match="did you mean 'n_subjects'"):
        read_recipe(RECIPE, {"dataset.n_subject": 3})


def test_a_plan_is_short_and_printed_in_full():
    plan = Plan(
        RECIPE, "runs/x", False, [("gabor", 1, 1, 40)], {"fit": (4, 3), "score": (2, 0)}, 100.0, 1.0, "all", ["a"]
    )
    assert repr(plan) == "Plan('runs/x'): to compute: 3 of 4 fit"
    assert str(plan) == plan.render() and "3 to compute" in plan._repr_html_()


@pytest.fixture(scope="module")
def gabor():
    return open_encoder({"name": "gabor", "family": "gabor", "image_size": 32})


def test_an_encoder_reads_pictures_in_every_form(gabor, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    picture, path = Image.fromarray(pixels), tmp_path / "one.png"
    picture.save(path)
    expected = gabor.features([pixels], ["scale.0"])["scale.0"]
    for given in (picture, [picture], path, str(path), [str(path)], pixels[None], (p for p in [picture])):
        np.testing.assert_array_equal(gabor.features(given, ["scale.0"])["scale.0"], expected)
    assert len(gabor.features([picture, path, pixels], ["scale.0"])["scale.0"]) == 3
    said = "GaborPyramid('gabor'): reads image or array; 5 layers: scale.0, scale.1, ..., all; on cpu"
    assert repr(gabor) == said
    assert "<td>scale.3</td>" in gabor._repr_html_()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": 1}, r"stimulus 1: a dict \(\{'a': 1\}\)\n.*it reads a PIL image"),
        ([np.zeros((4, 4, 3), np.uint8), 3.5], r"stimulus 2: a float \(3.5\)\n.*it reads a PIL image"),
        ([np.full((4, 4, 3), 0.5)], r"stimulus 1: an array \(4, 4, 3\) of float64, from 0.5 to 0.5\n.*255 \* image"),
        ([np.zeros((4, 4, 7), np.uint8)], r"an array \(4, 4, 7\) of uint8"),
        ("nowhere.png", "nowhere.png: no such file"),
        ([], "was given no stimulus"),
    ],
)  # fmt: skip
def test_what_it_does_not_read_is_said_with_its_place(given, said):
    with pytest.raises(UserError, match=said):
        given_stimuli(given, ("image",), "encoder 'x'")


def test_texts_are_texts_and_a_path_of_one_is_read(tmp_path):
    (tmp_path / "a.txt").write_text("a sentence\n")
    found = given_stimuli(["one", tmp_path / "a.txt"], ("text",), "encoder 'x'")
    assert found.modality == "text" and [found.load(0), found.load(1)] == ["one", "a sentence"]
    with pytest.raises(UserError, match="a Image"):
        given_stimuli(Image.new("RGB", (2, 2)), ("text",), "encoder 'x'")
