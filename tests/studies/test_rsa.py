"""``kind: rsa``: made RDMs of three participants give the numbers of rsatoolbox, on a page that says them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import brainbench as bb
from benchmarks.rsatoolbox_numbers import PEOPLE, REGIONS, made
from brainbench.core.errors import RecipeError
from brainbench.evaluation.similarity import rdm
from brainbench.recipes.reader import parse_recipe
from brainbench.studies.check import check_study

REFERENCE = json.loads((Path(__file__).parent / "rsatoolbox.json").read_text())
RECIPE = """\
kind: rsa
title: Made RDMs of 92 made images
dataset: {{name: rdm, root: {root}, rdms: "{{subject}}.npy", rois: [V1, LO]}}
encoders:
  - {{name: images, family: pixels, role: model, image_size: 16}}
  - {{name: coarse, family: pixels, image_size: 2}}
similarity: [rsa, rsa_pearson]
significance: {{n_permutations: 99}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rdms")
    images, patterns = made()
    names = [f"image{index:02d}" for index in range(92)]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(folder / f"{name}.png")
    pd.DataFrame({"id": names, "path": [f"{name}.png" for name in names]}).to_csv(folder / "stimuli.csv", index=False)
    for person in PEOPLE:
        np.save(folder / f"{person}.npy", np.stack([rdm(patterns[person, region]) for region in REGIONS]))
    return folder


@pytest.fixture(scope="module")
def checked(root, tmp_path_factory):
    return check_study(parse_recipe(RECIPE.format(root=root), "rsa.yaml"), tmp_path_factory.mktemp("study"))


def test_its_numbers_are_those_of_rsatoolbox(checked):
    outcome, _ = checked
    rows = pd.DataFrame([row for row in outcome.rows if row["encoder"] == "images"])
    for metric in ("rsa", "rsa_pearson"):
        for region in REGIONS:
            mine = rows[(rows["metric"] == metric) & (rows["roi"] == region)].set_index("subject")
            np.testing.assert_allclose(mine.loc[list(PEOPLE), "value"], REFERENCE[metric][region], atol=1e-6)
            assert mine.loc["mean", "value"] == pytest.approx(np.mean(REFERENCE[metric][region]), abs=1e-6)
            found = [
                one for one in outcome.findings["rsa_ceilings"] if one["roi"] == region and one["metric"] == metric
            ]
            bounds = [np.mean([one[end] for one in found]) for end in ("lower", "upper")]
            np.testing.assert_allclose(bounds, REFERENCE["ceilings"][f"{metric} {region}"], atol=1e-6)


def test_what_was_found_says_where_rsa_lies_between_the_bounds(checked):
    _, facts = checked
    assert [claim.split(":")[0] for claim in facts["claims"]] == ["V1 (mean)", "LO (mean)"]
    assert "RSA (Spearman) of images pixels is 0.37" in facts["claims"][0]
    assert "below the noise ceiling of 0.50 to 0.78" in facts["claims"][0]
    assert "its best control is coarse at" in facts["claims"][0]


def test_the_page_shows_it(root, tmp_path):
    (tmp_path / "rsa.yaml").write_text(RECIPE.format(root=root).replace("99", "19"))
    run = bb.run(tmp_path / "rsa.yaml", out=tmp_path / "run", cache=tmp_path / "cache")
    page = run.report.read_text()
    assert "Geometry: RSA (Spearman)" in page and "Geometry: RSA (Pearson)" in page and "(mean): RSA" in page
    assert "4186 distances of 92 stimuli" in page
    tested = run.scores.query("metric == 'rsa' and encoder == 'images' and roi == 'V1' and subject != 'mean'")
    assert (tested["p"] == 0.05).all() and tested["test"].str.contains("stimuli exchanged").all()


def test_distances_are_not_fitted_and_responses_are_no_distances(root):
    text = RECIPE.format(root=root)
    with pytest.raises(RecipeError, match="holds distances between stimuli, and no responses: `kind: rsa`"):
        parse_recipe(text.replace("kind: rsa", "kind: encode").replace("rsa_pearson", "cka"), "r.yaml")
    with pytest.raises(RecipeError, match="`kind: encode` with `similarity"):
        parse_recipe(
            "kind: rsa\ndataset: {name: folder, root: x}\nencoders: [{name: pixels, family: pixels}]\n", "r.yaml"
        )
