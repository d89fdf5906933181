"""One description of the units of every kind: what a plan counts, a run computes and a worker finds."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import brainbench as bb
from brainbench.commands.worker import Finder
from brainbench.core.progress import Stages
from brainbench.recipes.kinds import kinds
from brainbench.recipes.reader import read_recipe
from brainbench.recipes.reconstruction import GeneratorSettings
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import Run, RunFolder
from brainbench.studies.base import all_units, study_of
from brainbench.studies.encode.nulls import SmallerNull
from brainbench.studies.opened import open_all
from tests.data.folders import write_rdms
from tests.data.test_trials import write_folder
from tests.figures import unwritten
from tests.studies.recipes import write_recipe
from tests.studies.test_pretrain import write_people

SIMULATED = """\
dataset:
  name: simulated
  images: drawings
  n_subjects: {subjects}
  n_stimuli: {stimuli}
  n_repeats: 2
  n_runs: 2
  rois: [{{roi: a, encoder: pixels, layer: pixels, n_voxels: 4}}, {{roi: b, prefers: disc, n_voxels: 3}}]
folds: {{n_splits: 2}}
significance: {{n_permutations: 4}}
bootstrap: {{n_draws: 4}}
"""
ENCODERS = """\
encoders:
  - {name: pixels, family: pixels, role: model, image_size: 4}
  - {name: random, family: random, width: 3}
"""
RECIPES = {
    "encode": SIMULATED.format(subjects=2, stimuli=12)
    + ENCODERS
    + """\
kind: encode
also: [{hold_out: [run], folds: {scheme: leave-one-out}}]
head: {n_alphas: 3, inner_folds: 2}
unique: {over: controls}
similarity: [rsa, cka]
zero_shot: {n_shuffles: 1}
decoding: {label: category, pairwise: false, decoders: [{name: one, classifier: ridge_classifier}]}
""",
    "decode": SIMULATED.format(subjects=1, stimuli=60).replace("encoder: pixels, layer: pixels, ", "")
    + """\
kind: decode
decoding: {label: category, decoders: [{name: one, classifier: ridge_classifier}]}
""",
    "decode-pipelines": """\
kind: decode
dataset: {name: eeg-folder, root: ROOT, tmin: 0.0, tmax: 2.0, montage: standard_1020}
pipelines: [{name: csp, decoder: csp_lda, n_filters: 2}, {name: tangent, decoder: tangent_lr}]
evaluate: [{scheme: leave-one-run-out}, {scheme: k-fold, n_splits: 2}]
time_resolved: {tmin: 0.0, tmax: 2.0, window: 1.0, step: 1.0}
bands: {ranges: {alpha: [8.0, 13.0]}}
significance: {n_permutations: 4}
bootstrap: {n_draws: 4}
""",
    "reconstruct": SIMULATED.format(subjects=1, stimuli=12)
    + ENCODERS
    + """\
kind: reconstruct
low_level: {codec: pca, image_size: 16, n_components: 4}
generator:
  {name: small, condition_on: [{encoder: pixels, layer: pixels}], image_size: 16, train_steps: 2, width: 8,
   batch_size: 4, steps: 2}
head: {n_alphas: 3, inner_folds: 2}
ablation: {rois: [a]}
n_gallery: 1
""",
    "explore": """\
kind: explore
dataset:
  name: simulated
  images: drawings
  n_subjects: 1
  n_stimuli: 12
  n_repeats: 2
  n_runs: 2
  rois: [{roi: a, prefers: disc, n_voxels: 3}, {roi: b, n_voxels: 3}]
folds: {n_splits: 2}
encoders:
  - {name: network, family: image, weights: installed, image_size: 32, layers: [blocks.1]}
  - {name: pixels, family: pixels, image_size: 4}
generator:
  {name: small, train_on: training, image_size: 16, train_steps: 2, width: 8, batch_size: 4, steps: 2}
guide: {encoder: network, layer: blocks.1}
head: {n_alphas: 3, inner_folds: 2}
scales: [5]
n_images: 2
facets: {n_facets: 2, n_top: 6, n_mean: 2}
n_gallery: 1
bootstrap: {n_draws: 4}
""",
    "pretrain": """\
kind: pretrain
dataset: {name: eeg-folder, root: PEOPLE, events: annotations, band: [1.0, 20.0], montage: standard_1005}
held_out: [s3]
tokenizer: {window: 64, n_filters: 2, ratios: [4, 2], width: 8, n_heads: 2, n_sources: 3, n_levels: 2, n_codes: 8}
training: {steps: 4, batch_size: 4, sensors: 6}
masked: {width: 8, n_heads: 2, depth: 2, steps: 2}
least_perplexity: 0.0
""",
    "rsa": """\
kind: rsa
dataset: {name: rdm, root: RDMS, modality: text, rois: [V1, LO]}
encoders: [{name: random, family: random, width: 3}, {name: more, family: random, width: 4, role: model}]
similarity: [rsa, rsa_pearson]
significance: {n_permutations: 4}
""",
    "lens": """\
kind: lens
dataset: {name: simulated, images: drawings, n_subjects: 1, n_stimuli: 12, rois: [{roi: a, prefers: disc}]}
encoders: [{name: network, family: image, model: test_vit, weights: random, image_size: 32}]
lens: {stimuli: 4}
bootstrap: {n_draws: 4}
""",
}
"""The smallest recipe of every kind that has all of its stages."""
KINDS = {
    "encode": {"fit", "score", "unique", "interval", "ceiling", "geometry", "zero_shot", "decode"},
    "decode": {"decode"},
    "decode-pipelines": {"decode_trials", "pattern", "decode_part"},
    "reconstruct": {"predict", "train", "draw", "score"},
    "explore": {"fit", "train", "draw"},
    "pretrain": {"train", "reconstruct", "codes", "masked"},
    "rsa": {"rsa"},
    "lens": {"lens"},
}
"""Kinds of units that a recipe has at least."""


@pytest.fixture(scope="module", params=RECIPES)
def finished(request, tmp_path_factory) -> tuple[str, Path, Run]:
    """A recipe of a kind, and its finished run."""
    name, folder = request.param, tmp_path_factory.mktemp("stages")
    text = RECIPES[name]
    if "ROOT" in text:
        (folder / "recordings").mkdir()
        text = text.replace("ROOT", str(write_folder(folder / "recordings")))
    if "RDMS" in text:
        text = text.replace("RDMS", str(write_rdms(folder / "rdms")))
    if "PEOPLE" in text:
        text = text.replace("PEOPLE", str(write_people(folder / "people")))
    recipe = write_recipe(folder, text)
    with pytest.MonkeyPatch.context() as patch:  # drawing the page takes longer than all units
        unwritten(patch)
        return name, recipe, bb.run(recipe, out=folder / "run", cache=folder / "cache")


def test_every_kind_has_a_recipe_here():
    assert {text.split("kind: ")[1].split()[0] for text in RECIPES.values()} == set(kinds())
    assert len(RECIPES) == sum(len(models) for models in kinds().values())


def computed(run: Run) -> list[dict[str, object]]:
    return [event for event in run.folder.events() if event["event"] == "unit_done"]


def test_a_plan_counts_what_a_run_computes(finished):
    name, recipe, run = finished
    done = Counter(event["kind"] for event in computed(run))
    assert set(done) >= KINDS[name]
    before = bb.plan(recipe, out=run.path.parent / "new", cache=run.path.parent / "cache")
    assert before.units == {kind: (count, count) for kind, count in done.items()}
    assert not before.finished and before.seconds  # of one unit of each kind, timed


def test_nothing_is_left_of_a_finished_recipe(finished):
    _, recipe, run = finished
    after = bb.plan(recipe, out=run.path, cache=run.path.parent / "cache")
    assert after.finished and after.seconds == 0
    assert all(missing == 0 for _, missing in after.units.values())
    assert all(missing == 0 for _, _, missing, _ in after.features)


def test_images_of_another_revision_are_drawn_anew(finished, monkeypatch):
    name, recipe, run = finished
    monkeypatch.setattr(GeneratorSettings, "revision", GeneratorSettings.revision + 1)
    after = bb.plan(recipe, out=run.path, cache=run.path.parent / "cache")
    if "generator" not in RECIPES[name]:
        assert after.finished
        return
    assert not after.finished
    again = {kind for kind, (_, missing) in after.units.items() if missing}
    assert again == KINDS[name] - {"predict", "fit", "train"}  # what is trained is another matter
    drawn, missing = after.units["draw"]
    assert missing == drawn > 0


def test_a_worker_finds_each_by_its_digest(finished):
    _, recipe, run = finished
    # In an empty folder: what a unit is named by, no earlier result decides.
    empty = Runner(RunFolder(run.path.parent / "new"), LocalEngine(), Stages(quiet=True))
    study = study_of(open_all(read_recipe(recipe), run.path.parent / "cache"), empty)
    finder = Finder(study)
    for event in computed(run):
        unit = finder.find(str(event["unit"]))
        assert (unit.digest, unit.kind, unit.label) == (event["unit"], event["kind"], event["label"])
    assert {unit.digest for unit in all_units(study)} == {event["unit"] for event in computed(run)}


def test_a_study_and_its_recipes_name_each_other(finished):
    _, recipe, run = finished
    read = read_recipe(recipe)
    study = study_of(open_all(read, run.path.parent / "cache"), Runner(run.folder, LocalEngine(), Stages(quiet=True)))
    assert type(read) is study.recipe_model
    assert type(read).studied_by == f"{type(study).__module__}:{type(study).__name__}"
    assert study.question() == run.facts["question"] and study.question().endswith(("?", "."))
    assert sum(study.memory().values()) > 100


def test_smaller_models_are_exchanged_once_for_all_layers():
    shared, asked = SmallerNull(), []

    def find():
        asked.append(1)
        return np.ones(3)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: shared.scores(find), range(8)))
    assert len(asked) == 1 and all(one is found[0] for one in found)
