"""Unique and shared variance: the parts add up to what layer and controls explain together."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from brainbench.evaluation.bootstrap import subject_mean
from brainbench.report import write_report
from brainbench.report.page import Page
from brainbench.report.sections.responses import partition, unique

FROZEN = Path(__file__).parent / "frozen" / "encode"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return a frozen run of which is known what its controls explain."""
    folder = tmp_path_factory.mktemp("unique") / "run"
    shutil.copytree(FROZEN, folder)
    facts = json.loads((folder / "facts.json").read_text())
    places = [(who, layer, roi) for who in ("sim-01", "sim-02") for layer in ("scale.0", "scale.3")
              for roi in ("fine", "silent")]  # fmt: skip
    facts["findings"]["controls"] = [
        {"subject": who, "encoder": "gabor", "layer": layer, "roi": roi, "r2": 0.1 + 0.01 * place}
        for place, (who, layer, roi) in enumerate(places)
    ]
    (folder / "facts.json").write_text(json.dumps(facts))
    return Page(folder)


def test_parts_add_up_and_are_means_over_participants(page):
    found = unique._parts(page)
    assert [one["roi"] for one in found] == ["fine", "silent"]
    scores = page.scores.query("fold == 'all' and scheme == 'stimulus' and encoder == 'gabor'")
    for one in found:
        layers = scores.query(f"metric == 'unique_r2' and subject == '{page.lead}' and roi == '{one['roi']}'")
        assert one["layer"] == layers.loc[layers["value"].idxmax(), "layer"]
        here = scores[(scores["roi"] == one["roi"]) & (scores["layer"] == one["layer"])]
        own, adds = (
            here[(here["metric"] == name) & here["subject"].isin(["sim-01", "sim-02"])].set_index("subject")["value"]
            for name in ("r2", "unique_r2")
        )
        noted = [
            item["r2"] for item in page.findings["controls"]
            if (item["layer"], item["roi"]) == (one["layer"], one["roi"])
        ]  # fmt: skip
        layer, shared, controls = (part["value"] for part in one["parts"])
        assert layer == pytest.approx(adds.mean()) and layer + shared == pytest.approx(own.mean())
        assert shared + controls == pytest.approx(np.mean(noted))


def test_they_stand_on_the_page_with_a_table(page):
    text = write_report(page.root).read_text()
    assert "Unique and shared" in text and (page.root / "figures" / "shared_variance.svg").is_file()
    assert "Parts of held-out R2 that layer and controls explain. fine (gabor " in text


def test_intervals_over_participants_have_the_coverage_of_the_recipe(page, monkeypatch):
    asked = []

    def noted(values, confidence=None):
        asked.append(confidence)
        return subject_mean(values)

    for section in (unique, partition):
        monkeypatch.setattr(section, "subject_mean", noted)
    recipe = yaml.safe_load(page.recipe)
    recipe["bootstrap"]["confidence"] = 0.8
    (page.root / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    unique._parts(Page(page.root))
    assert set(asked) == {0.8}


def test_a_run_that_did_not_note_the_controls_has_none_of_it(tmp_path):
    shutil.copytree(FROZEN, tmp_path / "run")
    assert unique._parts(Page(tmp_path / "run")) == []
