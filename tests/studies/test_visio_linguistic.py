"""`recipes/visio-linguistic-*.yaml` end to end on copies of the official layouts, through the real classes, small."""

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from brainbench.core.progress import Stages
from brainbench.data.base import Context
from brainbench.data.layouts.bold5000 import ROIS
from brainbench.encoders import open_encoder
from brainbench.recipes.datasets import DATASETS, dataset_settings
from brainbench.recipes.reader import read_recipe
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import RunFolder
from brainbench.studies.base import study_of
from brainbench.studies.compute import compute
from brainbench.studies.opened import open_all
from tests.data.bold5000_copy import write_bold5000
from tests.data.pereira_copy import write_pereira, write_pictures
from tests.encoders.tiny import write_vision
from tests.encoders.vision_language import write_regions, write_vision_language

pytestmark = pytest.mark.long

WIDTH = 24
CHEAP = [
    "significance.n_permutations=0", "bootstrap.n_draws=0", "folds.n_splits=3", "also.0.folds.n_splits=3",
    "head.n_alphas=7", "head.inner_folds=2", "ceiling.method=none",
]  # fmt: skip


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Every network of the recipes, small, with random weights, by the name in the recipe."""
    root = tmp_path_factory.mktemp("networks")
    made = {}
    for name, kind in (("visualbert", "visual_bert"), ("lxmert", "lxmert"), ("clip", "clip")):
        (root / name).mkdir()
        made[name] = write_vision_language(kind, root / name, texts=_texts(), regions=WIDTH)
    for name in ("vit", "deit", "beit"):
        (root / name).mkdir()
        made[name] = write_vision(name, root / name)
    return made


def _texts():
    return [*(f"a {shade} thing {i}" for shade in ("dark", "bright") for i in range(200)), "tench, Tinca tinca scene"]


def sets(recipe, networks, regions):
    """What puts the small networks in place of the published ones."""
    found = list(CHEAP)
    for number, entry in enumerate(read_recipe(recipe).encoders):
        found.append(f"encoders.{number}.model={networks[entry.name.partition('_')[0]]}")
        if entry.name.startswith(("visualbert", "lxmert")):
            found.append(f"encoders.{number}.regions={regions}")
        if entry.name.startswith("visualbert"):
            found.append(f"encoders.{number}.tokenizer=null")
        found.append(f"encoders.{number}.layers={['*.1', '*.2'] if entry.name.startswith('visualbert') else ['*.1']}")
    return found


def features(networks, regions, stimuli, name, layer, **settings):
    entry = {
        "name": name,
        "family": "vision_language",
        "model": str(networks[name]),
        "regions": str(regions),
    } | settings
    return open_encoder(entry, device="cpu").features(stimuli.encoded, [layer])[layer]


def driven(rng, values, n_voxels, noise):
    """Responses that a layer drives, as strong as they are noisy at `noise` 1."""
    scaled = (values - values.mean(0)) / values.std(0)
    signal = scaled @ rng.standard_normal((scaled.shape[1], n_voxels))
    return signal / signal.std(0) + noise * rng.standard_normal((len(values), n_voxels))


def computed(recipe, options, folder):
    """Scores of a recipe, and what its page would say besides."""
    run = RunFolder(folder / "run")
    with run.writing():
        opened = open_all(read_recipe(recipe, options), folder / "cache")
        outcome = compute(study_of(opened, Runner(run, LocalEngine(), Stages(quiet=True))))
    return pd.DataFrame(outcome.rows), outcome


def best(scores, scheme, metric, roi):
    """The best layer's score of every encoder."""
    rows = scores[(scores.fold == "all") & (scores.scheme == scheme) & (scores.metric == metric) & (scores.roi == roi)]
    return rows.groupby("encoder").value.max()


def test_bold5000(networks, tmp_path):
    copy = write_bold5000(tmp_path / "bold5000", ["CSI1"], trials_per_run=20, n_repeated=12, image_size=32)
    chosen = {"name": "bold5000", "release": 1, "captions": "captions.json", "standardize": "run"}
    stimuli = DATASETS.builder("bold5000").open(dataset_settings(chosen), copy.root, Context()).stimuli("CSI1")
    regions = write_regions(tmp_path / "regions.npz", stimuli.ids, WIDTH)
    place = np.array([stimuli.ids.index(copy.names[i]) for i in copy.shown["CSI1"]])
    rng = np.random.default_rng(1)
    planted = {
        "LOC": features(networks, regions, stimuli, "visualbert", "encoder.layer.2"),
        "OPA": features(networks, regions, stimuli, "lxmert", "encoder.layer.1", given="text"),
        "EarlyVis": features(networks, regions, stimuli, "clip", "vision_model.encoder.layers.0", given="image"),
    }
    arrays = {}
    for roi in ROIS:
        n = copy.signal["CSI1"][roi].shape[1]
        values = planted.get(roi[2:])
        arrays[roi] = driven(rng, values[place], n, 0.7) if values is not None else rng.standard_normal((len(place), n))
    savemat(copy.release_1("CSI1"), arrays)
    options = [
        f"dataset.root={copy.root}",
        "dataset.captions=captions.json",
        *sets("visio-linguistic-bold5000", networks, regions),
    ]
    scores, outcome = computed("visio-linguistic-bold5000", options, tmp_path)
    for scheme in ("stimulus", "paper"):
        found = {roi: best(scores, scheme, "pearson_r", roi) for roi in ("LOC", "OPA", "EarlyVis", "RSC")}
        assert found["LOC"].idxmax() == "visualbert" and found["EarlyVis"].idxmax() in ("clip_picture", "clip")
        assert found["LOC"]["visualbert"] > max(found["LOC"][["visualbert_picture", "visualbert_words"]]) + 0.03
        assert found["OPA"]["lxmert_words"] > found["OPA"]["lxmert_picture"] + 0.1
        assert found["RSC"].abs().max() < 0.25
        pairs = {metric: best(scores, scheme, metric, "LOC") for metric in ("pairs_cosine", "pairs_r", "pattern_r")}
        assert pairs["pairs_r"]["visualbert"] > 0.75 and pairs["pairs_cosine"]["visualbert"] > 0.75
        assert pairs["pattern_r"]["visualbert"] > 0.3
    unique = best(scores, "stimulus", "unique_r2", "LOC")
    assert unique["visualbert"] > 0.02 and unique.idxmax() == "visualbert"
    held = outcome.schemes
    assert held["stimulus"]["certificate"]["ok"] and not held["paper"]["certificate"]["ok"]
    assert "LEAK: stimuli: stimuli are shared" in held["paper"]["certificate"]["findings"][0]


def test_pereira(networks, tmp_path):
    root = tmp_path / "pereira"
    latents = np.random.default_rng(4).random((180, 8))
    write_pictures(
        root, [f"a {'bright' if row[0] > 0.5 else 'dark'} thing {i}" for i, row in enumerate(latents)], latents
    )
    write_pereira(root, ["P01"], experiment="180concepts", latents=latents)
    chosen = {"name": "pereira2018", "experiment": "180concepts", "pictures": "pictures.csv"}
    stimuli = DATASETS.builder("pereira2018").open(dataset_settings(chosen), root, Context()).stimuli("P01")
    regions = write_regions(tmp_path / "regions.npz", stimuli.encoded.ids, WIDTH)
    concepts = stimuli.pieces.mean(features(networks, regions, stimuli, "visualbert", "encoder.layer.1"))
    write_pereira(root, ["P01"], experiment="180concepts", latents=concepts)  # two atlases answer to this layer
    atlases = "dataset.atlases=[languageLH, visual_object, DMN]"
    options = [f"dataset.root={root}", atlases, *sets("visio-linguistic-pereira", networks, regions)]
    scores, _ = computed("visio-linguistic-pereira", options, tmp_path)
    for roi, answers in (("languageLH", True), ("visual_object", True), ("DMN", False)):
        found = best(scores, "stimulus", "pearson_r", roi)
        assert (found["visualbert"] > 0.5) == answers, found
        if answers:
            assert found.idxmax() == "visualbert"
