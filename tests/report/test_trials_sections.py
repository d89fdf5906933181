"""Participants of one run with other classes and other channels: each is drawn as what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from brainbench.report.figures.trials import one_a_place, topographies
from brainbench.report.page import Page
from brainbench.report.sections.trials import accuracy, attention, confusion, parts, patterns, relevance, reliability

FROZEN = Path(__file__).parent / "frozen" / "trials"


class Told(Page):
    """A page that keeps what is drawn, and draws nothing."""

    def save(self, figure, name, alt):
        self.__dict__.setdefault("drawn", {})[name] = (getattr(figure, "args", ()), alt)
        return None


@pytest.fixture
def page(tmp_path):
    """A run whose third participant has other classes, three of them, and its channels in another order."""
    root = tmp_path / "run"
    shutil.copytree(FROZEN, root)
    facts = json.loads((root / "facts.json").read_text())
    found = facts["findings"]
    found["trials"]["classes"] = ["feet", "hands", "left", "right", "tongue"]
    third = next(one for one in found["signal"] if one["subject"] == "made-3") if len(found["signal"]) > 2 else None
    if third is None:
        third = json.loads(json.dumps(found["signal"][0])) | {"subject": "made-3"}
        found["signal"].append(third)
    third["channels"], third["positions"] = third["channels"][::-1], third["positions"][::-1]
    for one in found["confusion"]:
        if one["subject"] == "made-3":
            one |= {"labels": ["feet", "hands", "tongue"], "counts": [[5, 1, 0], [2, 4, 0], [0, 0, 6]]}
    for one in found["trials"]["calibration"]:
        if one["subject"] == "made-3":
            one["edges"] = np.linspace(1 / 3, 1, 9).tolist()
    channels = third["channels"]
    found["trials"]["relevance"] = [
        {"subject": "made-1", "pipeline": "csp", "n_trials": 60, "classes": ["left", "right"],
         "values": np.eye(len(channels))[:2].tolist()},
        {"subject": "made-3", "pipeline": "csp", "n_trials": 60, "classes": ["feet", "hands", "tongue"],
         "values": np.eye(len(channels))[:3].tolist()},
    ]  # fmt: skip
    found["trials"]["patterns"] = [
        {"subject": one, "pipeline": "csp", "values": np.eye(len(channels))[:1].tolist()}
        for one in ("made-1", "made-3")
    ]
    table = np.full((len(channels), len(channels)), 1 / len(channels)).tolist()
    found["trials"]["attention"] = [
        {"subject": subject, "pipeline": "eegnet", "channels": names, "entropy": [1.0], "with_distance": None,
         "blocks": 1, "mean": table, "rollout": table[0]}
        for subject, names in (("made-1", channels[::-1]), ("made-2", channels[::-1]), ("made-3", channels))
    ]  # fmt: skip
    (root / "facts.json").write_text(json.dumps(facts))
    return Told(root)


def test_participants_with_other_classes_have_a_matrix_and_a_curve_of_their_own(page):
    titles = [one["title"] for one in confusion.draw(page)["confusions"]]
    assert titles == ["csp: made-1, made-2", "csp: made-3"]
    assert "60 of 60" not in page.drawn["confusion_csp_2"][1] and "15 of 18 right" in page.drawn["confusion_csp_2"][1]
    shown = reliability.draw(page)["pipelines"]
    assert [one["title"] for one in shown] == ["csp: made-1, made-2", "csp: made-3"]
    assert [{row["subject"] for row in one["errors"]} for one in shown] == [{"made-1", "made-2"}, {"made-3"}]


def test_maps_are_headed_by_a_participants_own_classes_at_its_own_channels(page):
    assert len(relevance.draw(page)["maps"]) == len(patterns.draw(page)["maps"]) == 2
    for kind in ("relevance", "patterns"):
        (_, first, places, *_), alt = page.drawn[f"{kind}_made-1_csp"]
        (_, third, others, *_), other = page.drawn[f"{kind}_made-3_csp"]
        assert first == third[::-1]
        np.testing.assert_array_equal(places, others[::-1])
        assert f"strongest at {first[0]}" in alt and f"strongest at {third[0]}" in other
    assert "(left)" in page.drawn["relevance_made-1_csp"][1] and "(tongue)" in page.drawn["relevance_made-3_csp"][1]


def test_a_part_that_one_participant_lacks_moves_nobody_elses(page):
    part = page.findings["trials"]["band"]
    scores, name = page.scores, part["parts"][0]["name"]
    rows = (scores["scheme"] == part["scheme"]) & (scores["metric"] == "accuracy") & (scores["fold"] == "all")
    mine = rows & (scores["roi"] == name)
    assert set(scores[mine]["subject"]) >= {"made-1", "made-2", "made-3"}
    value = scores[mine & (scores["subject"] == "made-2")]["value"].iloc[0]
    page.scores = scores[~(mine & (scores["subject"] == "made-1"))]
    found = parts.draw(page)["band"]
    assert found["people"][:2] == ["made-1", "made-2"]
    assert found["table"][0]["cells"][0] is None and found["table"][0]["cells"][1]["value"] == value


def test_classes_are_told_by_who_has_them(page):
    page.facts["subjects"][2]["labels"] = {"feet": 20, "hands": 20, "tongue": 20}
    assert accuracy.draw(page)["classes"] == [("left", "right"), ("feet", "hands", "tongue")]
    text = Path(accuracy.__file__).with_suffix(".html").read_text()
    assert 'names | join(" against ")' in text


def test_attention_of_other_electrodes_is_not_left_out(page):
    shown = attention.draw(page)["pipelines"]
    assert [(one["title"], one["people"]) for one in shown] == [
        ("eegnet: made-1, made-2", ["made-1", "made-2"]), ("eegnet: made-3", ["made-3"])
    ]  # fmt: skip


def test_both_coils_of_a_planar_gradiometer_are_one_place_of_a_map():
    rng = np.random.default_rng(0)
    place = rng.normal(size=(8, 3)) * [1, 1, 0.2] + [0, 0, 1]
    place = np.repeat(0.09 * place / np.linalg.norm(place, axis=1, keepdims=True), 2, axis=0)
    values = rng.normal(size=(1, 16))
    pairs = values.reshape(8, 2)
    for fields, wanted in ((True, np.sqrt((pairs**2).mean(axis=1))), (False, pairs.mean(axis=1))):
        found, names, places = one_a_place(values, [f"MEG {n}" for n in range(16)], place, fields=fields)
        np.testing.assert_allclose(found[0], wanted)
        assert names[1] == "MEG 2" and places.shape == (8, 3)
    assert topographies(values, [f"MEG {n}" for n in range(16)], place, fields=True) is not None
