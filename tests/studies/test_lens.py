"""The `lens` section: planned, computed once, reported beside depth; what has no network says why it is empty."""

import copy
import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import brainbench as bb
from brainbench.core.errors import UserError
from brainbench.core.progress import Stages
from brainbench.lens import running
from brainbench.lens.diagnostics.attention import NO_SENSORS
from brainbench.lens.diagnostics.content import NO_LABELS
from brainbench.lens.diagnostics.units import FEW_TOKENS, SMOOTH
from brainbench.recipes.reader import parse_recipe
from brainbench.report.page import write_report
from brainbench.report.sections import lens as lens_section
from brainbench.report.sections.edits import sentence
from brainbench.report.sections.lens import depth_words, label_sentences, layers_of
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import RunFolder
from brainbench.studies.base import study_of
from brainbench.studies.encode.edits import NO_STREAM, EditStudy
from brainbench.studies.opened import open_all
from tests.figures import undrawn

pytestmark = pytest.mark.long

NAMES = ["stream", "attention", "units", "content"]

RECIPE = """\
kind: encode
title: Inside small networks
seed: 1
dataset:
  name: simulated
  images: drawings
  n_subjects: 1
  n_stimuli: 24
  n_runs: 2
  rois: [{roi: stripes, prefers: stripes, n_voxels: 4}]
folds: {n_splits: 2}
encoders:
  - {name: vit, family: image, model: test_vit, weights: random, image_size: 32, layers: ["blocks.4", "blocks.5"]}
  - {name: resnet, family: image, model: resnet18, weights: random, image_size: 32, layers: [layer1]}
  - {name: pixels, family: pixels, image_size: 8}
head: {n_alphas: 3, inner_folds: 2}
lens: {diagnostics: [stream, attention, units, content], stimuli: 10, words: [3]}
ceiling: {method: none}
significance: {n_permutations: 19}
bootstrap: {n_draws: 20}
"""
ALONE = (
    "encoders=[{name: vit, family: image, model: test_vit, weights: random, image_size: 32, layers: [blocks.5]}]",
    "lens.diagnostics=[stream]", "significance.n_permutations=0", "bootstrap.n_draws=0",
)  # fmt: skip
"""The one network that has a stream, where nothing but effects of edits is looked at."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lens")
    (folder / "recipe.yaml").write_text(RECIPE)
    places = {"out": folder / "run", "cache": folder / "cache"}
    before = bb.plan(folder / "recipe.yaml", **places).units["lens"]
    with pytest.MonkeyPatch.context() as patch:
        undrawn(patch)
        done = bb.run(folder / "recipe.yaml", **places)
    after = bb.plan(folder / "recipe.yaml", **places).units["lens"]
    assert (before, after) == ((2, 2), (2, 0))  # all, missing: the same units are described again
    other = bb.plan(folder / "recipe.yaml", overrides=["lens.stimuli=9"], **places).units["lens"]
    assert other == (2, 2) and "lens" not in bb.plan(folder / "recipe.yaml", overrides=["lens=null"], **places).units
    return done


def test_networks_are_looked_into(run):
    found = run.facts["findings"]["lens"]
    vit, resnet, pixels = found["encoders"]
    assert found["stimuli"] == 10 and [one["name"] for one in found["diagnostics"]] == NAMES
    assert vit["untrained"] and vit["blocks"] == [f"blocks.{i}" for i in range(6)] and vit["depth"][0] == 0.5 / 6
    empty = {one["column"]: one["reason"] for one in vit["columns"] if one["reason"]}
    assert empty == {
        "distance_cm": NO_SENSORS, "lag_ms": NO_SENSORS, "active_exact": SMOOTH, 
        **dict.fromkeys(("token_cos", "token_cos_centred", "eff_rank", "act_entropy", "act_var"), FEW_TOKENS),
        **dict.fromkeys(("concept", "concept_control", "selectivity"), NO_LABELS),
    }  # fmt: skip
    for column in vit["columns"]:
        assert len(column["blocks"]) == 6
        for cell in column["blocks"]:
            assert (cell is None) == (column["column"] in empty)
            if cell is not None and not column["column"].startswith("massive_"):
                assert cell["low"] <= cell["value"] <= cell["high"] and cell["n"] == 10
    by_site = {one["column"]: one["reason"] for one in resnet["columns"] if not one["blocks"]}
    assert all("is not known for ResNet" in reason for reason in by_site.values()) and "r_attn" in by_site
    assert {one["diagnostic"] for one in resnet["columns"] if one["column"] not in by_site} == {"content"}
    assert pixels["reason"] == "it is no network: there is nothing to look into" and not pixels["columns"]


def test_the_section_shows_every_column(run):
    page = run.report.read_text()
    section = page[page.index('<h2 id="inside-the-networks"') :]
    section = section[: section.index("</section>")]
    assert (
        "over 10 stimuli that the participant was shown" in section and '<span class="tag">simulated</span>' in section
    )
    assert '<h3>vit <span class="tag">untrained</span></h3>' in section and "arXiv:2505.13898" in section
    columns = run.facts["findings"]["lens"]["encoders"][0]["columns"]
    for column in columns:
        cell = column["blocks"][3]
        assert (f'<th class="n">{column["column"]}</th>' in section) == (cell is not None)
        if cell is not None:
            shown = f"{cell['value']:.3f}" if cell["share"] is None else f"{cell['value']:.0f} <span"
            assert shown.replace("-", "\N{MINUS SIGN}") in section
    assert f"Left empty: active_exact: {SMOOTH}" in section
    assert "Nothing: it is no network" in section and "Left empty: r_attn, r_mlp" in section


def test_a_label_is_said_to_be_read_off_where_it_is():
    said = label_sentences({"name": "category", "chance": 0.25, "best": 5, "peak": 0.9, "exchanged": 0.24, "low": 0.5,
                            "depth90": 4 / 6, "jump": 3})  # fmt: skip
    assert said == [
        "category: read off best at block 5, balanced accuracy 0.90 (0.24 with labels exchanged, 0.25 by chance); nine "
        "tenths of the way there from chance by depth 0.67; a tenth more than the block before has it first at block 3."
    ]
    told = {"name": "category", "chance": 0.25, "best": 5, "peak": 0.3, "exchanged": 0.24, "depth90": 1.0, "jump": None}
    for low in (-0.1, None):  # not beyond labels exchanged, or without an interval
        assert label_sentences(told | {"low": low})[0].endswith("by chance): no block is known to tell it.")
    assert label_sentences(None) == []


def test_scores_beside_edits_are_means_over_participants_as_what_edits_take_is():
    """Of Alice's mean response r was .48 where what edits take was told of .07, the mean over listeners."""
    scores = {"group": 0.48, "mean": 0.07, "P01": 0.05}
    rows = pd.DataFrame({"subject": scores.keys(), "value": scores.values()})
    rows = rows.assign(encoder="vit", layer="blocks.0", roi="a", depth=0.5)
    page = SimpleNamespace(
        scores=rows, lead="group", rois=["a"], scheme="", facts={"metric": "pearson_r"}, findings={"edits": {}},
        over_folds=lambda _metric, _scheme, subject: rows[rows["subject"] == subject],
    )  # fmt: skip
    assert depth_words(layers_of(page, "vit")["a"], 1) == "best at blocks.0 (depth 0.50, 0.07)"
    page.findings = {}  # without edits it is whose scores head the page
    assert depth_words(layers_of(page, "vit")["a"], 1) == "best at blocks.0 (depth 0.50, 0.48)"


def test_without_draws_there_are_means_and_no_intervals(run):
    folder = run.path.parent  # its cache holds the features
    with pytest.MonkeyPatch.context() as patch:
        undrawn(patch)
        overrides = [ALONE[0], "bootstrap.n_draws=0", "significance.n_permutations=0"]
        done = bb.run(folder / "recipe.yaml", overrides=overrides, out=folder / "none", cache=folder / "cache")
    (vit, *_), (other, *_) = (one.facts["findings"]["lens"]["encoders"] for one in (done, run))
    for column, before in zip(vit["columns"], other["columns"], strict=True):
        cells = [cell or {} for cell in column["blocks"]]
        assert [cell.get("value") for cell in cells] == [(cell or {}).get("value") for cell in before["blocks"]]
        assert all(cell.get("low") is None and cell.get("high") is None for cell in cells)
    assert f"{vit['columns'][0]['blocks'][3]['value']:.3f}</td>" in done.report.read_text()


def test_an_unknown_name_is_met_with_the_nearest():
    with pytest.raises(UserError, match=r"'strem'.*did you mean 'stream'"):
        parse_recipe(RECIPE.replace("[stream,", "[strem,"), "recipe.yaml")
    with pytest.raises(UserError, match="diagnostic 'stream' is given twice"):
        parse_recipe(RECIPE.replace("[stream,", "[stream, stream,"), "recipe.yaml")


def test_edits_are_units_and_stand_beside_their_controls(run, tmp_path):
    folder = run.path.parent
    places = {"out": folder / "edits", "cache": folder / "cache"}
    overrides = ["lens.edits=[skip,heads,erase,brain-lens]", "lens.controls=3", "lens.diagnostics=[stream]",
                 "significance.n_permutations=0", "bootstrap.n_draws=0"]  # fmt: skip
    assert bb.plan(folder / "recipe.yaml", overrides=overrides, **places).units["edits"] == (4, 4)
    mapped, original = [], lens_section.heat_map
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            lens_section,
            "heat_map",
            lambda groups, mark, **given: mapped.extend(groups) or original(groups, mark, **given),
        )
        undrawn(patch)
        done = bb.run(folder / "recipe.yaml", overrides=overrides, **places)
    assert bb.plan(folder / "recipe.yaml", overrides=overrides, **places).units["edits"] == (4, 0)
    other = bb.plan(folder / "recipe.yaml", overrides=[*overrides, "lens.controls=2"], **places).units["edits"]
    assert other == (4, 2)  # no controls are drawn of heads, nor of another block that is read
    renamed = [*overrides, "title=Other"]  # not the finished run itself, whose plan is known
    assert bb.plan(folder / "recipe.yaml", overrides=renamed, **places).units["edits"] == (4, 0)
    found = done.facts["findings"]["edits"]
    assert found["rois"] == ["stripes"] and found["controls"] == 3 and found["people"] == 1
    skip, heads, erase, read, *rest = found["shown"]
    assert [one["edit"] for one in (skip, heads, erase, read)] == ["skip", "heads", "erase", "brain-lens"]
    assert [(one["encoder"], one["reason"]) for one in rest] == [("resnet", NO_STREAM)] * 4
    assert len(skip["rows"]) == len(erase["rows"]) == 12 and len(heads["rows"]) == 12 * 2  # blocks x ways (x heads)
    last = run.scores.query("encoder == 'vit' and layer == 'blocks.5' and fold == 'all' and metric == 'pearson_r'")
    for row in skip["rows"]:
        assert row["n"] == 3 and row["low"] <= row["mean"] <= row["high"] and 0.25 <= row["p"] <= row["q"] <= 1
        assert row["intact"] == pytest.approx(last["value"].iloc[0], abs=1e-4)
    # Of a head the controls are all others of the network; nothing is called beyond with so few.
    assert all(row["n"] == 11 for row in heads["rows"])
    assert not any(row["beyond"] for row in skip["rows"] + heads["rows"]) and skip["controls_beyond"]["frozen"] is None
    # Without the last block, and fitted again, the last layer scores as the one before it.
    again = next(row for row in skip["rows"] if (row["block"], row["way"]) == (5, "refitted"))
    before = run.scores.query("encoder == 'vit' and layer == 'blocks.4' and fold == 'all' and metric == 'pearson_r'")
    assert again["intact"] - again["lost"] == pytest.approx(before["value"].iloc[0], abs=1e-4)
    # Read with a head of its own every block scores as the layer that it is; at the end that is the head that there is.
    lost = {(row["block"], row["way"]): row["lost"] for row in read["rows"]}
    assert lost[5, "frozen"] == lost[5, "refitted"] == 0 and len(lost) == 12
    assert again["intact"] - lost[4, "refitted"] == pytest.approx(before["value"].iloc[0], abs=1e-4)
    assert all("n" not in row and "p_intact" in row and not row.get("beyond") for row in read["rows"])
    assert heads["shared"] is None  # one participant has no halves
    page = done.report.read_text()
    section = page[page.index('<h2 id="when-the-networks-are-changed"') :]
    section = section[: section.index("</section>")]
    # Random weights explain nothing here: where nothing is, nothing is said to be lost.
    assert "stripes: best at blocks.5 (depth 1.00, " in section and ", so that nothing can be lost." in section
    assert mapped[-2:] == [f"brain lens, head of the last layer {way}, by region" for way in ("frozen", "refitted")]
    lost = {"frozen": (0.3, 0.1, 0.3, 0.1, 0.1, 0), "refitted": (0.3, 0.1, 0.1, 0.1, 0.1, 0)}
    planted = [row | {"p_intact": 0.001, "intact": 0.4, "lost": lost[row["way"]][row["block"]]} for row in read["rows"]]
    spoken = sentence(planted, "stripes", "brain-lens")
    assert spoken == ("stripes: of 0.40 at the last layer its head finds at least half in what every block from 3 on "
                      "gives, and a head fitted to each from block 1 on.")  # fmt: skip
    spoken = sentence([row | {"p_intact": 0.001} for row in skip["rows"]], "stripes", "skip", "best at x")
    assert "at the last layer most is lost with block" in spoken and "with the head fitted again" in spoken
    assert "(3 controls, " in spoken and ": too few to call it beyond them, which takes 20)" in spoken
    told = {"n": 20, "beyond": True, "q": 0.01, "fewest": 20, "p_intact": 0.001, "lost": 0.2}
    clear = [row | told | ({"lost": 0.05, "beyond": False, "p_controls": 1.4} if row["way"] == "refitted" else {})
             for row in skip["rows"]]  # fmt: skip
    spoken = sentence(clear, "stripes", "skip")
    assert "0.200 (beyond 20 controls, " in spoken and "of what was lost 75 % comes back" in spoken
    assert "; q 0.010: controls take as much)" in spoken
    # What is lost most need not be what is beyond its controls: that is said too.
    least = min((row for row in skip["rows"] if row["way"] == "frozen"), key=lambda row: row["lost"])
    one = [row | told | ({"lost": 0.1, "q": 0.02} if row is least else {"beyond": False, "p_controls": 1.4})
           for row in skip["rows"]]  # fmt: skip
    assert f"Also beyond controls of its own: with block {least['block']} 0.100, frozen (beyond 20" in sentence(
        one, "stripes", "skip"
    )
    assert "Nothing: the sites of its blocks are not known" in section
    # A run that was written before effects were held against chance too is read, and claims nothing by the old rule.
    facts = json.loads((done.path / "facts.json").read_text())
    for item in facts["findings"]["edits"]["shown"]:
        item.pop("controls_beyond", None)
        item |= {"shared": {"n_heads": 18, "overlap": {"0.1": [[0.75]]}}} if item["edit"] == "heads" else {}
        for row in item["rows"]:
            for name in [name for name in row if name == "fewest" or name.startswith("p_")]:
                del row[name]
            row |= {"beyond": True} if "n" in row else {}
    old = shutil.copytree(done.path, tmp_path / "old")
    (old / "facts.json").write_text(json.dumps(facts))
    page = write_report(old).read_text()
    assert "not tested by today" in page and "(beyond" not in page
    assert "10 % of the heads; 0.05 by chance" in page and '<td class="n">0.75</td>' in page
    # Features under edits are dropped: nothing but scores of regions is kept.
    kept = [unit for unit in (folder / "edits" / "units").iterdir() if "frozen" in np.load(unit)]
    assert len(kept) == 4 and all(unit.stat().st_size < 20_000 for unit in kept)


def other_value(value):
    """Return another value of the same kind."""
    if dataclasses.is_dataclass(value):
        return {item.name: dataclasses.replace(value, **{item.name: other_value(getattr(value, item.name))})
                for item in dataclasses.fields(value)}  # fmt: skip
    if value is None:
        return np.zeros((24, 1))
    if isinstance(value, np.ndarray) and value.dtype.kind in "US":
        return np.char.add(value, "x")
    if isinstance(value, np.ndarray):
        return value[::-1] if value.dtype == bool else value + 1
    if isinstance(value, list | tuple):
        return [other_value(value[0]), *value[1:]]
    return value + "x" if isinstance(value, str) else not value if isinstance(value, bool) else value + 1


def test_a_unit_of_edits_has_another_name_when_anything_that_it_reads_changes(tmp_path):
    """Each input alone: a key that forgets one would give a brain the effects of another."""
    regions = "dataset.rois=[{roi: a, n_voxels: 4}, {roi: b, n_voxels: 4}]"
    overrides = ["lens.edits=[skip]", "lens.controls=2", "dataset.n_subjects=2", regions]
    recipe = parse_recipe(RECIPE, "recipe.yaml", overrides)
    study = study_of(open_all(recipe, tmp_path), Runner(RunFolder(tmp_path / "run"), LocalEngine(), Stages(quiet=True)))
    cases = study.edits.cases

    def name(recipe=recipe, cases=cases, kind="skip", block=0, **given):
        opened = dataclasses.replace(study.opened, recipe=recipe)
        edits = EditStudy(opened, given.get("settings", recipe.lens), cases)
        entry = dataclasses.replace(study.opened.encoders[0], **given.get("entry", {}))
        with pytest.MonkeyPatch.context() as patch:
            if "design" in given:
                patch.setattr(edits, "_design", lambda cases: given["design"] if cases[0] is edits.cases[0] else design)
            return edits._unit(entry, kind, [block]).digest

    design, whole = study.edits._design(cases[:1]), name()
    assert name() == whole and design.regions.tolist() == [[True] * 4 + [False] * 4, [False] * 4 + [True] * 4]
    settings = other_value(design.settings)
    assert set(settings) == {item.name for item in dataclasses.fields(design.settings)}
    others = {f"settings.{item}": dataclasses.replace(design, settings=one) for item, one in settings.items()}
    for item in dataclasses.fields(design):
        if item.name != "settings":
            value = other_value(getattr(design, item.name))
            others[item.name] = dataclasses.replace(design, **{item.name: value})
    names = {item: name(design=one) for item, one in others.items()}

    def with_case(part, **values):
        return [
            dataclasses.replace(cases[0], **{part: dataclasses.replace(getattr(cases[0], part), **values)}),
            cases[1],
        ]

    features = copy.copy(cases[0].features)
    features.stimuli = features.stimuli.take(np.arange(24)[::-1])
    names |= {
        "kind": name(kind="erase"), "block": name(block=1), "seed": name(recipe.model_copy(update={"seed": 2})),
        "controls": name(settings=recipe.lens.model_copy(update={"controls": 3})),
        "encoder": name(entry={"encoder": study.opened.encoders[1].encoder}),
        "pool": name(entry={"settings": study.opened.encoders[0].settings.model_copy(update={"pool": "cls"})}),
        "stimuli": name(cases=[dataclasses.replace(cases[0], features=features), cases[1]]),
        "shown": name(cases=with_case("responses", stimulus=cases[0].responses.stimulus[::-1])),
        "first": name(cases=with_case("rows", first=cases[0].rows.first[::-1])),
        "people": name(cases=cases[:1]), "order of people": name(cases=cases[::-1]),
    }  # fmt: skip
    assert {item for item, one in names.items() if one == whole} == set()
    assert len(set(names.values())) == len(names)


def test_edits_that_run_beside_one_another_do_not_meet(run, tmp_path, no_page):
    """A network is another one while it is edited: units in threads of one process take turns."""
    overrides = ["lens.edits=[skip]", "lens.controls=2", *ALONE]
    alone, beside = (
        bb.run(
            run.path.parent / "recipe.yaml", overrides=[*overrides, f"execution.jobs={jobs}"], cache=tmp_path / "cache",
            out=tmp_path / str(jobs),
        ).facts["findings"]["edits"]["shown"]
        for jobs in (1, 4)
    )  # fmt: skip
    assert alone == beside


@pytest.fixture
def edited_run(run, tmp_path):
    """Run the recipe with edits alone, and return what it found of them, the whole run and its units."""

    def of(edits, *overrides, place="out"):
        given = [f"lens.edits={edits}", "lens.diagnostics=[stream]", "significance.n_permutations=0",
                 "bootstrap.n_draws=0", *overrides]  # fmt: skip
        done = bb.run(
            run.path.parent / "recipe.yaml", overrides=given, out=tmp_path / place, cache=run.path.parent / "cache"
        )
        return done.facts["findings"]["edits"], done

    return of


def test_blocks_that_share_a_clean_pass_score_as_blocks_of_their_own(edited_run, monkeypatch, no_page):
    ran, original = [], running.edited
    monkeypatch.setattr(running, "edited", lambda *given, **more: ran.append(1) or original(*given, **more))
    together, _ = edited_run("[skip, heads, erase]", "lens.controls=2", *ALONE, place="together")
    assert len(ran) == 3
    monkeypatch.setattr("brainbench.studies.encode.edits.RUNS", 1)
    alone, _ = edited_run("[skip, heads, erase]", "lens.controls=2", *ALONE, place="alone")
    assert len(ran) == 3 + 18 and alone == together


def test_what_an_edit_adds_to_all_stimuli_alike_moves_no_frozen_head(edited_run, monkeypatch, no_page):
    """It says nothing of any of them; of stories a frozen head would read the number of words in it."""
    original = running.edited

    def moved(*given, **more):
        intact, changed = original(*given, **more)
        return intact, changed + np.arange(changed.shape[-1], dtype=changed.dtype)

    settings = ["lens.controls=2", "metrics=[r2]", *ALONE]
    before, _ = edited_run("[skip]", *settings, place="before")
    monkeypatch.setattr(running, "edited", moved)
    after, _ = edited_run("[skip]", *settings, place="after")
    for one, other in zip(before["shown"][0]["rows"], after["shown"][0]["rows"], strict=True):
        assert [one[name] for name in ("intact", "lost", "low", "high")] == pytest.approx(
            [other[name] for name in ("intact", "lost", "low", "high")], abs=2e-3
        ), (one["way"], one["block"])


def test_hidden_units_are_switched_off_in_doses(edited_run):
    found, done = edited_run("[{edit: sparsify, doses: [0.1, 0.5, 0.9]}]", "lens.controls=3")
    doses, resnet = found["shown"]
    assert doses["edit"] == "sparsify" and resnet["reason"] == NO_STREAM
    rows = {(row["dose"], row["way"]): row for row in doses["rows"]}
    assert set(rows) == {(dose, way) for dose in (0.1, 0.5, 0.9) for way in ("frozen", "refitted")}
    assert all(
        "block" not in row and row["n"] == 3 and row["low"] <= row["mean"] <= row["high"] for row in rows.values()
    )
    section = done.report.read_text().split('<h2 id="when-the-networks-are-changed"')[1].split("</section>")[0]
    assert "the smallest hidden units are switched off" in section and "% off" in section
    lost = {0.1: 0.0, 0.5: 0.1, 0.9: 0.3}
    told = [row | {"p_intact": 0.001, "intact": 0.4, "lost": lost[row["dose"]]} for row in rows.values()]
    spoken = sentence(told, "stripes", "sparsify")
    # .2 of .4 is lost halfway between the second dose and the third.
    assert "frozen half is lost without 70 % of the hidden units, fitted again half is lost without 70 %" in spoken
    assert "most is lost without 90 % of the units, 0.300 (3 controls" in spoken
    told = [row | {"lost": 0.01} for row in told]
    assert "frozen less than half is lost without 90 % of the hidden units" in sentence(told, "stripes", "sparsify")
    told = [row | {"lost": -0.01} for row in told]
    assert sentence(told, "stripes", "sparsify").endswith("of 0.40 at the last layer no edit takes anything.")
    low = f"{min(row['low'] for row in rows.values()):.3f}".replace("-", "\u2212")
    assert f">{low} to " in section  # as fine as the effects beside it


def test_doses_that_are_none_are_refused_with_the_place():
    for given, said in (
        ("[skip, sparsify]", r"lens.edits  'sparsify' needs doses, such as \{edit: sparsify"),
        ("[{edit: sparsify, doses: [0.5, 0.1]}]", r"lens.edits\[0\].doses  doses rise: \[0.1, 0.5\]"),
        ("[{edit: sparsify, doses: [1.5]}]", r"lens.edits\[0\].doses\[0\]  input should be less than 1"),
        ("[skop]", "did you mean 'skip'"),
        ("[{edit: sparsify, dose: [0.5]}]", "unknown key; did you mean 'doses'"),
    ):
        with pytest.raises(UserError, match=said) as error:
            parse_recipe(RECIPE, "recipe.yaml", [f"lens.edits={given}"])
        assert "literal" not in str(error.value)
